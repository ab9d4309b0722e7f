/** What one client can make a hub do is bounded: reads, rooms of a frame, requests that wait. */
import { createServer } from 'node:http';
import { createHub, type Journal, type JournalNode, memoryJournal } from 'holdfast/server';
import { describe, expect, test } from 'vitest';
import { sqliteJournal } from '../../src/server/sqlite-journal.js';
import { FakeClient, hubOf, world } from './harness.js';
import { freshPath, journals } from './journal-table.js';

type Calls = Partial<Pick<JournalNode, 'read' | 'claim' | 'tell'>>;

/** The journal, with some calls of its nodes replaced. */
function changed(inner: Journal, replace: (node: JournalNode) => Calls): Journal {
  return {
    replayWindow: inner.replayWindow,
    requestWindow: inner.requestWindow,
    open(user) {
      const node = inner.open(user);
      const calls: Calls = replace(node);
      return new Proxy(node, {
        get(target, key) {
          const value: unknown = Reflect.get(calls, key) ?? Reflect.get(target, key);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    },
  };
}

describe.each(journals)('of the $name journal,', ({ create }) => {
  test.each([
    { each: 300, size: 200 },
    { each: 60, size: 16_000 },
  ])('a slow reader reads little twice: $each events of $size bytes', async ({ each, size }) => {
    const w = world();
    let rows = 0;
    const journal = changed(create(), (node) => ({
      read: async (room, since, limit) => {
        const slice = await node.read(room, since, limit);
        if (slice.gap === undefined) rows += slice.events.length;
        return slice;
      },
    }));
    const hub = hubOf(w, { journal, limits: { bufferedBytes: 50_000 } });
    const names = ['a', 'b', 'c', 'd'];
    const rooms: { room: string; since: string }[] = [];
    for (const room of names) {
      rooms.push({ room, since: await hub.cursor(room) });
      for (let n = 0; n < each; n++) await hub.publish(room, 'x:y', 'x'.repeat(size));
    }
    const client = new FakeClient(hub, w);
    client.reads = false;
    await client.hello({ rooms });
    const isDone = () => names.every((room) => client.seqs(room).length === each);
    for (let n = 0; n < 2_000 && !isDone(); n++) {
      await client.take(1);
      await w.clock.advance(1);
    }
    const numbers = Array.from({ length: each }, (_, n) => n + 1);
    for (const room of names) expect(client.seqs(room)).toEqual(numbers);
    expect(rows).toBeLessThanOrEqual(2 * names.length * each);
  });
});

test('a read of large events from a file stops at some, and brings at least one', async () => {
  const { clock } = world();
  const deaf = { appended() {}, settled() {}, linked() {}, told() {} };
  let ids = 0;
  const journal = sqliteJournal({ path: freshPath(), batch: 'tick', maxBytes: 10_000_000 });
  const node = journal.open({ clock, id: () => `id${ids++}`, ...deaf });
  const start = await node.tail('a');
  const sizes = [...Array.from({ length: 20 }, () => 16_000), 200_000, 200_000];
  const events = sizes.map((size) => ({ room: 'a', body: `"n":"${'x'.repeat(size)}"}` }));
  await node.write([{ events }]);
  const lengthAfter = async (seq: number) => {
    const slice = await node.read('a', { ...start, seq }, 100);
    return slice.gap ?? slice.events.length;
  };
  expect(await lengthAfter(0)).toBe(5);
  expect(await lengthAfter(20)).toBe(1);
  expect(await lengthAfter(22)).toBe(0);
  await node.close();
});

describe('a frame that names very many rooms', () => {
  const names = Array.from({ length: 30_000 }, (_, n) => `r${n}`);
  const wishes = names.map((room) => ({ room }));

  test.each([
    { kind: 'leave', frame: { kind: 'leave', rooms: names } as const },
    { kind: 'join', frame: { kind: 'join', rooms: wishes } as const },
  ])('is not looked at: $kind', async ({ frame }) => {
    const w = world();
    const hub = hubOf(w);
    const client = new FakeClient(hub, w);
    await client.hello();
    const before = client.frames.length;
    await client.send(frame);
    expect(client.closed).toMatchObject({ code: 4429 });
    expect(client.frames.slice(before)).toMatchObject([
      { kind: 'error', error: { code: 'RATE_LIMITED', retryable: true } },
    ]);
    expect(hub.metrics()).toMatchObject({ connections: 0, rooms: 0 });
  });

  test('is not looked at: hello', async () => {
    const w = world();
    const hub = hubOf(w);
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: wishes });
    expect(client.frames).toMatchObject([{ kind: 'error', error: { code: 'RATE_LIMITED' } }]);
    expect(hub.metrics()).toMatchObject({ connections: 0, refused: { RATE_LIMITED: 1 } });
  });

  test.each([
    { may: 600, most: 1_201 },
    { may: 10, most: 1_000 },
  ])('is answered up to $most where a connection may have $may', async ({ may, most }) => {
    const w = world();
    const client = new FakeClient(hubOf(w, { limits: { roomsPerConnection: may } }), w);
    await client.hello({ rooms: wishes.slice(0, most) });
    await client.send({ kind: 'leave', rooms: names.slice(0, most) });
    expect(client.closed).toBeUndefined();
    expect(client.all('room').filter((verdict) => 'left' in verdict)).toHaveLength(most);
    await client.send({ kind: 'leave', rooms: names.slice(0, most + 1) });
    expect(client.closed).toMatchObject({ code: 4429 });
  });

  test('and verdicts that nobody reads are cut off like answers', async () => {
    const w = world();
    const hub = hubOf(w, { limits: { bufferedBytes: 10_000 } });
    const client = new FakeClient(hub, w);
    await client.hello();
    client.reads = false;
    const rooms = Array.from({ length: 2_000 }, (_, n) => 'x'.repeat(400) + n);
    for (let n = 0; n < 15; n++) await client.send({ kind: 'leave', rooms });
    expect(client.closed).toBe('terminated');
    expect(client.bufferedAmount).toBeLessThan(8_388_608 + 1_100_000);
    expect(hub.metrics().stalled).toBe(1);
  });
});

test('requests that wait are bounded in size, and one always fits', async () => {
  const w = world();
  const hub = hubOf(w, {
    limits: { maxMessageSize: 10_000 },
    handlers: { 'x:do': () => new Promise(() => {}) },
  });
  const client = new FakeClient(hub, w);
  await client.hello();
  const payload = 'x'.repeat(9_000);
  for (let n = 0; n < 9; n++) await client.request(`r${n}`, 'x:do', { payload });
  await client.request('r2', 'x:do', { payload });
  expect(client.all('response')).toMatchObject([
    { requestId: 'r8', error: { code: 'RATE_LIMITED', retryable: true } },
  ]);
});

test('requests that were answered make room for others', async () => {
  const w = world();
  const hub = hubOf(w, { limits: { maxMessageSize: 10_000 }, handlers: { 'x:do': () => 1 } });
  const client = new FakeClient(hub, w);
  await client.hello();
  const payload = 'x'.repeat(9_000);
  for (let n = 0; n < 40; n++) await client.request(`r${n}`, 'x:do', { payload });
  expect(client.all('response').filter(({ success }) => success)).toHaveLength(40);
});

test('a kick that other hubs may not hear of is done here, and rejects', async () => {
  const w = world();
  const journal = changed(memoryJournal(), () => ({
    tell: () => Promise.reject(new Error('the disk is full')),
  }));
  const hub = hubOf(w, { journal, authenticate: () => ({ user: 'mallory' }) });
  const client = new FakeClient(hub, w);
  await client.hello();
  await expect(hub.kick({ user: 'mallory' })).rejects.toThrow('the disk is full');
  expect(client.closed).toMatchObject({ reason: 'The server ended this.' });
});

test('a cursor that is far too long is no position, for that room alone, and is not repeated', async () => {
  const w = world();
  const client = new FakeClient(hubOf(w), w);
  const since = 'x'.repeat(100_000);
  await client.hello({ rooms: [{ room: 'a', since }, { room: 'b' }] });
  await client.send({ kind: 'join', rooms: [{ room: 'c', since: `${since}-1` }] });
  expect(client.closed).toBeUndefined();
  expect(client.verdicts('b')).toMatchObject([{ joined: true, reason: 'new' }]);
  for (const room of ['a', 'c']) {
    expect(client.verdicts(room)).toMatchObject([{ joined: true, reason: 'epoch' }]);
    expect(client.verdicts(room)[0]).not.toHaveProperty('since');
  }
});

test('a repeat hears that another hub is done, however late it hears that it ran there', async () => {
  const w = world();
  const inner = memoryJournal();
  let finish = () => {};
  let hear = () => {};
  const handlers = {
    'x:do': () =>
      new Promise((resolve) => {
        finish = () => resolve('once');
      }),
  };
  const first = new FakeClient(hubOf(w, { journal: inner, handlers }), w);
  const late = changed(inner, (node) => ({
    claim: async (claim) => {
      const claimed = await node.claim(claim);
      if (claimed.state === 'running') {
        await new Promise<void>((resolve) => {
          hear = resolve;
        });
      }
      return claimed;
    },
  }));
  const second = new FakeClient(hubOf(w, { journal: late, handlers }), w);
  await first.hello();
  await first.request('r1', 'x:do');
  await second.hello({ link: 2 });
  await second.request('r1', 'x:do');
  finish();
  await w.clock.settle();
  hear();
  await w.clock.settle();
  expect(second.response('r1')).toMatchObject({ success: true, data: 'once' });
});

test('an option that there is none of is refused, with those that there are', () => {
  const options = { retrySpread: 0 };
  const misspelt: [() => unknown, string][] = [
    [
      () => createHub({ ...options, ...{ authorizeRooms: () => false } }),
      'createHub has no option',
    ],
    [() => createHub({ limits: { helloTimeout: 1, ...{ x: 1 } } }), 'limits has no option'],
    [() => createHub({ heartbeat: { interval: 1, ...{ x: 1 } } }), 'heartbeat has no option'],
    [() => memoryJournal({ maxAge: 1, ...{ x: 1 } }), 'memoryJournal has no option'],
    [() => sqliteJournal({ path: freshPath(), ...{ x: 1 } }), 'sqliteJournal has no option'],
  ];
  const hub = createHub(options);
  const server = createServer();
  misspelt.push([
    () => hub.attachWebSocket(server, { path: '/', ...{ x: 1 } }),
    'attachWebSocket has no option',
  ]);
  expect(() => hub.attachWebSocket(server, { path: 'realtime' })).toThrow(/Begin it with "\/"/);
  for (const [act, words] of misspelt) expect(act).toThrow(new RegExp(`^${words} ".*It has: `));
  expect(() => memoryJournal({ maxAge: 1, ...{ x: undefined } })).not.toThrow();
});
