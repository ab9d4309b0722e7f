/** The recipe for a JSON-RPC 2.0 server: requests with ids, errors of its own, notifications both ways. */
import type { Client } from 'holdfast';
import { recorder } from 'holdfast/testing';
import { afterAll, afterEach, expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { eventually, hurry, kitchen, say } from './kitchen.js';
import { writtenRecipes } from './recipe.js';

const recipes = writtenRecipes('json-rpc');
const { createRpc } = await recipes.load<{ createRpc: (url: string) => Client }>('json-rpc.ts');
const { webSocketServer, cleanup, close } = kitchen();
afterEach(close);
afterAll(recipes.remove);

type Call = { jsonrpc: string; id?: string; method: string; params: unknown };
type Method = (params: number[], socket: WebSocket) => unknown;

class RpcError extends Error {
  readonly body: { code: number; message: string; data?: unknown };

  constructor(body: RpcError['body']) {
    super(body.message);
    this.body = body;
  }
}

/** As the specification has it: unknown methods and what handlers throw are errors, notifications silent. */
async function rpcServer(methods: Record<string, Method>) {
  const served = await webSocketServer();
  const calls: Call[] = [];
  served.server.on('connection', (socket) => {
    socket.on('error', () => {});
    const take = async (data: Buffer) => {
      const call: Call = JSON.parse(String(data));
      calls.push(call);
      const { id, method, params } = call;
      const answer = (body: object) =>
        id !== undefined && say(socket, { jsonrpc: '2.0', id, ...body });
      const run = methods[method];
      if (run === undefined) {
        answer({ error: { code: -32601, message: 'Method not found' } });
        return;
      }
      try {
        const result = await run(params as number[], socket);
        if (result !== undefined) answer({ result });
      } catch (error) {
        answer({
          error: error instanceof RpcError ? error.body : { code: -32603, message: 'Internal' },
        });
      }
    };
    socket.on('message', (data: Buffer) => void take(data));
  });
  return { ...served, calls };
}

function calling(url: string) {
  const client = createRpc(url);
  cleanup(() => client.close());
  hurry(client);
  const seen = recorder(client);
  void client.connect();
  return { client, seen };
}

test('requests are answered by their ids, whatever the order', async () => {
  const waiting: (() => void)[] = [];
  const server = await rpcServer({
    async subtract([a = 0, b = 0]) {
      await new Promise<void>((done) => {
        waiting.unshift(done);
        if (waiting.length === 3) for (const go of waiting) go();
      });
      return a - b;
    },
  });
  const { client } = calling(server.url);
  const asked = [1, 2, 3].map((n) => client.request('subtract', [42, n]));
  expect(await Promise.all(asked)).toEqual([41, 40, 39]);
  expect(server.calls[0]).toEqual({
    jsonrpc: '2.0',
    id: expect.any(String),
    method: 'subtract',
    params: [42, 1],
  });
});

test('errors are the protocol’s, or the application’s own, with what came beside them', async () => {
  const server = await rpcServer({
    buy: ([count = 0]) => {
      if (count > 2) throw new RpcError({ code: -32001, message: 'Sold out', data: { left: 2 } });
      throw new RpcError({ code: -32602, message: 'Invalid params' });
    },
  });
  const { client } = calling(server.url);
  expect(
    await Promise.allSettled([
      client.request('steal', []),
      client.request('buy', [0]),
      client.request('buy', [3]),
    ]),
  ).toMatchObject([
    { reason: { code: 'UNKNOWN_TYPE', category: 'validation' } },
    { reason: { code: 'INVALID_PAYLOAD' } },
    {
      reason: {
        code: 'RPC_-32001',
        message: 'Sold out',
        category: 'application',
        details: { rpcCode: -32001, data: { left: 2 } },
      },
    },
  ]);
});

test('notifications are events here and messages there, and have no answer', async () => {
  const server = await rpcServer({
    hello: (_, socket) => {
      for (const price of [1, 1, 2]) {
        say(socket, { jsonrpc: '2.0', method: 'price:changed', params: { price } });
      }
    },
  });
  const { client, seen } = calling(server.url);
  client.send('hello', []);
  await eventually(() => seen.payloads).toEqual([{ price: 1 }, { price: 1 }, { price: 2 }]);
  expect(server.calls).toEqual([{ jsonrpc: '2.0', method: 'hello', params: [] }]);
});

test('a request across a cut is of unknown outcome, or written again where that was asked for', async () => {
  let isDeaf = true;
  const server = await rpcServer({ add: ([a = 0]) => (isDeaf ? undefined : a + 1) });
  const { client } = calling(server.url);
  const once = client.request('add', [1]);
  const again = client.request('add', [2], { delivery: 'at-least-once' });
  once.catch(() => {});
  await eventually(() => server.calls.length).toBe(2);
  isDeaf = false;
  server.cut();
  await expect(once).rejects.toMatchObject({
    code: 'OUTCOME_UNKNOWN',
    details: { reason: 'lost' },
  });
  expect(await again).toBe(3);
  expect(await client.request('add', [3])).toBe(4);
});
