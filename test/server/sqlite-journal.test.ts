/** What the journal in a file has beyond the others: it outlives its objects, shares its file, and cleans up. */
import { readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Appended, JournalNode, JournalUser } from 'holdfast/server';
import { ids, type VirtualClock, virtualClock } from 'holdfast/testing';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type SqliteJournalOptions, sqliteJournal } from '../../src/server/sqlite-journal.js';
import { FakeClient, hubOf, world } from './harness.js';
import { acrossObjects, freshPath } from './journal-table.js';

/** A node of an object of its own, and what it is told. */
function opened(
  file: string,
  {
    clock = virtualClock(),
    ...options
  }: Partial<SqliteJournalOptions & { clock: VirtualClock }> = {},
) {
  const journal = sqliteJournal({ path: file, batch: 'tick', ...options });
  const news: Appended[] = [];
  const told: string[] = [];
  const user: JournalUser = {
    clock,
    id: ids(`${path.basename(file)}-${++objects}-`),
    appended: (appended) => news.push(appended),
    settled: (client, requestId) => told.push(`settled ${client} ${requestId}`),
    linked: (client, link) => told.push(`linked ${client} ${link}`),
    told: (text) => told.push(text),
    fenced: () => told.push('fenced'),
  };
  return { clock, journal, news, told, node: journal.open(user), again: () => journal.open(user) };
}
let objects = 0;

