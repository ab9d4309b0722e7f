/** One link to a Socket.IO server that knows nothing of holdfast: who is in which room, and what was missed. */
import type { Socket } from 'socket.io-client';
import { platformEnvironment } from '../../client/environment.js';
import { HoldfastError } from '../../protocol/errors.js';
import {
  type ClientFrame,
  type ErrorBody,
  type Event,
  type Hello,
  ME,
  type RoomWish,
} from '../../protocol/frame.js';
import { fieldsOf, isObject, viewed } from './fields.js';
import type { Speech, Talk } from './language.js';
import type { OrdinaryEvent, OrdinaryOptions } from './ordinary-options.js';
import { type Outcome, outcome } from './outcome.js';

/** What outlives a link. */
export interface Memory {
  /** Rooms that the last session of the server has. */
  readonly joined: Set<string>;
  /** Where the last events stood, as the server said it. */
  readonly seen: Map<string, Place>;
  /** The last one that was handed on, whatever its room. */
  last?: Place | undefined;
  /** The last socket that was connected, and whose it was: Socket.IO can recover it. */
  socket?: Socket;
  offset?: unknown;
  auth?: string;
  /** Nothing that Socket.IO counts as received was held back when the link ended. */
  isWhole: boolean;
}

interface Place {
  readonly lastEventId?: unknown;
  readonly lastTimestamp?: unknown;
}

/** Events whose timestamps are remembered: more than any listener lags behind. */
const MOST_SEEN = 1_000;

/** A cursor of ours, for a room without an event yet: `@` and Unix milliseconds. */
const MOMENT = /^@\d+$/;

export class OrdinarySpeech implements Speech {
  readonly pings: boolean;
  readonly #settings: Required<OrdinaryOptions>;
  readonly #memory: Memory;
  readonly #talk: Talk;
  #wishes: readonly RoomWish[] = [];
  /** By which the socket may be recovered. */
  #pid: unknown;
  /** Why events are held: not welcomed yet, or something was missed before them. */
  #holds = 1;
  #held: Event[] = [];
  /** Rooms on whose verdict their events wait. */
  readonly #entering = new Set<string>();
  #serial = 0;
  /** There are new credentials: such a server takes them with a connection alone. */
  #isLeaving = false;

  constructor(settings: Required<OrdinaryOptions>, memory: Memory, talk: Talk) {
    this.#settings = settings;
    this.#memory = memory;
    this.#talk = talk;
    this.pings = settings.ping !== false;
  }

  greet({ auth, rooms }: Hello): object {
    const memory = this.#memory;
    this.#wishes = rooms.filter(({ room }) => room !== ME);
    const shown = isObject(auth) ? auth : auth === undefined ? {} : { token: auth };
    // Recovery may skip what checks credentials: it is for those alone who present the same ones.
    const key = JSON.stringify(shown);
    const { _pid, _lastOffset = memory.offset } = fieldsOf(memory.socket);
    memory.offset = _lastOffset;
    if (memory.isWhole && memory.auth === key) this.#pid = _pid;
    memory.auth = key;
    return this.#pid === undefined ? shown : { pid: this.#pid, offset: _lastOffset, ...shown };
  }

