/** WebSocket: the platform's own in browsers and other runtimes, `ws` in Node. */
import { corked, openSocket } from '#platform';
import type { Conversation, Dialect } from '../client/dialect.js';
import type { Link, LinkEvents, Transport } from '../client/transport.js';
import type { Socket } from '../platform/socket.js';
import { jsonCodec } from '../protocol/codec.js';
import { closeFault, closeReason, HoldfastError, statusFault } from '../protocol/errors.js';
import type { Hello } from '../protocol/frame.js';
import type { Codec, Outgoing } from '../protocol/wire.js';

export interface WebSocketOptions {
  /** Headers of the handshake. Node only: browsers do not let a page set them. */
  headers?: Readonly<Record<string, string>>;
  /** Subprotocols to offer beside `holdfast.1`. */
  protocols?: readonly string[];
  /** How frames are written: `messagePack()` of `holdfast/message-pack` for bytes. @default JSON */
  codec?: Codec;
  /** Offers compression. Node only: browsers always offer it. @default false */
  perMessageDeflate?: boolean;
}

const SUBPROTOCOL = 'holdfast.1';

/** What a socket's `close` may be called with: 1000, or the application's own range. */
const NORMAL = 1000;

/**
 * Dials `url` (ws:, wss:, or a function for one that changes). Credentials travel in the first frame,
 * never in the URL, where proxies would log them.
 */
export function webSocket(url: string | (() => string), options: WebSocketOptions = {}): Transport {
  const { headers, perMessageDeflate } = options;
  const speak = (dialect?: Dialect): Transport => {
    const { codec } = dialect ?? { codec: options.codec ?? jsonCodec };
    const { subprotocols } = dialect ?? { subprotocols: [subprotocolOf(codec)] };
    const protocols = [...subprotocols, ...(options.protocols ?? [])];
    return {
      name: 'websocket',
      codec,
      dial(hello, on) {
        const target = typeof url === 'function' ? url() : url;
        const socket = openSocket(target, protocols, { headers, perMessageDeflate });
        return new WebSocketLink(socket, { codec, dialect }, hello, on);
      },
      speak,
    };
  };
  return speak();
}

interface Language {
  readonly codec: Codec;
  /** Undefined for holdfast/1. */
  readonly dialect: Dialect | undefined;
}

class WebSocketLink implements Link {
  readonly #socket: Socket;
  readonly #codec: Codec;
  /** Where it is not holdfast/1 that is spoken. */
  readonly #talk: Conversation | undefined;
  /** What the platform says of an error; browsers say nothing. */
  #why = '';

  constructor(socket: Socket, { codec, dialect }: Language, hello: () => Hello, on: LinkEvents) {
    this.#socket = socket;
    this.#codec = codec;
    const talk = dialect?.begin(hello, {
      send: (wire) => this.send([wire]),
      received(frame) {
        if (socket.onmessage !== null) on.received(frame);
      },
    });
    this.#talk = talk;
    socket.onopen = () => {
      if (talk === undefined && !['', subprotocolOf(codec)].includes(socket.protocol)) {
        this.close(NORMAL, 'no common subprotocol');
        on.closed(wrongServer(codec));
        return;
      }
      isOpen = true;
      if (talk === undefined) this.send([hello()]);
      on.opened();
      talk?.opened();
    };
    socket.onmessage = ({ data }) => {
      if (talk === undefined) on.received(codec.decode(data));
      else talk.heard({ data: read(data) });
    };
    // The close that follows has the code, and an error while open alone means nothing.
    socket.onerror = ({ message }) => {
      this.#why = message ?? '';
    };
    let isOpen = false;
    socket.onclose = ({ code, reason }) => {
      this.#silence();
      const fault = isOpen ? closeFault(code, reason || this.#why) : this.#refused(code);
      on.closed(talk === undefined ? fault : foreign(fault));
    };
  }

  send(frames: readonly Outgoing[]): void {
    const socket = this.#socket;
    if (socket.readyState !== 1) return;
    const [only] = frames;
    if (frames.length === 1 && only !== undefined) {
      this.#write(only);
      return;
    }
    corked(socket, () => {
      for (const frame of frames) this.#write(frame);
    });
  }

  #write(frame: Outgoing): void {
    if (typeof frame === 'string' || frame instanceof Uint8Array) this.#socket.send(frame);
    else if (this.#talk === undefined) this.#socket.send(this.#codec.encode(frame));
    else this.#talk.say(frame);
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

/** Servers that choose none are taken at their word; another one than ours is another language. */
function subprotocolOf({ name }: Codec): string {
  return name === jsonCodec.name ? SUBPROTOCOL : `${SUBPROTOCOL}.${name}`;
}

/** 4408 and 4409 are about clients and their links in holdfast/1 alone. */
function foreign(fault: HoldfastError): HoldfastError {
  const { category, message, details } = fault;
  if (category !== 'authorization') return fault;
  return new HoldfastError('CONNECTION_FAILED', message, { details });
}

function read(data: unknown): string | Uint8Array {
  if (typeof data === 'string') return data;
  return data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array();
}

function noHandshake(closeCode: number, why: string): HoldfastError {
  return new HoldfastError(
    'CONNECTION_FAILED',
    `The WebSocket handshake was refused: ${why || 'the platform does not say why. Check the URL, and whether a proxy or a sign-in page answers for the server'}.`,
    { details: { closeCode } },
  );
}

function wrongServer(codec: Codec): HoldfastError {
  return new HoldfastError(
    'PROTOCOL_ERROR',
    `The server chose another subprotocol than "${subprotocolOf(codec)}". Check the URL and its path.`,
    { retryable: true },
  );
}
