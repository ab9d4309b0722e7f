/** Socket.IO against real servers of socket.io: as a wire of the hub, and as a wire by itself. */
import { createServer } from 'node:http';
import { memoryJournal, tokenExpired } from 'holdfast/server';
import { faultProxy } from 'holdfast/testing/node';
import type { Socket } from 'socket.io';
import { describe, expect, test } from 'vitest';
import { HoldfastError } from '../../src/protocol/errors.js';
import { type SocketIoOptions, socketIo } from '../../src/transports/socket.io.js';
import { cleanups, clientOf, dial, eventually, hubServing, serving } from './socket-io-place.js';

const ROOM = 'room';

const engines = [['websocket'], ['polling']];

async function proxied(port: number) {
  const proxy = await faultProxy({ target: { port } });
  cleanups.push(proxy.close);
  return { proxy, url: `http://127.0.0.1:${proxy.port}` };
}

describe.each(engines)('a hub over %s', (engine) => {
  const options: SocketIoOptions = { transports: [engine] };

  test('connects, joins 50 rooms with one frame, and says which wire it is', async () => {
    const { hub, io, url } = await hubServing();
    const joins: unknown[] = [];
    io.on('connection', (socket) => socket.on('holdfast:join', (frame) => joins.push(frame)));
    const { client, seen } = clientOf({ transport: socketIo(url, options) });
    await client.connect();
    const names = Array.from({ length: 50 }, (_, number) => `room:${number}`);
    await Promise.all(names.map((name) => client.room(name).join()));
    for (const name of names) await hub.publish(name, 'feed:ticked', name);
    await eventually(() => expect(seen.payloads).toEqual(names));
    expect(joins).toHaveLength(1);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'socket.io' });
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
  });

  test('50 events that were missed come once and in order, and a request across the cut runs once', async () => {
    const runs: unknown[] = [];
    let answer: () => void = () => {};
    const { hub, port } = await hubServing({
      handlers: {
        'count:add': async (payload) => {
          runs.push(payload);
          await new Promise<void>((done) => {
            answer = done;
          });
          return 'added';
        },
      },
    });
    const { proxy, url } = await proxied(port);
    const { client, seen } = clientOf({ transport: socketIo(url, options) });
    await client.connect();
    await client.room(ROOM).join();
    const added = client.request('count:add', 1);
    await eventually(() => expect(runs).toEqual([1]));
    proxy.set({ accept: 'refuse' });
    proxy.reset();
    await eventually(() => expect(client.state.status).toBe('reconnecting'));
    const numbers = Array.from({ length: 50 }, (_, number) => number);
    for (const number of numbers) await hub.publish(ROOM, 'feed:ticked', number);
    answer();
    proxy.heal();
    await expect(added).resolves.toBe('added');
    await eventually(() => expect(seen.payloads).toEqual(numbers));
    expect(runs).toEqual([1]);
    expect(seen.gaps).toEqual([]);
  });

  test('a token that has expired is replaced by a fresh one', async () => {
    const { url } = await hubServing({
      authenticate({ auth }) {
        if (JSON.stringify(auth) === '"old"') throw tokenExpired();
        return { user: 'ann' };
      },
    });
    const reasons: string[] = [];
    const { client, seen } = clientOf({
      transport: socketIo(url, options),
      auth({ reason }) {
        reasons.push(reason);
        return reason === 'expired' ? 'new' : 'old';
      },
    });
    await client.connect();
    expect(reasons).toEqual(['connect', 'expired']);
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'reconnecting', 'connected']);
  });

  test('bytes travel both ways as attachments, and more of them than Socket.IO takes as text', async () => {
    const got: unknown[] = [];
    const { hub, io, url } = await hubServing({
      handlers: {
        'bytes:mirror': (payload) => {
          got.push(payload);
          return payload;
        },
      },
    });
    const frames: unknown[] = [];
    io.on('connection', (socket) => socket.on('bytes:mirror', (frame) => frames.push(frame)));
    const { client, seen } = clientOf({ transport: socketIo(url, options) });
    await client.connect();
    await client.room(ROOM).join();
    const few = { bytes: new Uint8Array([0, 255, 7]), text: '\0b no bytes' };
    const many = Array.from({ length: 11 }, (_, number) => new Uint8Array([number]));
    for (const payload of [few, many]) {
      expect(await client.request('bytes:mirror', payload)).toEqual(payload);
      await hub.publish(ROOM, 'bytes:came', payload);
    }
    await eventually(() => expect(seen.payloads).toEqual([few, many]));
    expect(got).toEqual([few, many]);
    expect(frames).toMatchObject([{ payload: { bytes: Buffer.from([0, 255, 7]) } }, /^{"kind"/]);
    expect(client.metrics().connects).toBe(1);
  });

  test('a server that leaves hands its clients over to the next one', async () => {
    const journal = memoryJournal();
    const handlers = { 'name:tell': () => 'second' };
    const first = await hubServing({ journal });
    let { url } = first;
    const { client, seen } = clientOf({ transport: socketIo(() => url, options) });
    await client.connect();
    await client.room(ROOM).join();
    const second = await hubServing({ journal, handlers });
    ({ url } = second);
    const left = first.hub.close({ drain: true, over: 5_000 });
    for (let number = 0; number < 20; number++) {
      await second.hub.publish(ROOM, 'feed:ticked', number);
    }
    await left;
    expect(await client.request('name:tell', null)).toBe('second');
    await eventually(() => expect(seen.payloads).toEqual(Array.from({ length: 20 }, (_, n) => n)));
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
    await eventually(() => expect(first.io.engine.clientsCount).toBe(0));
  });

  test('a frame one byte over what the server reads is rejected, and the link stays', async () => {
    const { url } = await hubServing({
      limits: { maxMessageSize: 2_000 },
      handlers: { 'text:measure': (payload) => String(payload).length },
    });
    const { client, seen } = clientOf({ transport: socketIo(url, options) });
    await client.connect();
    const empty = { requestId: 'r', type: 'text:measure', timestamp: Date.now(), payload: '' };
    const room = 2_000 - JSON.stringify({ kind: 'request', ...empty }).length;
    const ask = (length: number) =>
      client.request('text:measure', 'x'.repeat(length), { requestId: 'r' });
    expect(await ask(room)).toBe(room);
    await expect(ask(room + 1)).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
  });
});

