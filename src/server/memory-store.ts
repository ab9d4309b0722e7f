/** What the journal in memory keeps, for all of its nodes: rooms, clients, and when they are forgotten. */
import type { Clock } from '../lib/clock.js';
import type { Appended, JournalUser } from './journal.js';
import { type RequestBounds, RequestMemory } from './request-memory.js';
import { type RoomBounds, RoomLog } from './room-log.js';

export interface MemoryBounds extends RoomBounds, RequestBounds {
  readonly maxRooms: number;
  readonly roomWindow: number;
  readonly requestWindow: number;
  readonly maxClients: number;
}

/** Milliseconds between two looks at everything, made by whoever writes next: no timer of its own. */
const SWEEP_INTERVAL = 10_000;

/** A node that has the journal open. */
export interface OpenNode {
  readonly name: string;
  readonly user: JournalUser;
  /** The node is dead from here on. */
  end(): void;
}

export class MemoryStore {
  /** The nodes that are alive. */
  readonly nodes = new Map<string, OpenNode>();
  readonly #bounds: MemoryBounds;
  readonly #rooms = new Map<string, RoomLog>();
  readonly #clients = new Map<string, RequestMemory>();
  /** Clients without a link, and since when; the first to leave comes first. */
  readonly #departed = new Map<string, number>();
  #clock: Clock | undefined;
  #id: () => string = () => '';
  #sweptAt = 0;
  #opened = 0;

  constructor(bounds: MemoryBounds, clock: Clock | undefined) {
    this.#bounds = bounds;
    this.#clock = clock;
  }

  /** Takes the clock of the first user and the ids of the newest. Answers with the node's name. */
  opened(user: JournalUser): string {
    this.#clock ??= user.clock;
    this.#id = () => user.id();
    this.#opened++;
    return `node-${this.#opened}`;
  }

  now(): number {
    return this.#clock?.now() ?? 0;
  }

  room(name: string): RoomLog {
    this.#sweep();
    const now = this.now();
    let room = this.#rooms.get(name);
    if (room === undefined) {
      room = new RoomLog(this.#id(), now, this.#bounds);
      this.#rooms.set(name, room);
      if (this.#rooms.size > this.#bounds.maxRooms) this.#evictRoom(name);
    }
    return room;
  }

  client(key: string): RequestMemory {
    this.#sweep();
    let client = this.#clients.get(key);
    if (client === undefined) {
      client = new RequestMemory(this.#id, this.#bounds);
      this.#clients.set(key, client);
      if (this.#clients.size > this.#bounds.maxClients) this.#evictClient();
    }
    return client;
  }

  known(key: string): RequestMemory | undefined {
    return this.#clients.get(key);
  }

  /** Not one that is about to be forgotten. */
  current(key: string): RequestMemory | undefined {
    const since = this.#departed.get(key) ?? Number.POSITIVE_INFINITY;
    return this.now() - since > this.#bounds.requestWindow ? undefined : this.#clients.get(key);
  }

  arrived(key: string): void {
    this.#departed.delete(key);
  }

  left(key: string): void {
    this.#departed.delete(key);
    this.#departed.set(key, this.now());
  }

  appended(news: Appended): void {
    for (const name of this.#rooms.get(news.room)?.followers ?? []) {
      this.nodes.get(name)?.user.appended(news);
    }
  }

  others(node: OpenNode): OpenNode[] {
    if (this.nodes.size < 2) return [];
    return [...this.nodes.values()].filter((other) => other !== node);
  }

  #sweep(): void {
    const now = this.now();
    if (now - this.#sweptAt < SWEEP_INTERVAL) return;
    this.#sweptAt = now;
    for (const [name, room] of this.#rooms) {
      const idle = room.followers.size === 0 && now - room.usedAt > this.#bounds.roomWindow;
      if (idle) this.#rooms.delete(name);
      else room.trim(now);
    }
    for (const [key, since] of this.#departed) {
      if (now - since <= this.#bounds.requestWindow) break;
      if (this.#clients.get(key)?.busy === true) continue;
      this.#departed.delete(key);
      this.#clients.delete(key);
    }
  }

  #evictRoom(except: string): void {
    let oldest: string | undefined;
    let oldestUse = Number.POSITIVE_INFINITY;
    let seen = 0;
    // A sample of the oldest: looking at all of them for each new room would be quadratic.
    for (const [name, room] of this.#rooms) {
      if (name === except || room.followers.size > 0) continue;
      if (room.usedAt < oldestUse) [oldest, oldestUse] = [name, room.usedAt];
      if (++seen === 32) break;
    }
    if (oldest !== undefined) this.#rooms.delete(oldest);
  }

  #evictClient(): void {
    for (const key of this.#departed.keys()) {
      if (this.#clients.get(key)?.busy === true) continue;
      this.#departed.delete(key);
      this.#clients.delete(key);
      return;
    }
  }
}
