import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { captivePortal, faultProxy, type ProxyAnswer } from '../../src/testing/node.js';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const soon = (check: () => void) => vi.waitFor(check, { interval: 5, timeout: 4_000 });

/** One end of a TCP connection, and all it has seen. */
interface End {
  readonly socket: Socket;
  text: string;
  ended: boolean;
  closed: boolean;
  error: string | undefined;
}

function endOf(socket: Socket): End {
  const end: End = { socket, text: '', ended: false, closed: false, error: undefined };
  socket.on('data', (bytes: Buffer) => {
    end.text += bytes.toString();
  });
  socket.on('end', () => {
    end.ended = true;
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    end.error = error.code;
  });
  socket.on('close', () => {
    end.closed = true;
  });
  cleanups.push(() => socket.destroy());
  return end;
}

async function tcpServer() {
  const ends: End[] = [];
  const server = createServer((socket) => ends.push(endOf(socket)));
  await listening(server);
  return { ends, port: portOf(server) };
}

async function listening(server: Server): Promise<void> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  cleanups.push(() => server.close());
}

function portOf(server: { address(): AddressInfo | string | null }): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function stage() {
  const server = await tcpServer();
  const proxy = await faultProxy({ target: { port: server.port } });
  cleanups.push(proxy.close);
  const dial = () => endOf(connect({ port: proxy.port, host: '127.0.0.1' }));

  /** A connection whose both ends have spoken. */
  async function connected(): Promise<{ client: End; peer: End }> {
    const before = server.ends.length;
    const client = dial();
    client.socket.write('hi;');
    await soon(() => expect(server.ends[before]?.text).toBe('hi;'));
    const peer = server.ends[before];
    if (peer === undefined) throw new Error('no peer');
    peer.socket.write('ho;');
    await soon(() => expect(client.text).toBe('ho;'));
    return { client, peer };
  }
  return { server, proxy, dial, connected };
}

describe('faultProxy', () => {
  it('carries bytes both ways and counts them', async () => {
    const { proxy, connected } = await stage();
    await connected();
    expect(proxy.counters).toMatchObject({ accepted: 1, bytesUp: 3, bytesDown: 3 });
    expect(proxy.connections.map(({ id }) => id)).toEqual([1]);
  });

  it('passes a FIN on, and forgets the connection', async () => {
    const { proxy, connected } = await stage();
    const { client, peer } = await connected();
    client.socket.end('bye');
    await soon(() => expect(peer).toMatchObject({ text: 'hi;bye', ended: true, error: undefined }));
    await soon(() => expect(client).toMatchObject({ closed: true, error: undefined }));
    await soon(() => expect(proxy.connections).toEqual([]));
  });

  it('passes a RST on, and forgets the connection', async () => {
    const { proxy, connected } = await stage();
    const { client, peer } = await connected();
    client.socket.resetAndDestroy();
    await soon(() => expect(peer.error).toBe('ECONNRESET'));
    await soon(() => expect(proxy.connections).toEqual([]));
  });

  it('resets both ends of every connection', async () => {
    const { proxy, connected } = await stage();
    const pairs = [await connected(), await connected()];
    proxy.reset();
    for (const { client, peer } of pairs) {
      await soon(() => expect([client.error, peer.error]).toEqual(['ECONNRESET', 'ECONNRESET']));
    }
    await soon(() => expect(proxy.connections).toEqual([]));
    expect(proxy.counters.resets).toBe(2);
  });

  it('resets one connection and leaves the others', async () => {
    const { proxy, connected } = await stage();
    const [first, second] = [await connected(), await connected()];
    proxy.connections[0]?.reset();
    await soon(() => expect(first.client.closed).toBe(true));
    second.client.socket.write('still');
    await soon(() => expect(second.peer.text).toBe('hi;still'));
  });

  it('ends both ends in order with a FIN', async () => {
    const { proxy, connected } = await stage();
    const { client, peer } = await connected();
    proxy.end();
    await soon(() => {
      expect(client).toMatchObject({ ended: true, closed: true, error: undefined });
      expect(peer).toMatchObject({ ended: true, closed: true, error: undefined });
    });
    expect(proxy.counters.ends).toBe(1);
  });

  it('reaches a server that has come back on another port', async () => {
    const { server, proxy, connected, dial } = await stage();
    const { client, peer } = await connected();
    const next = await tcpServer();
    proxy.retarget({ port: next.port });
    dial().socket.write('new');
    await soon(() => expect(next.ends[0]?.text).toBe('new'));
    client.socket.write('old');
    await soon(() => expect(peer.text).toBe('hi;old'));
    expect(server.ends).toHaveLength(1);
  });

  it('resets clients while the server is down', async () => {
    const { proxy, dial } = await stage();
    const probe = createServer();
    await listening(probe);
    const port = portOf(probe);
    await new Promise((done) => probe.close(done));
    proxy.retarget({ port });
    const client = dial();
    await soon(() => expect(client.error).toBe('ECONNRESET'));
    await soon(() => expect(proxy.connections).toEqual([]));
  });

  it('closes everything, and harmlessly twice', async () => {
    const { proxy, connected, dial } = await stage();
    const { client } = await connected();
    proxy.set({ accept: 'silent' });
    const silent = dial();
    await soon(() => expect(proxy.counters.silenced).toBe(1));
    await proxy.close();
    await proxy.close();
    await soon(() => expect([client.closed, silent.closed]).toEqual([true, true]));
    const late = dial();
    await soon(() => expect(late.error).toBe('ECONNREFUSED'));
  });
});

