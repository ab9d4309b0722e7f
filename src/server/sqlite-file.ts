/** The file of a journal: whether it is ours, what it looks like inside, and what to do where it is not. */
import { makeFile } from '../lib/held-lock.node.js';
import { openDatabase, resultCode, SQLITE } from '../lib/sqlite.node.js';
import { Database, int } from './sqlite-database.js';

/** "hold": tells our files from everybody else's. */
const APPLICATION = 0x68_6f_6c_64;
const VERSION = 1;
/** How long to wait for another process that writes, in ms: far longer than any write of ours takes. */
const BUSY_TIMEOUT = 5_000;

/**
 * A room or client without a name is discarded: what hangs on it goes bit by bit. `node` of a request
 * is who runs it, none once it is settled; its `rank` grows with each settling and each recall.
 */
const SCHEMA = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE hosts (
  id INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, relaxed INTEGER NOT NULL,
  heard INTEGER NOT NULL);
CREATE TABLE nodes (id INTEGER PRIMARY KEY AUTOINCREMENT, host INTEGER NOT NULL);
CREATE TABLE rooms (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, epoch TEXT NOT NULL, seq INTEGER NOT NULL,
  first INTEGER NOT NULL, bytes INTEGER NOT NULL, used_at INTEGER NOT NULL);
CREATE INDEX rooms_by_use ON rooms (used_at) WHERE name IS NOT NULL;
CREATE TABLE events (
  room INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, bytes INTEGER NOT NULL,
  body TEXT NOT NULL, PRIMARY KEY (room, seq)) WITHOUT ROWID;
CREATE TABLE followers (
  room INTEGER NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (room, node)) WITHOUT ROWID;
CREATE INDEX followers_by_node ON followers (node);
CREATE TABLE clients (
  id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, session TEXT NOT NULL, link INTEGER NOT NULL,
  node INTEGER, departed_at INTEGER, settled INTEGER NOT NULL, bytes INTEGER NOT NULL,
  rank INTEGER NOT NULL);
CREATE INDEX clients_by_departure ON clients (departed_at)
  WHERE departed_at IS NOT NULL AND key IS NOT NULL;
CREATE INDEX clients_by_node ON clients (node) WHERE node IS NOT NULL;
CREATE TABLE requests (
  client INTEGER NOT NULL, request TEXT NOT NULL, node INTEGER, rank INTEGER NOT NULL,
  bytes INTEGER NOT NULL, response TEXT, PRIMARY KEY (client, request)) WITHOUT ROWID;
CREATE INDEX requests_running ON requests (node, client) WHERE node IS NOT NULL;
CREATE INDEX requests_answered ON requests (client, rank) WHERE response IS NOT NULL;
CREATE TABLE news (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, host INTEGER NOT NULL, kind TEXT NOT NULL,
  name TEXT NOT NULL, detail TEXT NOT NULL);
INSERT INTO meta VALUES ('rooms', 0), ('clients', 0);
PRAGMA application_id = ${APPLICATION};
PRAGMA user_version = ${VERSION};
`;

/**
 * Opens the file, or makes it (mode 0600). Nothing is written to a file that is not ours.
 * @throws Error that says what is wrong with the file and how to mend it.
 */
export function openFile(path: string): Database {
  let database: Database | undefined;
  try {
    makeFile(path);
    database = new Database(openDatabase(path));
    database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT}`);
    prepare(database, path);
    return database;
  } catch (error) {
    database?.close();
    throw explained(path, error);
  }
}

/** What SQLite or the file system says, as somebody can act on it. Errors of ours stay as they are. */
export function explained(path: string, error: unknown): Error {
  const said = error instanceof Error ? error : new Error(String(error));
  const advice = adviceOn(said);
  if (advice === undefined) return said;
  return new Error(`sqliteJournal: ${path} ${advice} (${said.message})`, { cause: error });
}

function adviceOn(error: Error): string | undefined {
  if ('code' in error && 'syscall' in error) {
    return 'cannot be made: name a file in a folder that is there and may be written to.';
  }
  switch (resultCode(error)) {
    case SQLITE.NOTADB:
      return 'is no SQLite database. It was left as it is: name another file, or move this one away.';
    case SQLITE.CORRUPT:
      return 'is damaged. Stop its hubs and move it away, with its -wal and -shm: rooms then go on in new epochs.';
    case SQLITE.CANTOPEN:
      return 'cannot be opened: name a file, in a folder that may be written to.';
    case SQLITE.READONLY:
      return 'may only be read: give the process the right to write to the file and its folder.';
    case SQLITE.FULL:
      return 'could not take it, the disk is full: nothing of it was written. Make room; the journal goes on by itself.';
    case SQLITE.IOERR:
      return 'could not be read or written: look at the disk.';
    case SQLITE.BUSY:
      return `was locked by another process for over ${BUSY_TIMEOUT} ms: is one of them stopped?`;
    default:
      return undefined;
  }
}

function prepare(database: Database, path: string): void {
  // In one transaction: another process may be making the tables just now.
  database.exec('BEGIN');
  const isNew = !isOurs(database, path);
  database.exec('COMMIT');
  const mode = database.get('PRAGMA journal_mode = WAL')?.journal_mode;
  if (mode !== 'wal') {
    throw new Error(
      `sqliteJournal: ${path} must lie on a disk of this machine: it has no WAL there.`,
    );
  }
  database.exec('PRAGMA fullfsync = 1; PRAGMA checkpoint_fullfsync = 1');
  if (!isNew) return;
  // Two processes may start at once: whoever comes second finds it made.
  database.exec('BEGIN IMMEDIATE');
  if (!isOurs(database, path)) database.exec(SCHEMA);
  database.exec('COMMIT');
}

/** False where the file is new. */
function isOurs(database: Database, path: string): boolean {
  const application = int(database.get('PRAGMA application_id')?.application_id);
  const version = int(database.get('PRAGMA user_version')?.user_version);
  if (application === APPLICATION && version === VERSION) return true;
  if (application === APPLICATION) {
    throw new Error(
      `sqliteJournal: ${path} was written by another version of holdfast (schema ${version}, this one knows ${VERSION}). It was left as it is: use that version, or name another file.`,
    );
  }
  const tables = int(database.get('SELECT count(*) AS n FROM sqlite_schema')?.n);
  if (application === 0 && version === 0 && tables === 0) return false;
  throw new Error(
    `sqliteJournal: ${path} is the database of something else. It was left as it is: name another file.`,
  );
}
