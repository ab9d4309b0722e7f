/** What a storage must be told before a request may be written, and after a cursor has moved. */
import type { Ask, SavedRequest } from './fact.js';
import type { Changes, Order } from './order.js';
import { NEVER, STORAGE_TIMEOUT, type Step } from './step.js';

/** Milliseconds between a write that failed and the next. */
const RETRY_PAUSE = 5_000;

/** Milliseconds between two writes that only move cursors: after a crash events come at least once. */
const CURSOR_PAUSE = 250;

/** A request as the outbox holds it. */
type Entry = Ask & { readonly session: string | null };

/** What one write tells the storage. */
interface Page {
  readonly puts: Map<string, Entry>;
  readonly stamps: Map<string, string | null>;
  readonly drops: Set<string>;
  readonly cursors: Map<string, string | null>;
  user: string | null | undefined;
}

/**
 * The books of a storage: what it holds, and what it has still to be told. One write is under way at
 * a time; what happens meanwhile goes into the next one. A request may be written on a link only once
 * the storage has it together with the request memory it is written under: so whoever comes after a
 * crash knows what may have run. A storage that fails is not waited for, and tried again.
 */
export class Ledger {
  /** `lost`: it could not be opened, and everything stays in memory. */
  #state: 'closed' | 'opening' | 'open' | 'failing' | 'lost' = 'closed';
  /** Requests that the storage has, and the session it has them with. */
  readonly #durable = new Map<string, string | null>();
  readonly #saving = new Set<string>();
  /** Requests that a write that failed, or is under way, was to store. */
  readonly #tried = new Set<string>();
  #page = blank();
  #underWay: { readonly page: Page; readonly changes: Changes; readonly until: number } | null =
    null;
  #writes = 0;
  /** When to write next, where it can wait; while it opens, until when. */
  #earliest = 0;
  /** The request memory of the live link; null without a link. */
  #session: string | null = null;

  /** Nothing is dialed before: whom a link presents, and from where, is in the storage. */
  get isReady(): boolean {
    return this.#state !== 'closed' && this.#state !== 'opening';
  }

