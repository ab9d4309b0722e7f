/** `plain()` over real sockets, with a server that has never heard of holdfast. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ClientOptions, type Contract, createClient } from 'holdfast';
import { recorder } from 'holdfast/testing';
import { faultProxy } from 'holdfast/testing/node';
import { type WebSocketOptions, webSocket } from 'holdfast/websocket';
import { afterEach, describe, expect, test } from 'vitest';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import { type PlainOptions, plain } from '../../src/client/plain.js';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Foreign {
  readonly url: string;
  readonly port: number;
  readonly handshakes: IncomingMessage[];
  /** Every message, JSON parsed where it is JSON. */
  readonly heard: unknown[];
  /** Open connections, oldest first. */
  readonly sockets: WebSocket[];
}

type Answer = (message: Record<string, unknown>, socket: WebSocket) => void;

/** Messages are JSON, but for bytes. */
async function foreign(answer: Answer = () => {}, options: ServerOptions = {}): Promise<Foreign> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const handshakes: IncomingMessage[] = [];
  const heard: unknown[] = [];
  server.on('connection', (socket, request) => {
    handshakes.push(request);
    socket.on('error', () => {});
    socket.on('message', (data: Buffer, isBinary) => {
      const message: unknown = isBinary ? new Uint8Array(data) : JSON.parse(String(data));
      heard.push(message);
      if (!isBinary) answer(message as Record<string, unknown>, socket);
    });
  });
  cleanups.push(() => {
    for (const socket of server.clients) socket.terminate();
    return new Promise<void>((done) => server.close(() => done()));
  });
  return {
    url: `ws://127.0.0.1:${port}`,
    port,
    handshakes,
    heard,
    get sockets() {
      return [...server.clients];
    },
  };
}

function dialing(
  url: string,
  protocol: PlainOptions,
  { wire, ...options }: Partial<ClientOptions<Contract>> & { wire?: WebSocketOptions } = {},
) {
  const client = createClient({
    transport: webSocket(url, wire),
    protocol: plain({
      decode: (data) => JSON.parse(String(data)),
      encode: (frame) => JSON.stringify(frame),
      ...protocol,
    }),
    reconnect: { initialDelay: 1, maxDelay: 1 },
    environment: { report() {} },
    ...options,
  });
  cleanups.push(() => client.close());
  const seen = recorder(client);
  client.connect().catch(() => {});
  return { client, seen };
}

const eventually = (check: () => unknown) => expect.poll(check, { interval: 5, timeout: 4_000 });

const say = (socket: WebSocket | undefined, message: unknown) =>
  socket?.send(JSON.stringify(message));

