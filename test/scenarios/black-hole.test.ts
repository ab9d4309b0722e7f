/** Real silence on real sockets: noticed in time, and nothing lost by it. */
import { type FaultProxy, faultProxy } from 'holdfast/testing/node';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Member, member, ROOM, realHub } from './real-hub.js';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** The server's terms, in ms: they win over a client's own. */
const heartbeat = { interval: 600, timeout: 300 };

/** Milliseconds that a busy machine may be late with a timer, beside the tenth that is promised. */
const LATENESS = 150;

/** Milliseconds from noticing to being connected again, on a path that is well. */
const RECOVERY = 2_000;

/** A client behind a proxy of its own, and when it changed. */
interface Walker extends Member {
  readonly proxy: FaultProxy;
  readonly changes: { status: string; at: number; error: string | undefined }[];
}

async function walker(name: string, port: number): Promise<Walker> {
  const proxy = await faultProxy({ target: { port } });
  cleanups.push(proxy.close);
  const one = { ...(await member(name, proxy.port)), proxy, changes: [] as Walker['changes'] };
  cleanups.push(() => one.client.close());
  one.client.onState(({ status, error }) => {
    if (one.changes.at(-1)?.status === status) return;
    one.changes.push({ status, at: performance.now(), error: error?.code });
    // From here on the path is well again, for whoever dials anew.
    if (status === 'reconnecting') proxy.heal({ release: false });
  });
  return one;
}

const holes: readonly (readonly [string, (proxy: FaultProxy) => void])[] = [
  ['both ways', (proxy) => proxy.set({ blackHole: 'both' })],
  ['upwards', (proxy) => proxy.set({ blackHole: 'up' })],
  ['downwards', (proxy) => proxy.set({ blackHole: 'down' })],
  ['of one connection', (proxy) => proxy.lose()],
];

describe('a black hole', () => {
  test.each(holes)(
    'E14 %s is noticed within interval + timeout, and left within 2 s',
    async (_, dig) => {
      const hub = await realHub({ heartbeat });
      cleanups.push(hub.close);
      const names = Array.from({ length: 20 }, (_, index) => `client-${index + 1}`);
      const walkers = await Promise.all(names.map((name) => walker(name, hub.port)));
      // Whoever has just connected hears more than a quiet link does.
      await vi.waitFor(() => expect(walkers.every(({ client }) => client.state.synced)).toBe(true));

      const dugAt = performance.now();
      for (const { proxy } of walkers) dig(proxy);
      for (const number of [1, 2, 3]) await hub.hub.publish(ROOM, 'feed:ticked', { number });
      await vi.waitFor(
        () => {
          for (const { changes } of walkers) {
            expect(changes.map(({ status }) => status)).toEqual([
              'connected',
              'reconnecting',
              'connected',
            ]);
          }
        },
        { interval: 20, timeout: 6_000 },
      );

      const promised = (heartbeat.interval + heartbeat.timeout) * 1.1 + LATENESS;
      for (const { changes } of walkers) {
        const [, noticed, back] = changes;
        // Where its own words still arrive, the server may be the first to give up, and say so.
        expect(['HEARTBEAT_TIMEOUT', 'CONNECTION_FAILED']).toContain(noticed?.error);
        // Not before the server's patience, either: a ping that is under way is no death.
        expect((noticed?.at ?? 0) - dugAt).toBeGreaterThan(heartbeat.timeout);
        expect((noticed?.at ?? 0) - dugAt).toBeLessThanOrEqual(promised);
        expect((back?.at ?? 0) - (noticed?.at ?? 0)).toBeLessThanOrEqual(RECOVERY);
      }
      await vi.waitFor(() => {
        for (const { numbers } of walkers) expect(numbers).toEqual([1, 2, 3]);
      });
    },
    15_000,
  );
});
