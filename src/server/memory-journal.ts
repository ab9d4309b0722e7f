/** The journal in memory: outlives a hub, not its process. */
import type { Clock } from '../lib/clock.js';
import {
  type Appended,
  type Claim,
  type Claimed,
  cursorOf,
  type Journal,
  type JournalNode,
  type JournalUser,
  type Linked,
  type StoredEvent,
  type Write,
  type WriteResult,
} from './journal.js';
import { RequestMemory } from './request-memory.js';
import { RoomLog } from './room-log.js';

export interface MemoryJournalOptions {
  /** Events kept in each room. @default 1_000 */
  readonly maxEvents?: number | undefined;
  /** Bytes of encoded events kept in each room. @default 4_194_304 */
  readonly maxBytes?: number | undefined;
  /** Milliseconds for which an event is kept. @default 120_000: longer than most outages last. */
  readonly maxAge?: number | undefined;
  /** Rooms kept; above it the least recently used one that nobody is in is forgotten. @default 100_000 */
  readonly maxRooms?: number | undefined;
  /** Milliseconds after which a room that nobody uses is forgotten. @default 3_600_000 */
  readonly roomWindow?: number | undefined;
  /** Milliseconds for which responses are kept after a client's last link. @default 600_000 */
  readonly requestWindow?: number | undefined;
  /** Clients kept; above it the one that left first is forgotten. @default 100_000 */
  readonly maxClients?: number | undefined;
  /** Requests remembered of each client. Above it half are forgotten and its session changes. @default 10_000 */
  readonly maxRequests?: number | undefined;
  /** Bytes of responses kept of each client. Above it only the fact that a request ran is kept. @default 1_048_576 */
  readonly maxResponseBytes?: number | undefined;
  /** @default the clock of the first hub that opens it */
  readonly clock?: Clock | undefined;
}

export interface MemoryJournal extends Journal {
  /**
   * Declares every hub that has it open dead, as a crash would: what they still write is refused and
   * their running requests are orphans. For tests, and for a hub that can no longer be closed.
   */
  fence(): void;
}

/** Rooms, epochs, responses and sessions in memory. Hand the same one to the next hub to keep them. */
export function memoryJournal(options: MemoryJournalOptions = {}): MemoryJournal {
  return new MemoryStore(options);
}

const defaults = Object.freeze({
  maxEvents: 1_000,
  maxBytes: 4_194_304,
  maxAge: 120_000,
  maxRooms: 100_000,
  roomWindow: 3_600_000,
  requestWindow: 600_000,
  maxClients: 100_000,
  maxRequests: 10_000,
  maxResponseBytes: 1_048_576,
});

type Bounds = Record<keyof typeof defaults, number>;

/** Milliseconds between two looks at everything, made by whoever writes next: no timer of its own. */
const SWEEP_INTERVAL = 10_000;

class MemoryStore implements MemoryJournal {
  readonly replayWindow: number;
  readonly requestWindow: number;
  readonly nodes = new Map<string, MemoryNode>();
  readonly #bounds: Bounds;
  readonly #rooms = new Map<string, RoomLog>();
  readonly #clients = new Map<string, RequestMemory>();
  /** Clients without a link, and since when; the first to leave comes first. */
  readonly #departed = new Map<string, number>();
  #clock: Clock | undefined;
  #id: () => string = () => '';
  #sweptAt = 0;
  #opened = 0;

  constructor(options: MemoryJournalOptions) {
    this.#bounds = checked(options);
    this.replayWindow = this.#bounds.maxAge;
    this.requestWindow = this.#bounds.requestWindow;
    this.#clock = options.clock;
  }

  open(user: JournalUser): JournalNode {
    this.#clock ??= user.clock;
    this.#id = () => user.id();
    this.#opened++;
    const node = new MemoryNode(this, `node-${this.#opened}`, user);
    this.nodes.set(node.name, node);
    return node;
  }