test('the way up from polling to WebSocket is nothing that a client notices', async () => {
  const { hub, io, url } = await hubServing();
  const { client, seen } = clientOf({ transport: socketIo(url) });
  await client.connect();
  await client.room(ROOM).join();
  let sent = 0;
  const wires = () => [...io.sockets.sockets.values()].map(({ conn }) => conn.transport.name);
  await eventually(async () => {
    await hub.publish(ROOM, 'feed:ticked', sent++);
    expect(wires()).toEqual(['websocket']);
  });
  await hub.publish(ROOM, 'feed:ticked', sent++);
  await eventually(() => expect(seen.payloads).toEqual(Array.from({ length: sent }, (_, n) => n)));
  expect(client.metrics()).toMatchObject({ connects: 1, duplicates: 0, attempts: 1 });
});

describe('what goes over the wire', () => {
  test('the hello is the handshake, a request has an ack, a message has none', async () => {
    const { io, url } = await serving();
    const events: unknown[][] = [];
    const sockets: Socket[] = [];
    io.on('connection', (socket) => {
      sockets.push(socket);
      socket.onAny((...event: unknown[]) => void events.push(event));
    });
    const { link, heard, early, hello } = dial(url);
    expect(hello).not.toHaveBeenCalled();
    await eventually(() => expect(sockets).toHaveLength(1));
    expect(sockets[0]?.handshake.auth).toEqual(hello.mock.results[0]?.value);
    sockets[0]?.emit('holdfast:welcome', { kind: 'welcome', connectionId: 'w' });
    await eventually(() => expect(heard).toHaveLength(2));
    const request = { kind: 'request', requestId: 'r', type: 'a:b', timestamp: 1, payload: [1] };
    const message = { kind: 'message', type: 'c:d', timestamp: 1 };
    link.send([
      { kind: 'join', rooms: [{ room: 'x' }] },
      JSON.stringify(request),
      JSON.stringify(message),
      { kind: 'ping' },
    ]);
    await eventually(() => expect(events).toHaveLength(4));
    expect(events).toEqual([
      ['holdfast:join', { kind: 'join', rooms: [{ room: 'x' }] }],
      ['a:b', request, expect.any(Function)],
      ['c:d', message],
      ['holdfast:ping', { kind: 'ping' }],
    ]);
    const response = { kind: 'response', requestId: 'r', success: true, data: 2 };
    const ack = events[1]?.[2];
    if (typeof ack === 'function') ack(response);
    sockets[0]?.emit('a:b', { kind: 'event', eventId: 'e', type: 'a:b', timestamp: 1 });
    await eventually(() => expect(heard).toHaveLength(4));
    expect(heard[0]).toBe('opened');
    expect(heard[2]).toEqual(response);
    expect(heard[3]).toMatchObject({ kind: 'event', eventId: 'e' });
    expect(early).toEqual([]);
  });

  test('E42 what is no frame is counted, however deep it is, and harms nothing', async () => {
    const { io, url } = await serving();
    io.on('connection', (socket) => {
      socket.emit('app:own', 'text');
      socket.emit('app:own');
      socket.emit('deep', `${'['.repeat(50_000)}${']'.repeat(50_000)}`);
      socket.conn.write(`2["a:b",${'['.repeat(100_000)}${']'.repeat(100_000)}]`);
      socket.emit('a:b', { kind: 'event', eventId: 7 });
      socket.emit('holdfast:ping', { kind: 'ping' });
    });
    const { heard } = dial(url);
    await eventually(() => expect(heard).toHaveLength(7));
    const kinds = heard.map((one) => (typeof one === 'object' && 'kind' in one ? one.kind : one));
    expect(kinds).toEqual(['opened', ...Array(5).fill('garbled'), 'ping']);
  });

  test('what cannot be sent now is never sent', async () => {
    const { io, url } = await serving();
    const events: unknown[] = [];
    io.on('connection', (socket) => {
      socket.onAny((name) => events.push(name));
      socket.emit('holdfast:ping', { kind: 'ping' });
    });
    const { link, heard, faults } = dial(url);
    link.send([{ kind: 'ping' }]);
    await eventually(() => expect(heard).toEqual(['opened', { kind: 'ping' }]));
    link.send([{ kind: 'pong' }, 'no JSON']);
    await eventually(() => expect(events).toEqual(['holdfast:pong']));
    io.disconnectSockets(true);
    link.send([{ kind: 'join', rooms: [] }]);
    await eventually(() => expect(faults()).toHaveLength(1));
    link.send([{ kind: 'join', rooms: [] }]);
    expect(link.bufferedAmount).toBe(0);
    expect(events).toEqual(['holdfast:pong']);
  });

  test.each(engines)('the buffer of %s says what waits', async (engine) => {
    const { io, port } = await serving();
    const { proxy, url } = await proxied(port);
    const sizes: number[] = [];
    io.on('connection', (socket) => {
      socket.onAny((_name, { payload }) => sizes.push(payload.length));
      socket.emit('holdfast:ping', { kind: 'ping' });
    });
    const { link, heard } = dial(url, { transports: [engine] });
    expect(link.bufferedAmount).toBe(0);
    await eventually(() => expect(heard).toHaveLength(2));
    proxy.set({ blackHole: 'both' });
    const text = JSON.stringify({ kind: 'message', type: 'a:b', payload: 'x'.repeat(500_000) });
    // More than the sockets of two systems take.
    for (let count = 0; count < 20; count++) link.send([text]);
    await eventually(() => expect(link.bufferedAmount).toBeGreaterThan(1_000_000));
    proxy.heal();
    await eventually(() => expect(sizes).toHaveLength(20));
    await eventually(() => expect(link.bufferedAmount).toBe(0));
  });
});

