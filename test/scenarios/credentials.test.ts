/** Credentials: asked for on every path, renewed in place, refused, taken away, and never shown. */
import { inspect } from 'node:util';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { HoldfastError } from '../../src/protocol/errors.js';
import type { ScriptedLink } from '../../src/testing/scripted-link.js';
import { type Harness, type HarnessOptions, harness } from '../client/harness.js';

const HOUR = 3_600_000;

/** One question of the client to the application. */
interface Question {
  readonly reason: string;
  readonly signal: AbortSignal;
  give(auth: unknown): void;
}

type Options = HarnessOptions & {
  /** What is answered at once, by the number of the question. @default the test answers */
  answer?: (question: number, reason: string) => unknown;
};

/** A client with a provider of credentials, over a network that takes 10 ms each way. */
function stage({ answer, reconnect, ...options }: Options = {}): Harness & { asked: Question[] } {
  const asked: Question[] = [];
  const story = harness({
    heartbeat: false,
    ...options,
    reconnect: { initialDelay: 1_000, maxDelay: 10_000, factor: 2, ...reconnect },
    auth: ({ reason, signal }) => {
      const question = asked.length + 1;
      const answered = new Promise((give) => asked.push({ reason, signal, give }));
      return answer === undefined ? answered : answer(question, reason);
    },
  });
  story.network.set({ latency: 10 });
  return { ...story, asked };
}

const numbered = (question: number) => ({ token: `token-${question}` });

async function welcomed(story: Harness, welcome?: Parameters<ScriptedLink['welcome']>[0]) {
  void story.client.connect().catch(() => {});
  await story.clock.advance(40);
  story.server.link.welcome(welcome);
  await story.clock.advance(10);
  expect(story.client.state.status).toBe('connected');
  return story.server.link;
}

const expired = { code: 'TOKEN_EXPIRED', message: 'Expired.' };

