/** Which rooms are wanted, and what the server on the live link knows of that. */
import { Queue } from '../lib/queue.js';
import type { HoldfastError } from '../protocol/errors.js';
import {
  type ClientFrame,
  type Event,
  ME,
  type RoomJoined,
  type RoomWish,
} from '../protocol/frame.js';
import { byteLength } from '../protocol/wire.js';
import type { Saved } from './fact.js';
import type { GapReason, Order } from './order.js';
import { NEVER } from './step.js';

/** One room. The wanted count is the truth; the rest follows the server's verdicts. */
export interface Room {
  readonly name: string;
  /** `join()`s less `leave()`s. */
  wanted: number;
  /**
   * What the live link knows. `joining`: a verdict is on its way. `moved`: it serves the room, or was
   * asked to, but not from where it is wanted now.
   */
  onLink: 'absent' | 'joining' | 'joined' | 'moved';
  /** Verdicts on their way; only the last one counts. */
  answers: number;
  caughtUp: boolean;
  /** A join that the server could not serve for now is asked again then; 0: no need to wait. */
  retryAt: number;
  epoch: string | null;
  /** The last number received; -1 before the first verdict. */
  seq: number;
  /** The last event that every listener has had: where the next link goes on. */
  cursor: string | undefined;
  /** From where the last join of this link asked. */
  asked: string | undefined;
  /** Where it was joined again because the answer concerned an older place: once for each. */
  passed: string | undefined;
  /** The next verdict says where the room stands, also backwards. */
  reposition: boolean;
  /** Joined again because a number was missing; missing still, it is a gap. */
  refilled: boolean;
  /** Given to the listeners and not yet had by all of them, in order; and those had out of order. */
  readonly given: Queue<Event>;
  readonly had: string[];
  gap: Gap | null;
  /** How often in a row the eventId that `onGap` returned led to the next gap. */
  relapses: number;
  /** `join()`s that wait to be caught up. */
  calls: number[];
}

/** What a room's handle shows. `joining` also while the connection is being got back. */
export type RoomState = 'idle' | 'joining' | 'joined' | 'refused';

export interface Gap {
  run: number;
  reason: GapReason;
  /** The last event delivered before it. */
  readonly cursor: string | null;
  /** While `onGap` runs, its deadline; while it rests between two runs, the next one's start. */
  state: { name: 'healing' | 'resting'; until: number };
  /** Runs that failed. */
  failures: number;
  held: Event[];
  /** Something was missed again while `onGap` ran: what it fetched may be too old. */
  again: GapReason | null;
}

/** The place of a room in the storage, as a `join()` names it. */
export const STORED = 'stored';

/** Rooms in one frame: a server takes so many, whatever its limits, and refuses frames of far more. */
const MOST = 1_000;

/** Bytes of wishes that are tried, however little a server says it takes. */
const LEAST = 1_024;

export class Rooms {
  readonly #rooms = new Map<string, Room>();
  /** Those whose wish may differ from what the live link knows. */
  readonly #unsettled = new Set<Room>();
  /** What the last `hello` asked for, and from where. */
  #asked = new Map<string, string | undefined>();
  /** Refused, and not asked for since. */
  readonly #refused = new Set<string>();
  #retryAt = NEVER;
  /** The server repeats the `since` of the join that it answers. */
  #saysSince = false;
  /** Where the storage left the rooms, and which of them wait for it to open. */
  readonly #stored = new Map<string, string>();
  readonly #fromStored = new Set([ME]);

  /** Bytes of wishes that one frame may hold: half of what a server takes, the rest is for the others. */
  #room: number;

  constructor(maxMessageSize: number) {
    this.#room = maxMessageSize / 2;
    this.#create(ME).wanted = 1;
  }

  get(name: string): Room | undefined {
    return this.#rooms.get(name);
  }

  [Symbol.iterator](): IterableIterator<Room> {
    return this.#rooms.values();
  }

  state(name: string): RoomState {
    const room = this.#rooms.get(name);
    if (room === undefined || room.wanted === 0)
      return this.#refused.has(name) ? 'refused' : 'idle';
    return room.onLink === 'joined' ? 'joined' : 'joining';
  }

  get deadline(): number {
    return this.#retryAt;
  }

  want(name: string, since: string | undefined, call: number): Room {
    const room = this.#rooms.get(name) ?? this.#create(name);
    this.#refused.delete(name);
    if (room.wanted === 0 && since !== undefined) {
      if (since === STORED) this.#fromStored.add(name);
      const from = since === STORED ? this.#taken(name) : since;
      if (from !== undefined) reposition(room, from);
    }
    room.wanted++;
    room.calls.push(call);
    this.#unsettled.add(room);
    return room;
  }

