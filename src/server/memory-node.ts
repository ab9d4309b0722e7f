/** The journal in memory, as one hub holds it. */
import {
  type Claim,
  type Claimed,
  cursorOf,
  type JournalNode,
  type JournalUser,
  type Known,
  type Linked,
  type Recalled,
  type StoredEvent,
  type Write,
  type WriteResult,
} from './journal.js';
import type { MemoryStore, OpenNode } from './memory-store.js';
import type { RoomLog } from './room-log.js';

type News = Map<RoomLog, { readonly room: string; readonly events: StoredEvent[] }>;

export class MemoryNode implements JournalNode, OpenNode {
  readonly name: string;
  readonly user: JournalUser;
  readonly #store: MemoryStore;
  readonly #followed = new Set<string>();
  readonly #links = new Map<string, number>();
  /** The requestIds that run here, by client. */
  readonly #claims = new Map<string, Set<string>>();
  #open = true;

  constructor(store: MemoryStore, user: JournalUser) {
    this.#store = store;
    this.name = store.opened(user);
    this.user = user;
    store.nodes.set(this.name, this);
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
    else memory.settle(requestId, response);
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

  async known(key: string): Promise<Known | undefined> {
    const client = this.#store.current(key);
    return client && { session: client.session, link: client.link };
  }

  async claim(claim: Claim): Promise<Claimed> {
    if (!this.#open) return { state: 'fenced' };
    const memory = this.#store.client(claim.client);
    const claimed = memory.claim(claim, this.name, (name) => this.#store.nodes.has(name));
    if (claimed.state === 'claimed' || claimed.state === 'orphaned') {
      const running = this.#claims.get(claim.client);
      if (running === undefined) this.#claims.set(claim.client, new Set([claim.requestId]));
      else running.add(claim.requestId);
    }
    return claimed;
  }

  async recall(client: string, requestId: string): Promise<Recalled> {
    return this.#store.known(client)?.recall(requestId) ?? { state: 'unknown' };
  }

  forget(client: string, requestIds: readonly string[]): void {
    if (this.#open) this.#store.known(client)?.forget(requestIds);
  }

  async tell(text: string): Promise<void> {
    if (!this.#open) throw new Error('The hub has closed its journal, or was declared dead.');
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
