/** WebSockets of a Node HTTP server, over `ws`. */
import type { IncomingMessage, Server } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { fromText } from '../protocol/bytes.js';
import { pack } from '../protocol/message-pack-writer.js';
import type { Wire } from '../protocol/wire.js';
import { Shared } from './shared.js';
import { bytesTaken } from './socket-flow.js';
import type { ServerWire, ServerWireEvents } from './wire.js';

export interface WebSocketOptions {
  /** The path of upgrade requests to serve; others are left alone. @default "/realtime" */
  readonly path?: string | undefined;
  /**
   * Compresses what is written to clients that offer it, as browsers do. It costs far more memory and
   * time than small frames are worth: measure before you switch it on. @default false
   */
  readonly perMessageDeflate?: boolean | DeflateOptions | undefined;
}

/** What `ws` takes of them. Sizes are bytes; without context takeover each frame is compressed alone. */
export interface DeflateOptions {
  /** Smaller frames stay as they are. @default 1024 */
  readonly threshold?: number | undefined;
  /** @default false */
  readonly serverNoContextTakeover?: boolean | undefined;
  /** @default false */
  readonly clientNoContextTakeover?: boolean | undefined;
  /** 8 to 15. @default 15 */
  readonly serverMaxWindowBits?: number | undefined;
  /** 8 to 15. @default 15 */
  readonly clientMaxWindowBits?: number | undefined;
  /** Frames compressed at a time, of all connections. @default 10 */
  readonly concurrencyLimit?: number | undefined;
  readonly zlibDeflateOptions?:
    | { readonly level?: number | undefined; readonly memLevel?: number | undefined }
    | undefined;
}

/** What the hub adds. */
export interface Attachment extends WebSocketOptions {
  readonly maxMessageSize: number;
  readonly origins: readonly string[] | undefined;
  readonly accept: (wire: ServerWire) => ServerWireEvents;
}

/** One JSON frame in one text message. */
const SUBPROTOCOL = 'holdfast.1';
/** One MessagePack frame in one binary message. */
const PACKED = 'holdfast.1.msgpack';

const NOT_FOUND = 'HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

/**
 * Serves until the returned detach is called, which ends what it served.
 * @throws TypeError for a path that no request has
 */
export function attachWebSocket(server: Server | SecureServer, attachment: Attachment): () => void {
  const { path = '/realtime', maxMessageSize, perMessageDeflate = false } = attachment;
  if (!path.startsWith('/'))
    throw new TypeError(`attachWebSocket: path is "${path}". Begin it with "/".`);
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: true,
    perMessageDeflate,
    maxPayload: maxMessageSize,
    handleProtocols: chooseProtocol,
  });
  const shared = { texts: new Shared((text) => Buffer.from(text)), packs: new Shared(packed) };
  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    // Node has taken its own listener away: an error that nobody hears ends the process.
    socket.on('error', () => {});
    if (pathOf(request) !== path) {
      // Nobody else would answer it, and the client would wait for its timeout.
      if (server.listenerCount('upgrade') === 1) socket.end(NOT_FOUND, () => socket.destroy());
      return;
    }
    // The upgrade is accepted before anything is refused: browsers hide a refused handshake's status.
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      // An error is followed by a close, and the close is what counts.
      webSocket.on('error', () => {});
      const refusal = refusalOf(request, webSocket, attachment.origins);
      if (refusal === undefined) serve(webSocket, { request, socket, shared, attachment });
      else webSocket.close(refusal.code, refusal.reason);
    });
  };
  server.on('upgrade', upgrade);
  return () => {
    server.off('upgrade', upgrade);
    for (const webSocket of sockets.clients) webSocket.terminate();
    sockets.close();
  };
}

interface Served {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly shared: Encodings;
  readonly attachment: Attachment;
}

interface Encodings {
  readonly texts: Shared<Buffer>;
  readonly packs: Shared<Uint8Array | undefined>;
}

function serve(webSocket: WebSocket, { request, socket, shared, attachment }: Served): void {
  const wire = new WebSocketWire(webSocket, { request, socket, shared });
  const events = attachment.accept(wire);
  wire.onDrain = () => events.drained();
  webSocket.on('message', (data, isBinary) => {
    events.received(isBinary ? data : data.toString());
  });
  socket.on('drain', wire.onDrain);
  socket.on('data', () => events.progressed?.());
  webSocket.on('close', () => events.closed());
}

class WebSocketWire implements ServerWire {
  readonly transport = 'websocket';
  readonly request: ServerWire['request'];
  onDrain: () => void = () => {};
  readonly #webSocket: WebSocket;
  readonly #socket: Duplex;
  readonly #shared: Encodings;

  constructor(webSocket: WebSocket, of: Omit<Served, 'attachment'>) {
    const { request } = of;
    this.request = {
      url: request.url ?? '/',
      headers: request.headers,
      remoteAddress: request.socket.remoteAddress,
    };
    this.#webSocket = webSocket;
    this.#socket = of.socket;
    this.#shared = of.shared;
  }

  get bufferedAmount(): number {
    return this.#webSocket.bufferedAmount;
  }

  get taken(): number | undefined {
    return bytesTaken(this.#socket);
  }

  send(wires: readonly Wire[]): void {
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return;
    // One write for all frames of the tick. The last one tells when they are out: `drain` alone
    // comes only above the socket's own high-water mark.
    this.#socket.cork();
    const last = wires.length - 1;
    wires.forEach((wire, index) => {
      const done = index === last ? this.#written : undefined;
      const bytes = typeof wire === 'string' ? this.#packed(wire) : wire;
      if (bytes !== undefined) this.#webSocket.send(bytes, { binary: true }, done);
      else this.#webSocket.send(this.#shared.texts.of(`${wire}`), { binary: false }, done);
    });
    this.#socket.uncork();
  }

  close(code: number, reason: string): void {
    this.#webSocket.close(code, reason);
  }

  terminate(): void {
    this.#webSocket.terminate();
  }

  /** Undefined where it goes out as text: to clients of JSON, and what MessagePack cannot say. */
  #packed(text: string): Uint8Array | undefined {
    return this.#webSocket.protocol === PACKED ? this.#shared.packs.of(text) : undefined;
  }

  readonly #written = (): void => this.onDrain();
}

/** Undefined for what is nested deeper than MessagePack is read. */
function packed(text: string): Uint8Array | undefined {
  try {
    return pack(fromText(text));
  } catch {
    return undefined;
  }
}

function pathOf(request: IncomingMessage): string | undefined {
  const url = request.url ?? '/';
  const end = url.search(/[?#]/);
  return end === -1 ? url : url.slice(0, end);
}

function chooseProtocol(offered: Set<string>): string | false {
  const [first] = offered;
  for (const one of offered) if (one === SUBPROTOCOL || one === PACKED) return one;
  // A client that gets none of what it offered cannot be told why: it is refused after the upgrade.
  return first ?? false;
}

function refusalOf(
  request: IncomingMessage,
  webSocket: WebSocket,
  origins: readonly string[] | undefined,
): { code: number; reason: string } | undefined {
  const { origin } = request.headers;
  if (origins !== undefined && origin !== undefined && !origins.includes(origin)) {
    return { code: 4403, reason: 'This origin may not connect. Add it to limits.origins.' };
  }
  if (['', SUBPROTOCOL, PACKED].includes(webSocket.protocol)) return undefined;
  return { code: 1002, reason: `This server speaks the subprotocols ${SUBPROTOCOL}, ${PACKED}.` };
}
