/** Errands: requests and messages in one POST, run once whatever happens to the POST. */
import { failure, memoryJournal, unauthorized } from 'holdfast/server';
import { describe, expect, test, vi } from 'vitest';
import { FakeClient } from './harness.js';
import { heldJournal, request, type Site, site } from './http-site.js';
import { journals } from './journal-table.js';

/** A handler that counts its runs, and ends when the test says so. */
function gate() {
  const runs: unknown[] = [];
  const open: (() => void)[] = [];
  return {
    runs,
    run: (payload: unknown) => {
      runs.push(payload);
      return new Promise((resolve) => open.push(() => resolve({ ran: runs.length })));
    },
    finish: () => {
      for (const end of open.splice(0)) end();
    },
  };
}

/** Sends an errand and cuts its connection once `when` holds. The server has noticed when it resolves. */
async function cut(there: Site, session: string, frames: unknown[], when: () => void) {
  const abort = new AbortController();
  const noticed = new Promise((resolve) => {
    there.server.once('request', (_, response) => response.once('close', resolve));
  });
  const gone = there.errand(session, frames, {}, { signal: abort.signal }).catch(() => 'gone');
  await vi.waitFor(when);
  abort.abort();
  expect(await gone).toBe('gone');
  await noticed;
}

describe('an errand', () => {
  test('has one response for each of its requests, in their order', async () => {
    const there = await site({
      handlers: {
        'x:slow': async (payload) => {
          await new Promise((resolve) => setImmediate(resolve));
          return payload;
        },
        'x:fast': (payload) => payload,
        'x:fail': () => {
          throw failure('FULL', 'No room.', { details: { seats: 0 } });
        },
      },
    });
    const session = await there.session();
    const answer = await there.errand(session, [
      request('r1', 'x:slow', { payload: 1 }),
      request('r2', 'x:fast', { payload: 2, room: 'a' }),
      request('r3', 'x:fail'),
      request('r4', 'x:none'),
    ]);
    expect(answer.status).toBe(200);
    expect(answer.frames).toMatchObject([
      { kind: 'response', requestId: 'r1', success: true, data: 1 },
      { requestId: 'r2', success: true, data: 2 },
      { requestId: 'r3', error: { code: 'FULL', details: { seats: 0 } } },
      { requestId: 'r4', error: { code: 'UNKNOWN_TYPE' } },
    ]);
    expect(there.hub.metrics()).toMatchObject({ requestsRun: 3, connections: 0 });
  });

  test('runs requests without a room one after another, and each room beside them', async () => {
    const order: unknown[] = [];
    const doors = { a: gate(), none: gate() };
    const there = await site({
      handlers: {
        'x:do': (payload, { room }) => {
          order.push(payload);
          return (room === 'a' ? doors.a : doors.none).run(payload);
        },
      },
    });
    const session = await there.session();
    const answer = there.errand(session, [
      request('r1', 'x:do', { payload: 1 }),
      request('r2', 'x:do', { payload: 2 }),
      request('r3', 'x:do', { payload: 3, room: 'a' }),
    ]);
    await vi.waitFor(() => expect(order).toEqual([1, 3]));
    doors.a.finish();
    doors.none.finish();
    await vi.waitFor(() => expect(order).toEqual([1, 3, 2]));
    doors.none.finish();
    expect((await answer).all('response').map(({ requestId }) => requestId)).toEqual([
      'r1',
      'r2',
      'r3',
    ]);
  });

  test('takes messages along, in order, and hears no answer to them', async () => {
    const heard: unknown[] = [];
    const there = await site({
      onMessage: {
        'x:say': async (payload, { room, connection }) => {
          await new Promise((resolve) => setImmediate(resolve));
          heard.push([payload, room, connection.transport]);
        },
      },
    });
    const session = await there.session();
    const message = (payload: unknown) => ({
      ...{ kind: 'message', type: 'x:say', timestamp: 1, room: 'a' },
      payload,
    });
    for (let n = 0; n < 4; n += 2) {
      const answer = await there.errand(session, [message(n), message(n + 1)]);
      expect([answer.status, answer.frames]).toEqual([200, []]);
    }
    expect(heard).toEqual([0, 1, 2, 3].map((n) => [n, 'a', 'http']));
  });

  test('that is cut leaves its messages in their order', async () => {
    const door = gate();
    const there = await site({
      onMessage: { 'x:say': (payload) => door.run(payload).then(() => {}) },
    });
    const session = await there.session();
    const message = (payload: unknown) => ({
      kind: 'message',
      type: 'x:say',
      timestamp: 1,
      payload,
    });
    const frames = [message(1), message(2)];
    await cut(there, session, frames, () => expect(door.runs).toEqual([1]));
    await there.clock.settle();
    expect(door.runs).toEqual([1]);
    door.finish();
    await vi.waitFor(() => expect(door.runs).toEqual([1, 2]));
    door.finish();
  });

  test('that is overtaken while its journal looks for what ran is answered without it', async () => {
    const { journal, held, hold, release } = heldJournal(memoryJournal(), 'recall');
    const door = gate();
    const limits = { messagesPerSecond: 1 };
    const there = await site({ journal, limits, handlers: { 'x:do': door.run } });
    const session = await there.session();
    hold();
    const frames = ['r1', 'r2'].map((id) => request(id, 'x:do'));
    const answer = there.errand(session, frames);
    await vi.waitFor(() => expect(held).toHaveLength(1));
    const client = new FakeClient(there.hub, { clock: there.clock, errors: [] });
    await client.hello({ link: 2 });
    release();
    door.finish();
    const { frames: responses } = await answer;
    expect(responses).toMatchObject([{ requestId: 'r1', success: true }]);
  });

  test('neither takes the place of a stream of its client nor ends it', async () => {
    const there = await site({
      handlers: {
        'x:do': (payload, { publish }) => {
          publish('a', 'x:done', payload);
          return payload;
        },
      },
    });
    const stream = (await there.stream({ rooms: [{ room: 'a' }] })).read();
    await stream.heard('room', 4);
    const session = stream.all('welcome')[0]?.session ?? '';
    const answer = await there.errand(session, [request('r1', 'x:do', { payload: 7 })]);
    expect(answer.frames).toMatchObject([{ success: true, data: 7 }]);
    expect(await stream.heard('event')).toMatchObject([{ type: 'x:done', payload: 7 }]);
    // The answer goes to who waits for it, and to nobody else.
    expect(stream.all('response')).toEqual([]);
    expect(stream.isOver).toBe(false);
  });

  test('of frames it may not have answers those that ask', async () => {
    const there = await site({
      limits: { maxMessageSize: 400 },
      handlers: { 'x:do': (payload) => String(payload).length },
    });
    const session = await there.session();
    const fitting = 400 - JSON.stringify(request('r1', 'x:do', { payload: '' })).length;
    const answer = await there.errand(session, [
      request('r1', 'x:do', { payload: 'x'.repeat(fitting) }),
      request('r2', 'x:do', { payload: 'x'.repeat(fitting + 1) }),
      { kind: 'message', type: 'x:y', timestamp: 1, payload: 'x'.repeat(400) },
      { kind: 'request', requestId: 'r3', type: 7 },
      { kind: 'join', rooms: [{ room: 'a' }] },
      7,
      null,
    ]);
    expect(answer.status).toBe(200);
    expect(answer.frames).toMatchObject([
      { requestId: 'r1', success: true, data: fitting },
      { requestId: 'r2', error: { code: 'MESSAGE_TOO_LARGE' } },
      { requestId: 'r3', error: { code: 'INVALID_PAYLOAD' } },
    ]);
    expect(there.hub.metrics()).toMatchObject({ garbled: 6, requestsRun: 1 });
  });

  test('is held to the rate of its client: what is too much comes again', async () => {
    const there = await site({
      limits: { messagesPerSecond: 2 },
      handlers: { 'x:do': () => 'done' },
    });
    const session = await there.session();
    const frames = Array.from({ length: 5 }, (_, n) => request(`r${n}`, 'x:do'));
    const first = await there.errand(session, frames);
    // The poll before was one of the four that may come at once.
    expect(first.all('response').map(({ success }) => success)).toEqual([
      ...[true, true, true],
      ...[false, false],
    ]);
    expect(first.frames[3]).toMatchObject({
      error: { code: 'RATE_LIMITED', retryable: true, retryAfter: expect.any(Number) },
    });
    // A repeat of what ran is answered all the same.
    expect((await there.errand(session, [request('r0', 'x:do')])).frames).toMatchObject([
      { success: true },
    ]);
    expect((await there.errand('other', frames, { clientId: 'c2' })).status).toBe(409);
    await there.clock.advance(10_000);
    const second = await there.errand(session, frames.slice(3));
    expect(second.all('response').every(({ success }) => success)).toBe(true);
    expect(there.hub.metrics()).toMatchObject({ requestsRun: 5, rateLimited: 2 });

    const flood = Array.from({ length: 40 }, (_, n) => request(`f${n}`, 'x:do'));
    const abused = await there.errand(session, flood);
    expect(abused.status).toBe(429);
    expect(Number(abused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(abused.frames).toMatchObject([{ kind: 'error', error: { code: 'RATE_LIMITED' } }]);
    expect(there.hub.metrics().requestsRun).toBe(5);
  });

  test('whose client has too many requests waiting is told to come again', async () => {
    const door = gate();
    const there = await site({
      limits: { pendingRequests: 2 },
      handlers: { 'x:do': door.run },
    });
    const session = await there.session();
    const answer = there.errand(
      session,
      ['r1', 'r2', 'r3'].map((id) => request(id, 'x:do')),
    );
    await vi.waitFor(() => expect(there.hub.metrics().rateLimited).toBe(1));
    door.finish();
    await vi.waitFor(() => expect(door.runs).toHaveLength(2));
    door.finish();
    expect((await answer).all('response').map(({ success }) => success)).toEqual([
      ...[true, true],
      false,
    ]);
  });
});

describe.each(journals)('on the $name journal, an errand', ({ create }) => {
  const lost = { kind: 'error', error: { code: 'CONNECTION_FAILED' } };

  test('of another session runs nothing', async () => {
    const journal = create();
    const there = await site({ journal, handlers: { 'x:do': () => 1 } });
    const session = await there.session();
    const strangers = [
      there.errand('other', [request('r1', 'x:do')]),
      there.errand(session, [request('r1', 'x:do')], { clientId: 'c2' }),
      there.post({ clientId: 'c1', link: 1, frames: [request('r1', 'x:do')] }),
    ];
    for (const answer of await Promise.all(strangers)) {
      expect(answer.status).toBe(409);
      expect(answer.frames).toMatchObject([lost]);
    }
    expect(there.hub.metrics().requestsRun).toBe(0);
    // Another hub of the journal knows it as well.
    const other = await site({ journal, handlers: { 'x:do': () => 2 } });
    const answer = await other.errand(session, [request('r1', 'x:do')]);
    expect(answer.frames).toMatchObject([{ success: true, data: 2 }]);
  });

  test('of a session that has changed since runs nothing', async () => {
    const there = await site({
      journal: create({ maxRequests: 4 }),
      handlers: { 'x:do': () => 1 },
    });
    const session = await there.session();
    const first = await there.errand(session, [request('r0', 'x:do')]);
    expect(first.status).toBe(200);
    let status = 200;
    let asked = 0;
    while (status === 200 && asked < 10) {
      status = (await there.errand(session, [request(`r${++asked}`, 'x:do')])).status;
    }
    expect(status).toBe(409);
    expect(asked).toBeGreaterThan(3);
    // It may have been forgotten that it ran: it does not run again.
    const { requestsRun } = there.hub.metrics();
    const again = await there.errand(session, [request('r0', 'x:do')]);
    expect(again.frames).toMatchObject([lost]);
    expect(there.hub.metrics().requestsRun).toBe(requestsRun);
    expect(await there.session()).not.toBe(session);
  });

  test('of an older link than the newest one has no response', async () => {
    const there = await site({
      journal: create(),
      handlers: { 'x:do': () => 1 },
      onMessage: { 'x:say': () => {} },
    });
    const session = await there.session({ link: 3 });
    const message = { kind: 'message', type: 'x:say', timestamp: 1 };
    const answer = await there.errand(session, [request('r1', 'x:do'), message], { link: 2 });
    expect([answer.status, answer.frames]).toEqual([200, []]);
    expect(there.hub.metrics()).toMatchObject({ requestsRun: 0, messages: 0 });
  });

  test('that is overtaken while it waits in its line has no response', async () => {
    const door = gate();
    const there = await site({ journal: create(), handlers: { 'x:do': door.run } });
    const session = await there.session();
    const answer = there.errand(session, [request('r1', 'x:do'), request('r2', 'x:do')]);
    await vi.waitFor(() => expect(door.runs).toHaveLength(1));
    await there.session({ link: 2 });
    door.finish();
    expect((await answer).all('response')).toMatchObject([{ requestId: 'r1', success: true }]);
    expect(door.runs).toHaveLength(1);
    const again = there.errand(session, [request('r2', 'x:do')], { link: 2 });
    await vi.waitFor(() => expect(door.runs).toHaveLength(2));
    door.finish();
    expect((await again).frames).toMatchObject([{ requestId: 'r2', success: true }]);
  });

  test('that is cut while its handler runs ran once: a repeat waits for the same run', async () => {
    const door = gate();
    const there = await site({ journal: create(), handlers: { 'x:do': door.run } });
    const session = await there.session();
    const frames = [request('r1', 'x:do')];
    await cut(there, session, frames, () => expect(door.runs).toHaveLength(1));
    const repeats = [there.errand(session, frames), there.errand(session, frames)];
    // Both are on the server before it ends.
    await there.poll({ clientId: 'other' });
    await there.clock.settle();
    door.finish();
    for (const answer of await Promise.all(repeats)) {
      expect(answer.frames).toMatchObject([{ requestId: 'r1', success: true, data: { ran: 1 } }]);
    }
    const late = await there.errand(session, frames);
    expect(late.frames).toMatchObject([{ requestId: 'r1', data: { ran: 1 } }]);
    expect(door.runs).toHaveLength(1);
  });

  test('that is repeated at another hub waits for the run of the first', async () => {
    const journal = create();
    const door = gate();
    const here = await site({ journal, handlers: { 'x:do': door.run } });
    const there = await site({ journal, handlers: { 'x:do': door.run } });
    const session = await here.session();
    const frames = [request('r1', 'x:do')];
    await cut(here, session, frames, () => expect(door.runs).toHaveLength(1));
    const repeat = there.errand(session, frames);
    await vi.waitFor(() => expect(there.clock.pending).toBeGreaterThan(0));
    door.finish();
    expect((await there.settled(repeat)).frames).toMatchObject([{ data: { ran: 1 } }]);
    expect(door.runs).toHaveLength(1);
  });

  test('each cut somewhere, and repeated until it is answered: every request ran once', async () => {
    const effects = new Map<string, number>();
    const there = await site({
      journal: create(),
      limits: { messagesPerSecond: 10_000 },
      handlers: {
        'x:do': async (payload, { requestId }) => {
          await new Promise((resolve) => setImmediate(resolve));
          effects.set(requestId, (effects.get(requestId) ?? 0) + 1);
          return payload;
        },
      },
    });
    const session = await there.session();
    for (let n = 0; n < 60; n++) {
      const frames = [request(`r${n}`, 'x:do', { payload: n })];
      const abort = new AbortController();
      const first = there.errand(session, frames, {}, { signal: abort.signal }).catch(() => {});
      for (let turn = 0; turn < n % 12; turn++) await new Promise((done) => setImmediate(done));
      abort.abort();
      await first;
      const answer = await there.errand(session, frames);
      expect(answer.frames).toMatchObject([{ requestId: `r${n}`, success: true, data: n }]);
    }
    expect([...effects.values()]).toEqual(Array.from({ length: 60 }, () => 1));
  });

  test('keeps its session whatever it asks, at an ordinary rate', async () => {
    const there = await site({
      journal: create({ maxRequests: 20 }),
      handlers: { 'x:do': () => 1 },
    });
    const session = await there.session();
    for (let n = 0; n < 80; n++) {
      const answer = await there.errand(session, [request(`r${n}`, 'x:do')]);
      expect([n, answer.status]).toEqual([n, 200]);
      await there.clock.advance(30_000);
      expect(await there.session()).toBe(session);
    }
  });
});

test('a request that is repeated on a link is answered there as well', async () => {
  const door = gate();
  const there = await site({ handlers: { 'x:do': door.run } });
  const session = await there.session();
  const answer = there.errand(session, [request('r1', 'x:do')]);
  await vi.waitFor(() => expect(door.runs).toHaveLength(1));
  const client = new FakeClient(there.hub, { clock: there.clock, errors: [] });
  await client.hello({ link: 2 });
  await client.request('r1', 'x:do');
  door.finish();
  expect((await answer).frames).toMatchObject([{ requestId: 'r1', data: { ran: 1 } }]);
  await there.clock.settle();
  expect(client.response('r1')).toMatchObject({ data: { ran: 1 } });
  expect(door.runs).toHaveLength(1);
});

describe('the answer to a request whose errand was cut', () => {
  test('goes to the stream of its client', async () => {
    const door = gate();
    const there = await site({ handlers: { 'x:do': door.run } });
    const stream = (await there.stream()).read();
    const [welcome] = await stream.heard('welcome');
    const session = welcome?.session ?? '';
    await cut(there, session, [request('r1', 'x:do')], () => expect(door.runs).toHaveLength(1));
    door.finish();
    expect(await stream.heard('response')).toMatchObject([{ requestId: 'r1', success: true }]);
  });

  test('is news for its poll', async () => {
    const door = gate();
    const there = await site({ handlers: { 'x:do': door.run } });
    const session = await there.session();
    await cut(there, session, [request('r1', 'x:do')], () => expect(door.runs).toHaveLength(1));
    const polled = there.poll({}, 20_000);
    await vi.waitFor(() => expect(there.hub.metrics().connections).toBe(1));
    door.finish();
    const answer = await there.settled(polled);
    expect(answer.all('response')).toMatchObject([{ requestId: 'r1', success: true }]);
  });
});

describe('who may send one', () => {
  test('is asked of `authenticate`, with the headers, and its user is who asks', async () => {
    const seen: unknown[] = [];
    const there = await site({
      authenticate: ({ auth, request: asked }) => {
        seen.push(asked.headers.authorization, asked.url);
        if (auth !== 'ada') throw unauthorized();
        return { user: 'ada' };
      },
      authorizeRoom: ({ user, room, action }) => room !== 'closed' || user !== 'ada' || !action,
      handlers: { 'x:do': (_, { user }) => user },
    });
    const session = await there.session({ auth: 'ada' });
    const frames = [request('r1', 'x:do'), request('r2', 'x:do', { room: 'closed' })];
    const headers = { authorization: 'Bearer t' };
    const answer = await there.errand(session, frames, { auth: 'ada' }, { headers });
    expect(answer.frames).toMatchObject([
      { requestId: 'r1', data: 'ada' },
      { requestId: 'r2', error: { code: 'FORBIDDEN' } },
    ]);
    expect(seen).toContain('Bearer t');
    expect(seen).toContain('/realtime');
    expect((await there.errand(session, frames, { auth: 'eve' })).status).toBe(403);
  });

  test('is not who was kicked meanwhile', async () => {
    let admit: (() => void) | undefined;
    let isSlow = false;
    const there = await site({
      authenticate: () =>
        isSlow
          ? new Promise((resolve) => (admit = () => resolve({ user: 'ada' })))
          : { user: 'ada' },
      handlers: { 'x:do': () => 1 },
    });
    const session = await there.session();
    isSlow = true;
    const answer = there.errand(session, [request('r1', 'x:do')]);
    await vi.waitFor(() => expect(admit).toBeDefined());
    await there.hub.kick({ user: 'ada' });
    admit?.();
    expect((await answer).status).toBe(403);
    expect(there.hub.metrics().requestsRun).toBe(0);
  });

  test('is not waited for for ever, and is not run once it has gone', async () => {
    const signals: AbortSignal[] = [];
    let isSlow = false;
    const there = await site({
      authenticate: ({ signal }) => {
        signals.push(signal);
        return isSlow ? new Promise(() => {}) : { user: 'ada' };
      },
      handlers: { 'x:do': () => 1 },
    });
    const session = await there.session();
    isSlow = true;
    const answer = there.errand(session, [request('r1', 'x:do')]);
    await vi.waitFor(() => expect(signals).toHaveLength(2));
    await there.clock.advance(10_000);
    expect(await answer).toMatchObject({ status: 500, frames: [{ kind: 'error' }] });
    await cut(there, session, [request('r1', 'x:do')], () => expect(signals).toHaveLength(3));
    await vi.waitFor(() => expect(signals[2]?.aborted).toBe(true));
    expect(there.hub.metrics().requestsRun).toBe(0);
  });
});

test('a hub that closes in the middle says so, and what ran is not run again', async () => {
  const journal = memoryJournal();
  const door = gate();
  const there = await site({ journal, handlers: { 'x:quick': () => 1, 'x:do': door.run } });
  const session = await there.session();
  const frames = [request('r1', 'x:quick'), request('r2', 'x:do'), request('r3', 'x:do')];
  const asked = there.errand(session, frames);
  await vi.waitFor(() => expect(door.runs).toHaveLength(1));
  const closed = there.hub.close();
  const answer = await there.settled(asked);
  expect(answer.status).toBe(503);
  expect(answer.frames[0]).toMatchObject({ requestId: 'r1', success: true });
  expect(answer.frames.at(-1)).toMatchObject({ error: { code: 'CONNECTION_FAILED' } });
  await there.settled(closed);
  expect(there.clock.pending).toBe(0);

  const next = await site({ journal, handlers: { 'x:quick': () => 1, 'x:do': door.run } });
  const repeat = next.errand(session, frames);
  await vi.waitFor(() => expect(door.runs).toHaveLength(2));
  door.finish();
  expect((await repeat).frames).toMatchObject([
    { requestId: 'r1', success: true },
    { requestId: 'r2', error: { code: 'OUTCOME_UNKNOWN' } },
    { requestId: 'r3', success: true },
  ]);
});
