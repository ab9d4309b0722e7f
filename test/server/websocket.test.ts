import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { createHub, type HubOptions, memoryJournal, unauthorized } from 'holdfast/server';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import type { AnyContract } from '../../src/protocol/contract.js';

const endings: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

async function listening(): Promise<{ server: Server; port: number }> {
  const server = createServer((_, response) => response.end('page'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  endings.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { server, port };
}

async function serving(options: HubOptions<AnyContract, string> = {}) {
  const { server, port } = await listening();
  const hub = createHub({ onError: () => {}, ...options });
  const detach = hub.attachWebSocket(server, { path: '/realtime' });
  endings.push(() => hub.close());
  return { hub, server, port, detach, url: `ws://127.0.0.1:${port}/realtime` };
}

/** A plain `ws` client that keeps what it hears. */
function dial(url: string, options: { protocols?: string[]; origin?: string } = {}) {
  const { protocols = ['holdfast.1'], origin } = options;
  const socket = new WebSocket(url, protocols, origin === undefined ? {} : { origin });
  const frames: Record<string, unknown>[] = [];
  socket.on('message', (data) => frames.push(JSON.parse(String(data))));
  socket.on('error', () => {});
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: String(reason) }));
  });
  endings.push(() => socket.terminate());
  return {
    socket,
    frames,
    closed,
    opened: once(socket, 'open'),
    send: (frame: unknown) =>
      socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame)),
    heard: (kind: string, count = 1) =>
      vi.waitFor(() => {
        const found = frames.filter((frame) => frame.kind === kind);
        if (found.length < count) throw new Error(`${found.length} of ${count} ${kind}`);
        return found;
      }, 10_000),
  };
}

const hello = (fields: Record<string, unknown> = {}) => ({
  kind: 'hello',
  protocol: 1,
  clientId: 'c1',
  link: 1,
  rooms: [],
  ...fields,
});

