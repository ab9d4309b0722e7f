/**
 * Who has the file open. A host is a journal object of some process; its life is a lock that the
 * kernel drops with the process. What hosts tell each other goes through a table.
 */
import { readFileSync, rmSync } from 'node:fs';
import { type HeldLock, take } from '../lib/held-lock.node.js';
import { type Database, int, packed, text, unpacked } from './sqlite-database.js';

/** What another host wrote: a room has new events, a claim ended, a link was welcomed, a text. */
export interface News {
  readonly kind: 'room' | 'settled' | 'linked' | 'told';
  readonly name: string;
  readonly detail: string;
}

/** What was told since the last time; `missed` where some of it is gone. */
export interface Heard {
  readonly news: readonly News[];
  readonly missed: boolean;
}

/** News kept for a host that stands still; one that missed some looks at all of its rooms. */
const MOST_NEWS = 100_000;
const HEARD_AT_ONCE = 1_000;

export class Hosts {
  readonly #database: Database;
  readonly #path: string;
  #own = 0;
  #lock: HeldLock | undefined;
  /** The seq of the last news that was heard. */
  #heard = 0;

  constructor(database: Database, path: string) {
    this.#database = database;
    this.#path = path;
  }

  /** Joins, inside a transaction. */
  enter(relaxed: boolean): void {
    const row = this.#database.get('SELECT max(seq) AS seq FROM news');
    const counted = this.#database.get("SELECT seq FROM sqlite_sequence WHERE name = 'news'");
    this.#heard = Math.max(Number(row?.seq ?? 0), Number(counted?.seq ?? 0));
    this.#own = this.#database.insert(
      'INSERT INTO hosts (boot, relaxed, heard) VALUES (?, ?, ?)',
      ...[bootId() ?? '', relaxed ? 1 : 0, this.#heard],
    );
    // Ids are given once: only where an older copy of a file in use was put back is it held.
    const lock = take(this.#lockOf(this.#own));
    if (lock === null) throw new Error(`Somebody holds the lock ${this.#lockOf(this.#own)}.`);
    this.#lock = lock;
  }

  node(): number {
    return this.#database.insert('INSERT INTO nodes (host) VALUES (?)', this.#own);
  }

  dropNode(node: number): void {
    this.#database.run('DELETE FROM nodes WHERE id = ?', node);
  }

  /** Leaves, inside a transaction. */
  leave(): void {
    this.#database.run('DELETE FROM hosts WHERE id = ?', this.#own);
  }

  /** Lets go of the lock, once the transaction of `leave` is over. */
  release(): void {
    if (this.#lock === undefined) return;
    this.#lock.release();
    this.#remove(this.#own);
  }

  /** Whether this host is still in the books, and whether it is alone in them. */
  standing(): 'alone' | 'among others' | 'dead' {
    const row = this.#database.get(
      'SELECT count(*) AS hosts, coalesce(sum(id = ?), 0) AS own FROM hosts',
      this.#own,
    );
    if (int(row?.own) === 0) return 'dead';
    return int(row?.hosts) > 1 ? 'among others' : 'alone';
  }

  /** The host of a node that is in the books, if another one. */
  hostOf(node: number): number | undefined {
    const row = this.#database.get('SELECT host FROM nodes WHERE id = ?', node);
    return row === undefined ? undefined : int(row.host);
  }

  /** The other hosts whose process is gone. Inside a transaction that writes: nobody enters meanwhile. */
  dead(): number[] {
    const rows = this.#database.all('SELECT id FROM hosts WHERE id <> ?', this.#own);
    return rows.map((row) => int(row.id)).filter((host) => !this.isAlive(host));
  }

  isAlive(host: number): boolean {
    if (host === this.#own) return true;
    const lock = take(this.#lockOf(host));
    lock?.release();
    return lock === null;
  }

  nodesOf(host: number): number[] {
    const rows = this.#database.all('SELECT id FROM nodes WHERE host = ?', host);
    return rows.map((row) => int(row.id));
  }

  /** Strikes a dead host off. True where a power cut may have taken what it wrote last. */
  bury(host: number): boolean {
    const row = this.#database.get('SELECT boot, relaxed FROM hosts WHERE id = ?', host);
    this.#database.run('DELETE FROM hosts WHERE id = ?', host);
    this.#remove(host);
    const boot = bootId();
    return row?.relaxed === 1 && (boot === undefined || row.boot !== boot);
  }

  tell({ kind, name, detail }: News): void {
    this.#database.run(
      'INSERT INTO news (host, kind, name, detail) VALUES (?, ?, ?, ?)',
      ...[this.#own, kind, packed(name), packed(detail)],
    );
  }

  /** What others told since the last call. */
  hear(): Heard {
    const first = this.#database.get('SELECT min(seq) AS seq FROM news')?.seq;
    const missed = typeof first === 'number' && first > this.#heard + 1;
    const news: News[] = [];
    let heard = this.#heard;
    for (;;) {
      const rows = this.#database.all(
        'SELECT seq, host, kind, name, detail FROM news WHERE seq > ? ORDER BY seq LIMIT ?',
        ...[heard, HEARD_AT_ONCE],
      );
      for (const row of rows) {
        heard = int(row.seq);
        const kind = kindOf(row.kind);
        if (int(row.host) === this.#own || kind === undefined) continue;
        news.push({ kind, name: unpacked(text(row.name)), detail: unpacked(text(row.detail)) });
      }
      if (rows.length < HEARD_AT_ONCE) break;
    }
    this.#heard = heard;
    return { news, missed };
  }

  /** Drops what everybody has heard. */
  tidy(): void {
    this.#database.run('UPDATE hosts SET heard = ? WHERE id = ?', this.#heard, this.#own);
    this.#database.run(
      'DELETE FROM news WHERE seq <= max((SELECT min(heard) FROM hosts), (SELECT max(seq) FROM news) - ?)',
      MOST_NEWS,
    );
  }

  #lockOf(host: number): string {
    return `${this.#path}.host-${host}`;
  }

  #remove(host: number): void {
    rmSync(this.#lockOf(host), { force: true });
  }
}

function kindOf(value: unknown): News['kind'] | undefined {
  return value === 'room' || value === 'settled' || value === 'linked' || value === 'told'
    ? value
    : undefined;
}

/** Another one after each start of the machine; undefined where the system does not tell. */
function bootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return undefined;
  }
}
