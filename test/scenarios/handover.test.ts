/** Make-before-break under load: hubs that leave with a goodbye, over one journal, with real sockets. */
import { setTimeout as pause } from 'node:timers/promises';
import { type HubOptions, type Journal, memoryJournal } from 'holdfast/server';
import { type FaultProxy, faultProxy } from 'holdfast/testing/node';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { feed, type Member, member, type RealHub, realHub } from './real-hub.js';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const eventually = (check: () => void, timeout = 15_000) =>
  vi.waitFor(check, { interval: 20, timeout });

/** Which hub each request ran on, in the order in which they ran. */
type Runs = Map<string, string[]>;

interface Place {
  readonly journal: Journal;
  readonly runs: Runs;
  /** Where all clients connect to; where it leads may change. */
  readonly balancer: FaultProxy;
  serve(name: string, options?: HubOptions): Promise<RealHub>;
  members(count: number): Promise<Member[]>;
}

async function place(): Promise<Place> {
  const journal = memoryJournal();
  const runs: Runs = new Map();
  const balancer = await faultProxy({ target: { port: 9 } });
  cleanups.push(balancer.close);

  async function serve(name: string, options: HubOptions = {}): Promise<RealHub> {
    const hub = await realHub({
      journal,
      authenticate: ({ auth }) => ({ user: (auth as { token: string }).token }),
      handlers: {
        'count:add': async (payload, { requestId }) => {
          const before = runs.get(requestId) ?? [];
          runs.set(requestId, [...before, name]);
          await pause((payload as { takes: number }).takes);
          return name;
        },
      },
      limits: { connectionsPerUser: 1 },
      ...options,
    });
    cleanups.push(hub.close);
    return hub;
  }

  async function members(count: number): Promise<Member[]> {
    const names = Array.from({ length: count }, (_, index) => `client-${index + 1}`);
    const all = await Promise.all(names.map((name) => member(name, balancer.port)));
    cleanups.push(() => {
      for (const { client } of all) client.close();
    });
    return all;
  }
  return { journal, runs, balancer, serve, members };
}

/** Feeds the room by this hub. The returned stop answers with the last number. */
function fed({ hub }: RealHub, pace: number): () => Promise<number> {
  const { stop } = feed(hub, pace);
  cleanups.push(() => stop().catch(() => {}));
  return stop;
}

/** Each of them heard 1 to `last`, once and in order. */
async function expectAll(members: readonly Member[], last: number): Promise<void> {
  await eventually(() =>
    expect(members.every(({ numbers }) => numbers.at(-1) === last)).toBe(true),
  );
  const all = Array.from({ length: last }, (_, index) => index + 1);
  for (const { numbers } of members) expect(numbers).toEqual(all);
}

/** Milliseconds, of the longest time that any of them heard nothing. */
function longestGap(members: readonly Member[], from: number, to: number): number {
  let longest = 0;
  for (const { times } of members) {
    const heard = times.filter((time) => time >= from && time <= to);
    heard.forEach((time, index) => {
      const before = heard[index - 1];
      if (before !== undefined) longest = Math.max(longest, time - before);
    });
  }
  return longest;
}

const steadily = ['disconnected', 'connecting', 'connected'];

