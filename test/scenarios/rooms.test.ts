/** Rooms through outages, holes and gaps: each event once, in order, or a gap that says so. */
import type { ClientOptions, Contract, GapNotice } from 'holdfast';
import { memoryJournal } from 'holdfast/server';
import type { Accept, PassingFrame } from 'holdfast/testing';
import { describe, expect, test } from 'vitest';
import { harness } from '../client/harness.js';
import { hubHarness } from './hub.js';
import { losableJournal } from './losable-journal.js';

const NEWS = 'news:item';

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

/** A client in the room "r" of a scripted server, at event 0. */
async function inRoom(options: Partial<ClientOptions<Contract>> = {}) {
  const all = harness(options);
  const { client, clock, server } = all;
  void client.connect();
  const joined = client.room('r').join();
  await clock.advance(1);
  server.link.welcome();
  server.link.joined('r', { recovered: false, reason: 'new' });
  server.link.caughtUp('r');
  await clock.advance(1);
  await joined;
  return { ...all, link: server.link };
}

describe('E23 the rooms the application wants are the truth', () => {
  test('E23 1,000 rooms are joined again in one round trip, once each, as wanted by then', {
    timeout: 30_000,
  }, async () => {
    const latency = 50;
    const { clock, client, hub, network, connected, frames, passed, seen } = hubHarness({
      latency,
    });
    const rooms = range(0, 999).map((number) => client.room(`room:${number}`));
    for (const room of rooms.slice(0, 900)) void room.join();
    await connected();
    expect(client.state).toMatchObject({ status: 'connected', synced: true });

    network.cut();
    const cutAt = clock.now();
    for (const room of rooms.slice(0, 100)) room.leave();
    for (const room of rooms.slice(900)) void room.join();
    rooms[500]?.leave();
    void rooms[500]?.join();
    await clock.advance(2_000);

    const wanted = rooms.slice(100).map((room) => room.name);
    const [hello, ...more] = passed.filter(
      ({ at, frame }) => at >= cutAt && frame.kind === 'hello',
    );
    expect(more).toEqual([]);
    expect(
      namesOf(hello?.frame)
        .filter((name) => name !== '@me')
        .sort(),
    ).toEqual([...wanted].sort());
    expect(frames('up', 'join', cutAt)).toEqual([]);
    expect(frames('up', 'leave', cutAt)).toEqual([]);
    const verdicts = passed.filter(({ at, frame }) => at >= cutAt && frame.joined === true);
    expect(verdicts.map(({ frame }) => frame.room).sort()).toEqual(['@me', ...wanted].sort());
    expect(new Set(verdicts.map(({ at }) => at))).toEqual(new Set([(hello?.at ?? 0) + latency]));
    expect(rooms.map((room) => room.state)).toEqual(
      rooms.map((_room, index) => (index < 100 ? 'idle' : 'joined')),
    );

    for (const room of rooms) void hub.publish(room.name, NEWS, room.name);
    await clock.advance(2 * latency);
    expect(seen.payloads).toEqual(wanted);
  });

  test('E23 joins and leaves between the dial and the welcome are settled right after it', async () => {
    const { client, clock, server } = harness();
    for (const name of ['kept', 'left']) void client.room(name).join();
    void client.connect();
    await clock.advance(1);
    const { link } = server;
    expect(link.hello?.rooms).toEqual([{ room: 'kept' }, { room: 'left' }]);

    client.room('left').leave();
    void client.room('late').join();
    link.welcome();
    await clock.advance(1);
    expect(link.sent('join')).toEqual([{ kind: 'join', rooms: [{ room: 'late' }] }]);
    for (const room of ['@me', 'kept', 'left', 'late']) link.joined(room);
    await clock.advance(1);
    expect(link.sent('leave')).toEqual([{ kind: 'leave', rooms: ['left'] }]);
    expect(link.sent('join')).toHaveLength(1);
  });

  test('E23 a room wanted twice is left with the second leave', async () => {
    const { client, clock, server, link } = await inRoom();
    const room = client.room('r');
    void room.join();
    room.leave();
    await clock.advance(1);
    expect([room.state, link.sent('leave')]).toEqual(['joined', []]);
    link.terminate();
    await clock.advance(2_000);
    expect(server.link.hello?.rooms).toEqual([{ room: 'r', since: 'r:0' }]);
    server.link.welcome();
    server.link.joined('r');
    client.room('r').leave();
    await clock.advance(1);
    expect(server.link.sent('leave')).toEqual([{ kind: 'leave', rooms: ['r'] }]);
  });
});

