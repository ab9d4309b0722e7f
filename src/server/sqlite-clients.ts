/** The clients of a journal's file: who serves them, under which session, and when they are forgotten. */
import type { Linked } from './journal.js';
import type { Bounds } from './journal-bounds.js';
import { type Database, int, packed, type Row, text } from './sqlite-database.js';

export interface Client {
  readonly id: number;
  readonly session: string;
  readonly link: number;
  /** Grows with each settling and each recall. */
  readonly rank: number;
}

export interface ClientsSetup {
  readonly bounds: Bounds;
  readonly id: () => string;
  /** Unix milliseconds. */
  readonly now: () => number;
}

const CLIENT = 'SELECT id, session, link, rank FROM clients WHERE key = ?';

/** Requests dropped at once at most, of a client that was forgotten. */
const DROPPED_AT_ONCE = 512;

export class Clients {
  readonly #database: Database;
  readonly #setup: ClientsSetup;

  constructor(database: Database, setup: ClientsSetup) {
    this.#database = database;
    this.#setup = setup;
  }

  /** Makes it where there is none: writes. */
  client(key: string): Client {
    return this.known(key) ?? this.#create(key);
  }

  known(key: string): Client | undefined {
    const row = this.#database.get(CLIENT, packed(key));
    return row === undefined ? undefined : clientOf(row);
  }

  /** Not one that is about to be forgotten. */
  current(key: string): Client | undefined {
    const since = this.#setup.now() - this.#setup.bounds.requestWindow;
    const row = this.#database.get(
      `${CLIENT} AND (departed_at IS NULL OR departed_at >= ?)`,
      ...[packed(key), since],
    );
    return row === undefined ? undefined : clientOf(row);
  }

  link(key: string, link: number, node: number): Linked {
    const client = this.client(key);
    if (link < client.link) return { accepted: false, link: client.link };
    this.#database.run(
      'UPDATE clients SET link = ?, node = ?, departed_at = NULL WHERE id = ?',
      ...[link, node, client.id],
    );
    return { accepted: true, session: client.session };
  }

  unlink(key: string, link: number, node: number): void {
    this.#database.run(
      'UPDATE clients SET node = NULL, departed_at = ? WHERE key = ? AND link = ? AND node = ?',
      ...[this.#setup.now(), packed(key), link, node],
    );
  }

  /** The node serves nobody any more. */
  abandon(node: number): void {
    this.#database.run(
      'UPDATE clients SET node = NULL, departed_at = ? WHERE node = ?',
      ...[this.#setup.now(), node],
    );
  }

  /** What was settled may have been lost with the power: everybody's session is another one. */
  renewSessions(): void {
    this.#database.run("UPDATE clients SET session = ? || '-' || id", this.#setup.id());
  }

  /** Forgets some that left long ago. False where there are more. */
  expire(limit: number): boolean {
    const { requestWindow } = this.#setup.bounds;
    const gone = this.#departed(this.#setup.now() - requestWindow, limit);
    for (const id of gone) this.#discard(id);
    return gone.length < limit;
  }

  /** Drops requests of some clients that were forgotten, then the clients. False where there are more. */
  clear(limit: number): boolean {
    const rows = this.#database.all('SELECT id FROM clients WHERE key IS NULL LIMIT ?', limit);
    let left = DROPPED_AT_ONCE;
    for (const row of rows) {
      const id = int(row.id);
      left -= this.#database.run(
        'DELETE FROM requests WHERE client = ? AND request IN (SELECT request FROM requests WHERE client = ? LIMIT ?)',
        ...[id, id, left],
      );
      if (left === 0) return false;
      this.#database.run('DELETE FROM clients WHERE id = ?', id);
    }
    return rows.length < limit;
  }

  /** As one that left just now, until it is linked. */
  #create(key: string): Client {
    const session = this.#setup.id();
    const id = this.#database.insert(
      'INSERT INTO clients (key, session, link, departed_at, settled, bytes, rank) VALUES (?, ?, -1, ?, 0, 0, 0)',
      ...[packed(key), session, this.#setup.now()],
    );
    this.#database.run("UPDATE meta SET value = value + 1 WHERE key = 'clients'");
    const kept = this.#database.get("SELECT value FROM meta WHERE key = 'clients'");
    if (int(kept?.value) > this.#setup.bounds.maxClients) this.#evict(id);
    return { id, session, link: -1, rank: 0 };
  }

  #evict(except: number): void {
    const first = this.#departed(Number.MAX_SAFE_INTEGER, 2).find((id) => id !== except);
    if (first !== undefined) this.#discard(first);
  }

  /** Those that left before then and have nothing running, the first to leave first. */
  #departed(before: number, limit: number): number[] {
    const rows = this.#database.all(
      `SELECT id FROM clients WHERE departed_at < ? AND key IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM nodes CROSS JOIN requests ON requests.node = nodes.id AND client = clients.id
      ) ORDER BY departed_at, id LIMIT ?`,
      ...[before, limit],
    );
    return rows.map((row) => int(row.id));
  }

  #discard(id: number): void {
    this.#database.run('UPDATE clients SET key = NULL WHERE id = ?', id);
    this.#database.run("UPDATE meta SET value = value - 1 WHERE key = 'clients'");
  }
}

function clientOf(row: Row): Client {
  return { id: int(row.id), session: text(row.session), link: int(row.link), rank: int(row.rank) };
}
