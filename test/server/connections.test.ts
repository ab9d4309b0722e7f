import { failure, forbidden, tokenExpired, unauthorized } from 'holdfast/server';
import { describe, expect, test, vi } from 'vitest';
import * as z from 'zod';
import { FakeClient, hubOf, world } from './harness.js';

describe('greeting', () => {
  test('a connection without a hello is closed at its deadline, with a reason', async () => {
    const w = world();
    const hub = hubOf(w, { limits: { helloTimeout: 2_000 } });
    const client = new FakeClient(hub, w);
    await client.send('{"kind":"ping"}');
    expect(client.all('pong')).toHaveLength(1);

    await w.clock.advance(3_000);

    expect(client.closed).toEqual({ code: 1002, reason: 'No `hello` within 2000 ms.' });
    expect(client.last('error')?.error.code).toBe('PROTOCOL_ERROR');
    expect(hub.metrics().refused).toEqual({ PROTOCOL_ERROR: 1 });
  });

  test.each([
    ['another version', { kind: 'hello', protocol: 2 }, /holdfast\/1, the client holdfast\/2/],
    ['a malformed hello', { kind: 'hello', protocol: 1 }, /not a valid `hello`/],
    ['another frame', { kind: 'leave', rooms: ['a'] }, /`leave` before `hello`/],
    ['no frame at all', 'GET / HTTP/1.1', /not JSON/],
  ])('%s instead of a hello is refused clearly', async (_, frame, why) => {
    const w = world();
    const client = new FakeClient(hubOf(w), w);
    await client.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
    expect(client.closed).toMatchObject({ code: 1002, reason: expect.stringMatching(why) });
  });

  test('a second hello is refused', async () => {
    const w = world();
    const client = new FakeClient(hubOf(w), w);
    await client.hello();
    await client.hello();
    expect(client.closed).toMatchObject({ code: 1002 });
  });

  test('what comes between hello and welcome waits for it', async () => {
    const w = world();
    const hub = hubOf(w, {
      authenticate: async () => ({ user: 'ada' }),
      handlers: { 'x:do': () => 1 },
    });
    const client = new FakeClient(hub, w);
    void client.hello();
    await client.request('r1', 'x:do');
    expect(client.frames[0]?.kind).toBe('welcome');
    expect(client.response('r1')).toMatchObject({ success: true });
  });

  test('garbage on a welcomed connection is dropped and counted', async () => {
    const w = world();
    const hub = hubOf(w);
    const client = new FakeClient(hub, w);
    await client.hello();
    const deep = `${'['.repeat(10_000)}${']'.repeat(10_000)}`;
    await client.send('nonsense', 'null', '[]', deep, { kind: 'constructor' } as never);
    await client.send('{"kind":"join","rooms":[{"room":"a"}],"__proto__":{"polluted":1}}');

    expect(hub.metrics().garbled).toBe(5);
    expect(client.verdicts('a')).toHaveLength(1);
    expect(client.closed).toBeUndefined();
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
  });

  test('welcome tells complete terms', async () => {
    const w = world();
    const hub = hubOf(w, {
      heartbeat: { interval: 10_000, timeout: 2_000 },
      retrySpread: 20_000,
      limits: { maxMessageSize: 1_000, messagesPerSecond: 10, roomsPerConnection: 7 },
      authenticate: () => ({ user: 'ada', expiresIn: 60_000 }),
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    expect(client.last('welcome')?.terms).toEqual({
      heartbeat: { interval: 10_000, timeout: 2_000 },
      maxMessageSize: 1_000,
      messagesPerSecond: 10,
      maxRooms: 7,
      replayWindow: 120_000,
      requestWindow: 600_000,
      retrySpread: 20_000,
      authExpiresIn: 60_000,
    });
  });
});

describe('authenticating', () => {
  test.each([
    ['unauthorized()', () => unauthorized('No such user.'), 'UNAUTHORIZED', 4403],
    ['tokenExpired()', () => tokenExpired(), 'TOKEN_EXPIRED', 4401],
    ['forbidden()', () => forbidden(), 'FORBIDDEN', 4403],
    ["a failure of one's own", () => failure('BANNED', 'Banned.'), 'BANNED', 4403],
    ['a retryable failure', () => failure('BUSY', 'Busy.', { retryable: true }), 'BUSY', 1011],
    ['anything else', () => new Error('secret'), 'SERVER_ERROR', 1011],
  ])('%s refuses with an error frame and a close code', async (_, error, code, closeCode) => {
    const w = world();
    const hub = hubOf(w, { authenticate: () => Promise.reject(error()) });
    const client = new FakeClient(hub, w);
    await client.hello();

    expect(client.all('welcome')).toEqual([]);
    expect(client.last('error')?.error.code).toBe(code);
    expect(client.closed).toMatchObject({ code: closeCode });
    expect(JSON.stringify(client.frames)).not.toContain('secret');
    expect(w.errors).toHaveLength(code === 'SERVER_ERROR' ? 1 : 0);
  });

  test('one that hangs is given up at its deadline, its signal aborted', async () => {
    const w = world();
    let signal: AbortSignal | undefined;
    const hub = hubOf(w, {
      limits: { helloTimeout: 3_000 },
      authenticate: (input) => {
        signal = input.signal;
        return new Promise<{ user: string }>(() => {});
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    await w.clock.advance(3_000);
    expect(client.closed).toMatchObject({ code: 1011 });
    expect(signal?.aborted).toBe(true);
  });

  test('one whose client leaves meanwhile is aborted, and serves nobody', async () => {
    const w = world();
    let signal: AbortSignal | undefined;
    const hub = hubOf(w, {
      authenticate: (input) => {
        signal = input.signal;
        return new Promise<{ user: string }>(() => {});
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    client.lose();
    await w.clock.settle();
    expect(signal?.aborted).toBe(true);
    expect(w.errors).toEqual([]);
    expect(w.clock.pending).toBe(0);
  });

  test('credentials that do not have the right shape are refused before authenticate sees them', async () => {
    const w = world();
    const authenticate = vi.fn(({ auth }: { auth: { token: string } }) => ({ user: auth.token }));
    const hub = hubOf(w, { credentials: z.object({ token: z.string() }), authenticate });
    const wrong = new FakeClient(hub, w);
    await wrong.hello({ auth: { token: 17 } });
    expect(wrong.closed).toMatchObject({ code: 4403 });
    expect(authenticate).not.toHaveBeenCalled();

    const right = new FakeClient(hub, w);
    await right.hello({ auth: { token: 'ada' } });
    expect(right.last('welcome')?.user).toBe('ada');
  });

  test('without authenticate every client is a user of its own that has no name', async () => {
    const w = world();
    const users: string[] = [];
    const hub = hubOf(w, {
      handlers: {
        'x:do': (_, { user }) => {
          users.push(user);
        },
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello({ clientId: 'client-secret' });
    await client.request('r1', 'x:do');

    expect(client.last('welcome')).not.toHaveProperty('user');
    const [user = ''] = users;
    expect(user).not.toContain('client-secret');
    await hub.publishToUser(user, 'x:y', 1);
    await w.clock.settle();
    expect(client.events('@me')).toHaveLength(1);
  });

  test('a user without a key is a mistake that is reported', async () => {
    const w = world();
    const hub = hubOf(w, { authenticate: () => ({ user: { name: 'ada' } }) });
    const client = new FakeClient(hub, w);
    await client.hello();
    expect(client.closed).toMatchObject({ code: 1011 });
    expect(String(w.errors[0]?.error)).toMatch(/userKey/);
  });
});

describe('renewing', () => {
  /** Tokens are "user:milliseconds". */
  const authenticate = ({ auth }: { auth: unknown }) => {
    const [user = '', expiresIn] = String(auth).split(':');
    if (user === 'bad') throw unauthorized();
    return { user, expiresIn: expiresIn === undefined ? undefined : Number(expiresIn) };
  };

  test('credentials that expire end the connection', async () => {
    const w = world();
    const client = new FakeClient(hubOf(w, { authenticate }), w);
    await client.hello({ auth: 'ada:10000' });
    await w.clock.advance(9_000);
    expect(client.closed).toBeUndefined();
    await w.clock.advance(1_000);
    expect(client.last('error')?.error.code).toBe('TOKEN_EXPIRED');
    expect(client.closed).toMatchObject({ code: 4401 });
  });

  test('are renewed in place', async () => {
    const w = world();
    const client = new FakeClient(hubOf(w, { authenticate }), w);
    await client.hello({ auth: 'ada:10000' });
    await w.clock.advance(8_000);
    await client.send({ kind: 'auth', auth: 'ada:20000' });
    expect(client.last('auth')).toEqual({ kind: 'auth', expiresIn: 20_000 });
    await w.clock.advance(19_000);
    expect(client.closed).toBeUndefined();
    await w.clock.advance(1_000);
    expect(client.closed).toMatchObject({ code: 4401 });
  });

  test('a refused renewal, and one for another user, leave the connection its old time', async () => {
    const w = world();
    const client = new FakeClient(hubOf(w, { authenticate }), w);
    await client.hello({ auth: 'ada:10000' });
    await client.send({ kind: 'auth', auth: 'bad' });
    await client.send({ kind: 'auth', auth: 'bob:90000' });

    expect(client.all('auth')).toMatchObject([
      { error: { code: 'UNAUTHORIZED' } },
      { error: { code: 'UNAUTHORIZED', message: expect.stringMatching(/another user/) } },
    ]);
    await w.clock.advance(9_000);
    expect(client.closed).toBeUndefined();
    await w.clock.advance(1_000);
    expect(client.closed).toMatchObject({ code: 4401 });
  });

  test('the newest of several at once counts, and later requests have the renewed user', async () => {
    const w = world();
    const asked: unknown[] = [];
    const users: unknown[] = [];
    const hub = hubOf(w, {
      authenticate: async ({ auth }) => {
        asked.push(auth);
        return { user: { id: 'ada', role: String(auth) } };
      },
      handlers: {
        'x:do': (_, { user }) => {
          users.push(user.role);
        },
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello({ auth: 'guest' });
    await client.send(
      { kind: 'auth', auth: 'one' },
      { kind: 'auth', auth: 'two' },
      { kind: 'auth', auth: 'admin' },
    );
    await client.request('r1', 'x:do');
    expect(asked).toEqual(['guest', 'one', 'admin']);
    expect(users).toEqual(['admin']);
  });
});

describe('limits', () => {
  test('clients of one user are counted, not their links', async () => {
    const w = world();
    const hub = hubOf(w, {
      limits: { connectionsPerUser: 2 },
      authenticate: ({ auth }) => ({ user: String(auth) }),
    });
    const clients = ['c1', 'c2', 'c3', 'c1'].map((clientId, index) => ({
      clientId,
      link: index + 1,
      client: new FakeClient(hub, w),
    }));
    for (const { client, clientId, link } of clients) {
      await client.hello({ clientId, link, auth: 'ada' });
    }
    const [one, two, three, again] = clients.map(({ client }) => client);

    expect(three?.last('error')?.error.code).toBe('TOO_MANY_CONNECTIONS');
    expect(three?.closed).toMatchObject({ code: 4408 });
    expect(again?.last('welcome')).toBeDefined();
    expect(one?.closed).toMatchObject({ code: 4409 });

    two?.lose();
    const four = new FakeClient(hub, w);
    await four.hello({ clientId: 'c3', auth: 'ada' });
    expect(four.last('welcome')).toBeDefined();
    const bob = new FakeClient(hub, w);
    await bob.hello({ clientId: 'c9', auth: 'bob' });
    expect(bob.last('welcome')).toBeDefined();
  });

  test('of several clients at once only as many as allowed come in', async () => {
    const w = world();
    const hub = hubOf(w, {
      limits: { connectionsPerUser: 2 },
      authenticate: async () => ({ user: 'ada' }),
    });
    const clients = [1, 2, 3, 4].map(() => new FakeClient(hub, w));
    await Promise.all(clients.map((client, n) => client.hello({ clientId: `c${n}` })));
    expect(clients.filter((client) => client.last('welcome'))).toHaveLength(2);
    expect(hub.metrics().connections).toBe(2);
  });

  test('a frame that is too large is refused with 1009', async () => {
    const w = world();
    const hub = hubOf(w, { limits: { maxMessageSize: 1_000 } });
    const client = new FakeClient(hub, w);
    await client.hello();
    await client.request('r1', 'x:do', { payload: 'é'.repeat(600) });
    expect(client.closed).toMatchObject({ code: 1009 });
  });

  test('requests over the rate are told when to come again, none overtakes, and then they run', async () => {
    const w = world();
    const ran: string[] = [];
    const hub = hubOf(w, {
      limits: { messagesPerSecond: 10 },
      handlers: {
        'x:do': (_, { requestId }) => {
          ran.push(requestId);
        },
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    for (let n = 0; n < 30; n++) await client.request(`r${n}`, 'x:do');
    expect(ran).toHaveLength(19);
    const refused = client.response('r19');
    expect(refused).toMatchObject({ error: { code: 'RATE_LIMITED', retryable: true } });
    const wait = refused?.success === false ? (refused.error.retryAfter ?? 0) : 0;
    expect(wait).toBeGreaterThanOrEqual(1_000);

    await w.clock.advance(wait - 1);
    await client.request('r29', 'x:do');
    expect(ran).toHaveLength(19);
    await w.clock.advance(2_000);
    for (let n = 19; n < 30; n++) await client.request(`r${n}`, 'x:do');
    expect(ran).toEqual(Array.from({ length: 30 }, (_, n) => `r${n}`));
    expect(client.closed).toBeUndefined();
  });

  test('messages over the rate are dropped and counted, and who never stops is closed', async () => {
    const w = world();
    const heard = vi.fn();
    const hub = hubOf(w, { limits: { messagesPerSecond: 10 }, onMessage: { 'x:y': heard } });
    const client = new FakeClient(hub, w);
    await client.hello();
    const message = { kind: 'message', type: 'x:y', timestamp: 1 } as const;
    for (let n = 0; n < 100; n++) await client.send(message);
    expect(heard).toHaveBeenCalledTimes(19);
    expect(hub.metrics().messagesDropped).toBe(81);
    expect(client.closed).toBeUndefined();
    for (let n = 0; n < 100; n++) await client.send(message);
    expect(client.closed).toMatchObject({ code: 4429 });
    expect(client.last('error')?.error.retryAfter).toBeGreaterThan(0);
  });

  test('requests that wait are bounded, and those known already are not refused', async () => {
    const w = world();
    const hub = hubOf(w, {
      limits: { pendingRequests: 3 },
      handlers: { 'x:do': () => new Promise(() => {}) },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    for (let n = 0; n < 4; n++) await client.request(`r${n}`, 'x:do');
    await client.request('r1', 'x:do');
    expect(client.all('response')).toMatchObject([
      { requestId: 'r3', error: { code: 'RATE_LIMITED', retryable: true } },
    ]);
  });
});

describe('liveness', () => {
  test('silence is asked about once, and a client that answers stays', async () => {
    const w = world();
    const hub = hubOf(w);
    const client = new FakeClient(hub, w);
    await client.hello();
    for (let n = 0; n < 5; n++) {
      await w.clock.advance(26_000);
      expect(client.all('ping')).toHaveLength(n + 1);
      await client.send('{"kind":"pong"}');
    }
    expect(client.closed).toBeUndefined();
  });

  test('a client that is gone is noticed within interval + timeout and a tenth', async () => {
    const w = world();
    const hub = hubOf(w);
    const client = new FakeClient(hub, w);
    await client.hello();
    const start = w.clock.now();
    await w.clock.advance(25_000);
    expect(client.all('ping').length).toBeLessThanOrEqual(1);
    await w.clock.advance(4_000);
    expect(client.closed).toBeUndefined();
    await w.clock.advance(4_000);
    expect(client.closed).toBe('terminated');
    expect(w.clock.now() - start).toBeLessThanOrEqual(33_000);
    expect(hub.metrics()).toMatchObject({ connections: 0, timedOut: 1 });
    expect(w.clock.pending).toBe(0);
  });

  test('anything that arrives proves life: a busy client is never asked', async () => {
    const w = world();
    const client = new FakeClient(hubOf(w), w);
    await client.hello();
    for (let n = 0; n < 60; n++) {
      await client.send({ kind: 'message', type: 'x:y', timestamp: 1 });
      await w.clock.advance(3_000);
    }
    expect(client.all('ping')).toEqual([]);
  });

  test('E13 a slow upload is not death: bytes of a frame that is not whole yet prove life', async () => {
    const w = world();
    const client = new FakeClient(hubOf(w), w);
    await client.hello();
    for (let n = 0; n < 60; n++) {
      client.progress();
      await w.clock.advance(2_000);
    }
    expect(client.closed).toBeUndefined();
    expect(client.all('ping')).toEqual([]);
  });

  test('a ping is answered, whatever its spacing', async () => {
    const w = world();
    const client = new FakeClient(hubOf(w), w);
    await client.hello();
    await client.send('{"kind":"ping"}', '{ "kind": "ping" }');
    expect(client.all('pong')).toHaveLength(2);
  });

  test('a peer that does not answer a close is cut off', async () => {
    const w = world();
    const client = new FakeClient(hubOf(w), w);
    client.answersClose = false;
    await client.hello();
    await client.hello();
    expect(client.closed).toMatchObject({ code: 1002 });
    await w.clock.advance(7_000);
    expect(w.clock.pending).toBe(0);
  });

  test('one timer serves all connections', async () => {
    const w = world();
    const hub = hubOf(w);
    for (let n = 0; n < 100; n++) {
      await new FakeClient(hub, w).hello({ clientId: `c${n}` });
    }
    expect(w.clock.pending).toBe(1);
  });
});

describe('fencing', () => {
  test('the newest link is served; an older one is closed once the newer is welcomed', async () => {
    const w = world();
    const answers: (() => void)[] = [];
    const hub = hubOf(w, {
      authenticate: () =>
        new Promise<{ user: string }>((resolve) => {
          answers.push(() => resolve({ user: 'ada' }));
        }),
    });
    const first = new FakeClient(hub, w);
    await first.hello({ link: 1 });
    answers[0]?.();
    await w.clock.settle();
    const second = new FakeClient(hub, w);
    await second.hello({ link: 2 });
    expect(first.closed).toBeUndefined();
    answers[1]?.();
    await w.clock.settle();
    expect(second.last('welcome')).toBeDefined();
    expect(first.closed).toMatchObject({ code: 4409 });
    expect(hub.metrics().connections).toBe(1);
  });

  test('a hello with a lower link is refused, also when the newer one is gone', async () => {
    const w = world();
    const hub = hubOf(w);
    const newer = new FakeClient(hub, w);
    await newer.hello({ link: 5 });
    const late = new FakeClient(hub, w);
    await late.hello({ link: 4 });
    expect(late.closed).toMatchObject({ code: 4409 });
    expect(newer.closed).toBeUndefined();
    newer.lose();
    const later = new FakeClient(hub, w);
    await later.hello({ link: 3 });
    expect(later.closed).toMatchObject({ code: 4409 });
  });

  test('two hellos at once leave the higher link served, whoever is authenticated first', async () => {
    const w = world();
    const answers: (() => void)[] = [];
    const hub = hubOf(w, {
      authenticate: () =>
        new Promise<{ user: string }>((resolve) => {
          answers.push(() => resolve({ user: 'ada' }));
        }),
    });
    const older = new FakeClient(hub, w);
    const newer = new FakeClient(hub, w);
    await older.hello({ link: 1 });
    await newer.hello({ link: 2 });
    answers[1]?.();
    await w.clock.settle();
    answers[0]?.();
    await w.clock.settle();
    expect(newer.closed).toBeUndefined();
    expect(older.closed).toMatchObject({ code: 4409 });
    expect(older.all('welcome')).toEqual([]);
  });

  test('the end of an old link does not touch the new one', async () => {
    const w = world();
    const hub = hubOf(w);
    const first = new FakeClient(hub, w);
    first.answersClose = false;
    await first.hello({ link: 1, rooms: [{ room: 'a' }] });
    const second = new FakeClient(hub, w);
    await second.hello({ link: 2, rooms: [{ room: 'a' }] });
    first.lose();
    await hub.publish('a', 'x:y', 1);
    await w.clock.settle();
    expect(second.events('a')).toHaveLength(1);
    expect(hub.metrics()).toMatchObject({ connections: 1, rooms: 2 });
  });
});
