/** The WebSocket transport by itself: the rules of the port, over real sockets and over mock-socket. */
import { once } from 'node:events';
import { Server as MockServer, WebSocket as MockWebSocket } from 'mock-socket';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import type { Link } from '../../src/client/transport.js';
import { HoldfastError } from '../../src/protocol/errors.js';
import type { Garbled, Hello, ServerFrame } from '../../src/protocol/frame.js';
import { type WebSocketOptions, webSocket } from '../../src/transports/websocket.js';
import { type Answer, realServer } from '../scenarios/real-server.js';

const side = vi.hoisted(() => ({ now: 'node' }));

// `#platform` is one file in Node and another in browsers; here each test says which.
vi.mock('#platform', async () => {
  const sides: Record<string, typeof import('../../src/platform/node.js')> = {
    node: await import('../../src/platform/node.js'),
    browser: await import('../../src/platform/browser.js'),
  };
  const platform = () => sides[side.now] ?? sides.node;
  return {
    openSocket: (...about: Parameters<typeof import('../../src/platform/node.js')['openSocket']>) =>
      platform()?.openSocket(...about),
    corked: (...about: Parameters<typeof import('../../src/platform/node.js')['corked']>) =>
      platform()?.corked(...about),
  };
});

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  vi.unstubAllGlobals();
  side.now = 'node';
});

type Heard = 'opened' | ServerFrame | Garbled | HoldfastError;

/** One dial, with all that it says written down. */
function dial(url: string | (() => string), options?: WebSocketOptions) {
  const heard: Heard[] = [];
  const early: Heard[] = [];
  let returned = false;
  const hear = (one: Heard) => void (returned ? heard : early).push(one);
  const hello = vi.fn(
    (): Hello => ({ kind: 'hello', protocol: 1, clientId: 'c', link: 1, rooms: [] }),
  );
  const on = {
    opened: () => hear('opened'),
    received: hear,
    closed: hear,
  };
  const link: Link = webSocket(url, options).dial(hello, on);
  returned = true;
  cleanups.push(() => link.close());
  const faults = () => heard.filter((one) => one instanceof HoldfastError);
  return { link, heard, early, hello, faults };
}

async function serving(answer: Answer = () => {}) {
  const server = await realServer(answer);
  cleanups.push(server.close);
  return server;
}

const eventually = (check: () => unknown) => expect.poll(check, { interval: 5, timeout: 4_000 });

const event = (n: number): ServerFrame => ({
  kind: 'event',
  eventId: `e${n}`,
  type: 'a:b',
  timestamp: 0,
  payload: n,
});

