/** MessagePack over real WebSockets: clients of both encodings in one room, and what each gets to see. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Client, type ClientOptions, type Contract, createClient } from 'holdfast';
import { createHub, type HubOptions } from 'holdfast/server';
import { sqliteJournal } from 'holdfast/server/sqlite';
import { memoryStorage, recorder } from 'holdfast/testing';
import { webSocket } from 'holdfast/websocket';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import { jsonCodec } from '../../src/protocol/codec.js';
import { messagePack } from '../../src/protocol/message-pack.js';
import { unpack } from '../../src/protocol/message-pack-reader.js';
import { pack } from '../../src/protocol/message-pack-writer.js';

const ROOM = 'files';
const file = Uint8Array.of(0, 1, 128, 255);
/** What JSON and MessagePack have in common, what only one of them has, and what looks like it. */
const payload = { file, name: 'é.bin', said: '\0bAQ==', sizes: [1, -1.5, 2 ** 40], none: null };

/** Answers with what it got, and publishes it. */
const handlers: HubOptions['handlers'] = {
  'file:put': (given, { publish }) => {
    publish(ROOM, 'file:came', given);
    return { given };
  },
};

async function served(options: HubOptions = {}, attach: object = {}) {
  const garbled = vi.fn();
  const hub = createHub({ handlers, onError: garbled, ...options });
  const server = createServer();
  hub.attachWebSocket(server, attach);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    await hub.close();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  const { port } = server.address() as AddressInfo;
  return { hub, server, url: `ws://127.0.0.1:${port}/realtime` };
}

async function joined(url: string, options: Partial<ClientOptions<Contract>> = {}) {
  const client = createClient({ transport: webSocket(url), ...options }) as Client;
  onTestFinished(() => client.close());
  const seen = recorder(client);
  await client.connect();
  await client.room(ROOM).join();
  return { client, seen };
}

const packed = (url: string) => ({ transport: webSocket(url, { codec: messagePack() }) });

/** A client without a library: what it says and hears is bytes and text. */
async function bare(url: string, protocols = ['holdfast.1.msgpack']) {
  const socket = new WebSocket(url, protocols);
  onTestFinished(() => socket.terminate());
  const heard: { data: Buffer; isBinary: boolean }[] = [];
  socket.on('message', (data: RawData, isBinary) => {
    heard.push({ data: data as Buffer, isBinary });
  });
  await once(socket, 'open');
  const frames = () =>
    heard.map(
      ({ data, isBinary }) =>
        (isBinary ? unpack(data) : jsonCodec.decode(data.toString())) as Record<string, unknown>,
    );
  const until = (kind: string) =>
    vi.waitFor(() => {
      const frame = frames().find((one) => one.kind === kind);
      if (frame === undefined) throw new Error(`No ${kind} yet.`);
      return frame;
    });
  return { socket, heard, frames, until };
}

const hello = { kind: 'hello', protocol: 1, clientId: 'c', link: 1, rooms: [{ room: ROOM }] };

describe('clients of JSON and of MessagePack in one room', () => {
  test('get the same bytes, whoever sent them', async () => {
    const { hub, url } = await served();
    const text = await joined(url);
    const binary = await joined(url, packed(url));
    await hub.publish(ROOM, 'file:came', payload);
    for (const { client } of [text, binary]) {
      expect(await client.request('file:put', payload)).toEqual({ given: payload });
    }
    for (const { seen } of [text, binary]) {
      await seen.until(({ events }) => events.length === 3);
      expect(seen.payloads).toEqual([payload, payload, payload]);
      for (const one of seen.payloads as { file: unknown }[]) {
        expect(one.file).toBeInstanceOf(Uint8Array);
      }
    }
    expect(hub.metrics().garbled).toBe(0);
    for (const { client } of [text, binary]) expect(client.metrics().garbled).toBe(0);
  });

  test('get what they missed, from a journal on disk as well', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'holdfast-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const { hub, server, url } = await served({
      journal: sqliteJournal({ path: path.join(folder, 'journal.db') }),
    });
    const members = [await joined(url), await joined(url, packed(url))];
    await hub.publish(ROOM, 'file:came', 1);
    for (const { seen } of members) await seen.until(({ events }) => events.length === 1);
    server.closeAllConnections();
    await hub.publish(ROOM, 'file:came', payload);
    for (const { seen } of members) {
      await seen.until(({ events }) => events.length === 2);
      expect(seen.payloads).toEqual([1, payload]);
    }
  });

  test('send messages with bytes', async () => {
    const put = vi.fn();
    const { url } = await served({ onMessage: { 'file:seen': put } });
    for (const options of [{}, packed(url)]) {
      const { client } = await joined(url, options);
      client.send('file:seen', payload);
    }
    await vi.waitFor(() => expect(put).toHaveBeenCalledTimes(2));
    for (const [given] of put.mock.calls) expect(given).toEqual(payload);
  });

  test('get an answer again from the memory of requests', async () => {
    const { url } = await served();
    const one = await bare(url);
    const request = { kind: 'request', requestId: 'r', type: 'file:put', timestamp: 0, payload };
    const answers = () => one.frames().filter(({ kind }) => kind === 'response');
    for (const frame of [hello, request]) one.socket.send(pack(frame));
    await one.until('response');
    one.socket.send(pack(request));
    await vi.waitFor(() => expect(answers()).toHaveLength(2));
    for (const { data } of answers()) expect(data).toEqual({ given: payload });
    expect(one.frames().filter(({ kind }) => kind === 'event')).toHaveLength(1);
  });
});

