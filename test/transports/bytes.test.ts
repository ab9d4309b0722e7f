/** Bytes in payloads over the wires that are text: they arrive as bytes there too. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createClient } from 'holdfast';
import { polling } from 'holdfast/polling';
import { createHub } from 'holdfast/server';
import { sse } from 'holdfast/sse';
import { recorder } from 'holdfast/testing';
import { webSocket } from 'holdfast/websocket';
import { expect, onTestFinished, test } from 'vitest';

const payload = { file: Uint8Array.of(0, 1, 255), said: '\0bAQ==', list: [new Uint8Array(0)] };

test.each([
  ['server-sent events', (address: string) => sse(`http://${address}`)],
  ['polling', (address: string) => polling(`http://${address}`)],
  ['a WebSocket of JSON', (address: string) => webSocket(`ws://${address}`)],
])('bytes go both ways over %s', async (_wire, transport) => {
  const hub = createHub({
    handlers: {
      'file:put': (given, { publish }) => {
        publish('files', 'file:came', given);
        return { given };
      },
    },
  });
  const server = createServer((request, response) => hub.handleHttp(request, response));
  hub.attachWebSocket(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = createClient({ transport: transport(`127.0.0.1:${port}/realtime`) });
  onTestFinished(async () => {
    client.close();
    await hub.close();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  const seen = recorder(client);
  await client.connect();
  await client.room('files').join();
  expect(await client.request('file:put', payload)).toEqual({ given: payload });
  await seen.until(({ events }) => events.length === 1);
  expect(seen.payloads).toEqual([payload]);
  expect(client.metrics().garbled).toBe(0);
});