describe('a black hole in the proxy', () => {
  it('holds bytes both ways without a word, and releases them in order when it heals', async () => {
    const { proxy, connected } = await stage();
    const { client, peer } = await connected();
    proxy.set({ blackHole: 'both' });
    client.socket.write('1;');
    client.socket.write('2;');
    peer.socket.write('3;');
    await quiet();
    expect([client.text, peer.text]).toEqual(['ho;', 'hi;']);
    proxy.heal();
    await soon(() => expect([client.text, peer.text]).toEqual(['ho;3;', 'hi;1;2;']));
  });

  it.each(['up', 'down'] as const)('%s lets the other direction pass', async (direction) => {
    const { proxy, connected } = await stage();
    const { client, peer } = await connected();
    proxy.set({ blackHole: direction });
    client.socket.write('up');
    peer.socket.write('down');
    const [passes, held] = direction === 'up' ? [client, peer] : [peer, client];
    await soon(() => expect(passes.text).toMatch(/up|down/));
    expect(held.text).not.toMatch(/up|down/);
  });

  it('lets a dial hang', async () => {
    const { server, proxy, dial } = await stage();
    proxy.set({ blackHole: 'both' });
    const client = dial();
    client.socket.write('hello');
    await soon(() => expect(server.ends).toHaveLength(1));
    await quiet();
    expect([server.ends[0]?.text, client.closed]).toEqual(['', false]);
  });

  it('without release leaves those it has hit silent, and lets new ones pass', async () => {
    const { proxy, connected } = await stage();
    const [hit, spared] = [await connected(), await connected()];
    proxy.set({ blackHole: 'both' });
    hit.client.socket.write('lost');
    await quiet();
    proxy.heal({ release: false });
    hit.client.socket.write('lost too');
    hit.peer.socket.write('lost as well');
    spared.client.socket.write('heard');
    await soon(() => expect(spared.peer.text).toBe('hi;heard'));
    await connected();
    expect([hit.client.text, hit.peer.text]).toEqual(['ho;', 'hi;']);
    hit.client.socket.destroy();
    hit.peer.socket.destroy();
    await soon(() => expect(proxy.connections.map(({ id }) => id)).toEqual([2, 3]));
  });

  it.each(['destroy', 'resetAndDestroy'] as const)(
    'keeps no connection that both ends have left by %s',
    async (leave) => {
      const { proxy, connected } = await stage();
      const { client, peer } = await connected();
      proxy.set({ blackHole: 'both' });
      client.socket.write('unread');
      client.socket[leave]();
      await quiet();
      expect([peer.closed, proxy.connections.length]).toEqual([false, 1]);
      peer.socket[leave]();
      await soon(() => expect(proxy.connections).toEqual([]));
    },
  );

  it('keeps no abandoned connection that was flooded', async () => {
    const { proxy, connected } = await stage();
    const { client, peer } = await connected();
    proxy.set({ blackHole: 'both' });
    peer.socket.write(Buffer.alloc(16 * 1_048_576, 'x'));
    await quiet();
    client.socket.destroy();
    await quiet();
    peer.socket.destroy();
    await soon(() => expect(proxy.connections).toEqual([]));
  });

  it('tells an end that the other has left once it heals', async () => {
    const { proxy, connected } = await stage();
    const { client, peer } = await connected();
    proxy.set({ blackHole: 'both' });
    client.socket.end('last words');
    await quiet();
    expect(peer.ended).toBe(false);
    proxy.heal();
    await soon(() => expect(peer).toMatchObject({ text: 'hi;last words', ended: true }));
    await soon(() => expect(proxy.connections).toEqual([]));
  });

  it('fills the buffers of who goes on sending', async () => {
    const { proxy, connected } = await stage();
    const { client, peer } = await connected();
    proxy.set({ blackHole: 'up' });
    const megabytes = 16 * 1_048_576;
    client.socket.write(Buffer.alloc(megabytes, 'x'));
    await soon(() => expect(proxy.counters.bytesUp).toBe(3));
    await quiet();
    expect(client.socket.writableLength).toBeGreaterThan(0);
    proxy.heal();
    await soon(() => expect(peer.text.length).toBe(3 + megabytes));
    expect(client.socket.writableLength).toBe(0);
  });
});

