/** `holdfast/storage/sqlite`: outbox and cursors survive a crash of the process, or its SIGKILL. */
import path from 'node:path';
import type { ClientStorage, Slot, StorageHost } from '../client/storage.js';
import { defineStorage } from './define.js';
import { storageFailed } from './slots.js';
import { explained, openFile, transact } from './sqlite-file.node.js';
import { SqliteSlot } from './sqlite-slot.node.js';
import { SqliteSlots } from './sqlite-slots.node.js';

/** What an SQLite storage is made of. */
export interface SqliteStorageOptions {
  /**
   * The file, made with mode 0600 where there is none; its folder has to be there, on a disk of this
   * machine. Several clients and processes may share it. `-wal`, `-shm` and a `.slot-<n>` for each
   * client come to stand beside it.
   */
  path: string;
  /** Bytes that the file may grow to; a write beyond fails like one on a full disk. @default Infinity */
  maxBytes?: number;
}

/**
 * Keeps outbox and cursors in an SQLite file, for the option `outbox.storage`. Takes Node 22.13 or
 * later. A write blocks the process until it is on the disk. Where the file cannot be used, the client
 * reports `STORAGE_FAILED` and goes on in memory.
 * @throws HoldfastError `STORAGE_FAILED` where the path is none.
 */
export function sqliteStorage(options: SqliteStorageOptions): ClientStorage {
  const { path: file, maxBytes = Number.POSITIVE_INFINITY } = options;
  if (typeof file !== 'string' || file === '' || file === ':memory:')
    throw storageFailed('sqliteStorage({ path }) needs the path of a file.');
  return defineStorage({ name: 'SQLite', open: async (host) => open(file, maxBytes, host) });
}

function open(file: string, maxBytes: number, host: StorageHost): Slot {
  const whole = path.resolve(file);
  try {
    const database = openFile(whole, maxBytes, (error) => host.report(error));
    const slots = new SqliteSlots(database, whole, host);
    try {
      const taken = transact(database, () => slots.take());
      slots.report();
      return new SqliteSlot(database, taken, () => host.date());
    } catch (thrown) {
      slots.letGo();
      database.close();
      throw thrown;
    }
  } catch (thrown) {
    throw explained(whole, thrown);
  }
}