describe('over a real socket', () => {
  test('a feed goes on over cuts, each event once, though the server repeats itself', async () => {
    const server = await foreign();
    const proxy = await faultProxy({ target: { port: server.port } });
    cleanups.push(() => proxy.close());
    const { seen } = dialing(`ws://127.0.0.1:${proxy.port}`, {});
    for (let round = 0; round < 5; round++) {
      await eventually(() => server.handshakes.length).toBe(round + 1);
      // The last three of before, and two new ones.
      for (let n = Math.max(0, round * 2 - 3); n < round * 2 + 2; n++) {
        say(server.sockets.at(-1), { type: 'tick:came', payload: n, eventId: n });
      }
      await eventually(() => seen.payloads.length).toBe(round * 2 + 2);
      for (const connection of proxy.connections) connection.reset();
    }
    expect(seen.payloads).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test('requests are answered by their ids in any order, with errors of the server’s own', async () => {
    const waiting: (() => void)[] = [];
    const server = await foreign(({ requestId, payload }, socket) => {
      waiting.push(() => {
        const error = { code: 'ODD', message: 'Even numbers only.' };
        say(
          socket,
          Number(payload) % 2 === 0 ? { requestId, data: payload } : { requestId, error },
        );
      });
      if (waiting.length === 4) for (const answer of waiting.reverse()) answer();
    });
    const { client } = dialing(server.url, {});
    const asked = [0, 1, 2, 3].map((n) => client.request('number:take', n));
    expect(await Promise.allSettled(asked)).toMatchObject([
      { value: 0 },
      { reason: { code: 'ODD', category: 'application', retryable: false } },
      { value: 2 },
      { reason: { code: 'ODD' } },
    ]);
  });

  test('an error that promises that nothing happened is tried once more', async () => {
    let asks = 0;
    const server = await foreign(({ requestId }, socket) => {
      const error = { code: 'BUSY', message: 'Later.', retryable: true };
      say(socket, asks++ === 0 ? { requestId, error } : { requestId, data: 'done' });
    });
    const { client } = dialing(server.url, {});
    expect(await client.request('a:b', 1)).toBe('done');
    expect(asks).toBe(2);
  });

  test('bytes go both ways as they are', async () => {
    const server = await foreign();
    const { client, seen } = dialing(server.url, {
      decode: (data) => ({ type: 'bytes:came', payload: data }),
      encode: (frame) => (frame.kind === 'message' ? new Uint8Array([1, 2, 255]) : null),
    });
    await eventually(() => server.sockets.length).toBe(1);
    server.sockets[0]?.send(Buffer.from([9, 8, 0]));
    server.sockets[0]?.send('text');
    client.send('bytes:go', null);
    await eventually(() => [seen.payloads.length, server.heard.length]).toEqual([2, 1]);
    expect(seen.payloads).toEqual([new Uint8Array([9, 8, 0]), 'text']);
    expect(server.heard).toEqual([new Uint8Array([1, 2, 255])]);
  });

  test('its subprotocols are offered in place of ours, and the server’s choice is taken', async () => {
    const server = await foreign(() => {}, {
      handleProtocols: (offered) => [...offered].at(-1) ?? false,
    });
    const wire = { protocols: ['extra.v1'], headers: { 'x-key': 'k' } };
    const { client } = dialing(server.url, { subprotocols: ['ticks.v2', 'ticks.v1'] }, { wire });
    await eventually(() => client.state.status).toBe('connected');
    expect(client.state.transport).toBe('websocket');
    expect(server.handshakes[0]?.headers).toMatchObject({
      'sec-websocket-protocol': 'ticks.v2,ticks.v1,extra.v1',
      'x-key': 'k',
    });
  });

  test('a server without subprotocols is offered none', async () => {
    const server = await foreign();
    const { client } = dialing(server.url, {});
    await eventually(() => client.state.status).toBe('connected');
    expect(server.handshakes[0]?.headers['sec-websocket-protocol']).toBeUndefined();
  });

  test('a server that has fallen silent is noticed by ping and pong, and left', async () => {
    const server = await foreign((_, socket) => say(socket, { pong: true }));
    const proxy = await faultProxy({ target: { port: server.port } });
    cleanups.push(() => proxy.close());
    const heartbeat = { interval: 60, timeout: 60 };
    const { client, seen } = dialing(
      `ws://127.0.0.1:${proxy.port}`,
      { ping: () => '{"op":"ping"}' },
      { heartbeat },
    );
    await eventually(() => server.heard.length).toBeGreaterThan(3);
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
    proxy.set({ blackHole: 'both' });
    await eventually(() => seen.states.map(({ error }) => error?.code)).toContain(
      'HEARTBEAT_TIMEOUT',
    );
    proxy.heal();
    await eventually(() => client.state.status).toBe('connected');
  });

  test('credentials go in the first message, and new ones while the connection goes on', async () => {
    let tokens = 0;
    const server = await foreign((message, socket) => {
      if (message.op === 'login') say(socket, { ready: true, user: 'ada', expiresIn: 100 });
      else say(socket, { kind: 'auth', expiresIn: 60_000 });
    });
    const { client, seen } = dialing(
      server.url,
      {
        ready: true,
        onOpen: ({ send, auth }) => send(JSON.stringify({ op: 'login', auth })),
        encode: (frame) => (frame.kind === 'auth' ? JSON.stringify(frame) : null),
      },
      { auth: () => `token ${++tokens}` },
    );
    await eventually(() => server.heard).toEqual([
      { op: 'login', auth: 'token 1' },
      { kind: 'auth', auth: 'token 2' },
    ]);
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
    client.reconnect();
    await eventually(() => server.heard[2]).toEqual({ op: 'login', auth: 'token 3' });
  });

  test('a server that never says that it is ready is an attempt that fails in time', async () => {
    const server = await foreign();
    const { client } = dialing(
      server.url,
      { ready: true },
      { reconnect: { connectTimeout: 100, initialDelay: 60_000, jitter: 'none' } },
    );
    await eventually(() => client.state.status).toBe('reconnecting');
    expect(client.state.error).toMatchObject({ code: 'CONNECTION_FAILED' });
    await eventually(() => server.sockets.length).toBe(0);
  });

  test('a room that its server replays goes on from the last event', async () => {
    const log = ['1', '2', '3', '4', '5'];
    let known = 2;
    const server = await foreign(({ kind, room, since }, socket) => {
      if (kind !== 'join') return;
      say(socket, { room, joined: true, recovered: since !== undefined });
      const from = since === undefined ? known : log.indexOf(String(since)) + 1;
      for (const eventId of log.slice(from, known)) say(socket, { type: 'a:b', room, eventId });
    });
    const { client, seen } = dialing(server.url, { joined: true });
    await client.room('log').join();
    known = 3;
    say(server.sockets[0], { type: 'a:b', room: 'log', eventId: '3' });
    await eventually(() => seen.events.length).toBe(1);
    known = 5;
    server.sockets[0]?.terminate();
    await eventually(() => seen.events.map(({ event }) => event.eventId)).toEqual(['3', '4', '5']);
    expect(seen.errors).toEqual([]);
  });

  test.each([
    [4408, 'CONNECTION_FAILED'],
    [4409, 'CONNECTION_FAILED'],
    [4500, 'CONNECTION_FAILED'],
    [1013, 'RATE_LIMITED'],
  ])('a close with %d is no word of ours: it reconnects (%s)', async (closeCode, code) => {
    const server = await foreign();
    const { seen } = dialing(server.url, {});
    await eventually(() => server.sockets.length).toBe(1);
    server.sockets[0]?.close(closeCode);
    await eventually(() => server.handshakes.length).toBe(2);
    const faults = seen.states.flatMap(({ error }) => (error === null ? [] : [error]));
    expect(faults[0]).toMatchObject({ code, details: { closeCode } });
  });

  test('a close with 4403 is for good, and 4401 asks for other credentials', async () => {
    const reasons: string[] = [];
    const server = await foreign();
    const auth = ({ reason }: { reason: string }) => {
      reasons.push(reason);
      return reasons.length;
    };
    const { client } = dialing(server.url, {}, { auth });
    await eventually(() => server.sockets.length).toBe(1);
    server.sockets[0]?.close(4401);
    await eventually(() => server.handshakes.length).toBe(2);
    expect(reasons).toEqual(['connect', 'expired']);
    server.sockets.at(-1)?.close(4403);
    await eventually(() => client.state.status).toBe('closed');
  });

  test('T3 what is said after close() reaches nobody, and what is sent then goes nowhere', async () => {
    let later = (_: string) => {};
    const server = await foreign();
    const { client, seen } = dialing(server.url, {
      onOpen: ({ send }) => {
        later = send;
      },
    });
    client.onAny(() => client.close());
    await eventually(() => server.sockets.length).toBe(1);
    say(server.sockets[0], [
      { type: 'a:b', payload: 1 },
      { type: 'a:b', payload: 2 },
    ]);
    await eventually(() => server.sockets.length).toBe(0);
    later('{}');
    expect(seen.payloads).toEqual([1]);
    expect(client.metrics().ignored).toBe(0);
    expect(server.heard).toEqual([]);
  });
});