  /** The storage is open: rooms that are wanted from where it left them, and `@me`, start there. */
  restore(cursors: Saved['cursors']): void {
    for (const [name, cursor] of cursors) {
      this.#stored.set(name, cursor);
      const room = this.#rooms.get(name);
      if (room === undefined || !this.#fromStored.has(name)) continue;
      reposition(room, cursor);
      this.#stored.delete(name);
    }
    this.#fromStored.clear();
  }

  /** One `join()` less. Returns the room where nobody wants it any more. */
  unwant(name: string, keeps: boolean): Room | null {
    const room = this.#rooms.get(name);
    if (room === undefined || name === ME || room.wanted === 0) return null;
    room.wanted--;
    if (room.wanted > 0) return null;
    this.#fromStored.delete(name);
    if (keeps) this.putBack(room);
    else this.#stored.delete(name);
    // What a `hello` on its way has asked for is left again after its welcome.
    if (room.onLink === 'absent') this.#delete(room);
    else this.#unsettled.add(room);
    return room;
  }

  /** Nobody wants it for now; joined from the storage again, it goes on from where it is. */
  putBack({ name, cursor }: Room): void {
    if (cursor !== undefined) this.#stored.set(name, cursor);
  }

  /** Where the storage left it: once, from then on the room knows better. */
  #taken(name: string): string | undefined {
    const cursor = this.#stored.get(name);
    this.#stored.delete(name);
    return cursor;
  }

  /** The wishes of a new link, each from where its listeners stand. */
  hello(): RoomWish[] {
    const wishes: RoomWish[] = [];
    for (const room of this.#rooms.values()) {
      // `@me` is joined unasked; naming it is for the cursor alone.
      if (room.wanted > 0 && (room.name !== ME || room.cursor !== undefined))
        wishes.push(wish(room));
    }
    // What does not fit is joined after the welcome.
    const [first = []] = this.#portions(wishes);
    return first;
  }

  /** What the hello of the link that opens next has asked for. */
  named(rooms: readonly RoomWish[]): void {
    this.#asked = new Map(rooms.map(({ room, since }) => [room, since]));
  }

  /** The last `hello` was too large for the server. */
  shrink(): void {
    this.#room = Math.max(LEAST, this.#room / 2);
  }

