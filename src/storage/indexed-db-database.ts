/** The database: its schema, and a connection that comes back after it was lost. */
import { type DBSchema, type IDBPDatabase, type IDBPTransaction, openDB } from 'idb';
import { storageFailed } from './slots.js';

/**
 * Keys say whose a record is. A request's number is about the Unix time at which it was put: numbers
 * order the requests of a slot, and tell which slot has waited longest.
 */
export interface Schema extends DBSchema {
  slots: { key: string; value: unknown };
  requests: { key: Key; value: unknown };
  cursors: { key: Key; value: unknown };
  /** What could not be read. */
  aside: { key: number; value: { store: string; key: unknown; value: unknown } };
}

export type Database = IDBPDatabase<Schema>;

/** A request's second part is its number, a cursor's its room. */
export type Key = [clientId: string, part: number | string];

export const STORES = ['slots', 'requests', 'cursors', 'aside'] as const;

export type Transaction = IDBPTransaction<Schema, typeof STORES, 'readwrite'>;

const VERSION = 1;

export interface Connection {
  /** @throws HoldfastError `STORAGE_FAILED` */
  open(): Promise<Database>;
  close(): void;
}

/** Opens when it is asked to, and again after the browser or another tab has closed it. */
export function connection(name: string): Connection {
  let database: Promise<Database> | null = null;
  const lose = () => {
    database = null;
  };
  const close = () => {
    database?.then((open) => open.close(), lose);
    lose();
  };
  async function connect(): Promise<Database> {
    try {
      const opened = await openDB<Schema>(name, VERSION, {
        upgrade(created) {
          for (const store of STORES)
            created.createObjectStore(store, { autoIncrement: store === 'aside' });
        },
        // A newer tab wants to upgrade it, or somebody to delete it: both wait for this page.
        blocking: close,
        terminated: lose,
      });
      if (STORES.every((store) => opened.objectStoreNames.contains(store))) return opened;
      opened.close();
    } catch (thrown) {
      lose();
      throw refusal(name, thrown);
    }
    lose();
    throw storageFailed(`The database "${name}" belongs to something else. Choose another name.`);
  }
  return { open: () => (database ??= connect()), close };
}

/** All of it or nothing; on the disk once it resolves, not only with the operating system. */
export async function transact<T>(
  database: Database,
  run: (tx: Transaction) => Promise<T>,
): Promise<T> {
  const tx = database.transaction(STORES, 'readwrite', { durability: 'strict' });
  // Where `run` rejects, nobody waits for the end of it.
  tx.done.catch(() => {});
  try {
    const result = await run(tx);
    await tx.done;
    return result;
  } catch (thrown) {
    try {
      tx.abort();
    } catch {
      // The browser has ended it already.
    }
    throw thrown;
  }
}

function refusal(name: string, thrown: unknown): Error {
  const why =
    thrown instanceof Error && thrown.name === 'VersionError'
      ? 'a later version of this page has made it. Reload the page'
      : 'it is missing or blocked here, as in some private windows';
  return storageFailed(`IndexedDB cannot open "${name}": ${why}.`, thrown);
}
