/** The recipe for server-sent events: names, ids, `Last-Event-ID`, and a server that repeats itself. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Client } from 'holdfast';
import { recorder } from 'holdfast/testing';
import { afterAll, afterEach, expect, test } from 'vitest';
import { eventually, hurry, kitchen } from './kitchen.js';
import { writtenRecipes } from './recipe.js';

type CreateStream = (url: string, token: string) => Client;

const recipes = writtenRecipes('stream');
const { createStream } = await recipes.load<{ createStream: CreateStream }>('stream.ts');
const { proxyOf, cleanup, close } = kitchen();
afterEach(close);
afterAll(recipes.remove);

/** Goes on from the id before the last one seen: a careful server repeats one. */
async function streamServer() {
  const asked: IncomingHttpHeaders[] = [];
  const open = new Set<ServerResponse>();
  let last = 0;
  const block = (id: number) => `id: ${id}\nevent: price:changed\ndata: {"price":${id}}\n\n`;
  const server = createServer((request, response) => {
    asked.push(request.headers);
    if (request.headers.authorization !== 'Bearer good') {
      response.writeHead(403).end();
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': hello\n\n');
    const from = Number(request.headers['last-event-id'] ?? last + 1);
    for (let id = from; id <= last; id++) response.write(block(id));
    open.add(response);
    response.on('close', () => open.delete(response));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanup(() => {
    server.closeAllConnections();
    server.close();
  });
  const proxy = await proxyOf((server.address() as AddressInfo).port);
  return {
    asked,
    open,
    url: `http://127.0.0.1:${proxy.port}/events`,
    price() {
      last++;
      for (const response of open) response.write(block(last));
    },
    write(text: string) {
      for (const response of open) response.write(text);
    },
    cut() {
      for (const connection of proxy.connections) connection.reset();
    },
  };
}

function reading(url: string, token = 'good') {
  const client = createStream(url, token);
  cleanup(() => client.close());
  hurry(client);
  const seen = recorder(client);
  client.connect().catch(() => {});
  return { client, seen };
}

test('every event comes once and in order, over five cuts', async () => {
  const server = await streamServer();
  const { client, seen } = reading(server.url);
  await eventually(() => server.open.size).toBe(1);
  for (let round = 0; round < 5; round++) {
    server.price();
    await eventually(() => seen.events.length).toBe(round * 3 + 1);
    server.cut();
    server.price();
    server.price();
    await eventually(() => seen.events.length).toBe(round * 3 + 3);
  }
  expect(seen.payloads).toEqual(Array.from({ length: 15 }, (_, n) => ({ price: n + 1 })));
  expect(seen.events[0]).toMatchObject({ type: 'price:changed', event: { eventId: '1' } });
  expect(client.metrics().duplicates).toBeGreaterThan(3);
  expect(server.asked[1]?.['last-event-id']).toBe('1');
});

test('events without a name or an id, and data that is no JSON, come as they are', async () => {
  const server = await streamServer();
  const { seen } = reading(server.url);
  await eventually(() => server.open.size).toBe(1);
  server.write('data: one\n\ndata: one\n\ndata: {"n":\ndata: 1}\n\n');
  await eventually(() => seen.payloads).toEqual(['one', 'one', { n: 1 }]);
  expect(seen.events.map(({ type }) => type)).toEqual(['message', 'message', 'message']);
});

test('a stream that is refused closes the client, and a request has no way up', async () => {
  const server = await streamServer();
  const { client } = reading(server.url, 'wrong');
  await eventually(() => client.state.status).toBe('closed');
  expect(client.state.error).toMatchObject({ code: 'UNAUTHORIZED', details: { status: 403 } });
  const other = reading(server.url);
  await expect(other.client.request('a:b', 1)).rejects.toMatchObject({ code: 'INVALID_PAYLOAD' });
});
