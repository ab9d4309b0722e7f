/** A storage in memory that outlives its clients: for tests of restarts, and of storages that fail. */
import type { ClientStorage, Slot, StorageHost } from '../client/storage.js';
import type { Clock } from '../lib/clock.js';
import type { Saved } from '../machine/fact.js';
import type { Changes } from '../machine/order.js';
import { defineStorage } from '../storage/define.js';
import { storageFailed } from '../storage/slots.js';
import { type MemorySlot, takeSlot } from './memory-slots.js';
import { type LineTerms, StorageLine } from './storage-line.js';

/** What can be wrong with a storage. Every fault may be changed at any time. */
export interface StorageFaults {
  /** What hangs goes on when this changes. @default 'works' */
  open: 'works' | 'fails' | 'hangs';
  /** What fails changes nothing. What hangs goes on, in order, when this changes. @default 'works' */
  write: 'works' | 'fails' | 'hangs';
  /** Milliseconds that each open and each write takes; needs a `clock`. @default 0 */
  delay: number;
  /** Requests it has room for; a write that needs more is refused as on a full disk. @default Infinity */
  capacity: number;
}

/** What a memory storage is made of. */
export interface MemoryStorageOptions {
  /** All waiting goes by this clock. @default none: `delay` must stay 0 */
  clock?: Clock;
  /** Faults that it starts with. @default none */
  faults?: Partial<StorageFaults>;
}

/** A slot as it stands in the storage: what is there for its next owner. */
export interface StoredSlot extends Saved {
  readonly owned: boolean;
}

/** How owners die. */
export interface CrashOptions {
  /** Of one slot alone. @default all owners, and the opens that are under way */
  clientId?: string;
  /**
   * Of each owner's writes that were not acknowledged yet, so many came through all the same: a
   * crash may hit between a write and the word of it. @default 0
   */
  landed?: number;
}

/** A storage for `outbox.storage`, and what a test can do to it. */
export interface MemoryStorage extends ClientStorage {
  readonly faults: Readonly<StorageFaults>;
  /** Changes some faults, at once, also for what is under way. */
  set(change: Partial<StorageFaults>): void;
  /** Ends all faults. */
  heal(): void;
  /**
   * Pages or processes are gone without a word: their slots are free, and what was not acknowledged
   * is lost and never settles.
   */
  crash(options?: CrashOptions): void;
  /** In the order in which they were made. */
  readonly slots: readonly StoredSlot[];
}

const sound: Readonly<StorageFaults> = Object.freeze({
  open: 'works',
  write: 'works',
  delay: 0,
  capacity: Number.POSITIVE_INFINITY,
});

/**
 * Keeps what several clients store, as the profile of one browser would.
 *
 * ```ts
 * const storage = memoryStorage({ clock });
 * const before = createClient({ transport, outbox: { storage } });
 * storage.crash(); // its page is gone
 * const after = createClient({ transport, outbox: { storage } });
 * await after.restore(); // the requests of `before`
 * ```
 */
export function memoryStorage(options: MemoryStorageOptions = {}): MemoryStorage {
  const { clock } = options;
  const slots: MemorySlot[] = [];
  const owners = new Set<Owner>();
  let faults = { ...sound };
  let turns = 0;
  const shelf: Shelf = {
    terms: { clock, delay: () => faults.delay, hangs: () => faults.write === 'hangs' },
    left: (owner) => owners.delete(owner),
    write(slot, changes, date) {
      if (faults.write === 'fails') throw storageFailed('The storage cannot be written.');
      const others = slots.reduce((sum, one) => sum + one.requests.size, -slot.requests.size);
      if (changes.puts.length > 0 && others + slot.sizeAfter(changes) > faults.capacity)
        throw new DOMException('The storage is full.', 'QuotaExceededError');
      slot.apply(changes, ++turns, date);
    },
  };
  const opens = new StorageLine({ ...shelf.terms, hangs: () => faults.open === 'hangs' });

  function take(host: StorageHost): Slot {
    if (faults.open === 'fails') throw storageFailed('The storage cannot be opened.');
    const { slot, saved } = takeSlot(slots, () => host.id(), host.date());
    const owner = new Owner(shelf, slot, saved, () => host.date());
    owners.add(owner);
    return owner;
  }

  function set(change: Partial<StorageFaults>): void {
    if ((change.delay ?? 0) > 0 && clock === undefined)
      throw new TypeError('A delay needs a clock: memoryStorage({ clock }).');
    faults = { ...faults, ...change };
    opens.attend();
    for (const owner of [...owners]) owner.line.attend();
  }

  set(options.faults ?? {});
  return {
    ...defineStorage({ name: 'memory', open: (host) => opens.add(() => take(host)) }),
    get faults() {
      return faults;
    },
    set,
    heal: () => set(sound),
    crash({ clientId, landed = 0 } = {}) {
      if (clientId === undefined) opens.cut(0);
      for (const owner of [...owners])
        if (clientId === undefined || owner.saved.clientId === clientId) owner.die(landed);
    },
    get slots() {
      return slots.map((slot) => ({ ...slot.saved(), owned: slot.owned }));
    },
  };
}

/** What an owner needs of the storage. */
interface Shelf {
  readonly terms: LineTerms;
  /** Whether it was one until now. */
  left(owner: Owner): boolean;
  write(slot: MemorySlot, changes: Changes, date: number): void;
}

class Owner implements Slot {
  readonly saved: Saved;
  readonly line: StorageLine;
  readonly #shelf: Shelf;
  readonly #slot: MemorySlot;
  readonly #date: () => number;
  #closing = false;

  constructor(shelf: Shelf, slot: MemorySlot, saved: Saved, date: () => number) {
    this.saved = saved;
    this.line = new StorageLine(shelf.terms);
    this.#shelf = shelf;
    this.#slot = slot;
    this.#date = date;
  }

  async write(changes: Changes): Promise<void> {
    if (this.#closing) throw storageFailed('The slot is closed.');
    await this.line.add(() => this.#shelf.write(this.#slot, changes, this.#date()));
  }

  /** After the writes before it: a next owner must not miss one. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.line.empty();
    this.#free();
  }

  die(landed: number): void {
    this.#closing = true;
    this.line.cut(landed);
    this.#free();
  }

  #free(): void {
    // A late close must not free what somebody else owns by now.
    if (this.#shelf.left(this)) this.#slot.owned = false;
  }
}