  get deadline(): number {
    if (this.#state === 'opening') return this.#earliest;
    if (this.#underWay !== null) return this.#underWay.until;
    return this.#isWriting && !isBlank(this.#page) ? this.#earliest : NEVER;
  }

  open({ now, out }: Step): void {
    if (this.#state !== 'closed') return;
    this.#state = 'opening';
    this.#earliest = now + STORAGE_TIMEOUT;
    out.push({ order: 'restore' });
  }

  /** False where nobody waits for it any more: the slot is given back. */
  opened(requests: readonly SavedRequest[], out: Order[]): boolean {
    if (this.#state !== 'opening') {
      if (this.#state === 'lost') this.#leave(out);
      return false;
    }
    this.#state = 'open';
    this.#earliest = 0;
    for (const { requestId, session } of requests) this.#keep(requestId, session);
    return true;
  }

  /** It could not be opened, or not in time. False where that is no news. */
  lose(): boolean {
    if (this.#state !== 'opening') return false;
    this.#state = 'lost';
    return true;
  }

  /** The last word: everything that is still to be told, and then the slot is given back. */
  close(out: Order[]): void {
    if (this.#isWriting) {
      // What is under way may fail, and nobody would try again.
      if (this.#underWay !== null) this.#page = merged(this.#underWay.page, this.#page);
      if (!isBlank(this.#page)) this.#write(NEVER, out);
      out.push({ order: 'release' });
    }
    this.#state = 'lost';
    this.#underWay = null;
  }

  put(entry: Entry): void {
    if (this.#state === 'lost') return;
    this.#saving.add(entry.requestId);
    this.#page.puts.set(entry.requestId, entry);
    this.#page.drops.delete(entry.requestId);
  }

  /** It has ended: whatever the storage holds of it, or may hold, goes. */
  drop(requestId: string): void {
    if (this.#state === 'lost') return;
    const { drops, puts, stamps } = this.#page;
    this.#saving.delete(requestId);
    puts.delete(requestId);
    stamps.delete(requestId);
    const wasStored = this.#durable.delete(requestId);
    // A write that failed may have arrived; before it is open nobody knows what it holds.
    const wasTried = this.#tried.delete(requestId);
    if (wasStored || wasTried || !this.isReady) drops.add(requestId);
  }

  /** Ended before the storage was open: what it still holds of it is not to be gone on with. */
  hasDropped(requestId: string): boolean {
    return this.#page.drops.has(requestId);
  }

  /** Left before the storage was open. */
  hasForgotten(room: string): boolean {
    return this.#page.cursors.get(room) === null;
  }

  moved(room: string, cursor: string | null): void {
    if (this.#state !== 'lost') this.#page.cursors.set(room, cursor);
  }

  identify(user: string | null): void {
    this.#page.user = user;
  }

  /** A link is ready. What was never written is stamped with its memory before it is. */
  linked(session: string, unwritten: readonly Entry[]): void {
    this.#session = session;
    this.#stamp(unwritten);
  }

  /** The link is gone, and these were not written on it. */
  unlinked(unwritten: readonly Entry[]): void {
    this.#session = null;
    this.#stamp(unwritten);
  }

  /** The storage knows it, and what it is about to be written under; or is not waited for. */
  allows({ requestId, session }: Entry): boolean {
    if (this.#state !== 'open') return true;
    return this.#durable.get(requestId) === (session ?? this.#session);
  }

  /** Requests that wait for the storage before they count as queued; none where it is not waited for. */
  get saving(): ReadonlySet<string> {
    return this.#state === 'failing' || this.#state === 'lost' ? nothing : this.#saving;
  }

  /** At the end of a tick: the next write, where it is time for one. */
  flush({ now, out }: Step): void {
    if (!this.#isWriting || this.#underWay !== null || isBlank(this.#page)) return;
    const isUrgent = this.#state === 'open' && !isLazy(this.#page);
    if (isUrgent || now >= this.#earliest) this.#write(now + STORAGE_TIMEOUT, out);
  }

  stored(write: number, now: number): void {
    if (this.#underWay === null || write !== this.#writes) return;
    const { puts, stamps } = this.#underWay.changes;
    for (const { requestId, session } of puts) this.#confirm(requestId, session);
    for (const [requestId, session] of stamps) this.#confirm(requestId, session);
    this.#tried.clear();
    this.#underWay = null;
    this.#state = 'open';
    this.#earliest = now + CURSOR_PAUSE;
  }

  /** Returns true where that is news: it was well before. */
  failed(write: number, now: number): boolean {
    if (this.#underWay === null || write !== this.#writes) return false;
    const isNews = this.#state === 'open';
    this.#page = merged(this.#underWay.page, this.#page);
    this.#underWay = null;
    this.#state = 'failing';
    this.#earliest = now + RETRY_PAUSE;
    return isNews;
  }

  /** The write under way that is overdue, or that opening is. */
  overdue(now: number): 'open' | number | null {
    if (this.#state === 'opening') return now >= this.#earliest ? 'open' : null;
    return this.#underWay !== null && now >= this.#underWay.until ? this.#writes : null;
  }

  get #isWriting(): boolean {
    return this.#state === 'open' || this.#state === 'failing';
  }

  #write(until: number, out: Order[]): void {
    const page = this.#page;
    const changes = changesOf(page, this.#session);
    for (const requestId of page.puts.keys()) this.#tried.add(requestId);
    this.#page = blank();
    this.#underWay = { page, changes, until };
    out.push({ order: 'store', write: ++this.#writes, changes });
  }

  /** It opened too late: what has ended meanwhile is told, the rest is left to the next owner. */
  #leave(out: Order[]): void {
    const { drops } = this.#page;
    this.#page = blank();
    if (drops.size > 0) {
      const changes = changesOf({ ...blank(), drops }, null);
      out.push({ order: 'store', write: ++this.#writes, changes });
    }
    out.push({ order: 'release' });
  }

  #stamp(entries: readonly Entry[]): void {
    for (const { requestId } of entries) {
      if (!this.#page.puts.has(requestId)) this.#page.stamps.set(requestId, this.#session);
    }
  }

  /** Of what ended since, or was asked anew under its id, the storage has a copy that is of no use. */
  #confirm(requestId: string, session: string | null): void {
    const { drops, puts } = this.#page;
    if (!drops.has(requestId) && !puts.has(requestId)) this.#keep(requestId, session);
  }

  #keep(requestId: string, session: string | null): void {
    this.#saving.delete(requestId);
    this.#durable.set(requestId, session);
  }
}

const nothing: ReadonlySet<string> = new Set();

function blank(): Page {
  return {
    puts: new Map(),
    stamps: new Map(),
    drops: new Set(),
    cursors: new Map(),
    user: undefined,
  };
}

function isBlank(page: Page): boolean {
  return isLazy(page) && page.cursors.size === 0;
}

/** Nothing but cursors has changed. */
function isLazy({ puts, stamps, drops, user }: Page): boolean {
  return puts.size + stamps.size + drops.size === 0 && user === undefined;
}

function changesOf({ puts, stamps, drops, cursors, user }: Page, session: string | null): Changes {
  return {
    puts: [...puts.values()].map((entry) => savedOf(entry, session)),
    stamps: [...stamps],
    drops: [...drops],
    cursors: [...cursors],
    ...(user === undefined ? {} : { user }),
  };
}

function savedOf(entry: Entry, session: string | null): SavedRequest {
  const { requestId, type, room, wire, delivery, timeout, expiresAt, coalesceKey } = entry;
  return {
    requestId,
    type,
    room,
    wire,
    delivery,
    timeout,
    expiresAt,
    coalesceKey,
    session: entry.session ?? session,
  };
}

/** A write that failed, and what came after it, as one. */
function merged(old: Page, next: Page): Page {
  const page: Page = {
    puts: new Map([...old.puts, ...next.puts]),
    stamps: new Map([...old.stamps, ...next.stamps]),
    drops: new Set([...old.drops, ...next.drops]),
    cursors: new Map([...old.cursors, ...next.cursors]),
    user: next.user === undefined ? old.user : next.user,
  };
  for (const requestId of next.puts.keys()) {
    page.drops.delete(requestId);
    // The stamp was the old one's.
    if (!next.stamps.has(requestId)) page.stamps.delete(requestId);
  }
  for (const requestId of next.drops) {
    page.puts.delete(requestId);
    page.stamps.delete(requestId);
  }
  return page;
}