describe('E24 joins and leaves that overtake each other', () => {
  test("E24 a leave during a join is sent after the join's answer", async () => {
    const { client, clock, server } = harness();
    void client.connect();
    await clock.advance(1);
    const { link } = server;
    link.welcome();
    await clock.advance(1);
    const room = client.room('r');
    const joined = room.join();
    await clock.advance(1);
    room.leave();
    await expect(joined).rejects.toMatchObject({ code: 'NOT_SENT' });
    await clock.advance(1_000);
    expect(link.sent('join')).toHaveLength(1);
    expect(link.sent('leave')).toEqual([]);

    link.joined('r');
    await clock.advance(1);
    expect(link.sent('leave')).toEqual([{ kind: 'leave', rooms: ['r'] }]);
    expect(room.state).toBe('idle');
  });

  test('E24 the answer to a join that was overtaken by another one is ignored', async () => {
    const { client, clock, server } = harness();
    const heard: unknown[] = [];
    client.on(NEWS, (_payload, { seq }) => heard.push(seq));
    void client.connect();
    await clock.advance(1);
    const { link } = server;
    link.welcome();
    const room = client.room('r');
    void room.join();
    await clock.advance(1);
    room.leave();
    let answered = false;
    void room.join({ since: 'r:3' }).then(() => {
      answered = true;
    });
    await clock.advance(1);

    link.joined('r', { seq: 7, recovered: false, reason: 'new' });
    link.caughtUp('r', 'r:7');
    await clock.advance(1);
    expect(answered).toBe(false);
    const last = link.sent('join').at(-1);
    expect(last).toEqual({ kind: 'join', rooms: [{ room: 'r', since: 'r:3' }] });
    // Whether a leave went between them or not, the server answers the second join from its cursor.
    link.joined('r', { seq: 3 });
    for (const seq of range(4, 7)) link.event(NEWS, { room: 'r', seq });
    link.caughtUp('r', 'r:7');
    await clock.advance(1);
    expect(heard).toEqual([4, 5, 6, 7]);
    expect(answered).toBe(true);
  });

  test('E24 of two answers that are under way only the last one says where the room stands', async () => {
    let heal = (_eventId: string) => {};
    const onGap = () =>
      new Promise<string>((done) => {
        heal = done;
      });
    const { client, clock, link } = await inRoom({ onGap });
    const heard: unknown[] = [];
    client.on(NEWS, (_payload, { seq }) => heard.push(seq));
    link.joined('r', { seq: 10, recovered: false, reason: 'expired' });
    // A hole while the gap is being healed: joined again, and once more from what onGap has fetched.
    link.event(NEWS, { room: 'r', seq: 12 });
    await clock.advance(1);
    heal('r:20');
    await clock.advance(1);
    expect(link.sent('join').map(({ rooms }) => rooms)).toEqual([
      [{ room: 'r', since: 'r:10' }],
      [{ room: 'r', since: 'r:20' }],
    ]);
    link.joined('r', { seq: 10 });
    for (const seq of range(11, 20)) link.event(NEWS, { room: 'r', seq });
    link.joined('r', { seq: 20 });
    link.event(NEWS, { room: 'r', seq: 21 });
    link.caughtUp('r', 'r:21');
    await clock.advance(1);
    expect(heard).toEqual([21]);
  });

  test('E24 join, leave, join in one tick ends joined, with one join and no leave', async () => {
    const { client, clock, server } = harness({ auto: true });
    void client.connect();
    await clock.advance(1);
    const room = client.room('r');
    void room.join();
    room.leave();
    const joined = room.join();
    await clock.advance(1);
    await joined;
    expect(server.link.sent('join')).toEqual([{ kind: 'join', rooms: [{ room: 'r' }] }]);

    room.leave();
    await room.join();
    room.leave();
    const again = room.join();
    await clock.advance(1);
    await again;
    expect(server.link.sent('join')).toHaveLength(1);
    expect(server.link.sent('leave')).toEqual([]);
    expect(room.state).toBe('joined');
  });
});

