/** Promises about events and rooms: each event once, in order, at once, and to nobody who left. */

import { numberOf, numbers, ROOM, range } from './numbers.js';
import { promised } from './rule.js';
import type { Player } from './scene.js';
import { holds, same } from './verdict.js';

/** Milliseconds that news may take, in the median of three. */
const AT_ONCE = 500;

/** Every client is in its user's own room. */
const OWN = 1;

export const delivery = {
  missed: promised('50 events that were missed come in order, each once', async (scene) => {
    const hub = await scene.serve();
    const player = await scene.member();
    await scene.publish(hub, 1, 3);
    await scene.hears(player, 3);
    scene.network.refuse();
    scene.network.cut();
    await scene.until('it is noticed', () => player.client.state.status === 'reconnecting');
    await scene.publish(hub, 4, 53);
    scene.network.heal();
    await scene.hears(player, 53);
    await scene.until('it is synced', () => player.client.state.synced);
    same(player.client.metrics().gaps, 0, 'gaps');
  }),

  rooms: promised(
    '50 rooms that are joined in one tick are each joined and caught up',
    async (scene) => {
      const hub = await scene.serve();
      const player = await scene.member();
      const rooms = range(1, 50).map((number) => player.client.room(`room-${number}`));
      const joined = Promise.all(rooms.map((room) => room.join()));
      await scene.get(joined, 'all rooms are joined');
      same([...new Set(rooms.map(({ state }) => state))], ['joined'], 'states of the rooms');
      await scene.until('it is synced', () => player.client.state.synced);
      for (const { name } of rooms) await scene.publish(hub, 1, 2, name);
      for (const { name } of rooms) await scene.hears(player, 2, name);
      same(player.seen.errors, [], 'errors');
    },
  ),

  rejoin: promised(
    'a room that is left is silent, and speaks again once it is joined',
    async (scene) => {
      const hub = await scene.serve();
      const player = await scene.member();
      const room = player.client.room(ROOM);
      await scene.publish(hub, 1, 1);
      await scene.hears(player, 1);
      room.leave();
      await scene.until('the server knows', () => hub.metrics().rooms <= OWN);
      await scene.publish(hub, 2, 2);
      await scene.get(room.join(), 'it joins again');
      await scene.publish(hub, 3, 3);
      await scene.until('it hears again', () => numbers(player).includes(3));
      same(numbers(player), [1, 3], 'events of the room');
      same(player.client.metrics().stray, 0, 'events of a room that was left');
    },
  ),

  order: promised('200 events of a room come in order, without repair', async (scene) => {
    const hub = await scene.serve();
    const player = await scene.member();
    await scene.publish(hub, 1, 100);
    await scene.publish(hub, 101, 200);
    await scene.hears(player, 200);
    same(carried(player), range(1, 200), 'the events as the wire carried them');
  }),

  slow: promised('a link that is slow gets everything, in its time', async (scene) => {
    const hub = await scene.serve({ limits: { bufferedBytes: 65_536 } });
    const player = await scene.member();
    const text = 'x'.repeat(4_000);
    scene.network.slow(400_000);
    const all = range(1, 100).map((number) => hub.publish(ROOM, 'feed:ticked', { number, text }));
    await scene.get(Promise.all(all), 'the hub publishes');
    await scene.until('half of it comes', () => numbers(player).length > 50);
    scene.network.heal();
    await scene.hears(player, 100);
    same(player.seen.statuses, ['disconnected', 'connecting', 'connected'], 'statuses');
  }),

  push: promised('news comes when there is some, not when it is asked for', async (scene) => {
    const hub = await scene.serve();
    const player = await scene.member();
    const took: number[] = [];
    for (const number of range(1, 3)) {
      const from = scene.clock.now();
      await scene.publish(hub, number, number);
      await scene.hears(player, number);
      took.push(Math.round(scene.clock.now() - from));
    }
    const [, median = 0] = took.toSorted((one, other) => one - other);
    holds(median <= AT_ONCE, `news took ${took} ms, wanted ${AT_ONCE} at most in the median`);
  }),

  bytes: promised('bytes in payloads arrive as they were', async (scene) => {
    const hub = await scene.serve();
    const player = await scene.member();
    const bytes = new Uint8Array([0, 1, 127, 128, 255]);
    const answer = player.client.request('echo:say', { bytes, text: 'é' });
    same(await scene.get(answer, 'it is answered'), { bytes, text: 'é' }, 'the response');
    same(scene.runs, [{ bytes, text: 'é' }], 'what the handler got');
    player.client.send('note:sent', [bytes]);
    await scene.get(hub.publish(ROOM, 'feed:ticked', { number: 1, bytes }), 'the hub publishes');
    await scene.hears(player, 1);
    same(player.seen.payloads, [{ number: 1, bytes }], 'the event');
    await scene.until('the message comes', () => scene.messages.length > 0);
    same(scene.messages, [[bytes]], 'the message');
  }),
};

/** The numbers in the frames, before the client put anything right. */
function carried({ watch }: Player): number[] {
  return watch.frames.flatMap((frame) =>
    frame.kind === 'event' && frame.room === ROOM ? [numberOf(frame.payload)] : [],
  );
}
