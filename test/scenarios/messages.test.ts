/** What arrives: malformed, unfitting, in any order of sizes, heard by listeners that misbehave. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Codec, createClient, defineContract, type TraceEntry } from 'holdfast';
import { createHub } from 'holdfast/server';
import { memoryNetwork, recorder, seededDice, virtualClock } from 'holdfast/testing';
import { webSocket } from 'holdfast/websocket';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocketServer } from 'ws';
import * as z from 'zod';
import { jsonCodec } from '../../src/protocol/codec.js';
import { harness } from '../client/harness.js';
import { hubHarness } from './hub.js';

type Options = Parameters<typeof harness>[0];

/** A client in the room "r" of a scripted server, at event 0. */
async function inRoom(options: Options = {}) {
  const all = harness(options);
  void all.client.room('r').join();
  void all.client.connect();
  await all.clock.advance(1);
  const { link } = all.server;
  link.welcome();
  link.joined('@me');
  link.caughtUp('@me');
  link.joined('r', { recovered: false, reason: 'new' });
  link.caughtUp('r');
  await all.clock.advance(1);
  return { ...all, link };
}

describe('E42 frames that are none', () => {
  const event = '{"kind":"event","eventId":"r:1","type":"a:b","timestamp":0,"room":"r","seq":1}';
  const malformed: [string, string | Uint8Array][] = [
    ['nothing', ''],
    ['no JSON', 'hello'],
    ['HTML', '<html><body>Sign in to use this network</body></html>'],
    ['a frame cut off', event.slice(0, -5)],
    ['two frames in one', event + event],
    ['bytes', new Uint8Array([1, 2, 3])],
    ['a number', '42'],
    ['a string', '"event"'],
    ['null', 'null'],
    ['an array of frames', `[${event}]`],
    ['nesting without an end', '['.repeat(100_000)],
    ['nesting in an array', '['.repeat(100_000) + ']'.repeat(100_000)],
    ['nesting in an object', `${'{"kind":'.repeat(50_000)}1${'}'.repeat(50_000)}`],
    ['no kind', '{}'],
    ['an unknown kind', '{"kind":"earthquake"}'],
    ['a kind of Object.prototype', '{"kind":"constructor"}'],
    ['the kind __proto__', '{"kind":"__proto__"}'],
    ['a kind in an array', '{"kind":["ping"]}'],
    ['a kind that cannot be a key', '{"kind":{"toString":null}}'],
    ['an event without an id', '{"kind":"event","type":"a:b","timestamp":0}'],
    ['an event with a text as seq', event.replace('"seq":1', '"seq":"1"')],
    ['an event with half a seq', event.replace('"seq":1', '"seq":1.5')],
    ['an event with a seq below 0', event.replace('"seq":1', '"seq":-1')],
    ['an event in a room that is no text', event.replace('"r"', '{}')],
    ['a response to nothing', '{"kind":"response","success":true}'],
    ['a response without its error', '{"kind":"response","requestId":"1","success":false}'],
    ['a verdict without a mark', '{"kind":"room","room":"r"}'],
    ['a verdict with two marks', '{"kind":"room","room":"r","left":true,"joined":true}'],
    ['an error without a code', '{"kind":"error","error":{"message":"no"}}'],
    ['a goodbye without a reason', '{"kind":"goodbye"}'],
  ];

  test.each(malformed)('E42 %s is dropped and counted, and throws nowhere', async (_name, wire) => {
    const { client, clock, link, seen } = await inRoom();
    seen.clear();
    link.sendRaw(wire);
    await clock.advance(1);
    expect(client.metrics().garbled).toBe(1);
    link.event('a:b', { room: 'r', seq: 1, payload: 'next' });
    await clock.advance(1);
    expect(seen.payloads).toEqual(['next']);
    expect(seen.errors).toEqual([]);
    expect(client.state).toMatchObject({ status: 'connected', synced: true });
  });

  test('E42 before the welcome it is dropped too, and the attempt goes on', async () => {
    const { client, clock, server } = harness();
    void client.connect();
    await clock.advance(1);
    for (const [, wire] of malformed) server.link.sendRaw(wire);
    await clock.advance(1);
    expect(client.state.status).toBe('connecting');
    server.link.welcome();
    await clock.advance(1);
    expect(client.state.status).toBe('connected');
    expect(server.links).toHaveLength(1);
  });

  test('E42 a payload that is nested very deep does not harm the client', async () => {
    const { client, clock, link, seen } = await inRoom();
    const depth = 100_000;
    const payload = '['.repeat(depth) + ']'.repeat(depth);
    link.sendRaw(event.replace('"seq":1', `"seq":1,"payload":${payload}`));
    link.event('a:b', { room: 'r', seq: 2, payload: 'next' });
    await clock.advance(1);
    expect(seen.payloads.at(-1)).toBe('next');
    expect(seen.errors).toEqual([]);
    expect(client.state.status).toBe('connected');
  });

  test('E42 keys called __proto__ or constructor pollute nothing', async () => {
    const { client, clock, link, seen } = await inRoom();
    const poison = '"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}';
    const answer = client.request('a:b', null, { requestId: 'id' });
    const refused = client.request('a:b', null, { requestId: '__proto__' });
    await clock.advance(1);
    link.sendRaw(
      `{${poison},${event.slice(1, -1)},"payload":{${poison}}}`,
      `{${poison},"kind":"auth","expiresIn":60000}`,
      `{${poison},"kind":"room","room":"__proto__","joined":true,"epoch":"e","cursor":"c","seq":0,"recovered":true}`,
      `{${poison},"kind":"response","requestId":"id","success":true,"data":{${poison}}}`,
      `{"kind":"response","requestId":"__proto__","success":false,"error":{"code":"constructor","message":"","details":{${poison}}}}`,
      `{"kind":"error","error":{"code":"__proto__","message":"","details":{${poison}}}}`,
    );
    await clock.advance(1);
    await answer;
    await expect(refused).rejects.toMatchObject({ code: 'constructor', category: 'application' });
    expect(seen.payloads).toHaveLength(1);
    expect('polluted' in {}).toBe(false);
    expect(client.metrics().garbled).toBe(0);
  });

  test('E42 rooms, types and ids with the names of Object.prototype are names like any other', async () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty'];
    const handlers = Object.fromEntries(names.map((name) => [name, () => name]));
    const { client, clock, connected, hub, network, seen } = hubHarness({ hub: { handlers } });
    for (const name of names) void client.room(name).join();
    await connected();
    network.cut();
    for (const name of names) await hub.publish(name, name, name);
    const asked = names.map((type) => client.request(type, null, { requestId: type, room: type }));
    const unknown = client.request('valueOf', null);
    await clock.advance(1_000);
    expect(seen.payloads).toEqual(names);
    // "__proto__" as a key of an object literal made by Object.fromEntries is an own key.
    expect(await Promise.all(asked)).toEqual(names);
    await expect(unknown).rejects.toMatchObject({ code: 'UNKNOWN_TYPE' });
  });

  test('E42 a contract has no types but its own', async () => {
    const contract = defineContract({ requests: {}, events: {}, messages: {} });
    const { client, clock, link, seen } = await inRoom({ contract });
    for (const type of ['constructor', 'toString', '__proto__']) {
      const unknown = { code: 'UNKNOWN_TYPE' };
      await expect(client.request(type, 1)).rejects.toMatchObject(unknown);
      expect(() => client.send(type, 1)).toThrow(expect.objectContaining(unknown));
      link.event(type, { eventId: type, payload: type });
    }
    await clock.advance(1);
    expect(seen.payloads).toEqual(['constructor', 'toString', '__proto__']);
    expect(seen.errors).toEqual([]);
  });

  test('E42 a hub drops and counts them too, answers a request that is none, and serves on', async () => {
    const clock = virtualClock();
    const environment = { clock, random: seededDice(1), id: () => 'id' };
    const reported: unknown[] = [];
    const hub = createHub({
      environment,
      handlers: { 'a:b': (payload) => payload },
      onError: (error) => reported.push(error),
    });
    const sent: string[] = [];
    const wire = hub.accept({
      transport: 'memory',
      request: { url: '/', headers: {}, remoteAddress: undefined },
      bufferedAmount: 0,
      send: (wires) => sent.push(...wires.map(String)),
      close: (code) => sent.push(`closed ${code}`),
      terminate: () => sent.push('terminated'),
    });
    const hello = { kind: 'hello', protocol: 1, clientId: 'c', link: 1, rooms: [] };
    wire.received(JSON.stringify(hello));
    await clock.advance(1);
    sent.length = 0;

    const deep = '['.repeat(50_000) + ']'.repeat(50_000);
    const noise = [...malformed.map(([, one]) => one), deep, '{"kind":"request","requestId":"r1"}'];
    for (const one of noise) wire.received(one);
    await clock.advance(1);
    expect(hub.metrics().garbled).toBe(noise.length);
    expect(sent.map((text) => JSON.parse(text))).toMatchObject([
      { kind: 'response', requestId: 'r1', success: false, error: { code: 'INVALID_PAYLOAD' } },
    ]);
    wire.received(
      `{"kind":"request","requestId":"r2","type":"a:b","timestamp":0,"payload":${deep}}`,
    );
    wire.received('{"kind":"request","requestId":"r3","type":"a:b","timestamp":0,"payload":7}');
    await clock.advance(1);
    const answers = sent.slice(1).map((text) => text.slice(0, 60));
    expect(answers).toHaveLength(2);
    expect(answers[1]).toContain('"requestId":"r3","success":true');
    expect('polluted' in {}).toBe(false);
  });
});