describe('a provider in trouble', () => {
  test('E38 one that throws is a failed attempt like any other, without a bound of its own', async () => {
    const story = stage({
      auto: true,
      answer: (question) => {
        if (question <= 50) throw new Error('the token endpoint is down');
        return numbered(question);
      },
      reconnect: { jitter: 'none' },
    });
    const { client, clock, asked, seen, network } = story;
    const connected = client.connect();
    await clock.settle();
    await clock.advance(30_000);
    // Waits of 1, 2, 4, 8 and 10 s.
    expect(client.state).toMatchObject({ status: 'reconnecting', reconnectAttempts: 6 });
    expect(client.state.error?.message).toMatch(/auth/);
    await clock.advance(600_000);
    await connected;
    expect(asked).toHaveLength(51);
    expect(seen.statuses).toEqual(['disconnected', 'reconnecting', 'connected']);
    expect(network.dials).toBe(1);
    client.close();
  });

  test('E38 one that hangs is given up after authTimeout, and its late answer is not used', async () => {
    const story = stage({ auto: true, authTimeout: 3_000, reconnect: { jitter: 'none' } });
    const { client, clock, asked, server } = story;
    void client.connect();
    await clock.advance(2_999);
    expect(client.state.status).toBe('connecting');
    expect(asked[0]?.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(client.state).toMatchObject({ status: 'reconnecting', reconnectAttempts: 1 });
    expect(asked[0]?.signal.aborted).toBe(true);
    asked[0]?.give('too late');
    await clock.advance(1_000);
    expect(asked).toHaveLength(2);
    expect(server.links).toHaveLength(0);
    asked[0]?.give('far too late');
    asked[1]?.give('in time');
    await clock.advance(50);
    expect(server.links.map((link) => link.hello?.auth)).toEqual(['in time']);
    client.close();
  });

  test('E38 attempts without credentials count as attempts', async () => {
    const story = stage({
      answer: () => {
        throw new Error('down');
      },
      reconnect: { maxAttempts: 3 },
    });
    const closed = expect(story.client.connect()).rejects.toThrow(/auth/);
    await story.clock.advance(60_000);
    await closed;
    expect(story.client.state.status).toBe('closed');
  });

  test('E38 a provider that throws UNAUTHORIZED closes at once', async () => {
    const story = stage({
      answer: () => {
        throw new HoldfastError('UNAUTHORIZED', 'This account is gone.');
      },
    });
    await expect(story.client.connect()).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(story.client.state.status).toBe('closed');
  });

  test('E38 credentials that cannot be encoded are a failed attempt', async () => {
    const story = stage({
      auto: true,
      answer: (question) => (question === 1 ? { token: 1n } : 'good'),
      reconnect: { jitter: 'none' },
    });
    const { client, clock, server } = story;
    void client.connect();
    await clock.advance(100);
    expect(client.state).toMatchObject({ status: 'reconnecting', reconnectAttempts: 1 });
    expect(client.state.error?.message).toMatch(/auth/);
    await clock.advance(1_000);
    expect(client.state.status).toBe('connected');
    expect(server.links.map((link) => link.hello?.auth)).toEqual(['good']);
    client.close();
  });

  test('E38 a renewal that fails is tried again later, not in a circle', async () => {
    let down = false;
    let asks = 0;
    const story = stage({
      answer: (question) => {
        asks++;
        if (down) throw new Error('the token endpoint is down');
        return numbered(question);
      },
    });
    const { client, clock, server } = story;
    const link = await welcomed(story);
    down = true;
    const answer = client.request('x:y', 1);
    answer.catch(() => {});
    // The server refuses the old token as often as it is shown.
    let refused = 0;
    for (let ms = 0; ms < 60_000; ms += 40) {
      await clock.advance(40);
      for (const request of server.link.sent('request').slice(refused)) {
        server.link.fail(request, expired);
        refused++;
      }
    }
    expect(asks).toBeGreaterThan(1);
    expect(asks).toBeLessThan(40);
    expect(refused).toBeLessThan(40);
    expect(client.state.status).not.toBe('closed');
    expect(link.hello?.auth).toEqual({ token: 'token-1' });
    client.close();
  });
});

describe('a token that is refused', () => {
  /** The ways in which a server says that a token will not do. */
  const refusals: Record<string, (link: ScriptedLink) => void> = {
    'close code': (link) => link.close(4401),
    'error frame': (link) => link.send({ kind: 'error', error: expired }),
  };

  for (const [how, refuse] of Object.entries(refusals)) {
    test(`E38 a fresh one is asked for at once, once (${how})`, async () => {
      const story = stage({ answer: numbered });
      const { client, clock, asked, server } = story;
      void client.connect().catch(() => {});
      await clock.advance(40);
      refuse(server.link);
      await clock.advance(50);
      expect(asked.map(({ reason }) => reason)).toEqual(['connect', 'expired']);
      expect(server.links).toHaveLength(2);
      expect(server.link.hello?.auth).toEqual({ token: 'token-2' });
      // A server that refuses whatever it is shown is not hammered: from here on it is a backoff.
      let refused = 1;
      for (let ms = 0; ms < 60_000; ms += 40) {
        for (const link of server.links.slice(refused)) {
          refuse(link);
          refused++;
        }
        await clock.advance(40);
      }
      expect(client.state.status).toBe('reconnecting');
      expect(server.links.length).toBeLessThan(40);
      client.close();
    });

    test(`E38 the same one refused twice closes (${how})`, async () => {
      const story = stage({ answer: () => ({ token: 'stale' }) });
      const { client, clock, asked, server } = story;
      const failed = expect(client.connect()).rejects.toMatchObject({ code: 'TOKEN_EXPIRED' });
      await clock.advance(40);
      refuse(server.link);
      await clock.advance(50);
      refuse(server.link);
      await clock.advance(60_000);
      await failed;
      expect(client.state).toMatchObject({ status: 'closed', error: { code: 'TOKEN_EXPIRED' } });
      expect(asked.map(({ reason }) => reason)).toEqual(['connect', 'expired']);
      expect(server.links).toHaveLength(2);
    });
  }

  test('E38 the same one refused twice by requests closes, and they settle', async () => {
    const story = stage({ answer: () => ({ token: 'stale' }) });
    const { client, clock, asked } = story;
    const link = await welcomed(story);
    const answer = client.request('x:y', 1);
    const settled = expect(answer).rejects.toBeInstanceOf(HoldfastError);
    await clock.advance(10);
    for (const request of link.sent('request')) link.fail(request, expired);
    await clock.advance(40);
    for (const request of link.sent('request').slice(1)) link.fail(request, expired);
    await clock.advance(40);
    await settled;
    expect(client.state).toMatchObject({ status: 'closed', error: { code: 'TOKEN_EXPIRED' } });
    expect(asked).toHaveLength(2);
  });

  test('E38 a later connect() revives a client that was closed by a refusal', async () => {
    const story = stage({ answer: (question) => (question < 3 ? 'stale' : 'fresh') });
    const { client, clock, server } = story;
    void client.connect().catch(() => {});
    for (let turn = 0; turn < 2; turn++) {
      await clock.advance(40);
      server.link.close(4401);
      await clock.advance(40);
    }
    expect(client.state.status).toBe('closed');
    const revived = client.connect();
    await clock.advance(40);
    server.link.welcome();
    await clock.advance(10);
    await revived;
    expect(server.link.hello?.auth).toBe('fresh');
    expect(client.state).toMatchObject({ status: 'connected', error: null });
    client.close();
  });

  test('E38 a permanent refusal closes with its reason, and a later connect() revives too', async () => {
    const story = stage({ answer: numbered });
    const { client, clock, server, network } = story;
    (await welcomed(story)).close(4403);
    await clock.advance(60_000);
    expect(client.state).toMatchObject({ status: 'closed', error: { code: 'UNAUTHORIZED' } });
    expect(network.dials).toBe(1);
    await welcomed(story);
    expect(server.link.hello?.auth).toEqual({ token: 'token-2' });
    client.close();
  });

  test('E38 a server that refuses every fresh token of a request is not hammered', async () => {
    const story = stage({ answer: numbered });
    const { client, clock, asked } = story;
    const link = await welcomed(story);
    client.request('x:y', 1).catch(() => {});
    let refused = 0;
    for (let ms = 0; ms < 60_000; ms += 40) {
      await clock.advance(40);
      for (const request of link.sent('request').slice(refused)) {
        link.fail(request, expired);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(1);
    expect(asked.length).toBeLessThan(60);
    client.close();
  });

  test('E38 64 late refusals of an old token close nothing, and every request is answered', async () => {
    const story = stage({ answer: numbered, limits: { messagesPerSecond: 1_000 } });
    const { client, clock, asked } = story;
    const link = await welcomed(story, { terms: { messagesPerSecond: 1_000 } });
    const answers = Array.from({ length: 64 }, (_, n) => client.request('x:y', n));
    await clock.advance(10);
    const first = link.sent('request');
    expect(first).toHaveLength(64);
    // Half of the refusals come together, before the renewal; the others straggle in after it.
    for (const request of first.slice(0, 32)) link.fail(request, expired);
    await clock.advance(40);
    expect(link.sent('auth')).toEqual([{ kind: 'auth', auth: { token: 'token-2' } }]);
    for (const request of first.slice(32)) link.fail(request, expired);
    link.send({ kind: 'auth', expiresIn: HOUR });
    await clock.advance(40);
    const again = link.sent('request').slice(64);
    expect(again).toHaveLength(64);
    for (const request of again) link.respond(request, request.payload);
    await clock.advance(10);
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 64 }, (_, n) => n));
    expect(asked.map(({ reason }) => reason)).toEqual(['connect', 'expired']);
    expect(client.state.status).toBe('connected');
    expect(client.metrics().attempts).toBe(1);
    client.close();
  });
});

