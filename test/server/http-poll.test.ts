/** Polls: what one answer holds, when it comes, and what outlives it. */
import { memoryJournal } from 'holdfast/server';
import { describe, expect, test, vi } from 'vitest';
import type { RoomWish } from '../../src/protocol/frame.js';
import { type Answer, request, type Site, site } from './http-site.js';
import { journals } from './journal-table.js';

/** Where a client that has had this answer goes on. */
function wishes(answer: Answer, before: readonly RoomWish[] = []): RoomWish[] {
  const since = new Map(before.map((wish) => [wish.room, wish.since]));
  for (const frame of answer.frames) {
    if (frame.kind === 'room' && ('joined' in frame || 'caughtUp' in frame)) {
      since.set(frame.room, frame.cursor);
    } else if (frame.kind === 'event') since.set(frame.room ?? '', frame.eventId);
  }
  return [...since].map(([room, cursor]) => (cursor ? { room, since: cursor } : { room }));
}

const seqs = (answer: Answer, room: string) =>
  answer.all('event').flatMap((event) => (event.room === room ? [event.seq] : []));

const kinds = (answer: Answer) =>
  answer.frames.map((frame) => {
    if (frame.kind !== 'room') return frame.kind;
    return Object.keys(frame).find((key) => ['joined', 'caughtUp', 'left', 'error'].includes(key));
  });

/** A poll that is waiting on the server by now. */
async function waiting(there: Site, rooms: RoomWish[], wait = 25_000) {
  const before = there.hub.metrics().connectionsAccepted;
  const answer = there.poll({ rooms }, wait);
  let isAnswered = false;
  answer.then(
    () => {
      isAnswered = true;
    },
    () => {},
  );
  await vi.waitFor(() => expect(there.hub.metrics().connectionsAccepted).toBe(before + 1));
  await there.clock.settle();
  /** As far as real sockets tell: a round trip beside it is over. */
  const isOut = async () => {
    await fetch(there.url, { method: 'OPTIONS' });
    return isAnswered;
  };
  return { answer, isOut };
}

describe('a poll that does not wait', () => {
  test('has the verdict on every room and what was missed, in order', async () => {
    const there = await site({ authorizeRoom: ({ room }) => room !== 'c' });
    const rooms = [{ room: 'a' }, { room: 'b' }, { room: 'c' }];
    const first = await there.poll({ rooms });
    expect(first.status).toBe(200);
    expect(first.frames[0]).toMatchObject({ kind: 'welcome', terms: { maxRooms: 100 } });
    expect(kinds(first).filter((kind) => kind === 'joined')).toHaveLength(3);
    expect(kinds(first).filter((kind) => kind === 'caughtUp')).toHaveLength(3);
    expect(kinds(first).filter((kind) => kind === 'error')).toHaveLength(1);
    expect(there.hub.metrics().connections).toBe(0);

    for (let n = 0; n < 100; n++) await there.hub.publish('a', 'x:y', n);
    const second = await there.poll({ rooms: wishes(first).filter(({ room }) => room !== 'c') });
    expect(seqs(second, 'a')).toEqual(Array.from({ length: 100 }, (_, n) => n + 1));
    const ofA = second.frames.filter((frame) => 'room' in frame && frame.room === 'a');
    expect(ofA[0]).toMatchObject({ joined: true, recovered: true });
    expect(ofA.at(-1)).toMatchObject({ caughtUp: true });
    expect(second.all('welcome')[0]?.session).toBe(first.all('welcome')[0]?.session);
  });

  test('says of 50 rooms how they stand, in one answer', async () => {
    const there = await site();
    const rooms = Array.from({ length: 50 }, (_, n) => ({ room: `room-${n}` }));
    const first = await there.poll({ rooms });
    expect(first.all('room')).toHaveLength(102);
    for (const { room } of rooms) await there.hub.publish(room, 'x:y', room);
    const second = await there.poll({ rooms: wishes(first) });
    expect(second.all('event')).toHaveLength(50);
    expect(second.all('room').every((verdict) => !('joined' in verdict) || verdict.recovered)).toBe(
      true,
    );
  });

  test('refuses rooms beyond a hundred, each for itself', async () => {
    const there = await site();
    const rooms = Array.from({ length: 102 }, (_, n) => ({ room: `room-${n}` }));
    const answer = await there.poll({ rooms });
    const refused = answer.all('room').flatMap((v) => ('error' in v ? [v] : []));
    expect(refused).toMatchObject([
      { room: 'room-100', error: { code: 'FORBIDDEN' } },
      { room: 'room-101', error: { code: 'FORBIDDEN' } },
    ]);
    // Where the hub allows fewer, that counts.
    const strict = await site({ limits: { roomsPerConnection: 1 } });
    const few = await strict.poll({ rooms: [{ room: 'a' }, { room: 'b' }] });
    expect(few.frames[0]).toMatchObject({ terms: { maxRooms: 1 } });
    expect(few.all('room').filter((v) => 'error' in v)).toHaveLength(1);
  });

  test('stops where it has gathered enough, and the next one goes on there', async () => {
    const there = await site({ limits: { bufferedBytes: 10_000 } });
    let rooms: RoomWish[] = wishes(await there.poll({ rooms: [{ room: 'a' }, { room: 'b' }] }));
    for (let n = 0; n < 60; n++) {
      await there.hub.publish(n % 2 === 0 ? 'a' : 'b', 'x:y', 'x'.repeat(1_000));
    }
    const heard = { a: [] as unknown[], b: [] as unknown[] };
    let polls = 0;
    for (; heard.a.length + heard.b.length < 60 && polls < 30; polls++) {
      const answer = await there.settled(there.poll({ rooms }));
      expect(JSON.stringify(answer.frames).length).toBeLessThan(30_000);
      heard.a.push(...seqs(answer, 'a'));
      heard.b.push(...seqs(answer, 'b'));
      rooms = wishes(answer, rooms);
    }
    expect(polls).toBeGreaterThan(3);
    const numbers = Array.from({ length: 30 }, (_, n) => n + 1);
    expect(heard).toEqual({ a: numbers, b: numbers });
  });

  test('does not wait for a room that takes its time', async () => {
    const there = await site({
      authorizeRoom: ({ room }) => room !== 'slow' || new Promise<boolean>(() => {}),
    });
    const rooms = [{ room: 'slow' }, { room: 'a' }];
    const { answer, isOut } = await waiting(there, rooms, 0);
    await there.clock.advance(2_499);
    expect(await isOut()).toBe(false);
    await there.clock.advance(1);
    const rest = (await answer).all('room').filter((v) => 'joined' in v);
    expect(rest.map(({ room }) => room)).toEqual(['@me', 'a']);
  });
});