describe('E43 payloads that do not fit the contract', () => {
  const contract = defineContract({
    requests: {
      'message:send': {
        payload: z.object({ text: z.string() }),
        data: z.object({ id: z.string() }),
      },
    },
    events: { 'message:received': z.object({ from: z.object({ name: z.string() }) }) },
    messages: { 'typing:started': z.object({ at: z.number() }) },
  });

  test('E43 an event is reported with its type and path, not heard, and the cursor still moves', async () => {
    const { clock, link, seen, server } = await inRoom({ contract });
    seen.clear();
    const send = (seq: number, payload: unknown) =>
      link.event('message:received', { room: 'r', seq, payload });
    send(1, { from: { name: 'Ann' } });
    send(2, { from: { name: 'a secret'.length } });
    send(3, { from: { name: 'Bob', extra: true } });
    send(4, 'a secret');
    await clock.advance(1);
    expect(seen.payloads).toEqual([{ from: { name: 'Ann' } }, { from: { name: 'Bob' } }]);
    expect(seen.errors).toMatchObject([
      {
        code: 'INVALID_PAYLOAD',
        message: expect.stringMatching(/event "message:received".*"from\.name"/),
        details: { issues: [{ path: 'from.name' }] },
      },
      { code: 'INVALID_PAYLOAD', details: { issues: [{ path: '' }] } },
    ]);
    expect(JSON.stringify(seen.errors.map(String))).not.toContain('a secret');
    link.terminate();
    await clock.advance(2_000);
    expect(server.link.hello?.rooms).toEqual([
      { room: '@me', since: '@me:0' },
      { room: 'r', since: 'r:4' },
    ]);
  });

  test('E43 a request or message is refused before it is sent, a response after it came', async () => {
    const { client, clock, link } = await inRoom({ contract });
    await expect(client.request('message:send', { txt: 'hi' })).rejects.toMatchObject({
      code: 'INVALID_PAYLOAD',
      message: expect.stringMatching(/request "message:send".*"text"/),
    });
    expect(() => client.send('typing:started', { at: 'now' })).toThrow(
      expect.objectContaining({ code: 'INVALID_PAYLOAD' }),
    );
    await expect(client.request('message:sent', {})).rejects.toMatchObject({
      code: 'UNKNOWN_TYPE',
    });
    expect(() => client.send('typing:stopped', {})).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_TYPE' }),
    );
    const answered = client.request('message:send', { text: 'hi' }, { requestId: 'id' });
    await clock.advance(1);
    expect(link.sent('request')).toHaveLength(1);
    expect(link.sent('message')).toEqual([]);
    link.respond('id', { id: 7 });
    await clock.advance(1);
    await expect(answered).rejects.toMatchObject({
      code: 'INVALID_PAYLOAD',
      message: expect.stringMatching(/response "message:send".*"id"/),
    });
  });
});

