/** WebSocket: the platform's own in browsers and other runtimes, `ws` in Node. */
import { corked, openSocket } from '#platform';
import type { Link, LinkEvents, Transport } from '../client/transport.js';
import type { Socket } from '../platform/socket.js';
import { type Codec, encoded, jsonCodec, type Outgoing } from '../protocol/codec.js';
import { closeFault, closeReason, HoldfastError, statusFault } from '../protocol/errors.js';
import type { Hello } from '../protocol/frame.js';

export interface WebSocketOptions {
  /** Headers of the handshake. Node only: browsers do not let a page set them. */
  headers?: Readonly<Record<string, string>>;
  /** Subprotocols to offer beside `holdfast.1`. */
  protocols?: readonly string[];
}

const SUBPROTOCOL = 'holdfast.1';

/** What a socket's `close` may be called with: 1000, or the application's own range. */
const NORMAL = 1000;

/**
 * Dials `url` (ws:, wss:, or a function for one that changes). Credentials travel in the first frame,
 * never in the URL, where proxies would log them.
 */
export function webSocket(url: string | (() => string), options: WebSocketOptions = {}): Transport {
  const protocols = [SUBPROTOCOL, ...(options.protocols ?? [])];
  return {
    name: 'websocket',
    codec: jsonCodec,
    dial(hello, on) {
      const target = typeof url === 'function' ? url() : url;
      const socket = openSocket(target, protocols, { headers: options.headers });
      return new WebSocketLink(socket, jsonCodec, hello, on);
    },
  };
}

class WebSocketLink implements Link {
  readonly #socket: Socket;
  readonly #codec: Codec;
  /** What the platform says of an error; browsers say nothing. */
  #why = '';

  constructor(socket: Socket, codec: Codec, hello: () => Hello, on: LinkEvents) {
    this.#socket = socket;
    this.#codec = codec;
    socket.onopen = () => {
      if (!chosen(socket.protocol)) {
        this.close(NORMAL, 'no common subprotocol');
        on.closed(wrongServer());
        return;
      }
      isOpen = true;
      this.send([hello()]);
      on.opened();
    };
    socket.onmessage = ({ data }) => on.received(codec.decode(data));
    // The close that follows has the code, and an error while open alone means nothing.
    socket.onerror = ({ message }) => {
      this.#why = message ?? '';
    };
    let isOpen = false;
    socket.onclose = ({ code, reason }) => {
      this.#silence();
      on.closed(isOpen ? closeFault(code, reason || this.#why) : this.#refused(code));
    };
  }

  send(frames: readonly Outgoing[]): void {
    const wires = encoded(this.#codec, frames);
    const socket = this.#socket;
    if (socket.readyState !== 1) return;
    const [only] = wires;
    if (wires.length === 1 && only !== undefined) {
      socket.send(only);
      return;
    }
    corked(socket, () => {
      for (const wire of wires) socket.send(wire);
    });
  }

  close(code = NORMAL, reason = ''): void {
    this.#silence();
    try {
      this.#socket.close(code, closeReason(reason));
    } catch {
      // Some runtimes throw for a socket that is not open yet; it is abandoned all the same.
    }
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  #refused(code: number): HoldfastError {
    const { refusal } = this.#socket;
    return refusal === undefined ? noHandshake(code, this.#why) : statusFault(refusal);
  }

  /** An abandoned socket must not be heard again; one that opens later is closed. */
  #silence(): void {
    const socket = this.#socket;
    socket.onopen = () => socket.close(NORMAL);
    socket.onmessage = null;
    socket.onclose = null;
  }
}

/** Servers that choose no subprotocol are taken at their word; another one than ours is another language. */
function chosen(protocol: string): boolean {
  return protocol === '' || protocol === SUBPROTOCOL;
}

function noHandshake(closeCode: number, why: string): HoldfastError {
  return new HoldfastError(
    'CONNECTION_FAILED',
    `The WebSocket handshake was refused: ${why || 'the platform does not say why. Check the URL, and whether a proxy or a sign-in page answers for the server'}.`,
    { details: { closeCode } },
  );
}

function wrongServer(): HoldfastError {
  return new HoldfastError(
    'PROTOCOL_ERROR',
    `The server chose another subprotocol than "${SUBPROTOCOL}". Check the URL and its path.`,
    { retryable: true },
  );
}
