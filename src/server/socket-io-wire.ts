/** One Socket.IO connection as the hub's wire: whole frames, each the argument of an event or an ack. */
import { fromText, isTextOnly, toText } from '../protocol/bytes.js';
import type { Wire } from '../protocol/wire.js';
import type { Shared } from './shared.js';
import { type EngineConnection, type EngineFlow, flowOf } from './socket-io-engine.js';
import type { ServerWire, ServerWireEvents } from './wire.js';

/** A connected socket of `socket.io`, as far as it is used here. */
export interface SocketIoSocket {
  readonly connected: boolean;
  readonly conn: EngineConnection;
  readonly handshake: {
    readonly auth: unknown;
    readonly url: string;
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
    readonly address: string;
  };
  on(event: 'disconnect', listener: () => void): unknown;
  onAny(listener: (...event: unknown[]) => void): unknown;
  emit(event: string, ...args: unknown[]): unknown;
  disconnect(): unknown;
}

/** What is emitted, and how: made once for everybody it goes to in the same tick. */
export interface Emission {
  readonly event: string;
  /** The frame, or its text. */
  readonly body: unknown;
  /** Of a response: it goes to the ack of its request. */
  readonly requestId: string | undefined;
}

type Ack = (response: unknown) => void;

/** Acks that wait at a time; a response without one goes out as an event. */
const MOST_ACKS = 10_000;

/** Serves a socket until it ends. */
export function serveSocket(
  socket: SocketIoSocket,
  emissions: Shared<Emission>,
  accept: (wire: ServerWire) => ServerWireEvents,
): void {
  const wire = new SocketIoWire(socket, emissions);
  const events = accept(wire);
  const listener = { drained: () => events.drained(), heard: () => events.progressed?.() };
  const ended = () => {
    wire.flow.delete(listener);
    events.closed();
  };
  // A hub that is closed has refused it already.
  if (!socket.connected) {
    events.closed();
    return;
  }
  wire.flow.add(listener);
  socket.on('disconnect', ended);
  socket.onAny((...event) => events.received(wire.received(event)));
  events.received(textOf(socket.handshake.auth));
}

class SocketIoWire implements ServerWire {
  readonly transport = 'socket.io';
  readonly request: ServerWire['request'];
  readonly flow: EngineFlow;
  readonly #socket: SocketIoSocket;
  readonly #emissions: Shared<Emission>;
  readonly #acks = new Map<string, Ack>();

  constructor(socket: SocketIoSocket, emissions: Shared<Emission>) {
    const { url, headers, address } = socket.handshake;
    this.request = { url, headers, remoteAddress: address };
    this.flow = flowOf(socket.conn);
    this.#socket = socket;
    this.#emissions = emissions;
  }

  get bufferedAmount(): number {
    return this.flow.bufferedAmount;
  }

  get taken(): number | undefined {
    return this.flow.taken;
  }

  /** An event of the client: its one argument is the frame, and the ack waits for the response. */
  received([, frame, ack]: readonly unknown[]): unknown {
    const text = typeof frame === 'string' ? frame : textOf(frame);
    if (!isAck(ack) || this.#acks.size >= MOST_ACKS) return text;
    const asked = typeof frame === 'string' ? parsed(frame) : frame;
    const requestId = requestIdOf(asked);
    // Nothing else is answered: its ack would stay.
    if (requestId !== undefined && fieldsOf(asked).kind === 'request') {
      this.#acks.set(requestId, ack);
    }
    return text;
  }

  send(wires: readonly Wire[]): void {
    for (const wire of wires) {
      if (!this.#socket.connected) return;
      const { event, body, requestId = '' } = this.#emissions.of(String(wire));
      const ack = this.#acks.get(requestId);
      this.#acks.delete(requestId);
      if (ack !== undefined) ack(body);
      else this.#socket.emit(event, body);
    }
  }

  /** Ends the namespace alone: the reason stands in the frame before it. */
  close(): void {
    this.#socket.disconnect();
  }

  terminate(): void {
    this.#socket.disconnect();
    this.flow.terminate();
  }
}

export function emissionOf(text: string): Emission {
  const frame = parsed(text);
  const { kind, type } = fieldsOf(frame);
  return {
    event: kind === 'event' ? String(type) : `holdfast:${String(kind)}`,
    body: isTextOnly(text) ? text : frame,
    requestId: kind === 'response' ? requestIdOf(frame) : undefined,
  };
}

/** Socket.IO makes them: what a client sends is data alone. */
function isAck(value: unknown): value is Ack {
  return typeof value === 'function';
}

function requestIdOf(frame: unknown): string | undefined {
  const { requestId } = fieldsOf(frame);
  return typeof requestId === 'string' ? requestId : undefined;
}

/** Undefined for what no text can be made of: the hub counts it. */
function textOf(frame: unknown): string | undefined {
  try {
    return typeof frame === 'object' && frame !== null ? toText(frame) : undefined;
  } catch {
    return undefined;
  }
}

function parsed(text: string): unknown {
  try {
    return fromText(text);
  } catch {
    return undefined;
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
