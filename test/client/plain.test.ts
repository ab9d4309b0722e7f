/** `plain()`: what holds with a server that does not speak holdfast/1, and what is honestly off. */
import { HoldfastError } from 'holdfast';
import { memoryStorage } from 'holdfast/testing';
import { describe, expect, test, vi } from 'vitest';
import { plain } from '../../src/client/plain.js';
import { plainStage } from './plain-server.js';

const TOKEN = 'sesame-4711';

describe('what a server says', () => {
  test('is one event, several, or nothing', async () => {
    const stage = plainStage();
    await stage.connect();
    stage.last.say(
      { type: 'tick:came', payload: 1, eventId: 'e1' },
      [
        { type: 'tick:came', payload: 2, eventId: 2, timestamp: 77 },
        { type: 'tick:went', payload: 3, eventId: 'e3' },
      ],
      [],
      null,
    );
    await stage.clock.advance(0);
    expect(stage.seen.payloads).toEqual([1, 2, 3]);
    expect(stage.seen.events[1]?.event).toMatchObject({ eventId: '2', timestamp: 77 });
    expect(stage.client.metrics()).toMatchObject({ garbled: 0, received: 3 });
  });

  test('without decode is an event with the data as its payload, JSON or not', async () => {
    const stage = plainStage();
    const client = plainStage({ decode: undefined as never });
    await client.connect();
    client.last.write('{"a":1}');
    client.last.write('plain text');
    client.last.write(new Uint8Array([5]));
    await client.clock.advance(0);
    expect(client.seen.payloads).toEqual([{ a: 1 }, 'plain text', new Uint8Array([5])]);
    expect(client.seen.events.map(({ type }) => type)).toEqual(['message', 'message', 'message']);
    stage.client.close();
  });

  test('is told apart by its eventId', async () => {
    const stage = plainStage();
    await stage.connect();
    const tick = (eventId: string, room?: string) => ({
      type: 'a:b',
      payload: eventId,
      eventId,
      room,
    });
    stage.last.say(tick('1'), tick('2'), tick('1'));
    await stage.reconnect();
    stage.last.say(tick('2'), tick('3'));
    await stage.clock.advance(0);
    expect(stage.seen.payloads).toEqual(['1', '2', '3']);
    expect(stage.client.metrics().duplicates).toBe(2);
  });

  test('without an eventId is never taken for a duplicate', async () => {
    const stage = plainStage();
    await stage.connect();
    const tick = { type: 'a:b', payload: 'same' };
    stage.last.say(tick, tick, { ...tick, eventId: null }, { ...tick, eventId: '' });
    await stage.clock.advance(0);
    expect(stage.seen.payloads).toHaveLength(4);
    const ids = stage.seen.events.map(({ event }) => event.eventId);
    expect(new Set(ids).size).toBe(4);
  });

  test.each<[string, unknown]>([
    ['a number', 7],
    ['text', 'ready'],
    ['an empty object', {}],
    ['an event without a name', { type: '' }],
    ['a name that is no text', { type: 5 }],
    ['a timestamp that is no number', { type: 'a:b', timestamp: '2026' }],
    ['an error without a code', { requestId: 'r', error: { message: 'no' } }],
    ['an error that is text', { room: 'a', error: 'no' }],
    ['a room without a verdict', { room: 'a' }],
    ['a room that is no text', { room: 5, joined: true }],
    ['two verdicts', { room: 'a', joined: true, left: true, error: { code: 'A', message: '' } }],
    ['a symbol', { type: 'a:b', eventId: Symbol('id') }],
    ['a promise', Promise.resolve({ type: 'a:b' })],
    [
      'a trap',
      {
        get type() {
          throw new Error('no');
        },
      },
    ],
  ])('E42 is dropped and counted where decode gives %s', async (_, said) => {
    let given: unknown = said;
    const stage = plainStage({ decode: () => given as never });
    await stage.connect();
    stage.last.write('x');
    await stage.clock.advance(0);
    given = { type: 'a:b', payload: 'next' };
    stage.last.write('x');
    await stage.clock.advance(0);
    const isJoined = (said as { left?: boolean }).left === true;
    expect(stage.client.metrics().garbled).toBe(isJoined ? 0 : 1);
    expect(stage.seen.payloads).toEqual(['next']);
    expect(stage.seen.errors).toEqual([]);
  });

  test('E42 is dropped and counted where decode throws, and what it threw is not shown', async () => {
    const stage = plainStage();
    const traces: unknown[] = [];
    stage.client.onTrace((entry) => traces.push(entry));
    await stage.connect();
    stage.last.write(`{"token":"${TOKEN}`);
    stage.last.say({ type: 'a:b' });
    await stage.clock.advance(0);
    expect(stage.client.metrics().garbled).toBe(1);
    expect(stage.seen.events).toHaveLength(1);
    expect(JSON.stringify(traces)).toContain('decode threw SyntaxError');
    expect(JSON.stringify(traces)).not.toContain(TOKEN);
  });

  test('is heard no more once a listener has closed the client', async () => {
    const stage = plainStage();
    await stage.connect();
    stage.client.onAny(() => stage.client.close());
    stage.last.say([{ type: 'a:b', payload: 1 }, { type: 'a:b', payload: 2 }, { ping: true }]);
    await stage.clock.advance(0);
    expect(stage.seen.payloads).toEqual([1]);
  });
});

