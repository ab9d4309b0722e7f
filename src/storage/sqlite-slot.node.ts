/** A slot in an SQLite file: each write is one transaction, on the disk before it counts as done. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Slot } from '../client/storage.js';
import type { Saved } from '../machine/fact.js';
import type { Changes } from '../machine/order.js';
import { type Edit, SlotBook } from './slot-book.js';
import { storageFailed } from './slots.js';
import { transact } from './sqlite-file.node.js';
import { type Taken, textOf } from './sqlite-slots.node.js';

export class SqliteSlot implements Slot {
  readonly saved: Saved;
  readonly #book: SlotBook;
  readonly #database: DatabaseSync;
  readonly #taken: Taken;
  readonly #date: () => number;
  readonly #sql: Readonly<Record<keyof typeof SQL, StatementSync>>;
  #isClosed = false;

  constructor(database: DatabaseSync, taken: Taken, date: () => number) {
    this.#book = new SlotBook(taken.found, date());
    this.saved = this.#book.saved;
    this.#database = database;
    this.#taken = taken;
    this.#date = date;
    this.#sql = {
      putSlot: database.prepare(SQL.putSlot),
      putRequest: database.prepare(SQL.putRequest),
      dropRequest: database.prepare(SQL.dropRequest),
      putCursor: database.prepare(SQL.putCursor),
      dropCursor: database.prepare(SQL.dropCursor),
    };
  }

  /** Done when it returns: the order of the calls keeps itself. */
  async write(changes: Changes): Promise<void> {
    if (this.#isClosed) throw storageFailed('The slot is closed.');
    const edit = this.#book.edit(changes, this.#date());
    transact(this.#database, () => this.#apply(edit));
    this.#book.stored(edit);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#database.close();
    this.#taken.lock.release();
  }

  #apply({ record, rows, goneRows, cursors, goneRooms }: Edit): void {
    const { id } = this.#taken;
    const { user = null, used } = record;
    const { putSlot, putRequest, dropRequest, putCursor, dropCursor } = this.#sql;
    putSlot.run(record.user === undefined ? null : JSON.stringify(user), used, id);
    for (const { number, request } of rows.values())
      putRequest.run(id, number, textOf(request), request.wire);
    for (const { number } of goneRows) dropRequest.run(id, number);
    for (const [room, { cursor, at }] of cursors)
      putCursor.run(id, JSON.stringify(room), cursor, at);
    for (const room of goneRooms) dropCursor.run(id, JSON.stringify(room));
  }
}

const SQL = {
  putSlot: 'UPDATE slots SET user = ?, used = ? WHERE id = ?',
  putRequest: 'INSERT OR REPLACE INTO requests (slot, number, about, wire) VALUES (?, ?, ?, ?)',
  dropRequest: 'DELETE FROM requests WHERE slot = ? AND number = ?',
  putCursor: 'INSERT OR REPLACE INTO cursors (slot, room, cursor, at) VALUES (?, ?, ?, ?)',
  dropCursor: 'DELETE FROM cursors WHERE slot = ? AND room = ?',
};