  connected(): void {
    const { socket, received } = this.#talk;
    const memory = this.#memory;
    const recovered = this.#pid !== undefined && fieldsOf(socket)._pid === this.#pid;
    if (!recovered) {
      memory.joined.clear();
      memory.offset = undefined;
    }
    memory.socket = socket;
    received({ kind: 'welcome', connectionId: socket.id ?? 'unnamed' });
    const wanted = new Set(this.#wishes.map(({ room }) => room));
    for (const room of memory.joined) if (!wanted.has(room)) this.#leave(room);
    const stays = this.#wishes.filter(({ room }) => memory.joined.has(room));
    for (const wish of stays) this.#stands(wish, true);
    for (const { room } of stays) this.#caughtUp(room);
    const others = this.#wishes.filter((wish) => !stays.includes(wish));
    void this.#enter(others, !recovered);
    this.#holds--;
    this.#giveHeld();
  }

  heard([name, ...args]: readonly unknown[]): void {
    const last = args.at(-1);
    // An ack that the server waits for, or the offset that it adds for its recovery.
    const isAdded = typeof last === 'string' && fieldsOf(this.#talk.socket)._pid !== undefined;
    if (isAdded || typeof last === 'function') args.pop();
    const event = this.#read(String(name), args);
    if (event === undefined) return;
    this.#held.push(event);
    this.#giveHeld();
  }

  say(frame: ClientFrame): void {
    const { socket, received, failed } = this.#talk;
    const { args, ping } = this.#settings;
    switch (frame.kind) {
      case 'request':
        if (this.#isLeaving) {
          received({ kind: 'response', requestId: frame.requestId, success: false, error: later });
          break;
        }
        try {
          socket.emit(frame.type, ...args(frame), (answer: unknown) =>
            received({ kind: 'response', requestId: frame.requestId, ...outcome(answer) }),
          );
        } catch {
          const { requestId } = frame;
          received({ kind: 'response', requestId, success: false, error: unsayable });
        }
        break;
      case 'message':
        try {
          socket.emit(frame.type, ...args(frame));
        } catch {
          received({ kind: 'garbled', why: unsayable.message });
        }
        break;
      case 'join':
        void this.#enter(frame.rooms, false);
        break;
      case 'leave':
        for (const room of frame.rooms) this.#leave(room);
        break;
      case 'ping':
        if (ping === false) received({ kind: 'pong' });
        else socket.emit(ping, () => received({ kind: 'pong' }));
        break;
      case 'auth':
        this.#isLeaving = true;
        // What is sent with them waits for the next connection.
        queueMicrotask(() => failed(redial()));
        break;
      default:
    }
  }

  /** Rooms that the server does not have this socket in yet, and what was missed there. */
  async #enter(wishes: readonly RoomWish[], isFirst: boolean): Promise<void> {
    const { joined, last } = this.#memory;
    const asks = wishes.some(isBehind) || (isFirst && last !== undefined);
    if (asks) this.#holds++;
    const rooms = wishes.map(({ room }) => room).filter((room) => !joined.has(room));
    for (const room of rooms) this.#entering.add(room);
    const refusals = await this.#join(rooms, isFirst);
    const entered = wishes.filter(({ room }) => !refusals.has(room));
    const missed = asks ? await this.#sync(entered.filter(isBehind)) : undefined;
    if (!this.#talk.socket.connected) return;
    for (const [room, error] of refusals) this.#talk.received({ kind: 'room', room, error });
    for (const wish of entered) {
      joined.add(wish.room);
      this.#stands(wish, isBehind(wish) && missed !== undefined);
    }
    for (const event of missed ?? []) {
      const { type } = fieldsOf(event);
      if (textOf(type) !== undefined) this.#give(this.#read(type, [event]));
    }
    for (const { room } of entered) this.#caughtUp(room);
    for (const room of rooms) this.#entering.delete(room);
    if (asks) this.#holds--;
    this.#giveHeld();
  }

  async #join(rooms: readonly string[], isFirst: boolean): Promise<Map<string, ErrorBody>> {
    const { rejoin, join } = this.#settings;
    const refusals = new Map<string, ErrorBody>();
    const enter = async (event: string | false, about: unknown, these: readonly string[]) => {
      const answer = await this.#confirmed(event, about);
      if (answer?.success !== false) return;
      // A server that fails is asked again; one that refuses has said so by a code of its own.
      const isFailure = answer.error.code === 'SERVER_ERROR';
      const error = isFailure ? { retryable: true, ...answer.error } : answer.error;
      for (const room of these) refusals.set(room, error);
    };
    if (rooms.length > 0 && isFirst && rejoin) await enter(rejoin, rooms, rooms);
    else await Promise.all(rooms.map((room) => enter(join, room, [room])));
    return refusals;
  }

  async #confirmed(event: string | false, about: unknown): Promise<Outcome | undefined> {
    if (event === false) return undefined;
    if (this.#settings.confirms) return this.#ask(event, about);
    this.#talk.socket.emit(event, about);
    return undefined;
  }

  /** What was missed, in order; undefined where the server cannot say. */
  async #sync(wishes: readonly RoomWish[]): Promise<readonly unknown[] | undefined> {
    const { sync } = this.#settings;
    if (!sync) return undefined;
    const rooms = wishes.map(({ room, since }) => ({ room, ...this.#placeOf(room, since) }));
    const answer = await this.#ask(sync, { ...this.#memory.last, rooms });
    if (!answer?.success) return undefined;
    const { events = answer.data, recovered } = fieldsOf(answer.data);
    return Array.isArray(events) && recovered !== false ? events : undefined;
  }

  /** Undefined: no answer in time, or no connection any more. */
  #ask(event: string, about: unknown): Promise<Outcome | undefined> {
    const { socket } = this.#talk;
    return new Promise((resolve) => {
      socket
        .timeout(this.#settings.timeout)
        .emit(event, about, (error: unknown, answer?: unknown) =>
          resolve(error ? undefined : outcome(answer)),
        );
    });
  }

  #leave(room: string): void {
    const { leave } = this.#settings;
    this.#memory.joined.delete(room);
    if (leave) this.#talk.socket.emit(leave, room);
  }

  #placeOf(room: string, since = ''): Place {
    if (MOMENT.test(since)) return { lastTimestamp: Number(since.slice(1)) };
    return this.#memory.seen.get(keyOf(room, since)) ?? { lastEventId: since };
  }

  #stands({ room, since }: RoomWish, recovered: boolean): void {
    const place = { kind: 'room', room, joined: true, epoch: '-', seq: 0 } as const;
    const moment = `@${now()}`;
    const { received } = this.#talk;
    if (since === undefined)
      received({ ...place, cursor: moment, recovered: false, reason: 'new' });
    else if (recovered) received({ ...place, cursor: since, recovered });
    else received({ ...place, cursor: moment, recovered, reason: 'expired', since });
  }

