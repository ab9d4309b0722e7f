/** Node: the `ws` package, which can set headers and lets the frames of one batch leave together. */
import type { IncomingMessage } from 'node:http';
import type { Socket as NetSocket } from 'node:net';
import { type ClientOptions, type RawData, WebSocket } from 'ws';
import type { Refusal, Socket, SocketOptions } from './socket.js';

/**
 * Opens a WebSocket.
 * @throws SyntaxError where the URL or a subprotocol is not valid.
 */
export function openSocket(
  url: string,
  protocols: readonly string[],
  options: SocketOptions = {},
): Socket {
  return new NodeSocket(url, protocols, options);
}

/** Runs `write`, which sends several frames; they leave in one system call. */
export function corked(socket: Socket, write: () => void): void {
  if (socket instanceof NodeSocket) socket.cork(write);
  else write();
}

/** `ws` by its own events: those of the DOM cost an object and three symbols for each message. */
class NodeSocket implements Socket {
  onopen: Socket['onopen'] = null;
  onmessage: Socket['onmessage'] = null;
  onerror: Socket['onerror'] = null;
  onclose: Socket['onclose'] = null;
  refusal: Refusal | undefined;
  readonly #socket: WebSocket;
  #net: NetSocket | undefined;

  constructor(url: string, protocols: readonly string[], options: SocketOptions) {
    const settings: ClientOptions & { closeTimeout: number } = {
      headers: { ...options.headers },
      // Compressing small messages costs more time and memory than it saves bytes.
      perMessageDeflate: options.perMessageDeflate ?? false,
      // How long a close may wait for a silent peer; the 30 s of ws would keep a process alive.
      closeTimeout: 2_000,
    };
    this.#socket = new WebSocket(url, [...protocols], settings);
    this.#socket
      .on('upgrade', (response) => {
        this.#net = response.socket;
      })
      .on('unexpected-response', (_request, response) => {
        this.refusal = refusalOf(response);
        // With a listener for it, ws leaves the rest to us: an error and a close follow from this.
        this.#socket.terminate();
      })
      .on('open', () => this.onopen?.())
      .on('message', (data, isBinary) => this.onmessage?.({ data: read(data, isBinary) }))
      .on('error', ({ message }) => this.onerror?.({ message }))
      .on('close', (code, reason) => this.onclose?.({ code, reason: reason.toString() }));
  }

  get readyState(): number {
    return this.#socket.readyState;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  get protocol(): string {
    return this.#socket.protocol;
  }

  send(data: string | Uint8Array): void {
    this.#socket.send(data);
  }

  close(code?: number, reason?: string): void {
    this.#socket.close(code, reason);
  }

  cork(write: () => void): void {
    this.#net?.cork();
    try {
      write();
    } finally {
      this.#net?.uncork();
    }
  }
}

function refusalOf({ statusCode = 0, headers }: IncomingMessage): Refusal {
  return {
    status: statusCode,
    retryAfter: waitOf(headers['retry-after'], headers.date),
    isPage: headers['content-type']?.includes('text/html') ?? false,
  };
}

/** `Retry-After` in ms. Its date is compared with the server's own: a device's clock may be wrong. */
function waitOf(retryAfter: string | undefined, date: string | undefined): number | undefined {
  if (retryAfter === undefined) return undefined;
  const isSeconds = /^\d+$/.test(retryAfter);
  const ms = isSeconds
    ? Number(retryAfter) * 1_000
    : Date.parse(retryAfter) - Date.parse(date ?? '');
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

/** Text as a string, bytes as a buffer of their own: what `ws` hands out may share its memory. */
function read(data: RawData, isBinary: boolean): string | ArrayBuffer {
  if (!isBinary) return data.toString();
  const bytes = Array.isArray(data) ? Buffer.concat(data) : data;
  return new Uint8Array(bytes).slice().buffer;
}