  fence(): void {
    for (const node of [...this.nodes.values()]) node.end();
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

  others(node: MemoryNode): MemoryNode[] {
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

type News = Map<RoomLog, { readonly room: string; readonly events: StoredEvent[] }>;

class MemoryNode implements JournalNode {
  readonly name: string;
  readonly user: JournalUser;
  readonly #store: MemoryStore;
  readonly #followed = new Set<string>();
  readonly #links = new Map<string, number>();
  /** The requestIds that run here, by client. */
  readonly #claims = new Map<string, Set<string>>();
  #open = true;

  constructor(store: MemoryStore, name: string, user: JournalUser) {
    this.#store = store;
    this.name = name;
    this.user = user;
  }

  async follow(name: string) {
    const room = this.#store.room(name);
    if (this.#open) {
      room.followers.add(this.name);
      this.#followed.add(name);
    }
    room.usedAt = this.#store.now();
    return room.tail;
  }

  unfollow(name: string): void {
    if (!this.#followed.delete(name)) return;
    const room = this.#store.room(name);
    room.followers.delete(this.name);
    room.usedAt = this.#store.now();
  }

  async tail(name: string) {
    return this.#store.room(name).tail;
  }

  async read(name: string, since: { epoch: string; seq: number }, limit: number) {
    return this.#store.room(name).read(since, limit, this.#store.now());
  }

  async write(writes: readonly Write[]): Promise<readonly WriteResult[]> {
    const news: News = new Map();
    const results = writes.map((write) => this.#write(write, news));
    for (const [{ epoch }, { room, events }] of news) {
      this.#store.appended({ room, epoch, seq: events.at(-1)?.seq ?? 0, events });
    }
    return results;
  }

  #write(write: Write, news: News): WriteResult {
    if (!this.#open) return { accepted: false };
    if (write.settle !== undefined && !this.#settle(write.settle)) return { accepted: false };
    const now = this.#store.now();
    const cursors = write.events.map((draft) => {
      const room = this.#store.room(draft.room);
      const event = room.append(draft, now);
      const told = news.get(room);
      if (told === undefined) news.set(room, { room: draft.room, events: [event] });
      else told.events.push(event);
      return cursorOf({ epoch: room.epoch, seq: event.seq });
    });
    return { accepted: true, cursors };
  }

  #settle({ client, requestId, response }: NonNullable<Write['settle']>): boolean {
    const memory = this.#store.known(client);
    if (memory?.owns(requestId, this.name) !== true) return false;
    if (response === undefined) memory.release(requestId);
    else memory.settle(requestId, response, this.#store.now());
    this.#ended(client, requestId);
    for (const other of this.#store.others(this)) other.user.settled(client, requestId);
    return true;
  }

  async link(key: string, link: number): Promise<Linked> {
    const client = this.#store.client(key);
    if (!this.#open || link < client.link) return { accepted: false, link: client.link };
    client.link = link;
    client.node = this.name;
    this.#links.set(key, link);
    this.#store.arrived(key);
    for (const other of this.#store.others(this)) other.user.linked(key, link);
    return { accepted: true, session: client.session };
  }

  unlink(key: string, link: number): void {
    if (this.#links.get(key) !== link) return;
    this.#links.delete(key);
    const client = this.#store.known(key);
    if (client?.link !== link || client.node !== this.name) return;
    client.node = undefined;
    this.#store.left(key);
  }

  async claim(claim: Claim): Promise<Claimed> {
    if (!this.#open) return { state: 'fenced' };
    const memory = this.#store.client(claim.client);
    const claimed = memory.claim(claim, this.name, (name) => this.#store.nodes.has(name));
    if (claimed.state === 'settled') memory.touch(claim.requestId, this.#store.now());
    if (claimed.state === 'claimed' || claimed.state === 'orphaned') {
      const running = this.#claims.get(claim.client);
      if (running === undefined) this.#claims.set(claim.client, new Set([claim.requestId]));
      else running.add(claim.requestId);
    }
    return claimed;
  }

  forget(client: string, age: number): void {
    if (this.#open) this.#store.known(client)?.forget(this.#store.now() - age);
  }

  tell(text: string): void {
    for (const other of this.#store.others(this)) other.user.told(text);
  }

  async close(): Promise<void> {
    this.end();
  }

  end(): void {
    if (!this.#open) return;
    for (const name of this.#followed) this.unfollow(name);
    for (const [key, link] of this.#links) this.unlink(key, link);
    this.#open = false;
    this.#store.nodes.delete(this.name);
    for (const [client, running] of this.#claims) {
      for (const requestId of running) {
        for (const other of this.#store.others(this)) other.user.settled(client, requestId);
      }
    }
    this.#claims.clear();
  }

  #ended(client: string, requestId: string): void {
    const running = this.#claims.get(client);
    running?.delete(requestId);
    if (running?.size === 0) this.#claims.delete(client);
  }
}

function checked(options: MemoryJournalOptions): Bounds {
  const bound = (name: keyof Bounds) => {
    const value = options[name] ?? defaults[name];
    if (value > 0) return value;
    throw new RangeError(`memoryJournal: ${name} must be a number above 0, not ${String(value)}.`);
  };
  return {
    maxEvents: bound('maxEvents'),
    maxBytes: bound('maxBytes'),
    maxAge: bound('maxAge'),
    maxRooms: bound('maxRooms'),
    roomWindow: bound('roomWindow'),
    requestWindow: bound('requestWindow'),
    maxClients: bound('maxClients'),
    maxRequests: bound('maxRequests'),
    maxResponseBytes: bound('maxResponseBytes'),
  };
}
