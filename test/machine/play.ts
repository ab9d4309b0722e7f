/** A session played by hand: facts in, orders out, time that stands until a test moves it. */
import type { Ask, Fact, Restored } from '../../src/machine/fact.js';
import type { Order } from '../../src/machine/order.js';
import type { ConnectionState } from '../../src/machine/status.js';
import { closeFault, HoldfastError } from '../../src/protocol/errors.js';
import type { ClientFrame, Hello, ServerFrame, Welcome } from '../../src/protocol/frame.js';
import type { Outgoing } from '../../src/protocol/wire.js';
import { type Overrides, sessionOptions } from './options.js';
import type { Phase } from './scene.js';
import { Witness } from './witness.js';

type Named<Name extends Order['order']> = Extract<Order, { order: Name }>;

export function play(overrides: Overrides = {}): Play {
  return new Play(overrides);
}

/** Every step is watched: an invariant that breaks throws, whatever the test is about. */
export class Play {
  readonly witness: Witness;
  now = 1_000;
  /** The roll of every step. */
  roll = 0.5;
  /** Every order so far. */
  readonly orders: Order[] = [];
  #ids = 0;

  constructor(overrides: Overrides) {
    this.witness = new Witness(sessionOptions(overrides));
  }

  get phase(): Phase {
    return this.witness.phase;
  }

  get state(): ConnectionState {
    return this.witness.state;
  }

  /** Milliseconds until the deadline. */
  get due(): number {
    return this.witness.deadline - this.now;
  }

  /** The link under way, else the live one. */
  get link(): number {
    return this.witness.links.dialed?.link ?? this.witness.links.live ?? 0;
  }

  /** What the newest link presented. */
  get hello(): Hello {
    if (this.witness.hello === null) throw new Error('No link has opened yet.');
    return this.witness.hello;
  }

