/** What the device says of itself: network hints, the back/forward cache, hidden pages, sleep. */

import { defineStorage } from 'holdfast/storage';
import { describe, expect, test } from 'vitest';
import type { LifecycleSignal } from '../../src/client/environment.js';
import type { Slot } from '../../src/client/storage.js';
import { type Harness, harness } from '../client/harness.js';
import { type HubHarnessOptions, hubHarness } from './hub.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const connects = ['disconnected', 'connecting', 'connected'];
const slow = { initialDelay: MINUTE, maxDelay: MINUTE, jitter: 'none' } as const;

async function connected(story: Harness): Promise<void> {
  void story.client.connect();
  await story.clock.advance(10);
  expect(story.client.state.status).toBe('connected');
}

/** A client that has failed once, and whose next attempt is a minute away on a network that is well again. */
async function waiting(options: Parameters<typeof harness>[0] = {}): Promise<Harness> {
  const story = harness({ auto: true, reconnect: slow, ...options });
  story.network.set({ refuse: 'CONNECTION_FAILED' });
  void story.client.connect();
  await story.clock.advance(0);
  expect(story.client.state).toMatchObject({ status: 'reconnecting', reconnectAttempts: 1 });
  story.network.heal();
  return story;
}

/** A client of a real hub on a device that can be signalled, in a room that is published to. */
async function inRoom(options: HubHarnessOptions = {}) {
  const listeners = new Set<(signal: LifecycleSignal) => void>();
  const lifecycle = (listener: (signal: LifecycleSignal) => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  const story = hubHarness({
    ...options,
    client: { ...options.client, environment: { lifecycle } },
  });
  void story.client.room('r').join();
  await story.connected();
  let published = 0;
  return {
    ...story,
    signal(signal: LifecycleSignal) {
      for (const listener of listeners) listener(signal);
    },
    async publish(count: number) {
      for (let n = 0; n < count; n++) await story.hub.publish('r', 'n:next', ++published);
    },
  };
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

describe('E22 storage that is none', () => {
  test('E22 a storage that never opens keeps nobody from connecting, and one that opens late is let go', async () => {
    let opens = (_slot: Slot) => {};
    let closed = 0;
    const storage = defineStorage({
      name: 'slow disk',
      open: () => new Promise((done) => (opens = done)),
    });
    const story = harness({ auto: true, outbox: { storage } });
    const { client, clock, seen } = story;
    void client.connect();
    const answer = client.request('a:b', 1);
    await clock.advance(15_000);
    expect(client.state.status).toBe('connected');
    expect(await answer).toBe(1);
    expect(seen.errors).toMatchObject([{ code: 'STORAGE_FAILED' }]);
    opens({
      saved: { clientId: 'late', link: 0, user: undefined, requests: [], cursors: [] },
      write: async () => {},
      close: async () => void closed++,
    });
    await clock.advance(1_000);
    expect(closed).toBe(1);
    expect(client.state.status).toBe('connected');
    client.close();
  });
});

describe('E18 hints of the network', () => {
  test('E18 `offline` on a link that works is answered by a probe, and changes nothing', async () => {
    const story = harness({ auto: true });
    const { client, clock, network, server, seen, signal } = story;
    await connected(story);
    signal('offline');
    await clock.advance(0);
    expect(server.link.sent('ping')).toHaveLength(1);
    await clock.advance(20_000);
    expect(seen.statuses).toEqual(connects);
    expect(network.dials).toBe(1);
    client.close();
  });

  test('E18 `offline` on a dead link is believed after two seconds, not after interval + timeout', async () => {
    const story = harness({ auto: true });
    const { client, clock, network, signal } = story;
    await connected(story);
    network.set({ blackHole: 'both' });
    signal('offline');
    await clock.advance(1_999);
    expect(client.state.status).toBe('connected');
    await clock.advance(1);
    expect(client.state).toMatchObject({
      status: 'reconnecting',
      error: { code: 'HEARTBEAT_TIMEOUT' },
    });
    client.close();
  });

  test('E18 `offline` while a ping is unanswered already shortens its wait to two seconds', async () => {
    const story = harness({ auto: true });
    const { client, clock, network, signal } = story;
    await connected(story);
    network.set({ blackHole: 'both' });
    // The ping goes out at 25 s of silence, with five seconds for its answer.
    await clock.advance(25_100);
    signal('offline');
    await clock.advance(2_000);
    expect(client.state.status).toBe('reconnecting');
    client.close();
  });

  test('E18 anything that arrives within the two seconds answers the probe', async () => {
    const story = harness();
    const { client, clock, server, seen, signal } = story;
    void client.connect();
    await clock.advance(0);
    server.link.welcome();
    signal('offline');
    await clock.advance(1_900);
    server.link.event('a:b', { eventId: 'late' });
    await clock.advance(10_000);
    expect(seen.statuses).toEqual(connects);
    client.close();
  });

  test('E18 on a device that says it is offline attempts go on: loopback works without a network', async () => {
    const story = harness({ auto: true, reconnect: { ...slow, initialDelay: 1_000 } });
    const { client, clock, network, signal } = story;
    network.set({ refuse: 'CONNECTION_FAILED' });
    void client.connect();
    signal('offline');
    await clock.advance(0);
    signal('offline');
    await clock.advance(10_000);
    expect(network.dials).toBeGreaterThan(2);
    network.heal();
    await clock.advance(10_000);
    expect(client.state.status).toBe('connected');
    client.close();
  });

  test.each<LifecycleSignal>(['online', 'visible', 'resumed'])(
    'E18 `%s` ends a wait at once',
    async (one) => {
      const { client, clock, network, signal } = await waiting();
      await clock.advance(1_000);
      expect(client.state.status).toBe('reconnecting');
      signal(one);
      await clock.advance(0);
      expect(client.state.status).toBe('connected');
      expect(network.dials).toBe(2);
      client.close();
    },
  );

  test('E18 several signals at once make one attempt, with one question for credentials', async () => {
    const asked: string[] = [];
    const { client, clock, network, server, signal } = await waiting({
      auth: ({ reason }) => asked.push(reason),
    });
    for (const one of ['online', 'visible', 'resumed', 'online'] as const) signal(one);
    await clock.advance(0);
    for (const one of ['visible', 'online'] as const) signal(one);
    await clock.advance(2 * MINUTE);
    expect(network.dials).toBe(2);
    expect(asked).toEqual(['connect', 'connect']);
    expect(server.links).toHaveLength(1);
    expect(client.metrics()).toMatchObject({ attempts: 2, connects: 1 });
    client.close();
  });

  test.each(['asking', 'dialing', 'greeting'])(
    'E18 a signal while an attempt is %s starts no second one',
    async (step) => {
      const { client, clock, network, signal } = harness({
        auth: () => (step === 'asking' ? new Promise(() => {}) : 'token'),
        authTimeout: 10_000,
      });
      // A scripted server that says nothing; while it dials, the way there takes its time.
      if (step === 'dialing') network.set({ latency: 5_000 });
      void client.connect();
      await clock.advance(100);
      for (const one of ['online', 'visible', 'resumed'] as const) signal(one);
      await clock.advance(100);
      expect(network.dials).toBe(step === 'asking' ? 0 : 1);
      expect(client.metrics().attempts).toBe(1);
      client.close();
    },
  );

  test('E18 several signals on a link that looks alive make one ping', async () => {
    const story = harness({ auto: true });
    const { client, clock, server, network, signal } = story;
    await connected(story);
    for (const one of ['online', 'offline', 'visible', 'resumed'] as const) signal(one);
    await clock.advance(5_000);
    expect(server.link.sent('ping')).toHaveLength(1);
    expect(network.dials).toBe(1);
    client.close();
  });

  test('E18 a wake does not make the backoff start over', async () => {
    const { client, clock, network, signal } = await waiting({
      reconnect: { initialDelay: 1_000, factor: 2, maxDelay: HOUR, jitter: 'none' },
    });
    network.set({ refuse: 'CONNECTION_FAILED' });
    for (let attempt = 2; attempt <= 5; attempt++) {
      signal('online');
      await clock.advance(0);
      expect(client.state.reconnectAttempts).toBe(attempt);
      const wait = Number(client.state.nextRetryAt) - clock.date();
      expect(wait).toBe(1_000 * 2 ** (attempt - 1));
    }
    client.close();
  });

  test('E18 a lid that is opened again: a dead link is found out within a timeout, a good one is kept', async () => {
    const good = harness({ auto: true });
    await connected(good);
    await good.clock.sleep(8 * HOUR);
    for (const one of ['online', 'visible'] as const) good.signal(one);
    await good.clock.advance(MINUTE);
    expect(good.seen.statuses).toEqual(connects);
    good.client.close();

    const dead = harness({ auto: true });
    await connected(dead);
    dead.network.links[0]?.set({ blackHole: 'both' });
    await dead.clock.sleep(8 * HOUR);
    for (const one of ['online', 'visible'] as const) dead.signal(one);
    await dead.clock.advance(5_000);
    expect(dead.client.state.status).not.toBe('connected');
    await dead.clock.advance(1_000);
    expect(dead.client.state.status).toBe('connected');
    dead.client.close();
  });
});

describe('E19 into the back/forward cache', () => {
  test('E19 the link is closed and nothing runs; out of it one attempt catches up, none lost, none twice', async () => {
    const story = await inRoom();
    const { client, clock, hub, network, seen, signal } = story;
    await story.publish(3);
    await clock.advance(100);
    signal('suspended');
    await clock.advance(100);
    expect(hub.metrics().connections).toBe(0);
    expect(client.state.status).toBe('reconnecting');
    expect(client.state.nextRetryAt).toBeNull();
    await story.publish(5);
    await clock.advance(MINUTE);
    expect(network.dials).toBe(1);
    expect(seen.payloads).toEqual(upTo(3));
    signal('resumed');
    await story.publish(2);
    await clock.advance(1_000);
    await story.publish(1);
    await clock.advance(100);
    expect(seen.payloads).toEqual(upTo(11));
    expect(seen.gaps).toEqual([]);
    expect(network.dials).toBe(2);
    expect(client.state).toMatchObject({ status: 'connected', synced: true });
    client.close();
  });

  test('E19 an event that was on its way as the page was put aside comes after it, once', async () => {
    const story = await inRoom({ latency: 100 });
    await story.publish(2);
    await story.clock.advance(150);
    expect(story.seen.payloads).toEqual(upTo(2));
    await story.publish(3);
    await story.clock.advance(50);
    story.signal('suspended');
    await story.clock.advance(MINUTE);
    expect(story.seen.payloads).toEqual(upTo(2));
    story.signal('resumed');
    await story.clock.advance(2_000);
    expect(story.seen.payloads).toEqual(upTo(5));
    story.client.close();
  });

  test('E19 what the journal no longer holds after a long stay is announced as a gap, once', async () => {
    const gaps: string[] = [];
    const onGap = ({ room, reason }: { room: string; reason: string }) => {
      if (room === 'r') gaps.push(reason);
    };
    const story = await inRoom({ client: { onGap } });
    await story.publish(1);
    await story.clock.advance(100);
    story.signal('suspended');
    await story.publish(3);
    // A day is longer than any event is kept.
    await story.clock.advance(24 * HOUR);
    story.signal('resumed');
    await story.clock.advance(1_000);
    await story.publish(1);
    await story.clock.advance(100);
    expect(gaps).toHaveLength(1);
    expect(story.seen.payloads).toEqual([1, 5]);
    story.client.close();
  });

  test('E19 requests run once across it, and their time stands still meanwhile', async () => {
    const ran: unknown[] = [];
    const story = await inRoom({ hub: { handlers: { 'n:run': (n) => ran.push(n) } } });
    const { client, clock, signal } = story;
    const answers = Promise.all(upTo(3).map((n) => client.request('n:run', n, { timeout: 5_000 })));
    // Written, run by the hub, and the answers are under way.
    await clock.advance(30);
    signal('suspended');
    const late = client.request('n:run', 4, { timeout: 5_000 });
    await clock.advance(MINUTE);
    expect(ran).toEqual([1, 2, 3]);
    expect(client.state.queued).toBe(4);
    signal('resumed');
    await clock.advance(1_000);
    expect(await answers).toEqual([1, 2, 3]);
    expect(await late).toBe(4);
    expect(ran).toEqual([1, 2, 3, 4]);
    client.close();
  });

  test.each(['waiting', 'asking', 'dialing', 'greeting'])(
    'E19 a page that is put aside while an attempt is %s goes on with it afterwards, not before',
    async (step) => {
      let asked = 0;
      const { client, clock, network, server, signal } = harness({
        auth: () => (++asked === 1 && step === 'asking' ? new Promise(() => {}) : 'token'),
        reconnect: { initialDelay: 1_000, jitter: 'none' },
      });
      if (step === 'dialing') network.set({ latency: 5_000 });
      if (step === 'waiting') network.set({ refuse: 'CONNECTION_FAILED' });
      void client.connect();
      await clock.advance(100);
      signal('suspended');
      const { dials } = network;
      await clock.advance(HOUR);
      expect(network.dials).toBe(dials);
      expect(clock.pending).toBe(0);
      expect(server.links.filter(({ open }) => open)).toEqual([]);
      network.heal();
      server.auto = true;
      signal('resumed');
      await clock.advance(1);
      expect(client.state.status).toBe('connected');
      expect(network.dials).toBe(dials + 1);
      client.close();
    },
  );

  test('E19 a page that was disconnected before it was put aside stays so after it', async () => {
    const story = harness({ auto: true });
    await connected(story);
    story.client.disconnect();
    await story.clock.advance(0);
    story.signal('suspended');
    story.signal('resumed');
    await story.clock.advance(HOUR);
    expect(story.client.state.status).toBe('disconnected');
    expect(story.network.dials).toBe(1);
  });
});

describe('E20 hidden pages', () => {
  const pausing = { pauseWhenHidden: { afterMs: 5 * MINUTE } };

  test('E20 a hidden tab stays connected by default, also with timers that run once a minute', async () => {
    const story = await inRoom();
    const { client, clock, network, seen, signal } = story;
    signal('hidden');
    clock.throttle(MINUTE);
    for (let turn = 0; turn < 24; turn++) {
      await clock.advance(5 * MINUTE);
      await story.publish(1);
      await clock.advance(100);
    }
    expect(seen.statuses).toEqual(connects);
    expect(seen.payloads).toEqual(upTo(24));
    expect(network.dials).toBe(1);
    client.close();
  });

  test('E20 with `pauseWhenHidden` it is put aside to the millisecond, and back and caught up when it is seen', async () => {
    const story = await inRoom({ client: pausing });
    const { client, clock, hub, network, seen, signal } = story;
    signal('hidden');
    await clock.advance(5 * MINUTE - 1);
    expect(client.state.status).toBe('connected');
    await clock.advance(1);
    expect(client.state).toMatchObject({ status: 'reconnecting', nextRetryAt: null, error: null });
    await story.publish(4);
    await clock.advance(MINUTE);
    expect(hub.metrics().connections).toBe(0);
    expect(network.dials).toBe(1);
    signal('visible');
    await clock.advance(1_000);
    expect(client.state).toMatchObject({ status: 'connected', synced: true });
    expect(seen.payloads).toEqual(upTo(4));
    expect(network.dials).toBe(2);
    client.close();
  });

  test('E20 a page that is looked at in between is not put aside, and its time starts anew', async () => {
    const story = harness({ auto: true, ...pausing });
    const { client, clock, signal, seen } = story;
    await connected(story);
    for (let turn = 0; turn < 5; turn++) {
      signal('hidden');
      await clock.advance(5 * MINUTE - 1);
      signal('visible');
      await clock.advance(10 * MINUTE);
    }
    expect(seen.statuses).toEqual(connects);
    signal('hidden');
    await clock.advance(5 * MINUTE);
    expect(client.state.status).toBe('reconnecting');
    client.close();
  });

  test('E20 it is never put aside with an unanswered request, and soon after its answer', async () => {
    const story = harness({ ...pausing, heartbeat: false });
    const { client, clock, server, signal } = story;
    void client.connect();
    await clock.advance(0);
    server.link.welcome();
    const answer = client.request('a:b', 1, { timeout: 2 * HOUR });
    await clock.advance(0);
    signal('hidden');
    await clock.advance(HOUR);
    expect(client.state.status).toBe('connected');
    for (const request of server.link.sent('request')) server.link.respond(request, 'done');
    await clock.advance(0);
    expect(await answer).toBe('done');
    await clock.advance(1_000);
    expect(client.state.status).toBe('reconnecting');
    expect(server.link.open).toBe(false);
    client.close();
  });

  test('E20 nor with requests that are not even written yet', async () => {
    const ran: unknown[] = [];
    const story = await inRoom({
      client: { pauseWhenHidden: { afterMs: 1_000 }, outbox: { maxInFlight: 1 } },
      hub: {
        handlers: {
          'n:slow': async (n) => {
            ran.push(n);
            await new Promise<void>((done) => story.clock.after(5_000, done));
            return n;
          },
        },
      },
    });
    const { client, clock, seen, signal } = story;
    const answers = Promise.all(upTo(4).map((n) => client.request('n:slow', n)));
    signal('hidden');
    await clock.advance(19_000);
    expect(seen.statuses).toEqual(connects);
    await clock.advance(3_000);
    expect(await answers).toEqual(upTo(4));
    expect(ran).toEqual(upTo(4));
    expect(client.state.status).toBe('reconnecting');
    client.close();
  });

  test('E20 hidden and without a link, what waits to be sent keeps it trying', async () => {
    const story = harness({ auto: true, pauseWhenHidden: { afterMs: 1_000 } });
    const { client, clock, network, signal } = story;
    await connected(story);
    network.set({ refuse: 'CONNECTION_FAILED' });
    network.cut();
    const answer = client.request('a:b', 'sent in the dark');
    signal('hidden');
    await clock.advance(MINUTE);
    expect(client.state.status).toBe('reconnecting');
    network.heal();
    await clock.advance(10_000);
    expect(await answer).toBe('sent in the dark');
    await clock.advance(1_000);
    expect(client.state).toMatchObject({ status: 'reconnecting', nextRetryAt: null });
    client.close();
  });

  test('E20 what is asked for on a page that was put aside is sent, and the page put aside after its answer', async () => {
    const story = await inRoom({
      client: pausing,
      hub: { handlers: { 'n:echo': (n) => n } },
    });
    const { client, clock, hub, network, seen, signal } = story;
    signal('hidden');
    await clock.advance(5 * MINUTE);
    expect(client.state.nextRetryAt).toBeNull();
    await story.publish(2);
    const answer = client.request('n:echo', 'from the dark');
    await clock.advance(1_000);
    expect(await answer).toBe('from the dark');
    expect(seen.payloads).toEqual(upTo(2));
    expect(network.dials).toBe(2);
    await clock.advance(5 * MINUTE);
    expect(hub.metrics().connections).toBe(0);
    expect(client.state).toMatchObject({ status: 'reconnecting', nextRetryAt: null });
    client.close();
  });

  test('E20 a page that is hidden as it connects is put aside too', async () => {
    const story = harness({
      auto: true,
      ...pausing,
      environment: {
        lifecycle(listener) {
          listener('hidden');
          return () => {};
        },
      },
    });
    await connected(story);
    await story.clock.advance(5 * MINUTE);
    expect(story.client.state).toMatchObject({ status: 'reconnecting', nextRetryAt: null });
    story.client.close();
  });

  test('E20 a hidden page that the network woke is put aside again, where the device says it is hidden still', async () => {
    const story = harness({ auto: true, ...pausing });
    const { client, clock, signal } = story;
    await connected(story);
    signal('hidden');
    await clock.advance(10 * MINUTE);
    expect(client.state.status).toBe('reconnecting');
    for (const one of ['online', 'hidden'] as const) signal(one);
    await clock.advance(1);
    expect(client.state.status).toBe('connected');
    await clock.advance(5 * MINUTE);
    expect(client.state.status).toBe('reconnecting');
    client.close();
  });
});
