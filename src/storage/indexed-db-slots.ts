/** The slots of a database: which one is taken next, what stands in it, which are forgotten. */
import type { StorageHost } from '../client/storage.js';
import { type Database, type STORES, type Transaction, transact } from './indexed-db-database.js';
import { isCursorRecord, isSavedRequest, isSlotRecord } from './shape.js';
import { type Found, raised } from './slot-book.js';
import { SLOT_LIFETIME, storageFailed } from './slots.js';

/** A slot that is to be taken. A new one is made; any other may be gone by now. */
export interface Place {
  readonly clientId: string;
  readonly isNew: boolean;
}

/** One of the slots that are there, with or without an owner. */
export interface Known {
  readonly clientId: string;
  readonly isOld: boolean;
}

/** All slots, in the order in which a new owner should ask for them. */
export async function knownSlots(database: Database, date: number): Promise<Known[]> {
  const tx = database.transaction(['slots', 'requests']);
  const slots = tx.objectStore('slots');
  const [ids, records] = await Promise.all([slots.getAllKeys(), slots.getAll()]);
  const known = await Promise.all(
    ids.map(async (clientId, index) => {
      const first = await tx.objectStore('requests').getKey(recordsOf(clientId));
      const record = records[index];
      const used = isSlotRecord(record) ? record.used : date;
      const isOld = first === undefined && date - used > SLOT_LIFETIME;
      return { clientId, isOld, used, first: Number(first?.[1] ?? Number.MAX_VALUE) };
    }),
  );
  return known.sort((one, other) => one.first - other.first || other.used - one.used);
}

/** Takes a slot over, under its lock. Null where it is gone, or cannot be read. */
export async function adopt(
  database: Database,
  place: Place,
  host: StorageHost,
): Promise<Found | null> {
  let odd = 0;
  const found = await transact(database, async (tx) => {
    const reader = new Reader(tx, place.clientId);
    const read = await reader.take(place, host.date());
    odd = reader.odd;
    return read;
  });
  if (odd > 0) {
    const what = `${odd} records of "${database.name}" cannot be read`;
    host.report(storageFailed(`${what}. They are in its store "aside" now.`));
  }
  return found;
}

/** Deletes a slot that nobody has used for a month, under its lock. */
export function forget(database: Database, clientId: string, date: number): Promise<null> {
  return transact(database, async (tx) => {
    const slots = tx.objectStore('slots');
    const range = recordsOf(clientId);
    const record = await slots.get(clientId);
    const request = await tx.objectStore('requests').getKey(range);
    if (request === undefined && isSlotRecord(record) && date - record.used > SLOT_LIFETIME) {
      await tx.objectStore('cursors').delete(range);
      await slots.delete(clientId);
    }
    return null;
  });
}

/** Every key of a slot's records begins with the slot's: an array is above all strings. */
function recordsOf(clientId: string): IDBKeyRange {
  return IDBKeyRange.bound([clientId], [clientId, []]);
}

/** Reads what a slot has, and sets aside what is not as it should be. */
class Reader {
  /** How many records were set aside. */
  odd = 0;
  readonly #tx: Transaction;
  readonly #range: IDBKeyRange;

  constructor(tx: Transaction, clientId: string) {
    this.#tx = tx;
    this.#range = recordsOf(clientId);
  }

  async take({ clientId, isNew }: Place, date: number): Promise<Found | null> {
    const slots = this.#tx.objectStore('slots');
    const record: unknown = isNew ? { link: 0, used: 0 } : await slots.get(clientId);
    if (record === undefined) return null;
    const isSound = isSlotRecord(record);
    // Nobody can go on with the requests of an identity that is lost.
    const requests = await this.#read('requests', isSound ? isSavedRequest : isNothing);
    const cursors = await this.#read('cursors', isSound ? isCursorRecord : isNothing);
    if (!isSound) {
      await this.#setAside('slots', clientId, record);
      return null;
    }
    await slots.put(raised(record, date), clientId);
    return {
      clientId,
      record,
      requests: requests.map(([number, request]) => ({ number: Number(number), request })),
      cursors: cursors.map(([room, cursor]) => [String(room), cursor]),
    };
  }

  async #read<T>(
    name: 'requests' | 'cursors',
    fits: (value: unknown) => value is T,
  ): Promise<(readonly [part: number | string, value: T])[]> {
    const store = this.#tx.objectStore(name);
    const [keys, values] = await Promise.all([
      store.getAllKeys(this.#range),
      store.getAll(this.#range),
    ]);
    const items: (readonly [part: number | string, value: T])[] = [];
    for (const [index, key] of keys.entries()) {
      const value = values[index];
      if (fits(value)) items.push([key[1], value]);
      else await this.#setAside(name, key, value);
    }
    return items;
  }

  async #setAside(store: (typeof STORES)[number], key: IDBValidKey, value: unknown): Promise<void> {
    this.odd++;
    await this.#tx.objectStore('aside').add({ store, key, value });
    await this.#tx.objectStore(store).delete(IDBKeyRange.only(key));
  }
}

function isNothing(_value: unknown): _value is never {
  return false;
}
