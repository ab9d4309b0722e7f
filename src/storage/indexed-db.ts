/** `holdfast/storage/indexed-db`: outbox and cursors survive a reload of the page, or its crash. */
import type { ClientStorage, Slot, StorageHost } from '../client/storage.js';
import { defineStorage } from './define.js';
import { type Connection, connection } from './indexed-db-database.js';
import { IndexedDbSlot } from './indexed-db-slot.js';
import { adopt, forget, knownSlots } from './indexed-db-slots.js';
import { storageFailed } from './slots.js';
import { holdWebLock, type Release } from './web-lock.js';

/** What an IndexedDB storage is made of. */
export interface IndexedDbStorageOptions {
  /** The database, which all tabs of an application share. @default 'holdfast' */
  name?: string;
}

/**
 * Keeps outbox and cursors in IndexedDB, for the option `outbox.storage`. Each tab has a slot of its
 * own under a Web Lock, so the page must come over https or from localhost. Where there is no
 * IndexedDB or no Web Lock, the client reports `STORAGE_FAILED` and goes on in memory.
 */
export function indexedDbStorage(options: IndexedDbStorageOptions = {}): ClientStorage {
  const { name = 'holdfast' } = options;
  return defineStorage({ name: 'IndexedDB', open: (host) => open(name, host) });
}

async function open(name: string, host: StorageHost): Promise<Slot> {
  const connected = connection(name);
  try {
    return await takeSlot(connected, locker(name), host);
  } catch (thrown) {
    connected.close();
    throw thrown;
  }
}

/** What takes the lock of a slot. */
type Locker = (clientId: string) => Promise<Release | null>;

function locker(name: string): Locker {
  const { navigator }: Partial<typeof globalThis> = globalThis;
  // Pages without a secure context have none, whatever the types say.
  const { locks }: Partial<Navigator> = navigator ?? {};
  if (locks !== undefined) return (clientId) => holdWebLock(locks, `holdfast/${name}/${clientId}`);
  throw storageFailed('There are no Web Locks (navigator.locks) here: serve the page over https.');
}

async function takeSlot(connected: Connection, lock: Locker, host: StorageHost): Promise<Slot> {
  const database = await connected.open();
  const known = await knownSlots(database, host.date());
  for (const place of [...known, null]) {
    const isNew = place === null;
    const clientId = isNew ? host.id() : place.clientId;
    const slot = await underLock(lock, clientId, async (release) => {
      const found = await adopt(database, { clientId, isNew }, host);
      return found && new IndexedDbSlot(found, { connected, release, date: () => host.date() });
    });
    if (slot === null) continue;
    const old = known.filter((one) => one.isOld && one.clientId !== clientId);
    for (const one of old) {
      const forgetting = () => forget(database, one.clientId, host.date());
      // An old slot that cannot be deleted is no reason to lose the one that was taken.
      await underLock(lock, one.clientId, forgetting).catch(() => {});
    }
    return slot;
  }
  throw storageFailed('No slot is free, not even a new one.');
}

/** Keeps the lock where something comes of it. */
async function underLock<T>(
  lock: Locker,
  clientId: string,
  run: (release: Release) => Promise<T | null>,
): Promise<T | null> {
  const release = await lock(clientId);
  if (release === null) return null;
  let result: T | null = null;
  try {
    result = await run(release);
    return result;
  } finally {
    if (result === null) await release();
  }
}