describe('E25 replay and live have no seam', () => {
  test('E25 a room that is published to while it is rejoined gives each event once, in order', async () => {
    const { clock, client, hub, network, connected, seen } = hubHarness();
    void client.room('r').join();
    await connected();
    for (const number of range(1, 600)) {
      void hub.publish('r', NEWS, number);
      if (number % 100 === 50) network.cut();
      await clock.advance(5);
    }
    await clock.advance(1_000);
    expect(seen.payloads).toEqual(range(1, 600));
    expect(client.metrics()).toMatchObject({ reconnects: 6, gaps: 0 });
    expect(client.metrics().replayed).toBeGreaterThan(60);
  });

  test('E25 a link that is too slow reads on from the journal, within its buffer', async () => {
    const bufferedBytes = 4_096;
    let most = 0;
    const { clock, client, hub, network, connected, seen } = hubHarness({
      hub: { limits: { bufferedBytes } },
      between: watched((buffered) => {
        most = Math.max(most, buffered);
      }),
    });
    void client.room('r').join();
    await connected();
    network.set({ bandwidth: { down: 20_000 }, socketBuffer: 0 });
    const filling = 'x'.repeat(400);
    for (const number of range(1, 300)) {
      void hub.publish('r', NEWS, { number, filling });
      if (number % 10 === 0) await clock.advance(1);
    }
    await clock.advance(15_000);
    expect(numbersOf(seen.payloads)).toEqual(range(1, 300));
    expect(client.metrics()).toMatchObject({ reconnects: 0, gaps: 0, duplicates: 0 });
    expect(most).toBeGreaterThan(bufferedBytes / 2);
    expect(most).toBeLessThan(bufferedBytes + 1_000);
  });

  test('E25 only a cursor that has fallen out of the journal is a gap', async () => {
    const gaps: GapNotice[] = [];
    const setup = hubHarness({
      hub: { journal: memoryJournal({ maxEvents: 20 }), limits: { bufferedBytes: 4_096 } },
      client: { onGap: (gap) => void gaps.push(gap) },
    });
    const { clock, client, hub, network, connected, seen } = setup;
    void client.room('r').join();
    await connected();
    network.set({ bandwidth: { down: 20_000 }, socketBuffer: 0 });
    const filling = 'x'.repeat(400);
    for (const number of range(1, 300)) void hub.publish('r', NEWS, { number, filling });
    await clock.advance(15_000);
    void hub.publish('r', NEWS, { number: 301 });
    await clock.advance(1_000);

    const heard = numbersOf(seen.payloads);
    const first = heard.indexOf(301);
    expect(heard.slice(0, first)).toEqual(range(1, first));
    expect(heard.slice(first)).toEqual([301]);
    expect(gaps).toMatchObject([{ room: 'r', reason: 'expired' }]);
    expect(client.state).toMatchObject({ status: 'connected', synced: true });
  });

  test('E25 events without a seq that arrive during a sync are held, then released in order', async () => {
    let release = () => {};
    const synced = new Promise<void>((done) => {
      release = done;
    });
    const { client, clock, link, seen } = await inRoom({ onGap: () => synced });
    link.joined('r', { recovered: false, reason: 'expired' });
    for (const eventId of ['a', 'b', 'a', 'c']) {
      link.event(NEWS, { room: 'r', eventId, payload: eventId });
      await clock.advance(10);
    }
    expect(seen.payloads).toEqual([]);
    release();
    await clock.advance(1);
    link.event(NEWS, { room: 'r', eventId: 'd', payload: 'd' });
    await clock.advance(1);
    expect(seen.payloads).toEqual(['a', 'b', 'c', 'd']);
    expect(client.metrics().duplicates).toBe(1);
  });
});

