/** Late timers, long silences, slow uploads and clocks that jump. */
import { describe, expect, test } from 'vitest';
import type { Clock } from '../../src/lib/clock.js';
import type { ServerFrame } from '../../src/protocol/frame.js';
import { handTransport } from '../client/hand-transport.js';
import { type Harness, harness } from '../client/harness.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const connects = ['disconnected', 'connecting', 'connected'];

async function connected(story: Harness): Promise<void> {
  void story.client.connect();
  await story.clock.settle();
  await story.clock.advance(0);
  expect(story.client.state.status).toBe('connected');
}

/** Moves time until the client is no longer connected. Returns how long that took, in ms. */
async function untilLost({ client, clock }: Harness, step = 100): Promise<number> {
  const from = clock.now();
  while (client.state.status === 'connected' && clock.now() < from + HOUR) {
    await clock.advance(step);
  }
  return clock.now() - from;
}

describe('timers that fire late', () => {
  test('E12 two hours of timers that run once a minute cause no reconnect', async () => {
    const story = harness({ auto: true });
    const { client, clock, server, seen } = story;
    await connected(story);
    clock.throttle(MINUTE);
    await clock.advance(2 * HOUR);
    expect(seen.statuses).toEqual(connects);
    expect(client.metrics()).toMatchObject({ attempts: 1, reconnects: 0 });
    // It was not left alone either: the server was asked again and again.
    expect(server.link.sent('ping').length).toBeGreaterThan(30);
    client.close();
  });

  test('E12 in a throttled tab a dead link is noticed, and a lost one replaced', async () => {
    const story = harness({ auto: true });
    const { client, clock, network } = story;
    await connected(story);
    clock.throttle(MINUTE);
    await clock.advance(10 * MINUTE);
    network.links[0]?.set({ blackHole: 'both' });
    expect(await untilLost(story, 1_000)).toBeLessThanOrEqual(7 * MINUTE);
    await clock.advance(5 * MINUTE);
    expect(client.state.status).toBe('connected');
    client.close();
  });

  test('E12 what came during a sleep is read before anything is declared dead', async () => {
    const story = harness({ auto: true });
    const { client, clock, server, seen } = story;
    void client.room('r').join();
    await connected(story);
    await clock.advance(10);
    for (const ms of [20_000, 4 * MINUTE, 8 * HOUR]) {
      // The ping is on its way, or due, as the lid is closed.
      await clock.advance(24_999);
      clock.after(10_000, () => {});
      const asleep = clock.sleep(ms);
      server.publish('r', 'a:b', ms);
      await asleep;
      await clock.advance(MINUTE);
      expect(seen.payloads.at(-1)).toBe(ms);
    }
    expect(seen.statuses).toEqual(connects);
    expect(client.metrics().reconnects).toBe(0);
    client.close();
  });

  test('E12 a response that came during a sleep is read before its request is given up', async () => {
    const story = harness({ heartbeat: false });
    const { client, clock, server } = story;
    void client.connect();
    await clock.advance(0);
    server.link.welcome();
    await clock.advance(0);
    const answer = client.request('x:y', 1, { timeout: 30_000 });
    await clock.advance(0);
    const asleep = clock.sleep(HOUR);
    for (const request of server.link.sent('request')) server.link.respond(request, 'in time');
    await asleep;
    await clock.advance(0);
    expect(await answer).toBe('in time');
    client.close();
  });

  test('E12 a probe whose deadline was slept through is asked once more, and not for ever', async () => {
    // The link is fine, only the pong is slow: it comes 3 s after the device woke up.
    const alive = harness();
    void alive.client.connect();
    await alive.clock.settle();
    await alive.clock.advance(0);
    alive.server.link.welcome();
    await alive.clock.advance(25_000);
    expect(alive.server.link.sent('ping')).toHaveLength(1);
    await alive.clock.sleep(HOUR);
    await alive.clock.advance(3_000);
    alive.server.link.send({ kind: 'pong' });
    await alive.clock.advance(10_000);
    expect(alive.client.state.status).toBe('connected');
    alive.client.close();

    // The link died while the device slept: found out within one more timeout.
    const dead = harness({ auto: true });
    await connected(dead);
    await dead.clock.advance(24_000);
    dead.network.set({ blackHole: 'both' });
    await dead.clock.advance(1_000);
    await dead.clock.sleep(HOUR);
    expect(dead.client.state.status).toBe('connected');
    expect(await untilLost(dead)).toBeLessThanOrEqual(5_000);
    dead.client.close();
  });
});

