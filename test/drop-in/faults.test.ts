/** What real networks and servers do to it. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { expect, test, vi } from 'vitest';
import { WebSocket as WsWebSocket } from 'ws';
import { bundle } from '../scenarios/bundle.js';
import { dialing, feedServer } from './feed-server.js';

test('50 messages arrive in order through 10 cuts, where none is on its way at a cut', async () => {
  const server = await feedServer();
  const { socket, events } = dialing(server.url);
  await once(socket, 'open');
  for (let n = 0; n < 50; n++) {
    if (n % 5 === 0) {
      const opened = once(socket, 'open');
      server.proxy.reset();
      await once(socket, 'close');
      // Between connections: kept, so nothing of these is lost.
      socket.send(`${n}`);
      await opened;
    } else socket.send(`${n}`);
    await vi.waitFor(() => expect(server.received.at(-1)).toBe(`${n}`));
  }
  expect(server.received).toEqual(Array.from({ length: 50 }, (_, n) => `${n}`));
  expect(events.filter((event) => event === 'open')).toHaveLength(11);
  expect(server.sockets).toHaveLength(1);
});

test('a server that restarts is found again', async () => {
  const server = await feedServer();
  const { socket, events } = dialing(server.url);
  await once(socket, 'open');
  await server.stop();
  await vi.waitFor(() => expect(events).toContain('error'));
  socket.send('kept');
  await server.start();
  await vi.waitFor(() => expect(server.received).toEqual(['kept']));
  const failures = events.slice(2, -1);
  // After the loss: whole pairs of error and close, then open.
  expect(events.slice(0, 2)).toEqual(['open', 'close 1006 ']);
  expect(events.at(-1)).toBe('open');
  expect(failures.filter((_, index) => index % 2 === 0).every((one) => one === 'error')).toBe(true);
  expect(failures.filter((_, index) => index % 2 === 1)).toEqual(
    Array.from({ length: failures.length / 2 }, () => 'close 1006 '),
  );
});

test.each([
  ['the platform’s own', {}],
  ['`ws`', { WebSocket: WsWebSocket }],
])('a server that accepts and is silent is given up in time, over %s', async (_name, options) => {
  const server = await feedServer();
  server.proxy.set({ accept: 'silent' });
  const { socket, events } = dialing(server.url, { ...options, connectionTimeout: 50 });
  const [error] = (await once(socket, 'error').catch((thrown: unknown) => [thrown])) as [
    ErrorEvent,
  ];
  expect(error).toMatchObject({ message: 'TIMEOUT' });
  server.proxy.heal();
  await vi.waitFor(() => expect(events.at(-1)).toBe('open'));
  // Nothing of the silent ones comes late.
  expect(events.filter((event) => event === 'open')).toHaveLength(1);
  await vi.waitFor(() => expect(server.sockets).toHaveLength(1));
});

test('a server that answers without a WebSocket fails the attempt and says so in Node', async () => {
  const server = await feedServer();
  server.proxy.set({ accept: { status: 503 } });
  const messages: string[] = [];
  const { socket } = dialing(server.url, { maxRetries: 1 });
  socket.onerror = ({ message }) => messages.push(message);
  await vi.waitFor(() => expect(socket.readyState).toBe(3));
  expect(messages).toHaveLength(2);
});

test('a connection that opens and dies again and again is backed off from', async () => {
  const server = await feedServer();
  server.proxy.set({ killAfter: 0 });
  const { socket } = dialing(server.url, { minUptime: 60_000 });
  await vi.waitFor(() => expect(socket.retryCount).toBeGreaterThan(3));
  server.proxy.set({ killAfter: null });
  await vi.waitFor(() => expect(socket.readyState).toBe(1));
  expect(socket.retryCount).toBeGreaterThan(3);
});

test.each([
  ['after close() while open', "socket.addEventListener('open', () => socket.close());"],
  ['after close() in a wait', 'socket.onclose = () => socket.close();', 'ws://127.0.0.1:1'],
  ['after close() while dialing', 'setTimeout(() => socket.close(), 5);'],
  ['where it gave up', '', 'ws://127.0.0.1:1'],
  ['that never began', '', 'closed'],
])('a process ends by itself %s', { timeout: 20_000 }, async (_name, story, target?: string) => {
  const server = await feedServer();
  const code = `
    import { ReconnectingWebSocket } from './src/drop-in/reconnecting-web-socket.ts';
    const [url, maxRetries] = process.argv.slice(-2);
    const options = { startClosed: url === 'closed', maxRetries: Number(maxRetries), minUptime: 3e5 };
    const socket = new ReconnectingWebSocket(url, [], options);
    ${story}
    process.on('exit', () => console.log('readyState', socket.readyState));`;
  const script = await bundle('node', code);
  const retries = story === '' ? '0' : 'Infinity';
  const args = ['-', target ?? server.url, retries];
  const running = promisify(execFile)(process.execPath, args, { timeout: 10_000 });
  running.child.stdin?.end(script);
  const { stdout } = await running;
  expect(stdout).toBe('readyState 3\n');
});