describe('E44 listeners that misbehave', () => {
  test('E44 one that throws or rejects is reported and does not stop the next one', async () => {
    const { client, clock, link, seen } = await inRoom();
    seen.stop();
    const errors: unknown[] = [];
    const heard: string[] = [];
    client.onError(({ cause }) => errors.push(cause instanceof Error ? cause.message : cause));
    client.onAny(() => {
      throw new Error('onAny');
    });
    client.on('a:b', () => {
      throw new Error('client.on');
    });
    client.on('a:b', () => Promise.reject(new Error('async')));
    client.once('a:b', () => {
      throw new Error('once');
    });
    client.room('r').on('a:b', () => {
      throw new Error('room.on');
    });
    client.on('a:b', () => heard.push('client'));
    client.room('r').on('a:b', () => heard.push('room'));
    for (const seq of [1, 2]) link.event('a:b', { room: 'r', seq });
    await clock.advance(1);
    expect(heard).toEqual(['client', 'room', 'client', 'room']);
    expect(errors.filter((cause) => cause !== 'async')).toEqual([
      'onAny',
      'client.on',
      'once',
      'room.on',
      'onAny',
      'client.on',
      'room.on',
    ]);
    expect(errors.filter((cause) => cause === 'async')).toHaveLength(2);
  });

  test('E44 one that is taken off during an event is not called any more, and the rest are', async () => {
    const { client, clock, link, seen } = await inRoom();
    const heard: string[] = [];
    const offs: (() => void)[] = [];
    const named = () => heard.push('named');
    client.on('a:b', () => {
      heard.push('first');
      offs[0]?.();
      offs[2]?.();
      client.off('a:b', named);
    });
    offs.push(client.on('a:b', () => heard.push('itself taken off')));
    client.on('a:b', () => heard.push('second'));
    client.on('a:b', named);
    offs.push(
      client.on('a:b', () => {
        heard.push('takes itself off');
        offs[1]?.();
        offs[1]?.();
      }),
    );
    offs.push(client.room('r').on('a:b', () => heard.push('taken off in the room')));
    client.room('r').on('a:b', () => heard.push('room'));
    link.event('a:b', { room: 'r', seq: 1 });
    await clock.advance(1);
    expect(heard).toEqual(['first', 'second', 'takes itself off', 'room']);
    heard.length = 0;
    link.event('a:b', { room: 'r', seq: 2 });
    await clock.advance(1);
    expect(heard).toEqual(['first', 'second', 'room']);
    expect(seen.errors).toEqual([]);
  });

  test('E44 one that is added during an event hears the next one', async () => {
    const { client, clock, link } = await inRoom();
    const heard: string[] = [];
    client.once('a:b', (_payload, { seq }) => {
      heard.push(`first ${seq}`);
      client.on('a:b', (_later, info) => heard.push(`added ${info.seq}`));
    });
    for (const seq of [1, 2]) link.event('a:b', { room: 'r', seq });
    await clock.advance(1);
    expect(heard).toEqual(['first 1', 'added 2']);
  });

  test('E44 what a listener asks for waits its turn: events keep their order', async () => {
    const { client, clock, link } = await inRoom();
    const heard: string[] = [];
    client.on('a:b', (_payload, { seq }) => {
      heard.push(`a ${seq}`);
      client.room('r').leave();
      void client.room('r').join();
      void client.request('x:y', seq);
    });
    client.on('a:b', (_payload, { seq }) => heard.push(`b ${seq}`));
    for (const seq of [1, 2]) link.event('a:b', { room: 'r', seq });
    await clock.advance(1);
    expect(heard).toEqual(['a 1', 'b 1', 'a 2', 'b 2']);
    expect(link.sent('request').map(({ payload }) => payload)).toEqual([1, 2]);
    expect(link.sent('leave')).toEqual([]);
  });

  test('E44 state and error listeners that throw stop nobody, and nothing goes round in circles', async () => {
    const reported: unknown[] = [];
    const { client, clock, link } = await inRoom({
      environment: { report: (e) => reported.push(e) },
    });
    const states: string[] = [];
    client.onError(() => {
      throw new Error('in onError');
    });
    client.onState(() => {
      throw new Error('in onState');
    });
    client.onState(({ status }) => states.push(status));
    link.terminate();
    await clock.advance(1);
    expect(states).toEqual(['connected', 'reconnecting']);
    expect(reported.map(String)).toEqual(['Error: in onError', 'Error: in onError']);
  });
});

