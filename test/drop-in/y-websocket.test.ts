/** y-websocket over it: two documents, a server of its own kind, and a network that is cut. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setupWSConnection } from '@y/websocket-server/utils';
import { faultProxy } from 'holdfast/testing/node';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { WebsocketProvider } from 'y-websocket';
import * as Y from 'yjs';
import { ReconnectingWebSocket } from '../../src/drop-in/reconnecting-web-socket.js';

async function serving() {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  server.on('connection', (socket, request) => void setupWSConnection(socket, request));
  await once(server, 'listening');
  const proxy = await faultProxy({ target: { port: (server.address() as AddressInfo).port } });
  onTestFinished(async () => {
    await proxy.close();
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return { proxy, server };
}

function editing(port: number, WebSocketPolyfill: typeof WebSocket) {
  const doc = new Y.Doc();
  const provider = new WebsocketProvider(`ws://127.0.0.1:${port}`, `notes-${port}`, doc, {
    WebSocketPolyfill,
    // They would meet beside the network, in this process.
    disableBc: true,
    maxBackoffTime: 20,
  });
  let opened = 0;
  provider.on('status', ({ status }) => {
    if (status === 'connected') opened++;
  });
  onTestFinished(() => {
    provider.destroy();
    doc.destroy();
  });
  return { text: doc.getText('text'), provider, opened: () => opened };
}

const quick = { minReconnectionDelay: 1, maxReconnectionDelay: 20 };

test.each([
  ['as it is', ReconnectingWebSocket.with(quick)],
  ['with untilOpen', ReconnectingWebSocket.with({ ...quick, untilOpen: true })],
])('two documents converge through 10 cuts, %s', { timeout: 20_000 }, async (_name, Class) => {
  const { proxy, server } = await serving();
  const [one, other] = [editing(proxy.port, Class), editing(proxy.port, Class)];
  const both = [one, other];
  await vi.waitFor(() => expect(both.every(({ provider }) => provider.synced)).toBe(true));
  for (let cut = 1; cut <= 10; cut++) {
    one.text.insert(0, `a${cut} `);
    // Every third time nothing can be dialed for a while.
    if (cut % 3 === 0) proxy.set({ accept: 'refuse' });
    proxy.reset();
    other.text.insert(other.text.length, `b${cut} `);
    if (cut % 3 === 0) {
      const { refused } = proxy.counters;
      await vi.waitFor(() => expect(proxy.counters.refused).toBeGreaterThan(refused + 2));
      proxy.heal();
    }
    await vi.waitFor(
      () => {
        for (const { opened } of both) expect(opened()).toBeGreaterThan(cut);
        expect(one.text.toString()).toBe(other.text.toString());
        expect(one.text.toString()).toContain(`a${cut} `);
        expect(one.text.toString()).toContain(`b${cut} `);
      },
      { timeout: 4_000 },
    );
  }
  expect(one.text.toString().trim().split(' ')).toHaveLength(20);
  // Nothing of the connections before is left or comes back.
  expect(server.clients.size).toBe(2);
});
