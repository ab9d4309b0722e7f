/** The journal in a file, as one hub holds it. */
import {
  type Claim,
  type Claimed,
  cursorOf,
  type JournalNode,
  type JournalUser,
  type Known,
  type Linked,
  type Position,
  type Recalled,
  type Slice,
  type StoredEvent,
  type Write,
  type WriteResult,
} from './journal.js';
import type { StoreNode } from './sqlite-audience.js';
import type { After, Weight } from './sqlite-commits.js';
import type { Room } from './sqlite-rooms.js';
import { Fenced, type SqliteStore } from './sqlite-store.js';

/** What one call of `write` appends, by room. */
type Appends = Map<string, { readonly room: Room; readonly events: StoredEvent[] }>;

export class SqliteNode implements JournalNode, StoreNode {
  readonly id: number;
  readonly user: JournalUser;
  readonly #store: SqliteStore;
  #isOpen = true;

  constructor(store: SqliteStore, user: JournalUser, id: number) {
    this.#store = store;
    this.user = user;
    this.id = id;
  }

  follow(name: string): Promise<Position> {
    const { rooms } = this.#store;
    return this.#do('light', (after) => {
      const room = rooms.room(name);
      rooms.follow(room, this.id);
      const tail = { epoch: room.epoch, seq: room.seq };
      after(() => this.#store.audience.follow(name, this, tail));
      return tail;
    });
  }

  unfollow(name: string): void {
    this.#store.audience.unfollow(name, this);
    this.#quietly((after) => {
      this.#store.rooms.unfollow(name, this.id);
      after(() => this.#store.audience.unfollow(name, this));
    });
  }

  async tail(name: string): Promise<Position> {
    const { rooms } = this.#store;
    const known = await this.#do('read', () => rooms.known(name));
    const { epoch, seq } = known ?? (await this.#do('light', () => rooms.room(name)));
    return { epoch, seq };
  }

  async read(name: string, since: Position, limit: number): Promise<Slice> {
    const { rooms } = this.#store;
    const slice = await this.#do('read', () => {
      const room = rooms.known(name);
      return room === undefined ? undefined : rooms.read(room, since, limit);
    });
    return slice ?? { gap: 'epoch', tail: await this.tail(name) };
  }

  async write(writes: readonly Write[]): Promise<readonly WriteResult[]> {
    try {
      return await this.#do('durable', (after) => this.#writeAll(writes, after));
    } catch (error) {
      if (error instanceof Fenced) return writes.map(() => ({ accepted: false }));
      throw error;
    }
  }

  link(client: string, link: number): Promise<Linked> {
    return this.#do('light', (after) => {
      const linked = this.#store.clients.link(client, link, this.id);
      if (linked.accepted) {
        const news = { kind: 'linked', name: client, detail: String(link) } as const;
        this.#store.tell(news, { except: this.id, after });
      }
      return linked;
    });
  }

  unlink(client: string, link: number): void {
    this.#quietly(() => this.#store.clients.unlink(client, link, this.id));
  }

  async known(key: string): Promise<Known | undefined> {
    const client = await this.#do('read', () => this.#store.clients.current(key));
    return client && { session: client.session, link: client.link };
  }

  async claim(claim: Claim): Promise<Claimed> {
    // What may run again need not survive the power: it then runs again.
    const weight = claim.rerunnable ? 'light' : 'durable';
    try {
      return await this.#do(weight, (after) => {
        this.#store.isAmongOthers();
        const isAlive = (node: number) => this.#store.isAlive(node, after);
        return this.#store.requests.claim(claim, this.id, isAlive);
      });
    } catch (error) {
      if (error instanceof Fenced) return { state: 'fenced' };
      throw error;
    }
  }

  recall(client: string, requestId: string): Promise<Recalled> {
    return this.#do('light', () => this.#store.requests.recall(client, requestId));
  }

  forget(client: string, requestIds: readonly string[]): void {
    this.#quietly(() => this.#store.requests.forget(client, requestIds));
  }

  tell(text: string): Promise<void> {
    return this.#do('light', (after) => {
      this.#store.tell({ kind: 'told', name: '', detail: text }, { except: this.id, after });
    });
  }

  async close(): Promise<void> {
    this.end();
  }

  end(): void {
    if (!this.#isOpen) return;
    this.#store.leave(this);
    this.#isOpen = false;
  }

  async #do<T>(weight: Weight, run: (after: After) => T): Promise<T> {
    if (!this.#isOpen) throw new Fenced('The hub has closed its journal, or was declared dead.');
    return this.#store.commits.do(weight, run);
  }

  /** Nobody waits for it; where the disk fails, the end of the node puts it right. */
  #quietly(run: (after: After) => void): void {
    this.#do('light', run).catch(() => {});
  }

  #writeAll(writes: readonly Write[], after: After): WriteResult[] {
    const appends: Appends = new Map();
    const results = writes.map((write) => this.#write(write, { appends, after }));
    for (const [name, { room }] of appends) {
      this.#store.rooms.save(room);
      this.#store.tellAppended(name);
    }
    if (appends.size === 0) return results;
    after(() => {
      this.#store.hearFirst();
      for (const [name, { room, events }] of appends) {
        this.#store.audience.appended({ room: name, epoch: room.epoch, seq: room.seq, events });
      }
    });
    return results;
  }

  #write(write: Write, to: { appends: Appends; after: After }): WriteResult {
    if (write.settle !== undefined && !this.#settle(write.settle, to.after)) {
      return { accepted: false };
    }
    const cursors = write.events.map((draft) => {
      let append = to.appends.get(draft.room);
      if (append === undefined) {
        append = { room: this.#store.rooms.room(draft.room), events: [] };
        to.appends.set(draft.room, append);
      }
      const event = this.#store.rooms.append(append.room, draft);
      append.events.push(event);
      return cursorOf({ epoch: append.room.epoch, seq: event.seq });
    });
    return { accepted: true, cursors };
  }

  #settle(settle: NonNullable<Write['settle']>, after: After): boolean {
    const { client, requestId, response } = settle;
    const of = { node: this.id, response };
    if (!this.#store.requests.settle(client, requestId, of)) return false;
    const news = { kind: 'settled', name: client, detail: requestId } as const;
    this.#store.tell(news, { except: this.id, after });
    return true;
  }
}