describe('a poll that waits', () => {
  test('is answered 100 ms after the first news, with rooms that have news alone', async () => {
    const there = await site();
    const rooms = wishes(await there.poll({ rooms: [{ room: 'a' }, { room: 'b' }] }));
    const { answer, isOut } = await waiting(there, rooms);
    await there.clock.advance(10_000);
    expect(await isOut()).toBe(false);
    await there.hub.publish('a', 'x:y', 1);
    await there.clock.advance(99);
    await there.hub.publish('a', 'x:y', 2);
    await there.clock.settle();
    expect(await isOut()).toBe(false);
    await there.clock.advance(1);
    expect(kinds(await answer)).toEqual(['welcome', 'joined', 'caughtUp', 'event', 'event']);
    expect(seqs(await answer, 'a')).toEqual([1, 2]);
    expect((await answer).all('room').map(({ room }) => room)).toEqual(['a', 'a']);
  });

  test('is answered with its welcome alone when nothing happens', async () => {
    const there = await site();
    const rooms = wishes(await there.poll());
    const { answer, isOut } = await waiting(there, rooms, 40_000);
    await there.clock.advance(39_999);
    expect(await isOut()).toBe(false);
    await there.clock.advance(1);
    expect(kinds(await answer)).toEqual(['welcome']);
    expect(there.hub.metrics()).toMatchObject({ connections: 0, timedOut: 0 });
    expect(there.clock.pending).toBe(0);
  });

  test('waits for 55 seconds at most', async () => {
    const there = await site();
    const { answer, isOut } = await waiting(there, wishes(await there.poll()), 600_000);
    await there.clock.advance(54_999);
    expect(await isOut()).toBe(false);
    await there.clock.advance(1);
    expect(kinds(await answer)).toEqual(['welcome']);
  });

  test('hears what was missed as news', async () => {
    const there = await site();
    const rooms = wishes(await there.poll({ rooms: [{ room: 'a' }] }));
    await there.hub.publish('a', 'x:y', 1);
    const { answer } = await waiting(there, rooms);
    await there.clock.advance(100);
    expect(kinds(await answer)).toEqual(['welcome', 'joined', 'event', 'caughtUp']);
  });

  test.each([
    { what: 'a room without a position', rooms: [{ room: 'a' }], news: 'joined' },
    { what: 'a gap', rooms: [{ room: 'a', since: 'gone-7' }], news: 'joined' },
    { what: 'a refusal', rooms: [{ room: 'closed' }], news: 'error' },
  ])('hears of $what at once', async ({ rooms, news }) => {
    const there = await site({ authorizeRoom: ({ room }) => room !== 'closed' });
    const mine = wishes(await there.poll());
    const { answer } = await waiting(there, [...mine, ...rooms]);
    await there.clock.advance(100);
    expect(kinds(await answer)).toContain(news);
    expect((await answer).all('room').some(({ room }) => room === '@me')).toBe(false);
  });

  test('hears why it is ended at once', async () => {
    const there = await site({ authenticate: () => ({ user: 'ada' }) });
    const { answer } = await waiting(there, wishes(await there.poll()));
    await there.hub.kick({ user: 'ada' });
    expect((await answer).status).toBe(200);
    expect((await answer).frames).toMatchObject([
      { kind: 'welcome' },
      { kind: 'error', error: { code: 'UNAUTHORIZED' } },
    ]);
  });

  test('hears that it is taken out of a room', async () => {
    const there = await site({ authenticate: () => ({ user: 'ada' }) });
    const { answer } = await waiting(there, wishes(await there.poll({ rooms: [{ room: 'a' }] })));
    await there.hub.kick({ user: 'ada', room: 'a' });
    await there.clock.advance(100);
    expect((await answer).all('room').at(-1)).toMatchObject({
      room: 'a',
      error: { code: 'FORBIDDEN' },
    });
  });

  test('is answered at once where far more comes than it may hold', async () => {
    const there = await site({ limits: { bufferedBytes: 5_000 } });
    const { answer } = await waiting(there, wishes(await there.poll({ rooms: [{ room: 'a' }] })));
    for (let n = 0; n < 20; n++) await there.hub.publish('a', 'x:y', 'x'.repeat(1_000));
    expect(seqs(await answer, 'a').length).toBeGreaterThan(3);
    expect(there.hub.metrics().connections).toBe(0);
  });

  test('ends when its client goes away', async () => {
    const there = await site();
    const rooms = wishes(await there.poll());
    const abort = new AbortController();
    const gone = there.poll({ rooms }, 50_000, { signal: abort.signal }).catch(() => 'gone');
    await vi.waitFor(() => expect(there.hub.metrics().connections).toBe(1));
    abort.abort();
    expect(await gone).toBe('gone');
    await vi.waitFor(() => expect(there.hub.metrics().connections).toBe(0));
    expect(there.clock.pending).toBe(0);
  });

  test('is answered without a word when its client polls anew, with the same link', async () => {
    const there = await site();
    const rooms = wishes(await there.poll());
    const { answer: first } = await waiting(there, rooms);
    const { answer: second } = await waiting(there, rooms);
    expect(kinds(await first)).toEqual(['welcome']);
    await there.hub.publishToUser('nobody', 'x:y', 1);
    await there.clock.advance(25_000);
    expect(kinds(await second)).toEqual(['welcome']);
  });

  test('is told when a newer link takes its place', async () => {
    const there = await site();
    const { answer } = await waiting(there, wishes(await there.poll()));
    await there.poll({ link: 2 });
    expect((await answer).all('error')).toMatchObject([{ error: { code: 'SUPERSEDED' } }]);
  });
});