  #caughtUp(room: string): void {
    this.#talk.received({ kind: 'room', room, caughtUp: true, cursor: '-' });
  }

  #read(name: unknown, args: readonly unknown[]): Event | undefined {
    const { seen } = this.#memory;
    let told: OrdinaryEvent | undefined;
    let payload: unknown;
    // Thrown here, it would end a process of Node.
    try {
      told = this.#settings.event(String(name), args);
      payload = viewed(told?.payload);
    } catch {
      const why = `the option \`event\` threw at "${String(name)}", or it is nested too deeply`;
      this.#talk.received({ kind: 'garbled', why });
      return undefined;
    }
    if (told === undefined) return undefined;
    const id = textOf(told.eventId);
    const room = textOf(told.room);
    if (id !== undefined) {
      const place = { lastEventId: told.eventId, lastTimestamp: told.timestamp };
      seen.set(keyOf(room, id), place);
      const [oldest = ''] = seen.keys();
      if (seen.size > MOST_SEEN) seen.delete(oldest);
    }
    return {
      kind: 'event',
      eventId: id ?? `${this.#talk.socket.id}:${this.#serial++}`,
      type: textOf(told.type) ?? String(name),
      timestamp: momentOf(told.timestamp),
      payload,
      room,
    };
  }

  #give(event: Event | undefined): void {
    if (event === undefined) return;
    const place = this.#memory.seen.get(keyOf(event.room, event.eventId));
    this.#memory.last = place ?? this.#memory.last;
    this.#talk.received(event);
  }

  /** What nothing is to come before any more. */
  #giveHeld(): void {
    const held = this.#held;
    this.#held = [];
    for (const event of held) {
      if (this.#holds > 0 || this.#entering.has(event.room ?? '')) this.#held.push(event);
      else this.#give(event);
    }
    this.#memory.isWhole = this.#held.length === 0;
  }
}

/** Rooms may count their events each for itself. */
function keyOf(room: string | undefined, eventId: string): string {
  return JSON.stringify([room, eventId]);
}

function isBehind({ since }: RoomWish): boolean {
  return since !== undefined;
}

function textOf(value: unknown): string | undefined {
  return (typeof value === 'string' && value !== '') || typeof value === 'number'
    ? String(value)
    : undefined;
}

/** Unix milliseconds of whatever the server calls a time. */
function momentOf(timestamp: unknown): number {
  const isTime = typeof timestamp === 'string' || typeof timestamp === 'number';
  const moment = isTime ? new Date(timestamp).getTime() : Number.NaN;
  return Number.isFinite(moment) ? moment : now();
}

function now(): number {
  return platformEnvironment.clock.date();
}

/** A request of which nothing was sent. */
const unsayable = {
  code: 'INVALID_PAYLOAD',
  message: 'What the option `args` makes of it cannot be sent, or the option threw.',
};

/** One that may be sent on the next connection. */
const later = { code: 'RATE_LIMITED', message: 'Not on this connection.', retryAfter: 0 };

function redial(): HoldfastError {
  return new HoldfastError(
    'CONNECTION_FAILED',
    'The connection was left for one with the new credentials.',
  );
}