  /** A new link serves: its `hello` was one join for each room it named. */
  welcomed(maxMessageSize: number): void {
    this.#room = Math.max(LEAST, Math.min(this.#room, maxMessageSize / 2));
    for (const name of this.#asked.keys()) {
      if (!this.#rooms.has(name)) this.#create(name);
    }
    for (const room of this.#rooms.values()) {
      const asked = room.name === ME || this.#asked.has(room.name);
      // The wish has moved since: it is asked again, and only that answer counts.
      const moved = room.reposition && this.#asked.get(room.name) !== room.cursor;
      room.onLink = !asked ? 'absent' : moved ? 'moved' : 'joining';
      room.answers = asked ? 1 : 0;
      room.asked = this.#asked.get(room.name);
      room.caughtUp = false;
      room.refilled = false;
      room.retryAt = 0;
      this.#unsettled.add(room);
    }
    this.#retryAt = NEVER;
  }

  unlinked(): void {
    for (const room of this.#rooms.values()) {
      room.onLink = 'absent';
      room.caughtUp = false;
      if (room.wanted === 0) this.#delete(room);
    }
  }

  /** What makes the server's set equal to the wanted one, in two frames where they fit. */
  reconcile(now: number): ClientFrame[] {
    if (this.#unsettled.size === 0) return [];
    const joins: RoomWish[] = [];
    const leaves: string[] = [];
    for (const room of this.#unsettled) {
      const { name, onLink } = room;
      if (room.wanted > 0) {
        const isAsked = onLink === 'joining' || onLink === 'joined';
        if (!isAsked && now >= room.retryAt) joins.push(this.#rejoin(room));
      } else if (room.answers > 0) {
        room.onLink = 'joining';
      } else {
        if (onLink !== 'absent') leaves.push(name);
        this.#rooms.delete(name);
      }
    }
    this.#unsettled.clear();
    return [
      ...this.#portions(leaves).map((rooms) => ({ kind: 'leave', rooms }) as const),
      ...this.#portions(joins).map((rooms) => ({ kind: 'join', rooms }) as const),
    ];
  }

  /** Asked for again at the end of this tick, from its cursor: events of the old join do not count. */
  move(room: Room): void {
    room.onLink = 'moved';
    room.caughtUp = false;
    this.#unsettled.add(room);
  }

  /** True for the verdict that counts; false for one that a later join has overtaken. */
  answered(room: Room): boolean {
    if (room.answers > 0) room.answers--;
    if (room.answers > 0) return false;
    this.#unsettled.add(room);
    return true;
  }

  /**
   * News of a gap, while the answer to a join is on its way: that will say what is true from where we
   * asked. Only where the server says what it answers can the two be told apart.
   */
  isUnasked({ recovered, since }: RoomJoined, { answers, cursor }: Room): boolean {
    this.#saysSince ||= since !== undefined;
    const asked = answers > 0 && cursor !== undefined;
    return asked && this.#saysSince && !recovered && since === undefined;
  }

  retryLater(room: Room, at: number): void {
    room.onLink = 'absent';
    room.retryAt = at;
    this.#retryAt = Math.min(this.#retryAt, at);
  }

  /** Rooms whose refusal was only for now are asked for again. */
  timeUp(now: number): void {
    if (now < this.#retryAt) return;
    this.#retryAt = NEVER;
    for (const room of this.#rooms.values()) {
      if (room.retryAt > now) this.#retryAt = Math.min(this.#retryAt, room.retryAt);
      else if (room.retryAt > 0) this.#unsettled.add(room);
    }
  }

  /** The server will not have us: not wanted any more, so nothing asks again. */
  refuse(room: Room, error: HoldfastError, out: Order[]): void {
    if (room.calls.length > 0) out.push({ order: 'answerJoins', calls: room.calls, error });
    else out.push({ order: 'report', error });
    room.calls = [];
    this.#refused.add(room.name);
    room.onLink = 'absent';
    if (room.name === ME) this.#unsettled.delete(room);
    else this.#delete(room);
  }

  /** Another user is signed in: nothing of the first one's position is left. Returns what there was. */
  forgetMe(): Room | undefined {
    const old = this.#rooms.get(ME);
    if (old !== undefined) this.#delete(old);
    this.#create(ME).wanted = 1;
    return old;
  }

  /** The wish of one more join on this link: only its own verdict counts from now on. */
  #rejoin(room: Room): RoomWish {
    room.onLink = 'joining';
    room.answers++;
    room.asked = room.cursor;
    room.caughtUp = false;
    room.retryAt = 0;
    return wish(room);
  }

  /** In frames that the server takes. */
  #portions<T extends string | RoomWish>(wishes: T[]): T[][] {
    const portions: T[][] = [];
    let bytes = NEVER;
    for (const one of wishes) {
      const size = byteLength(JSON.stringify(one)) + 1;
      bytes += size;
      if (bytes > this.#room || portions.at(-1)?.length === MOST) {
        portions.push([]);
        bytes = size;
      }
      portions.at(-1)?.push(one);
    }
    return portions;
  }

  #delete(room: Room): void {
    this.#rooms.delete(room.name);
    this.#unsettled.delete(room);
  }

  #create(name: string): Room {
    const room = blank(name);
    this.#rooms.set(name, room);
    return room;
  }
}

/** Caught up, and no history missing. */
export function isCurrent(room: Room): boolean {
  return room.caughtUp && room.gap === null;
}

/** Wanted, and not where the server is. A server may know no rooms: then nothing is said of `@me`. */
export function isBehind(room: Room): boolean {
  const isKnown = room.name !== ME || room.seq >= 0 || room.cursor !== undefined;
  return room.wanted > 0 && isKnown && !isCurrent(room);
}

/** The next link goes on from there. */
function reposition(room: Room, cursor: string): void {
  room.cursor = cursor;
  room.reposition = true;
  // Left and joined again before the server had it all.
  if (room.onLink !== 'absent') room.onLink = 'moved';
}

function wish(room: Room): RoomWish {
  return room.cursor === undefined ? { room: room.name } : { room: room.name, since: room.cursor };
}

function blank(name: string): Room {
  return {
    name,
    wanted: 0,
    onLink: 'absent',
    answers: 0,
    caughtUp: false,
    retryAt: 0,
    epoch: null,
    seq: -1,
    cursor: undefined,
    asked: undefined,
    passed: undefined,
    reposition: false,
    refilled: false,
    given: new Queue(),
    had: [],
    gap: null,
    relapses: 0,
    calls: [],
  };
}