describe.each(journals)('on the $name journal', ({ create }) => {
  test('polls of a client share its session for as long as the window says', async () => {
    const there = await site({ journal: create({ requestWindow: 60_000 }) });
    const session = await there.session();
    for (let n = 0; n < 4; n++) {
      await there.clock.advance(50_000);
      expect(await there.session()).toBe(session);
    }
    await there.clock.advance(60_001);
    const late = await there.errand(session, [request('r1', 'x:do')]);
    expect(late.frames).toMatchObject([{ kind: 'error', error: { code: 'CONNECTION_FAILED' } }]);
  });

  test('polls that alternate between hubs hear each event once, in order', async () => {
    const journal = create();
    const hubs = [await site({ journal }), await site({ journal })] as const;
    let rooms = wishes(await hubs[0].poll({ rooms: [{ room: 'a' }] }));
    const heard: unknown[] = [];
    for (let n = 0; n < 20; n++) {
      await hubs[n % 3 === 0 ? 0 : 1].hub.publish('a', 'x:y', n);
      const at = hubs[n % 2 === 0 ? 0 : 1];
      const answer = await at.settled(at.poll({ rooms }, n % 4 < 2 ? 0 : 20_000));
      heard.push(...seqs(answer, 'a'));
      rooms = wishes(answer, rooms);
    }
    expect(heard).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
  });
});

test('clients that poll are counted once each', async () => {
  const there = await site({
    authenticate: () => ({ user: 'ada' }),
    limits: { connectionsPerUser: 2 },
    journal: memoryJournal(),
  });
  for (let n = 0; n < 5; n++) {
    expect((await there.poll({ clientId: 'c1' })).status).toBe(200);
    expect((await there.poll({ clientId: 'c2' })).status).toBe(200);
  }
  const rooms = wishes(await there.poll({ clientId: 'c1' }));
  const polls = ['c1', 'c1', 'c2', 'c2'].map(async (clientId) => {
    const answer = await there.poll({ clientId, rooms }, 1_000);
    return answer.status;
  });
  await vi.waitFor(() => expect(there.hub.metrics().connectionsAccepted).toBe(15));
  await there.clock.advance(1_000);
  expect(await Promise.all(polls)).toEqual([200, 200, 200, 200]);
});