describe('a wire of MessagePack', () => {
  test('carries binary messages alone, both ways', async () => {
    const { hub, url } = await served({ heartbeat: { interval: 200, timeout: 2_000 } });
    const { socket, heard, until } = await bare(url);
    expect(socket.protocol).toBe('holdfast.1.msgpack');
    socket.send(pack(hello));
    await until('welcome');
    socket.send(pack({ kind: 'ping' }));
    await until('pong');
    await hub.publish(ROOM, 'file:came', payload);
    expect(await until('event')).toMatchObject({ type: 'file:came', payload });
    await until('ping');
    socket.send(pack({ kind: 'pong' }));
    expect(heard.every(({ isBinary }) => isBinary)).toBe(true);
    expect(hub.metrics()).toMatchObject({ garbled: 0, connections: 1 });
  });

  test('takes text as well, which is JSON', async () => {
    const { url } = await served();
    const { socket, heard, until } = await bare(url);
    socket.send(JSON.stringify(hello));
    await until('welcome');
    expect(heard[0]?.isBinary).toBe(true);
  });

  test('carries as text what is nested deeper than MessagePack is read', async () => {
    const { hub, url } = await served();
    const { client, seen } = await joined(url, packed(url));
    let deep: unknown = file;
    for (let level = 0; level < 1_200; level++) deep = [deep];
    await hub.publish(ROOM, 'file:came', deep);
    await hub.publish(ROOM, 'file:came', 'after it');
    await seen.until(({ events }) => events.length === 2);
    let found = seen.payloads[0];
    while (Array.isArray(found)) [found] = found as unknown[];
    expect(found).toEqual(file);
    expect(client.metrics().garbled).toBe(0);
  });

  test('is as long as its bytes for the largest message', async () => {
    const { hub, url } = await served({ limits: { maxMessageSize: 10_000 } });
    const { client } = await joined(url, packed(url));
    const { client: text } = await joined(url);
    const most = new Uint8Array(9_000);
    expect(await client.request('file:put', most)).toEqual({ given: most });
    await expect(text.request('file:put', most)).rejects.toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
    });
    await expect(client.request('file:put', new Uint8Array(10_001))).rejects.toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
    });
    expect(hub.metrics().connections).toBe(2);
  });

  test('E42 a server counts bytes that are no frame and goes on', async () => {
    const { hub, url } = await served();
    const { socket, frames, until } = await bare(url);
    socket.send(pack(hello));
    await until('welcome');
    const bomb = Buffer.from('dd01c9c380'.repeat(2_000), 'hex');
    const bad = { kind: 'request', requestId: 'r', type: 7, timestamp: 0 };
    for (const wire of [Buffer.from([0xc1]), bomb, pack([]), pack(bad)]) socket.send(wire);
    expect(await until('response')).toMatchObject({
      requestId: 'r',
      error: { code: 'INVALID_PAYLOAD' },
    });
    expect(hub.metrics()).toMatchObject({ garbled: 4, connections: 1 });
    expect(frames().some(({ kind }) => kind === 'error')).toBe(false);
  });

  test('is offered alone, and refused by a server that speaks JSON', async () => {
    const offered = vi.fn((_protocols: string[]) => 'holdfast.1');
    const server = new WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      handleProtocols: (protocols) => offered([...protocols]),
    });
    onTestFinished(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const codec = messagePack();
    const closed = vi.fn();
    const dialed = webSocket(`ws://127.0.0.1:${port}`, { codec }).dial(
      () => ({ kind: 'hello', protocol: 1, clientId: 'c', link: 1, rooms: [] }),
      { opened: vi.fn(), received: vi.fn(), closed },
    );
    onTestFinished(() => dialed.close());
    await vi.waitFor(() => expect(closed).toHaveBeenCalledOnce());
    expect(offered.mock.calls.at(-1)).toEqual([['holdfast.1.msgpack']]);
  });

  test('is chosen by the order in which a client offers both', async () => {
    const { url } = await served();
    for (const protocols of [
      ['holdfast.1', 'holdfast.1.msgpack'],
      ['x', 'holdfast.1.msgpack', 'holdfast.1'],
    ]) {
      const { socket } = await bare(url, protocols);
      expect(socket.protocol).toBe(protocols.find((one) => one.startsWith('holdfast')));
    }
  });

  test('E45 text and binary messages of every size keep their order', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    onTestFinished(() => server.close());
    await once(server, 'listening');
    const ids = Array.from({ length: 60 }, (_, index) => `e-${index}`);
    server.on('connection', (socket) => {
      socket.once('message', () => {
        socket.send(pack({ kind: 'welcome', connectionId: 'c' }));
        ids.forEach((eventId, index) => {
          const filling = new Uint8Array(index % 4 === 0 ? 300_000 : index);
          const frame = { kind: 'event', eventId, type: 'a:b', timestamp: 0, payload: filling };
          socket.send(index % 3 === 0 ? JSON.stringify({ ...frame, payload: 'x' }) : pack(frame));
        });
      });
    });
    const { port } = server.address() as AddressInfo;
    const client = createClient(packed(`ws://127.0.0.1:${port}`));
    onTestFinished(() => client.close());
    const seen = recorder(client);
    void client.connect();
    await seen.until(({ events }) => events.length === ids.length);
    expect(seen.events.map(({ event }) => event.eventId)).toEqual(ids);
    expect(client.metrics().garbled).toBe(0);
  });

  test('survives in an outbox: the bytes of a request are asked on after a crash', async () => {
    const put = vi.fn();
    const { url } = await served({ handlers: { 'file:put': put } });
    const storage = memoryStorage();
    const before = createClient({ ...packed(url), outbox: { storage } });
    before.onError(() => {});
    onTestFinished(() => before.close());
    await before.restore();
    before.request('file:put', payload).catch(() => {});
    await vi.waitFor(() => expect(storage.slots[0]?.requests).toHaveLength(1));
    expect(storage.slots[0]?.requests[0]?.wire).toBeInstanceOf(Uint8Array);
    storage.crash();
    await joined(url, { ...packed(url), outbox: { storage } });
    await vi.waitFor(() => expect(put).toHaveBeenCalledOnce());
    expect(put.mock.calls[0]?.[0]).toEqual(payload);
  });
});