describe('E45 text and binary keep their order', () => {
  test('E45 frames in both forms are heard in the order they were sent, between garbled ones too', async () => {
    const clock = virtualClock();
    const random = seededDice(1);
    const network = memoryNetwork({ clock, random, latency: 20 });
    network.set({ bandwidth: { down: 500_000 }, jitter: 30 });
    const codec: Codec = {
      ...jsonCodec,
      name: 'either',
      decode: (wire) =>
        jsonCodec.decode(wire instanceof Uint8Array ? new TextDecoder().decode(wire) : wire),
    };
    network.serve((wire) => ({
      received(one) {
        if (!String(one).includes('"hello"')) return;
        wire.send(['{"kind":"welcome","connectionId":"c"}', ...mixed()]);
      },
      drained() {},
      closed() {},
    }));
    const client = createClient({
      transport: network.transport({ codec }),
      environment: { clock, random, id: () => 'id', lifecycle: () => () => {}, report() {} },
    });
    const seen = recorder(client);
    void client.connect();
    await clock.advance(10_000);
    expect(seen.events.map(({ event }) => event.eventId)).toEqual(order());
    client.close();
  });

  test('E45 over a real WebSocket, small after large and text after binary, each keeps its place', {
    timeout: 30_000,
  }, async () => {
    const url = await serving((socket) => {
      socket.once('message', () => {
        socket.send('{"kind":"welcome","connectionId":"c"}');
        for (const wire of mixed()) socket.send(wire);
        socket.send('{"kind":"event","eventId":"last","type":"a:b","timestamp":0}');
      });
    });
    const client = createClient({ transport: webSocket(url) });
    onTestFinished(() => client.close());
    const arrived: string[] = [];
    client.onTrace(({ fact }) => arrived.push(...arrivedIn(fact)));
    const seen = recorder(client);
    void client.connect();
    await seen.until(({ events }) => events.some(({ event }) => event.eventId === 'last'));
    // The JSON codec reads text alone: what came as bytes is counted in its place.
    const expected = mixed().map((wire, index) =>
      typeof wire === 'string' ? order()[index] : 'garbled',
    );
    expect(arrived).toEqual(['welcome', ...expected, 'last']);
    expect(client.metrics().garbled).toBe(expected.filter((one) => one === 'garbled').length);
  });

  test('E45 requests of mixed sizes reach a real server in the order they were asked in', {
    timeout: 30_000,
  }, async () => {
    const received: number[] = [];
    const http = createServer();
    const hub = createHub({
      handlers: {
        'n:store': (payload, { publish }) => {
          const { n } = payload as { n: number };
          received.push(n);
          publish('r', 'n:stored', payload);
          return n;
        },
      },
    });
    hub.attachWebSocket(http);
    await new Promise<void>((done) => http.listen(0, '127.0.0.1', done));
    const { port } = http.address() as AddressInfo;
    const client = createClient({
      transport: webSocket(`ws://127.0.0.1:${port}/realtime`),
      outbox: { maxBytes: 64 * 1_048_576 },
    });
    onTestFinished(async () => {
      client.close();
      await hub.close();
      await new Promise((done) => http.close(done));
    });
    const seen = recorder(client);
    await client.connect();
    await client.room('r').join();
    const numbers = Array.from({ length: 60 }, (_, index) => index);
    const answers = numbers.map((n) => client.request('n:store', { n, filling: filling(n) }));
    expect(await Promise.all(answers)).toEqual(numbers);
    await seen.until(({ events }) => events.length === numbers.length);
    expect(received).toEqual(numbers);
    expect(seen.payloads.map((payload) => (payload as { n: number }).n)).toEqual(numbers);
    expect(client.metrics()).toMatchObject({ reconnects: 0, duplicates: 0 });
  });
});

