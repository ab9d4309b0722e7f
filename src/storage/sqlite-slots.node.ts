/** The slots of a file: which one is taken next, what stands in it, which are forgotten. */
import { rmSync } from 'node:fs';
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';
import type { StorageHost } from '../client/storage.js';
import { type HeldLock, take } from '../lib/held-lock.node.js';
import type { SavedRequest } from '../machine/fact.js';
import { type CursorRecord, isCursorRecord, isSavedRequest, isSlotRecord } from './shape.js';
import { type Found, type Row, raised } from './slot-book.js';
import { SLOT_LIFETIME, storageFailed } from './slots.js';

/** A slot of ours: its number in the file, the lock on it, and what was found in it. */
export interface Taken {
  readonly id: number;
  readonly lock: HeldLock;
  readonly found: Found;
}

/**
 * The slots of a file, for a new owner. To be used in a transaction: so one process at a time is in
 * here, a lock that is free stays free until it is taken, and the file of an old one may go.
 */
export class SqliteSlots {
  readonly #database: DatabaseSync;
  readonly #file: string;
  readonly #host: StorageHost;
  #lock: HeldLock | null = null;
  /** How many rows could not be read. */
  #odd = 0;

  constructor(database: DatabaseSync, file: string, host: StorageHost) {
    this.#database = database;
    this.#file = file;
    this.#host = host;
  }

  /** What was taken in a transaction that failed. */
  letGo(): void {
    this.#lock?.release();
  }

  /** Tells of what was set aside, once that is stored. */
  report(): void {
    if (this.#odd === 0) return;
    const what = `${this.#odd} rows of ${this.#file} cannot be read. They are in its table "aside" now.`;
    this.#host.report(storageFailed(what));
  }

  /** The slot whose requests have waited longest, else the one that was used last, else a new one. */
  take(): Taken {
    const known = this.#database
      .prepare(
        `SELECT id, client_id, link, user, used,
           (SELECT min(number) FROM requests WHERE slot = slots.id) AS first
         FROM slots ORDER BY first IS NULL, first, used DESC`,
      )
      .all();
    const taken = this.#adoptOneOf(known) ?? this.#make();
    this.#lock = taken.lock;
    const date = this.#host.date();
    const { link, used } = raised(taken.found.record, date);
    this.#run('UPDATE slots SET link = ?, used = ? WHERE id = ?', link, used, taken.id);
    for (const row of known) {
      const isOld = row.first === null && date - Number(row.used) > SLOT_LIFETIME;
      if (isOld && row.id !== taken.id) this.#forget(Number(row.id));
    }
    return taken;
  }

  #adoptOneOf(known: readonly Columns[]): Taken | null {
    for (const columns of known) {
      const id = Number(columns.id);
      const lock = this.#try(id);
      if (lock === null) continue;
      const found = this.#read(id, columns);
      if (found !== null) return { id, lock, found };
      lock.release();
    }
    return null;
  }

  #make(): Taken {
    const clientId = this.#host.id();
    const record = { link: 0, user: undefined, used: 0 };
    for (;;) {
      const { lastInsertRowid } = this.#run(
        'INSERT INTO slots (client_id, link, user, used) VALUES (?, 0, NULL, 0)',
        clientId,
      );
      const id = Number(lastInsertRowid);
      const lock = this.#try(id);
      if (lock !== null)
        return { id, lock, found: { clientId, record, requests: [], cursors: [] } };
      // Held by the owner of a slot in a file that was here before.
      this.#run('DELETE FROM slots WHERE id = ?', id);
    }
  }

  #forget(id: number): void {
    const lock = this.#try(id);
    if (lock === null) return;
    this.#run('DELETE FROM cursors WHERE slot = ?', id);
    this.#run('DELETE FROM slots WHERE id = ?', id);
    lock.release();
    rmSync(lock.path, { force: true });
  }

  #read(id: number, columns: Columns): Found | null {
    const { client_id: clientId, link, user, used } = columns;
    const record = { link, user: parsed(user), used };
    const requests: Row[] = [];
    const cursors: (readonly [string, CursorRecord])[] = [];
    const isSound = typeof clientId === 'string' && isSlotRecord(record);
    for (const row of this.#all('SELECT * FROM requests WHERE slot = ? ORDER BY number', id)) {
      const request = requestOf(row);
      // Nobody can go on with the requests of an identity that is lost.
      if (isSound && isSavedRequest(request))
        requests.push({ number: Number(row.number), request });
      else this.#setAside('requests', row);
    }
    for (const { room, cursor, at } of this.#all('SELECT * FROM cursors WHERE slot = ?', id)) {
      const [name, reached] = [parsed(room), { cursor, at }];
      if (isSound && typeof name === 'string' && isCursorRecord(reached))
        cursors.push([name, reached]);
      else this.#setAside('cursors', { slot: id, room: room ?? null, cursor: cursor ?? null });
    }
    if (isSound) return { clientId, record, requests, cursors };
    this.#setAside('slots', columns);
    return null;
  }

  #setAside(table: keyof typeof DELETE, row: Columns): void {
    this.#odd++;
    const { wire = null, ...rest } = row;
    this.#run(
      'INSERT INTO aside (kind, row, wire) VALUES (?, ?, ?)',
      table,
      JSON.stringify(rest),
      wire,
    );
    const [sql, ...columns] = DELETE[table];
    this.#run(sql, ...columns.map((column) => row[column] ?? null));
  }

  #try(id: number): HeldLock | null {
    return take(`${this.#file}.slot-${id}`);
  }

  #all(sql: string, id: number): Columns[] {
    return this.#database.prepare(sql).all(id);
  }

  #run(sql: string, ...values: SQLInputValue[]): ReturnType<StatementSync['run']> {
    return this.#database.prepare(sql).run(...values);
  }
}

/** How a row is found that is set aside. */
const DELETE = {
  slots: ['DELETE FROM slots WHERE id = ?', 'id'],
  requests: ['DELETE FROM requests WHERE slot = ? AND number = ?', 'slot', 'number'],
  cursors: ['DELETE FROM cursors WHERE slot = ? AND room = ?', 'slot', 'room'],
} as const;

type Columns = Record<string, SQLOutputValue>;

function requestOf({ about, wire }: Columns): unknown {
  const fields = parsed(about);
  if (typeof fields !== 'object') return undefined;
  return { ...endless, ...fields, wire };
}

/** JSON has no word for these, so they are left out there. */
const endless = {
  room: undefined,
  coalesceKey: undefined,
  timeout: Number.POSITIVE_INFINITY,
  expiresAt: Number.POSITIVE_INFINITY,
};

/** A request without its wire, as text. */
export function textOf({ wire: _, ...about }: SavedRequest): string {
  return JSON.stringify(about, (_key, value: unknown) =>
    value === Number.POSITIVE_INFINITY ? undefined : value,
  );
}

/** What a text stands for; undefined where there is none, NaN where it is no JSON. */
function parsed(json: SQLOutputValue | undefined): unknown {
  if (typeof json !== 'string') return undefined;
  try {
    return JSON.parse(json);
  } catch {
    return Number.NaN;
  }
}
