/** Socket.IO: over `socket.io-client`, whose own reconnecting, queueing and retrying stay off. */
import type { ManagerOptions, SocketOptions } from 'socket.io-client';
import type { Link, LinkEvents, Transport } from '../client/transport.js';
import { fromText } from '../protocol/bytes.js';
import { jsonCodec } from '../protocol/codec.js';
import { HoldfastError } from '../protocol/errors.js';
import type { ClientFrame, Garbled, Hello, ServerFrame } from '../protocol/frame.js';
import type { Outgoing } from '../protocol/wire.js';
import { ending, refusal } from './socket.io/faults.js';
import { fieldsOf } from './socket.io/fields.js';
import { holdfast, type SocketIoLanguage } from './socket.io/language.js';
import { type Managed, managedSocket } from './socket.io/managers.js';

export type { SocketIoLanguage } from './socket.io/language.js';
export { ordinary } from './socket.io/ordinary.js';
export type { OrdinaryCall, OrdinaryEvent, OrdinaryOptions } from './socket.io/ordinary-options.js';

/** What the client does itself. */
type Ours =
  | `reconnection${string}`
  | 'randomizationFactor'
  | 'retries'
  | 'ackTimeout'
  | 'auth'
  | 'autoConnect';

const OURS = /^(reconnection.*|randomizationFactor|retries|ackTimeout|auth|autoConnect)$/;

export interface SocketIoOptions extends Partial<Omit<ManagerOptions & SocketOptions, Ours>> {
  /** `ordinary({ … })` for a Socket.IO server that knows nothing of holdfast. @default a hub's */
  server?: SocketIoLanguage;
}

/**
 * Dials `url` (http:, https:, ws: or wss:, or a function for one that changes); its path is the
 * namespace. Takes any option of socket.io-client but those for what the client does itself:
 * credentials, reconnecting, retrying. Transports of one server with equal options share a connection,
 * one namespace each; `forceNew: true` or `multiplex: false` gives this one its own.
 * @throws HoldfastError `INVALID_PAYLOAD` for such an option
 */
export function socketIo(url: string | (() => string), options: SocketIoOptions = {}): Transport {
  const { server = holdfast, ...rest } = options;
  for (const name of Object.keys(rest)) {
    if (!OURS.test(name)) continue;
    throw new HoldfastError(
      'INVALID_PAYLOAD',
      `Leave the option ${name} out: the client does that itself.`,
    );
  }
  const speak = server.begin();
  return {
    name: 'socket.io',
    codec: jsonCodec,
    dial(hello, on) {
      const at = new URL(typeof url === 'function' ? url() : url);
      return dialed(managedSocket(at, rest), { hello, on, speak });
    },
  };
}

interface Dial {
  readonly hello: () => Hello;
  readonly on: LinkEvents;
  readonly speak: ReturnType<SocketIoLanguage['begin']>;
}

/** One socket for one link: it is never connected twice, so nothing of it can be sent later. */
function dialed({ socket, leave }: Managed, { hello, on, speak }: Dial): Link {
  let isOver = false;
  let hasPresented = false;
  let complaint: HoldfastError | undefined;

  const silence = () => {
    isOver = true;
    socket.off().offAny();
  };
  const failed = (fault: HoldfastError) => {
    if (isOver) return;
    silence();
    leave(false);
    on.closed(fault);
  };
  const received = (frame: ServerFrame | Garbled) => {
    if (isOver) return;
    if (frame.kind === 'error') complaint = HoldfastError.from(frame.error);
    on.received(frame);
  };
  const speech = speak({ socket, received, failed });

  socket.auth = (present) => {
    const presented = hello();
    hasPresented = true;
    present(speech.greet(presented));
    on.opened({ hello: presented, pings: speech.pings });
  };
  socket.on('connect', () => speech.connected());
  socket.on('connect_error', (error: unknown) => failed(refusal(error)));
  socket.on('disconnect', (reason, about) => failed(complaint ?? ending(reason, about)));
  socket.onAny((...event: unknown[]) => speech.heard(event));
  // Later: on a Manager that is open already it would present `hello` before `dial` has returned.
  queueMicrotask(() => {
    try {
      if (!isOver) socket.connect();
    } catch (error) {
      failed(refusal(error));
    }
  });

  return {
    send(frames) {
      for (const one of frames) {
        const frame = frameOf(one);
        // Whatever Socket.IO cannot send now, it would keep.
        if (frame === undefined || isOver || !socket.connected) continue;
        speech.say(frame, typeof one === 'string' ? one : undefined);
      }
    },
    close() {
      if (isOver) return;
      silence();
      leave(hasPresented && !socket.connected);
    },
    get bufferedAmount() {
      return buffered(socket.io.engine);
    },
  };
}

function frameOf(one: Outgoing): ClientFrame | undefined {
  if (typeof one !== 'string') return one instanceof Uint8Array ? undefined : one;
  try {
    const frame = fromText(one);
    return isFrame(frame) ? frame : undefined;
  } catch {
    // Out of a storage, and of another codec.
    return undefined;
  }
}

/** Of our own encoding: nothing else comes with a kind. */
function isFrame(value: unknown): value is ClientFrame {
  return 'kind' in fieldsOf(value);
}

/** Of everybody on the connection: what Engine.IO holds, and what its WebSocket does. */
function buffered(engine: Managed['socket']['io']['engine'] | undefined): number {
  // No engine before the first connection, whatever its type says.
  if (engine === undefined) return 0;
  let bytes = numberOf(Reflect.get(engine.transport, 'ws'), 'bufferedAmount');
  for (const packet of engine.writeBuffer) {
    const data: unknown = packet.data;
    bytes += typeof data === 'string' ? data.length : numberOf(data, 'byteLength');
  }
  return bytes;
}

function numberOf(of: unknown, name: string): number {
  const value = fieldsOf(of)[name];
  return typeof value === 'number' ? value : 0;
}