describe.each(['node', 'browser'])('over real sockets, on the %s side', (platform) => {
  const use = () => {
    side.now = platform;
  };

  test('T1 nothing is called back before dial has returned, whatever happens', async () => {
    use();
    const server = await serving((_frame, socket) => socket.close(4401));
    const good = dial(server.url);
    await eventually(() => good.faults().length).toBe(1);
    const gone = await serving();
    await gone.close();
    const bad = dial(gone.url);
    await eventually(() => bad.faults().length).toBe(1);
    expect([good.early, bad.early]).toEqual([[], []]);
  });

  test('T1 a URL that is none throws, and calls nothing back', () => {
    use();
    expect(() => dial('http//')).toThrow(/invalid url/i);
  });

  test('the hello goes first, made as the socket opens, and then frames both ways in order', async () => {
    use();
    const server = await serving((frame, socket) => {
      if (frame.kind !== 'hello') return;
      for (let n = 0; n < 100; n++) socket.send(JSON.stringify(event(n)));
    });
    const { link, heard, hello } = dial(server.url);
    expect(hello).not.toHaveBeenCalled();
    link.send(['{"kind":"ping"}']);
    await eventually(() => heard.length).toBe(101);
    expect(heard).toEqual(['opened', ...Array.from({ length: 100 }, (_, n) => event(n))]);
    const wires = Array.from({ length: 50 }, (_, n) => JSON.stringify({ kind: 'message', n }));
    link.send(wires.slice(0, 1));
    link.send(wires.slice(1));
    await eventually(() => server.frames.length).toBe(51);
    // What was sent before the socket was open is dropped, not thrown.
    expect(server.frames.map((frame) => frame.kind)).toEqual([
      'hello',
      ...wires.map(() => 'message'),
    ]);
    expect(server.frames.slice(1)).toEqual(wires.map((wire) => JSON.parse(wire)));
    expect(hello).toHaveBeenCalledOnce();
    expect(link.bufferedAmount).toBe(0);
  });

  test('what is no frame is handed on as garbled', async () => {
    use();
    const server = await serving((_frame, socket) => {
      socket.send('<!doctype html>');
      socket.send(Buffer.from([1, 2, 3]));
      socket.send('{"kind":"tomorrow"}');
    });
    const { heard } = dial(server.url);
    await eventually(() => heard.length).toBe(4);
    expect(heard.slice(1).map((one) => (one as Garbled).kind)).toEqual([
      'garbled',
      'garbled',
      'garbled',
    ]);
  });

  test('T2 closed is called once and last, however the other end goes', async () => {
    use();
    const ends: Record<string, (socket: Parameters<Answer>[1]) => void> = {
      'a close': (socket) => socket.close(4429, 'busy'),
      'two closes': (socket) => {
        socket.close(1000);
        socket.terminate();
      },
      'a reset': (socket) => socket.terminate(),
      'frames, then a close': (socket) => {
        for (let n = 0; n < 20; n++) socket.send(JSON.stringify(event(n)));
        socket.close(1001);
      },
    };
    for (const [name, end] of Object.entries(ends)) {
      const server = await serving((_frame, socket) => end(socket));
      const { heard, link, faults } = dial(server.url);
      await eventually(() => faults().length).toBe(1);
      link.send(['{"kind":"ping"}']);
      link.close();
      await server.close();
      await new Promise((done) => setImmediate(done));
      expect(faults(), name).toHaveLength(1);
      expect(heard.at(-1), name).toBeInstanceOf(HoldfastError);
    }
  });

  test('T3 a link that was closed is silent, also about what is on its way', async () => {
    use();
    const server = await serving((_frame, socket) => {
      for (let n = 0; n < 500; n++) socket.send(JSON.stringify(event(n)));
      socket.close(4401);
    });
    const { link, heard } = dial(server.url);
    await eventually(() => heard.length).toBeGreaterThan(0);
    link.close(1000, 'enough');
    link.close();
    const before = heard.length;
    await eventually(() => server.closes.length).toBe(1);
    await new Promise((done) => setImmediate(done));
    expect(heard).toHaveLength(before);
    expect(() => link.send(['{"kind":"ping"}', '{"kind":"ping"}'])).not.toThrow();
  });

  test('T3 one that is closed while it dials never opens', async () => {
    use();
    const server = await serving();
    const { link, heard, hello } = dial(server.url);
    link.close();
    // A second dial that goes through says that the first one had its time.
    const second = dial(server.url);
    await eventually(() => second.heard.length).toBe(1);
    await new Promise((done) => setImmediate(done));
    expect(heard).toEqual([]);
    expect(hello).not.toHaveBeenCalled();
    expect(server.frames).toHaveLength(1);
    await eventually(() => server.sockets.length).toBe(1);
  });

  test('T4 it never dials again by itself', async () => {
    use();
    const server = await serving((_frame, socket) => socket.terminate());
    const { faults } = dial(server.url);
    await eventually(() => faults().length).toBe(1);
    const last = dial(server.url);
    await eventually(() => last.faults().length).toBe(1);
    expect(server.handshakes).toHaveLength(2);
  });

  test.each([
    [1000, 'CONNECTION_FAILED', true],
    [1001, 'CONNECTION_FAILED', true],
    [1002, 'PROTOCOL_ERROR', true],
    [1003, 'PROTOCOL_ERROR', true],
    [1007, 'INVALID_PAYLOAD', false],
    [1008, 'UNAUTHORIZED', false],
    [1009, 'MESSAGE_TOO_LARGE', false],
    [1011, 'CONNECTION_FAILED', true],
    [1012, 'CONNECTION_FAILED', true],
    [1013, 'RATE_LIMITED', true],
    [4401, 'TOKEN_EXPIRED', true],
    [4403, 'UNAUTHORIZED', false],
    [4408, 'TOO_MANY_CONNECTIONS', false],
    [4409, 'SUPERSEDED', false],
    [4429, 'RATE_LIMITED', true],
    [4999, 'CONNECTION_FAILED', true],
  ])('T5 a close with %d is %s', async (closeCode, code, retryable) => {
    use();
    const server = await serving((_frame, socket) => socket.close(closeCode, 'because'));
    const { faults } = dial(server.url);
    await eventually(() => faults().length).toBe(1);
    expect(faults()[0]).toMatchObject({ code, retryable, details: { closeCode } });
    expect((faults()[0] as HoldfastError).message).toContain('because');
  });

  test('a URL may be a function, asked with each dial', async () => {
    use();
    const first = await serving();
    const second = await serving();
    const urls = [first.url, second.url];
    const transport = webSocket(() => urls.shift() ?? '');
    const quiet = { opened() {}, received() {}, closed() {} };
    const hello = (): Hello => ({ kind: 'hello', protocol: 1, clientId: 'c', link: 1, rooms: [] });
    const links = [transport.dial(hello, quiet), transport.dial(hello, quiet)];
    cleanups.push(() => {
      for (const link of links) link.close();
    });
    await eventually(() => [first.frames.length, second.frames.length]).toEqual([1, 1]);
  });

  test.each<[string, string[] | undefined, string, string]>([
    ['ours', undefined, 'holdfast.1', 'opened'],
    ['another one than ours', ['mqtt'], 'mqtt', 'PROTOCOL_ERROR'],
  ])('a server that chooses %s', async (_name, protocols, chosen, outcome) => {
    use();
    const offered: string[][] = [];
    const server = new WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      handleProtocols: (set) => {
        offered.push([...set]);
        return chosen;
      },
    });
    cleanups.push(() => server.close());
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const connection = once(server, 'connection');
    const { heard, faults } = dial(`ws://127.0.0.1:${port}`, protocols && { protocols });
    const [socket] = (await connection) as [WebSocket];
    await eventually(() => heard.length).toBe(1);
    expect(heard[0] === 'opened' ? 'opened' : (heard[0] as HoldfastError).code).toBe(outcome);
    expect(offered).toEqual([['holdfast.1', ...(protocols ?? [])]]);
    if (outcome === 'opened') return;
    expect(faults()[0]).toMatchObject({ retryable: true });
    if (socket.readyState !== 3) await new Promise((done) => (socket.onclose = done));
    expect(heard).toHaveLength(1);
  });
});

