/** The recipe for topics as Phoenix has them: join refs, replies, heartbeats, channels that crash. */
import type { Client, GapNotice } from 'holdfast';
import { recorder } from 'holdfast/testing';
import { afterAll, afterEach, expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { eventually, hurry, kitchen, say } from './kitchen.js';
import { writtenRecipes } from './recipe.js';

interface Exports {
  createPhoenix(url: string, auth: () => unknown, onGap: (gap: GapNotice) => unknown): Client;
}

const recipes = writtenRecipes('phoenix');
const { createPhoenix } = await recipes.load<Exports>('phoenix.ts');
const { webSocketServer, cleanup, close } = kitchen();
afterEach(close);
afterAll(recipes.remove);

type Push = [joinRef: string | null, ref: string, topic: string, event: string, payload: unknown];

/** Serializer 2.0.0, topics `room:*` and a token that lets one in. */
async function topicServer() {
  const served = await webSocketServer();
  const pushes: Push[] = [];
  /** The join_ref of each topic, by socket. */
  const channels = new Map<WebSocket, Map<string, string>>();
  const handle = (socket: WebSocket, joined: Map<string, string>, push: Push) => {
    const [joinRef, ref, topic, event, payload] = push;
    const reply = (status: 'ok' | 'error', response: unknown) =>
      say(socket, [joinRef, ref, topic, 'phx_reply', { status, response }]);
    if (topic === 'phoenix') return reply('ok', {});
    if (event === 'phx_join') {
      const { token } = payload as { token?: string };
      if (token !== 'good') return reply('error', { reason: 'unauthorized' });
      // A second join of a topic closes the first one.
      const earlier = joined.get(topic);
      if (earlier !== undefined) say(socket, [earlier, earlier, topic, 'phx_close', {}]);
      joined.set(topic, String(joinRef));
      return reply('ok', {});
    }
    if (!joined.has(topic)) return reply('error', { reason: 'unmatched topic' });
    if (event === 'phx_leave') {
      joined.delete(topic);
      reply('ok', {});
      return say(socket, [joinRef, ref, topic, 'phx_close', {}]);
    }
    if (event === 'fail') return reply('error', { reason: 'forbidden' });
    reply('ok', { echo: payload });
    for (const [other, topics] of channels) {
      if (topics.has(topic)) say(other, [null, null, topic, event, payload]);
    }
  };
  served.server.on('connection', (socket) => {
    const joined = new Map<string, string>();
    channels.set(socket, joined);
    socket.on('error', () => {});
    socket.on('close', () => channels.delete(socket));
    socket.on('message', (data: Buffer) => {
      const push: Push = JSON.parse(String(data));
      pushes.push(push);
      handle(socket, joined, push);
    });
  });
  /** Pushes to everybody in a topic, from its channel. */
  const fromChannel = (topic: string, event: string) => {
    for (const [socket, topics] of channels) {
      const joinRef = topics.get(topic);
      topics.delete(topic);
      if (joinRef !== undefined) say(socket, [joinRef, joinRef, topic, event, {}]);
    }
  };
  return {
    ...served,
    pushes,
    crash: (topic: string) => fromChannel(topic, 'phx_error'),
    stop: (topic: string) => fromChannel(topic, 'phx_close'),
  };
}

function talking(url: string, token = 'good') {
  const gaps: string[] = [];
  const client = createPhoenix(
    url,
    () => ({ token }),
    ({ room }) => void gaps.push(room),
  );
  cleanup(() => client.close());
  hurry(client);
  const seen = recorder(client);
  void client.connect();
  return { client, seen, gaps };
}

test('topics are rooms and pushes are requests, over five cuts', async () => {
  const server = await topicServer();
  const { client, seen, gaps } = talking(server.url);
  const lobby = client.room('room:lobby');
  const other = talking(server.url);
  await Promise.all([lobby.join(), other.client.room('room:lobby').join()]);
  for (let round = 1; round <= 5; round++) {
    expect(await lobby.request('new_msg', { round })).toEqual({ echo: { round } });
    await eventually(() => [seen.events.length, other.seen.events.length]).toEqual([round, round]);
    server.cut();
    await eventually(() => [gaps.length, other.gaps.length]).toEqual([round, round]);
  }
  expect(seen.payloads).toEqual([1, 2, 3, 4, 5].map((round) => ({ round })));
  expect(other.seen.payloads).toEqual(seen.payloads);
  expect(seen.errors).toEqual([]);
});

test('a request that waits for its topic is written after the join', async () => {
  const server = await topicServer();
  const { client } = talking(server.url);
  const lobby = client.room('room:lobby');
  void lobby.join();
  expect(await lobby.request('new_msg', 'first')).toEqual({ echo: 'first' });
  expect(server.pushes.map(([, , , event]) => event)).toEqual(['phx_join', 'new_msg']);
});

test('refusals are errors, of a join and of a request', async () => {
  const server = await topicServer();
  const bad = talking(server.url, 'wrong');
  await expect(bad.client.room('room:lobby').join()).rejects.toMatchObject({
    code: 'UNAUTHORIZED',
  });
  const { client } = talking(server.url);
  const lobby = client.room('room:lobby');
  await expect(lobby.request('new_msg', 1)).rejects.toMatchObject({ code: 'UNMATCHED TOPIC' });
  await lobby.join();
  await expect(lobby.request('fail', 1)).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(client.request('new_msg', 1)).rejects.toMatchObject({ code: 'INVALID_PAYLOAD' });
});

test('a channel that crashed is joined again, which is a gap; one that ended is not', async () => {
  const server = await topicServer();
  const { client, seen, gaps } = talking(server.url);
  const lobby = client.room('room:lobby');
  await lobby.join();
  server.crash('room:lobby');
  await eventually(() => gaps).toEqual(['room:lobby']);
  expect(await lobby.request('new_msg', 1)).toEqual({ echo: 1 });
  server.stop('room:lobby');
  await eventually(() => lobby.state).toBe('refused');
  expect(seen.errors).toMatchObject([{ code: 'ENDED' }]);
});

test('a topic that is left and joined again at once stays joined, whatever the first one says', async () => {
  const server = await topicServer();
  const { client, seen } = talking(server.url);
  const lobby = client.room('room:lobby');
  await lobby.join();
  lobby.leave();
  await Promise.resolve();
  await lobby.join();
  expect(await lobby.request('new_msg', 1)).toEqual({ echo: 1 });
  await eventually(() => seen.payloads).toEqual([1]);
  expect(lobby.state).toBe('joined');
  expect(seen.errors).toEqual([]);
  expect(server.pushes.map(([joinRef, , , event]) => [joinRef, event])).toEqual([
    ['join-1', 'phx_join'],
    ['join-1', 'phx_leave'],
    ['join-2', 'phx_join'],
    [null, 'new_msg'],
  ]);
});
