/** The hub behind real Socket.IO servers: what it refuses, what it says, and what it does not let through. */
import { createHub, type HubOptions, memoryJournal } from 'holdfast/server';
import { io as connect, type Socket } from 'socket.io-client';
import { describe, expect, test } from 'vitest';
import { cleanups, eventually, hubServing, serving } from '../transports/socket-io-place.js';

const HELLO = { kind: 'hello', protocol: 1, clientId: 'c1', link: 1, rooms: [] };

/** A client of Socket.IO itself, with all it hears written down. */
function plain(url: string, auth: object = HELLO, options = {}) {
  const socket: Socket = connect(url, {
    transports: ['websocket'],
    reconnection: false,
    forceNew: true,
    auth,
    ...options,
  });
  const heard: unknown[][] = [];
  const ends: string[] = [];
  socket.onAny((...event: unknown[]) => void heard.push(event));
  socket.on('disconnect', (reason) => void ends.push(reason));
  cleanups.push(() => socket.disconnect());
  const names = () => heard.map(([name]) => name);
  const frames = (name: string) => heard.filter(([one]) => one === name).map(([, frame]) => frame);
  return { socket, heard, ends, names, frames };
}

async function welcomed(url: string, auth: object = HELLO, options = {}) {
  const client = plain(url, auth, options);
  await eventually(() => expect(client.names()).toContain('holdfast:room'));
  return client;
}

const request = (requestId: string, type: string, payload?: unknown) => ({
  kind: 'request',
  requestId,
  type,
  timestamp: 1,
  payload,
});

describe('attachSocketIO', () => {
  const attaching = async (io: object, options: HubOptions = {}) => {
    const server = await serving(io);
    const hub = createHub(options);
    cleanups.push(() => hub.close());
    return () => hub.attachSocketIO(server.io);
  };

  test('refuses a server that recovers connections by itself', async () => {
    expect(await attaching({ connectionStateRecovery: {} })).toThrow(/Leave it out/);
  });

  test.each([
    [undefined, 1_048_576, 'Set it to 1049600 or more, or maxMessageSize to 998976 or less'],
    [11_023, 10_000, 'Set it to 11024 or more'],
  ])('refuses one that reads %s bytes where frames have %d', async (size, max, cure) => {
    const attach = await attaching(
      { maxHttpBufferSize: size ?? 1e6 },
      { limits: { maxMessageSize: max } },
    );
    expect(attach).toThrow(TypeError);
    expect(attach).toThrow(cure);
  });

  test('takes one that reads just enough, a namespace, and one that serves nothing yet', async () => {
    const { Server } = await import('socket.io');
    const attach = await attaching(
      { maxHttpBufferSize: 11_024 },
      { limits: { maxMessageSize: 10_000 } },
    );
    attach()();
    const { io } = await serving();
    const hub = createHub({});
    cleanups.push(() => hub.close());
    hub.attachSocketIO(io.of('/app'))();
    const idle = new Server({ maxHttpBufferSize: 2_000_000 });
    hub.attachSocketIO(idle)();
    expect(() => hub.attachSocketIO(new Server())).toThrow('is 1000000, too small');
  });

  test('serves its namespace alone, beside the application’s own events', async () => {
    const { io, url } = await serving();
    const hub = createHub({});
    cleanups.push(() => hub.close());
    hub.attachSocketIO(io.of('/hub'));
    const own: unknown[] = [];
    io.of('/hub').on('connection', (socket) => {
      socket.on('app:own', (payload, ack) => {
        own.push(payload);
        ack('from the app');
      });
      socket.emit('app:hello', 'hi');
    });
    const other = plain(`${url}/`);
    const client = await welcomed(`${url}/hub`);
    expect(client.frames('app:hello')).toEqual(['hi']);
    await expect(client.socket.emitWithAck('app:own', 1)).resolves.toBe('from the app');
    expect(own).toEqual([1]);
    expect(other.heard).toEqual([]);
    expect(hub.metrics()).toMatchObject({ connections: 1, garbled: 1 });
  });

  test('its detach ends what came in by it, and serves no more', async () => {
    const { hub, url, detach } = await hubServing();
    const { ends } = await welcomed(url);
    detach();
    detach();
    await eventually(() => expect(ends).toEqual(['io server disconnect']));
    expect(hub.metrics().connections).toBe(0);
    const late = plain(url, { ...HELLO, link: 2 });
    await eventually(() => expect(late.socket.connected).toBe(true));
    expect(late.heard).toEqual([]);
  });

  test('a hub that closes ends every connection, and one that is closed takes none', async () => {
    const { io, url, hub } = await hubServing();
    const clients = [await welcomed(url), await welcomed(url, { ...HELLO, clientId: 'c2' })];
    await hub.close();
    await eventually(() => expect(clients.flatMap(({ ends }) => ends)).toHaveLength(2));
    expect(io.sockets.sockets.size).toBe(0);
  });
});