const draft = (room: string, n: number | string) => ({ room, body: `"n":${JSON.stringify(n)}}` });
const claim = { client: 'c', requestId: 'r', link: 1, rerunnable: false };
const sessionOf = async (node: JournalNode, link: number) => {
  const linked = await node.link('c', link);
  return linked.accepted ? linked.session : undefined;
};
/** The rows of a table, as somebody else reads them. */
function rows(file: string, sql: string): unknown[] {
  const database = new DatabaseSync(file);
  const all = database.prepare(sql).all();
  database.close();
  return all;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('a file that was closed', () => {
  test('is opened again with its rooms, epochs, events, responses, sessions and links', async () => {
    const file = freshPath();
    const one = opened(file);
    const start = await one.node.tail('a');
    const session = await sessionOf(one.node, 7);
    await one.node.claim({ ...claim, link: 7 });
    const settle = { client: 'c', requestId: 'r', response: 'ü'.repeat(3) };
    await one.node.write([{ events: [draft('a', 1), draft('a', '…')], settle }]);
    await one.node.close();

    const two = opened(file);
    expect(await two.node.read('a', start, 10)).toMatchObject({
      events: [{ seq: 1 }, { seq: 2, text: expect.stringContaining('"n":"…"}') }],
    });
    expect(await two.node.claim({ ...claim, link: 7 })).toEqual({
      state: 'settled',
      response: 'üüü',
    });
    expect(await two.node.link('c', 6)).toEqual({ accepted: false, link: 7 });
    expect(await sessionOf(two.node, 8)).toBe(session);
    await two.node.close();
  });

  test('stands alone, and only its owner may read it', async () => {
    const file = freshPath();
    const beside = () =>
      readdirSync(path.dirname(file)).filter((name) => name.startsWith(path.basename(file)));
    const { node } = opened(file);
    await node.write([{ events: [draft('a', 1)] }]);
    const names = beside();
    expect(names).toHaveLength(4);
    for (const name of names) {
      expect(statSync(path.join(path.dirname(file), name)).mode & 0o777).toBe(0o600);
    }
    await node.close();
    expect(beside()).toEqual([path.basename(file)]);
  });

  test('is opened by the same object again', async () => {
    const { node, again } = opened(freshPath());
    await node.write([{ events: [draft('a', 1)] }]);
    await node.close();
    await expect(node.tail('a')).rejects.toThrow(/has closed its journal/);
    const next = again();
    expect((await next.tail('a')).seq).toBe(1);
    await next.close();
  });

  test('leaves no timer behind', async () => {
    const { clock, node } = opened(freshPath());
    expect(clock.pending).toBe(1);
    await node.close();
    expect(clock.pending).toBe(0);
  });

  test('takes names that are no text of SQLite for what they are', async () => {
    const { node } = opened(freshPath());
    const names = ['\ud800', '\ud801', '\ufffd', 'a\0b', 'a\0c', '\0', '\0"\\ud800"', "'; DROP"];
    for (const [n, name] of names.entries()) {
      await node.write([{ events: Array.from({ length: n + 1 }, () => draft(name, n)) }]);
    }
    for (const [n, name] of names.entries()) expect((await node.tail(name)).seq).toBe(n + 1);
    await node.close();
  });
});

describe('a power cut', () => {
  /** As after a crash and a start of the machine. */
  async function cut(synchronous: 'full' | 'normal') {
    const file = freshPath();
    const one = opened(file, { synchronous });
    const session = await sessionOf(one.node, 1);
    await one.node.claim(claim);
    await one.node.write([{ events: [draft('a', 1)] }]);
    const tail = await one.node.tail('a');
    const database = new DatabaseSync(file);
    database.exec("UPDATE hosts SET boot = 'before'");
    database.close();
    const [lock = ''] = readdirSync(path.dirname(file)).filter((name) =>
      name.startsWith(`${path.basename(file)}.host-`),
    );
    rmSync(path.join(path.dirname(file), lock));
    const two = opened(file, { synchronous });
    return { session, tail, two };
  }

  test('begins new epochs and sessions where writes did not wait for the disk', async () => {
    const { session, tail, two } = await cut('normal');
    expect(await two.node.read('a', tail, 10)).toMatchObject({ gap: 'epoch', tail: { seq: 0 } });
    expect(await sessionOf(two.node, 2)).not.toBe(session);
    expect(await two.node.claim({ ...claim, link: 2 })).toEqual({ state: 'orphaned' });
  });

  test('changes nothing where they did', async () => {
    const { session, tail, two } = await cut('full');
    expect(await two.node.read('a', tail, 10)).toEqual({ events: [] });
    expect(await sessionOf(two.node, 2)).toBe(session);
  });
});

describe('what shares a commit', () => {
  async function commits(batch: 'turn' | 'tick', act: (node: JournalNode) => Promise<unknown>) {
    const { node } = opened(freshPath(), { batch });
    await node.tail('a');
    const spy = vi.spyOn(DatabaseSync.prototype, 'exec');
    await act(node);
    const count = spy.mock.calls.filter(([sql]) => sql === 'COMMIT').length;
    const synced = spy.mock.calls.filter(([sql]) => sql.includes('FULL')).length;
    spy.mockRestore();
    await node.close();
    return { count, synced };
  }
  const later = () => new Promise((done) => process.nextTick(done));

  test('is what is asked in one tick', async () => {
    const follows = (node: JournalNode) =>
      Promise.all(Array.from({ length: 100 }, (_, n) => node.follow(`r${n}`)));
    expect(await commits('tick', follows)).toEqual({ count: 1, synced: 0 });
  });

  test('waits for the disk where a handler runs next that must not run twice', async () => {
    const claimed = (rerunnable: boolean) => (node: JournalNode) =>
      node.claim({ ...claim, rerunnable });
    expect(await commits('tick', claimed(false))).toEqual({ count: 1, synced: 1 });
    expect(await commits('tick', claimed(true))).toEqual({ count: 1, synced: 0 });
  });

  test('or in one turn of the event loop, which waits for the disk once', async () => {
    const inTicks = async (node: JournalNode) => {
      const asked: Promise<unknown>[] = [];
      for (let n = 0; n < 20; n++) {
        asked.push(node.write([{ events: [draft('a', n)] }]));
        await later();
      }
      await Promise.all(asked);
    };
    expect(await commits('turn', inTicks)).toEqual({ count: 1, synced: 1 });
    expect((await commits('tick', inTicks)).count).toBe(20);
  });
});

describe('two objects on one file', () => {
  test('tell each other of events, links, settled requests and texts', async () => {
    const file = freshPath();
    const clock = virtualClock();
    const one = opened(file, { clock });
    const two = opened(file, { clock });
    await one.node.follow('a');
    await two.node.write([{ events: [draft('a', 1), draft('b', 1)] }]);
    await two.node.link('c', 3);
    await two.node.claim({ ...claim, link: 3 });
    expect(await one.node.claim({ ...claim, link: 3 })).toEqual({
      state: 'running',
      isHere: false,
    });
    expect(await one.node.recall('c', 'r')).toEqual({ state: 'running' });
    void two.node.tell('a \ud800 text');
    await two.node.write([{ events: [], settle: { client: 'c', requestId: 'r', response: 'y' } }]);
    // It was alone, and looks seldom until it has seen the other.
    await clock.advance(250);
    expect(one.news).toMatchObject([{ room: 'a', seq: 1, events: [{ seq: 1 }] }]);
    expect(one.told).toEqual(['linked c 3', 'a \ud800 text', 'settled c r']);
    expect(two.news).toEqual([]);
    expect(two.told).toEqual([]);

    await two.node.write([{ events: [draft('a', 2)] }]);
    await clock.advance(20);
    expect(one.news).toMatchObject([{ seq: 1 }, { seq: 2, events: [{ seq: 2 }] }]);
    await one.node.close();
    await two.node.close();
    expect(rows(file, 'SELECT * FROM hosts UNION ALL SELECT *, 1, 1 FROM nodes')).toEqual([]);
  });

  test('never leave the order of a room, whoever writes', async () => {
    const file = freshPath();
    const clock = virtualClock();
    const options = { clock, synchronous: 'normal' } as const;
    const both = [opened(file, options), opened(file, options)];
    for (const { node } of both) await node.follow('a');
    await clock.advance(250);
    for (let n = 0; n < 200; n++) {
      await both[n % 3 === 0 ? 0 : 1]?.node.write([{ events: [draft('a', n)] }]);
      if (n % 7 === 0) await clock.advance(20);
    }
    await clock.advance(20);
    for (const { news, node } of both) {
      const seqs = news.flatMap(({ events }) => events.map((event) => event.seq));
      // One of its own may be told again together with those of the other.
      expect([...new Set(seqs)]).toEqual(Array.from({ length: 200 }, (_, n) => n + 1));
      await node.close();
    }
  });

  test('a claim of an object that ends is told, and is an orphan', async () => {
    const file = freshPath();
    const clock = virtualClock();
    const [one, two] = [opened(file, { clock }), opened(file, { clock })];
    await one.node.claim(claim);
    await clock.advance(250);
    one.journal.fence();
    await clock.advance(20);
    expect(two.told).toEqual(['settled c r']);
    expect(await two.node.claim(claim)).toEqual({ state: 'orphaned' });
    await two.node.close();
  });

  test('an object whose lock was taken away is declared dead, and writes nothing more', async () => {
    const file = freshPath();
    const clock = virtualClock();
    const [one, two] = [opened(file, { clock }), opened(file, { clock })];
    await one.node.claim(claim);
    const locks = readdirSync(path.dirname(file)).filter((name) =>
      name.startsWith(`${path.basename(file)}.host-`),
    );
    rmSync(path.join(path.dirname(file), locks.toSorted()[0] ?? ''));
    expect(await two.node.claim(claim)).toEqual({ state: 'orphaned' });
    expect(await one.node.write([{ events: [draft('a', 1)] }])).toEqual([{ accepted: false }]);
    expect(await one.node.claim({ ...claim, requestId: 's' })).toEqual({ state: 'fenced' });
    await clock.advance(250);
    await expect(one.node.tail('a')).rejects.toThrow();
    expect(one.told).toEqual(['settled c r', 'fenced']);
    expect((await two.node.tail('a')).seq).toBe(0);
    await two.node.close();
  });

  test('news is dropped once everybody has heard it', async () => {
    const file = freshPath();
    const clock = virtualClock();
    const [one, two] = [opened(file, { clock }), opened(file, { clock })];
    for (let n = 0; n < 50; n++) await one.node.write([{ events: [draft('a', n)] }]);
    expect(rows(file, 'SELECT seq FROM news')).toHaveLength(50);
    await clock.advance(21_000);
    expect(rows(file, 'SELECT seq FROM news')).toEqual([]);
    await one.node.write([{ events: [draft('a', 'after')] }]);
    await two.node.follow('a');
    await one.node.write([{ events: [draft('a', 'then')] }]);
    await clock.advance(20);
    expect(two.news.at(-1)).toMatchObject({ seq: 52 });
    await one.node.close();
    await two.node.close();
  });

  test('an object that missed news looks at all of its rooms', async () => {
    const file = freshPath();
    const clock = virtualClock();
    const [one, two] = [opened(file, { clock }), opened(file, { clock })];
    await one.node.follow('a');
    await one.node.follow('b');
    await two.node.write([{ events: [draft('a', 1)] }]);
    await two.node.write([{ events: [draft('b', 1)] }]);
    // As after it stood still while others told more than is kept.
    const database = new DatabaseSync(file);
    database.exec('DELETE FROM news WHERE seq = 1');
    database.close();
    await clock.advance(250);
    expect(one.news.map(({ room, seq }) => `${room} ${seq}`).toSorted()).toEqual(['a 1', 'b 1']);
    await one.node.close();
    await two.node.close();
  });

  test('a user who is kicked on one hub is closed on the other', async () => {
    const w = world();
    const journal = acrossObjects.create();
    const authenticate = () => ({ user: 'ada' });
    const [one, two] = [hubOf(w, { journal, authenticate }), hubOf(w, { journal, authenticate })];
    const client = new FakeClient(two, w);
    await client.hello({ rooms: [{ room: 'a' }] });
    await one.publish('a', 'x:y', 1);
    await w.clock.advance(250);
    expect(client.seqs('a')).toEqual([1]);
    await one.kick({ user: 'ada' });
    await w.clock.advance(20);
    expect(client.closed).toMatchObject({ code: 4403 });
    const closing = Promise.all([one.close(), two.close()]);
    await w.clock.advance(10);
    await closing;
    expect(w.errors).toEqual([]);
  });

  test('a client that moves to the other hub is closed on the first', async () => {
    const w = world();
    const journal = acrossObjects.create();
    const [one, two] = [hubOf(w, { journal }), hubOf(w, { journal })];
    const before = new FakeClient(one, w);
    await before.hello();
    const after = new FakeClient(two, w);
    await after.hello({ link: 2 });
    await w.clock.advance(250);
    expect(before.closed).toMatchObject({ code: 4409 });
    expect(after.last('welcome')?.session).toBe(before.last('welcome')?.session);
  });
});

describe('what is forgotten', () => {
  test('leaves the file too: events, rooms, clients, responses', async () => {
    const file = freshPath();
    const { clock, node } = opened(file, {
      synchronous: 'normal',
      maxAge: 30_000,
      roomWindow: 60_000,
      requestWindow: 60_000,
      maxEvents: 2_000,
    });
    for (let room = 0; room < 300; room++) {
      await node.write([{ events: [draft(`r${room}`, 1), draft(`r${room}`, 2)] }]);
    }
    await node.write([{ events: Array.from({ length: 1_500 }, (_, n) => draft('long', n)) }]);
    for (let client = 0; client < 200; client++) {
      const of = { client: `c${client}`, requestId: 'r' };
      await node.link(of.client, 1);
      await node.claim({ ...claim, ...of });
      await node.write([{ events: [], settle: { ...of, response: 'x'.repeat(100) } }]);
      node.unlink(of.client, 1);
    }
    await node.follow('r7');
    const count = (table: string) => rows(file, `SELECT 1 FROM ${table}`).length;
    expect([count('events'), count('rooms'), count('clients')]).toEqual([2_100, 301, 200]);

    await clock.advance(50_000);
    expect([count('events'), count('rooms'), count('clients')]).toEqual([0, 301, 200]);
    await clock.advance(40_000);
    expect([count('rooms'), count('clients'), count('requests')]).toEqual([1, 0, 0]);
    expect(rows(file, 'SELECT value FROM meta ORDER BY key')).toEqual([{ value: 0 }, { value: 1 }]);
    await node.close();
  });

  test('a client that has a request running is not', async () => {
    const { clock, node } = opened(freshPath(), { requestWindow: 60_000 });
    await node.link('c', 1);
    await node.claim(claim);
    node.unlink('c', 1);
    await clock.advance(200_000);
    expect(await node.claim(claim)).toEqual({ state: 'running', isHere: true });
    await node.close();
  });

  test('bounds that are lowered by much are reached step by step', async () => {
    const file = freshPath();
    const one = opened(file, { maxEvents: 5_000 });
    await one.node.write([{ events: Array.from({ length: 3_000 }, (_, n) => draft('a', n)) }]);
    const { epoch } = await one.node.tail('a');
    await one.node.close();

    const two = opened(file, { maxEvents: 10 });
    expect(await two.node.read('a', { epoch, seq: 2_989 }, 100)).toMatchObject({ gap: 'expired' });
    expect(await two.node.read('a', { epoch, seq: 2_990 }, 100)).toMatchObject({
      events: { length: 10 },
    });
    for (let n = 0; n < 7; n++) await two.node.write([{ events: [draft('a', n)] }]);
    expect(rows(file, 'SELECT seq FROM events')).toHaveLength(10);
    await two.node.close();
  });
});
