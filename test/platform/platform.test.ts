import { once } from 'node:events';
import { type AddressInfo, Socket as NetSocket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import * as browser from '../../src/platform/browser.js';
import * as node from '../../src/platform/node.js';
import type { Socket } from '../../src/platform/socket.js';

let server: WebSocketServer;
let url: string;
let opened: Socket[];

beforeEach(async () => {
  server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  opened = [];
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  for (const socket of opened) socket.close();
  for (const client of server.clients) client.terminate();
  await new Promise((done) => server.close(done));
});

describe.each([
  ['browser', browser],
  ['node', node],
])('openSocket on the %s side', (_name, platform) => {
  test('exchanges text and bytes, and says which subprotocol was chosen', async () => {
    server.on('connection', (peer) =>
      peer.on('message', (data, isBinary) => peer.send(data, { binary: isBinary })),
    );
    const socket = await open(platform.openSocket(url, ['holdfast.1']));
    expect(socket.protocol).toBe('holdfast.1');
    expect(await answer(socket, 'hi')).toBe('hi');
    expect(await answer(socket, new Uint8Array([1, 2]))).toEqual(new Uint8Array([1, 2]).buffer);
  });

  test('tells the code and the reason of a close', async () => {
    server.on('connection', (peer) => peer.close(4401, 'expired'));
    const socket = platform.openSocket(url, []);
    const closed = new Promise((resolve) => {
      socket.onclose = ({ code, reason }) => resolve([code, reason]);
    });
    expect(await closed).toEqual([4401, 'expired']);
  });

  test('throws at once where the URL is not one', () => {
    expect(() => platform.openSocket('http//', [])).toThrow(/URL/i);
  });
});

describe('In browsers', () => {
  test('E21 a global WebSocket patched after import is used', () => {
    const Patched = vi.fn(function Patched(this: object) {
      return this;
    });
    vi.stubGlobal('WebSocket', Patched);
    browser.openSocket('wss://chat.example.com', ['holdfast.1']);
    expect(Patched).toHaveBeenCalledWith('wss://chat.example.com', ['holdfast.1']);
  });

  test('corked writes at once', () => {
    const write = vi.fn();
    browser.corked(browser.openSocket(url, []), write);
    expect(write).toHaveBeenCalledOnce();
  });
});

describe('In Node', () => {
  test('headers reach the handshake', async () => {
    const connection = once(server, 'connection');
    opened.push(node.openSocket(url, [], { headers: { 'x-tenant': 'blue' } }));
    const [, request] = (await connection) as [unknown, { headers: Record<string, string> }];
    expect(request.headers).toMatchObject({ 'x-tenant': 'blue' });
  });

  test('a refused connection closes with 1006 and throws nothing, even with no listener for the error', async () => {
    const refused = url;
    await new Promise((done) => server.close(done));
    const socket = node.openSocket(refused, []);
    const code = await new Promise((resolve) => {
      socket.onclose = (event) => resolve(event.code);
    });
    expect(code).toBe(1006);
  });

  test('frames sent corked leave in one write, those sent one by one do not', async () => {
    const received: string[] = [];
    server.on('connection', (peer) => peer.on('message', (data) => received.push(String(data))));
    const socket = await open(node.openSocket(url, []));
    const writes = vi.spyOn(NetSocket.prototype as unknown as { _writev(): void }, '_writev');
    const sendTen = () => {
      for (let index = 0; index < 10; index++) socket.send(`frame ${index}`);
    };

    node.corked(socket, sendTen);
    expect(writes).toHaveBeenCalledTimes(1);
    await vi.waitFor(() => expect(received).toHaveLength(10));
    sendTen();
    await vi.waitFor(() => expect(received).toHaveLength(20));
    expect(writes.mock.calls.length).toBeGreaterThan(2);
    expect(received[9]).toBe('frame 9');
  });

  test('a write that throws leaves the socket uncorked', async () => {
    const connection = once(server, 'connection') as Promise<[NodeJS.EventEmitter]>;
    const socket = await open(node.openSocket(url, []));
    const [peer] = await connection;
    const broken = () => {
      throw new Error('no frame');
    };
    expect(() => node.corked(socket, broken)).toThrow('no frame');
    const message = once(peer, 'message');
    socket.send('still here');
    expect(String((await message)[0])).toBe('still here');
  });
});

async function open(socket: Socket): Promise<Socket> {
  opened.push(socket);
  await new Promise<void>((resolve) => {
    socket.onopen = resolve;
  });
  return socket;
}

function answer(socket: Socket, data: string | Uint8Array): Promise<unknown> {
  return new Promise((resolve) => {
    socket.onmessage = (event) => resolve(event.data);
    socket.send(data);
  });
}