describe('requests', () => {
  test('are encoded when they are asked for, and answered by their id', async () => {
    const stage = plainStage({
      answer: ({ kind, requestId, payload }, link) => {
        if (kind === 'request') link.say({ requestId, data: payload, error: null });
      },
    });
    const payload = { text: 'hi' };
    const answered = stage.client.request('note:add', payload, { room: 'a', requestId: '17' });
    payload.text = 'changed';
    await stage.connect();
    await expect(answered).resolves.toEqual({ text: 'hi' });
    expect(stage.last.heard).toEqual([
      expect.objectContaining({ kind: 'request', requestId: '17', type: 'note:add', room: 'a' }),
    ]);
  });

  test('reject with the error that the server gave', async () => {
    const stage = plainStage({
      answer: ({ requestId }, link) =>
        link.say({
          requestId,
          error: { code: 'SOLD_OUT', message: 'Gone.', details: { left: 0 } },
        }),
    });
    await stage.connect();
    const answered = stage.client.request('seat:buy', 1);
    answered.catch(() => {});
    await stage.clock.advance(0);
    await expect(answered).rejects.toMatchObject({
      code: 'SOLD_OUT',
      category: 'application',
      retryable: false,
      details: { left: 0 },
    });
  });

  test('are written once more where the error promises that nothing happened', async () => {
    let refusals = 0;
    const stage = plainStage({
      answer: ({ requestId }, link) => {
        const error = { code: 'BUSY', message: 'Later.', retryable: true };
        link.say(refusals++ === 0 ? { requestId, error } : { requestId, data: 'done' });
      },
    });
    await stage.connect();
    const answered = stage.client.request('seat:buy', 1);
    await stage.clock.advance(10);
    await expect(answered).resolves.toBe('done');
    expect(stage.last.heard).toHaveLength(2);
  });

  test('are not written twice, unless at-least-once is asked for', async () => {
    const stage = plainStage();
    await stage.connect();
    const once = stage.client.request('a:b', 1);
    const often = stage.client.request('a:b', 2, { delivery: 'at-least-once', requestId: 'often' });
    once.catch(() => {});
    await stage.clock.advance(0);
    await stage.reconnect();
    await expect(once).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      details: { reason: 'lost' },
    });
    expect(stage.last.heard).toMatchObject([{ requestId: 'often' }]);
    stage.last.say({ requestId: 'often', data: 2 });
    await stage.clock.advance(0);
    await expect(often).resolves.toBe(2);
  });

  test('are written again, exactly once being asked for, to a server that names its memory of them', async () => {
    const stage = plainStage({ ready: true });
    await stage.connect();
    stage.last.say({ ready: true, session: 's-1' });
    const answered = stage.client.request('a:b', 1, { requestId: 'r1' });
    await stage.clock.advance(0);
    await stage.reconnect();
    stage.last.say({ ready: true, session: 's-1' });
    await stage.clock.advance(0);
    expect(stage.links.map(({ heard }) => heard)).toMatchObject([
      [{ requestId: 'r1' }],
      [{ requestId: 'r1' }],
    ]);
    stage.last.say({ requestId: 'r1', data: 'once' });
    await stage.clock.advance(0);
    await expect(answered).resolves.toBe('once');
  });

  test('that wait through an outage are written when the server is back', async () => {
    const stage = plainStage();
    await stage.connect();
    stage.network.set({ refuse: 'CONNECTION_FAILED' });
    stage.network.cut();
    await stage.clock.advance(0);
    const answered = stage.client.request('a:b', 1, { requestId: 'r1' });
    await stage.clock.advance(500);
    stage.network.heal();
    await stage.clock.advance(5_000);
    stage.last.say({ requestId: 'r1', data: 'late' });
    await stage.clock.advance(0);
    await expect(answered).resolves.toBe('late');
  });

  test.each([
    ['null', null, 'nothing'],
    ['two messages', ['a', 'b'], 'several messages'],
    ['what no wire carries', { text: 'hi' }, 'text or bytes'],
  ])('reject at once where encode gives %s', async (_, data, why) => {
    const stage = plainStage({ encode: () => data as never });
    await stage.connect();
    const refused = await stage.client.request('a:b', 1).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(HoldfastError);
    expect(refused).toMatchObject({ code: 'INVALID_PAYLOAD' });
    const { message, cause } = refused as HoldfastError;
    expect(`${message} ${(cause as Error | undefined)?.message}`).toContain(why);
    expect(stage.client.state.queued).toBe(0);
    expect(() => stage.client.send('a:b', 1)).toThrow(HoldfastError);
    expect(stage.last.heard).toEqual([]);
  });

  test('reject at once where the server takes none at all', async () => {
    const stage = plainStage({ encode: undefined as never });
    await expect(stage.client.request('a:b', 1)).rejects.toMatchObject({ code: 'INVALID_PAYLOAD' });
    expect(stage.client.pending()).toEqual([]);
  });

  test('go as fast as the client’s own limits say, and as large', async () => {
    const limits = { messagesPerSecond: 10_000, maxMessageSize: 4_000_000 };
    const stage = plainStage({}, { limits, outbox: { maxBytes: 8_000_000 } });
    await stage.connect();
    for (let n = 0; n < 900; n++) stage.client.send('a:b', n);
    stage.client.send('a:b', 'x'.repeat(2_000_000));
    await stage.clock.advance(100);
    expect(stage.last.heard).toHaveLength(901);
  });
});