/** Events of 80 bytes to 800 KB, every third as bytes. */
function mixed(): (string | Uint8Array)[] {
  return order().map((eventId, index) => {
    const payload = filling(index);
    const text = JSON.stringify({ kind: 'event', eventId, type: 'a:b', timestamp: 0, payload });
    return index % 3 === 1 ? new TextEncoder().encode(text) : text;
  });
}

function order(): string[] {
  return Array.from({ length: 40 }, (_, index) => `event-${index}`);
}

function filling(index: number): string {
  return 'x'.repeat(index % 4 === 0 ? 200_000 * (1 + (index % 3)) : index % 7);
}

function arrivedIn(fact: TraceEntry['fact']): string[] {
  if (fact.fact !== 'received') return [];
  return [fact.frame.kind === 'event' ? fact.frame.eventId : fact.frame.kind];
}

/** A bare WebSocket server. Returns its URL. */
async function serving(connected: (socket: import('ws').WebSocket) => void): Promise<string> {
  const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  sockets.on('connection', connected);
  await new Promise((done) => sockets.once('listening', done));
  onTestFinished(() => {
    for (const socket of sockets.clients) socket.terminate();
    sockets.close();
  });
  return `ws://127.0.0.1:${(sockets.address() as AddressInfo).port}/`;
}
