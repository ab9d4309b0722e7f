/** Managers of socket.io-client: namespaces of one server share one. The application's own are never touched. */
import { Manager, type ManagerOptions, type Socket, type SocketOptions } from 'socket.io-client';

export type ManagedOptions = Partial<ManagerOptions & SocketOptions>;

/** A socket that is not connected yet, and never was. */
export interface Managed {
  readonly socket: Socket;
  /**
   * Ends it. One that the server may be about to accept waits for that, since nothing else would tell the
   * server: unless nobody else uses its Manager, which then closes.
   */
  leave(isPending: boolean): void;
}

interface Shared {
  readonly uri: string;
  readonly options: ManagedOptions;
  readonly manager: Manager;
  /** Every namespace it was ever used for: what still arrives for an old socket is not for a new one. */
  readonly sockets: Map<string, Socket>;
  /** Those that only wait for the server's word. */
  readonly left: Set<Socket>;
}

/** Managers that are not closed. */
const live = new Set<Shared>();

export function managedSocket(url: URL, options: ManagedOptions): Managed {
  const { origin, pathname, search } = url;
  const shared = managerOf(options.query === undefined ? `${origin}/${search}` : origin, {
    options,
    namespace: pathname,
  });
  const { manager, sockets, left } = shared;
  const socket = manager.socket(pathname);
  sockets.set(pathname, socket);
  return {
    socket,
    leave(isPending) {
      if (isPending) {
        left.add(socket);
        socket.on('connect', () => socket.disconnect());
      } else socket.disconnect();
      const active = [...sockets.values()].filter((one) => one.active);
      if (active.every((one) => left.has(one))) for (const one of active) one.disconnect();
    },
  };
}

function managerOf(uri: string, wanted: { options: ManagedOptions; namespace: string }): Shared {
  const { options, namespace } = wanted;
  if (!options.forceNew && options.multiplex !== false) {
    for (const one of live) {
      const isFree = one.uri === uri && !one.sockets.has(namespace);
      if (isFree && isSame(one.options, options)) return one;
    }
  }
  const manager = new Manager(uri, { ...options, reconnection: false, autoConnect: false });
  const sockets = new Map<string, Socket>();
  const shared = { uri, options, manager, sockets, left: new Set<Socket>() };
  const drop = () => void live.delete(shared);
  live.add(shared);
  manager.on('close', drop).on('error', drop);
  return shared;
}

/** Equal as data; what is no plain object or array (an agent, a parser) is equal to itself alone. */
function isSame(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (!isPlain(one) || !isPlain(other)) return false;
  const keys = Object.keys(one);
  return (
    keys.length === Object.keys(other).length && keys.every((key) => isSame(one[key], other[key]))
  );
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
}