describe('a real socket', () => {
  test('is welcomed, joins, asks and hears', async () => {
    const { hub, url } = await serving({ handlers: { 'sum:add': (payload) => payload } });
    const client = dial(url);
    await client.opened;
    expect(client.socket.protocol).toBe('holdfast.1');
    client.send(hello({ rooms: [{ room: 'a' }] }));
    await client.heard('room', 4);
    await hub.publish('a', 'x:y', { text: 'grüße 👋' });
    const [event] = await client.heard('event');
    expect(event).toMatchObject({ room: 'a', seq: 1, payload: { text: 'grüße 👋' } });
    client.send({ kind: 'request', requestId: 'r1', type: 'sum:add', timestamp: 1, payload: 7 });
    const [response] = await client.heard('response');
    expect(response).toMatchObject({ success: true, data: 7 });
    client.send('{"kind":"ping"}');
    await client.heard('pong');
    expect(hub.metrics()).toMatchObject({ connections: 1, requestsRun: 1, eventsDelivered: 1 });
  });

  test('gets the frames of one tick in one write', async () => {
    const { hub, server, url } = await serving();
    let writes = 0;
    server.on('connection', (socket) => {
      const write = socket._write.bind(socket);
      socket._write = (...args) => {
        writes++;
        write(...args);
      };
      const writev = socket._writev?.bind(socket);
      if (writev === undefined) return;
      socket._writev = (...args) => {
        writes++;
        writev(...args);
      };
    });
    const client = dial(url);
    await client.opened;
    client.send(hello({ rooms: [{ room: 'a' }] }));
    await client.heard('room', 4);
    const before = writes;
    await Promise.all(Array.from({ length: 100 }, (_, n) => hub.publish('a', 'x:y', n)));
    await client.heard('event', 100);
    expect(writes - before).toBe(1);
  });

  test('reaches `authenticate` with its request', async () => {
    const seen = vi.fn();
    const { url } = await serving({
      authenticate: ({ auth, request }) => {
        seen(auth, request.url, request.headers.host, request.remoteAddress);
        return { user: 'ada' };
      },
    });
    const client = dial(`${url}?x=1`);
    await client.opened;
    client.send(hello({ auth: { token: 't' } }));
    const [welcome] = await client.heard('welcome');
    expect(welcome).toMatchObject({ user: 'ada' });
    expect(seen).toHaveBeenCalledWith(
      { token: 't' },
      '/realtime?x=1',
      expect.stringContaining('127.0.0.1'),
      '127.0.0.1',
    );
  });

  test('that uploads slowly is alive', async () => {
    const { hub, url } = await serving({ heartbeat: { interval: 150, timeout: 100 } });
    const client = dial(url);
    await client.opened;
    client.send(hello());
    await client.heard('welcome');
    // A masked text frame of 125 bytes, a byte at a time, and nothing else: no pong.
    client.socket.pause();
    const bytes = Buffer.concat([Buffer.from([0x81, 0xfd, 0, 0, 0, 0]), Buffer.alloc(20, 'x')]);
    for (const byte of bytes) {
      Reflect.get(client.socket, '_socket').write(Buffer.from([byte]));
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
    expect(hub.metrics()).toMatchObject({ connections: 1, timedOut: 0 });
  });

  test('that stops reading is served from the journal, and memory stays bounded', async () => {
    const { hub, url } = await serving({
      journal: memoryJournal({ maxBytes: 100_000_000 }),
      limits: { bufferedBytes: 65_536 },
    });
    const client = dial(url);
    await client.opened;
    client.send(hello({ rooms: [{ room: 'a' }] }));
    await client.heard('room', 4);
    client.socket.pause();
    const payload = 'x'.repeat(50_000);
    // Far more than the buffers of two sockets take, and less than the journal keeps.
    for (let n = 0; n < 390; n++) await hub.publish('a', 'x:y', payload);
    const before = hub.metrics().eventsDelivered;
    expect(before).toBeLessThan(390);
    client.socket.resume();
    const events = await client.heard('event', 390);
    expect(events.map((event) => event.seq)).toEqual(Array.from({ length: 390 }, (_, n) => n + 1));
  });

  test('that is cut off does not crash the server, and leaves the room', async () => {
    const { hub, url } = await serving();
    const client = dial(url);
    await client.opened;
    client.send(hello({ rooms: [{ room: 'a' }] }));
    await client.heard('room', 4);
    client.socket.terminate();
    await vi.waitFor(() => expect(hub.metrics()).toMatchObject({ connections: 0, rooms: 0 }));
    await hub.publish('a', 'x:y', 1);
  });
});

describe('refusals', () => {
  test('an origin that is not on the list is accepted, then closed with 4403', async () => {
    const { url } = await serving({ limits: { origins: ['https://app.example.com'] } });
    const foreign = dial(url, { origin: 'https://evil.example.com' });
    await foreign.opened;
    expect(await foreign.closed).toMatchObject({
      code: 4403,
      reason: expect.stringContaining('limits.origins'),
    });

    for (const options of [{ origin: 'https://app.example.com' }, {}]) {
      const client = dial(url, options);
      await client.opened;
      client.send(hello());
      await client.heard('welcome');
    }
  });

  test('a foreign subprotocol is told so with 1002; none at all is served', async () => {
    const { url } = await serving();
    const foreign = dial(url, { protocols: ['graphql-transport-ws'] });
    await foreign.opened;
    expect(await foreign.closed).toMatchObject({ code: 1002 });

    const several = dial(url, { protocols: ['holdfast.9', 'holdfast.1'] });
    await several.opened;
    expect(several.socket.protocol).toBe('holdfast.1');

    const plain = dial(url, { protocols: [] });
    await plain.opened;
    plain.send(hello());
    await plain.heard('welcome');
  });

  test('refused credentials are told after the upgrade, where browsers can see them', async () => {
    const { url } = await serving({
      authenticate: () => {
        throw unauthorized('No.');
      },
    });
    const client = dial(url);
    await client.opened;
    client.send(hello());
    expect(await client.closed).toEqual({ code: 4403, reason: 'No.' });
    expect(client.frames).toMatchObject([{ kind: 'error', error: { code: 'UNAUTHORIZED' } }]);
  });

  test('a frame above the limit is closed with 1009, broken UTF-8 with 1007', async () => {
    const { url, hub } = await serving({ limits: { maxMessageSize: 1_000 } });
    const big = dial(url);
    await big.opened;
    big.send(hello());
    await big.heard('welcome');
    big.send('x'.repeat(1_001));
    expect((await big.closed).code).toBe(1009);

    const broken = dial(url);
    await broken.opened;
    broken.socket.send(Buffer.from([0xc3, 0x28]), { binary: false });
    expect((await broken.closed).code).toBe(1007);
    await vi.waitFor(() => expect(hub.metrics().connections).toBe(0));
  });

  test('binary frames are no frames of holdfast.1', async () => {
    const { url } = await serving();
    const client = dial(url);
    await client.opened;
    client.socket.send(Buffer.from('{}'), { binary: true });
    expect((await client.closed).code).toBe(1002);
  });
});

describe('the http server', () => {
  test('goes on answering, and upgrades of other paths are left to others', async () => {
    const { server, port } = await serving();
    const answer = await fetch(`http://127.0.0.1:${port}/`);
    expect(await answer.text()).toBe('page');

    server.on('upgrade', (request, socket) => {
      if (request.url === '/other') socket.end('HTTP/1.1 418 Other\r\n\r\n');
    });
    const raw = connect(port, '127.0.0.1');
    endings.push(() => raw.destroy());
    raw.write(
      'GET /other HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    const [data] = await once(raw, 'data');
    expect(String(data)).toContain('418 Other');
  });

  test('survives the reset of an upgrade that nobody has answered', async () => {
    const { server, port } = await serving();
    const listeners = vi.fn();
    // Another listener of the path: it leaves the socket open.
    const upgraded = new Promise<{ destroyed: boolean }>((resolve) => {
      server.on('upgrade', (_, socket) => {
        listeners(socket.listenerCount('error'));
        resolve(socket);
      });
    });
    const raw = connect(port, '127.0.0.1');
    endings.push(() => raw.destroy());
    raw.write(
      'GET /other HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    const socket = await upgraded;
    raw.resetAndDestroy();
    await vi.waitFor(() => expect(socket.destroyed).toBe(true));
    expect(listeners).toHaveBeenCalledWith(1);
  });

  test('two hubs share it, each on its path', async () => {
    const { server, port } = await serving();
    const second = createHub({ authenticate: () => ({ user: 'second' }) });
    second.attachWebSocket(server, { path: '/second' });
    endings.push(() => second.close());
    const client = dial(`ws://127.0.0.1:${port}/second`);
    await client.opened;
    client.send(hello());
    expect(await client.heard('welcome')).toMatchObject([{ user: 'second' }]);
  });

  test('survives garbage in place of a handshake and in place of frames', async () => {
    const { port, url } = await serving();
    for (const text of [
      'GET /realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
      'GET //[::bad HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    ]) {
      const raw = connect(port, '127.0.0.1');
      raw.on('error', () => {});
      endings.push(() => raw.destroy());
      raw.write(text);
      raw.end();
    }
    const client = dial(url);
    await client.opened;
    client.send(hello());
    await client.heard('welcome');
  });

  test('is let go by detach, which ends what came in by it', async () => {
    const { server, detach, url } = await serving();
    const client = dial(url);
    await client.opened;
    client.send(hello());
    await client.heard('welcome');
    detach();
    await client.closed;
    expect(server.listenerCount('upgrade')).toBe(0);
  });

  test('close ends with a close handshake and leaves no socket behind', async () => {
    const { hub, server, url } = await serving();
    const client = dial(url);
    await client.opened;
    client.send(hello());
    await client.heard('welcome');
    await hub.close();
    expect((await client.closed).code).toBe(1001);
    expect(server.listenerCount('upgrade')).toBe(0);
    await vi.waitFor(async () => {
      const left = await new Promise<number>((resolve, reject) => {
        server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
      });
      expect(left).toBe(0);
    });
  });
});
