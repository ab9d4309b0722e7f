/** The recipe for a feed: ticks with ids, subscriptions by a message, a feed that remembers a while. */
import type { Client, GapNotice } from 'holdfast';
import { recorder } from 'holdfast/testing';
import { afterAll, afterEach, expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { eventually, hurry, kitchen, type Served, say } from './kitchen.js';
import { writtenRecipes } from './recipe.js';

type CreateTicker = (url: string, refetch: (gap: GapNotice) => Promise<void>) => Client;

const recipes = writtenRecipes('ticker');
const { createTicker } = await recipes.load<{ createTicker: CreateTicker }>('ticker.ts');
const { webSocketServer, cleanup, close } = kitchen();
afterEach(close);
afterAll(recipes.remove);

interface Feed extends Served {
  tick(symbol: string): number;
  /** The subscriptions that came, in order. */
  readonly subscriptions: { symbol: string; after?: string }[];
}

/** @param memory ticks of a symbol that it goes on from */
async function feed(memory: number): Promise<Feed> {
  const served = await webSocketServer();
  const log = new Map<string, number>([
    ['ABC', 0],
    ['XYZ', 0],
  ]);
  const subscribers = new Map<WebSocket, Set<string>>();
  const subscriptions: Feed['subscriptions'] = [];
  const tell = (socket: WebSocket, symbol: string, id: number) =>
    say(socket, { symbol, id, price: id * 10 });
  served.server.on('connection', (socket) => {
    const symbols = new Set<string>();
    subscribers.set(socket, symbols);
    socket.on('error', () => {});
    socket.on('close', () => subscribers.delete(socket));
    socket.on('message', (data: Buffer) => {
      const { op, symbol, after } = JSON.parse(String(data));
      const last = log.get(symbol);
      if (op === 'ping') say(socket, { op: 'pong' });
      if (op === 'unsubscribe') symbols.delete(symbol);
      if (op !== 'subscribe') return;
      subscriptions.push({ symbol, after });
      if (last === undefined) {
        say(socket, { op: 'unknown', symbol });
        return;
      }
      const resumed = after !== undefined && last - Number(after) <= memory;
      say(socket, { op: 'subscribed', symbol, id: last, resumed });
      symbols.add(symbol);
      for (let id = resumed ? Number(after) + 1 : last + 1; id <= last; id++)
        tell(socket, symbol, id);
    });
  });
  return {
    ...served,
    subscriptions,
    tick(symbol) {
      const id = (log.get(symbol) ?? 0) + 1;
      log.set(symbol, id);
      for (const [socket, symbols] of subscribers)
        if (symbols.has(symbol)) tell(socket, symbol, id);
      return id;
    },
  };
}

function watching(url: string) {
  const gaps: string[] = [];
  const client = createTicker(url, async ({ room }) => void gaps.push(room));
  cleanup(() => client.close());
  hurry(client);
  const seen = recorder(client);
  void client.connect();
  const ids = (room: string) =>
    seen.events.filter(({ event }) => event.room === room).map(({ event }) => event.eventId);
  return { client, seen, gaps, ids };
}

const range = (symbol: string, from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => `${symbol}-${from + n}`);

test('every tick comes once and in order, over five cuts, in each of two rooms', async () => {
  const server = await feed(100);
  const { client, gaps, ids, seen } = watching(server.url);
  await Promise.all([client.room('ABC').join(), client.room('XYZ').join()]);
  for (let round = 0; round < 5; round++) {
    for (let n = 0; n < 3; n++) {
      server.tick('ABC');
      server.tick('XYZ');
    }
    server.cut();
    server.tick('ABC');
    await eventually(() => ids('ABC')).toHaveLength((round + 1) * 4);
  }
  await eventually(() => ids('XYZ')).toHaveLength(15);
  expect(ids('ABC')).toEqual(range('ABC', 1, 20));
  expect(ids('XYZ')).toEqual(range('XYZ', 1, 15));
  expect(gaps).toEqual([]);
  expect(seen.errors).toEqual([]);
});

test('what the feed no longer remembers is a gap, and the state is fetched', async () => {
  const server = await feed(2);
  const { client, gaps, ids } = watching(server.url);
  await client.room('ABC').join();
  server.tick('ABC');
  await eventually(() => ids('ABC')).toEqual(['ABC-1']);
  server.cut();
  for (let n = 0; n < 5; n++) server.tick('ABC');
  await eventually(() => gaps).toEqual(['ABC']);
  server.tick('ABC');
  await eventually(() => ids('ABC')).toEqual(['ABC-1', 'ABC-7']);
  expect(server.subscriptions).toEqual([
    { symbol: 'ABC', after: undefined },
    { symbol: 'ABC', after: '1' },
  ]);
});

test('a symbol that there is none of is refused, and requests are not taken', async () => {
  const server = await feed(0);
  const { client } = watching(server.url);
  await expect(client.room('NONE').join()).rejects.toMatchObject({ code: 'ROOM_NOT_FOUND' });
  await expect(client.request('tick:make', {})).rejects.toMatchObject({ code: 'INVALID_PAYLOAD' });
});