describe('signs of life', () => {
  test('E13 a flood of events without a pong never reconnects, and silence after it does', async () => {
    const story = harness();
    const { client, clock, server, seen } = story;
    void client.connect();
    await clock.settle();
    await clock.advance(0);
    server.link.welcome();
    for (let second = 0; second < 600; second++) {
      await clock.advance(1_000);
      server.link.event('a:b', { eventId: `e${second}` });
    }
    await clock.settle();
    expect(seen.statuses).toEqual(connects);
    expect(await untilLost(story)).toBeLessThanOrEqual(30_100);
    client.close();
  });

  test.each<
    [string, (say: (...frames: ServerFrame[]) => void, raw: (text: string) => void) => void]
  >([
    ['a frame that is none', (_say, raw) => raw('{{{')],
    ['a kind of the future', (_say, raw) => raw('{"kind":"tomorrow"}')],
    ['a ping', (say) => say({ kind: 'ping' })],
    [
      'a verdict on a room that nobody wants',
      (say) => say({ kind: 'room', room: 'x', left: true }),
    ],
  ])('E13 %s is a sign of life', async (_name, speak) => {
    const story = harness();
    const { client, clock, server, seen } = story;
    void client.connect();
    await clock.settle();
    await clock.advance(0);
    server.link.welcome();
    for (let turn = 0; turn < 10; turn++) {
      await clock.advance(29_000);
      speak(server.link.send, server.link.sendRaw);
      await clock.advance(0);
    }
    expect(seen.statuses).toEqual(connects);
    client.close();
  });

  test('E13 an upload of 1 MiB at 30 kB/s is not death', async () => {
    const story = harness({ auto: true, heartbeat: { interval: 5_000, timeout: 2_000 } });
    const { client, clock, network, server, seen } = story;
    await connected(story);
    // Nothing comes back while it lasts: the pong waits behind the upload.
    network.set({ bandwidth: { up: 30_000 } });
    const text = 'x'.repeat(2 ** 20 - 1_000);
    const answer = client.request('file:put', text, { timeout: MINUTE });
    await clock.advance(30_000);
    expect(server.link.sent('ping')).toEqual([]);
    expect(client.state.status).toBe('connected');
    await clock.advance(20_000);
    expect(await answer).toBe(text);
    expect(seen.statuses).toEqual(connects);
    client.close();
  });

  test('E13 an upload that stands still is death', async () => {
    const story = harness({ auto: true, heartbeat: { interval: 5_000, timeout: 2_000 } });
    const { client, clock, network } = story;
    await connected(story);
    network.set({ bandwidth: { up: 30_000 } });
    void client.request('file:put', 'x'.repeat(900_000), { timeout: MINUTE });
    await clock.advance(12_000);
    network.set({ blackHole: 'both' });
    expect(await untilLost(story)).toBeLessThanOrEqual(7_000);
    client.close();
  });

  test('E13 a pong after close starts nothing', async () => {
    const transport = handTransport();
    const { client, clock } = harness({ transport });
    void client.connect();
    await clock.settle();
    transport.link.open();
    transport.link.welcome();
    await clock.advance(25_000);
    expect(transport.link.sent).toEqual([{ kind: 'ping' }]);
    client.close();
    await clock.settle();
    const { state } = client;
    transport.link.say({ kind: 'pong' }, { kind: 'ping' });
    await clock.advance(HOUR);
    expect(client.state).toBe(state);
    expect(transport.link.sent).toEqual([{ kind: 'ping' }]);
    expect(clock.pending).toBe(0);
  });

  test.each([0, 1, 12_345, 24_999, 25_000, 25_001, 49_999, 61_000])(
    'E14 a black hole after %d ms is noticed within interval + timeout',
    async (after) => {
      const story = harness({ auto: true });
      const { client, clock, network } = story;
      await connected(story);
      await clock.advance(after);
      network.set({ blackHole: 'both' });
      expect(await untilLost(story)).toBeLessThanOrEqual(30_000);
      expect(client.state.error).toMatchObject({ code: 'HEARTBEAT_TIMEOUT' });
      client.close();
    },
  );

  test("E14 the server's terms are the ones that count", async () => {
    const story = harness({ heartbeat: { interval: HOUR, timeout: HOUR } });
    const { client, clock, server } = story;
    void client.connect();
    await clock.settle();
    await clock.advance(0);
    server.link.welcome({ terms: { heartbeat: { interval: 2_000, timeout: 1_000 } } });
    await clock.advance(0);
    expect(await untilLost(story)).toBe(3_000);
    client.close();
  });
});

