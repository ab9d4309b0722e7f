/** The recipe for graphql-transport-ws, against the server of the package graphql-ws. */
import {
  execute,
  GraphQLInt,
  GraphQLNonNull,
  GraphQLObjectType,
  GraphQLSchema,
  GraphQLString,
  subscribe,
  validate,
} from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import type { Client, GapNotice } from 'holdfast';
import { recorder } from 'holdfast/testing';
import { afterAll, afterEach, expect, test } from 'vitest';
import { eventually, hurry, kitchen } from './kitchen.js';
import { writtenRecipes } from './recipe.js';

interface Setup {
  url: string;
  subscriptions: Record<string, { query: string; variables?: Record<string, unknown> }>;
  auth: () => unknown;
  onGap: (gap: GapNotice) => unknown;
}

const recipes = writtenRecipes('graphql');
type Exports = { createGraphql: (setup: Setup) => Client };
const { createGraphql } = await recipes.load<Exports>('graphql.ts');
const { webSocketServer, cleanup, close } = kitchen();
afterEach(close);
afterAll(recipes.remove);

interface Source {
  push(text: string): void;
  end(): void;
  /** Subscriptions that are open. */
  readonly open: number;
}

/** What subscriptions read from. */
function source(): Source & { read(): AsyncGenerator<{ messageAdded: string }> } {
  const readers = new Set<(text: string | null) => void>();
  const tellAll = (text: string | null) => {
    for (const tell of readers) tell(text);
  };
  return {
    push: tellAll,
    end: () => tellAll(null),
    get open() {
      return readers.size;
    },
    read() {
      const waiting: (string | null)[] = [];
      let wake = () => {};
      const tell = (text: string | null) => {
        waiting.push(text);
        wake();
      };
      const generator = (async function* () {
        for (;;) {
          const text = waiting.shift();
          if (text === null) return;
          if (text !== undefined) yield { messageAdded: text };
          else
            await new Promise<void>((done) => {
              wake = done;
            });
        }
      })();
      const leave = generator.return.bind(generator);
      generator.return = async (value) => {
        readers.delete(tell);
        tell(null);
        return leave(value);
      };
      readers.add(tell);
      return generator;
    },
  };
}

async function graphqlServer() {
  const messages = source();
  const schema = new GraphQLSchema({
    query: new GraphQLObjectType({
      name: 'Query',
      fields: {
        sum: {
          type: GraphQLInt,
          args: { a: { type: new GraphQLNonNull(GraphQLInt) }, b: { type: GraphQLInt } },
          resolve: (_, { a, b }) => a + b,
        },
        broken: {
          type: GraphQLInt,
          resolve() {
            throw new Error('It is broken.');
          },
        },
      },
    }),
    subscription: new GraphQLObjectType({
      name: 'Subscription',
      fields: { messageAdded: { type: GraphQLString, subscribe: () => messages.read() } },
    }),
  });
  const served = await webSocketServer();
  const connections: unknown[] = [];
  const server = useServer(
    {
      // Its own graphql is another copy than this test's, and copies refuse each other's schemas.
      ...{ schema, execute, subscribe, validate },
      onConnect({ connectionParams }) {
        connections.push(connectionParams);
        return connectionParams?.token !== 'wrong';
      },
    },
    served.server,
    50,
  );
  cleanup(() => server.dispose());
  return { ...served, messages, connections };
}

function asking(url: string, token = 'good') {
  const gaps: string[] = [];
  const client = createGraphql({
    url,
    subscriptions: {
      messages: { query: 'subscription { messageAdded }' },
      nonsense: { query: 'subscription { nothing }' },
    },
    auth: () => ({ token }),
    onGap: ({ room, reason }) => void gaps.push(`${room} ${reason}`),
  });
  cleanup(() => client.close());
  hurry(client);
  const seen = recorder(client);
  client.connect().catch(() => {});
  return { client, seen, gaps };
}

test('a subscription goes on over five cuts, and each of them is a gap', async () => {
  const { messages, ...server } = await graphqlServer();
  const { client, seen, gaps } = asking(server.url);
  const room = client.room('messages');
  const heard: unknown[] = [];
  room.on('next', (data) => heard.push(data));
  await room.join();
  for (let round = 1; round <= 5; round++) {
    await eventually(() => messages.open).toBe(1);
    messages.push(`message ${round}`);
    await eventually(() => heard.length).toBe(round);
    server.cut();
    await eventually(() => gaps.length).toBe(round);
  }
  expect(heard).toEqual([1, 2, 3, 4, 5].map((n) => ({ messageAdded: `message ${n}` })));
  expect(gaps).toEqual(gaps.map(() => 'messages expired'));
  expect(server.connections).toEqual(Array.from({ length: 6 }, () => ({ token: 'good' })));
  expect(seen.errors).toEqual([]);
});

test('queries are requests, and their errors are errors', async () => {
  const server = await graphqlServer();
  const { client } = asking(server.url);
  const query = 'query Sum($b: Int) { sum(a: 1, b: $b) }';
  expect(await client.request('query', { query, variables: { b: 2 } })).toEqual({ sum: 3 });
  await expect(client.request('query', { query: '{ broken }' })).rejects.toMatchObject({
    code: 'GRAPHQL',
    message: 'It is broken.',
  });
  await expect(client.request('query', { query: '{ absent }' })).rejects.toMatchObject({
    code: 'GRAPHQL',
    message: expect.stringContaining('absent'),
  });
});

test('a subscription is refused, ended by the server, and left', async () => {
  const { messages, ...server } = await graphqlServer();
  const { client, seen } = asking(server.url);
  void client.room('nonsense').join();
  await expect(client.room('absent').join()).rejects.toMatchObject({ code: 'LISTENER_FAILED' });
  await eventually(() => seen.errors).toMatchObject([{ code: 'GRAPHQL' }]);
  const room = client.room('messages');
  await room.join();
  await eventually(() => messages.open).toBe(1);
  room.leave();
  await eventually(() => messages.open).toBe(0);
  await room.join();
  await eventually(() => messages.open).toBe(1);
  messages.end();
  await eventually(() => room.state).toBe('refused');
  expect(seen.errors).toMatchObject([{ code: 'GRAPHQL' }, { code: 'ENDED' }]);
  expect(client.state.status).toBe('connected');
});

test('credentials that the server refuses close the client', async () => {
  const server = await graphqlServer();
  const { client } = asking(server.url, 'wrong');
  await eventually(() => client.state.status).toBe('closed');
  expect(client.state.error).toMatchObject({ code: 'UNAUTHORIZED', details: { closeCode: 4403 } });
});
