/** A server that keeps the protocol, mostly: it forgets, refuses, leaves, repeats, and loses frames. */

import {
  type ClientFrame,
  type ErrorBody,
  type Event,
  type Hello,
  ME,
  type RoomWish,
  type ServerFrame,
  type Terms,
} from '../../../src/protocol/frame.js';
import type { Outgoing } from '../../../src/protocol/wire.js';
import { placeOf } from '../scene.js';
import type { Dice } from './dice.js';

interface Journal {
  epoch: number;
  /** The last seq, and the last one that is no longer kept. */
  last: number;
  floor: number;
  /** Numbers that it skips for ever. */
  readonly holes: Set<number>;
}

interface Wire {
  /** What is on its way to the client. */
  readonly queue: ServerFrame[];
  /** Rooms it serves, each with the next seq. */
  readonly readers: Map<string, number>;
  readonly user: string;
  /** An overloaded node refuses most requests for now. */
  readonly isBusy: boolean;
}

/** Why history is missing, and from where it was asked for. */
interface Lost {
  reason: 'new' | 'expired' | 'epoch';
  since?: string;
}

export class HostileServer {
  readonly #dice: Dice;
  readonly #wires = new Map<number, Wire>();
  readonly #journals = new Map<string, Journal>();
  readonly #plain: string[] = [];
  /** It repeats the `since` of the join that it answers. */
  readonly #saysSince: boolean;
  #session = 1;
  #user = 'ann';
  #epochs = 0;

  constructor(dice: Dice) {
    this.#dice = dice;
    this.#saysSince = dice.chance(0.6);
  }