describe('compression', () => {
  test.each([
    ['both sides switch it on', true, true],
    ['the client alone does', false, true],
    ['the server alone does', true, false],
  ])('is used where both sides switch it on: %s', async (_who, onServer, onClient) => {
    const { hub, server, url } = await served({}, { perMessageDeflate: onServer });
    let written = 0;
    server.on('connection', (socket) => {
      socket.on('close', () => {
        written += socket.bytesWritten;
      });
    });
    const large = { text: 'holdfast '.repeat(10_000), file };
    for (const options of [{}, { codec: messagePack() }]) {
      const { client, seen } = await joined(url, {
        transport: webSocket(url, { ...options, perMessageDeflate: onClient }),
      });
      await hub.publish(ROOM, 'file:came', large);
      await seen.until(({ events }) => events.length > 0);
      expect(seen.payloads).toEqual([large]);
      expect(await client.request('file:put', large)).toEqual({ given: large });
      client.close();
    }
    await vi.waitFor(() => expect(hub.metrics().connections).toBe(0));
    server.closeAllConnections();
    await vi.waitFor(() => expect(written).toBeGreaterThan(0));
    const isCompressed = onServer && onClient;
    if (isCompressed) expect(written).toBeLessThan(90_000);
    else expect(written).toBeGreaterThan(360_000);
  });
});