describe('other faults of the proxy', () => {
  it.each(['client', 'server'] as const)(
    'half-open: the %s gets a RST, the other hears nothing',
    async (gone) => {
      const { proxy, connected } = await stage();
      const { client, peer } = await connected();
      proxy.halfOpen(gone);
      const [dead, left] = gone === 'client' ? [client, peer] : [peer, client];
      await soon(() => expect(dead.error).toBe('ECONNRESET'));
      left.socket.write('anybody there?');
      proxy.heal();
      await quiet();
      expect([left.ended, left.closed, left.error]).toEqual([false, false, undefined]);
      left.socket.destroy();
      await soon(() => expect(proxy.connections).toEqual([]));
      expect(proxy.counters.halfOpened).toBe(1);
    },
  );

  it('delays, and keeps the order under jitter', async () => {
    const { proxy, connected } = await stage();
    const { client, peer } = await connected();
    proxy.set({ latency: 60, jitter: 40 });
    const start = performance.now();
    for (const part of ['1;', '2;', '3;', '4;', '5;']) {
      client.socket.write(part);
      await new Promise((done) => setImmediate(done));
    }
    await soon(() => expect(peer.text).toBe('hi;1;2;3;4;5;'));
    expect(performance.now() - start).toBeGreaterThanOrEqual(60);
  });

  it('limits the bandwidth, and lets go when the limit is lifted', async () => {
    const { proxy, connected } = await stage();
    const { client, peer } = await connected();
    proxy.set({ bandwidth: 100_000 });
    const start = performance.now();
    client.socket.write(Buffer.alloc(40_000, 'x'));
    await soon(() => expect(peer.text.length).toBe(40_003));
    const took = performance.now() - start;
    expect(took).toBeGreaterThan(300);
    expect(took).toBeLessThan(2_000);
    proxy.set({ bandwidth: 0 });
    client.socket.write('y');
    await quiet();
    expect(peer.text.endsWith('y')).toBe(false);
    proxy.heal();
    await soon(() => expect(peer.text.endsWith('y')).toBe(true));
  });

  it.each(['up', 'down'] as const)(
    'breaks off in the middle of what goes %s',
    async (direction) => {
      const { proxy, connected } = await stage();
      const { client, peer } = await connected();
      proxy.truncate(direction, 5);
      const [from, to] = direction === 'up' ? [client, peer] : [peer, client];
      from.socket.write('0123456789');
      await soon(() => expect(to.error).toBe('ECONNRESET'));
      expect(to.text.slice(3)).toBe('01234');
      await soon(() => expect(from.closed).toBe(true));
      expect(proxy.counters.truncated).toBe(1);
    },
  );

  it('cuts new connections off after so many bytes of the answer', async () => {
    const { server, proxy, connected, dial } = await stage();
    const old = await connected();
    proxy.set({ cutAfter: 7 });
    const client = dial();
    client.socket.write('question');
    await soon(() => expect(server.ends[1]?.text).toBe('question'));
    server.ends[1]?.socket.write('0123');
    await soon(() => expect(client.text).toBe('0123'));
    server.ends[1]?.socket.write('456789');
    await soon(() => expect(client).toMatchObject({ text: '0123456', error: 'ECONNRESET' }));
    await soon(() => expect(server.ends[1]?.closed).toBe(true));
    old.peer.socket.write('more than seven');
    await soon(() => expect(old.client.text).toBe('ho;more than seven'));
    expect(proxy.counters.truncated).toBe(1);
  });

  it('refuses new connections and keeps the old', async () => {
    const { proxy, connected, dial } = await stage();
    const { client, peer } = await connected();
    proxy.set({ accept: 'refuse' });
    const refused = dial();
    await soon(() => expect(refused.error).toBe('ECONNRESET'));
    client.socket.write('still');
    await soon(() => expect(peer.text).toBe('hi;still'));
    expect(proxy.counters).toMatchObject({ refused: 1, accepted: 1 });
  });

  it('accepts and stays silent, without the server knowing', async () => {
    const { server, proxy, dial } = await stage();
    proxy.set({ accept: 'silent' });
    const client = dial();
    client.socket.write('hello');
    await soon(() => expect(proxy.counters.silenced).toBe(1));
    await quiet();
    expect([client.text, client.closed, server.ends]).toEqual(['', false, []]);
    client.socket.end();
    await soon(() => expect(client.closed).toBe(true));
  });

  it('accepts and sends a FIN at once, without the server knowing', async () => {
    const { server, proxy, dial } = await stage();
    proxy.set({ accept: 'end' });
    const client = dial();
    await soon(() => expect(client).toMatchObject({ ended: true, closed: true, text: '' }));
    expect([client.error, server.ends]).toEqual([undefined, []]);
    expect(proxy.counters).toMatchObject({ endedAtOnce: 1, accepted: 0 });
  });

  it('loses one connection without telling either end, and lets the others pass', async () => {
    const { proxy, connected } = await stage();
    const [lost, spared] = [await connected(), await connected()];
    proxy.connections[0]?.lose();
    lost.client.socket.write('lost');
    lost.peer.socket.write('lost too');
    spared.client.socket.write('heard');
    await soon(() => expect(spared.peer.text).toBe('hi;heard'));
    proxy.heal();
    await quiet();
    expect([lost.client, lost.peer]).toMatchObject([
      { text: 'ho;', ended: false, closed: false },
      { text: 'hi;', ended: false, closed: false },
    ]);
    lost.client.socket.destroy();
    lost.peer.socket.destroy();
    await soon(() => expect(proxy.connections.map(({ id }) => id)).toEqual([2]));
    expect(proxy.counters.lost).toBe(1);
  });

  it('keeps what it has lost until both ends have left', async () => {
    const { proxy, connected } = await stage();
    const { client, peer } = await connected();
    proxy.lose();
    client.socket.resetAndDestroy();
    await quiet();
    expect([peer.closed, proxy.connections.length]).toEqual([false, 1]);
    peer.socket.destroy();
    await soon(() => expect(proxy.connections).toEqual([]));
  });

  const answers: readonly [string, ProxyAnswer][] = [
    ['401', { status: 401, headers: { 'WWW-Authenticate': 'Bearer' } }],
    ['403', { status: 403 }],
    ['429 with Retry-After', { status: 429, headers: { 'Retry-After': '7' }, body: 'slow down' }],
    ['503 with Retry-After', { status: 503, headers: { 'Retry-After': '3' } }],
    ['a captive portal', captivePortal],
  ];

  it.each(answers)('refuses the upgrade: %s', async (_, answer) => {
    const { server, proxy } = await stage();
    proxy.set({ accept: answer });
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}`);
    const heard = new Promise<unknown>((done) => {
      socket.on('error', done).on('unexpected-response', (_request, response) => {
        let body = '';
        response.on('data', (part) => (body += String(part)));
        response.on('end', () =>
          done({ status: response.statusCode, headers: response.headers, body }),
        );
      });
    });
    const { status, headers = {}, body = '' } = answer;
    const sent = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]);
    expect(await heard).toMatchObject({ status, headers: Object.fromEntries(sent), body });
    expect(proxy.counters).toMatchObject({ answered: 1, accepted: 0 });
    expect(server.ends).toEqual([]);
  });

  it('answers no connection that has not asked', async () => {
    const { proxy, dial } = await stage();
    proxy.set({ accept: captivePortal });
    const client = dial();
    client.socket.write('GET / HTTP/1.1\r\nHost: example');
    await quiet();
    expect([client.text, proxy.counters.answered]).toEqual(['', 0]);
    client.socket.write('\r\n\r\n');
    await soon(() => expect(client).toMatchObject({ ended: true, closed: true }));
    expect(client.text).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\n\r\n<!doctype html>.*\n$/s);
  });

  it('ends whoever still waits at its door when it closes', async () => {
    const { proxy, dial } = await stage();
    proxy.set({ accept: { status: 503 } });
    const mute = dial();
    await soon(() => expect(mute.socket.readyState).toBe('open'));
    await quiet();
    await proxy.close();
    await soon(() => expect(mute.closed).toBe(true));
  });

  it.each([
    ['killAfter', 'ECONNRESET'],
    ['endAfter', undefined],
  ] as const)(
    '%s lets the upgrade through and ends the connection after a while',
    async (fault, error) => {
      const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
      cleanups.push(() => server.close());
      await new Promise((done) => server.once('listening', done));
      const errors: unknown[] = [];
      server.on('connection', (socket, { socket: raw }) => {
        socket.on('error', () => {});
        raw.on('error', ({ code }: NodeJS.ErrnoException) => errors.push(code));
      });
      const proxy = await faultProxy({ target: { port: portOf(server) } });
      cleanups.push(proxy.close);
      proxy.set({ [fault]: 20 });
      for (let round = 1; round <= 3; round++) {
        const seen: string[] = [];
        const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}`);
        socket.on('open', () => seen.push('open')).on('error', () => {});
        socket.on('close', (code) => seen.push(`closed ${code}`));
        await soon(() => expect(seen).toEqual(['open', 'closed 1006']));
        expect(proxy.counters.killed).toBe(round);
      }
      await soon(() => expect(proxy.connections).toEqual([]));
      expect(new Set(errors)).toEqual(new Set(error === undefined ? [] : [error]));
    },
  );
});

/** Twenty round trips on another loopback connection: what was to come has come. */
async function quiet(): Promise<void> {
  const echo = createServer((socket) => socket.pipe(socket));
  await new Promise<void>((done) => echo.listen(0, '127.0.0.1', done));
  const end = connect({ port: portOf(echo), host: '127.0.0.1' });
  for (let round = 0; round < 20; round++) {
    end.write('?');
    await new Promise((done) => end.once('data', done));
  }
  end.destroy();
  await new Promise((done) => echo.close(done));
}
