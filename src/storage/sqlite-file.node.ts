/** The file of a storage: whether it is ours, and what becomes of one that is damaged. */
import { existsSync, renameSync } from 'node:fs';
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { makeFile } from '../lib/held-lock.node.js';
import { openDatabase, resultCode, SQLITE } from '../lib/sqlite.node.js';
import { HoldfastError } from '../protocol/errors.js';
import { storageFailed } from './slots.js';

/** "hfou": tells our files from everybody else's, those of a hub's journal among them. */
const APPLICATION = 0x68_66_6f_75;
const VERSION = 1;
/** Milliseconds to wait for another process that writes: much longer than a write takes. */
const BUSY_TIMEOUT = 2_000;

/** Texts that applications choose stand in JSON: SQLite's UTF-8 has no lone surrogates. */
const SCHEMA = `
CREATE TABLE slots (
  id INTEGER PRIMARY KEY AUTOINCREMENT, client_id TEXT NOT NULL, link INTEGER NOT NULL, user TEXT,
  used INTEGER NOT NULL) STRICT;
CREATE TABLE requests (
  slot INTEGER NOT NULL, number INTEGER NOT NULL, about TEXT NOT NULL, wire ANY NOT NULL,
  PRIMARY KEY (slot, number)) STRICT;
CREATE TABLE cursors (
  slot INTEGER NOT NULL, room TEXT NOT NULL, cursor TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (slot, room)) STRICT, WITHOUT ROWID;
CREATE TABLE aside (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, row TEXT NOT NULL, wire ANY) STRICT;
PRAGMA application_id = ${APPLICATION};
PRAGMA user_version = ${VERSION};
`;

type Report = (error: HoldfastError) => void;

/** Opens the file, or makes it. One that is damaged is moved aside, and a new one begun. */
export function openFile(file: string, maxBytes: number, report: Report): DatabaseSync {
  try {
    return openSound(file, maxBytes);
  } catch (thrown) {
    if (!isDamage(thrown)) throw thrown;
    return mended(file, maxBytes, report);
  }
}

/** What SQLite or the file system says, as somebody can act on it. */
export function explained(file: string, thrown: unknown): HoldfastError {
  if (thrown instanceof HoldfastError) return thrown;
  const said = thrown instanceof Error ? thrown.message : String(thrown);
  // Some say themselves what to do.
  const help = said.endsWith('.') ? said : `${said}. ${advice(thrown)}`;
  return storageFailed(`SQLite cannot use ${file}: ${help}`, thrown);
}

function advice(thrown: unknown): string {
  switch (resultCode(thrown)) {
    case SQLITE.FULL:
      return 'Make room on the disk, or raise maxBytes.';
    case SQLITE.BUSY:
      return `Another process has locked it for over ${BUSY_TIMEOUT} ms: is one of them stopped?`;
    default:
      return 'Name a file in a folder that is there, and may be written to.';
  }
}

function openSound(file: string, maxBytes: number): DatabaseSync {
  makeFile(file);
  const database = openDatabase(file);
  try {
    database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT}`);
    prepare(database, file);
    const pages = Math.floor(maxBytes / number(database, 'page_size'));
    if (pages < 2 ** 31) database.exec(`PRAGMA max_page_count = ${Math.max(1, pages)}`);
    return database;
  } catch (thrown) {
    database.close();
    throw thrown;
  }
}

function prepare(database: DatabaseSync, file: string): void {
  if (!isOurs(database, file)) {
    database.exec('PRAGMA journal_mode = WAL');
    // Two processes may begin at once: who comes second finds it made.
    transact(database, () => {
      if (!isOurs(database, file)) database.exec(SCHEMA);
    });
  }
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = 1');
  const { quick_check: check } = database.prepare('PRAGMA quick_check(1)').get() ?? {};
  if (check !== 'ok') throw new Damage(`${check}`);
}

/** False where the file is new. Nothing is written to one that is somebody else's. */
function isOurs(database: DatabaseSync, file: string): boolean {
  const application = number(database, 'application_id');
  const version = number(database, 'user_version');
  if (application === APPLICATION && version === VERSION) return true;
  if (application === APPLICATION)
    throw storageFailed(
      `${file} was written by a later version of holdfast (schema ${version}, this one knows ${VERSION}). It was left as it is: use that version, or name another file.`,
    );
  const { tables } = database.prepare('SELECT count(*) AS tables FROM sqlite_schema').get() ?? {};
  if (application === 0 && version === 0 && tables === 0) return false;
  throw storageFailed(
    `${file} is a database of something else. It was left as it is: name another file.`,
  );
}

function number(database: DatabaseSync, pragma: string): number {
  const [value]: SQLOutputValue[] = Object.values(database.prepare(`PRAGMA ${pragma}`).get() ?? {});
  return Number(value);
}

/** All of it or nothing. */
export function transact<T>(database: DatabaseSync, run: () => T): T {
  database.exec('BEGIN IMMEDIATE');
  try {
    const result = run();
    database.exec('COMMIT');
    return result;
  } catch (thrown) {
    try {
      database.exec('ROLLBACK');
    } catch {
      // A full disk has rolled it back already.
    }
    throw thrown;
  }
}

/** What the check of a database found. */
class Damage extends Error {}

function isDamage(thrown: unknown): boolean {
  const code = resultCode(thrown);
  return thrown instanceof Damage || code === SQLITE.NOTADB || code === SQLITE.CORRUPT;
}

/** Under a lock: of two processes that find the damage, the second finds a sound file. */
function mended(file: string, maxBytes: number, report: Report): DatabaseSync {
  const guard = `${file}.mending`;
  makeFile(guard);
  const lock = openDatabase(guard);
  try {
    lock.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT}; BEGIN EXCLUSIVE`);
    return openSound(file, maxBytes);
  } catch (thrown) {
    if (!isDamage(thrown)) throw thrown;
    const aside = moveAside(file);
    const database = openSound(file, maxBytes);
    report(
      storageFailed(
        `${file} was damaged, or no database. It is ${aside} now, and a new one was begun.`,
        thrown,
      ),
    );
    return database;
  } finally {
    lock.close();
  }
}

function moveAside(file: string): string {
  let count = 1;
  while (existsSync(`${file}.corrupt-${count}`)) count++;
  const aside = `${file}.corrupt-${count}`;
  // What belongs to it goes with it, or it would be taken for the new one's.
  for (const part of ['-wal', '-shm', ''])
    if (existsSync(`${file}${part}`)) renameSync(`${file}${part}`, `${aside}${part}`);
  return aside;
}