describe('a rolling restart', () => {
  test('moves 100 clients twice: none leaves connected, nothing is lost, no gap is long', async () => {
    const { balancer, runs, serve, members } = await place();
    // They leave over a second; the hubs would wait far longer for whoever is slow.
    const spread = { retrySpread: 1_000 };
    const leaving = { drain: true, over: 20_000 };
    const hubs = [
      await serve('first', spread),
      await serve('second', spread),
      await serve('third'),
    ] as const;
    const [first, second, third] = hubs;
    balancer.retarget({ port: first.port });
    const all = await members(100);
    // Nobody moves this one: it hears what the machine itself holds up.
    const unmoved = await member('unmoved', third.port);
    cleanups.push(() => unmoved.client.close());
    const answers: Promise<unknown>[] = [];
    const ask = (one: Member, takes: number, requestId?: string) =>
      answers.push(
        one.client.request(
          'count:add',
          { takes },
          { room: one.name, ...(requestId === undefined ? {} : { requestId }) },
        ),
      );

    // Whoever publishes may sit at any hub of the journal: this one stays.
    const stop = fed(third, 100);
    let turn = 0;
    const asking = setInterval(() => {
      const one = all[turn++ % all.length];
      if (one !== undefined) ask(one, turn % 50);
    }, 40);
    cleanups.push(() => clearInterval(asking));

    await eventually(() => expect(unmoved.numbers.length).toBeGreaterThan(2));
    const calmFrom = performance.now();
    await eventually(() => expect(unmoved.numbers.length).toBeGreaterThan(22));
    const movingFrom = performance.now();

    // Still running where their clients have left, and answered all the same.
    for (const one of all) ask(one, 1_500, `slow-${one.name}`);
    await eventually(() =>
      expect(all.every(({ name }) => runs.get(`slow-${name}`)?.[0] === 'first')).toBe(true),
    );
    balancer.retarget({ port: second.port });
    await first.hub.close(leaving);
    expect(second.hub.metrics().connections).toBe(100);
    balancer.retarget({ port: third.port });
    await second.hub.close(leaving);
    expect(third.hub.metrics().connections).toBe(101);
    const movedAt = performance.now();

    clearInterval(asking);
    await expectAll([...all, unmoved], await stop());
    for (const { statuses } of all) expect(statuses).toEqual(steadily);
    const outcomes = await Promise.all(answers);
    expect(new Set(outcomes)).toEqual(new Set(['first', 'second', 'third']));
    expect(runs.size).toBe(answers.length);
    expect([...runs.values()].filter((where) => where.length !== 1)).toEqual([]);
    expect(hubs.map(({ hub }) => hub.metrics().refused)).toEqual([{}, {}, {}]);
    const usual = Math.max(
      longestGap(all, calmFrom, movingFrom),
      longestGap([unmoved], movingFrom, movedAt),
    );
    const gap = longestGap(all, movingFrom, movedAt);
    expect(gap, `${usual.toFixed(0)} ms without a move`).toBeLessThanOrEqual(usual + 250);
  }, 60_000);

  test('waits for the requests of clients that have moved, and answers them there', async () => {
    const { balancer, runs, serve, members } = await place();
    // They all leave within 100 ms, long before their requests are done.
    const [first, second] = [await serve('first', { retrySpread: 100 }), await serve('second')];
    balancer.retarget({ port: first.port });
    const all = await members(20);
    const asked = all.map(({ client, name }) =>
      client.request('count:add', { takes: 1_000 }, { room: name, requestId: name }),
    );
    await eventually(() => expect(runs.size).toBe(20));
    balancer.retarget({ port: second.port });
    let isClosed = false;
    const closing = first.hub.close({ drain: true, over: 10_000 }).then(() => (isClosed = true));
    await eventually(() => expect(second.hub.metrics().connections).toBe(20));
    expect([isClosed, runs.size]).toEqual([false, 20]);
    expect(await Promise.all(asked)).toEqual(all.map(() => 'first'));
    await closing;
    expect([...runs.values()]).toEqual(all.map(() => ['first']));
    for (const { statuses } of all) expect(statuses).toEqual(steadily);
  });

  test('keeps clients on the hub that leaves while nobody else takes them', async () => {
    const { balancer, serve, members } = await place();
    const [first, second] = [await serve('first', { retrySpread: 100 }), await serve('second')];
    balancer.retarget({ port: first.port });
    const all = await members(20);
    const stop = fed(second, 20);
    const dials = balancer.counters.accepted;
    const closing = first.hub.close({ drain: true, over: 10_000 });
    // Their next links lead to the hub that leaves, which sends them away.
    await eventually(() => expect(balancer.counters.accepted).toBeGreaterThanOrEqual(dials + 20));
    expect(first.hub.metrics().connections).toBe(20);
    balancer.retarget({ port: second.port });
    await closing;
    expect(second.hub.metrics().connections).toBe(20);
    await expectAll(all, await stop());
    for (const { statuses } of all) expect(statuses).toEqual(steadily);
  }, 15_000);
});