describe('E26 an outage before the first event', () => {
  test('E26 what was published during an outage before the first event of a room arrives', async () => {
    const { clock, client, hub, network, connected, seen } = hubHarness();
    void client.room('quiet').join();
    await connected();
    network.cut();
    for (const number of [1, 2, 3]) await hub.publish('quiet', NEWS, number);
    expect(client.state.status).toBe('reconnecting');
    await clock.advance(1_000);
    expect(seen.payloads).toEqual([1, 2, 3]);
    expect(client.metrics()).toMatchObject({ gaps: 0, replayed: 3 });
  });

  test('E26 the same for what is published to the user alone', async () => {
    const { clock, hub, network, connected, seen } = hubHarness({
      hub: { authenticate: () => ({ user: 'ann' }) },
    });
    await connected();
    network.cut();
    await hub.publishToUser('ann', NEWS, 'while away');
    await clock.advance(1_000);
    expect(seen.payloads).toEqual(['while away']);
  });
});

describe('E27 cursors, holes and epochs', () => {
  test('E27 the cursor moves after the listeners have run, also where one throws', async () => {
    const { client, clock, link, server } = await inRoom();
    const story: string[] = [];
    client.onTrace(({ fact }) => {
      if (fact.fact === 'delivered') story.push(`moved to ${fact.eventId}`);
    });
    client.on(NEWS, (_payload, { seq }) => {
      story.push(`heard ${seq}`);
      throw new Error('a bug of the application');
    });
    for (const seq of [1, 2]) link.event(NEWS, { room: 'r', seq });
    await clock.advance(1);
    expect(story).toEqual(['heard 1', 'moved to r:1', 'heard 2', 'moved to r:2']);
    link.terminate();
    await clock.advance(2_000);
    expect(server.link.hello?.rooms).toEqual([{ room: 'r', since: 'r:2' }]);
  });

  test('E27 an event that a consumer still works on is not behind the cursor', async () => {
    const { client, clock, link, server } = await inRoom();
    const events = client.room('r').events(NEWS);
    for (const seq of [1, 2]) link.event(NEWS, { room: 'r', seq });
    await clock.advance(1);
    await events.next();
    link.terminate();
    await clock.advance(2_000);
    expect(server.link.hello?.rooms).toEqual([{ room: 'r', since: 'r:0' }]);
    server.link.welcome();
    server.link.joined('r', { seq: 0 });
    for (const seq of [1, 2, 3]) server.link.event(NEWS, { room: 'r', seq });
    await clock.advance(1);
    expect((await events.next()).value.event.seq).toBe(2);
    server.link.terminate();
    await clock.advance(5_000);
    expect(server.link.hello?.rooms).toEqual([{ room: 'r', since: 'r:1' }]);
    expect((await events.next()).value.event.seq).toBe(3);
  });

  test('E27 a missing seq is noticed and asked for, and all events come in order', async () => {
    const { clock, client, hub, network, connected, seen, frames } = hubHarness();
    void client.room('r').join();
    await connected();
    let lost = 0;
    network.drop((frame) => frame.kind === 'event' && frame.payload === 3 && ++lost === 1);
    const from = clock.now();
    for (const number of range(1, 6)) {
      await hub.publish('r', NEWS, number);
      await clock.advance(5);
    }
    await clock.advance(500);
    expect(seen.payloads).toEqual(range(1, 6));
    expect(frames('up', 'join', from)).toHaveLength(1);
    expect(client.metrics()).toMatchObject({ reconnects: 0, gaps: 0 });
  });

  test('E27 what comes twice is dropped, by its seq or by its eventId', async () => {
    const { clock, client, hub, network, connected, seen } = hubHarness();
    void client.room('r').join();
    await connected();
    network.duplicate((frame) => frame.kind === 'event');
    for (const number of range(1, 5)) void hub.publish('r', NEWS, number);
    await clock.advance(500);
    expect(seen.payloads).toEqual(range(1, 5));
    expect(client.metrics()).toMatchObject({ received: 10, duplicates: 5 });
  });

  test('E27 a repeated eventId is dropped where events have no seq', async () => {
    const { clock, client, link, seen } = await inRoom();
    for (const eventId of ['a', 'b', 'a', 'b', 'c'])
      link.event(NEWS, { eventId, payload: eventId });
    await clock.advance(1);
    expect(seen.payloads).toEqual(['a', 'b', 'c']);
    expect(client.metrics().duplicates).toBe(2);
  });

  test('E27 a new epoch in the middle of a connection is a gap, and its numbers start over', async () => {
    const gaps: GapNotice[] = [];
    const journal = losableJournal();
    const { clock, client, hub, connected, seen } = hubHarness({
      hub: { journal },
      client: { onGap: (gap) => void gaps.push(gap) },
    });
    void client.room('r').join();
    await connected();
    for (const number of [1, 2, 3]) await hub.publish('r', NEWS, number);
    await clock.advance(100);
    journal.lose();
    for (const number of [4, 5, 6, 7]) {
      await hub.publish('r', NEWS, number);
      await clock.advance(100);
    }
    expect(gaps).toMatchObject([{ room: 'r', reason: 'epoch' }]);
    // What told of the new epoch is part of the gap: it is in the state that onGap fetches.
    expect(seen.payloads).toEqual([1, 2, 3, 5, 6, 7]);
    expect(seen.events.at(-1)?.event.seq).toBe(4);
    expect(client.metrics()).toMatchObject({ reconnects: 0, gaps: 1, duplicates: 0 });
  });

  test('E27 a new epoch after a reconnect is a gap, and its numbers start over', async () => {
    const gaps: GapNotice[] = [];
    const setup = hubHarness({ client: { onGap: (gap) => void gaps.push(gap) } });
    const { clock, client, hub, network, connected, seen } = setup;
    void client.room('r').join();
    await connected();
    for (const number of range(1, 5)) await hub.publish('r', NEWS, number);
    await clock.advance(100);
    const cursor = seen.events.at(-1)?.event.eventId;
    const next = setup.succeed({ journal: memoryJournal() });
    network.cut();
    await clock.advance(1_000);
    expect(gaps).toMatchObject([
      { room: '@me', reason: 'epoch' },
      { room: 'r', reason: 'epoch', cursor },
    ]);
    for (const number of [6, 7]) await next.publish('r', NEWS, number);
    await clock.advance(100);
    expect(seen.payloads).toEqual(range(1, 7));
    expect(seen.events.at(-1)?.event.seq).toBe(2);
  });

  test('E27 a hole that a second join does not fill is a gap, not a loop', async () => {
    const gaps: GapNotice[] = [];
    const { clock, link, seen } = await inRoom({ onGap: (gap) => void gaps.push(gap) });
    const afterHole = () => {
      link.event(NEWS, { room: 'r', seq: 5, payload: 5 });
      link.event(NEWS, { room: 'r', seq: 6, payload: 6 });
    };
    link.event(NEWS, { room: 'r', seq: 1, payload: 1 });
    afterHole();
    await clock.advance(1);
    expect(link.sent('join')).toEqual([{ kind: 'join', rooms: [{ room: 'r', since: 'r:1' }] }]);
    expect([seen.payloads, gaps]).toEqual([[1], []]);

    link.joined('r', { seq: 1 });
    afterHole();
    link.caughtUp('r', 'r:6');
    await clock.advance(1);
    expect(gaps).toMatchObject([{ room: 'r', reason: 'hole', cursor: 'r:1' }]);
    expect(seen.payloads).toEqual([1, 5, 6]);
    await clock.advance(20_000);
    expect(link.sent('join')).toHaveLength(1);
    expect(gaps).toHaveLength(1);
  });
});

