/** A slot in IndexedDB: each write is one transaction, on the disk before it counts as done. */
import type { Slot } from '../client/storage.js';
import type { Saved } from '../machine/fact.js';
import type { Changes } from '../machine/order.js';
import { type Connection, type Transaction, transact } from './indexed-db-database.js';
import { type Edit, type Found, SlotBook } from './slot-book.js';
import { storageFailed } from './slots.js';
import type { Release } from './web-lock.js';

/** How a slot is held: over which connection, under which lock, by whose date. */
export interface Hold {
  readonly connected: Connection;
  readonly release: Release;
  date(): number;
}

export class IndexedDbSlot implements Slot {
  readonly saved: Saved;
  readonly #book: SlotBook;
  readonly #hold: Hold;
  #writing: Promise<void> = Promise.resolve();
  #closed: Promise<void> | null = null;

  constructor(found: Found, hold: Hold) {
    this.#book = new SlotBook(found, hold.date());
    this.saved = this.#book.saved;
    this.#hold = hold;
  }

  /** One after the other: each builds on what those before it have stored. */
  write(changes: Changes): Promise<void> {
    if (this.#closed !== null) return Promise.reject(storageFailed('The slot is closed.'));
    const written = this.#writing.then(() => this.#apply(changes));
    this.#writing = written.catch(() => {});
    return written;
  }

  close(): Promise<void> {
    this.#closed ??= this.#writing.then(() => {
      this.#hold.connected.close();
      return this.#hold.release();
    });
    return this.#closed;
  }

  async #apply(changes: Changes): Promise<void> {
    const database = await this.#hold.connected.open();
    const edit = this.#book.edit(changes, this.#hold.date());
    await transact(database, (tx) => store(tx, this.saved.clientId, edit));
    this.#book.stored(edit);
  }
}

async function store(tx: Transaction, clientId: string, edit: Edit): Promise<void> {
  const [requests, cursors] = [tx.objectStore('requests'), tx.objectStore('cursors')];
  const orders = [
    () => tx.objectStore('slots').put(edit.record, clientId),
    ...[...edit.rows.values()].map(
      (row) => () => requests.put(row.request, [clientId, row.number]),
    ),
    ...edit.goneRows.map((row) => () => requests.delete([clientId, row.number])),
    ...[...edit.cursors].map(
      ([room, record]) =>
        () =>
          cursors.put(record, [clientId, room]),
    ),
    ...edit.goneRooms.map((room) => () => cursors.delete([clientId, room])),
  ];
  // Async each: one that throws must not leave the others alone with their rejections.
  await Promise.all(orders.map(async (order) => void (await order())));
}