describe('in the middle of a move', () => {
  /** Two hubs; the way to the second one has faults of its own. */
  async function crossing() {
    const { balancer, serve, members } = await place();
    const [first, second] = [await serve('first', { retrySpread: 100 }), await serve('second')];
    const way = await faultProxy({ target: { port: second.port } });
    cleanups.push(way.close);
    balancer.retarget({ port: first.port });
    const all = await members(20);
    const old = balancer.connections;
    balancer.retarget({ port: way.port });
    return { first, second, way, all, old, stop: fed(second, 20) };
  }

  test.each([
    // The hub that they go to has not heard of them yet.
    ['upgrade', 60],
    // It has welcomed them, and the one that they leave knows that.
    ['welcome', 200],
  ])(
    'the new links are lost in the %s: clients stay on the old ones, and move the next time',
    async (_, bytes) => {
      const { first, second, way, all, stop } = await crossing();
      way.set({ cutAfter: bytes });
      const closing = first.hub.close({ drain: true, over: 10_000 });
      await eventually(() => expect(way.counters.truncated).toBeGreaterThanOrEqual(20));
      const greeted = second.hub.metrics().connectionsAccepted;
      if (bytes === 60) expect(greeted).toBe(0);
      else expect(greeted).toBeGreaterThanOrEqual(20);
      way.heal();
      await closing;
      expect(second.hub.metrics().connections).toBe(20);
      await expectAll(all, await stop());
      for (const { statuses } of all) expect(statuses).toEqual(steadily);
    },
    15_000,
  );

  test('the old links are lost: the dials that are under way are the next attempts', async () => {
    const { first, second, way, all, old, stop } = await crossing();
    way.set({ latency: 250 });
    const closing = first.hub.close({ drain: true, over: 10_000 });
    await eventually(() => expect(way.connections).toHaveLength(20));
    for (const connection of old) connection.reset();
    await closing;
    await eventually(() => expect(second.hub.metrics().connections).toBe(20));
    way.heal();
    await expectAll(all, await stop());
    for (const { statuses } of all) {
      expect(statuses).toEqual([...steadily, 'reconnecting', 'connected']);
    }
    expect(way.counters.accepted).toBe(20);
  }, 15_000);

  test('the hub itself dies: what it had published is not lost', async () => {
    const { first, second, way, all, old, stop } = await crossing();
    way.set({ accept: 'refuse' });
    void first.hub.close({ drain: true, over: 10_000 });
    await eventually(() => expect(way.counters.refused).toBeGreaterThanOrEqual(20));
    for (const connection of old) connection.reset();
    await eventually(() =>
      expect(all.every(({ client }) => client.state.status === 'reconnecting')).toBe(true),
    );
    way.heal();
    await eventually(() => expect(second.hub.metrics().connections).toBe(20));
    await expectAll(all, await stop());
  }, 15_000);
});

describe('the limit of connections per user', () => {
  test('does not count two links of one client, and still counts two clients', async () => {
    const { balancer, serve, members } = await place();
    const hub = await serve('only');
    balancer.retarget({ port: hub.port });
    const [one] = await members(1);
    // The hub hears nothing of it: it still serves the link that is gone.
    balancer.halfOpen('client');
    await eventually(() =>
      expect(one?.statuses).toEqual([...steadily, 'reconnecting', 'connected']),
    );
    expect(hub.hub.metrics().refused).toEqual({});
    await expect(member('client-1', balancer.port)).rejects.toMatchObject({
      code: 'TOO_MANY_CONNECTIONS',
    });
    expect(one?.client.state.status).toBe('connected');
  });
});