describe('how a link fails', () => {
  const refusing = async (error: unknown) => {
    const { io, url } = await serving();
    io.use((_socket, next) => next(error as Error));
    const { early, faults, hello } = dial(url);
    await eventually(() => expect(faults()).toHaveLength(1));
    expect(early).toEqual([]);
    expect(hello).toHaveBeenCalledOnce();
    return faults()[0];
  };

  test('T5 a middleware that refuses with data is told by its code', async () => {
    const data = { code: 'TOKEN_EXPIRED', retryable: true, retryAfter: 70 };
    const fault = await refusing(Object.assign(new Error('too old'), { data }));
    expect(fault).toMatchObject({ ...data, message: 'too old', isRemote: true });
  });

  test('T5 a middleware that refuses with a text alone is tried again', async () => {
    const fault = await refusing(new Error('full house'));
    expect(fault).toMatchObject({ code: 'CONNECTION_FAILED', isRemote: true });
    expect((fault as HoldfastError).message).toContain('full house');
  });

  test.each([
    [429, 'text/plain', 'RATE_LIMITED'],
    [401, 'application/json', 'TOKEN_EXPIRED'],
    [401, 'text/html', 'CONNECTION_FAILED'],
    [503, 'text/plain', 'CONNECTION_FAILED'],
  ])('T5 status %d as %s in place of a session means %s', async (status, type, code) => {
    const http = createServer((_request, response) => {
      response.writeHead(status, { 'content-type': type }).end('no');
    });
    await new Promise<void>((done) => http.listen(0, '127.0.0.1', done));
    cleanups.push(() => http.close());
    const address = http.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const { faults } = dial(`http://127.0.0.1:${port}`);
    await eventually(() => expect(faults()).toHaveLength(1));
    expect(faults()[0]).toMatchObject({ code, details: { status } });
  });

  test.each(engines)('T2 nobody there, over %s: closed once', async (engine) => {
    const { url, close } = await serving();
    await close();
    const { heard, early } = dial(url, { transports: [engine] });
    await eventually(() => expect(heard).toHaveLength(1));
    expect(heard[0]).toMatchObject({ code: 'CONNECTION_FAILED' });
    expect(early).toEqual([]);
  });

  test('a namespace that is none is refused, and says so', async () => {
    const { url } = await serving();
    const { faults } = dial(`${url}/nowhere`);
    await eventually(() => expect(faults()).toHaveLength(1));
    expect((faults()[0] as HoldfastError).message).toContain('Invalid namespace');
  });

  test('a transport that Socket.IO does not have is a failed dial, not an exception', async () => {
    const { faults } = dial('http://127.0.0.1:9', { transports: ['pigeon'] });
    await eventually(() => expect(faults()).toHaveLength(1));
    expect(faults()[0]).toMatchObject({ code: 'CONNECTION_FAILED' });
  });

  test('a URL that is none throws from dial', () => {
    expect(() => dial('nowhere')).toThrow(TypeError);
  });

  test('an error frame is the reason of the disconnect that follows it', async () => {
    const { io, url } = await serving();
    io.on('connection', (socket) => {
      const error = { code: 'SUPERSEDED', message: 'Another one.' };
      socket.emit('holdfast:error', { kind: 'error', error });
      socket.disconnect();
    });
    const { heard } = dial(url);
    await eventually(() => expect(heard).toHaveLength(3));
    expect(heard.slice(1)).toMatchObject([{ kind: 'error' }, { code: 'SUPERSEDED' }]);
  });

  test('a disconnect without a word is a lost connection', async () => {
    const { io, url } = await serving();
    io.on('connection', (socket) => socket.disconnect());
    const { faults } = dial(url);
    await eventually(() => expect(faults()).toHaveLength(1));
    expect(faults()[0]).toMatchObject({ code: 'CONNECTION_FAILED', isRemote: false });
  });

  test.each(engines)(
    'more than the server reads, over %s, accuses what was sent',
    async (engine) => {
      const { io, url } = await serving({ maxHttpBufferSize: 10_000 });
      io.on('connection', (socket) => socket.emit('holdfast:ping', { kind: 'ping' }));
      const { link, heard, faults } = dial(url, { transports: [engine] });
      await eventually(() => expect(heard).toHaveLength(2));
      link.send([JSON.stringify({ kind: 'message', type: 'a:b', payload: 'x'.repeat(20_000) })]);
      await eventually(() => expect(faults()).toHaveLength(1));
      expect(faults()[0]).toMatchObject({
        code: 'MESSAGE_TOO_LARGE',
        details: { closeCode: 1009 },
      });
    },
  );

  test.each([
    'reconnection',
    'reconnectionAttempts',
    'reconnectionDelay',
    'reconnectionDelayMax',
    'randomizationFactor',
    'retries',
    'ackTimeout',
    'auth',
    'autoConnect',
  ])('the option %s is refused', (name) => {
    const dialing = () => socketIo('http://127.0.0.1:9', { [name]: undefined });
    expect(dialing).toThrow(HoldfastError);
    expect(dialing).toThrow(name);
  });
});