describe('who asks', () => {
  test('E39 every path to a link asks for credentials again', async () => {
    const story = stage({ auto: true, answer: numbered, reconnect: { jitter: 'none' } });
    const { client, clock, network, server, signal, asked } = story;
    const shown = () => server.links.map((link) => link.hello?.auth);
    const paths: [string, () => Promise<void> | void][] = [
      ['connect()', () => void client.connect()],
      [
        'backoff',
        async () => {
          network.cut();
          await clock.advance(1_000);
        },
      ],
      [
        'wake',
        async () => {
          network.cut();
          await clock.settle();
          signal('online');
        },
      ],
      ['reconnect()', () => client.reconnect()],
      ['goodbye', () => server.link.send({ kind: 'goodbye', reason: 'restart' })],
      [
        'disconnect() and connect()',
        () => {
          client.disconnect();
          void client.connect();
        },
      ],
    ];
    for (const [index, [path, take]] of paths.entries()) {
      await take();
      await clock.advance(100);
      expect(client.state.status, path).toBe('connected');
      expect(asked, path).toHaveLength(index + 1);
      expect(shown(), path).toHaveLength(index + 1);
      expect(shown().at(-1), path).toEqual(numbered(index + 1));
    }
    client.close();
  });

  test('E39 those who ask at the same time share one call', async () => {
    const story = stage({ authTimeout: 60_000 });
    const { client, clock, asked, signal, server } = story;
    void client.connect();
    void client.connect();
    await clock.advance(0);
    signal('online');
    signal('visible');
    expect(asked).toHaveLength(1);
    asked[0]?.give('first');
    await clock.advance(40);
    server.link.welcome({ terms: { authExpiresIn: 100_000 } });
    await clock.advance(10);

    // A renewal that is due, requests that are refused and a server that leaves: all at once.
    await clock.advance(86_000);
    expect(asked).toHaveLength(2);
    const answers = [1, 2, 3].map((n) => client.request('x:y', n));
    await clock.advance(20);
    const old = server.link;
    for (const request of old.sent('request')) old.fail(request, expired);
    await clock.advance(40);
    old.send({ kind: 'goodbye', reason: 'restart' });
    await clock.advance(40);
    expect(asked).toHaveLength(2);
    asked[1]?.give('second');
    await clock.advance(50);
    expect(server.links).toHaveLength(2);
    expect(server.link.hello?.auth).toBe('second');
    server.link.welcome();
    await clock.advance(50);
    for (const request of server.link.sent('request')) server.link.respond(request, 'done');
    await clock.advance(10);
    expect(await Promise.all(answers)).toEqual(['done', 'done', 'done']);
    expect(asked).toHaveLength(2);
    client.close();
  });

  test('E39 a question that is under way when the link is lost serves the next attempt', async () => {
    const story = stage();
    const { client, clock, network, asked, server } = story;
    void client.connect();
    await clock.settle();
    asked[0]?.give('first');
    await clock.advance(40);
    server.link.welcome({ terms: { authExpiresIn: 4_000 } });
    await clock.advance(3_500);
    expect(asked).toHaveLength(2);
    network.cut();
    await clock.advance(2_000);
    expect(asked).toHaveLength(2);
    asked[1]?.give('second');
    await clock.advance(40);
    expect(server.link.hello?.auth).toBe('second');
    client.close();
  });

  test('E39 an answer that comes after disconnect() is thrown away', async () => {
    const story = stage();
    const { client, clock, network, asked, server } = story;
    const gone = expect(client.connect()).rejects.toThrow(/disconnect/);
    await clock.settle();
    client.disconnect();
    await gone;
    expect(asked[0]?.signal.aborted).toBe(true);
    asked[0]?.give('of yesterday');
    await clock.advance(HOUR);
    expect(client.state.status).toBe('disconnected');
    expect(network.dials).toBe(0);
    expect(clock.pending).toBe(0);

    void client.connect();
    await clock.settle();
    expect(asked).toHaveLength(2);
    asked[1]?.give('of today');
    await clock.advance(40);
    expect(server.links.map((link) => link.hello?.auth)).toEqual(['of today']);
    client.close();
  });
});

