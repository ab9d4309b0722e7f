/** The client over real sockets: how links fail, close and fall silent outside a model of them. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { inspect } from 'node:util';
import { type ClientOptions, type Contract, createClient } from 'holdfast';
import { recorder } from 'holdfast/testing';
import { faultProxy } from 'holdfast/testing/node';
import { webSocket } from 'holdfast/websocket';
import { afterEach, describe, expect, test } from 'vitest';
import { type Answer, courtesy, type RealServer, realServer, say } from './real-server.js';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serving(answer?: Answer): Promise<RealServer> {
  const server = await realServer(answer);
  cleanups.push(server.close);
  return server;
}

/** Waits of 1 ms at most, so that a test of a retry takes no time. */
function dialing(url: string | (() => string), options: Partial<ClientOptions<Contract>> = {}) {
  const client = createClient({
    transport: webSocket(url),
    reconnect: { initialDelay: 1, maxDelay: 1 },
    environment: { report() {} },
    ...options,
  });
  cleanups.push(() => client.close());
  const seen = recorder(client);
  client.connect().catch(() => {});
  return { client, seen, until: seen.until };
}

const isStatus = (status: string) => (seen: ReturnType<typeof dialing>['seen']) =>
  seen.statuses.at(-1) === status;

describe('how a link ends', () => {
  test('E05 an error before the close waits for the close code: one failed attempt, not two', async () => {
    // A port that nobody listens on: `ws` emits an error, then a close.
    const gone = await serving();
    await gone.close();
    const { client, seen, until } = dialing(gone.url, {
      reconnect: { initialDelay: 60_000, jitter: 'none' },
    });
    await until(isStatus('reconnecting'));
    expect(client.state).toMatchObject({
      reconnectAttempts: 1,
      error: { code: 'CONNECTION_FAILED', details: { closeCode: 1006 } },
    });
    expect(seen.errors).toEqual([]);
  });

  test('E05 a broken frame makes an error and then a close; the client comes back', async () => {
    const server = await serving((frame, socket, request) => {
      if (frame.kind === 'hello' && server.handshakes.length === 1) {
        // An opcode that no standard has.
        request.socket.write(Buffer.from([0x83, 0x00]));
      } else courtesy(frame, socket);
    });
    const { client, seen, until } = dialing(server.url);
    await until(isStatus('connected'));
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'reconnecting', 'connected']);
    expect(client.metrics().attempts).toBe(2);
  });

  test('E05 a constructor that throws is a failed attempt', async () => {
    const server = await serving();
    const urls = ['not a URL', 'http//', 'ws://user:secret@[', server.url];
    const { client, seen, until } = dialing(() => urls.shift() ?? server.url);
    await until(isStatus('connected'));
    expect(client.metrics().attempts).toBe(4);
    const faults = seen.states.flatMap(({ error }) => (error === null ? [] : [error]));
    expect(faults.length).toBeGreaterThan(0);
    expect(faults[0]?.code).toBe('CONNECTION_FAILED');
    expect(faults[0]?.message).toContain('(SyntaxError)');
    for (const fault of faults) expect(inspect(fault)).not.toContain('secret');
    expect(server.handshakes).toHaveLength(1);
  });

  test.each([1000, 1001, 1005, 1011, 1012, 1014, 3000, 4999])(
    'E10 a close with %d that we did not ask for reconnects',
    async (code) => {
      const server = await serving((frame, socket) => {
        courtesy(frame, socket);
        if (server.handshakes.length > 1) return;
        if (code === 1005) socket.close();
        else socket.close(code, 'bye');
      });
      const { seen, until } = dialing(server.url);
      await until(() => server.handshakes.length === 2 && seen.statuses.at(-1) === 'connected');
      const faults = seen.states.flatMap(({ error }) => (error === null ? [] : [error]));
      expect(faults[0]).toMatchObject({ code: 'CONNECTION_FAILED', details: { closeCode: code } });
    },
  );

  test.each([
    [4403, 'UNAUTHORIZED'],
    [1008, 'UNAUTHORIZED'],
    [4408, 'TOO_MANY_CONNECTIONS'],
    [4409, 'SUPERSEDED'],
  ])('E10 a close with %d is for good, and says why', async (closeCode, code) => {
    const server = await serving((frame, socket) => {
      courtesy(frame, socket);
      socket.close(closeCode);
    });
    const { client, until } = dialing(server.url);
    await until(isStatus('closed'));
    expect(client.state.error).toMatchObject({ code, details: { closeCode } });
    expect(server.handshakes).toHaveLength(1);
  });

  test('E10 a reason of ours is cut to 123 bytes, on a whole character', async () => {
    const server = await serving();
    const { codec, dial } = webSocket(server.url);
    const hello = { kind: 'hello', protocol: 1, clientId: 'c', link: 1, rooms: [] } as const;
    expect(codec).toBeDefined();
    await new Promise<void>((done) => {
      const link = dial(() => ({ ...hello, rooms: [] }), {
        opened: () => {
          link.close(4000, `x${'€'.repeat(100)}`);
          done();
        },
        received() {},
        closed() {},
      });
    });
    await expect.poll(() => server.closes).toHaveLength(1);
    const [closed] = server.closes;
    expect(closed?.code).toBe(4000);
    expect(closed?.reason).toBe(`x${'€'.repeat(40)}`);
    expect(Buffer.byteLength(closed?.reason ?? '')).toBeLessThanOrEqual(123);
  });
});

