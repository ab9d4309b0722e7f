import { failure, forbidden, type RequestContext } from 'holdfast/server';
import { describe, expect, test, vi } from 'vitest';
import * as z from 'zod';
import { defineContract } from '../../src/protocol/contract.js';
import { FakeClient, hubOf, world } from './harness.js';
import { journals } from './journal-table.js';

/** A promise that the test settles. */
function gate<T = void>() {
  let open: (value: T) => void = () => {};
  let fail: (error: unknown) => void = () => {};
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}

describe('running', () => {
  test('a request is answered with what its handler returns', async () => {
    const w = world();
    const hub = hubOf(w, { handlers: { 'sum:add': (payload) => ({ got: payload }) } });
    const client = new FakeClient(hub, w);
    await client.hello();

    await client.request('r1', 'sum:add', { payload: { a: 1 } });
    await client.request('r2', 'sum:add');

    expect(client.response('r1')).toEqual({
      kind: 'response',
      requestId: 'r1',
      success: true,
      data: { got: { a: 1 } },
    });
    expect(client.response('r2')).toMatchObject({ success: true });
    expect(hub.metrics()).toMatchObject({ requestsRun: 2, requestsFailed: 0 });
  });

  test('requests of one room run one after another, other lines go on beside them', async () => {
    const w = world();
    const gates = new Map<string, ReturnType<typeof gate<void>>>();
    const started: string[] = [];
    const hub = hubOf(w, {
      handlers: {
        'x:do': async (_, { requestId }) => {
          started.push(requestId);
          const held = gate();
          gates.set(requestId, held);
          await held.promise;
        },
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    await client.request('a1', 'x:do', { room: 'a' });
    await client.request('a2', 'x:do', { room: 'a' });
    await client.request('b1', 'x:do', { room: 'b' });
    await client.request('n1', 'x:do');
    await client.request('n2', 'x:do');
    expect(started).toEqual(['a1', 'b1', 'n1']);

    gates.get('a1')?.open();
    await w.clock.settle();
    expect(started).toEqual(['a1', 'b1', 'n1', 'a2']);
  });

  test('what it publishes is there with its response, before it', async () => {
    const w = world();
    const hub = hubOf(w, {
      authenticate: () => ({ user: 'ada' }),
      handlers: {
        'message:send': (payload, { publish, publishToUser, room, user }) => {
          publish(room, 'message:new', payload);
          publishToUser(user, 'message:sent', payload);
          return 'done';
        },
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'a' }] });

    await client.request('r1', 'message:send', { payload: 'hi', room: 'a' });

    expect(client.events('a')).toMatchObject([{ type: 'message:new', payload: 'hi', seq: 1 }]);
    expect(client.events('@me')).toMatchObject([{ type: 'message:sent', payload: 'hi' }]);
    expect(client.response('r1')).toMatchObject({ success: true, data: 'done' });
  });

  test('nothing is published by a handler that fails, or that publishes after its outcome', async () => {
    const w = world();
    let late: RequestContext<never, string> | undefined;
    const hub = hubOf(w, {
      handlers: {
        'x:fail': (_, context) => {
          context.publish('a', 'x:y', 1);
          throw forbidden('No.');
        },
        'x:late': (_, context) => {
          late = context;
          return 1;
        },
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'a' }] });
    await client.request('r1', 'x:fail');
    await client.request('r2', 'x:late');

    expect(() => late?.publish('a', 'x:y' as never, 1 as never)).toThrow(/has its outcome already/);
    await w.clock.settle();
    expect(client.events('a')).toEqual([]);
    expect(client.response('r1')).toMatchObject({ error: { code: 'FORBIDDEN', message: 'No.' } });
  });

  test("a request without a room has the user's own room as its room", async () => {
    const w = world();
    const hub = hubOf(w, {
      handlers: { 'x:do': (_, { publish, room }) => publish(room, 'x:y', room) },
    });
    const client = new FakeClient(hub, w);
    const other = new FakeClient(hub, w);
    await client.hello();
    await other.hello({ clientId: 'c2' });

    await client.request('r1', 'x:do');

    expect(client.events('@me')).toMatchObject([{ payload: '@me' }]);
    expect(other.events('@me')).toEqual([]);
  });

  test('the context tells who asks, and never the clientId', async () => {
    const w = world();
    const seen: RequestContext<never, { id: string }>[] = [];
    const hub = hubOf(w, {
      authenticate: () => ({ user: { id: 'ada' } }),
      handlers: {
        'x:do': (_, context) => {
          seen.push(context);
        },
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello({ clientId: 'client-secret' });
    await client.request('r1', 'x:do');
    await client.request('r2', 'x:do');

    const [first, second] = seen;
    expect(first?.user).toEqual({ id: 'ada' });
    expect(first?.connection).toEqual({
      id: client.last('welcome')?.connectionId,
      transport: 'memory',
    });
    expect(first?.requestKey).toMatch(/^[\w-]{32}$/);
    expect(first?.requestKey).not.toBe(second?.requestKey);
    expect(first?.signal.aborted).toBe(false);
    expect(JSON.stringify(seen)).not.toContain('client-secret');
  });
});

describe('checking', () => {
  const contract = defineContract({
    requests: {
      'message:send': {
        payload: z.object({ text: z.string().max(5) }),
        data: z.object({ id: z.number() }),
      },
    },
    events: { 'message:new': z.object({ text: z.string() }) },
  });

  test('an unknown type, an invalid payload and a forbidden room are refused, and nothing runs', async () => {
    const w = world();
    const run = vi.fn(() => ({ id: 1 }));
    const hub = hubOf(w, {
      contract,
      authorizeRoom: ({ room, action, type }) =>
        !(room === 'secret' && action === 'request' && type === 'message:send'),
      handlers: { 'message:send': run },
    });
    const client = new FakeClient(hub, w);
    await client.hello();

    await client.request('r1', 'nothing:here');
    await client.request('r2', 'message:send', { payload: { text: 'much too long' } });
    await client.request('r3', 'message:send', { payload: { text: 'hi' }, room: 'secret' });
    await client.request('r4', 'message:send', { payload: { text: 'hi' }, room: '@you' });
    await client.request('r5', 'constructor');

    expect(client.response('r1')).toMatchObject({ error: { code: 'UNKNOWN_TYPE' } });
    expect(client.response('r2')).toMatchObject({
      error: { code: 'INVALID_PAYLOAD', details: { issues: [{ path: 'text' }] } },
    });
    expect(JSON.stringify(client.response('r2'))).not.toContain('much too long');
    expect(client.response('r3')).toMatchObject({ error: { code: 'FORBIDDEN' } });
    expect(client.response('r4')).toMatchObject({ error: { code: 'FORBIDDEN' } });
    expect(client.response('r5')).toMatchObject({ error: { code: 'UNKNOWN_TYPE' } });
    expect(run).not.toHaveBeenCalled();

    // A refusal is not remembered: what was wrong may be mended.
    await client.request('r2', 'message:send', { payload: { text: 'ok' } });
    expect(run).toHaveBeenCalledTimes(1);
  });

  test('a malformed request frame is answered where it has an id', async () => {
    const w = world();
    const hub = hubOf(w);
    const client = new FakeClient(hub, w);
    await client.hello();
    await client.send({ kind: 'request', requestId: 'r1', type: '', timestamp: 1 });
    expect(client.response('r1')).toMatchObject({ error: { code: 'INVALID_PAYLOAD' } });
    expect(hub.metrics().garbled).toBe(1);
  });

  test("a response or an event that does not fit is the server's error, not the client's", async () => {
    const w = world();
    const hub = hubOf(w, {
      contract,
      handlers: {
        'message:send': ({ text }, { publish }) => {
          if (text === 'event') publish('a', 'message:new', { text: 1 as never });
          return { id: 'wrong' as never };
        },
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    await client.request('r1', 'message:send', { payload: { text: 'event' } });
    await client.request('r2', 'message:send', { payload: { text: 'data' } });

    expect(client.response('r1')).toMatchObject({ error: { code: 'SERVER_ERROR' } });
    expect(client.response('r2')).toMatchObject({ error: { code: 'SERVER_ERROR' } });
    expect(w.errors.map(({ about }) => about)).toEqual([
      'the handler of "message:send"',
      'the handler of "message:send"',
    ]);
    await expect(hub.publish('a', 'message:new', {} as never)).rejects.toMatchObject({
      code: 'INVALID_PAYLOAD',
    });
    await expect(hub.publish('a', 'other:new' as never, {} as never)).rejects.toMatchObject({
      code: 'UNKNOWN_TYPE',
    });
  });

  test('a hub without a handler for each request of its contract does not start', () => {
    const w = world();
    expect(() => hubOf(w, { contract })).toThrow(/No handler for the request "message:send"/);
    expect(() =>
      hubOf(w, {
        contract,
        handlers: { 'message:send': () => ({ id: 1 }), 'x:y': () => 1 } as never,
      }),
    ).toThrow(/answers no request/);
    expect(() => hubOf(w, { limits: { handlerTimeout: 0 } })).toThrow(/limits.handlerTimeout/);
  });
});

describe('failing', () => {
  test('a deliberate failure reaches the client as it is; anything else without its message', async () => {
    const w = world();
    const hub = hubOf(w, {
      handlers: {
        'x:deny': () => {
          throw failure('OUT_OF_STOCK', 'None left.', { details: { left: 0 } });
        },
        'x:bug': () => Promise.reject(new Error('password is hunter2')),
        'x:bigint': () => 1n,
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    await client.request('r1', 'x:deny');
    await client.request('r2', 'x:bug');
    await client.request('r3', 'x:bigint');

    expect(client.response('r1')).toMatchObject({
      error: {
        code: 'OUT_OF_STOCK',
        message: 'None left.',
        details: { left: 0 },
        retryable: false,
      },
    });
    expect(client.response('r2')).toMatchObject({
      error: { code: 'SERVER_ERROR', retryable: false },
    });
    expect(client.response('r3')).toMatchObject({ error: { code: 'SERVER_ERROR' } });
    expect(JSON.stringify(client.frames)).not.toContain('hunter2');
    expect(w.errors).toHaveLength(2);
  });

  test('a failure that promises that nothing happened releases its claim, any other is remembered', async () => {
    const w = world();
    let runs = 0;
    const hub = hubOf(w, {
      handlers: {
        'x:busy': () => {
          if (++runs < 3) throw failure('BUSY', 'Later.', { retryable: true, retryAfter: 50 });
          return 'at last';
        },
        'x:bug': () => {
          runs++;
          throw new Error('bug');
        },
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    for (let n = 0; n < 3; n++) await client.request('r1', 'x:busy');
    expect(client.all('response')).toMatchObject([
      { error: { code: 'BUSY', retryable: true, retryAfter: 50 } },
      { error: { code: 'BUSY' } },
      { success: true, data: 'at last' },
    ]);

    runs = 0;
    for (let n = 0; n < 3; n++) await client.request('r2', 'x:bug');
    expect(runs).toBe(1);
  });

  test('a handler that takes too long has an unknown outcome, its signal is aborted, and the line moves on', async () => {
    const w = world();
    const held = gate<string>();
    let signal: AbortSignal | undefined;
    const hub = hubOf(w, {
      limits: { handlerTimeout: 1_000 },
      handlers: {
        'x:slow': (_, context) => {
          signal = context.signal;
          context.publish('a', 'x:y', 1);
          return held.promise;
        },
        'x:quick': () => 'quick',
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'a' }] });
    await client.request('r1', 'x:slow');
    await client.request('r2', 'x:quick');
    expect(client.response('r2')).toBeUndefined();

    await w.clock.advance(1_000);
    held.open('too late');
    await w.clock.settle();
    await client.request('r1', 'x:slow');

    const answers = client.all('response').filter((frame) => frame.requestId === 'r1');
    expect(answers).toHaveLength(2);
    for (const answer of answers) {
      expect(answer).toMatchObject({
        error: { code: 'OUTCOME_UNKNOWN', details: { reason: 'timeout' } },
      });
    }
    expect(signal?.aborted).toBe(true);
    expect(client.response('r2')).toMatchObject({ data: 'quick' });
    expect(client.events('a')).toEqual([]);
  });
});

describe('repeating', () => {
  test('a repeat is answered from memory', async () => {
    const w = world();
    let runs = 0;
    const hub = hubOf(w, { handlers: { 'x:do': () => ++runs } });
    const client = new FakeClient(hub, w);
    await client.hello();
    await client.request('r1', 'x:do');
    await client.request('r1', 'x:do');
    client.lose();
    const next = new FakeClient(hub, w);
    await next.hello({ link: 2 });
    await next.request('r1', 'x:do');

    expect(runs).toBe(1);
    expect(client.all('response')).toMatchObject([{ data: 1 }, { data: 1 }]);
    expect(next.response('r1')).toMatchObject({ data: 1 });
    expect(next.last('welcome')?.session).toBe(client.last('welcome')?.session);
    expect(hub.metrics()).toMatchObject({ requestsRun: 1, requestsReplayed: 2 });
  });

  test('a repeat of a running request waits for it, and the newest link gets the answer', async () => {
    const w = world();
    const held = gate<string>();
    let runs = 0;
    const hub = hubOf(w, {
      handlers: {
        'x:do': () => {
          runs++;
          return held.promise;
        },
      },
    });
    const first = new FakeClient(hub, w);
    await first.hello();
    await first.request('r1', 'x:do');
    await first.request('r1', 'x:do');
    first.lose();
    const second = new FakeClient(hub, w);
    await second.hello({ link: 2 });
    await second.request('r1', 'x:do');

    held.open('once');
    await w.clock.settle();

    expect(runs).toBe(1);
    expect(first.all('response')).toEqual([]);
    expect(second.all('response')).toMatchObject([{ requestId: 'r1', data: 'once' }]);
  });

  test('what waited on an older link runs once, in order, when the newer link repeats it', async () => {
    const w = world();
    const order: string[] = [];
    const held = gate();
    const hub = hubOf(w, {
      handlers: {
        'x:do': async (_, { requestId }) => {
          order.push(requestId);
          if (requestId === 'r1') await held.promise;
        },
      },
    });
    const first = new FakeClient(hub, w);
    await first.hello();
    for (const id of ['r1', 'r2', 'r3']) await first.request(id, 'x:do');
    const second = new FakeClient(hub, w);
    await second.hello({ link: 2 });
    await second.request('r1', 'x:do');
    await second.request('r2', 'x:do');
    held.open();
    await w.clock.settle();
    await second.request('r3', 'x:do');
    await second.request('r4', 'x:do');

    expect(order).toEqual(['r1', 'r2', 'r3', 'r4']);
    expect(second.all('response').map((frame) => frame.requestId)).toEqual(order);
  });

  test('what waited on an older link and is not repeated does not run', async () => {
    const w = world();
    const order: string[] = [];
    const held = gate();
    const hub = hubOf(w, {
      handlers: {
        'x:do': async (_, { requestId }) => {
          order.push(requestId);
          await held.promise;
        },
      },
    });
    const first = new FakeClient(hub, w);
    await first.hello();
    await first.request('r1', 'x:do');
    await first.request('r2', 'x:do');
    const second = new FakeClient(hub, w);
    await second.hello({ link: 2 });
    held.open();
    await w.clock.settle();
    expect(order).toEqual(['r1']);
  });

  test('requests of two users or two clients with one requestId are two requests', async () => {
    const w = world();
    let runs = 0;
    const hub = hubOf(w, {
      authenticate: ({ auth }) => ({ user: String(auth) }),
      handlers: { 'x:do': () => ++runs },
    });
    for (const [auth, clientId] of [
      ['ada', 'c1'],
      ['bob', 'c1'],
      ['ada', 'c2'],
    ]) {
      const client = new FakeClient(hub, w);
      await client.hello({ auth, clientId });
      await client.request('r1', 'x:do');
    }
    expect(runs).toBe(3);
  });

  test('drop every second response: 500 requests have 500 effects and 500 results, in order', async () => {
    const w = world();
    const effects: number[] = [];
    const hub = hubOf(w, {
      limits: { messagesPerSecond: 100_000 },
      handlers: { 'x:do': (payload) => effects.push(Number(payload)) },
    });
    const results: number[] = [];
    let link = 1;
    let client = new FakeClient(hub, w);
    await client.hello({ link });
    for (let n = 0; n < 500; n++) {
      await client.request(`r${n}`, 'x:do', { payload: n });
      if (n % 2 === 1) {
        // The response was lost with its link.
        client.lose();
        client = new FakeClient(hub, w);
        await client.hello({ link: ++link });
        await client.request(`r${n}`, 'x:do', { payload: n });
      }
      const response = client.response(`r${n}`);
      if (response?.success === true) results.push(Number(response.data));
    }
    expect(effects).toEqual(Array.from({ length: 500 }, (_, n) => n));
    expect(results).toEqual(Array.from({ length: 500 }, (_, n) => n + 1));
  });
});

describe.each(journals)('forgetting by the $name journal', ({ create }) => {
  test('the session changes when the request window has passed since the last link', async () => {
    const w = world();
    const hub = hubOf(w, {
      journal: create({ requestWindow: 60_000 }),
      handlers: { 'x:do': () => 1 },
    });
    const sessions: (string | undefined)[] = [];
    for (const [link, wait] of [50_000, 50_000, 80_000, 0].entries()) {
      const client = new FakeClient(hub, w);
      await client.hello({ link });
      sessions.push(client.last('welcome')?.session);
      client.lose();
      await w.clock.advance(wait);
    }
    const [first, second, third, fourth] = sessions;
    expect(second).toBe(first);
    expect(third).toBe(first);
    expect(fourth).not.toBe(first);
  });

  test('a client that stays connected keeps its session whatever it asks, at an ordinary rate', async () => {
    const w = world();
    const hub = hubOf(w, {
      journal: create({ maxRequests: 400 }),
      handlers: { 'x:do': () => 1 },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    for (let n = 0; n < 1_000; n++) {
      await client.request(`r${n}`, 'x:do');
      await w.clock.advance(1_000);
      await client.send({ kind: 'pong' });
    }
    const next = new FakeClient(hub, w);
    await next.hello({ link: 2 });
    expect(next.last('welcome')?.session).toBe(client.last('welcome')?.session);
  });

  test('above the count half is forgotten and the session is another', async () => {
    const w = world();
    let runs = 0;
    const hub = hubOf(w, {
      journal: create({ maxRequests: 10 }),
      handlers: { 'x:do': () => ++runs },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    for (let n = 0; n < 11; n++) await client.request(`r${n}`, 'x:do');
    const next = new FakeClient(hub, w);
    await next.hello({ link: 2 });
    await next.request('r10', 'x:do');

    expect(runs).toBe(11);
    expect(next.last('welcome')?.session).not.toBe(client.last('welcome')?.session);
  });

  test('above the bytes the response is forgotten, not that it ran', async () => {
    const w = world();
    let runs = 0;
    const hub = hubOf(w, {
      journal: create({ maxResponseBytes: 2_000 }),
      handlers: {
        'x:do': () => {
          runs++;
          return 'x'.repeat(900);
        },
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    for (let n = 0; n < 5; n++) await client.request(`r${n}`, 'x:do');
    const next = new FakeClient(hub, w);
    await next.hello({ link: 2 });
    await next.request('r0', 'x:do');
    await next.request('r4', 'x:do');

    expect(runs).toBe(5);
    expect(next.last('welcome')?.session).toBe(client.last('welcome')?.session);
    expect(next.response('r0')).toMatchObject({
      error: { code: 'OUTCOME_UNKNOWN', details: { reason: 'forgotten' } },
    });
    expect(next.response('r4')).toMatchObject({ success: true });
  });
});

describe('messages', () => {
  test('are heard in order within a room, checked, and never answered', async () => {
    const w = world();
    const contract = defineContract({ messages: { 'cursor:move': z.object({ x: z.number() }) } });
    const heard: unknown[] = [];
    const hub = hubOf(w, {
      contract,
      authenticate: () => ({ user: 'ada' }),
      authorizeRoom: async ({ room, action }) => {
        if (action === 'message') await Promise.resolve();
        return room !== 'secret';
      },
      onMessage: {
        'cursor:move': ({ x }, { user, room }) => {
          heard.push([x, user, room]);
          if (x === 99) throw new Error('bug');
        },
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    const before = client.frames.length;
    const message = { kind: 'message', type: 'cursor:move', timestamp: 1 } as const;
    await client.send(
      { ...message, payload: { x: 1 }, room: 'a' },
      { ...message, payload: { x: 99 }, room: 'a' },
      { ...message, payload: { x: 3 }, room: 'a' },
      { ...message, payload: { x: 4 } },
      { ...message, payload: { x: 'no' } },
      { ...message, payload: { x: 5 }, room: 'secret' },
      { ...message, payload: { x: 6 }, room: '@you' },
      { ...message, type: 'other:move', payload: { x: 7 } },
    );

    expect(heard.filter((entry) => Array.isArray(entry) && entry[2] === 'a')).toEqual([
      [1, 'ada', 'a'],
      [99, 'ada', 'a'],
      [3, 'ada', 'a'],
    ]);
    expect(heard).toContainEqual([4, 'ada', '@me']);
    expect(heard).toHaveLength(4);
    expect(hub.metrics()).toMatchObject({ messages: 4, messagesDropped: 4 });
    expect(client.frames).toHaveLength(before);
    expect(w.errors).toMatchObject([{ about: 'onMessage["cursor:move"]' }]);
  });
});
