/** Flow control over real sockets: a peer that stops reading, a peer that sends too much, too many peers. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type ClientOptions,
  type Contract,
  createClient,
  type Link,
  type LinkEvents,
  type Transport,
} from 'holdfast';
import { createHub, type HubOptions, memoryJournal, type ServerWire } from 'holdfast/server';
import { recorder } from 'holdfast/testing';
import { faultProxy } from 'holdfast/testing/node';
import { webSocket } from 'holdfast/websocket';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import type { ClientFrame } from '../../src/protocol/frame.js';
import { hubHarness } from './hub.js';
import { type RealServer, realServer, say } from './real-server.js';

// For machines that are busy with other tests.
vi.setConfig({ testTimeout: 30_000 });

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function numbers(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1);
}

const patient = { timeout: 15_000 };

/** Twice what a kernel takes of a connection that nobody reads, about. */
const TOO_MUCH = 24_000_000;

describe('a server that stops reading', () => {
  /** Where the client stops writing, in bytes of the link's buffer. */
  const HIGH_WATER = 65_536;
  const FRAME = 200_000;
  const fast = { messagesPerSecond: 100_000 };

  /** The WebSocket transport, whose links tell how much they ever held. */
  function gauged(url: string) {
    const inner = webSocket(url);
    const gauge = { most: 0, buffered: () => link?.bufferedAmount ?? 0 };
    let link: Link | undefined;
    const transport: Transport = {
      ...inner,
      dial(hello, on: LinkEvents) {
        const dialed = inner.dial(hello, on);
        link = dialed;
        return {
          close: (code, reason) => dialed.close(code, reason),
          get bufferedAmount() {
            return dialed.bufferedAmount;
          },
          send(frames) {
            dialed.send(frames);
            gauge.most = Math.max(gauge.most, dialed.bufferedAmount);
          },
        };
      },
    };
    return { gauge, transport };
  }

  async function deaf(): Promise<RealServer> {
    const server = await realServer((frame, socket) => {
      if (frame.kind === 'request') {
        const { requestId } = frame;
        say(socket, { kind: 'response', requestId, success: true, data: payloadOf(frame) });
      } else if (frame.kind === 'hello') {
        say(socket, { kind: 'welcome', connectionId: 'c', session: 's', terms: fast });
        socket.pause();
      }
    });
    cleanups.push(server.close);
    return server;
  }

  const payloadOf = (frame: ClientFrame) =>
    'payload' in frame ? (frame.payload as { n: number }).n : 0;

  test('E37 a peer that stops reading is not written to beyond 64 KiB; all of it goes, in order, once it reads', {
    timeout: 30_000,
  }, async () => {
    const server = await deaf();
    const { gauge, transport } = gauged(server.url);
    const client = createClient({
      transport,
      limits: fast,
      outbox: { maxBytes: 2 * TOO_MUCH, maxInFlight: 1_000 },
    });
    cleanups.push(() => client.close());
    await client.connect();

    const padding = 'x'.repeat(FRAME);
    const count = TOO_MUCH / FRAME;
    const answered: number[] = [];
    for (const n of numbers(count)) {
      client.request('thing:do', { n, padding }).then(
        (data) => answered.push(Number(data)),
        () => answered.push(-n),
      );
      // Messages stand in the same line.
      if (n % 10 === 0) client.send('thing:note', { n });
    }
    let isDrained = false;
    const drained = client.drained().then(() => {
      isDrained = true;
    });
    await expect.poll(gauge.buffered, patient).toBeGreaterThan(HIGH_WATER);
    const sent = () => client.pending().filter(({ state }) => state === 'sent').length;
    const before = sent();
    expect(before).toBeGreaterThan(0);
    expect(before).toBeLessThan(count);
    // As long as it takes for other traffic to go round: nothing more is written meanwhile.
    const other = await realServer();
    cleanups.push(other.close);
    const beside = createClient({ transport: webSocket(other.url) });
    cleanups.push(() => beside.close());
    void beside.connect();
    for (const n of numbers(20)) await beside.request('thing:do', n);
    expect(sent()).toBe(before);
    expect(isDrained).toBe(false);
    expect(client.state.status).toBe('connected');

    for (const socket of server.sockets) socket.resume();
    await drained;
    await expect.poll(() => answered.length, patient).toBe(count);
    expect(answered).toEqual(numbers(count));
    expect(gauge.most).toBeLessThanOrEqual(HIGH_WATER + FRAME + 1_000);
    const heard = () =>
      server.frames
        .filter(({ kind }) => kind === 'request' || kind === 'message')
        .map((frame) => payloadOf(frame));
    const expected = numbers(count).flatMap((n) => (n % 10 === 0 ? [n, n] : [n]));
    await expect.poll(() => heard().length, patient).toBe(expected.length);
    expect(heard()).toEqual(expected);
    expect(client.metrics().attempts).toBe(1);
  });
});

interface Serving {
  readonly limits?: HubOptions['limits'];
  readonly options?: Partial<HubOptions>;
}