describe('E28 a gap and what heals it', () => {
  /** A hub that keeps five events, and a client whose cursor in "a" and "b" has just fallen out. */
  async function behind(
    onGap: (gap: GapNotice) => unknown,
    more: Partial<ClientOptions<Contract>> = {},
  ) {
    const setup = hubHarness({
      hub: { journal: memoryJournal({ maxEvents: 5 }) },
      client: { ...more, onGap },
    });
    const { client, clock, connected, hub, network } = setup;
    for (const name of ['a', 'b', 'quiet']) void client.room(name).join();
    await connected();
    for (const room of ['a', 'b']) await hub.publish(room, NEWS, `${room}1`);
    await clock.advance(100);
    network.cut();
    const eventIds: string[] = [];
    for (const number of range(2, 10)) {
      for (const room of ['a', 'b']) {
        const { eventId } = await hub.publish(room, NEWS, `${room}${number}`);
        if (room === 'a') eventIds[number] = eventId;
      }
    }
    await clock.advance(200);
    const publish = async (...payloads: string[]) => {
      for (const payload of payloads) {
        const { eventId } = await hub.publish(payload.slice(0, 1), NEWS, payload);
        eventIds[Number(payload.slice(1))] = eventId;
      }
      await clock.advance(100);
    };
    return { ...setup, eventIds, publish };
  }

  /** An `onGap` that is answered by hand. */
  function byHand() {
    const calls: { gap: GapNotice; heal: (eventId?: string) => void; fail: () => void }[] = [];
    const onGap = (gap: GapNotice) =>
      new Promise<string | undefined>((resolve, reject) => {
        calls.push({ gap, heal: resolve, fail: () => reject(new Error('503')) });
      });
    return { calls, onGap };
  }

  test('E28 onGap runs once for each gap and room, and events that come meanwhile follow it', async () => {
    const { calls, onGap } = byHand();
    const { client, clock, seen, publish } = await behind(onGap);
    expect(calls.map(({ gap }) => [gap.room, gap.reason])).toEqual([
      ['a', 'expired'],
      ['b', 'expired'],
    ]);
    await publish('a11', 'b11', 'a12');
    expect(seen.payloads).toEqual(['a1', 'b1']);
    expect(client.state).toMatchObject({ status: 'connected', synced: false });

    calls[0]?.heal();
    await clock.advance(1);
    expect(seen.payloads).toEqual(['a1', 'b1', 'a11', 'a12']);
    calls[1]?.heal();
    await publish('b12');
    expect(seen.payloads).toEqual(['a1', 'b1', 'a11', 'a12', 'b11', 'b12']);
    expect(client.state.synced).toBe(true);
    expect(calls).toHaveLength(2);
    expect(seen.errors).toEqual([]);
  });

  test('E28 what onGap has already fetched is not delivered again', async () => {
    const { calls, onGap } = byHand();
    const { clock, seen, publish, eventIds, hub, network } = await behind(onGap);
    await publish('a11', 'a12', 'a13');
    calls[0]?.heal(eventIds[12]);
    await publish('a14');
    expect(seen.payloads.slice(2)).toEqual(['a13', 'a14']);
    network.cut();
    await hub.publish('a', NEWS, 'a15');
    await clock.advance(1_000);
    expect(seen.payloads.slice(2)).toEqual(['a13', 'a14', 'a15']);
  });

  test('E28 a state that is older than the gap is followed by everything after it', async () => {
    const { calls, onGap } = byHand();
    const { client, clock, seen, publish, eventIds } = await behind(onGap);
    await publish('a11');
    calls[0]?.heal(eventIds[8]);
    await publish('a12');
    expect(seen.payloads.slice(2)).toEqual(['a9', 'a10', 'a11', 'a12']);
    calls[1]?.heal();
    await clock.advance(100);
    expect(client.state.synced).toBe(true);
  });

  test('E28 a state that is newer than the link is not followed by what it contains', async () => {
    const { calls, onGap } = byHand();
    const { seen, publish, hub, eventIds, network } = await behind(onGap);
    network.set({ latency: 100 });
    await publish('a11');
    const { eventId } = await hub.publish('a', NEWS, 'a12');
    calls[0]?.heal(eventId);
    await publish('a13');
    await publish('a14');
    await publish();
    expect(eventIds).toHaveLength(15);
    expect(seen.payloads.slice(2)).toEqual(['a13', 'a14']);
  });

  test('E28 an onGap that throws is reported and run again with backoff', async () => {
    const { calls, onGap } = byHand();
    const { clock, seen, publish } = await behind(onGap);
    calls[1]?.heal();
    const startedAt: number[] = [];
    for (const failures of [1, 2, 3]) {
      calls.at(-1 * (failures === 1 ? 2 : 1))?.fail();
      await clock.settle();
      startedAt.push(clock.now());
      expect(calls).toHaveLength(1 + failures);
      await clock.advance(0);
      expect(calls, 'it pauses before it runs again').toHaveLength(1 + failures);
      await clock.advance(1_000 * 2 ** (failures - 1));
      expect(calls).toHaveLength(2 + failures);
    }
    expect(seen.errors.map(({ message }) => message)).toEqual(
      Array(3).fill('onGap failed: it threw for the room "a".'),
    );
    await publish('a11');
    expect(seen.payloads).toEqual(['a1', 'b1']);
    calls.at(-1)?.heal();
    await publish('a12');
    expect(seen.payloads.slice(2)).toEqual(['a11', 'a12']);
  });

  test('E28 an onGap that hangs is given up after 30 s, reported and run again', async () => {
    const { calls, onGap } = byHand();
    const { clock, seen, publish } = await behind(onGap);
    calls[1]?.heal();
    await publish('a11');
    await clock.advance(29_500);
    expect(calls[0]?.gap.signal.aborted).toBe(false);
    expect(seen.errors).toEqual([]);
    await clock.advance(600);
    expect(calls[0]?.gap.signal.aborted).toBe(true);
    expect(seen.errors).toMatchObject([{ details: { room: 'a' } }]);
    await clock.advance(1_000);
    expect(calls.map(({ gap }) => gap.room)).toEqual(['a', 'b', 'a']);
    // The answer of the run that was given up comes late, and says nothing any more.
    calls[0]?.heal();
    await clock.advance(100);
    expect(seen.payloads).toEqual(['a1', 'b1']);
    calls[2]?.heal();
    await clock.advance(100);
    expect(seen.payloads.slice(2)).toEqual(['a11']);
    expect(seen.errors).toHaveLength(1);
  });

  test('E28 above inbox.maxHeld onGap runs again, and what it then contains is not held', async () => {
    const { calls, onGap } = byHand();
    const { client, clock, seen, publish } = await behind(onGap, { inbox: { maxHeld: 2 } });
    await publish('a11', 'a12', 'a13', 'a14');
    calls[0]?.heal();
    await clock.advance(100);
    expect(calls.map(({ gap }) => [gap.room, gap.reason])).toEqual([
      ['a', 'expired'],
      ['b', 'expired'],
      ['a', 'overflow'],
    ]);
    await publish('a15');
    expect(seen.payloads).toEqual(['a1', 'b1']);
    calls[2]?.heal();
    calls[1]?.heal();
    await publish('a16');
    expect(seen.payloads.slice(2)).toEqual(['a15', 'a16']);
    expect(client.state.synced).toBe(true);
  });

  test('E28 a second gap while onGap runs makes it run once more, and nothing older is delivered', async () => {
    const { calls, onGap } = byHand();
    const { clock, hub, network, seen, publish } = await behind(onGap);
    calls[1]?.heal();
    await publish('a11');
    network.cut();
    for (let number = 12; number <= 20; number++) await hub.publish('a', NEWS, `a${number}`);
    await clock.advance(1_000);
    expect(calls).toHaveLength(2);
    calls[0]?.heal();
    await clock.advance(1);
    expect(calls.map(({ gap }) => gap.room)).toEqual(['a', 'b', 'a']);
    await publish('a21');
    calls[2]?.heal();
    await clock.advance(1);
    expect(seen.payloads).toEqual(['a1', 'b1', 'a21']);
    expect(calls).toHaveLength(3);
  });

  test('E28 a link that is lost while onGap runs loses and doubles nothing', async () => {
    const { calls, onGap } = byHand();
    const { clock, hub, network, seen, publish } = await behind(onGap);
    await publish('a11', 'b11');
    network.cut();
    for (const payload of ['a12', 'b12']) await hub.publish(payload.slice(0, 1), NEWS, payload);
    calls[0]?.heal();
    await clock.advance(1_000);
    calls[1]?.heal();
    await publish('a13', 'b13');
    expect(calls).toHaveLength(2);
    const heard = (room: string) => seen.payloads.filter((one) => String(one).startsWith(room));
    expect(heard('a')).toEqual(['a1', 'a11', 'a12', 'a13']);
    expect(heard('b')).toEqual(['b1', 'b11', 'b12', 'b13']);
  });

  test('E28 an eventId that the server cannot go on from is reported, and asked for again with backoff', async () => {
    const { calls, onGap } = byHand();
    const { clock, seen, publish } = await behind(onGap);
    calls[1]?.heal();
    calls[0]?.heal('an-eventId-of-another-room');
    await clock.advance(100);
    expect(calls).toHaveLength(2);
    expect(seen.errors).toMatchObject([{ details: { room: 'a' } }]);
    await clock.advance(5_000);
    expect(calls).toHaveLength(3);
    calls[2]?.heal();
    await publish('a11');
    expect(seen.payloads).toEqual(['a1', 'b1', 'a11']);
  });

  test('E28 without onGap a gap is reported as an error, once for each room', async () => {
    const setup = hubHarness({ hub: { journal: memoryJournal({ maxEvents: 2 }) } });
    const { client, clock, connected, hub, network, seen } = setup;
    void client.room('a').join();
    await connected();
    network.cut();
    for (const number of range(1, 5)) await hub.publish('a', NEWS, number);
    await clock.advance(1_000);
    await hub.publish('a', NEWS, 6);
    await clock.advance(100);
    expect(seen.errors).toMatchObject([{ details: { room: 'a', reason: 'expired' } }]);
    expect(seen.payloads).toEqual([6]);
  });
});

