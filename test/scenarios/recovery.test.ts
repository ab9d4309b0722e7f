/** After the worst a server can do to its links: what the client costs it, and what it gets back. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createClient, type TraceEntry } from 'holdfast';
import { createHub, type Hub } from 'holdfast/server';
import { recorder } from 'holdfast/testing';
import { webSocket } from 'holdfast/websocket';
import { expect, onTestFinished, test } from 'vitest';

const ROOMS = Array.from({ length: 200 }, (_, index) => `room:${index}`);

test("recovery after the server kills 200 rooms' links: one welcome round trip, every room rejoined once, missed events in order", {
  timeout: 30_000,
}, async () => {
  const hub = createHub({});
  const { http, sockets, url } = await serving(hub);
  const client = createClient({
    transport: webSocket(url),
    reconnect: { initialDelay: 250, maxDelay: 250, jitter: 'none' },
  });
  onTestFinished(async () => {
    client.close();
    await hub.close();
    await new Promise((done) => http.close(done));
  });
  const seen = recorder(client);
  await client.connect();
  await Promise.all(ROOMS.map((name) => client.room(name).join()));
  for (const room of ROOMS) await hub.publish(room, 'n:event', `${room} 1`);
  await seen.until(({ events }) => events.length === ROOMS.length);

  const wire: TraceEntry[] = [];
  client.onTrace((entry) => wire.push(entry));
  const lost = seen.until(({ statuses }) => statuses.at(-1) === 'reconnecting');
  for (const socket of sockets) socket.destroy();
  await lost;
  for (const number of [2, 3]) {
    for (const room of ROOMS) await hub.publish(room, 'n:event', `${room} ${number}`);
  }
  expect(client.state.status, 'all of it was published while there was no link').toBe(
    'reconnecting',
  );
  await seen.until(() => client.state.synced);
  const live = ROOMS.map((room) => hub.publish(room, 'n:event', `${room} 4`));
  await Promise.all(live);
  await seen.until(({ events }) => events.length === 4 * ROOMS.length);

  const received = wire.flatMap(({ fact }) => (fact.fact === 'received' ? [fact.frame] : []));
  expect(received.filter(({ kind }) => kind === 'welcome')).toHaveLength(1);
  expect(wire.filter(({ fact }) => fact.fact === 'opened')).toHaveLength(1);
  // The hello asked for everything: nothing more was written to get all rooms back.
  const written = wire.flatMap(({ orders }) => orders.filter(({ order }) => order === 'transmit'));
  expect(written).toEqual([]);
  const joined = received.flatMap((frame) =>
    frame.kind === 'room' && 'joined' in frame ? [frame] : [],
  );
  expect(joined.map(({ room }) => room).sort()).toEqual(['@me', ...ROOMS].sort());
  expect(joined.every(({ recovered }) => recovered)).toBe(true);
  for (const room of ROOMS) {
    const heard = seen.events.filter(({ event }) => event.room === room);
    expect(heard.map(({ payload }) => payload)).toEqual([1, 2, 3, 4].map((n) => `${room} ${n}`));
  }
  expect(client.metrics()).toMatchObject({ connects: 2, gaps: 0, duplicates: 0, replayed: 400 });
  expect(hub.metrics().rooms).toBe(ROOMS.length + 1);
});

async function serving(hub: Hub): Promise<{ http: Server; sockets: Set<Socket>; url: string }> {
  const http = createServer();
  const sockets = new Set<Socket>();
  http.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  hub.attachWebSocket(http);
  await new Promise<void>((done) => http.listen(0, '127.0.0.1', done));
  const { port } = http.address() as AddressInfo;
  return { http, sockets, url: `ws://127.0.0.1:${port}/realtime` };
}
