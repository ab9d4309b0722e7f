import { memoryJournal } from 'holdfast/server';
import { describe, expect, test } from 'vitest';
import { FakeClient, hubOf, world } from './harness.js';

const payload = 'x'.repeat(900);

test('a link that does not take what is written falls back to the journal and stays bounded', async () => {
  const w = world();
  const hub = hubOf(w, { limits: { bufferedBytes: 10_000 } });
  const client = new FakeClient(hub, w);
  await client.hello({ rooms: [{ room: 'a' }] });
  client.reads = false;

  for (let n = 0; n < 500; n++) await hub.publish('a', 'x:y', payload);
  await w.clock.settle();
  expect(client.bufferedAmount).toBeGreaterThan(9_000);
  expect(client.bufferedAmount).toBeLessThan(12_000);

  // It takes a little at a time, while more is published.
  for (let n = 0; n < 300; n++) {
    await client.take(3);
    if (n < 100) await hub.publish('a', 'x:y', payload);
    expect(client.bufferedAmount).toBeLessThan(12_000);
  }
  client.reads = true;
  await client.take();
  await w.clock.advance(10);

  expect(client.seqs('a')).toEqual(Array.from({ length: 600 }, (_, n) => n + 1));
  expect(client.verdicts('a')).toHaveLength(1);

  // And it is live again: nothing is read for the next one.
  await hub.publish('a', 'x:y', 'last');
  await w.clock.settle();
  expect(client.seqs('a').at(-1)).toBe(601);
});

test('a link that is too slow for the journal is told of the gap, in the middle of its connection', async () => {
  const w = world();
  const journal = memoryJournal({ maxEvents: 20 });
  const hub = hubOf(w, { journal, limits: { bufferedBytes: 5_000 } });
  const client = new FakeClient(hub, w);
  await client.hello({ rooms: [{ room: 'a' }] });
  client.reads = false;
  for (let n = 0; n < 200; n++) await hub.publish('a', 'x:y', payload);

  client.reads = true;
  await client.take();
  await hub.publish('a', 'x:y', 'next');
  await w.clock.settle();

  expect(client.verdicts('a')[1]).toMatchObject({
    joined: true,
    recovered: false,
    reason: 'expired',
    seq: 200,
  });
  const seqs = client.seqs('a');
  expect(seqs.at(-1)).toBe(201);
  expect(seqs.slice(0, -1)).toEqual(Array.from({ length: seqs.length - 1 }, (_, n) => n + 1));
  expect(client.all('room').at(-1)).toMatchObject({ caughtUp: true });
});

test('rooms of a slow link take turns', async () => {
  const w = world();
  const hub = hubOf(w, { limits: { bufferedBytes: 4_000 } });
  const client = new FakeClient(hub, w);
  await client.hello({ rooms: [{ room: 'a' }, { room: 'b' }] });
  client.reads = false;
  for (let n = 0; n < 100; n++) {
    await hub.publish('a', 'x:y', payload);
    await hub.publish('b', 'x:y', payload);
  }
  for (let n = 0; n < 60; n++) await client.take(1);

  expect(client.events('a').length).toBeGreaterThan(10);
  expect(client.events('b').length).toBeGreaterThan(10);
});

test('other links of the room do not wait for a slow one', async () => {
  const w = world();
  const hub = hubOf(w, { limits: { bufferedBytes: 4_000 } });
  const slow = new FakeClient(hub, w);
  const quick = new FakeClient(hub, w);
  await slow.hello({ clientId: 'slow', rooms: [{ room: 'a' }] });
  await quick.hello({ clientId: 'quick', rooms: [{ room: 'a' }] });
  slow.reads = false;

  for (let n = 0; n < 100; n++) await hub.publish('a', 'x:y', payload);
  await w.clock.settle();

  expect(quick.events('a')).toHaveLength(100);
});

test('a client that asks and asks without reading is given up', async () => {
  const w = world();
  const hub = hubOf(w, {
    limits: { bufferedBytes: 10_000, messagesPerSecond: 10_000 },
    handlers: { 'big:get': () => 'x'.repeat(1_000_000) },
  });
  const client = new FakeClient(hub, w);
  await client.hello();
  client.reads = false;

  for (let n = 0; n < 12; n++) await client.request(`r${n}`, 'big:get');
  await w.clock.advance(1_000);

  expect(client.closed).toBe('terminated');
});

test('a slow link that takes something is alive, one that takes nothing is not', async () => {
  const w = world();
  const hub = hubOf(w);
  const client = new FakeClient(hub, w);
  await client.hello({ rooms: [{ room: 'a' }] });
  client.reads = false;
  for (let n = 0; n < 100; n++) await hub.publish('a', 'x:y', payload);
  await w.clock.settle();

  for (let second = 0; second < 90; second++) {
    await client.take(1);
    await w.clock.advance(1_000);
  }
  expect(client.closed).toBeUndefined();
  await w.clock.advance(32_000);
  expect(client.closed).toBe('terminated');
});