/** A hub on a real server, and the most that any of its wires ever held. */
async function serving({ limits, options }: Serving = {}) {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const hub = createHub({
    journal: memoryJournal({ maxBytes: 4 * TOO_MUCH, maxEvents: 100_000 }),
    onError() {},
    ...options,
    limits,
  });
  const gauge = { most: 0, wires: [] as ServerWire[] };
  const { accept } = hub;
  Object.assign(hub, {
    accept: (wire: ServerWire) => {
      const send = wire.send.bind(wire);
      gauge.wires.push(wire);
      return accept(
        Object.assign(wire, {
          send(texts: readonly string[]) {
            send(texts);
            gauge.most = Math.max(gauge.most, wire.bufferedAmount);
          },
        }),
      );
    },
  });
  hub.attachWebSocket(server);
  const { port } = server.address() as AddressInfo;
  cleanups.push(async () => {
    await hub.close();
    server.closeAllConnections();
    server.close();
  });
  return { hub, gauge, port, url: `ws://127.0.0.1:${port}/realtime` };
}

const quick: Partial<ClientOptions<Contract>> = {
  reconnect: { initialDelay: 10, maxDelay: 10 },
};

describe('a client that stops reading', () => {
  const BUFFERED = 65_536;
  const FRAME = 50_000;
  const padding = 'x'.repeat(FRAME);
  const count = TOO_MUCH / FRAME;

  /** A client behind a proxy, in a room; what it hears. */
  async function listening(limits: HubOptions['limits']) {
    const served = await serving({ limits: { bufferedBytes: BUFFERED, ...limits } });
    const proxy = await faultProxy({ target: { port: served.port } });
    cleanups.push(proxy.close);
    const transport = webSocket(`ws://127.0.0.1:${proxy.port}/realtime`);
    const client = createClient({ transport, heartbeat: false, ...quick });
    cleanups.push(() => client.close());
    const heard: number[] = [];
    client.onAny((_type, payload) => heard.push((payload as { n: number }).n));
    const seen = recorder(client);
    await client.connect();
    await client.room('a').join();
    return { ...served, proxy, client, heard, seen };
  }

  test('E37 a peer that stops reading is served from the journal, in order, once it reads', {
    timeout: 30_000,
  }, async () => {
    const { hub, gauge, proxy, client, heard } = await listening({});
    proxy.set({ bandwidth: 0 });
    for (const n of numbers(count)) await hub.publish('a', 'x:y', { n, padding });
    expect(hub.metrics().eventsDelivered).toBeLessThan(count);
    await expect
      .poll(() => gauge.wires[0]?.bufferedAmount, patient)
      .toBeGreaterThanOrEqual(BUFFERED);

    proxy.heal();
    await expect.poll(() => heard.length, patient).toBe(count);
    expect(heard).toEqual(numbers(count));
    expect(gauge.most).toBeLessThanOrEqual(BUFFERED + FRAME + 1_000);
    // On the same link all the while.
    expect(client.metrics().attempts).toBe(1);
    await hub.publish('a', 'x:y', { n: count + 1 });
    await expect.poll(() => heard.at(-1), patient).toBe(count + 1);
  });

  test('E37 a peer that stops reading for too long is closed with 1013, comes back and goes on', {
    timeout: 30_000,
  }, async () => {
    const { hub, gauge, proxy, client, heard, seen } = await listening({ stalledTimeout: 300 });
    proxy.set({ bandwidth: 0 });
    for (const n of numbers(count)) await hub.publish('a', 'x:y', { n, padding });
    await expect.poll(() => hub.metrics().stalled, patient).toBe(1);
    expect(hub.metrics().connections).toBe(0);

    proxy.heal();
    await expect.poll(() => heard.length, patient).toBe(count);
    expect(heard).toEqual(numbers(count));
    expect(gauge.most).toBeLessThanOrEqual(BUFFERED + FRAME + 1_000);
    expect(client.metrics().attempts).toBe(2);
    const [fault] = seen.states.flatMap(({ error }) => (error === null ? [] : [error]));
    expect(fault).toMatchObject({ code: 'RATE_LIMITED', details: { closeCode: 1013 } });
    expect(fault?.message).toContain('Nothing was read for 300 ms');
    expect(seen.errors).toEqual([]);
  });
});