describe('who comes in', () => {
  test('what authenticate may look at is the handshake', async () => {
    const seen: unknown[] = [];
    const { url } = await hubServing({
      authenticate({ auth, request }) {
        seen.push(auth, request.headers['x-app'], request.url, request.remoteAddress);
        return { user: 'ann' };
      },
    });
    const { frames } = await welcomed(
      url,
      { ...HELLO, auth: { token: 't' } },
      { extraHeaders: { 'x-app': 'a' }, query: { tenant: 'b' } },
    );
    expect(seen).toEqual([
      { token: 't' },
      'a',
      expect.stringContaining('tenant=b'),
      expect.stringContaining('127.0.0.1'),
    ]);
    expect(frames('holdfast:welcome')).toMatchObject([{ kind: 'welcome', user: 'ann' }]);
  });

  test('a refusal is an error frame, then a disconnect', async () => {
    const { url } = await hubServing({
      authenticate() {
        throw new Error('Nobody.');
      },
    });
    const { heard, ends } = plain(url);
    await eventually(() => expect(ends).toEqual(['io server disconnect']));
    expect(heard).toMatchObject([
      ['holdfast:error', { kind: 'error', error: { code: 'SERVER_ERROR' } }],
    ]);
  });

  test('an origin that is none of ours is refused', async () => {
    const { url, hub } = await hubServing({ limits: { origins: ['https://app.example.com'] } });
    const from = (origin: string) => ({ extraHeaders: { origin } });
    const stranger = plain(url, HELLO, from('https://evil.example.com'));
    await eventually(() => expect(stranger.ends).toHaveLength(1));
    expect(stranger.frames('holdfast:error')).toMatchObject([{ error: { code: 'UNAUTHORIZED' } }]);
    await welcomed(url, HELLO, from('https://app.example.com'));
    expect(hub.metrics().connectionsAccepted).toBe(1);
  });

  test.each<[string, object]>([
    ['nothing', {}],
    ['another protocol', { ...HELLO, protocol: 2 }],
    ['something else', { token: 't' }],
  ])('a handshake that presents %s is no hello', async (_what, auth) => {
    const { url } = await hubServing();
    const { frames, ends } = plain(url, auth);
    await eventually(() => expect(ends).toHaveLength(1));
    expect(frames('holdfast:error')).toMatchObject([{ error: { code: 'PROTOCOL_ERROR' } }]);
  });
});

describe('what is said', () => {
  const handlers: HubOptions['handlers'] = { 'echo:say': (payload) => payload };

  test('a response goes to the ack of its request, and without one out as an event', async () => {
    const { url } = await hubServing({ handlers });
    const { socket, frames } = await welcomed(url);
    const acked: unknown = await socket.emitWithAck('echo:say', request('r1', 'echo:say', 1));
    expect(acked).toEqual({ kind: 'response', requestId: 'r1', success: true, data: 1 });
    socket.emit('echo:say', request('r2', 'echo:say', 2));
    await eventually(() => expect(frames('holdfast:response')).toHaveLength(1));
    expect(frames('holdfast:response')).toMatchObject([{ requestId: 'r2', data: 2 }]);
  });

  test('a repeat on the next connection is answered there', async () => {
    const runs: unknown[] = [];
    let answer: (data: string) => void = () => {};
    const { url } = await hubServing({
      handlers: {
        'slow:run': (payload) => {
          runs.push(payload);
          return new Promise<string>((done) => {
            answer = done;
          });
        },
      },
    });
    const first = await welcomed(url);
    first.socket.emit('slow:run', request('r1', 'slow:run'), () => {});
    await eventually(() => expect(runs).toHaveLength(1));
    const second = await welcomed(url, { ...HELLO, link: 2 });
    await eventually(() => expect(first.ends).toEqual(['io server disconnect']));
    expect(first.frames('holdfast:error')).toMatchObject([{ error: { code: 'SUPERSEDED' } }]);
    const repeated = second.socket.emitWithAck('slow:run', request('r1', 'slow:run'));
    answer('done');
    await expect(repeated).resolves.toMatchObject({ requestId: 'r1', data: 'done' });
    expect(runs).toHaveLength(1);
  });

  test('events are emitted by their type, bytes as attachments, too many of them as text', async () => {
    const { hub, url } = await hubServing();
    const { socket, frames } = await welcomed(url);
    socket.emit('holdfast:join', { kind: 'join', rooms: [{ room: 'r' }] });
    await eventually(() => expect(frames('holdfast:room')).toHaveLength(4));
    const bytes = (count: number) => Array.from({ length: count }, () => new Uint8Array([7]));
    await hub.publish('r', 'bytes:came', bytes(10));
    await hub.publish('r', 'bytes:came', bytes(11));
    await eventually(() => expect(frames('bytes:came')).toHaveLength(2));
    const [few, many] = frames('bytes:came');
    expect(few).toMatchObject({ kind: 'event', payload: Array(10).fill(Buffer.from([7])) });
    expect(JSON.parse(String(many))).toMatchObject({ kind: 'event', seq: 2 });
  });

  test('a ping is answered, and everybody in a room hears the same', async () => {
    const { hub, url } = await hubServing();
    const rooms = [{ room: 'r' }];
    const clients = await Promise.all(
      ['a', 'b', 'c'].map((clientId) => welcomed(url, { ...HELLO, clientId, rooms })),
    );
    for (const { frames } of clients) {
      await eventually(() => expect(frames('holdfast:room')).toHaveLength(4));
    }
    await hub.publish('r', 'feed:ticked', 1);
    for (const { socket, frames } of clients) {
      socket.emit('holdfast:ping', { kind: 'ping' });
      await eventually(() => expect(frames('holdfast:pong')).toHaveLength(1));
      expect(frames('feed:ticked')).toMatchObject([{ payload: 1, seq: 1 }]);
    }
  });
});