describe('the buffer of a link', () => {
  test('E37 that stops reading altogether stays full, and the link is closed with a reason, however much it says', async () => {
    const w = world();
    const hub = hubOf(w, { limits: { bufferedBytes: 10_000 } });
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'a' }] });
    client.reads = false;
    for (let n = 0; n < 50; n++) await hub.publish('a', 'x:y', payload);
    for (let second = 0; second < 29; second++) {
      await client.send('{"kind":"pong"}');
      await w.clock.advance(1_000);
    }
    expect(client.closed).toBeUndefined();
    await client.send('{"kind":"pong"}');
    await w.clock.advance(2_000);
    expect(client.closed).toMatchObject({
      code: 1013,
      reason: expect.stringContaining('30000 ms'),
    });
    expect(hub.metrics()).toMatchObject({ connections: 0, stalled: 1, timedOut: 0 });

    const cursor =
      client.events('a').at(-1)?.eventId ??
      String(Reflect.get(client.verdicts('a')[0] ?? {}, 'cursor'));
    const next = new FakeClient(hub, w);
    await next.hello({ link: 2, rooms: [{ room: 'a', since: cursor }] });
    expect(next.verdicts('a')).toMatchObject([{ recovered: true }]);
    expect(client.seqs('a').concat(next.seqs('a'))).toEqual(numbers(50));
  });

  test('E37 that is slow may be full all the while: as long as it falls now and then it is not closed', async () => {
    const w = world();
    const hub = hubOf(w, {
      journal: memoryJournal({ maxAge: 3_600_000 }),
      limits: { bufferedBytes: 10_000 },
    });
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'a' }] });
    client.reads = false;
    for (let n = 0; n < 100; n++) await hub.publish('a', 'x:y', payload);
    for (let minute = 0; minute < 20; minute++) {
      await client.take(1);
      expect(client.bufferedAmount).toBeGreaterThanOrEqual(10_000);
      await w.clock.advance(28_000);
    }
    expect(client.closed).toBeUndefined();
    await w.clock.advance(40_000);
    expect(client.closed).toBeDefined();
  });

  test('E37 that takes a large write bit by bit falls too, where the wire can tell', async () => {
    const w = world();
    const hub = hubOf(w, { limits: { bufferedBytes: 10_000 } });
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'a' }] });
    client.reads = false;
    await hub.publish('a', 'x:y', 'x'.repeat(500_000));
    for (let second = 0; second < 120; second++) {
      client.taken = (client.taken ?? 0) + 4_000;
      await w.clock.advance(1_000);
    }
    expect(client.closed).toBeUndefined();
    await w.clock.advance(40_000);
    expect(client.closed).toBeDefined();
  });

  test('that has taken all there is may stay as it is', async () => {
    const w = world();
    const client = new FakeClient(hubOf(w, { limits: { bufferedBytes: 10_000 } }), w);
    await client.hello();
    for (let second = 0; second < 200; second++) {
      await client.send('{"kind":"pong"}');
      await w.clock.advance(1_000);
    }
    expect(client.closed).toBeUndefined();
  });
});

test('what a dead network takes of small writes is no sign of life', async () => {
  const w = world();
  const hub = hubOf(w);
  const client = new FakeClient(hub, w);
  await client.hello({ rooms: [{ room: 'a' }] });
  client.taken = 0;
  // The kernel has room for all of it: nothing waits, and nobody answers.
  for (let second = 0; second < 33; second++) {
    await hub.publish('a', 'x:y', second);
    client.taken += 100;
    await w.clock.advance(1_000);
  }
  expect(client.closed).toBe('terminated');
  expect(hub.metrics()).toMatchObject({ timedOut: 1, stalled: 0 });
});

test('answers that nobody reads are cut off at once, not at the next look', async () => {
  const w = world();
  const hub = hubOf(w, {
    limits: { bufferedBytes: 10_000, messagesPerSecond: 10_000 },
    handlers: { 'big:get': () => 'x'.repeat(1_000_000) },
  });
  const client = new FakeClient(hub, w);
  await client.hello();
  client.reads = false;
  for (let n = 0; n < 100; n++) await client.request(`r${n}`, 'big:get');
  expect(client.bufferedAmount).toBeLessThan(8_388_608 + 1_100_000);
  expect(client.closed).toBe('terminated');
  expect(hub.metrics().stalled).toBe(1);
});

function numbers(last: number): number[] {
  return Array.from({ length: last }, (_, n) => n + 1);
}