describe('rooms', () => {
  const joins = (stage: ReturnType<typeof plainStage>) =>
    stage.links.map(({ heard }) =>
      heard.filter((one) => (one as { kind: string }).kind === 'join'),
    );

  test('of a server that knows none are joined at once, and have a gap after each reconnect', async () => {
    const onGap = vi.fn();
    const stage = plainStage({ encode: () => null }, { onGap });
    const room = stage.client.room('all');
    const isJoined = room.join();
    await stage.connect();
    await isJoined;
    expect(stage.client.state.synced).toBe(true);
    expect(onGap).not.toHaveBeenCalled();
    stage.last.say({ type: 'a:b', room: 'all', eventId: 'e1' });
    await stage.reconnect();
    expect(onGap.mock.calls).toMatchObject([[{ room: 'all', cursor: 'e1', reason: 'expired' }]]);
    expect(stage.client.state.synced).toBe(true);
    expect(room.state).toBe('joined');
    await stage.reconnect();
    expect(onGap).toHaveBeenCalledTimes(2);
  });

  test('have a gap also where nothing had come before the outage', async () => {
    const onGap = vi.fn();
    const stage = plainStage({}, { onGap });
    void stage.client.room('all').join();
    await stage.connect();
    await stage.reconnect();
    expect(onGap.mock.calls).toMatchObject([[{ room: 'all', reason: 'expired' }]]);
    expect(joins(stage).map(([join]) => join)).toEqual([
      { kind: 'join', room: 'all' },
      { kind: 'join', room: 'all' },
    ]);
  });

  test('are without a gap error where they are joined for the first time', async () => {
    const stage = plainStage();
    const isJoined = stage.client.room('all').join();
    await stage.connect();
    await isJoined;
    expect(stage.seen.errors).toEqual([]);
    await stage.reconnect();
    expect(stage.seen.errors).toMatchObject([{ code: 'PROTOCOL_ERROR', details: { room: 'all' } }]);
  });

  test('hold what comes while onGap runs, and skip what the state contains', async () => {
    let fetched = (_: string) => {};
    const onGap = () =>
      new Promise<string>((done) => {
        fetched = done;
      });
    const stage = plainStage({}, { onGap });
    void stage.client.room('all').join();
    await stage.connect();
    await stage.reconnect();
    for (const eventId of ['5', '6', '7']) {
      stage.last.say({ type: 'a:b', room: 'all', eventId, payload: eventId });
    }
    await stage.clock.advance(0);
    expect(stage.seen.payloads).toEqual([]);
    expect(stage.client.state.synced).toBe(false);
    fetched('6');
    await stage.clock.advance(0);
    expect(stage.seen.payloads).toEqual(['7']);
    expect(stage.client.state.synced).toBe(true);
  });

  test('of a server that answers joins wait for its answer, and so do their events', async () => {
    const stage = plainStage({ joined: true });
    const room = stage.client.room('all');
    let isJoined = false;
    void room.join().then(() => {
      isJoined = true;
    });
    await stage.connect();
    stage.last.say({ type: 'a:b', room: 'all', payload: 'early', eventId: 'e1' });
    await stage.clock.advance(0);
    expect([isJoined, room.state, stage.client.state.synced]).toEqual([false, 'joining', false]);
    stage.last.say({ room: 'all', joined: true });
    await stage.clock.advance(0);
    expect([isJoined, room.state, stage.client.state.synced]).toEqual([true, 'joined', true]);
    expect(stage.seen.payloads).toEqual(['early']);
    expect(joins(stage)[0]).toHaveLength(1);
  });

  test('that a server replays go on from the last event, without a gap', async () => {
    const onGap = vi.fn();
    const stage = plainStage(
      {
        joined: true,
        answer: ({ kind, room, since }, link) => {
          if (kind === 'join') link.say({ room, joined: true, recovered: since !== undefined });
        },
      },
      { onGap },
    );
    void stage.client.room('all').join();
    await stage.connect();
    const event = (eventId?: string) => ({ type: 'a:b', room: 'all', payload: eventId, eventId });
    stage.last.say(event('e1'), event('e2'), event());
    await stage.clock.advance(0);
    await stage.reconnect();
    expect(joins(stage)[1]).toEqual([{ kind: 'join', room: 'all', since: 'e2' }]);
    // An id of our own, for the event without one, is never shown to the server.
    stage.last.say(event('e2'), event('e3'));
    await stage.clock.advance(0);
    await stage.reconnect();
    expect(joins(stage)[2]).toEqual([{ kind: 'join', room: 'all', since: 'e3' }]);
    expect(stage.seen.payloads).toEqual(['e1', 'e2', undefined, 'e3']);
    expect(onGap).not.toHaveBeenCalled();
  });

  test('are not believed to be recovered from nowhere', async () => {
    const onGap = vi.fn();
    const stage = plainStage(
      {
        joined: true,
        answer: ({ room }, link) => link.say({ room, joined: true, recovered: true }),
      },
      { onGap },
    );
    void stage.client.room('all').join();
    await stage.connect();
    expect(onGap).not.toHaveBeenCalled();
    await stage.reconnect();
    expect(onGap).toHaveBeenCalledOnce();
  });

  test('go on from the place that the answer to the join names', async () => {
    const stage = plainStage({
      joined: true,
      answer: ({ room, since }, link) =>
        link.say({ room, joined: true, cursor: 41, recovered: since === '41' }),
    });
    void stage.client.room('all').join();
    await stage.connect();
    stage.last.say({ type: 'a:b', room: 'all' });
    await stage.clock.advance(0);
    await stage.reconnect();
    expect(joins(stage)[1]).toEqual([{ kind: 'join', room: 'all', since: '41' }]);
    expect(stage.seen.errors).toEqual([]);
  });

  test('take the application’s since to the server, and believe its answer', async () => {
    const onGap = vi.fn();
    const stage = plainStage({ joined: true }, { onGap });
    await stage.connect();
    const isJoined = stage.client.room('all').join({ since: 'e7' });
    await stage.clock.advance(0);
    expect(joins(stage)[0]).toEqual([{ kind: 'join', room: 'all', since: 'e7' }]);
    stage.last.say({ room: 'all', joined: true });
    await stage.clock.advance(0);
    await isJoined;
    expect(onGap.mock.calls).toMatchObject([[{ room: 'all', cursor: 'e7', reason: 'expired' }]]);
  });

  test('go on after a reload from the last position that was the server’s own', async () => {
    const storage = memoryStorage();
    const before = plainStage({}, { outbox: { storage } });
    void before.client.room('all').join();
    await before.connect();
    before.last.say({ type: 'a:b', room: 'all', eventId: 'e1' }, { type: 'a:b', room: 'all' });
    await before.clock.advance(1_000);
    storage.crash();
    const after = plainStage({}, { outbox: { storage } });
    void after.client.room('all').join({ since: 'stored' });
    await after.connect();
    expect(after.last.heard).toEqual([{ kind: 'join', room: 'all', since: 'e1' }]);
  });

  test('may be named as joined again and again; only an explicit false is a gap', async () => {
    const onGap = vi.fn();
    const stage = plainStage({}, { onGap });
    void stage.client.room('all').join();
    await stage.connect();
    stage.last.say([
      { room: 'all', joined: true },
      { room: 'other', joined: true },
    ]);
    await stage.clock.advance(0);
    expect(onGap).not.toHaveBeenCalled();
    stage.last.say({ room: 'all', joined: true, recovered: false });
    await stage.clock.advance(0);
    expect(onGap).toHaveBeenCalledOnce();
  });

  test('are refused by an error, and asked for again after one that is for now', async () => {
    const stage = plainStage({ joined: true });
    await stage.connect();
    const secret = stage.client.room('secret');
    const refused = secret.join();
    refused.catch(() => {});
    void stage.client.room('busy').join();
    await stage.clock.advance(0);
    const busy = { code: 'BUSY', message: 'Later.', retryable: true, retryAfter: 300 };
    stage.last.say(
      { room: 'secret', error: { code: 'FORBIDDEN', message: 'No.' } },
      { room: 'busy', error: busy },
    );
    await stage.clock.advance(299);
    await expect(refused).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(secret.state).toBe('refused');
    expect(joins(stage)[0]).toHaveLength(2);
    await stage.clock.advance(1);
    expect(joins(stage)[0]?.[2]).toEqual({ kind: 'join', room: 'busy' });
    expect(stage.last.heard).not.toContainEqual(expect.objectContaining({ kind: 'leave' }));
  });

  test('that are taken away later are reported, and not asked for again', async () => {
    const stage = plainStage();
    void stage.client.room('all').join();
    await stage.connect();
    stage.last.say({ room: 'all', error: { code: 'GONE', message: 'It has ended.' } });
    await stage.clock.advance(0);
    expect(stage.seen.errors).toMatchObject([{ code: 'GONE' }]);
    await stage.reconnect();
    expect(joins(stage)[1]).toEqual([]);
  });

  test('are left, and their late events are nobody’s', async () => {
    const stage = plainStage();
    const room = stage.client.room('all');
    void room.join();
    await stage.connect();
    room.leave();
    await stage.clock.advance(0);
    expect(stage.last.heard).toEqual([
      { kind: 'join', room: 'all' },
      { kind: 'leave', room: 'all' },
    ]);
    stage.last.say({ room: 'all', left: true }, { type: 'a:b', room: 'all', eventId: 'late' });
    await stage.clock.advance(0);
    expect(stage.seen.events).toEqual([]);
    expect(stage.client.metrics().stray).toBe(1);
    expect(stage.seen.errors).toEqual([]);
  });

  test('that are joined from elsewhere on the same link are left first', async () => {
    const stage = plainStage();
    const room = stage.client.room('all');
    void room.join();
    await stage.connect();
    room.leave();
    void room.join({ since: 'e3' });
    await stage.clock.advance(0);
    expect(stage.last.heard).toEqual([
      { kind: 'join', room: 'all' },
      { kind: 'leave', room: 'all' },
      { kind: 'join', room: 'all', since: 'e3' },
    ]);
  });

  test('of one name may number their events each for itself', async () => {
    const stage = plainStage();
    void stage.client.room('a').join();
    void stage.client.room('b').join();
    await stage.connect();
    for (const room of ['a', 'b']) {
      stage.last.say({ type: 'x:y', room, eventId: 1, payload: room });
    }
    await stage.clock.advance(0);
    expect(stage.seen.payloads).toEqual(['a', 'b']);
  });
});

