/** The wires over HTTP against a real hub: what a client is promised, whatever carries it. */
import {
  type Client,
  type ClientOptions,
  type Contract,
  createClient,
  type HoldfastError,
} from 'holdfast';
import { failure, type HubOptions, tokenExpired } from 'holdfast/server';
import { recorder } from 'holdfast/testing';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Transport } from '../../src/client/transport.js';
import { polling } from '../../src/transports/polling.js';
import { sse } from '../../src/transports/sse.js';
import { httpHub } from './http-hub.js';

// The clock is real, and the machine may be busy.
vi.setConfig({ testTimeout: 20_000 });

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const wires: [string, (url: string) => Transport][] = [
  ['sse', (url) => sse(url)],
  ['long polling', (url) => polling(url, { wait: 1_000 })],
  ['plain polling', (url) => polling(url, { interval: 20 })],
];

const eventually = (check: () => unknown) => vi.waitFor(check, { interval: 5, timeout: 8_000 });

const range = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

describe.each(wires)('%s against a hub', (name, wire) => {
  async function stage(
    options: Partial<HubOptions> = {},
    clientOptions: Partial<ClientOptions<Contract>> = {},
  ) {
    const served = await httpHub({ onError() {}, ...options });
    cleanups.push(served.close);
    const client = createClient({
      transport: wire(served.url),
      reconnect: { initialDelay: 1, maxDelay: 5 },
      environment: { report() {} },
      ...clientOptions,
    }) as Client;
    cleanups.push(() => client.close());
    const seen = recorder(client);
    const publish = async (numbers: readonly number[], room = 'r') => {
      for (const number of numbers) await served.hub.publish(room, 'a:b', number);
    };
    return { ...served, client, seen, publish };
  }

  test('connects, hears what is published, and asks requests', async () => {
    const { client, publish, seen } = await stage({
      handlers: {
        'sum:made': (payload) => (payload as number[]).reduce((sum, one) => sum + one, 0),
      },
    });
    await client.connect();
    expect(client.state.transport).toBe(name === 'sse' ? 'sse' : 'polling');
    await client.room('r').join();
    await publish([1]);
    await eventually(() => expect(seen.payloads).toEqual([1]));
    expect(await client.request('sum:made', [1, 2, 3])).toBe(6);
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
  });

  test('a refusal for good closes the client, one for now does not', async () => {
    let code: 'UNAUTHORIZED' | 'RATE_LIMITED' = 'RATE_LIMITED';
    const { client, asks } = await stage(
      {
        authenticate() {
          if (code === 'RATE_LIMITED') {
            code = 'UNAUTHORIZED';
            throw failure('RATE_LIMITED', 'Later.', { retryAfter: 1 });
          }
          throw failure(code, 'Never.');
        },
      },
      { auth: () => 'me' },
    );
    await expect(client.connect()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(client.state).toMatchObject({ status: 'closed', error: { message: 'Never.' } });
    expect(asks()).toHaveLength(2);
  });

  test('50 events that were missed in a cut come once, in order', async () => {
    const { client, proxy, publish, seen } = await stage();
    await client.connect();
    await client.room('r').join();
    await publish(range(1, 5));
    await eventually(() => expect(seen.payloads).toEqual(range(1, 5)));
    proxy.set({ accept: 'refuse' });
    proxy.reset();
    await eventually(() => expect(client.state.status).toBe('reconnecting'));
    await publish(range(6, 55));
    proxy.heal();
    await eventually(() => expect(seen.payloads).toEqual(range(1, 55)));
    await eventually(() => expect(client.state.synced).toBe(true));
    expect(client.metrics()).toMatchObject({ gaps: 0, duplicates: 0 });
  });

  test('events that come while it is cut again and again come once, in order', async () => {
    const { client, proxy, publish, seen } = await stage();
    await client.connect();
    await client.room('r').join();
    for (let first = 1; first <= 100; first += 10) {
      await publish(range(first, first + 9));
      proxy.reset();
    }
    await eventually(() => expect(seen.payloads).toEqual(range(1, 100)));
    expect(client.metrics().gaps).toBe(0);
  });

  test('a request across cuts runs once, and is answered', async () => {
    const runs: unknown[] = [];
    let finish = () => {};
    const gate = new Promise<void>((done) => {
      finish = done;
    });
    const { client, proxy, errands } = await stage({
      handlers: {
        async 'work:done'(payload) {
          runs.push(payload);
          await gate;
          return payload;
        },
      },
    });
    await client.connect();
    const answers = Promise.all(range(1, 3).map((number) => client.request('work:done', number)));
    await eventually(() => expect(runs).toEqual([1]));
    for (let posts = 1; posts <= 3; posts++) {
      proxy.reset();
      await eventually(() => expect(errands().length).toBeGreaterThan(posts));
    }
    finish();
    expect(await answers).toEqual([1, 2, 3]);
    expect(runs).toEqual([1, 2, 3]);
  });

  test('a token that has expired is renewed, at the dial and with a request', async () => {
    let good = 'token-2';
    const { client, errands, seen } = await stage(
      {
        authenticate({ auth }) {
          if (auth === good) return { user: 'ann' };
          throw tokenExpired();
        },
        handlers: { 'echo:say': (payload) => payload },
      },
      {
        auth: (() => {
          let count = 0;
          return () => `token-${++count}`;
        })(),
      },
    );
    await client.connect();
    expect(await client.request('echo:say', 1)).toBe(1);
    good = 'token-3';
    expect(await client.request('echo:say', 2)).toBe(2);
    expect(errands().map(({ value }) => value.auth)).toEqual(['token-2', 'token-2', 'token-3']);
    expect(seen.errors).toEqual([]);
  });

  test('50 rooms that are joined in one tick are asked for once', async () => {
    const { client, asks, publish, seen } = await stage();
    await client.connect();
    const rooms = range(1, 50).map((number) => client.room(`r${number}`));
    await Promise.all(rooms.map((room) => room.join()));
    const sizes = asks().map(({ value }) => (value.hello ?? value).rooms.length);
    // Then every one names them all; a first one and the rest that was under way name none.
    expect(new Set(sizes.filter((size) => size > 1))).toEqual(new Set([51]));
    if (name === 'sse') expect(sizes).toHaveLength(2);
    for (const { name: room } of rooms) await publish([1], room);
    await eventually(() => expect(seen.payloads).toHaveLength(50));
    expect(client.state.status).toBe('connected');
    expect(seen.errors).toEqual([]);
  });

  test('while rooms are joined and left without end, those that stay miss nothing', async () => {
    const { client, publish, seen } = await stage();
    await client.connect();
    await client.room('r').join();
    const joins: Promise<unknown>[] = [];
    for (let round = 1; round <= 40; round++) {
      const room = client.room(`passing-${round % 7}`);
      joins.push(room.join().catch((error: HoldfastError) => error.code));
      await publish([round]);
      if (round % 3 === 0) room.leave();
    }
    const kept = client.room('kept');
    await kept.join();
    await publish([41]);
    await publish([42], 'kept');
    await eventually(() => expect(seen.payloads.toSorted(byNumber)).toEqual(range(1, 42)));
    expect(client.metrics().gaps).toBe(0);
    // Every join is answered: it succeeded, or the room was left before.
    for (const code of await Promise.all(joins)) expect([undefined, 'NOT_SENT']).toContain(code);
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
  });

  test('a listener that takes its time does not make the wire ask for the same again', async () => {
    const { client, asks, publish, seen } = await stage();
    await client.connect();
    await client.room('r').join();
    let finish = () => {};
    const gate = new Promise<void>((done) => {
      finish = done;
    });
    client.on('a:b', () => gate);
    await publish(range(1, 20));
    await eventually(() => expect(seen.payloads).toHaveLength(20));
    const before = asks().length;
    await publish([21]);
    await eventually(() => expect(seen.payloads).toHaveLength(21));
    if (name !== 'sse') {
      // From what has arrived, although no listener has had it.
      const since = (body = asks().at(-1)) =>
        body?.value.hello.rooms.find(({ room }: { room: string }) => room === 'r').since;
      const before = since();
      await publish([22]);
      await eventually(() => expect(since()).not.toBe(before));
    }
    if (name !== 'plain polling') expect(asks().length - before).toBeLessThanOrEqual(4);
    expect(client.metrics().duplicates).toBe(0);
    finish();
  });

  test('a renewal goes over the same connection', async () => {
    let count = 0;
    const { client, asks, seen } = await stage(
      { authenticate: () => ({ user: 'ann', expiresIn: 400 }) },
      { auth: () => `token-${++count}` },
    );
    await client.connect();
    await eventually(() => expect(count).toBeGreaterThanOrEqual(4));
    const links = asks().map(({ value }) => (value.hello ?? value).link);
    expect(new Set(links).size).toBe(1);
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
    expect(seen.errors).toEqual([]);
  });

  test('E14 a black hole is noticed, and what was missed comes', async () => {
    const { client, proxy, publish, seen } = await stage(
      { heartbeat: { interval: 300, timeout: 200 } },
      // A dial that the hole has swallowed is given up soon.
      { reconnect: { initialDelay: 1, maxDelay: 5, connectTimeout: 500 } },
    );
    await client.connect();
    await client.room('r').join();
    proxy.set({ blackHole: 'both' });
    await eventually(() => expect(client.state.status).toBe('reconnecting'));
    expect(client.state.error).toMatchObject({ code: 'HEARTBEAT_TIMEOUT' });
    await publish(range(1, 10));
    proxy.heal({ release: false });
    await eventually(() => expect(seen.payloads).toEqual(range(1, 10)));
  });
});

function byNumber(one: unknown, other: unknown): number {
  return Number(one) - Number(other);
}
