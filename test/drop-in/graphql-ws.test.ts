/** graphql-ws over it: its own server, and a subscription that goes on through cuts. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import {
  execute,
  GraphQLInt,
  GraphQLObjectType,
  GraphQLSchema,
  subscribe,
  validate,
} from 'graphql';
import { type ClientOptions, createClient } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import { faultProxy } from 'holdfast/testing/node';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { ReconnectingWebSocket } from '../../src/drop-in/reconnecting-web-socket.js';

/** A counter that everybody can watch: `subscription { count }`. */
function counting() {
  let count = 0;
  const hearing = new Set<() => void>();
  async function* watch() {
    for (;;) {
      yield { count };
      await new Promise<void>((next) => hearing.add(next));
    }
  }
  const field = { type: GraphQLInt, subscribe: watch };
  const schema = new GraphQLSchema({
    query: new GraphQLObjectType({ name: 'Query', fields: { count: { type: GraphQLInt } } }),
    subscription: new GraphQLObjectType({ name: 'Subscription', fields: { count: field } }),
  });
  return {
    schema,
    next(): number {
      count++;
      for (const tell of hearing) tell();
      hearing.clear();
      return count;
    },
  };
}

async function serving() {
  const { schema, next } = counting();
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  // Its own `graphql` is another copy than that of this test, and copies refuse each other's schemas.
  const stop = useServer({ schema, execute, subscribe, validate }, server);
  await once(server, 'listening');
  const proxy = await faultProxy({ target: { port: (server.address() as AddressInfo).port } });
  onTestFinished(async () => {
    await proxy.close();
    for (const socket of server.clients) socket.terminate();
    await stop.dispose();
    server.close();
  });
  return { proxy, server, next };
}

function watching(port: number, options: Partial<ClientOptions>) {
  const client = createClient({ url: `ws://127.0.0.1:${port}`, ...options });
  const counts: unknown[] = [];
  const ends: unknown[] = [];
  client.subscribe<{ count: number }>(
    { query: 'subscription { count }' },
    {
      next: ({ data }) => counts.push(data?.count),
      error: (error) => ends.push(error),
      complete: () => ends.push('complete'),
    },
  );
  onTestFinished(() => client.dispose());
  return { counts, ends };
}

const quick = { minReconnectionDelay: 1, maxReconnectionDelay: 20 };

test('with untilOpen a subscription goes on through 10 cuts, three of them with a long outage', {
  timeout: 20_000,
}, async () => {
  const { proxy, server, next } = await serving();
  const { counts, ends } = watching(proxy.port, {
    webSocketImpl: ReconnectingWebSocket.with({ ...quick, untilOpen: true }),
    // Its own wait before it dials again; here as short as the story needs it.
    retryWait: async () => {},
  });
  await vi.waitFor(() => expect(counts).toEqual([0]));
  for (let cut = 1; cut <= 10; cut++) {
    if (cut % 3 === 0) proxy.set({ accept: 'refuse' });
    proxy.reset();
    if (cut % 3 === 0) {
      const { refused } = proxy.counters;
      // More failures in a row than graphql-ws itself would take: it hears of none.
      await vi.waitFor(() => expect(proxy.counters.refused).toBeGreaterThan(refused + 5));
      proxy.heal();
    }
    const count = next();
    await vi.waitFor(() => expect(counts.at(-1)).toBe(count), { timeout: 4_000 });
    expect(server.clients.size).toBe(1);
  }
  expect(ends).toEqual([]);
});

test('without it graphql-ws takes the first failed attempt for the end, as over any WebSocket', async () => {
  const { proxy } = await serving();
  proxy.set({ accept: 'refuse' });
  const { ends } = watching(proxy.port, { webSocketImpl: ReconnectingWebSocket.with(quick) });
  await vi.waitFor(() => expect(ends).toHaveLength(1));
});

test('dispose() ends it: nothing is dialed any more', async () => {
  const { proxy, server } = await serving();
  const client = createClient({
    url: `ws://127.0.0.1:${proxy.port}`,
    lazy: false,
    webSocketImpl: ReconnectingWebSocket.with({ ...quick, untilOpen: true }),
  });
  await new Promise<void>((done) => client.on('connected', () => done()));
  await client.dispose();
  await vi.waitFor(() => expect(server.clients.size).toBe(0));
  expect(proxy.counters.accepted).toBe(1);
});
