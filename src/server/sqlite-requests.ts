/** The requests in a journal's file: what runs and where, what was answered, bounded for each client. */
import { byteLength } from '../protocol/wire.js';
import type { Claim, Claimed, Recalled } from './journal.js';
import type { Client, Clients, ClientsSetup } from './sqlite-clients.js';
import { type Database, int, packed, type Row, text, unpacked } from './sqlite-database.js';

export class Requests {
  readonly #database: Database;
  readonly #setup: ClientsSetup;
  readonly #clients: Clients;

  constructor(database: Database, setup: ClientsSetup, clients: Clients) {
    this.#database = database;
    this.#setup = setup;
    this.#clients = clients;
  }

  claim(claim: Claim, node: number, isAlive: (node: number) => boolean): Claimed {
    const client = this.#clients.client(claim.client);
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
    const client = this.#clients.known(key);
    if (client === undefined) return { state: 'unknown' };
    const request = packed(requestId);
    const known = this.#request(client.id, request);
    if (known === undefined) return { state: 'unknown' };
    return known.node === null ? this.#recalled(client, request, known) : { state: 'running' };
  }

  /** Ends a claim; without a response the request may run again. False where the node has no such claim. */
  settle(key: string, requestId: string, of: { node: number; response: string | undefined }) {
    const client = this.#clients.known(key);
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
    const client = this.#clients.known(key);
    if (client === undefined) return;
    for (const requestId of requestIds) {
      this.#database.run(
        'DELETE FROM requests WHERE client = ? AND request = ? AND node IS NULL',
        ...[client.id, packed(requestId)],
      );
    }
    this.#count(client.id);
  }

  /** What runs on a node. */
  of(node: number): { readonly client: string; readonly requestId: string }[] {
    const rows = this.#database.all(
      'SELECT key, request FROM requests JOIN clients ON clients.id = client WHERE requests.node = ? AND key IS NOT NULL',
      node,
    );
    return rows.map((row) => ({
      client: unpacked(text(row.key)),
      requestId: unpacked(text(row.request)),
    }));
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
