/** Socket.IO connections, over a server of the application's own: `socket.io` is never imported here. */
import { HoldfastError } from '../protocol/errors.js';
import { errorBody } from './failure.js';
import { Shared } from './shared.js';
import { emissionOf, type SocketIoSocket, serveSocket } from './socket-io-wire.js';
import type { ServerWire, ServerWireEvents } from './wire.js';

/** A `Server` or a `Namespace` of `socket.io` 4. */
export interface SocketIoServer {
  on(event: 'connection', listener: (socket: SocketIoSocket) => void): unknown;
  off(event: 'connection', listener: (socket: SocketIoSocket) => void): unknown;
}

/** What the hub adds. */
export interface SocketIoAttachment {
  readonly maxMessageSize: number;
  readonly origins: readonly string[] | undefined;
  readonly accept: (wire: ServerWire) => ServerWireEvents;
}

/** Around a frame of the largest size: its type once more, the namespace, the number of its ack. */
const ENVELOPE = 1_024;
/** What an engine reads where nothing else was said. */
const DEFAULT_SIZE = 1_000_000;

/**
 * Serves until the returned detach is called, which ends what it served.
 * @throws TypeError where an option of that server would break the hub's promises.
 */
export function attachSocketIO(io: SocketIoServer, attachment: SocketIoAttachment): () => void {
  const { maxMessageSize, origins, accept } = attachment;
  checkServer(io, maxMessageSize);
  const emissions = new Shared(emissionOf);
  const served = new Set<SocketIoSocket>();
  let isDetached = false;
  const serve = (socket: SocketIoSocket) => {
    // The namespaces of a pattern keep the listeners that it had.
    if (isDetached) return;
    const { origin } = socket.handshake.headers;
    if (origins !== undefined && origin !== undefined && !origins.includes(String(origin))) {
      const error = errorBody(new HoldfastError('UNAUTHORIZED', WRONG_ORIGIN));
      socket.emit('holdfast:error', { kind: 'error', error });
      socket.disconnect();
      return;
    }
    served.add(socket);
    socket.on('disconnect', () => served.delete(socket));
    serveSocket(socket, emissions, accept);
  };
  io.on('connection', serve);
  return () => {
    isDetached = true;
    io.off('connection', serve);
    for (const socket of served) socket.disconnect();
  };
}

const WRONG_ORIGIN = 'This origin may not connect. Add it to limits.origins.';

function checkServer(io: SocketIoServer, maxMessageSize: number): void {
  // A namespace knows its server; its options, and those of the engine below, have no public types.
  const server = fieldOf(io, 'server') ?? io;
  const options = fieldOf(server, '_opts');
  if (fieldOf(options, 'connectionStateRecovery')) {
    throw new TypeError(
      'attachSocketIO: connectionStateRecovery would send events again that the hub sends itself, and without asking authenticate. Leave it out of the options of this Socket.IO server, or use another server for the hub.',
    );
  }
  const engine = fieldOf(fieldOf(server, 'engine'), 'opts');
  const size = fieldOf(engine ?? options, 'maxHttpBufferSize') ?? DEFAULT_SIZE;
  if (typeof size === 'number' && size >= maxMessageSize + ENVELOPE) return;
  throw new TypeError(
    `attachSocketIO: maxHttpBufferSize of the Socket.IO server is ${String(size)}, too small for frames of limits.maxMessageSize, ${maxMessageSize}. Set it to ${maxMessageSize + ENVELOPE} or more, or maxMessageSize to ${Number(size) - ENVELOPE} or less.`,
  );
}

function fieldOf(of: unknown, name: string): unknown {
  return typeof of === 'object' && of !== null ? Reflect.get(of, name) : undefined;
}
