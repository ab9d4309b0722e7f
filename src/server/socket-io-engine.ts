/** The connection below Socket.IO: how much waits there, and how to end it. Its engine has no types for that. */
import { Duplex } from 'node:stream';
import { bytesTaken } from './socket-flow.js';

/** An Engine.IO connection, which every namespace of a client shares. */
export interface EngineConnection {
  on(event: string, listener: (about: unknown) => void): unknown;
  close(discard?: boolean): unknown;
  readonly transport: object;
}

/** What the engine tells of one connection. */
export interface EngineListener {
  /** The transport has taken what it was given. */
  drained(): void;
  /** A packet came, perhaps a mere pong. */
  heard(): void;
}

/** The one flow of a connection, however many namespaces are served over it. */
export function flowOf(connection: EngineConnection): EngineFlow {
  const flow = flows.get(connection) ?? new EngineFlow(connection);
  flows.set(connection, flow);
  return flow;
}

const flows = new WeakMap<EngineConnection, EngineFlow>();

export class EngineFlow {
  readonly #connection: EngineConnection;
  readonly #listeners = new Set<EngineListener>();
  /** In the engine's buffer, in UTF-16 units and bytes; its transport may hold more. */
  #waiting = 0;

  constructor(connection: EngineConnection) {
    this.#connection = connection;
    connection.on('packetCreate', (packet) => {
      this.#waiting += sizeOf(packet);
    });
    connection.on('flush', () => {
      this.#waiting = 0;
    });
    connection.on('packet', () => {
      for (const { heard } of this.#listeners) heard();
    });
    this.#listenTo(connection.transport);
    connection.on('upgrade', (transport) => this.#listenTo(transport));
  }

  add(listener: EngineListener): void {
    this.#listeners.add(listener);
  }

  delete(listener: EngineListener): void {
    this.#listeners.delete(listener);
  }

  get bufferedAmount(): number {
    const below: unknown = this.#fieldOf(this.#webSocket, 'bufferedAmount');
    return this.#waiting + (typeof below === 'number' ? below : 0);
  }

  get taken(): number | undefined {
    const socket = this.#fieldOf(this.#webSocket, '_socket');
    return socket instanceof Duplex ? bytesTaken(socket) : undefined;
  }

  /** At once, whoever else uses the connection: nobody reads there. */
  terminate(): void {
    const terminate = this.#fieldOf(this.#webSocket, 'terminate');
    if (typeof terminate === 'function') terminate.call(this.#webSocket);
    else this.#connection.close(true);
  }

  /** Of `ws`; undefined while it polls. */
  get #webSocket(): unknown {
    return this.#fieldOf(this.#connection.transport, 'socket');
  }

  #listenTo(transport: unknown): void {
    const on = this.#fieldOf(transport, 'on');
    if (typeof on !== 'function') return;
    on.call(transport, 'drain', () => {
      for (const { drained } of this.#listeners) drained();
    });
  }

  #fieldOf(of: unknown, name: string): unknown {
    return typeof of === 'object' && of !== null ? Reflect.get(of, name) : undefined;
  }
}

function sizeOf(packet: unknown): number {
  if (typeof packet !== 'object' || packet === null || !('data' in packet)) return 0;
  const { data } = packet;
  return typeof data === 'string' || data instanceof Uint8Array ? data.length : 0;
}