  /** A link has opened and presented itself. */
  hello(link: number, hello: Hello): void {
    const dice = this.#dice;
    if (dice.chance(0.1)) this.#session++;
    if (dice.chance(0.05)) this.#user = this.#user === 'ann' ? 'bob' : 'ann';
    const isBusy = dice.chance(0.2);
    const wire: Wire = { queue: [], readers: new Map(), user: this.#user, isBusy };
    this.#wires.set(link, wire);
    if (dice.chance(0.1)) {
      wire.queue.push(this.#refusal());
      return;
    }
    const session = dice.chance(0.85) ? { session: `s${this.#session}` } : {};
    const user = dice.chance(0.9) ? { user: this.#user } : {};
    wire.queue.push({
      kind: 'welcome',
      connectionId: `c${link}`,
      ...session,
      ...user,
      terms: this.#terms(),
    });
    if (!hello.rooms.some(({ room }) => room === ME)) this.#serve(wire, { room: ME });
    for (const wish of hello.rooms) this.#serve(wire, wish);
  }

  /** What the client wrote to a link. */
  take(link: number, frames: readonly Outgoing[]): void {
    const wire = this.#wires.get(link);
    if (wire === undefined) return;
    for (const frame of frames) {
      if (typeof frame === 'string') this.#request(wire, frame);
      else if (!(frame instanceof Uint8Array)) this.#answer(wire, frame);
    }
  }

  /**
   * The next frame of a link, if there is one. Now and then an event or a response is lost, doubled,
   * or overtaken; a verdict never is, since events do not say their epoch.
   */
  next(link: number): ServerFrame | null {
    const queue = this.#wires.get(link)?.queue ?? [];
    const [first, second] = queue;
    const luck = first?.kind === 'event' || first?.kind === 'response' ? this.#dice.roll() : 1;
    if (first === undefined) return null;
    if (luck < 0.02 && second?.kind === 'event') queue.splice(0, 2, second, first);
    else if (luck < 0.04) queue.shift();
    else if (luck < 0.06) return first;
    return queue.shift() ?? null;
  }

  /** Links that have something to say, old ones included. */
  get talking(): number[] {
    return [...this.#wires].flatMap(([link, { queue }]) => (queue.length === 0 ? [] : [link]));
  }

  publish(room: string): void {
    const key = this.#keyOf(room, this.#user);
    const journal = this.#journal(key);
    const seq = ++journal.last;
    if (this.#dice.chance(0.08)) journal.holes.add(seq);
    if (this.#dice.chance(0.2)) journal.floor = Math.max(journal.floor, seq - this.#dice.below(4));
    for (const wire of this.#wires.values()) {
      if (this.#keyOf(room, wire.user) !== key) continue;
      const at = wire.readers.get(room);
      if (at !== undefined) this.#read(wire, room, at);
    }
  }

  /** The room's history is gone: it starts over. */
  restart(room: string): void {
    const key = this.#keyOf(room, this.#user);
    const journal = this.#journal(key);
    journal.epoch = ++this.#epochs;
    journal.last = this.#dice.below(3);
    journal.floor = journal.last;
    journal.holes.clear();
    for (const wire of this.#wires.values()) {
      const isHere = this.#keyOf(room, wire.user) === key && wire.readers.has(room);
      if (isHere) this.#joined(wire, room, { reason: 'epoch' });
    }
  }

  /** Something a server may say unasked. */
  say(link: number): void {
    const wire = this.#wires.get(link);
    if (wire === undefined) return;
    const dice = this.#dice;
    const [room] = [...wire.readers.keys()];
    const removed = { code: 'FORBIDDEN', message: 'removed' };
    const frame = dice.pick<ServerFrame | null>(
      { kind: 'ping' },
      { kind: 'pong' },
      { kind: 'goodbye', reason: 'deploy', reconnectAfter: dice.below(3) * 200, spread: 500 },
      { kind: 'goodbye', reason: 'deploy' },
      { kind: 'auth', expiresIn: dice.below(20_000) },
      { kind: 'error', error: { code: 'SERVER_ERROR', message: 'odd' } },
      dice.chance(0.3) ? this.#refusal() : null,
      room === undefined ? null : { kind: 'room', room, error: removed },
      this.#plainEvent(),
    );
    if (frame !== null) wire.queue.push(frame);
    if (frame?.kind === 'room' && room !== undefined) wire.readers.delete(room);
  }

  /** An id that `onGap` may say its state is current to. */
  somewhere(room: string): string {
    const { epoch, floor, last } = this.#journal(this.#keyOf(room, this.#user));
    return `${room}|${epoch}|${Math.max(floor, last - this.#dice.below(3))}`;
  }

  #answer(wire: Wire, frame: ClientFrame): void {
    const dice = this.#dice;
    if (frame.kind === 'join') for (const wish of frame.rooms) this.#serve(wire, wish);
    else if (frame.kind === 'leave') {
      for (const room of frame.rooms) {
        wire.readers.delete(room);
        wire.queue.push({ kind: 'room', room, left: true });
      }
    } else if (frame.kind === 'ping' && dice.chance(0.8)) wire.queue.push({ kind: 'pong' });
    else if (frame.kind === 'auth') {
      const error = { code: 'TOKEN_EXPIRED', message: 'no' };
      wire.queue.push(
        dice.chance(0.7)
          ? { kind: 'auth', expiresIn: dice.below(30_000) }
          : { kind: 'auth', error },
      );
    }
  }

  #request(wire: Wire, requestId: string): void {
    if (!requestId.startsWith('q') || this.#dice.chance(0.1)) return;
    const kind = 'response';
    if (wire.isBusy && this.#dice.chance(0.7)) {
      const error = {
        code: 'RATE_LIMITED',
        message: 'busy',
        retryAfter: this.#dice.pick(5, 5_000),
      };
      wire.queue.push({ kind, requestId, success: false, error });
    } else if (this.#dice.chance(0.6))
      wire.queue.push({ kind, requestId, success: true, data: requestId });
    else wire.queue.push({ kind, requestId, success: false, error: this.#error() });
  }

  #serve(wire: Wire, { room, since }: RoomWish): void {
    const dice = this.#dice;
    if (dice.chance(0.06)) {
      const retryable = dice.chance(0.5);
      const error = { code: 'FORBIDDEN', message: 'no', retryable, retryAfter: dice.below(500) };
      wire.queue.push({ kind: 'room', room, error });
      return;
    }
    if (since === undefined) {
      this.#joined(wire, room, { reason: 'new' });
      return;
    }
    const place = placeOf(since);
    const { epoch, floor, last } = this.#journal(this.#keyOf(room, wire.user));
    const isGone = place.seq < floor || place.seq > last;
    if (place.epoch !== String(epoch)) this.#joined(wire, room, { reason: 'epoch', since });
    else if (isGone) this.#joined(wire, room, { reason: 'expired', since });
    else this.#joined(wire, room, null, place.seq);
  }

  #joined(wire: Wire, room: string, lost: Lost | null, at?: number): void {
    const { epoch, last } = this.#journal(this.#keyOf(room, wire.user));
    const seq = at ?? last;
    const cursor = `${room}|${epoch}|${seq}`;
    const { since = undefined, ...why } = lost ?? {};
    const said = since === undefined || !this.#saysSince ? why : { ...why, since };
    const recovered = lost === null ? { recovered: true } : { recovered: false, ...said };
    wire.queue.push({
      kind: 'room',
      room,
      joined: true,
      epoch: `${epoch}`,
      cursor,
      seq,
      ...recovered,
    });
    this.#read(wire, room, seq + 1);
    wire.queue.push({ kind: 'room', room, caughtUp: true, cursor: `${room}|${epoch}|${last}` });
  }

  #read(wire: Wire, room: string, from: number): void {
    const { epoch, holes, last } = this.#journal(this.#keyOf(room, wire.user));
    for (let seq = from; seq <= last; seq++) {
      if (!holes.has(seq)) wire.queue.push(event(room, epoch, seq));
    }
    wire.readers.set(room, last + 1);
  }

  /** An event of a server without a journal; now and then one it has sent before. */
  #plainEvent(): Event {
    const known = this.#dice.chance(0.4) ? this.#dice.of(this.#plain) : null;
    const eventId = known ?? `p${this.#plain.length}`;
    if (known === null) this.#plain.push(eventId);
    return { kind: 'event', eventId, type: 'a:b', timestamp: 0 };
  }

  #refusal(): ServerFrame {
    const dice = this.#dice;
    const code = dice.pick(
      'TOKEN_EXPIRED',
      'RATE_LIMITED',
      'SERVER_ERROR',
      'UNAUTHORIZED',
      'SUPERSEDED',
    );
    const error = { code, message: 'refused', retryAfter: dice.below(3_000) };
    return dice.pick<ServerFrame>(
      { kind: 'error', error },
      { kind: 'goodbye', reason: 'draining', reconnectAfter: dice.below(2_000) },
    );
  }

  #error(): ErrorBody {
    const dice = this.#dice;
    const code = dice.pick(
      'TOKEN_EXPIRED',
      'RATE_LIMITED',
      'SERVER_ERROR',
      'FORBIDDEN',
      'INVALID_PAYLOAD',
      'OUTCOME_UNKNOWN',
      'OUT_OF_STOCK',
    );
    const body = { code, message: 'no' };
    if (code === 'RATE_LIMITED') return { ...body, retryAfter: dice.pick(5, 5_000) };
    return code === 'SERVER_ERROR' && dice.chance(0.6) ? { ...body, retryable: true } : body;
  }

  #terms(): Partial<Terms> {
    const dice = this.#dice;
    return {
      ...(dice.chance(0.3) ? { heartbeat: { interval: 3_000, timeout: 1_000 } } : {}),
      ...(dice.chance(0.2) ? { retrySpread: dice.pick(0, 2_000, 20_000) } : {}),
      ...(dice.chance(0.2) ? { authExpiresIn: dice.below(20_000) } : {}),
      ...(dice.chance(0.1) ? { maxMessageSize: 60 } : {}),
      ...(dice.chance(0.2) ? { messagesPerSecond: dice.pick(0.5, 3, 7) } : {}),
    };
  }

  /** `@me` is another room for each user. */
  #keyOf(room: string, user: string): string {
    return room === ME ? `${ME}${user}` : room;
  }

  #journal(key: string): Journal {
    const known = this.#journals.get(key);
    if (known !== undefined) return known;
    const journal: Journal = { epoch: ++this.#epochs, last: 0, floor: 0, holes: new Set() };
    this.#journals.set(key, journal);
    return journal;
  }
}

function event(room: string, epoch: number, seq: number): Event {
  const eventId = `${room}|${epoch}|${seq}`;
  return { kind: 'event', eventId, type: 'a:b', timestamp: 0, room, seq };
}
