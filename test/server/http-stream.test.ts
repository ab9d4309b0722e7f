/** Streams: what a hub writes to a client that cannot answer, and how such a client opens it anew. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { memoryJournal } from 'holdfast/server';
import { describe, expect, test, vi } from 'vitest';
import { heldJournal, hello, type Site, site } from './http-site.js';
import { journals } from './journal-table.js';

describe('a stream', () => {
  test('carries each frame in one block, and an event with its id', async () => {
    const there = await site();
    const stream = (await there.stream({ rooms: [{ room: 'a' }] })).read();
    const { status, headers } = stream.response;
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('text/event-stream');
    expect(headers.get('cache-control')).toBe('no-store, no-transform');
    expect(headers.get('x-accel-buffering')).toBe('no');
    await stream.heard('room', 4);
    const { eventId } = await there.hub.publish('a', 'x:y', { text: 'two\nlines, grüße 👋\r\0' });
    const [event] = await stream.heard('event');
    expect(event).toMatchObject({ eventId, payload: { text: 'two\nlines, grüße 👋\r\0' } });
    expect(stream.ids).toEqual([eventId]);
    expect(stream.frames[0]).toMatchObject({ kind: 'welcome', terms: { maxRooms: 1_000 } });
    expect(there.hub.metrics()).toMatchObject({ connections: 1, garbled: 0 });
  });

  test('says that it lives when nothing was written for four fifths of the interval', async () => {
    const there = await site();
    const stream = (await there.stream({ rooms: [{ room: 'a' }] })).read();
    await stream.heard('room', 4);
    await there.clock.advance(19_000);
    expect(stream.comments).toBe(0);
    await there.clock.advance(2_000);
    await vi.waitFor(() => expect(stream.comments).toBe(1));
    // What is written says it as well.
    await there.clock.advance(18_000);
    await there.hub.publish('a', 'x:y', 1);
    await stream.heard('event');
    await there.clock.advance(19_000);
    expect(stream.comments).toBe(1);
    // And its silence is no death: hours of it.
    for (let n = 0; n < 10; n++) {
      const before = stream.comments;
      await there.clock.advance(22_000);
      await vi.waitFor(() => expect(stream.comments).toBeGreaterThan(before));
    }
    expect(there.hub.metrics()).toMatchObject({ connections: 1, timedOut: 0 });
    expect(stream.all('ping')).toEqual([]);
  });

  test('says so in time where the interval is short', async () => {
    const there = await site({ heartbeat: { interval: 1_000, timeout: 20_000 } });
    const stream = (await there.stream()).read();
    await stream.heard('room', 2);
    for (let n = 1; n < 6; n++) {
      await there.clock.advance(950);
      await vi.waitFor(() => expect(stream.comments).toBeGreaterThanOrEqual(n));
    }
  });

  test('tells why it ends', async () => {
    const there = await site({ authenticate: () => ({ user: 'ada', expiresIn: 5_000 }) });
    const stream = (await there.stream()).read();
    await stream.heard('welcome');
    await there.clock.advance(6_000);
    expect(await stream.heard('error')).toMatchObject([{ error: { code: 'TOKEN_EXPIRED' } }]);
    await stream.ended();
    const next = (await there.stream({ link: 2 })).read();
    await next.heard('welcome');
    await there.hub.kick({ user: 'ada' }, { reason: 'Out.' });
    expect(await next.heard('error')).toMatchObject([{ error: { code: 'UNAUTHORIZED' } }]);
    await next.ended();
  });

  test('that its client has left is over at once', async () => {
    const there = await site();
    const stream = (await there.stream()).read();
    await stream.heard('welcome');
    stream.abort();
    await vi.waitFor(() => expect(there.hub.metrics().connections).toBe(0));
    expect(there.clock.pending).toBe(0);
  });

  test('that its client has left before its welcome is never opened', async () => {
    let admit: () => void = () => {};
    const there = await site({
      authenticate: () => new Promise((resolve) => (admit = () => resolve({ user: 'ada' }))),
    });
    const abort = new AbortController();
    const asked = there.fetch(hello(), { signal: abort.signal }).catch(() => {});
    await vi.waitFor(() => expect(there.clock.pending).toBe(2));
    abort.abort();
    await asked;
    await vi.waitFor(() => expect(there.clock.pending).toBe(0));
    admit();
    await there.clock.settle();
    expect(there.hub.metrics()).toMatchObject({ connections: 0, connectionsAccepted: 0 });
  });
});

describe.each(journals)('on the $name journal', ({ create }) => {
  test('a stream that is opened anew, again and again, goes on without loss or double', async () => {
    const there = await site({ journal: create() });
    const seqs: (number | undefined)[] = [];
    let published = 0;
    let since: string | undefined;
    let session: string | undefined;
    const publish = async (count: number) => {
      for (let n = 0; n < count; n++) await there.hub.publish('a', 'x:y', published++);
    };
    for (let round = 0; round < 20; round++) {
      const wish = since === undefined ? { room: 'a' } : { room: 'a', since };
      const stream = (await there.stream({ link: 1, session, rooms: [wish] })).read();
      const [welcome] = await stream.heard('welcome');
      session ??= welcome?.session;
      expect(welcome?.session).toBe(session);
      const joined = await vi.waitFor(() => {
        const found = stream.all('room').find((v) => v.room === 'a' && 'joined' in v);
        if (found === undefined || !('joined' in found)) throw new Error('not joined');
        return found;
      });
      expect(joined.recovered).toBe(round > 0);
      since ??= joined.cursor;
      const live = publish(10);
      await vi.waitFor(() => expect(stream.seqs('a').length).toBeGreaterThan(round % 5));
      stream.abort();
      await vi.waitFor(() => expect(stream.isOver).toBe(true));
      seqs.push(...stream.seqs('a'));
      since = stream.ids.at(-1) ?? since;
      await live;
      await publish(3);
    }
    const last = (await there.stream({ rooms: [{ room: 'a', since }] })).read();
    const missing = published - seqs.length;
    await vi.waitFor(() => expect(last.seqs('a')).toHaveLength(missing));
    seqs.push(...last.seqs('a'));
    expect(seqs).toEqual(Array.from({ length: published }, (_, n) => n + 1));
    expect(there.hub.metrics()).toMatchObject({ connections: 1, gaps: 0 });
  });
});

describe('a second stream of one client', () => {
  test('with the same link ends the first without a word', async () => {
    const there = await site();
    const first = (await there.stream()).read();
    await first.heard('welcome');
    const second = (await there.stream()).read();
    await second.heard('welcome');
    await first.ended();
    expect(first.all('error')).toEqual([]);
    expect(there.hub.metrics().connections).toBe(1);
    await there.hub.publishToUser('nobody', 'x:y', 1);
    expect(second.isOver).toBe(false);
  });

  test('with a higher link tells the first that it is superseded', async () => {
    const there = await site();
    const first = (await there.stream()).read();
    await first.heard('welcome');
    const second = (await there.stream({ link: 2 })).read();
    await second.heard('welcome');
    expect(await first.heard('error')).toMatchObject([{ error: { code: 'SUPERSEDED' } }]);
    await first.ended();
  });

  test('on another hub of the journal does the same', async () => {
    const journal = memoryJournal();
    const here = await site({ journal });
    const there = await site({ journal });
    const first = (await here.stream()).read();
    const [welcome] = await first.heard('welcome');
    const second = (await there.stream()).read();
    expect(await second.heard('welcome')).toMatchObject([{ session: welcome?.session }]);
    await first.ended();
    expect(first.all('error')).toEqual([]);
    // The first one's end is not the client's.
    await here.clock.advance(700_000);
    const third = await there.poll({ link: 1 });
    expect(third.all('welcome')).toMatchObject([{ session: welcome?.session }]);
  });

  test('that goes away before its welcome leaves the first one in its place', async () => {
    const { journal, held, hold, release } = heldJournal(memoryJournal(), 'link');
    const there = await site({ journal, authenticate: () => ({ user: 'ada' }) });
    const first = (await there.stream()).read();
    const [welcome] = await first.heard('welcome');
    hold();
    const closed = new Promise((resolve) => {
      there.server.once('request', (_, response) => response.once('close', resolve));
    });
    const abort = new AbortController();
    const asked = there.fetch(hello(), { signal: abort.signal }).catch(() => {});
    await vi.waitFor(() => expect(held).toHaveLength(1));
    abort.abort();
    await asked;
    await closed;
    release();
    await there.hub.publishToUser('ada', 'x:y', 1);
    await first.heard('event');
    // To the journal it is linked as well, and so not forgotten.
    await there.clock.advance(700_000);
    expect(await there.session()).toBe(welcome?.session);
  });
});

test('a buffer that is small is filled again and again, without a moment passing', async () => {
  const there = await site({ limits: { bufferedBytes: 2_000 } });
  const stream = (await there.stream({ rooms: [{ room: 'a' }] })).read();
  await stream.heard('room', 4);
  for (let n = 0; n < 60; n++) void there.hub.publish('a', 'x:y', 'x'.repeat(1_000));
  await stream.heard('event', 60);
  expect(stream.seqs('a')).toEqual(Array.from({ length: 60 }, (_, n) => n + 1));
});

describe('a reader that stops', () => {
  /** Opens a stream on a socket of its own and reads nothing of it. */
  async function stopped(there: Site) {
    const responses: ServerResponse[] = [];
    there.server.on('request', (_, response) => responses.push(response));
    const body = JSON.stringify(hello({ rooms: [{ room: 'a' }] }));
    const socket = connect(Number(new URL(there.url).port), '127.0.0.1');
    socket.on('error', () => {});
    socket.pause();
    const head = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
    socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`);
    await vi.waitFor(() => expect(there.hub.metrics().rooms).toBe(2));
    return { socket, buffered: () => responses[0]?.writableLength ?? 0 };
  }

  const journal = () => memoryJournal({ maxBytes: 100_000_000, maxEvents: 10_000 });
  const payload = 'x'.repeat(20_000);
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  test('is served from the journal, loses nothing, and memory stays bounded', async () => {
    const there = await site({ limits: { bufferedBytes: 200_000 }, journal: journal() });
    const { socket, buffered } = await stopped(there);
    let peak = 0;
    for (let n = 0; n < 1_000; n++) {
      await there.hub.publish('a', 'x:y', payload);
      if (n % 10 === 0) await turn();
      peak = Math.max(peak, buffered());
    }
    expect(peak).toBeGreaterThan(190_000);
    expect(peak).toBeLessThan(500_000);
    expect(there.hub.metrics().eventsDelivered).toBeLessThan(900);

    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).resume();
    for (let n = 0; there.hub.metrics().eventsDelivered < 1_000 && n < 20_000; n++) {
      await turn();
      await there.clock.advance(1);
    }
    await vi.waitFor(() => {
      if (buffered() > 0) throw new Error('still on its way');
    });
    socket.end();
    await once(socket, 'close');
    const text = String(Buffer.concat(chunks));
    const seqs = [...text.matchAll(/^data: \{"kind":"event","eventId":"[^"]*","seq":(\d+)/gm)];
    expect(seqs.map(([, seq]) => Number(seq))).toEqual(
      Array.from({ length: 1_000 }, (_, n) => n + 1),
    );
    expect(there.hub.metrics()).toMatchObject({ gaps: 0, stalled: 0 });
  });

  test('for too long is sent away', async () => {
    const there = await site({ limits: { bufferedBytes: 50_000 }, journal: journal() });
    const { socket, buffered } = await stopped(there);
    for (let n = 0; buffered() < 50_000 && n < 3_000; n++) {
      await there.hub.publish('a', 'x:y', payload);
      await turn();
    }
    await there.clock.advance(29_000);
    expect(there.hub.metrics()).toMatchObject({ connections: 1, stalled: 0 });
    await there.clock.advance(3_000);
    expect(there.hub.metrics()).toMatchObject({ connections: 0, stalled: 1 });
    // It does not even take the end of the answer.
    await there.clock.advance(6_000);
    await vi.waitFor(() => expect(there.clock.pending).toBe(0));
    socket.destroy();
  });
});