describe('renewal', () => {
  test('E40 goes in place, before the expiry that the server named', async () => {
    const story = stage({ answer: numbered });
    const { client, clock, asked, network, seen } = story;
    const link = await welcomed(story, { terms: { authExpiresIn: HOUR } });
    await clock.advance(0.74 * HOUR);
    expect(asked).toHaveLength(1);
    await clock.advance(0.12 * HOUR);
    expect(asked.map(({ reason }) => reason)).toEqual(['connect', 'expired']);
    expect(link.sent('auth')).toEqual([{ kind: 'auth', auth: numbered(2) }]);
    // Each answer of the server starts the next turn.
    link.send({ kind: 'auth', expiresIn: 2 * HOUR });
    await clock.advance(1.45 * HOUR);
    expect(asked).toHaveLength(2);
    await clock.advance(0.3 * HOUR);
    expect(asked).toHaveLength(3);
    expect(network.dials).toBe(1);
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
    client.close();
  });

  test.each([
    ['ten years back', -10 * 365 * 24 * HOUR],
    ['ten years ahead', 10 * 365 * 24 * HOUR],
  ])("E40 uses the server's lifetime where the device's date jumps %s", async (_name, jump) => {
    const story = stage({ answer: numbered });
    const { client, clock, asked } = story;
    const link = await welcomed(story, { terms: { authExpiresIn: HOUR } });
    clock.setDate(clock.date() + jump);
    await clock.advance(0.74 * HOUR);
    expect(asked).toHaveLength(1);
    await clock.advance(0.12 * HOUR);
    expect(asked).toHaveLength(2);
    expect(link.sent('auth')).toHaveLength(1);
    client.close();
  });

  test('E40 a fleet that connected together does not renew together', async () => {
    const moments = new Set<number>();
    for (let seed = 1; seed <= 10; seed++) {
      const story = stage({ seed, answer: numbered });
      await welcomed(story, { terms: { authExpiresIn: HOUR } });
      await story.clock.advance(0.74 * HOUR);
      while (story.asked.length < 2) await story.clock.advance(1_000);
      moments.add(story.clock.now());
      story.client.close();
    }
    expect(moments.size).toBeGreaterThan(7);
  });

  test('E40 one that is refused or fails leaves the connection alone, and is tried again in time', async () => {
    const story = stage({ answer: numbered });
    const { client, clock, asked, network, seen } = story;
    const link = await welcomed(story, { terms: { authExpiresIn: HOUR } });
    await clock.advance(0.9 * HOUR);
    expect(asked).toHaveLength(2);
    link.send({ kind: 'auth', error: { code: 'UNAUTHORIZED', message: 'Not this one.' } });
    await clock.advance(10);
    expect(client.state.status).toBe('connected');
    expect(seen.errors).toMatchObject([{ code: 'UNAUTHORIZED' }]);
    await clock.advance(0.09 * HOUR);
    expect(asked.length).toBeGreaterThan(2);
    expect(network.dials).toBe(1);
    client.close();
  });

  test('E40 where the server names no lifetime nothing is renewed', async () => {
    const story = stage({ auto: true, answer: numbered });
    void story.client.connect();
    await story.clock.advance(24 * HOUR);
    expect(story.asked).toHaveLength(1);
    story.client.close();
  });
});