describe('what harms nobody', () => {
  test('E42 frames that are none are counted, and answered where somebody waits', async () => {
    const { hub, url } = await hubServing();
    const { socket } = await welcomed(url);
    for (const frame of [undefined, null, 7, 'text', [], Buffer.from('x'), { kind: 'tomorrow' }]) {
      socket.emit('holdfast:join', frame);
    }
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    socket.io.engine.write(`2["a:b",{"kind":"message","payload":${deep}}]`);
    socket.io.engine.write(`2["a:b",${JSON.stringify({ __proto__: { kind: 'ping' } })}]`);
    const refused: unknown = await socket.emitWithAck('a:b', { kind: 'request', requestId: 'r' });
    expect(refused).toMatchObject({ requestId: 'r', error: { code: 'INVALID_PAYLOAD' } });
    await eventually(() => expect(hub.metrics().garbled).toBeGreaterThanOrEqual(9));
    expect(socket.connected).toBe(true);
  });

  test('a frame that is larger than the hub reads ends its connection, and says why', async () => {
    const { url } = await hubServing({ limits: { maxMessageSize: 1_000 } });
    const { socket, frames, ends } = await welcomed(url);
    socket.emit('a:b', { kind: 'message', type: 'a:b', timestamp: 1, payload: 'x'.repeat(1_000) });
    await eventually(() => expect(ends).toHaveLength(1));
    expect(frames('holdfast:error')).toMatchObject([{ error: { code: 'MESSAGE_TOO_LARGE' } }]);
  });

  test.each([['websocket'], ['polling']])(
    'E37 one that does not read, over %s, holds no more than its bound, and gets it all in order',
    async (engine) => {
      const { hub, io, port } = await hubServing({
        limits: { bufferedBytes: 65_536 },
        journal: memoryJournal({ maxBytes: 100_000_000 }),
      });
      const { faultProxy } = await import('holdfast/testing/node');
      const proxy = await faultProxy({ target: { port } });
      cleanups.push(proxy.close);
      const client = await welcomed(
        `http://127.0.0.1:${proxy.port}`,
        { ...HELLO, rooms: [{ room: 'r' }] },
        { transports: [engine] },
      );
      await eventually(() => expect(client.frames('holdfast:room')).toHaveLength(4));
      proxy.set({ blackHole: 'both' });
      const text = 'x'.repeat(50_000);
      for (let number = 0; number < 400; number++) {
        await hub.publish('r', 'feed:ticked', { number, text });
      }
      const [socket] = [...io.sockets.sockets.values()];
      const waiting: unknown = Reflect.get(socket?.conn ?? {}, 'writeBuffer');
      expect(JSON.stringify(waiting).length).toBeLessThan(300_000);
      proxy.heal();
      const numbers = () =>
        client.frames('feed:ticked').map((frame) => Reflect.get(Object(frame).payload, 'number'));
      await eventually(() => expect(numbers()).toHaveLength(400), 10_000);
      expect(numbers()).toEqual(Array.from({ length: 400 }, (_, number) => number));
      expect(client.ends).toEqual([]);
    },
    20_000,
  );

  test.each([['websocket'], ['polling']])(
    'E14 one that is gone without a word, over %s, is cut',
    async (engine) => {
      const { hub, port } = await hubServing({ heartbeat: { interval: 200, timeout: 200 } });
      const { faultProxy } = await import('holdfast/testing/node');
      const proxy = await faultProxy({ target: { port } });
      cleanups.push(proxy.close);
      await welcomed(`http://127.0.0.1:${proxy.port}`, HELLO, { transports: [engine] });
      expect(hub.metrics().connections).toBe(1);
      proxy.set({ blackHole: 'both' });
      await eventually(() => expect(hub.metrics().connections).toBe(0));
      expect(hub.metrics().timedOut).toBe(1);
    },
  );
});
