/** The slots of a database: which one is taken next, what stands in it, which are forgotten. */
import type { IDBPTransaction } from 'idb';
import type { StorageHost } from '../client/storage.js';
import { type Database, durable, type Schema, STORES } from './indexed-db-database.js';
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
  { clientId, isNew }: Place,
  host: StorageHost,
): Promise<Found | null> {
  const tx = database.transaction(STORES, 'readwrite', durable);
  const slots = tx.objectStore('slots');
  const record: unknown = isNew ? { link: 0, used: 0 } : await slots.get(clientId);
  if (record === undefined) return null;
  const reader = new Reader(tx, clientId);
  const isSound = isSlotRecord(record);
  // Nobody can go on with the requests of an identity that is lost.
  const requests = await reader.read('requests', isSound ? isSavedRequest : isNothing);
  const cursors = await reader.read('cursors', isSound ? isCursorRecord : isNothing);
  if (isSound) await slots.put(raised(record, host.date()), clientId);
  else await reader.setAside('slots', clientId, record);
  await tx.done;
  if (reader.odd > 0)
    host.report(
      storageFailed(
        `${reader.odd} records of "${database.name}" cannot be read. They are in its store "aside" now.`,
      ),
    );
  if (!isSound) return null;
  return {
    clientId,
    record,
    requests: requests.map(([number, request]) => ({ number: Number(number), request })),
    cursors: cursors.map(([room, cursor]) => [String(room), cursor]),
  };
}

/** Deletes a slot that nobody has used for a month, under its lock. */
export async function forget(database: Database, clientId: string, date: number): Promise<null> {
  const tx = database.transaction(STORES, 'readwrite');
  const slots = tx.objectStore('slots');
  const range = recordsOf(clientId);
  const [record, request] = await Promise.all([
    slots.get(clientId),
    tx.objectStore('requests').getKey(range),
  ]);
  if (request === undefined && isSlotRecord(record) && date - record.used > SLOT_LIFETIME)
    await Promise.all([slots.delete(clientId), tx.objectStore('cursors').delete(range)]);
  await tx.done;
  return null;
}

/** Every key of a slot's records begins with the slot's: an array is above all strings. */
function recordsOf(clientId: string): IDBKeyRange {
  return IDBKeyRange.bound([clientId], [clientId, []]);
}

/** Reads what a slot has, and sets aside what is not as it should be. */
class Reader {
  /** How many records were set aside. */
  odd = 0;
  readonly #tx: IDBPTransaction<Schema, typeof STORES, 'readwrite'>;
  readonly #range: IDBKeyRange;

  constructor(tx: IDBPTransaction<Schema, typeof STORES, 'readwrite'>, clientId: string) {
    this.#tx = tx;
    this.#range = recordsOf(clientId);
  }

  async read<T>(
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
      else await this.setAside(name, key, value);
    }
    return items;
  }

  async setAside(store: (typeof STORES)[number], key: IDBValidKey, value: unknown): Promise<void> {
    this.odd++;
    await this.#tx.objectStore('aside').add({ store, key, value });
    await this.#tx.objectStore(store).delete(IDBKeyRange.only(key));
  }
}

function isNothing(_value: unknown): _value is never {
  return false;
}