  /** One fact. Listeners are quick: what is delivered is had at once. */
  do(fact: Fact): Order[] {
    const orders = this.witness.step(fact, this.now, this.roll);
    this.orders.push(...orders);
    for (const order of orders) {
      if (this.#stores && order.order === 'restore') {
        this.do({ fact: 'restored', saved: this.saved, date: 0 });
      }
      if (this.#stores && order.order === 'store') this.do({ fact: 'stored', write: order.write });
      if (order.order !== 'deliver' || order.event.room === undefined) continue;
      const { eventId, room } = order.event;
      if (this.#quick) this.do({ fact: 'delivered', room, eventId });
    }
    return orders;
  }

  #quick = true;
  /** What the storage holds when it is opened. */
  saved: Restored = { clientId: 'saved', link: 0, user: undefined, requests: [], cursors: [] };
  #stores = true;

  /** From now on the test itself answers for the storage. */
  slowStorage(): this {
    this.#stores = false;
    return this;
  }

  /** From now on the test itself says when listeners are done. */
  slowListeners(): this {
    this.#quick = false;
    return this;
  }

  /** The end of a tick. Returns what was written. */
  tick(buffered = 0): Outgoing[] {
    const orders = this.do({ fact: 'tickEnded', buffered });
    return orders.flatMap((order) => (order.order === 'transmit' ? order.frames : []));
  }

  /** Lets time pass, with a timer that is always in time. Returns all orders on the way. */
  wait(ms: number, buffered = 0): Order[] {
    const until = this.now + ms;
    const orders: Order[] = [];
    for (let vain = 0; this.witness.deadline <= until; vain++) {
      if (vain > 10_000)
        throw new Error(`The deadline does not move from ${this.witness.deadline}`);
      this.now = Math.max(this.now, this.witness.deadline);
      orders.push(...this.do({ fact: 'timeUp', buffered }));
      orders.push(...this.do({ fact: 'tickEnded', buffered }));
    }
    this.now = until;
    return orders;
  }

  /** As far as a dial. */
  dial(): this {
    this.do({ fact: 'connectAsked' });
    if (this.phase === 'asking') this.credentials();
    return this;
  }

  /** Until the server has been greeted. */
  greet(): this {
    if (this.phase === 'idle') this.dial();
    this.do({ fact: 'opened', link: this.link });
    return this;
  }

  /** Until connected. */
  open(welcome: Partial<Welcome> = {}): this {
    if (this.phase !== 'greeting' && this.phase !== 'moving') this.greet();
    this.receive({ kind: 'welcome', connectionId: 'c', session: 's1', user: 'ann', ...welcome });
    this.tick();
    return this;
  }

  /** A frame of the link under way, else of the live one. */
  receive(frame: ServerFrame, link = this.link): Order[] {
    return this.do({ fact: 'received', link, frame });
  }

  credentials(key = `token-${++this.#ids}`): Order[] {
    const ask = this.witness.links.asks;
    return this.do({ fact: 'credentialsGiven', ask, auth: { token: key }, key });
  }

  lose(fault: HoldfastError = closeFault(1006, ''), link = this.link): Order[] {
    return this.do({ fact: 'lost', link, fault });
  }

  ask(requestId: string, about: Partial<Ask> = {}): Order[] {
    return this.do({ fact: 'asked', request: request(requestId, about) });
  }

  respond(
    requestId: string,
    code?: string,
    about: { retryable?: boolean; retryAfter?: number } = {},
  ): Order[] {
    const kind = 'response';
    if (code === undefined)
      return this.receive({ kind, requestId, success: true, data: requestId });
    return this.receive({
      kind,
      requestId,
      success: false,
      error: { code, message: 'no', ...about },
    });
  }

  join(room: string, since?: string): number {
    const call = ++this.#ids;
    this.do({ fact: 'joinAsked', room, call, since });
    return call;
  }

  /** The verdict on a join: where the reader starts. */
  joined(room: string, epoch: string, seq: number, reason?: 'new' | 'expired' | 'epoch'): Order[] {
    const cursor = `${room}|${epoch}|${seq}`;
    const recovered = reason === undefined ? { recovered: true } : { recovered: false, reason };
    return this.receive({ kind: 'room', room, joined: true, epoch, cursor, seq, ...recovered });
  }

  caughtUp(room: string, epoch: string, seq: number): Order[] {
    return this.receive({ kind: 'room', room, caughtUp: true, cursor: `${room}|${epoch}|${seq}` });
  }

  event(room: string, epoch: string, seq: number): Order[] {
    const eventId = `${room}|${epoch}|${seq}`;
    return this.receive({ kind: 'event', eventId, type: 'a:b', timestamp: 0, room, seq });
  }

  /** Every order of one kind so far. */
  all<Name extends Order['order']>(name: Name): Named<Name>[] {
    return only(this.orders, name);
  }

  /** How a request ended: data, or an error's code and reason; null while it is open. */
  outcome(requestId: string): string | null {
    for (const order of this.orders) {
      if (order.order === 'settle' && order.requestId === requestId) return 'settled';
      if (order.order !== 'reject' || order.requestId !== requestId) continue;
      const { code, details } = order.error;
      return typeof details.reason === 'string' ? `${code} ${details.reason}` : code;
    }
    return null;
  }

  /** The eventIds that were given to listeners, in order. */
  get delivered(): string[] {
    return this.all('deliver').map(({ event }) => event.eventId);
  }

  /** Every frame of one kind that was ever written. */
  written<Kind extends ClientFrame['kind']>(kind: Kind): Extract<ClientFrame, { kind: Kind }>[] {
    return this.all('transmit').flatMap(({ frames }) =>
      frames.filter((frame): frame is Extract<ClientFrame, { kind: Kind }> => isKind(frame, kind)),
    );
  }
}

export function only<Name extends Order['order']>(
  orders: readonly Order[],
  name: Name,
): Named<Name>[] {
  return orders.filter((order): order is Named<Name> => order.order === name);
}

export function names(orders: readonly Order[]): string[] {
  return orders.map(({ order }) => order);
}

/** A request whose wire is its id. */
export function request(requestId: string, about: Partial<Ask> = {}): Ask {
  return {
    requestId,
    type: 'x:y',
    payload: null,
    room: undefined,
    wire: requestId,
    bytes: 10,
    delivery: 'exactly-once',
    timeout: 30_000,
    ttl: Number.POSITIVE_INFINITY,
    expiresAt: Number.POSITIVE_INFINITY,
    coalesceKey: undefined,
    ...about,
  };
}

export function failed(
  code: string,
  about: { retryAfter?: number; retryable?: boolean } = {},
): HoldfastError {
  return new HoldfastError(code, 'as told', about);
}

function isKind(frame: Outgoing, kind: string): boolean {
  return typeof frame === 'object' && 'kind' in frame && frame.kind === kind;
}
