/** What `client.metrics()` counts, to the millisecond. */
import { defineContract, type StandardSchema } from 'holdfast';
import { describe, expect, test } from 'vitest';
import { type HarnessOptions, harness } from './harness.js';

async function connected(options: HarnessOptions = {}) {
  const story = harness({ auto: true, ...options });
  void story.client.connect();
  await story.clock.advance(1);
  return story;
}

describe('metrics()', () => {
  test('starts with nothing', () => {
    const { client } = harness();
    expect(client.metrics()).toEqual({
      attempts: 0,
      connects: 0,
      reconnects: 0,
      connectedFor: 0,
      requestsSent: 0,
      messagesSent: 0,
      received: 0,
      duplicates: 0,
      gaps: 0,
      replayed: 0,
      garbled: 0,
      ignored: 0,
      stray: 0,
      queued: 0,
      queuedBytes: 0,
      latency: null,
      roundTrip: null,
      responseTime: null,
      receivedPerSecond: 0,
      sentPerSecond: 0,
      errors: {},
    });
  });

  test('has every number of a story exactly', async () => {
    const { client, clock, network, server } = harness({ auto: true, onGap: () => {} });
    network.set({ latency: 25 });
    client.on('e:f', () => {});
    void client.connect();
    void client.room('r').join();
    // A round trip to open, another for the welcome; at 100 ms it is there.
    await clock.advance(100);
    expect(client.metrics()).toMatchObject({ attempts: 1, connects: 1, connectedFor: 0 });
    const lasting = client.request('a:b', 1);
    client.send('c:d', 2);
    server.publish('r', 'e:f', 'one');
    server.link.event('e:f', { room: 'r', seq: 1 });
    server.link.event('e:f', { room: 'never joined', seq: 1 });
    server.link.sendRaw('noise');
    await clock.advance(900);
    await expect(lasting).resolves.toBe(1);
    expect(client.metrics()).toEqual({
      attempts: 1,
      connects: 1,
      reconnects: 0,
      connectedFor: 900,
      requestsSent: 1,
      messagesSent: 1,
      received: 3,
      duplicates: 1,
      gaps: 0,
      replayed: 0,
      garbled: 1,
      ignored: 0,
      stray: 1,
      queued: 0,
      queuedBytes: 0,
      latency: 50,
      roundTrip: { p50: 50, p95: 50, p99: 50 },
      responseTime: { p50: 50, p95: 50, p99: 50 },
      receivedPerSecond: 3,
      sentPerSecond: 2,
      errors: {},
    });

    network.cut();
    server.publish('r', 'e:f', 'missed');
    const asked = client.request('a:b', 'offline');
    client.send('c:d', 'offline');
    await clock.advance(0);
    const wires = [
      {
        kind: 'request',
        requestId: 'id1-3',
        type: 'a:b',
        timestamp: clock.date(),
        payload: 'offline',
      },
      { kind: 'message', type: 'c:d', timestamp: clock.date(), payload: 'offline' },
    ];
    expect(client.metrics()).toMatchObject({
      connectedFor: 900,
      queued: 1,
      queuedBytes: wires.map((wire) => JSON.stringify(wire)).join('').length,
      latency: null,
    });
    await clock.advance(9_000);
    await asked;
    const { connectedFor, ...then } = client.metrics();
    expect(then).toMatchObject({
      attempts: 2,
      connects: 2,
      reconnects: 1,
      requestsSent: 2,
      messagesSent: 2,
      received: 4,
      replayed: 1,
      queued: 0,
      queuedBytes: 0,
    });
    const { lastConnected } = client.state;
    expect(connectedFor).toBe(900 + clock.date() - Number(lastConnected));
    client.close();
    await clock.advance(10_000);
    expect(client.metrics()).toMatchObject({ connectedFor, latency: null });
  });

  test('counts a request again that is written again, and only then', async () => {
    const { client, clock, network, server } = await connected();
    server.auto = false;
    void client.request('a:b', 1);
    await clock.advance(1);
    network.cut();
    server.auto = true;
    await clock.advance(10_000);
    expect(client.metrics()).toMatchObject({ requestsSent: 2, queued: 0 });
  });

  test('counts the time connected through a handover, and not while there is no link', async () => {
    const { client, clock, server } = await connected();
    await clock.advance(999);
    server.link.send({ kind: 'goodbye', reason: 'deploy', reconnectAfter: 500 });
    await clock.advance(1_000);
    expect(server.links).toHaveLength(2);
    expect(client.metrics().connectedFor).toBe(2_000);
    client.disconnect();
    await clock.advance(5_000);
    expect(client.metrics()).toMatchObject({ connectedFor: 2_000, connects: 2 });
    void client.connect();
    await clock.advance(500);
    expect(client.metrics()).toMatchObject({ connectedFor: 2_500, connects: 3 });
  });

  test('tells how the last 100 response times and round trips are spread', async () => {
    const { client, clock, server } = await connected();
    server.auto = false;
    const answerAfter = async (ms: number) => {
      void client.request('a:b', ms);
      await clock.advance(ms);
      for (const request of server.link.sent('request').slice(-1)) server.link.respond(request);
      await clock.advance(0);
    };
    // Shuffled: the spread does not depend on their order. 37 and 100 have no common divisor.
    for (let index = 0; index < 100; index++) await answerAfter(((index * 37) % 100) + 1);
    expect(client.metrics().responseTime).toEqual({ p50: 50, p95: 95, p99: 99 });
    for (let index = 0; index < 99; index++) await answerAfter(3);
    expect(client.metrics().responseTime).toMatchObject({ p50: 3, p95: 3, p99: 3 });
    await answerAfter(7);
    await answerAfter(7);
    expect(client.metrics().responseTime).toEqual({ p50: 3, p95: 3, p99: 7 });
    // Refusals and errors say little of the way.
    void client.request('a:b', 1).catch(() => {});
    await clock.advance(5_000);
    server.link.fail(server.link.sent('request').at(-1) ?? '', { code: 'TAKEN' });
    await clock.advance(0);
    expect(client.metrics().responseTime?.p99).toBe(7);
  });

  test('measures pings, on every link', async () => {
    const { client, clock, network } = await connected({ heartbeat: { interval: 1_000 } });
    network.set({ latency: 10 });
    await clock.advance(3_500);
    expect(client.metrics().roundTrip).toEqual({ p50: 20, p95: 20, p99: 20 });
    network.cut();
    network.set({ latency: 100 });
    await clock.advance(10_000);
    expect(client.metrics().roundTrip).toEqual({ p50: 200, p95: 200, p99: 200 });
  });

  test('tells how many events come and how many frames go a second', async () => {
    const { client, clock, server } = await connected();
    client.on('e:f', () => {});
    void client.room('r').join();
    await clock.advance(999);
    for (let second = 0; second < 300; second++) {
      server.publish('r', 'e:f');
      server.publish('r', 'e:f');
      client.send('c:d', second);
      await clock.advance(1_000);
      const { receivedPerSecond, sentPerSecond } = client.metrics();
      if (second < 30) continue;
      // What falls on a mark counts or does not: an event in half a minute.
      expect(Math.abs(receivedPerSecond - 2)).toBeLessThan(0.07);
      expect(Math.abs(sentPerSecond - 1)).toBeLessThan(0.04);
    }
    // Then silence: after a minute and a heartbeat it is none.
    await clock.advance(100_000);
    expect(client.metrics()).toMatchObject({ receivedPerSecond: 0, sentPerSecond: 0 });
  });

  test('is a copy: what is read does not change later, nor can it be changed', async () => {
    const { client, clock } = await connected();
    const before = client.metrics();
    Object.assign(before.errors, { server: 9 });
    await clock.advance(1_000);
    expect(before.connectedFor).toBe(1);
    expect(client.metrics()).toMatchObject({ connectedFor: 1_001, errors: {} });
  });
});

