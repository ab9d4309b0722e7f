/** The clients of a journal's file: who serves them, what runs for them, what they were answered. */
import { byteLength } from '../protocol/codec.js';
import type { Claim, Claimed, Linked, Recalled } from './journal.js';
import type { Bounds } from './journal-bounds.js';
import { type Database, int, packed, type Row, text, unpacked } from './sqlite-database.js';

interface Client {
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

  link(key: string, link: number, node: number): Linked {
    const client = this.#client(key);
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

  claim(claim: Claim, node: number, isAlive: (node: number) => boolean): Claimed {
    const client = this.#client(claim.client);
    if (claim.link < client.link) return { state: 'fenced' };
    const request = packed(claim.requestId);
    const known = this.#request(client.id, request);
    if (known === undefined) {
      this.#database.run(
        'INSERT INTO requests (client, request, node, rank, bytes) VALUES (?, ?, ?, 0, 0)',
        ...[client.id, request, node],
      );
      return { state: 'claimed' };
    }
    if (known.node === null) return this.#recalled(client, request, known);
    const owner = int(known.node);
    if (isAlive(owner)) return { state: 'running', isHere: owner === node };
    this.#database.run(
      'UPDATE requests SET node = ? WHERE client = ? AND request = ?',
      ...[node, client.id, request],
    );
    return { state: claim.rerunnable ? 'claimed' : 'orphaned' };
  }

  recall(key: string, requestId: string): Recalled {
    const client = this.#known(key);
    if (client === undefined) return { state: 'unknown' };
    const request = packed(requestId);
    const known = this.#request(client.id, request);
    if (known === undefined) return { state: 'unknown' };
    return known.node === null ? this.#recalled(client, request, known) : { state: 'running' };
  }

  /** Ends a claim; without a response the request may run again. False where the node has no such claim. */
  settle(key: string, requestId: string, of: { node: number; response: string | undefined }) {
    const client = this.#known(key);
    if (client === undefined) return false;
    const request = packed(requestId);
    const { node, response } = of;
    if (response === undefined) {
      const released = this.#database.run(
        'DELETE FROM requests WHERE client = ? AND request = ? AND node = ?',
        ...[client.id, request, node],
      );
      return released > 0;
    }
    const bytes = byteLength(response);
    const settled = this.#database.run(
      'UPDATE requests SET node = NULL, rank = ?, bytes = ?, response = ? WHERE client = ? AND request = ? AND node = ?',
      ...[client.rank + 1, bytes, response, client.id, request, node],
    );
    if (settled === 0) return false;
    this.#database.run(
      'UPDATE clients SET settled = settled + 1, bytes = bytes + ?, rank = rank + 1 WHERE id = ?',
      ...[bytes, client.id],
    );
    this.#bound(client.id, client.rank + 1);
    return true;
  }

  forget(key: string, requestIds: readonly string[]): void {
    const client = this.#known(key);
    if (client === undefined) return;
    for (const requestId of requestIds) {
      this.#database.run(
        'DELETE FROM requests WHERE client = ? AND request = ? AND node IS NULL',
        ...[client.id, packed(requestId)],
      );
    }
    this.#count(client.id);
  }

  /** The node serves nobody any more. Answers with what ran on it. */
  abandon(node: number): { readonly client: string; readonly requestId: string }[] {
    this.#database.run(
      'UPDATE clients SET node = NULL, departed_at = ? WHERE node = ?',
      ...[this.#setup.now(), node],
    );
    const rows = this.#database.all(
      'SELECT key, request FROM requests JOIN clients ON clients.id = client WHERE requests.node = ? AND key IS NOT NULL',
      node,
    );
    return rows.map((row) => ({
      client: unpacked(text(row.key)),
      requestId: unpacked(text(row.request)),
    }));
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

  #client(key: string): Client {
    return this.#known(key) ?? this.#create(key);
  }

  #known(key: string): Client | undefined {
    const row = this.#database.get(CLIENT, packed(key));
    return row === undefined ? undefined : clientOf(row);
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

  #request(client: number, request: string): Row | undefined {
    return this.#database.get(
      'SELECT node, response FROM requests WHERE client = ? AND request = ?',
      ...[client, request],
    );
  }

  /** Ranks it last: the client may not have had the first answer. */
  #recalled(client: Client, request: string, { response }: Row) {
    const rank = client.rank + 1;
    this.#database.run(
      'UPDATE requests SET rank = ? WHERE client = ? AND request = ?',
      ...[rank, client.id, request],
    );
    this.#database.run('UPDATE clients SET rank = ? WHERE id = ?', rank, client.id);
    return { state: 'settled', response: response === null ? undefined : text(response) } as const;
  }

  #bound(client: number, newest: number): void {
    const { maxRequests, maxResponseBytes } = this.#setup.bounds;
    const row = this.#database.get('SELECT settled, bytes FROM clients WHERE id = ?', client);
    if (int(row?.bytes) > maxResponseBytes) this.#dropResponses(client, newest);
    if (int(row?.settled) > maxRequests) this.#forgetOldest(client, Math.floor(maxRequests / 2));
  }

  /** Their ids stay: a repeat is told that it ran, and does not run again. */
  #dropResponses(client: number, newest: number): void {
    const { maxResponseBytes } = this.#setup.bounds;
    for (;;) {
      const row = this.#database.get(
        'SELECT request, bytes FROM requests WHERE client = ? AND response IS NOT NULL AND rank < ? ORDER BY rank LIMIT 1',
        ...[client, newest],
      );
      if (row === undefined) return;
      this.#database.run(
        'UPDATE requests SET response = NULL, bytes = 0 WHERE client = ? AND request = ?',
        ...[client, text(row.request)],
      );
      this.#database.run(
        'UPDATE clients SET bytes = bytes - ? WHERE id = ?',
        int(row.bytes),
        client,
      );
      const left = this.#database.get('SELECT bytes FROM clients WHERE id = ?', client);
      if (int(left?.bytes) <= maxResponseBytes) return;
    }
  }

  /** Many at once, so that the session does not change with every request from here on. */
  #forgetOldest(client: number, keep: number): void {
    this.#database.run(
      `DELETE FROM requests WHERE client = ? AND node IS NULL AND request NOT IN (
        SELECT request FROM requests WHERE client = ? AND node IS NULL ORDER BY rank DESC LIMIT ?)`,
      ...[client, client, keep],
    );
    this.#database.run('UPDATE clients SET session = ? WHERE id = ?', this.#setup.id(), client);
    this.#count(client);
  }

  #count(client: number): void {
    const row = this.#database.get(
      'SELECT count(*) AS settled, coalesce(sum(bytes), 0) AS bytes FROM requests WHERE client = ? AND node IS NULL',
      client,
    );
    this.#database.run(
      'UPDATE clients SET settled = ?, bytes = ? WHERE id = ?',
      ...[int(row?.settled), int(row?.bytes), client],
    );
  }
}

function clientOf(row: Row): Client {
  return { id: int(row.id), session: text(row.session), link: int(row.link), rank: int(row.rank) };
}
