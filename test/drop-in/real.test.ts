/** The same promises over every class that can be dialed with: real servers, and a mock. */
import { once } from 'node:events';
import { WebSocket as MockWebSocket, Server } from 'mock-socket';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket as WsWebSocket } from 'ws';
import type {
  ProtocolsProvider,
  ReconnectingWebSocketOptions,
} from '../../src/drop-in/reconnecting-web-socket.js';
import { dialing, feedServer } from './feed-server.js';

/** The other end of one story. */
interface Stage {
  url: string;
  options: ReconnectingWebSocketOptions;
  /** The newest connection of the server. */
  last(): { send(data: string | Uint8Array): void; close(code: number, reason: string): void };
  received(): readonly unknown[];
  /** Of the newest connection. */
  offered(): string;
}

async function realStage(options: ReconnectingWebSocketOptions): Promise<Stage> {
  const server = await feedServer({ handleProtocols: (offered) => [...offered].at(-1) ?? false });
  return {
    url: server.url,
    options,
    last() {
      const socket = server.sockets.at(-1);
      if (socket === undefined) throw new Error('No connection.');
      return socket;
    },
    received: () => server.received,
    offered: () => server.handshakes.at(-1)?.headers['sec-websocket-protocol'] ?? '',
  };
}

async function mockStage(): Promise<Stage> {
  const url = `ws://mock-${Math.random()}`;
  const received: unknown[] = [];
  const sockets: { send(data: unknown): void; close(how: object): void }[] = [];
  let offered: string[] = [];
  const server = new Server(url, {
    mock: false,
    selectProtocol: (protocols: string[]) => {
      offered = protocols;
      return protocols.at(-1) ?? '';
    },
  });
  server.on('connection', (socket) => {
    sockets.push(socket as never);
    socket.on('message', (data) => {
      received.push(data);
      socket.send(data);
    });
  });
  onTestFinished(() => server.stop());
  return {
    url,
    options: { WebSocket: MockWebSocket },
    last() {
      const socket = sockets.at(-1);
      if (socket === undefined) throw new Error('No connection.');
      return {
        send: (data) => socket.send(data),
        close: (code, reason) => socket.close({ code, reason, wasClean: true }),
      };
    },
    received: () => received,
    offered: () => offered.join(','),
  };
}

const stages: [string, () => Promise<Stage>][] = [
  ['the platform’s own', () => realStage({})],
  ['`ws`', () => realStage({ WebSocket: WsWebSocket })],
  ['mock-socket', mockStage],
];
if ('WebSocket' in globalThis) {
  stages.push(['the global one', () => realStage({ WebSocket: globalThis.WebSocket })]);
}

describe.each(stages)('over %s', (name, stage) => {
  async function playing(protocols?: ProtocolsProvider) {
    const there = await stage();
    return { there, ...dialing(there.url, there.options, protocols) };
  }

  test('it opens, says what it is connected to, and echoes', async () => {
    const { there, socket, messages } = await playing(['a', 'b']);
    expect(socket.readyState).toBe(0);
    await once(socket, 'open');
    expect(socket.readyState).toBe(1);
    expect(socket.url.replace(/\/$/, '')).toBe(there.url);
    expect([there.offered().split(/, ?/), socket.protocol]).toEqual([['a', 'b'], 'b']);
    socket.send('text');
    await vi.waitFor(() => expect(messages).toEqual(['text']));
  });

  test('a loss is told with its code, and the next connection opens by itself', async () => {
    const { there, socket, events } = await playing();
    const states: number[] = [];
    socket.addEventListener('close', () => states.push(socket.readyState));
    await once(socket, 'open');
    there.last().close(4001, 'restart');
    await vi.waitFor(() => expect(events).toEqual(['open', 'close 4001 restart', 'open']));
    expect(states).toEqual([0]);
    expect(socket.readyState).toBe(1);
  });

  test('what is sent before and between connections arrives in order', async () => {
    const { there, socket } = await playing();
    socket.send('1');
    socket.send('2');
    await once(socket, 'open');
    socket.send('3');
    await vi.waitFor(() => expect(there.received()).toHaveLength(3));
    there.last().close(4001, '');
    await once(socket, 'close');
    socket.send('4');
    socket.send('5');
    expect(socket.bufferedAmount).toBe(2);
    await vi.waitFor(() => expect(there.received()).toEqual(['1', '2', '3', '4', '5']));
    expect(socket.bufferedAmount).toBe(0);
  });

  test('close() is final, with its code and reason', async () => {
    const { socket, events } = await playing();
    await once(socket, 'open');
    socket.close(4000, 'bye');
    expect(socket.readyState).toBe(2);
    const [event] = (await once(socket, 'close')) as [CloseEvent];
    // To a mock every close but 1000 is unclean.
    expect(event.wasClean).toBe(name !== 'mock-socket');
    expect([socket.readyState, events]).toEqual([3, ['open', 'close 4000 bye']]);
  });

  test('reconnect() closes the connection and opens another', async () => {
    const { socket, events } = await playing();
    await once(socket, 'open');
    socket.reconnect(4000, 'fresh');
    await once(socket, 'open');
    expect(events).toEqual(['open', 'close 4000 fresh', 'open']);
  });

  // A mock has no frames: what it is sent is what the other side hears.
  if (name === 'mock-socket') return;
  test('bytes come as binaryType says, and whole', async () => {
    const { there, socket, messages } = await playing();
    await once(socket, 'open');
    there.last().send(new Uint8Array([1, 2]));
    await vi.waitFor(() => expect(messages).toHaveLength(1));
    const [blob] = messages as [Blob];
    expect(blob).toBeInstanceOf(Blob);
    expect([...new Uint8Array(await blob.arrayBuffer())]).toEqual([1, 2]);
    socket.binaryType = 'arraybuffer';
    for (const data of [new Uint8Array([0, 3, 0]).subarray(1, 2), new Uint8Array([4]).buffer]) {
      socket.send(data);
    }
    socket.send(new Blob([new Uint8Array([5])]));
    await vi.waitFor(() => expect(messages).toHaveLength(4));
    const bytes = messages.slice(1).map((data) => {
      expect(data).toBeInstanceOf(ArrayBuffer);
      return [...new Uint8Array(data as ArrayBuffer)];
    });
    expect(bytes).toEqual([[3], [4], [5]]);
  });
});

test('the extensions are those of the class that dials', async () => {
  const server = await feedServer({ perMessageDeflate: true });
  const { socket } = dialing(server.url, { WebSocket: WsWebSocket });
  await once(socket, 'open');
  expect(socket.extensions).toBe('permessage-deflate');
  const plain = dialing(server.url).socket;
  await once(plain, 'open');
  expect(plain.extensions).toBe('');
});

test('headers go with the handshake in Node', async () => {
  const server = await feedServer();
  const { socket } = dialing(server.url, { headers: { authorization: 'Bearer t' } });
  await once(socket, 'open');
  expect(server.handshakes[0]?.headers.authorization).toBe('Bearer t');
});