describe('errors by category', () => {
  test('each is counted once: reported, or what a promise was rejected with', async () => {
    const refused: StandardSchema<unknown, unknown> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: () => ({ issues: [{ message: 'no' }] }),
      },
    };
    const { client, clock } = await connected({
      contract: defineContract({ requests: { 'bad:one': { payload: refused, data: refused } } }),
    });
    client.request('bad:one', null).catch(() => {});
    client.request('no:such' as never, null).catch(() => {});
    await clock.advance(1);
    expect(client.metrics().errors).toEqual({ validation: 2 });
    client.close();

    const other = await connected();
    const abort = new AbortController();
    other.server.auto = false;
    const asked = [
      other.client.request('a:b', 1),
      other.client.request('a:b', 2, { signal: abort.signal }),
      other.client.room('forbidden').join(),
    ];
    for (const promise of asked) promise.catch(() => {});
    other.client.on('e:f', () => {
      throw new Error('a bug of the application');
    });
    await other.clock.advance(1);
    const [first = ''] = other.server.link.sent('request');
    other.server.link.fail(first, { code: 'SERVER_ERROR' });
    other.server.link.send(
      { kind: 'room', room: 'forbidden', error: { code: 'FORBIDDEN', message: 'No.' } },
      { kind: 'event', eventId: '1', type: 'e:f', timestamp: 0 },
    );
    abort.abort();
    await other.clock.advance(1);
    expect(other.client.metrics().errors).toEqual({
      server: 1,
      authorization: 1,
      application: 1,
      delivery: 1,
    });
    other.client.close();
    void client.connect().catch(() => {});
    await clock.advance(1);
    expect(client.metrics().errors).toEqual({ validation: 2, connection: 1 });
  });
});
