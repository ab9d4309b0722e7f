/** Forgets what is too old, step by step, so that no step holds anybody up. */
import type { Clients } from './sqlite-clients.js';
import type { Room, Rooms } from './sqlite-rooms.js';

/** Milliseconds between two rounds. */
const ROUND_INTERVAL = 10_000;
const ROOMS_AT_ONCE = 128;
const CLIENTS_AT_ONCE = 128;

export class Sweep {
  readonly #rooms: Rooms;
  readonly #clients: Clients;
  #startedAt = 0;
  /** The id of the last room that was looked at; undefined between two rounds. */
  #room: number | undefined;
  #hasMore = false;

  constructor(rooms: Rooms, clients: Clients) {
    this.#rooms = rooms;
    this.#clients = clients;
  }

  /** The first round comes after one interval. */
  start(now: number): void {
    this.#startedAt = now;
  }

  isDue(now: number): boolean {
    return this.#room !== undefined || this.#hasMore || now - this.#startedAt >= ROUND_INTERVAL;
  }

  step(now: number): void {
    if (this.#room === undefined && now - this.#startedAt >= ROUND_INTERVAL) {
      this.#startedAt = now;
      this.#room = 0;
      this.#rooms.useRead();
    }
    const areExpired = this.#clients.expire(CLIENTS_AT_ONCE);
    const areCleared = this.#clients.clear(CLIENTS_AT_ONCE);
    this.#hasMore = !areExpired || !areCleared;
    if (this.#room !== undefined) this.#room = this.#lookAtRooms(this.#room);
  }

  /** Answers with where to go on. */
  #lookAtRooms(after: number): number | undefined {
    const rooms = this.#rooms.some(after, ROOMS_AT_ONCE);
    let last = after;
    for (const { room, isDiscarded } of rooms) {
      // What is left of it comes first in the next step.
      if (!this.#isDone(room, isDiscarded)) return last;
      last = room.id;
    }
    return rooms.length < ROOMS_AT_ONCE ? undefined : last;
  }

  #isDone(room: Room, isDiscarded: boolean): boolean {
    if (isDiscarded) return this.#rooms.clear(room);
    if (!this.#rooms.isIdle(room)) return this.#rooms.age(room);
    this.#rooms.discard(room.id);
    return true;
  }
}
