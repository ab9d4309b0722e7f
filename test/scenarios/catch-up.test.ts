/** The big catch-up: 1,000 rooms and 20,000 missed events over a real WebSocket and a real hub. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Client, createClient } from 'holdfast';
import { createHub, type Hub, type ServerWire, type ServerWireEvents } from 'holdfast/server';
import { faultProxy } from 'holdfast/testing/node';
import { webSocket } from 'holdfast/websocket';
import { afterEach, expect, test, vi } from 'vitest';

const ROOMS = 1_000;
const EACH = 20;
const MISSED = ROOMS * EACH;
/** 12 MB of events in all: more than the buffers of the kernel take. */
const text = 'x'.repeat(450);
const BUFFERED = 262_144;
/** No frame of the hub is larger. */
const FRAME = 1_024;
const MB = 1_048_576;

const names = Array.from({ length: ROOMS }, (_, n) => `conversation:${n}`);

// For machines that are busy with other tests.
vi.setConfig({ testTimeout: 30_000 });

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** What this process holds on to: both sides of the connection. A first collection leaves much behind. */
function held(): number {
  for (let round = 0; round < 3; round++) collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** What the hub's end of the wires has seen, in the order of one count with the client's end. */
class Watch {
  hellos = 0;
  mostBuffered = 0;
  /** The moments at which each room's first event was written. */
  readonly begun = new Map<string, number>();
  /** The moment of the first verdict at the client. */
  firstVerdict: number | undefined;
  #moment = 0;

  now(): number {
    return ++this.#moment;
  }

  restart(): void {
    this.hellos = 0;
    this.mostBuffered = 0;
    this.begun.clear();
    this.firstVerdict = undefined;
  }

  /** A hub's `accept`, listened in on. */
  accept(accept: Hub['accept']): Hub['accept'] {
    return (wire) => {
      const events = accept(this.#watched(wire));
      const heard: ServerWireEvents = {
        received: (frame) => {
          if (String(frame).startsWith('{"kind":"hello"')) this.hellos++;
          events.received(frame);
        },
        progressed: () => events.progressed?.(),
        drained: () => events.drained(),
        closed: () => events.closed(),
      };
      return heard;
    };
  }

  #watched(wire: ServerWire): ServerWire {
    return new Proxy(wire, {
      get: (target, key) => {
        if (key === 'send') return (texts: readonly string[]) => this.#send(target, texts);
        const value: unknown = Reflect.get(target, key);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  #send(wire: ServerWire, texts: readonly string[]): void {
    wire.send(texts);
    this.mostBuffered = Math.max(this.mostBuffered, wire.bufferedAmount);
    for (const one of texts) {
      if (!one.startsWith('{"kind":"event"')) continue;
      const { room } = JSON.parse(one) as { room: string };
      if (!this.begun.has(room)) this.begun.set(room, this.now());
    }
  }
}

/** A client that was in every room, and has missed 20 events in each. */
async function away(heartbeat = {}) {
  const watch = new Watch();
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const hub = createHub({
    limits: { bufferedBytes: BUFFERED },
    heartbeat,
  });
  Object.assign(hub, { accept: watch.accept(hub.accept) });
  hub.attachWebSocket(server);
  const { port } = server.address() as AddressInfo;
  const proxy = await faultProxy({ target: { port } });
  const url = `ws://127.0.0.1:${proxy.port}/realtime`;
  const client = createClient({
    transport: webSocket(url),
    reconnect: { initialDelay: 20, maxDelay: 20 },
    onGap: (gap) => void gaps.push(gap.room),
  });
  const gaps: string[] = [];
  cleanups.push(async () => {
    client.close();
    await proxy.close();
    await hub.close();
    server.close();
  });
  client.onTrace(({ fact }) => {
    if (fact.fact === 'received' && fact.frame.kind === 'room') watch.firstVerdict ??= watch.now();
  });
  await client.connect();
  await Promise.all(names.map((name) => client.room(name).join()));
  client.disconnect();
  await expect.poll(() => hub.metrics().connections, { timeout: 15_000 }).toBe(0);
  for (let n = 1; n <= EACH; n++) {
    await Promise.all(names.map((name) => hub.publish(name, 'message:received', { n, text })));
  }
  watch.restart();
  return { client, hub, proxy, watch, gaps };
}

/** Collects what comes, room by room; resolves when all that was missed is there. */
function collecting(client: Client, each: (count: number) => void = () => {}) {
  const got = new Map<string, number[]>(names.map((name) => [name, []]));
  let count = 0;
  const all = new Promise<void>((done) => {
    client.onAny((_type, payload, { room = '' }) => {
      got.get(room)?.push((payload as { n: number }).n);
      each(++count);
      if (count === MISSED) done();
    });
  });
  return { got, all };
}

/** Each event once, in order, in every room; and no more. */
async function expectEverythingOnce(
  { client, hub, gaps }: Awaited<ReturnType<typeof away>>,
  { got }: ReturnType<typeof collecting>,
): Promise<void> {
  await expect.poll(() => client.state.synced, { timeout: 15_000 }).toBe(true);
  const expected = Array.from({ length: EACH }, (_, index) => index + 1);
  const wrong = [...got].filter(([, numbers]) => String(numbers) !== String(expected));
  expect(wrong).toEqual([]);
  expect(gaps).toEqual([]);
  // Live from here on.
  await hub.publish('conversation:7', 'message:received', { n: EACH + 1, text: '' });
  await expect
    .poll(() => got.get('conversation:7'), { timeout: 15_000 })
    .toEqual([...expected, EACH + 1]);
}

test('comes with one hello, each event once, and verdicts before the last replay has begun', {
  timeout: 30_000,
}, async () => {
  const scene = await away();
  const { client, watch } = scene;
  const before = held();
  let most = 0;
  const collected = collecting(client, (count) => {
    if (count % 7_000 === 0) most = Math.max(most, held());
  });
  await client.connect();
  await collected.all;
  expect(watch.hellos).toBe(1);
  expect(watch.firstVerdict).toBeLessThan(Math.max(...watch.begun.values()));
  expect(watch.begun.size).toBe(ROOMS);
  expect(watch.mostBuffered).toBeLessThanOrEqual(BUFFERED + FRAME);
  // The events alone are 12 MB.
  expect(most - before).toBeLessThan(6 * MB);
  await expectEverythingOnce(scene, collected);
});

test('comes over a slow link, within the buffer of the server, and the link stays', {
  timeout: 30_000,
}, async () => {
  const scene = await away();
  const { client, hub, proxy, watch } = scene;
  const collected = collecting(client);
  proxy.set({ bandwidth: MB / 2 });
  await client.connect();
  // Slow enough to fill what the kernel takes, and then what the server may hold.
  await expect.poll(() => watch.mostBuffered, { timeout: 20_000 }).toBeGreaterThan(BUFFERED / 2);
  proxy.set({ bandwidth: 8 * MB });
  await collected.all;
  expect(watch.hellos).toBe(1);
  expect(hub.metrics().timedOut).toBe(0);
  expect(watch.firstVerdict).toBeLessThan(Math.max(...watch.begun.values()));
  expect(watch.mostBuffered).toBeLessThanOrEqual(BUFFERED + FRAME);
  await expectEverythingOnce(scene, collected);
});

test('goes on from where it was when the link falls silent in the middle', {
  timeout: 30_000,
}, async () => {
  const scene = await away({ interval: 1_000, timeout: 500 });
  const { client, proxy, watch } = scene;
  const collected = collecting(client, (count) => {
    if (count === 4_000 || count === 11_000) proxy.set({ blackHole: 'both' });
  });
  let losses = 0;
  const end = client.onState(({ status }) => {
    if (status !== 'reconnecting') return;
    losses++;
    proxy.heal({ release: false });
  });
  await client.connect();
  await collected.all;
  end();
  // Once or twice: what the kernel had taken already may reach from the one silence to the next.
  expect(losses).toBeGreaterThan(0);
  expect(watch.hellos).toBeLessThan(client.metrics().attempts);
  expect(watch.mostBuffered).toBeLessThanOrEqual(BUFFERED + FRAME);
  await expectEverythingOnce(scene, collected);
});
