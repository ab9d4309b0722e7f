import { expect, test } from 'vitest';
import { harness } from './harness.js';

test('connects, joins, hears, asks, and comes back', async () => {
  const { clock, client, server, seen, network } = harness({ auto: true });
  const room = client.room('r');
  const heard: unknown[] = [];
  room.on('a:b', (payload) => heard.push(payload));
  client.connect();
  const joined = room.join();
  await clock.advance(50);
  await joined;
  expect(client.state).toMatchObject({ status: 'connected', synced: true });
  server.publish('r', 'a:b', 1);
  const answer = client.request('x:y', { n: 1 });
  await clock.advance(50);
  expect(await answer).toEqual({ n: 1 });
  expect(heard).toEqual([1]);
  network.links[0]?.cut();
  server.publish('r', 'a:b', 2);
  await clock.advance(2000);
  expect(heard).toEqual([1, 2]);
  expect(seen.statuses).toEqual([
    'disconnected',
    'connecting',
    'connected',
    'reconnecting',
    'connected',
  ]);
  await clock.advance(60000);
  client.close();
  await clock.advance(10);
  expect(clock.pending).toBe(0);
  console.log(client.metrics(), client.state);
});