describe('a client that sends too much', () => {
  /** A bare socket that follows no terms. */
  async function rude(url: string, options: { origin?: string; token?: string } = {}) {
    const { origin, token } = options;
    const socket = new WebSocket(url, ['holdfast.1'], origin === undefined ? {} : { origin });
    cleanups.push(() => socket.terminate());
    const frames: Record<string, unknown>[] = [];
    socket.on('message', (text) => frames.push(JSON.parse(String(text))));
    const closed = once(socket, 'close').then(([code, reason]) => [code, String(reason)]);
    await once(socket, 'open');
    const hello = { kind: 'hello', protocol: 1, clientId: 'rude', link: 1, rooms: [] };
    socket.send(JSON.stringify(token === undefined ? hello : { ...hello, auth: { token } }));
    return { socket, frames, closed };
  }

  test('is told to come again, and when; one that never stops is closed with 4429', async () => {
    const ran: string[] = [];
    const { url } = await serving({
      limits: { messagesPerSecond: 50 },
      options: { handlers: { 'thing:do': (_payload, { requestId }) => void ran.push(requestId) } },
    });
    const { socket, frames, closed } = await rude(url);
    const ask = (n: number) =>
      socket.send(
        JSON.stringify({ kind: 'request', requestId: `r${n}`, type: 'thing:do', timestamp: 1 }),
      );
    await expect.poll(() => frames[0]?.kind, patient).toBe('welcome');
    for (const n of numbers(200)) ask(n);
    const responses = () => frames.filter(({ kind }) => kind === 'response');
    await expect.poll(() => responses().length, patient).toBe(200);
    const refused = responses().filter(({ success }) => success === false);
    // Two seconds' worth may come at once; `hello` counts as well.
    expect(ran.length).toBeGreaterThanOrEqual(99);
    expect(ran.length).toBeLessThan(130);
    expect(refused).toHaveLength(200 - ran.length);
    const { error } = refused[0] as { error: { retryAfter: number } };
    expect(error).toMatchObject({ code: 'RATE_LIMITED', retryable: true });
    expect(error.retryAfter).toBeGreaterThan(0);
    for (let n = 201; n < 2_000; n++) ask(n);
    expect(await closed).toEqual([4429, 'Far too many frames, for too long.']);
  });

  test('has its frame above the limit closed with 1009, and is served again', async () => {
    const { hub, url } = await serving({ limits: { maxMessageSize: 10_000 } });
    const { socket, closed } = await rude(url);
    socket.send(JSON.stringify({ kind: 'message', type: 'a:b', payload: 'x'.repeat(10_001) }));
    expect((await closed)[0]).toBe(1009);
    const { frames } = await rude(url);
    await expect.poll(() => frames[0]?.kind, patient).toBe('welcome');
    expect(hub.metrics().connections).toBe(1);
  });

  test('and is one of ours does not: it keeps the rate of the server, first in, first out', async () => {
    const got: number[] = [];
    const at: number[] = [];
    const { hub, client, clock, connected } = hubHarness({
      hub: {
        handlers: {
          'thing:do': (n) => {
            got.push(Number(n));
            at.push(clock.now());
          },
        },
      },
    });
    await connected();
    const from = clock.now();
    const all = Promise.all(numbers(1_000).map((n) => client.request('thing:do', n)));
    await clock.advance(20_000);
    await all;
    expect(got).toEqual(numbers(1_000));
    for (let second = 1; second <= 8; second++) {
      const inTime = at.filter((one) => one <= from + 20 + second * 1_000).length;
      // A second's worth at once, then 100 a second.
      expect(inTime).toBeLessThanOrEqual(100 + second * 100);
      expect(inTime).toBeGreaterThanOrEqual(90 + second * 100);
    }
    expect(hub.metrics()).toMatchObject({ rateLimited: 0, requestsRun: 1_000 });
  });

  test('from a foreign origin is closed with 4403', async () => {
    const { hub, url } = await serving({ limits: { origins: ['https://app.example.com'] } });
    const foreign = await rude(url, { origin: 'https://evil.example.com' });
    expect((await foreign.closed)[0]).toBe(4403);
    const own = await rude(url, { origin: 'https://app.example.com' });
    await expect.poll(() => own.frames[0]?.kind, patient).toBe('welcome');
    expect(hub.metrics().connections).toBe(1);
  });
});

describe('limits of a user', () => {
  test('one client too many is told so and closes; the others stay, and may reconnect', async () => {
    const { hub, url } = await serving({
      limits: { connectionsPerUser: 2 },
      options: { authenticate: ({ auth }) => ({ user: (auth as { token: string }).token }) },
    });
    const join = (token: string) => {
      const client = createClient({ transport: webSocket(url), auth: () => ({ token }), ...quick });
      cleanups.push(() => client.close());
      const seen = recorder(client);
      const connected = client.connect();
      connected.catch(() => {});
      return { client, seen, connected };
    };
    const first = join('ada');
    const second = join('ada');
    await Promise.all([first.connected, second.connected]);
    const third = join('ada');
    await expect(third.connected).rejects.toMatchObject({ code: 'TOO_MANY_CONNECTIONS' });
    expect(third.client.state.status).toBe('closed');
    // Somebody else has a limit of their own, and a reconnect counts once.
    await join('bob').connected;
    first.client.reconnect();
    await first.seen.until(() => first.client.metrics().connects === 2);
    expect(first.client.state.status).toBe('connected');
    expect(second.client.metrics()).toMatchObject({ attempts: 1 });
    expect(hub.metrics().refused).toEqual({ TOO_MANY_CONNECTIONS: 1 });
    // Where one leaves there is room again.
    second.client.close();
    await expect.poll(() => hub.metrics().connections, patient).toBe(2);
    await third.client.connect();
  });
});
