/** A hub on a virtual clock, and clients that are nothing but a wire and a list of frames. */
import { createHub, type HubOptions, type ServerWire } from 'holdfast/server';
import { ids, seededDice, type VirtualClock, virtualClock } from 'holdfast/testing';
import type { AnyContract, Contract } from '../../src/protocol/contract.js';
import type { ClientFrame, ServerFrame } from '../../src/protocol/frame.js';
import { serverFrame } from '../../src/protocol/schema.js';
import type { Wire } from '../../src/protocol/wire.js';

export type Kind<K extends ServerFrame['kind']> = Extract<ServerFrame, { kind: K }>;

export interface World {
  readonly clock: VirtualClock;
  readonly errors: { error: unknown; about: string }[];
}

export function world(): World {
  return { clock: virtualClock(), errors: [] };
}

let hubs = 0;

/** A hub of this world: its errors are collected, its ids are its own. */
export function hubOf<C extends Contract = AnyContract, U = string, A = unknown>(
  { clock, errors }: World,
  options: HubOptions<C, U, A> = {},
) {
  return createHub<C, U, A>({
    onError: (error, about) => errors.push({ error, about }),
    environment: { clock, random: seededDice(7), id: ids(`hub${++hubs}`) },
    ...options,
  });
}

/** Frames that may leave out what a test does not care about. */
type Loose = { kind: ClientFrame['kind'] } & Record<string, unknown>;

export class FakeClient {
  readonly frames: ServerFrame[] = [];
  /** How often the hub wrote: frames of one write share it. */
  writes = 0;
  closed: { code: number; reason: string } | 'terminated' | undefined;
  /** Off: what is written stays in the buffer. */
  reads = true;
  /** What the network has taken, where the wire can tell. */
  taken: number | undefined;
  /** Off: a close of the server is never answered. */
  answersClose = true;
  readonly #clock: VirtualClock;
  readonly #on: ReturnType<ReturnType<typeof createHub>['accept']>;
  readonly #held: string[] = [];
  readonly #buffer = { bytes: 0 };
  #gone = false;

  constructor(hub: { accept: ReturnType<typeof createHub>['accept'] }, { clock }: World) {
    this.#clock = clock;
    const buffer = this.#buffer;
    const taken = () => this.taken;
    const wire: ServerWire = {
      transport: 'memory',
      request: { url: 'memory:/', headers: {}, remoteAddress: undefined },
      send: (wires) => this.#written(wires),
      close: (code, reason) => {
        this.closed ??= { code, reason };
        if (this.answersClose) clock.after(0, () => this.lose());
      },
      terminate: () => {
        this.closed ??= 'terminated';
        clock.after(0, () => this.lose());
      },
      get bufferedAmount() {
        return buffer.bytes;
      },
      get taken() {
        return taken();
      },
    };
    this.#on = hub.accept(wire);
  }

  /** What the network has not taken yet, in bytes. */
  get bufferedAmount(): number {
    return this.#buffer.bytes;
  }

  /** Sends frames, then lets everything settle. */
  async send(...frames: (Loose | string)[]): Promise<void> {
    for (const frame of frames) {
      this.#on.received(typeof frame === 'string' ? frame : JSON.stringify(frame));
    }
    await this.#clock.settle();
  }

  async hello(fields: Record<string, unknown> = {}): Promise<void> {
    await this.send({ kind: 'hello', protocol: 1, clientId: 'c1', link: 1, rooms: [], ...fields });
  }

  async request(requestId: string, type: string, fields: Record<string, unknown> = {}) {
    await this.send({ kind: 'request', requestId, type, timestamp: 1, ...fields });
  }

  /** What the network took at last; everything, where no count is given. */
  async take(frames = Number.POSITIVE_INFINITY): Promise<void> {
    for (let taken = 0; taken < frames && this.#held.length > 0; taken++) {
      const text = this.#held.shift() ?? '';
      this.#buffer.bytes -= text.length;
      this.frames.push(parsed(text));
    }
    this.#on.drained();
    await this.#clock.settle();
  }

  /** Bytes of a frame that is not whole yet. */
  progress(): void {
    this.#on.progressed?.();
  }

  /** The wire is gone. */
  lose(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#on.closed();
  }

  all<K extends ServerFrame['kind']>(kind: K): Kind<K>[] {
    return this.frames.filter((frame): frame is Kind<K> => frame.kind === kind);
  }

  last<K extends ServerFrame['kind']>(kind: K): Kind<K> | undefined {
    return this.all(kind).at(-1);
  }

  /** Verdicts about one room, `caughtUp` left out. */
  verdicts(room: string) {
    return this.all('room').filter((frame) => frame.room === room && !('caughtUp' in frame));
  }

  /** The seqs of a room's events, as they came. */
  seqs(room: string): (number | undefined)[] {
    return this.events(room).map((event) => event.seq);
  }

  events(room: string) {
    return this.all('event').filter((event) => event.room === room);
  }

  response(requestId: string) {
    return this.all('response').find((frame) => frame.requestId === requestId);
  }

  #written(wires: readonly Wire[]): void {
    this.writes++;
    for (const wire of wires) {
      if (typeof wire !== 'string') throw new Error('The hub writes text.');
      if (this.reads && this.#held.length === 0) this.frames.push(parsed(wire));
      else {
        this.#held.push(wire);
        this.#buffer.bytes += wire.length;
      }
    }
  }
}

/** Every frame a hub writes fits the schema. */
function parsed(text: string): ServerFrame {
  const frame: unknown = JSON.parse(text);
  return serverFrame.parse(frame) as ServerFrame;
}
