/** Node's own SQLite, or a clear word where this Node has none. */
import { getBuiltinModule } from 'node:process';
import type { DatabaseSync } from 'node:sqlite';

/** The result codes of SQLite that somebody can do something about. */
export const SQLITE = Object.freeze({
  BUSY: 5,
  READONLY: 8,
  IOERR: 10,
  CORRUPT: 11,
  FULL: 13,
  CANTOPEN: 14,
  NOTADB: 26,
});

/**
 * Opens a database, and makes the file where there is none.
 * @param path of a file; `node:sqlite` waits for no lock unless `PRAGMA busy_timeout` says so.
 * @throws Error where this Node has no SQLite, and what SQLite throws: see {@link resultCode}.
 */
export function openDatabase(path: string): DatabaseSync {
  // Loaded when it is needed, so that an import of this file never fails.
  const sqlite: typeof import('node:sqlite') | undefined = getBuiltinModule('node:sqlite');
  if (sqlite !== undefined) return new sqlite.DatabaseSync(path);
  throw new Error(
    'This Node has no node:sqlite. Use Node 22.13 or later, or start it with --experimental-sqlite.',
  );
}

/** The primary result code of SQLite behind an error, undefined where it is none of SQLite's. */
export function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error)) return undefined;
  // The higher bytes say more than anybody here asks for.
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
}
