/** The port: where a client's identity, outbox and cursors outlive its page or its process. */
import type { Saved } from '../machine/fact.js';
import type { Ledger } from '../machine/ledger.js';
import type { Changes } from '../machine/order.js';
import type { HoldfastError } from '../protocol/errors.js';

/** How many links one owner of a slot may dial: it takes longer than anybody lives. */
export const LINKS_PER_OWNER = 2 ** 26;

/** What a storage is lent by the client that opens it. */
export interface StorageHost {
  /** A new id, hard to guess: a new slot takes one as its `clientId`. */
  id(): string;
  /** Unix milliseconds. */
  date(): number;
  /** Hears of data that was set aside, with code `STORAGE_FAILED`. */
  report(error: HoldfastError): void;
}

/**
 * One client's place in a storage, held until it is closed or its owner is gone. Whoever opens the
 * storage takes over the slot of an owner that is gone, whole: its identity, its requests, its
 * cursors.
 */
export interface Slot {
  readonly saved: Saved;
  /** Atomic, durable once it resolves, and in the order of the calls. */
  write(changes: Changes): Promise<void>;
  /** Lets go of the slot; what it holds stays for the next owner. Never rejects. Harmless twice. */
  close(): Promise<void>;
}

/** What opens slots. Five rules hold for every adapter:
 *
 * - S1 A slot has one owner at a time, across tabs, workers and processes, and loses it when that is
 *   gone, however it went. `open` takes the slot whose requests have waited longest, else one
 *   without requests, else it makes one.
 * - S2 `saved.link` is no lower than any link dialed before: each `open` raises what is stored by
 *   `LINKS_PER_OWNER`, before it resolves.
 * - S3 `write` is all or nothing, and survives the death of the process once it has resolved.
 * - S4 Data that it cannot read is set aside, not deleted; `report` is told, and the rest is served. A
 *   storage of a later version, or somebody else's, is left as it is, and `open` rejects.
 * - S5 `open` rejects where nothing can be stored: the client then goes on in memory.
 */
export interface StorageAdapter {
  /** Named in errors: "IndexedDB", "SQLite". */
  readonly name: string;
  open(host: StorageHost): Promise<Slot>;
}

/** An adapter, ready for the option `outbox.storage`. */
export interface ClientStorage extends StorageAdapter {
  /** The books of one client; here, so that clients without a storage do not carry them. */
  ledger(): Ledger;
}
