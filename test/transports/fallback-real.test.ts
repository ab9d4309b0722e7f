/**
 * A fallback from WebSocket to SSE, over real sockets: blocked in three ways, unblocked, and restarted,
 * with traffic all the while. The tests run side by side: most of their time is that of the wires.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, createClient } from 'holdfast';
import { createHub, type Hub, memoryJournal } from 'holdfast/server';
import { faultProxy } from 'holdfast/testing/node';
import { webSocket } from 'holdfast/websocket';
import { describe, expect, test, vi } from 'vitest';
import { fallback } from '../../src/transports/fallback.js';
import { sse } from '../../src/transports/sse.js';

const PROBE = 2_000;
/** A link has proven its wire by then. */
const HELD = 5_200;

const eventually = (check: () => void, timeout = 15_000) =>
  vi.waitFor(check, { interval: 10, timeout });

async function site() {
  const journal = memoryJournal();
  const runs: string[] = [];
  let server: Server;
  let hub: Hub;
  let streams = 0;

  async function serve(port: number): Promise<number> {
    hub = createHub({
      journal,
      onError() {},
      handlers: {
        'count:add': async (_, { requestId }) => {
          runs.push(requestId);
          await pause(2);
          return requestId;
        },
      },
    });
    server = createServer((request, response) => {
      if (request.headers.accept === 'text/event-stream') streams++;
      hub.handleHttp(request, response);
    });
    hub.attachWebSocket(server);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  async function stop(): Promise<void> {
    const closed = hub.close();
    server.closeAllConnections();
    await Promise.all([closed, new Promise((done) => server.close(done))]);
  }

  const port = await serve(0);
  const proxy = await faultProxy({ target: { port } });
  const client: Client = createClient({
    transport: fallback(
      [
        webSocket(`ws://127.0.0.1:${proxy.port}/realtime`),
        sse(`http://127.0.0.1:${port}/realtime`),
      ],
      { probeInterval: PROBE, store: false },
    ),
  });
  const statuses: string[] = [];
  const transports: string[] = [];
  client.onState(({ status, transport }) => {
    if (statuses.at(-1) !== status) statuses.push(status);
    if (transport !== null && transports.at(-1) !== transport) transports.push(transport);
  });
  client.onError(() => {});
  const heard: unknown[] = [];
  client.on('feed:ticked', (payload) => heard.push(payload));

  let published = 0;
  let asked = 0;
  const answers: Promise<unknown>[] = [];
  const traffic = setInterval(() => {
    const number = ++published;
    hub.publish('room', 'feed:ticked', number).catch(() => {});
    if (number % 2 === 0) return;
    const requestId = `r-${++asked}`;
    answers.push(client.request('count:add', null, { requestId }));
  }, 20);

  return {
    client,
    proxy,
    statuses,
    transports,
    streams: () => streams,
    async restart(after: number) {
      clearInterval(traffic);
      await stop();
      await pause(after);
      await serve(port);
    },
    /** Every event came once and in order, every request ran once and was answered. */
    async expectAll() {
      clearInterval(traffic);
      await eventually(() => expect(heard.at(-1)).toBe(published));
      const first = Number(heard[0]);
      expect(first).toBeLessThan(50);
      expect(heard).toEqual(Array.from(heard, (_, index) => first + index));
      const ids = Array.from({ length: asked }, (_, index) => `r-${index + 1}`);
      expect(await Promise.all(answers)).toEqual(ids);
      expect(runs.toSorted()).toEqual(ids.toSorted());
    },
    async close() {
      clearInterval(traffic);
      client.close();
      await Promise.allSettled(answers);
      await proxy.close();
      await stop();
    },
  };
}

type Site = Awaited<ReturnType<typeof site>>;

async function visiting(visit: (one: Site) => Promise<void>): Promise<void> {
  const one = await site();
  try {
    await visit(one);
  } finally {
    await one.close();
  }
}

async function syncedOver(client: Client, transport: string): Promise<number> {
  const from = performance.now();
  await eventually(() => expect(client.state).toMatchObject({ transport, synced: true }));
  return performance.now() - from;
}

const blocks = [
  ['refused', { accept: 'refuse' }],
  ['accepted and silent', { accept: 'silent' }],
  ['killed after 300 ms', { killAfter: 300 }],
] as const;

describe.concurrent('WebSocket is blocked', { timeout: 40_000 }, () => {
  test.each(blocks)('E47 from the start, %s: synced over SSE in under 10 s', (_, fault) =>
    visiting(async ({ client, expectAll, proxy }) => {
      proxy.set(fault);
      void client.connect();
      void client.room('room').join();
      expect(await syncedOver(client, 'sse')).toBeLessThan(10_000);
      expect(client.state.status).toBe('connected');
      void expectAll;
    }),
  );

  test.each(blocks)(
    'E47 in the middle of the traffic, %s: over SSE in under 10 s, and back within a probe interval',
    (_, fault) =>
      visiting(async ({ client, expectAll, proxy, statuses, transports }) => {
        await client.connect();
        await client.room('room').join();
        await pause(HELD);
        expect(transports).toEqual(['websocket']);
        proxy.set(fault);
        proxy.reset();
        expect(await syncedOver(client, 'sse')).toBeLessThan(10_000);

        proxy.heal();
        const before = statuses.length;
        // The margin is for a machine that is busy with other tests.
        expect(await syncedOver(client, 'websocket')).toBeLessThan(PROBE + 500);
        await pause(500);
        expect(statuses.slice(before)).toEqual([]);
        expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
        await expectAll();
      }),
  );

  test.each([
    ['proven', HELD],
    ['fresh', 300],
  ])('E47 not so where the server restarts: no downgrade of a %s wire', (_, age) =>
    visiting(async ({ client, proxy, restart, streams, transports }) => {
      await client.connect();
      await pause(age);
      proxy.reset();
      await restart(2_000);
      await eventually(() => expect(client.state.status).toBe('connected'));
      expect(client.state.transport).toBe('websocket');
      expect(transports).toEqual(['websocket']);
      expect(streams()).toBe(0);
    }),
  );
});
