/** Forgets what is too old, step by step, so that no step holds anybody up. */
import type { Clients } from './sqlite-clients.js';
import type { Rooms } from './sqlite-rooms.js';

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
    const areCleared = this.#clients.clear();
    this.#hasMore = !areExpired || !areCleared;
    if (this.#room !== undefined) this.#room = this.#lookAtRooms(this.#room);
  }

  /** Answers with where to go on. */
  #lookAtRooms(after: number): number | undefined {
    const rooms = this.#rooms.some(after, ROOMS_AT_ONCE);
    let last = after;
    for (const { room, isDiscarded } of rooms) {
      if (isDiscarded) {
        // The rest of it comes first in the next step.
        if (!this.#rooms.clear(room)) return last;
      } else if (this.#rooms.isIdle(room)) this.#rooms.discard(room.id);
      else this.#rooms.age(room);
      last = room.id;
    }
    return rooms.length < ROOMS_AT_ONCE ? undefined : last;
  }
}
