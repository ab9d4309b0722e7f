/** The rooms of one connection: joins and leaves in order within a room, independent between rooms. */
import { HoldfastError } from '../protocol/errors.js';
import { type ErrorBody, isReservedRoom, ME, type RoomWish } from '../protocol/frame.js';
import { type Core, ownRoom, type RoomName } from './core.js';
import type { Feed } from './feed.js';
import type { Limits } from './options.js';
import type { Outlet } from './outlet.js';
import { Reader } from './reader.js';

/** The longest name of a room, in UTF-16 units. */
const LONGEST_ROOM = 512;

/** Joins and leaves of one room that may wait for the one under way: far more than anybody needs. */
const MOST_STEPS = 32;

/** Rooms of one frame that are answered each for itself, however few a connection may have. */
const ALWAYS_ANSWERED = 1_000;

/**
 * Each room of a frame is answered for itself, all in one go: a client that is in all it may be in can
 * leave them and join as many others, `@me` beside them, and no frame holds up the others for long.
 * @throws HoldfastError `RATE_LIMITED`, which refuses the connection.
 */
export function checkRooms({ roomsPerConnection }: Limits, rooms: readonly unknown[]): void {
  const most = Math.max(2 * roomsPerConnection + 1, ALWAYS_ANSWERED);
  if (rooms.length <= most) return;
  const why = `A frame names at most ${most} rooms here, not ${rooms.length}.`;
  throw new HoldfastError('RATE_LIMITED', why);
}

export interface MembershipsSetup {
  readonly core: Core;
  readonly outlet: Outlet;
  readonly userKey: string;
  readonly maxRooms: number;
  /** Undefined where the user may join. */
  readonly authorize: (room: string) => Promise<ErrorBody | undefined>;
  /** The journal failed: the connection cannot keep its promises. */
  readonly failed: (error: unknown) => void;
}

type Step =
  | { readonly kind: 'join'; readonly since: string | undefined }
  | { readonly kind: 'leave' }
  | { readonly kind: 'remove'; readonly error: ErrorBody };

interface Membership {
  readonly room: RoomName;
  readonly steps: Step[];
  busy: boolean;
  feed: Feed | undefined;
  reader: Reader | undefined;
}

export class Memberships {
  readonly #setup: MembershipsSetup;
  readonly #rooms = new Map<string, Membership>();
  #ended = false;

  constructor(setup: MembershipsSetup) {
    this.#setup = setup;
  }

  join(wishes: readonly RoomWish[]): void {
    for (const { room, since } of wishes) {
      const error = this.#refusal(room);
      if (error === undefined) this.#add(room, { kind: 'join', since });
      else this.#say(room, { error });
    }
  }

  leave(rooms: readonly string[]): void {
    for (const room of rooms) {
      if (room === ME) continue;
      if (this.#rooms.has(room)) this.#add(room, { kind: 'leave' });
      else this.#say(room, { left: true });
    }
  }

  /** Takes the client out of the room, now and after whatever join is under way. */
  remove(room: string, error: ErrorBody): void {
    const membership = this.#rooms.get(room);
    if (membership === undefined) return;
    membership.reader?.stop();
    membership.reader = undefined;
    this.#add(room, { kind: 'remove', error });
  }

  end(): void {
    this.#ended = true;
    for (const membership of this.#rooms.values()) this.#drop(membership);
    this.#rooms.clear();
  }

  #refusal(room: string): ErrorBody | undefined {
    if (room === ME || this.#rooms.has(room)) return undefined;
    if (isReservedRoom(room)) {
      return refused(`The room "${room.slice(0, 64)}" is reserved: names with "@" are not joined.`);
    }
    if (room.length > LONGEST_ROOM) {
      return refused(`A room's name has at most ${LONGEST_ROOM} characters.`);
    }
    const { maxRooms } = this.#setup;
    if (this.#rooms.size <= maxRooms) return undefined;
    return refused(`This connection is in ${maxRooms} rooms, the limit. Leave some first.`);
  }

  #add(room: string, step: Step): void {
    if (this.#ended) return;
    let membership = this.#rooms.get(room);
    if (membership === undefined) {
      membership = this.#newMembership(room);
      this.#rooms.set(room, membership);
    }
    if (membership.steps.push(step) > MOST_STEPS) {
      const why = 'Too many joins and leaves of one room wait. Wait for their verdicts.';
      this.#setup.failed(new HoldfastError('RATE_LIMITED', why));
      return;
    }
    if (!membership.busy) this.#run(room, membership).catch(this.#setup.failed);
  }

  #newMembership(wire: string): Membership {
    const room = wire === ME ? ownRoom(this.#setup.userKey) : { wire, journal: wire };
    return { room, steps: [], busy: false, feed: undefined, reader: undefined };
  }

  async #run(name: string, membership: Membership): Promise<void> {
    membership.busy = true;
    for (let step = membership.steps.shift(); step !== undefined; step = membership.steps.shift()) {
      await this.#step(membership, step);
      if (this.#ended) return;
    }
    membership.busy = false;
    if (membership.reader === undefined) this.#rooms.delete(name);
  }

  async #step(membership: Membership, step: Step): Promise<void> {
    const { wire } = membership.room;
    switch (step.kind) {
      case 'join':
        await this.#joinOne(membership, step.since);
        return;
      case 'leave':
        this.#drop(membership);
        this.#say(wire, { left: true });
        return;
      case 'remove':
        this.#drop(membership);
        this.#say(wire, { error: step.error });
        return;
      default:
        step satisfies never;
    }
  }

  async #joinOne(membership: Membership, since: string | undefined): Promise<void> {
    const { core, outlet, authorize, failed } = this.#setup;
    const { wire, journal } = membership.room;
    const error = wire === ME ? undefined : await authorize(wire);
    if (this.#ended) return;
    if (error !== undefined) {
      this.#drop(membership);
      this.#say(wire, { error });
      return;
    }
    membership.feed ??= core.feeds.hold(journal);
    membership.reader ??= new Reader({
      feed: membership.feed,
      room: wire,
      outlet,
      counters: core.counters,
      failed,
    });
    await membership.reader.start(since);
  }

  #drop(membership: Membership): void {
    membership.reader?.stop();
    if (membership.feed !== undefined) this.#setup.core.feeds.release(membership.feed);
    membership.reader = undefined;
    membership.feed = undefined;
  }

  #say(room: string, verdict: { left: true } | { error: ErrorBody }): void {
    this.#setup.outlet.write(JSON.stringify({ kind: 'room', room, ...verdict }));
  }
}

function refused(message: string): ErrorBody {
  return { code: 'FORBIDDEN', message, retryable: false };
}