describe('another user', () => {
  test('E41 gets nothing of the first one', async () => {
    const onGap = vi.fn();
    const story = stage({ answer: (question) => (question === 1 ? 'ada' : 'bob'), onGap });
    const { client, clock, network, server, seen } = story;
    const first = await welcomed(story, { user: 'ada' });
    first.joined('@me', { seq: 7, cursor: '@me:7', recovered: false, reason: 'new' });
    first.caughtUp('@me', '@me:7');
    first.event('mail:new', { room: '@me', seq: 8, payload: 'for ada' });
    await clock.advance(10);
    const written = client.request('x:y', 'written');
    const settled = [
      expect(written).rejects.toMatchObject({
        code: 'OUTCOME_UNKNOWN',
        details: { reason: 'identity' },
      }),
    ];
    await clock.advance(10);
    expect(first.sent('request')).toHaveLength(1);
    network.cut();
    await clock.settle();
    const unwritten = client.request('x:y', 'unwritten');
    settled.push(
      expect(unwritten).rejects.toMatchObject({
        code: 'NOT_SENT',
        details: { reason: 'identity' },
      }),
    );
    client.send('x:told', 'of ada');
    await clock.advance(1_100);
    const second = server.link;
    second.welcome({ user: 'bob' });
    second.joined('@me', { epoch: 'of bob', seq: 2, recovered: false, reason: 'expired' });
    second.event('mail:new', { room: '@me', seq: 3, payload: 'for bob' });
    await clock.advance(60_000);
    await Promise.all(settled);
    expect(second.frames.filter(({ kind }) => kind !== 'hello' && kind !== 'ping')).toEqual([]);
    expect(seen.payloads).toEqual(['for ada', 'for bob']);
    // That ada's place in `@me` means nothing to bob is no gap of his.
    expect(onGap).not.toHaveBeenCalled();

    // From here on everything is bob's.
    const link = server.links.length;
    network.cut();
    await clock.advance(10_100);
    expect(server.links.length).toBeGreaterThan(link);
    expect(JSON.stringify(server.link.hello)).not.toContain('@me:8');
    client.close();
  });

  test('E41 the same user on another link loses nothing', async () => {
    const story = stage({ answer: numbered });
    const { client, clock, network, server } = story;
    await welcomed(story, { user: 'ada' });
    const answer = client.request('x:y', 1);
    await clock.advance(10);
    network.cut();
    await clock.advance(1_100);
    server.link.welcome({ user: 'ada' });
    await clock.advance(40);
    for (const request of server.link.sent('request')) server.link.respond(request, 'kept');
    await clock.advance(10);
    expect(await answer).toBe('kept');
    client.close();
  });

  test('E41 after a sign-out nothing carries the old token', async () => {
    let signedIn: string | null = 'secret-of-ada';
    const story = stage({ answer: () => signedIn });
    const { client, clock, network, server } = story;
    const first = await welcomed(story, { terms: { authExpiresIn: HOUR } });
    signedIn = null;
    await clock.advance(HOUR);
    expect(client.state.status).toBe('disconnected');
    expect(first.open).toBe(false);
    expect(first.sent('auth')).toEqual([]);
    expect(clock.pending).toBe(0);
    // Asked again, it still says no: nothing is dialed.
    void client.connect().catch(() => {});
    await clock.advance(HOUR);
    expect(network.dials).toBe(1);
    signedIn = 'secret-of-bob';
    void client.connect();
    await clock.advance(40);
    server.link.welcome();
    await clock.advance(10);
    client.reconnect();
    await clock.advance(40);
    for (const link of server.links.slice(1)) {
      expect(inspect(link.frames, { depth: null })).not.toContain('secret-of-ada');
    }
    expect(server.links).toHaveLength(3);
    client.close();
  });
});