/** A story whose client's timers are counted. */
function countedStory() {
  const counted = { set: 0, waiting: 0, most: 0 };
  const wrapClock = (clock: Clock): Clock => ({
    ...clock,
    after(ms, run) {
      counted.set++;
      counted.waiting++;
      counted.most = Math.max(counted.most, counted.waiting);
      let over = false;
      const end = () => {
        if (!over) counted.waiting--;
        over = true;
      };
      const cancel = clock.after(ms, () => {
        end();
        run();
      });
      return () => {
        end();
        cancel();
      };
    },
  });
  return { story: harness({ auto: true, wrapClock }), counted };
}

describe('what time costs', () => {
  test('E15 a heartbeat costs one timer, not one for each message', async () => {
    const { story, counted } = countedStory();
    const { client, clock, server, seen } = story;
    void client.room('r').join();
    await connected(story);
    await clock.advance(15_000);
    counted.set = 0;
    for (let n = 0; n < 2_000; n++) {
      server.publish('r', 'a:b', n);
      // A frame that may move a deadline, beside one that does not.
      server.link.send({ kind: 'pong' });
      await clock.advance(50);
    }
    expect(seen.events).toHaveLength(2_000);
    expect(counted.most).toBe(1);
    // 100 s of traffic: a look every interval, and none for any of the 2,000 messages.
    expect(counted.set).toBeLessThanOrEqual(20);
    client.close();
    await clock.settle();
    expect(counted.waiting).toBe(0);
  });

  test('E16 a wait above 2^31 − 1 ms is clamped, and kept to the millisecond', async () => {
    const wait = 2 ** 40;
    const { client, clock, network } = harness({
      auto: true,
      reconnect: { initialDelay: wait, maxDelay: wait, jitter: 'none' },
    });
    network.set({ refuse: 'CONNECTION_FAILED' });
    void client.connect().catch(() => {});
    await clock.advance(0);
    expect(client.state.status).toBe('reconnecting');
    expect(client.state.nextRetryAt?.getTime()).toBe(clock.date() + wait);
    await clock.advance(wait - 1);
    expect(network.dials).toBe(1);
    await clock.advance(1);
    expect(network.dials).toBe(2);
    client.close();
  });

  test('E16 so are a far expiry, a long heartbeat and a far goodbye', async () => {
    const year = 365 * 24 * HOUR;
    const asked: string[] = [];
    const { client, clock, server, network } = harness({
      auth: ({ reason }) => {
        asked.push(reason);
        return asked.length;
      },
      heartbeat: { interval: 10 * year, timeout: 10 * year },
    });
    void client.connect();
    await clock.advance(0);
    server.link.welcome({ terms: { authExpiresIn: 2 * year } });
    await clock.advance(year);
    expect(asked).toEqual(['connect']);
    await clock.advance(year);
    expect(asked).toEqual(['connect', 'expired']);
    server.link.send({ kind: 'goodbye', reason: 'some day', reconnectAfter: year });
    await clock.advance(year - 1);
    expect(network.dials).toBe(1);
    await clock.advance(1);
    expect(network.dials).toBe(2);
    client.close();
  });

  test.each([
    ['back to 1970', 0],
    ['a year ahead', 1_800_000_000_000],
  ])('E16 a date that jumps %s breaks nothing', async (_name, date) => {
    const story = harness({
      auto: true,
      reconnect: { initialDelay: 4_000, jitter: 'none', stableAfter: 10_000 },
    });
    const { client, clock, network, server, seen } = story;
    await connected(story);
    clock.setDate(date);
    await clock.advance(2 * MINUTE);
    expect(seen.statuses).toEqual(connects);
    expect(server.link.sent('ping').length).toBe(4);
    const answer = client.request('x:y', 1);
    clock.setDate(date + HOUR);
    await clock.advance(10);
    expect(await answer).toBe(1);
    // The backoff is measured by the other clock too.
    network.cut();
    await clock.advance(0);
    clock.setDate(date);
    await clock.advance(3_999);
    expect(network.dials).toBe(1);
    await clock.advance(1);
    expect(network.dials).toBe(2);
    await clock.advance(10_000);
    expect(client.state).toMatchObject({ status: 'connected', reconnectAttempts: 0 });
    client.close();
  });
});
