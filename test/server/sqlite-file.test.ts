/** Files that a journal cannot use, or not for now: each is left as it is, and the error says what to do. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import type { Hub } from 'holdfast/server';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { type SqliteJournalOptions, sqliteJournal } from '../../src/server/sqlite-journal.js';
import { workshop } from '../lib/child.js';
import { FakeClient, hubOf, world } from './harness.js';
import { freshPath } from './journal-table.js';

const shop = workshop();
afterAll(shop.end);
afterEach(() => {
  vi.restoreAllMocks();
});

/** Runs statements on the file, as somebody else. */
function edit(file: string, sql: string): void {
  const database = new DatabaseSync(file);
  database.exec(sql);
  database.close();
}

/** A closed journal with some events, and how it begins a room. */
async function written(events = 1, options: Partial<SqliteJournalOptions> = {}) {
  const file = freshPath();
  const w = world();
  const hub = hubOf(w, { journal: sqliteJournal({ path: file, batch: 'tick', ...options }) });
  await Promise.all(
    Array.from({ length: events }, (_, n) => hub.publish('a', 'x:y', `${n}`.padEnd(500, '.'))),
  );
  await hub.close();
  return file;
}

describe('a path is refused', () => {
  const refused = (file: string, why: RegExp) => {
    const before = readFileSync(file);
    expect(() => sqliteJournal({ path: file })).toThrow(why);
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(
      readdirSync(path.dirname(file)).filter((name) => name.startsWith(`${path.basename(file)}.`)),
    ).toEqual([]);
  };

  test.each([5, 600, 10_000])('where %i bytes are no database', (length) => {
    const file = freshPath();
    writeFileSync(file, 'no database '.repeat(1_000).slice(0, length));
    refused(file, /is no SQLite database.*left as it is/);
  });

  test('where another application has its tables', () => {
    const file = freshPath();
    edit(file, 'CREATE TABLE theirs (a)');
    refused(file, /the database of something else.*left as it is/);
  });

  test('where another application has put its name', () => {
    const file = freshPath();
    edit(file, 'PRAGMA application_id = 7');
    refused(file, /the database of something else.*left as it is/);
  });

  test('where a later version wrote', async () => {
    const file = await written();
    edit(file, 'PRAGMA user_version = 2');
    refused(file, /another version of holdfast \(schema 2, this one knows 1\).*left as it is/);
  });

  test('where there is no folder, or a folder', () => {
    const file = freshPath();
    expect(() => sqliteJournal({ path: path.join(file, 'deeper') })).toThrow(
      /cannot be made: name a file in a folder that is there/,
    );
    mkdirSync(file);
    expect(() => sqliteJournal({ path: file })).toThrow(/cannot be opened/);
  });

  test.each(['', ':memory:'])('where it is %j', (file) => {
    expect(() => sqliteJournal({ path: file })).toThrow(/must name a file.*use memoryJournal/);
  });

  test('where it may only be read', { timeout: 30_000 }, async () => {
    const file = await written();
    chmodSync(file, 0o444);
    chmodSync(path.dirname(file), 0o755);
    // Root may write everything, so it becomes somebody else first.
    const code = `
      import { sqliteJournal } from './src/server/sqlite-journal.ts';
      if (process.getuid?.() === 0) process.setuid(65_534);
      try { sqliteJournal({ path: process.argv[2] }).open({}) } catch (error) { console.log(error.message) }
    `;
    const start = await shop.script(code);
    expect(await start(file).line(() => true)).toMatch(/may only be read|cannot be opened/);
  });
});

describe('an option is refused', () => {
  test.each([
    [{ maxEvents: 0 }, /sqliteJournal: maxEvents must be a finite number above 0, not 0/],
    [{ pollInterval: Number.NaN }, /pollInterval must be a finite number above 0/],
    [{ synchronous: 'off' }, /synchronous must be full or normal, not off/],
    [{ batch: 'day' }, /batch must be turn or tick, not day/],
  ])('%j', (options, why) => {
    const file = freshPath();
    const wrong = { path: file, ...options } as SqliteJournalOptions;
    expect(() => sqliteJournal(wrong)).toThrow(why);
    expect(statSync(file, { throwIfNoEntry: false })).toBeUndefined();
  });
});

test('a path may be a URL', async () => {
  const file = freshPath();
  sqliteJournal({ path: pathToFileURL(file) });
  expect(statSync(file).size).toBeGreaterThan(0);
});

test('a Node without SQLite says so', { timeout: 30_000 }, async () => {
  const code = `
    import { sqliteJournal } from './src/server/sqlite-journal.ts';
    try { sqliteJournal({ path: process.argv[2] }) } catch (error) { console.log(error.message) }
  `;
  const start = await shop.script(code, ['--no-experimental-sqlite']);
  const child = start(path.join(shop.folder, 'journal.db'));
  expect(await child.line(() => true)).toMatch(/no node:sqlite. Use Node 22.13 or later/);
});