describe('namespaces', () => {
  const room = async () => {
    const server = await serving();
    for (const name of ['/one', '/two', '/three']) server.io.of(name);
    const count = (name: string) => server.io.of(name).sockets.size;
    return { ...server, count };
  };

  test('share a connection where their options are equal, and the last one closes it', async () => {
    const { io, url, count } = await room();
    const headers = () => ({ extraHeaders: { 'x-app': 'a' }, transports: ['websocket'] });
    const one = dial(`${url}/one`, headers());
    const two = dial(`${url}/two`, headers());
    await eventually(() => expect([count('/one'), count('/two')]).toEqual([1, 1]));
    expect(io.engine.clientsCount).toBe(1);
    expect(one.early).toEqual([]);
    one.link.close();
    await eventually(() => expect(count('/one')).toBe(0));
    const three = dial(`${url}/three`, headers());
    expect(three.early).toEqual([]);
    expect(three.hello).not.toHaveBeenCalled();
    await eventually(() => expect([count('/two'), count('/three')]).toEqual([1, 1]));
    expect(io.engine.clientsCount).toBe(1);
    three.link.close();
    two.link.close();
    await eventually(() => expect(io.engine.clientsCount).toBe(0));
    expect([...one.faults(), ...two.faults(), ...three.faults()]).toEqual([]);
  });

  test.each<[string, SocketIoOptions]>([
    ['other headers', { extraHeaders: { 'x-app': 'b' } }],
    ['forceNew', { forceNew: true }],
    ['multiplex: false', { multiplex: false }],
    ['another query', { query: { a: '1' } }],
  ])('do not share a connection with %s', async (_what, options) => {
    const { io, url, count } = await room();
    dial(`${url}/one`, { extraHeaders: { 'x-app': 'a' } });
    dial(`${url}/two`, options);
    await eventually(() => expect([count('/one'), count('/two')]).toEqual([1, 1]));
    expect(io.engine.clientsCount).toBe(2);
  });

  test('that are dialed anew, or twice, get a connection of their own', async () => {
    const { io, url, count } = await room();
    const first = dial(`${url}/one`);
    dial(`${url}/one`);
    await eventually(() => expect(count('/one')).toBe(2));
    expect(io.engine.clientsCount).toBe(2);
    first.link.close();
    await eventually(() => expect(io.engine.clientsCount).toBe(1));
  });

  test('T3 one that is closed while its server makes up its mind is gone once it has', async () => {
    const { io, url, count } = await room();
    const asked: (() => void)[] = [];
    io.of('/two').use((_socket, next) => void asked.push(() => next()));
    dial(`${url}/one`);
    await eventually(() => expect(count('/one')).toBe(1));
    const { link, heard } = dial(`${url}/two`);
    await eventually(() => expect(asked).toHaveLength(1));
    link.close();
    let disconnects = 0;
    io.of('/two').on('connection', (socket) => socket.on('disconnect', () => disconnects++));
    asked[0]?.();
    await eventually(() => expect(disconnects).toBe(1));
    expect(heard).toEqual(['opened']);
    expect(count('/one')).toBe(1);
  });

  test('a lost connection is told to each of them once', async () => {
    const { io, url, count } = await room();
    const options: SocketIoOptions = { transports: ['websocket'] };
    const links = [dial(`${url}/one`, options), dial(`${url}/two`, options)];
    await eventually(() => expect([count('/one'), count('/two')]).toEqual([1, 1]));
    io.engine.close();
    await eventually(() => expect(links.map(({ faults }) => faults().length)).toEqual([1, 1]));
  });

  test('a query of the URL goes with the handshake', async () => {
    const { io, url } = await room();
    const queries: unknown[] = [];
    io.of('/one').on('connection', (socket) => queries.push(socket.handshake.query.tenant));
    dial(`${url}/one?tenant=t1`);
    dial(`${url}/one?tenant=t1`, { query: { tenant: 't2' } });
    await eventually(() => expect(queries.toSorted()).toEqual(['t1', 't2']));
  });
});