describe('a captive portal', () => {
  const page = '<!doctype html><title>Welcome to Hotel Wi-Fi</title><form>Room number</form>';

  /** Answers everything with `answer`, until a real server takes its place. */
  async function portal(status: number) {
    const server = createServer((_request, response) => {
      response.writeHead(status, { 'content-type': 'text/html' }).end(page);
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    cleanups.push(() => server.close());
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  test.each([200, 302, 401, 403, 511])(
    'E11 a page with status %d instead of 101 is a failed attempt with a clear error',
    async (status) => {
      const server = await serving();
      const urls = [await portal(status)];
      const { client, seen, until } = dialing(() => urls.shift() ?? server.url);
      await until(isStatus('connected'));
      expect(seen.statuses).toEqual(['disconnected', 'connecting', 'reconnecting', 'connected']);
      expect(client.metrics()).toMatchObject({ attempts: 2, connects: 1 });
      const [fault] = seen.states.flatMap(({ error }) => (error === null ? [] : [error]));
      expect(fault?.code).toBe('CONNECTION_FAILED');
      // It names the status, in its message or in its cause.
      expect(inspect(fault)).toContain(String(status));
      expect(fault?.message).toMatch(/handshake|refused|upgrade|response/i);
    },
  );

  test('E11 a page that comes through an open socket is no welcome', async () => {
    const real = await serving();
    const html = await serving((_frame, socket) => socket.send(page));
    const urls = [html.url];
    const { client, seen, until } = dialing(() => urls.shift() ?? real.url, {
      reconnect: { initialDelay: 1, maxDelay: 1, connectTimeout: 300 },
    });
    await until(isStatus('connected'));
    expect(client.metrics()).toMatchObject({ attempts: 2, connects: 1 });
    const [fault] = seen.states.flatMap(({ error }) => (error === null ? [] : [error]));
    expect(fault?.message).toMatch(/did not welcome us/);
    expect(seen.errors).toEqual([]);
    await expect.poll(() => html.closes).toHaveLength(1);
  });

  test('E11 a server of another language is told by its subprotocol', async () => {
    const tcp = createServer();
    const { createHash } = await import('node:crypto');
    tcp.on('upgrade', ({ headers }, socket) => {
      const key = `${headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
      const accept = createHash('sha1').update(key).digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n`,
      );
      socket.on('error', () => {});
      cleanups.push(() => socket.destroy());
    });
    await new Promise<void>((done) => tcp.listen(0, '127.0.0.1', done));
    cleanups.push(() => tcp.close());
    const url = `ws://127.0.0.1:${(tcp.address() as AddressInfo).port}`;
    const transport = webSocket(url, { protocols: ['mqtt'] });
    const { client, until } = dialing(url, { transport });
    await until((seen) => (seen.states.at(-1)?.error ?? null) !== null);
    expect(client.state.error).toMatchObject({ code: 'PROTOCOL_ERROR' });
    expect(client.state.error?.message).toContain('holdfast.1');
  });
});

describe('a black hole', () => {
  const heartbeat = { interval: 150, timeout: 100 };

  test('E14 a connection that swallows everything is noticed within interval + timeout', async () => {
    const server = await serving();
    const proxy = await faultProxy({ target: { port: server.port } });
    cleanups.push(proxy.close);
    const { client, seen, until } = dialing(`ws://127.0.0.1:${proxy.port}`, { heartbeat });
    await until(isStatus('connected'));
    // Healthy, it stays up for many heartbeats.
    const pings = () => server.frames.filter(({ kind }) => kind === 'ping').length;
    await expect.poll(pings).toBeGreaterThanOrEqual(3);
    expect(client.metrics().reconnects).toBe(0);

    proxy.set({ blackHole: 'both' });
    const from = performance.now();
    await until(isStatus('reconnecting'));
    const took = performance.now() - from;
    expect(client.state.error).toMatchObject({ code: 'HEARTBEAT_TIMEOUT' });
    // 100 ms for a machine that is busy with other tests.
    expect(took).toBeLessThan(heartbeat.interval + heartbeat.timeout + 100);
    proxy.heal({ release: false });
    await until(isStatus('connected'));
    expect(seen.statuses.filter((status) => status === 'connected')).toHaveLength(2);
  });

  test('E14 a peer that answers the handshake and nothing else is given up', async () => {
    const server = await serving(() => {});
    const { client, until } = dialing(server.url, {
      reconnect: { initialDelay: 60_000, jitter: 'none', connectTimeout: 100 },
    });
    await until(isStatus('reconnecting'));
    expect(client.state.error?.message).toMatch(/did not welcome us/);
  });

  test('E14 a port that accepts and stays silent is given up, and its socket let go', async () => {
    const sockets: { destroyed: boolean }[] = [];
    const tcp = createTcpServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {}).resume();
      socket.on('end', () => socket.end());
    });
    await new Promise<void>((done) => tcp.listen(0, '127.0.0.1', done));
    cleanups.push(() => tcp.close());
    const { port } = tcp.address() as AddressInfo;
    const { until } = dialing(`ws://127.0.0.1:${port}`, {
      reconnect: { initialDelay: 60_000, jitter: 'none', connectTimeout: 100 },
    });
    await until(isStatus('reconnecting'));
    await expect.poll(() => sockets.map(({ destroyed }) => destroyed)).toEqual([true]);
  });
});

describe('credentials on the wire', () => {
  test('E41 no token is in any URL or header: it travels in the first frame and in renewals', async () => {
    const server = await serving((frame, socket) => {
      if (frame.kind !== 'hello') return courtesy(frame, socket);
      const authExpiresIn = 100;
      say(socket, { kind: 'welcome', connectionId: 'c', terms: { authExpiresIn } });
    });
    let serial = 0;
    const { client, until } = dialing(server.url, {
      auth: () => ({ token: `secret-${++serial}` }),
    });
    await until(isStatus('connected'));
    await expect.poll(() => server.frames.some(({ kind }) => kind === 'auth')).toBe(true);
    client.reconnect();
    await expect.poll(() => server.handshakes.length).toBe(2);
    await until(isStatus('connected'));
    const hellos = server.frames.filter(({ kind }) => kind === 'hello');
    expect(JSON.stringify(hellos)).toContain('secret-1');
    for (const { url, rawHeaders } of server.handshakes) {
      expect(`${url} ${rawHeaders.join(' ')}`).not.toContain('secret');
    }
    const [socket] = server.sockets;
    client.close();
    if (socket !== undefined) await once(socket, 'close');
    expect(JSON.stringify(server.closes)).not.toContain('secret');
  });
});