describe('what is shown', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test('E41 no token is in any trace, error, state, metric or log', async () => {
    const shown: unknown[] = [];
    const show = (...what: unknown[]) => void shown.push(...what);
    for (const method of ['debug', 'error', 'info', 'log', 'trace', 'warn'] as const) {
      vi.spyOn(console, method).mockImplementation(show);
    }
    const story = stage({
      answer: (question) => {
        if (question === 4) throw new Error('down');
        return { token: `secret-${question}`, deep: [{ refresh: 'secret-refresh' }] };
      },
      environment: { report: show },
    });
    const { client, clock, network, server } = story;
    client.onTrace(show);
    client.onError(show);
    client.onState(show);
    // A refused connect, a welcome, a renewal, refused requests, a throw, a loss, a permanent refusal.
    client.connect().catch(show);
    await clock.advance(40);
    server.link.close(4401, 'no');
    await clock.advance(40);
    server.link.welcome({ terms: { authExpiresIn: HOUR } });
    await clock.advance(HOUR);
    server.link.send({ kind: 'auth', error: expired });
    client.request('x:y', 1).catch(show);
    await clock.advance(10);
    for (const request of server.link.sent('request')) server.link.fail(request, expired);
    await clock.advance(40);
    client.request('x:y', 2).catch(show);
    network.cut();
    await clock.advance(60_000);
    server.link.send({ kind: 'error', error: { code: 'UNAUTHORIZED', message: 'No.' } });
    await clock.advance(60_000);
    show(client, client.state, client.metrics(), client.pending());
    client.close();
    await clock.advance(10);

    const tokens = server.links.flatMap((link) => [
      link.hello?.auth,
      ...link.sent('auth').map(({ auth }) => auth),
    ]);
    expect(tokens.length).toBeGreaterThan(3);
    const text = inspect(shown, { depth: null, showHidden: true, maxStringLength: null });
    expect(text).toContain('credentialsGiven');
    expect(text).toContain("kind: 'auth'");
    expect(text).not.toContain('secret');
    expect(JSON.stringify(shown.filter((one) => one !== client))).not.toContain('secret');
  });
});