describe('over mock-socket, where the global WebSocket is looked up', () => {
  const url = 'wss://chat.example.com/realtime';

  /** A server behind a global WebSocket that is not the one of the import. */
  function mocked() {
    side.now = 'browser';
    vi.stubGlobal('WebSocket', MockWebSocket);
    const server = new MockServer(url, { mock: false });
    cleanups.push(() => server.stop());
    const received: unknown[] = [];
    server.on('connection', (socket) => {
      socket.on('message', (text) => received.push(JSON.parse(String(text))));
    });
    const socket = () => server.clients()[0];
    return { server, received, socket };
  }

  test('the hello goes first, and frames come back', async () => {
    const { received, socket } = mocked();
    const { heard, early } = dial(url);
    await eventually(() => heard).toEqual(['opened']);
    await eventually(() => received).toMatchObject([{ kind: 'hello' }]);
    socket()?.send(JSON.stringify(event(1)));
    await eventually(() => heard).toEqual(['opened', event(1)]);
    expect(early).toEqual([]);
  });

  test('a server that chooses no subprotocol is taken at its word', async () => {
    side.now = 'browser';
    vi.stubGlobal('WebSocket', MockWebSocket);
    const server = new MockServer(url, { mock: false, selectProtocol: () => '' });
    cleanups.push(() => server.stop());
    const { heard } = dial(url);
    await eventually(() => heard).toEqual(['opened']);
  });

  test('E05 an error while the socket stays open disconnects nothing', async () => {
    const { socket } = mocked();
    const { heard, link } = dial(url);
    await eventually(() => heard).toEqual(['opened']);
    const target = socket()?.target;
    target?.dispatchEvent(new Event('error'));
    socket()?.send(JSON.stringify(event(1)));
    await eventually(() => heard).toEqual(['opened', event(1)]);
    expect(target?.readyState).toBe(1);
    link.close();
  });

  test('E05 an error before the close waits for the close code', async () => {
    const { socket } = mocked();
    const { heard, faults } = dial(url);
    await eventually(() => heard).toEqual(['opened']);
    socket()?.target.dispatchEvent(new Event('error'));
    expect(faults()).toEqual([]);
    socket()?.close({ code: 4401, reason: 'expired', wasClean: true });
    await eventually(() => faults().length).toBe(1);
    expect(faults()[0]).toMatchObject({ code: 'TOKEN_EXPIRED', details: { closeCode: 4401 } });
    expect(heard).toHaveLength(2);
  });

  test('T2 a refused handshake is one fault, with no open before it', async () => {
    side.now = 'browser';
    vi.stubGlobal('WebSocket', MockWebSocket);
    vi.spyOn(console, 'error').mockImplementation(() => {});
    const { heard, faults } = dial('wss://nobody.example.com');
    await eventually(() => faults().length).toBe(1);
    expect(heard).toHaveLength(1);
    expect(faults()[0]).toMatchObject({ code: 'CONNECTION_FAILED' });
    vi.restoreAllMocks();
  });

  test('T3 after close() nothing is heard', async () => {
    const { server, socket } = mocked();
    const { heard, link } = dial(url);
    await eventually(() => heard).toEqual(['opened']);
    const target = socket()?.target;
    const gone = new Promise((done) => server.on('close', done));
    link.close();
    target?.dispatchEvent(new MessageEvent('message', { data: JSON.stringify(event(1)) }));
    await gone;
    expect(heard).toEqual(['opened']);
    expect(target?.readyState).toBe(3);
  });

  test('E01 a socket that opens after it was given up is closed, where close() cannot stop a dial', () => {
    side.now = 'browser';
    const closes: (number | undefined)[] = [];
    /** As some runtimes do it: a socket that is not open yet cannot be closed. */
    class Stubborn {
      static last: Stubborn | undefined;
      readyState = 0;
      protocol = 'holdfast.1';
      bufferedAmount = 0;
      sent: string[] = [];
      onopen: (() => void) | null = null;
      onmessage: ((event: { data: string }) => void) | null = null;
      onclose: ((event: { code: number; reason: string }) => void) | null = null;
      constructor() {
        Stubborn.last = this;
      }
      send(wire: string) {
        this.sent.push(wire);
      }
      close(code?: number) {
        if (this.readyState === 0) throw new Error('Not open yet.');
        closes.push(code);
      }
    }
    vi.stubGlobal('WebSocket', Stubborn);
    const { heard, link, hello } = dial(url);
    link.close();
    const socket = Stubborn.last;
    if (socket === undefined) throw new Error('no socket');
    socket.readyState = 1;
    socket.onopen?.();
    socket.onmessage?.({ data: JSON.stringify(event(1)) });
    socket.onclose?.({ code: 4403, reason: '' });
    expect(closes).toEqual([1000]);
    expect(heard).toEqual([]);
    expect(hello).not.toHaveBeenCalled();
    expect(socket.sent).toEqual([]);
  });
});