describe('the opening', () => {
  test('writes the first messages, then joins one after another, then what waited', async () => {
    const stage = plainStage(
      {
        onOpen: ({ send, auth, rooms }) => {
          send(JSON.stringify({ auth, rooms }));
          send(['{"first":1}', '{"second":2}']);
        },
      },
      { auth: () => ({ token: TOKEN }) },
    );
    void stage.client.request('a:b', 1);
    void stage.client.room('x').join();
    void stage.client.room('y').join();
    await stage.connect();
    expect(stage.last.heard).toMatchObject([
      { auth: { token: TOKEN }, rooms: ['x', 'y'] },
      { first: 1 },
      { second: 2 },
      { kind: 'join', room: 'x' },
      { kind: 'join', room: 'y' },
      { kind: 'request' },
    ]);
  });

  test('may have to wait for the server’s welcome', async () => {
    const stage = plainStage({ ready: true });
    void stage.client.room('x').join();
    void stage.client.request('a:b', 1);
    await stage.connect();
    await stage.clock.advance(1_000);
    expect(stage.client.state.status).toBe('connecting');
    expect(stage.last.heard).toEqual([]);
    // Joined meanwhile: once, after the others.
    void stage.client.room('y').join();
    stage.last.say({ ready: true, user: 'u-1' }, { ready: true });
    await stage.clock.advance(0);
    expect(stage.client.state.status).toBe('connected');
    expect(stage.last.heard).toMatchObject([
      { kind: 'join', room: 'x' },
      { kind: 'join', room: 'y' },
      { kind: 'request' },
    ]);
  });

  test('fails at connectTimeout where a server never says that it is ready', async () => {
    const stage = plainStage({ ready: true }, { reconnect: { connectTimeout: 3_000 } });
    await stage.connect();
    await stage.clock.advance(2_999);
    expect(stage.client.state.status).toBe('connecting');
    await stage.clock.advance(1);
    expect(stage.client.state).toMatchObject({
      status: 'reconnecting',
      error: { code: 'CONNECTION_FAILED' },
    });
  });

  test('may be refused: credentials that expired are fetched anew, others close the client', async () => {
    const auth = vi.fn(({ reason }: { reason: string }) => ({ token: reason }));
    const stage = plainStage(
      { ready: true, onOpen: ({ send, auth: given }) => send(JSON.stringify(given)) },
      { auth },
    );
    await stage.connect();
    stage.last.say({ error: { code: 'TOKEN_EXPIRED', message: 'Old.' } });
    await stage.clock.advance(0);
    expect(stage.last.heard).toEqual([{ token: 'expired' }]);
    stage.last.say({ error: { code: 'UNAUTHORIZED', message: 'Never.' } });
    await stage.clock.advance(0);
    expect(stage.client.state).toMatchObject({ status: 'closed', error: { code: 'UNAUTHORIZED' } });
  });

  test('E40 says how long credentials hold: they are renewed in place, and again', async () => {
    let tokens = 0;
    const stage = plainStage(
      {
        ready: true,
        onOpen: ({ send, auth }) => send(JSON.stringify(auth)),
        answer: (message, link) => {
          if (message.kind === 'auth') link.say({ kind: 'auth', expiresIn: 10_000 });
          else link.say({ ready: true, expiresIn: 10_000 });
        },
      },
      { auth: () => ({ token: ++tokens }) },
    );
    await stage.connect();
    await stage.clock.advance(9_000);
    expect(stage.last.heard).toEqual([{ token: 1 }, { kind: 'auth', auth: { token: 2 } }]);
    await stage.clock.advance(9_000);
    expect(stage.last.heard[2]).toEqual({ kind: 'auth', auth: { token: 3 } });
    expect(stage.links).toHaveLength(1);
  });

  test('E41 of another user takes nothing of the first one’s along', async () => {
    let user = 'ada';
    const stage = plainStage({
      ready: true,
      onOpen: ({ send }) => send('{}'),
      answer: (_, link) => link.say({ ready: true, user }),
    });
    await stage.connect();
    stage.network.set({ refuse: 'CONNECTION_FAILED' });
    stage.network.cut();
    await stage.clock.advance(0);
    const asked = stage.client.request('a:b', 'ada’s');
    asked.catch(() => {});
    user = 'bob';
    stage.network.heal();
    await stage.clock.advance(20_000);
    await expect(asked).rejects.toMatchObject({
      code: 'NOT_SENT',
      details: { reason: 'identity' },
    });
  });

  test('moves over beside the old link where the server says goodbye', async () => {
    const stage = plainStage();
    await stage.connect();
    stage.last.say({ kind: 'goodbye', reason: 'deploy' });
    await stage.clock.advance(100);
    expect(stage.links).toHaveLength(2);
    expect(stage.seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
  });
});

describe('signs of life', () => {
  const heartbeat = { interval: 1_000, timeout: 500 };

  test('are not asked of a server that has no ping, so its silence means nothing', async () => {
    const stage = plainStage({}, { heartbeat });
    await stage.connect();
    stage.network.set({ blackHole: 'both' });
    await stage.clock.advance(600_000);
    expect(stage.seen.statuses.at(-1)).toBe('connected');
    expect(stage.last.heard).toEqual([]);
  });

  test('are asked for with ping, and a server that gives none is left', async () => {
    const stage = plainStage(
      {
        ping: () => '{"op":"ping"}',
        answer: (_, link) => link.say({ pong: true }),
      },
      { heartbeat },
    );
    await stage.connect();
    await stage.clock.advance(10_000);
    expect(stage.last.heard.length).toBeGreaterThan(5);
    expect(stage.last.heard[0]).toEqual({ op: 'ping' });
    expect(stage.seen.statuses.at(-1)).toBe('connected');
    stage.network.set({ blackHole: 'both' });
    await stage.clock.advance(1_600);
    expect(stage.client.state).toMatchObject({
      status: 'reconnecting',
      error: { code: 'HEARTBEAT_TIMEOUT' },
    });
  });

  test('are whatever comes, also what decode ignores; ping may ask nothing and only listen', async () => {
    const stage = plainStage({ ping: () => [], decode: () => null }, { heartbeat });
    await stage.connect();
    for (let n = 0; n < 10; n++) {
      stage.last.write('tick');
      await stage.clock.advance(900);
    }
    expect(stage.seen.statuses.at(-1)).toBe('connected');
    await stage.clock.advance(700);
    expect(stage.client.state.error?.code).toBe('HEARTBEAT_TIMEOUT');
  });

  test('are given where the server asks for them, once, also before its welcome', async () => {
    const pong = (data: string | Uint8Array) => String(data).replace('ping', 'pong');
    const stage = plainStage({ ready: true, pong });
    await stage.connect();
    stage.last.say({ ping: true, nonce: 1 });
    await stage.clock.advance(0);
    stage.last.say({ ready: true });
    stage.last.say({ ping: true, nonce: 2 });
    await stage.clock.advance(0);
    expect(stage.last.heard).toEqual([
      { pong: true, nonce: 1 },
      { pong: true, nonce: 2 },
    ]);
  });
});

describe('functions of the application that throw', () => {
  const oops = (): never => {
    throw new TypeError(TOKEN);
  };

  test.each([
    ['onOpen', () => oops()],
    ['onOpen, later', async () => oops()],
  ])('%s: the attempt fails, with backoff', async (_, onOpen) => {
    const stage = plainStage({ onOpen, ready: true });
    await stage.connect();
    expect(stage.client.state).toMatchObject({
      status: 'reconnecting',
      error: { code: 'LISTENER_FAILED', message: 'onOpen of the protocol threw TypeError.' },
    });
    await stage.clock.advance(60_000);
    expect(stage.links.length).toBeLessThan(30);
  });

  test('onOpen, with an error of its own choice: that counts', async () => {
    const onOpen = () => {
      throw new HoldfastError('UNAUTHORIZED', 'There is no key.');
    };
    const stage = plainStage({ onOpen });
    await stage.connect();
    expect(stage.client.state).toMatchObject({ status: 'closed', error: { code: 'UNAUTHORIZED' } });
  });

  test('encode: the room is refused, the rest goes on and is reported', async () => {
    const stage = plainStage({
      encode: (frame) =>
        frame.kind === 'leave' || (frame.kind === 'join' && frame.room === 'bad')
          ? oops()
          : JSON.stringify(frame),
    });
    const bad = stage.client.room('bad').join();
    bad.catch(() => {});
    const good = stage.client.room('good');
    const isJoined = good.join();
    await stage.connect();
    await isJoined;
    await expect(bad).rejects.toMatchObject({ code: 'LISTENER_FAILED' });
    good.leave();
    await stage.clock.advance(0);
    expect(stage.seen.errors).toMatchObject([{ code: 'LISTENER_FAILED' }]);
    expect(stage.client.state.status).toBe('connected');
    expect(JSON.stringify(stage.seen.errors.map(String))).not.toContain(TOKEN);
  });

  test('ping and pong: reported, and the link stays', async () => {
    const stage = plainStage({ ping: oops, pong: oops }, { heartbeat: { interval: 1_000 } });
    await stage.connect();
    stage.last.say({ ping: true });
    await stage.clock.advance(1_000);
    expect(stage.seen.errors).toMatchObject([
      { message: 'pong of the protocol threw TypeError.' },
      { message: 'ping of the protocol threw TypeError.' },
    ]);
    expect(stage.client.state.status).toBe('connected');
  });
});

describe('a trace', () => {
  test('E41 holds no credentials: not of the opening, and not of a renewal', async () => {
    const stage = plainStage(
      {
        ready: true,
        onOpen: ({ send, auth }) => send(JSON.stringify({ kind: 'login', auth })),
        answer: ({ kind }, link) => kind === 'login' && link.say({ ready: true, expiresIn: 5_000 }),
      },
      { auth: () => ({ token: TOKEN }) },
    );
    const traces: unknown[] = [];
    stage.client.onTrace((entry) => traces.push(entry));
    await stage.connect();
    await stage.clock.advance(5_000);
    expect(JSON.stringify(stage.last.heard)).toContain(TOKEN);
    expect(stage.last.heard).toHaveLength(2);
    const text = JSON.stringify(traces);
    expect(text).toContain('"kind":"auth"');
    expect(text).not.toContain(TOKEN);
  });
});

test('plain() says its name and subprotocols, and does nothing else', () => {
  const dialect = plain({ name: 'ticker', subprotocols: ['ticks.v2'] });
  expect(dialect).toMatchObject({ name: 'ticker', subprotocols: ['ticks.v2'] });
  expect(plain()).toMatchObject({ name: 'plain', subprotocols: [] });
  expect(dialect.codec.payload('x')).toBeUndefined();
});
