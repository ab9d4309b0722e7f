/** A lock that the kernel drops when its process dies, however it dies: SQLite's, on a file of its own. */
import { closeSync, openSync } from 'node:fs';
import { openDatabase, resultCode, SQLITE } from './sqlite.node.js';

export interface HeldLock {
  readonly path: string;
  /** Lets go. The file stays: whoever removes it must know that nobody is about to take it. */
  release(): void;
}

/**
 * Takes the lock on a file, which is made (mode 0600) where there is none. Between the processes of
 * one machine, and within one process. Never read or copy the file: closing it drops the lock.
 * @returns null where somebody else holds it.
 * @throws Error where the file cannot be made, or is something else's.
 */
export function take(path: string): HeldLock | null {
  makeFile(path);
  const database = openDatabase(path);
  try {
    // Nothing is ever written, so nothing is rolled back: no journal file beside it.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (resultCode(error) === SQLITE.BUSY) return null;
    throw error;
  }
  let isHeld = true;
  return {
    path,
    release() {
      if (isHeld) database.close();
      isHeld = false;
    },
  };
}

/** SQLite would make it too, readable to everybody. */
export function makeFile(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return;
    throw error;
  }
}