test('a file that was damaged says so to whoever reads what is damaged', async () => {
  const file = await written(500);
  const bytes = readFileSync(file);
  bytes.fill(0xa5, 40 * 4_096, 70 * 4_096);
  writeFileSync(file, bytes);
  const w = world();
  const journal = sqliteJournal({ path: file, batch: 'tick' });
  const hub = hubOf(w, { journal });
  const cursor = await hub.cursor('a');
  const client = new FakeClient(hub, w);
  await client.hello({ rooms: [{ room: 'a', since: cursor.replace(/-500$/, '-1') }] });
  expect(client.closed).toMatchObject({ code: 1011 });
  expect(w.errors.map(({ error }) => String(error)).join()).toMatch(/is damaged.*move it away/);
});

describe('a full disk', () => {
  /** The file of the hub may not grow until it may again: SQLite itself says that it is full. */
  function full(hub: Hub) {
    const spy = vi.spyOn(DatabaseSync.prototype, 'exec');
    return {
      async fill() {
        await hub.publish('a', 'x:y', 0);
        const database: unknown = spy.mock.contexts.at(-1);
        if (!(database instanceof DatabaseSync)) throw new Error('Nothing was written.');
        const { page_count: pages } = database.prepare('PRAGMA page_count').get() ?? {};
        database.exec(`PRAGMA max_page_count = ${String(pages)}`);
        return () => database.exec('PRAGMA max_page_count = 1000000');
      },
    };
  }

  test('rejects what is published, whole, and takes it again once there is room', async () => {
    const w = world();
    const hub = hubOf(w, { journal: sqliteJournal({ path: freshPath(), batch: 'tick' }) });
    const disk = full(hub);
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'a' }] });
    const empty = await disk.fill();
    const big = 'x'.repeat(100_000);
    await expect(hub.publish('a', 'x:y', big)).rejects.toThrow(/disk is full.*Make room/);
    await expect(hub.publish('a', 'x:y', big)).rejects.toThrow(/disk is full/);
    const outcomes = await Promise.allSettled([1, 2].map((n) => hub.publish(`r${n}`, 'x:y', big)));
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(client.closed).toBeUndefined();
    const { eventId } = await hub.publish('a', 'x:y', 'small');

    empty();
    await hub.publish('a', 'x:y', big);
    await w.clock.settle();
    expect(client.seqs('a')).toEqual([1, 2, 3]);
    expect(eventId).toMatch(/-2$/);
    expect(w.errors).toEqual([]);
  });

  test('fails what it has no room for, not what is asked beside it', async () => {
    const w = world();
    const hub = hubOf(w, { journal: sqliteJournal({ path: freshPath(), batch: 'tick' }) });
    const disk = full(hub);
    await disk.fill();
    const [big, tail] = await Promise.allSettled([
      hub.publish('a', 'x:y', 'x'.repeat(100_000)),
      hub.cursor('a'),
    ]);
    expect([big.status, tail.status]).toEqual(['rejected', 'fulfilled']);
  });

  test('never runs a request twice, and says what is known of it', async () => {
    const w = world();
    const runs: string[] = [];
    const big = 'x'.repeat(100_000);
    const hub = hubOf(w, {
      journal: sqliteJournal({ path: freshPath(), batch: 'tick' }),
      handlers: {
        'x:do': (_, { requestId }) => {
          runs.push(requestId);
          return big;
        },
      },
    });
    const disk = full(hub);
    const client = new FakeClient(hub, w);
    await client.hello();
    const empty = await disk.fill();
    await client.request('r1', 'x:do');
    expect(client.response('r1')).toMatchObject({
      error: { code: 'OUTCOME_UNKNOWN', details: { reason: 'journal' } },
    });
    empty();
    await client.request('r1', 'x:do');
    await client.request('r2', 'x:do');
    expect(client.all('response').at(-2)).toMatchObject({ error: { code: 'OUTCOME_UNKNOWN' } });
    expect(client.response('r2')).toMatchObject({ success: true });
    expect(runs).toEqual(['r1', 'r2']);
  });

  test('runs nothing that it could not claim', async () => {
    const w = world();
    const runs: string[] = [];
    const hub = hubOf(w, {
      journal: sqliteJournal({ path: freshPath(), batch: 'tick' }),
      limits: { messagesPerSecond: 10_000 },
      handlers: { 'x:do': (_, { requestId }) => void runs.push(requestId) },
    });
    const disk = full(hub);
    const client = new FakeClient(hub, w);
    await client.hello();
    const empty = await disk.fill();
    const id = (n: number) => `${n}-${'r'.repeat(60)}`;
    let n = 0;
    const last = () => {
      const answer = client.all('response').at(-1);
      return answer?.success === false ? answer.error.code : undefined;
    };
    while (n < 500 && last() !== 'SERVER_ERROR') await client.request(id(++n), 'x:do');
    expect(client.all('response').at(-1)).toMatchObject({
      requestId: id(n),
      error: { code: 'SERVER_ERROR', retryable: true },
    });
    expect(runs).not.toContain(id(n));

    empty();
    await client.request(id(n), 'x:do');
    expect(client.all('response').at(-1)).toMatchObject({ requestId: id(n), success: true });
    expect(new Set(runs).size).toBe(runs.length);
  });
});