describe('E29 a room that is refused when it is rejoined', () => {
  test('E29 it is reported once and not asked for again, and the other rooms go on', async () => {
    const members = new Set(['allowed', 'forbidden']);
    const { client, clock, connected, hub, network, seen, frames } = hubHarness({
      hub: { authorizeRoom: ({ room }) => members.has(room) },
    });
    const forbidden = client.room('forbidden');
    const allowed = client.room('allowed');
    for (const room of [allowed, forbidden]) void room.join();
    await connected();
    members.delete('forbidden');
    const from = clock.now();
    for (const outage of [1, 2, 3]) {
      network.cut();
      for (const room of ['allowed', 'forbidden'])
        await hub.publish(room, NEWS, `${room} ${outage}`);
      await clock.advance(1_000);
    }
    expect(seen.errors).toMatchObject([{ code: 'FORBIDDEN' }]);
    expect([allowed.state, forbidden.state]).toEqual(['joined', 'refused']);
    expect(frames('up', 'hello', from).map(namesOf)).toEqual([
      ['@me', 'allowed', 'forbidden'],
      ['@me', 'allowed'],
      ['@me', 'allowed'],
    ]);
    expect(frames('up', 'join', from)).toEqual([]);
    expect(seen.payloads).toEqual(['allowed 1', 'allowed 2', 'allowed 3']);
    expect(client.state).toMatchObject({ status: 'connected', synced: true });
  });

  test('E29 a refused join rejects and does not count, and asking again is allowed', async () => {
    const members = new Set<string>();
    const { client, clock, connected, seen } = hubHarness({
      hub: { authorizeRoom: ({ room }) => members.has(room) },
    });
    await connected();
    const room = client.room('r');
    const refused = room.join();
    await clock.advance(100);
    await expect(refused).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect([room.state, seen.errors]).toEqual(['refused', []]);
    members.add('r');
    const joined = room.join();
    await clock.advance(100);
    await joined;
    room.leave();
    expect(room.state).toBe('idle');
  });
});

function namesOf(frame: PassingFrame | undefined): string[] {
  const rooms = frame?.rooms;
  return Array.isArray(rooms) ? rooms.map((wish: { room: string }) => wish.room) : [];
}

function numbersOf(payloads: readonly unknown[]): number[] {
  return payloads.map((payload) => (payload as { number: number }).number);
}

/** Looks at the server's buffer after every write. */
function watched(look: (buffered: number) => void): (accept: Accept) => Accept {
  return (accept) => (wire) =>
    accept({
      transport: wire.transport,
      request: wire.request,
      send(wires) {
        wire.send(wires);
        look(wire.bufferedAmount);
      },
      close: (code, reason) => wire.close(code, reason),
      terminate: () => wire.terminate(),
      get bufferedAmount() {
        return wire.bufferedAmount;
      },
    });
}
