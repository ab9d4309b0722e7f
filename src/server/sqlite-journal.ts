/** `holdfast/server/sqlite`: the journal in a file, which outlives its process, for the hubs of one machine. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../lib/clock.js';
import { checkKnown } from '../lib/known.js';
import type { Journal } from './journal.js';
import { boundNames, boundsOf, type JournalBounds } from './journal-bounds.js';
import { openFile } from './sqlite-file.js';
import { SqliteNode } from './sqlite-node.js';
import { SqliteStore, type StoreSettings } from './sqlite-store.js';

export type { JournalBounds } from './journal-bounds.js';

export interface SqliteJournalOptions extends JournalBounds {
  /**
   * The file, on a disk of this machine: it is made where there is none, its folder is not. Beside it
   * stand `-wal`, `-shm`, and a `.host-…` for each process that has it open. All may be read by their
   * owner alone.
   */
  readonly path: string | URL;
  /**
   * Whether each write waits until the disk has it. `normal` does not wait: a crash of the process
   * still loses nothing, but after a power cut all rooms begin a new epoch, and all clients a new
   * session. @default 'full'
   */
  readonly synchronous?: 'full' | 'normal' | undefined;
  /**
   * What shares a commit: all that arrives in one turn of the event loop, or only what is asked in one
   * tick, for tests on a virtual clock. @default 'turn': under load the disk is waited for less often.
   */
  readonly batch?: 'turn' | 'tick' | undefined;
  /**
   * Milliseconds between two looks at what other processes wrote, while there are others.
   * @default 20: nobody sees the difference, and a look costs some microseconds.
   */
  readonly pollInterval?: number | undefined;
  /** Its date is what ages are counted by. @default the clock of the hub that opens it first */
  readonly clock?: Clock | undefined;
}

export interface SqliteJournal extends Journal {
  /**
   * Declares every hub of this object dead, as a crash would: what they still write is refused and
   * their running requests are orphans. For tests, and for a hub that can no longer be closed.
   */
  fence(): void;
}

/**
 * Rooms, epochs, responses and sessions in one SQLite file. Several hubs may share the object, several
 * processes of one machine the file. It is opened with the first hub and closed with the last one.
 * @throws RangeError, TypeError where an option is wrong; Error where this Node has no `node:sqlite`,
 * or the file cannot be used: it says why, and leaves the file as it is.
 */
export function sqliteJournal(options: SqliteJournalOptions): SqliteJournal {
  const settings = settingsOf(options);
  // Rather here than with the first hub: it is here that the path is written.
  openFile(settings.path).close();
  let store: SqliteStore | undefined;
  return {
    replayWindow: settings.bounds.maxAge,
    requestWindow: settings.bounds.requestWindow,
    open(user) {
      const opened = store?.isOpen === true ? store : new SqliteStore(settings, user);
      store = opened;
      return opened.join(user, (id) => new SqliteNode(opened, user, id));
    },
    fence: () => store?.fence(),
  };
}

const ownNames = ['path', 'synchronous', 'batch', 'pollInterval', 'clock'];

function settingsOf(options: SqliteJournalOptions): StoreSettings {
  checkKnown('sqliteJournal', options, [...ownNames, ...boundNames]);
  const { synchronous = 'full', batch = 'turn', pollInterval = 20, clock } = options;
  oneOf('synchronous', synchronous, ['full', 'normal']);
  oneOf('batch', batch, ['turn', 'tick']);
  if (!(pollInterval > 0 && Number.isFinite(pollInterval))) {
    throw new RangeError(
      `sqliteJournal: pollInterval must be a finite number above 0, not ${pollInterval}.`,
    );
  }
  return {
    path: fileOf(options.path),
    bounds: boundsOf('sqliteJournal', options),
    durable: synchronous === 'full',
    batch,
    pollInterval,
    clock,
  };
}

function fileOf(file: string | URL): string {
  if (file instanceof URL) return fileURLToPath(file);
  if (typeof file === 'string' && file !== '' && file !== ':memory:') return path.resolve(file);
  throw new TypeError(
    `sqliteJournal: path must name a file, not ${JSON.stringify(file)}. To keep nothing, use memoryJournal().`,
  );
}

function oneOf(name: string, value: string, values: readonly string[]): void {
  if (values.includes(value)) return;
  throw new TypeError(`sqliteJournal: ${name} must be ${values.join(' or ')}, not ${value}.`);
}
