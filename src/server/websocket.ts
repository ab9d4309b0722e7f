/** WebSockets of a Node HTTP server, over `ws`. */
import type { IncomingMessage, Server } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Wire } from '../protocol/codec.js';
import type { ServerWire, ServerWireEvents } from './wire.js';

export interface WebSocketOptions {
  /** The path of upgrade requests to serve; others are left alone. @default "/realtime" */
  readonly path?: string | undefined;
}

/** What the hub adds. */
export interface Attachment extends WebSocketOptions {
  readonly maxMessageSize: number;
  readonly origins: readonly string[] | undefined;
  readonly accept: (wire: ServerWire) => ServerWireEvents;
}

/** The subprotocol: one JSON frame in one text message. */
const SUBPROTOCOL = 'holdfast.1';

const NOT_FOUND = 'HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

/** Serves until the returned detach is called, which ends what it served. */
export function attachWebSocket(server: Server | SecureServer, attachment: Attachment): () => void {
  const { path = '/realtime', maxMessageSize } = attachment;
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: true,
    perMessageDeflate: false,
    maxPayload: maxMessageSize,
    handleProtocols: chooseProtocol,
  });
  const texts = new SharedTexts();
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
      if (refusal === undefined) serve(webSocket, { request, socket, texts, attachment });
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
  readonly texts: SharedTexts;
  readonly attachment: Attachment;
}

function serve(webSocket: WebSocket, { request, socket, texts, attachment }: Served): void {
  const wire = new WebSocketWire(webSocket, { request, socket, texts });
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
  readonly #texts: SharedTexts;

  constructor(webSocket: WebSocket, of: Omit<Served, 'attachment'>) {
    const { request } = of;
    this.request = {
      url: request.url ?? '/',
      headers: request.headers,
      remoteAddress: request.socket.remoteAddress,
    };
    this.#webSocket = webSocket;
    this.#socket = of.socket;
    this.#texts = of.texts;
  }

  get bufferedAmount(): number {
    return this.#webSocket.bufferedAmount;
  }

  /** Node counts a write as buffered until all of it is out; its handle knows what is out already. */
  get taken(): number | undefined {
    const handle: unknown = Reflect.get(this.#socket, '_handle');
    if (typeof handle !== 'object' || handle === null) return undefined;
    const written: unknown = Reflect.get(handle, 'bytesWritten');
    const waiting: unknown = Reflect.get(handle, 'writeQueueSize');
    return typeof written === 'number' && typeof waiting === 'number'
      ? written - waiting
      : undefined;
  }

  send(wires: readonly Wire[]): void {
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return;
    // One write for all frames of the tick. The last one tells when they are out: `drain` alone
    // comes only above the socket's own high-water mark.
    this.#socket.cork();
    const last = wires.length - 1;
    wires.forEach((wire, index) => {
      const done = index === last ? this.#written : undefined;
      if (typeof wire !== 'string') this.#webSocket.send(wire, { binary: true }, done);
      else this.#webSocket.send(this.#texts.bytesOf(wire), { binary: false }, done);
    });
    this.#socket.uncork();
  }

  close(code: number, reason: string): void {
    this.#webSocket.close(code, reason);
  }

  terminate(): void {
    this.#webSocket.terminate();
  }

  readonly #written = (): void => this.onDrain();
}

/** Encodes a text once for everybody it is sent to in the same tick. */
class SharedTexts {
  readonly #bytes = new Map<string, Buffer>();

  bytesOf(text: string): Buffer {
    const known = this.#bytes.get(text);
    if (known !== undefined) return known;
    const bytes = Buffer.from(text);
    if (this.#bytes.size === 0) queueMicrotask(() => this.#bytes.clear());
    this.#bytes.set(text, bytes);
    return bytes;
  }
}

function pathOf(request: IncomingMessage): string | undefined {
  const url = request.url ?? '/';
  const end = url.search(/[?#]/);
  return end === -1 ? url : url.slice(0, end);
}

function chooseProtocol(offered: Set<string>): string | false {
  if (offered.has(SUBPROTOCOL)) return SUBPROTOCOL;
  // A client that gets none of what it offered cannot be told why: it is refused after the upgrade.
  const [first] = offered;
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
  if (webSocket.protocol === '' || webSocket.protocol === SUBPROTOCOL) return undefined;
  return { code: 1002, reason: `This server speaks the subprotocol ${SUBPROTOCOL} alone.` };
}
