/** Every error that the machine makes itself, word for word: people read them, and code asks for the rest. */
import { describe, expect, test } from 'vitest';
import { Ledger } from '../../src/machine/ledger.js';
import { HoldfastError } from '../../src/protocol/errors.js';
import { type Play, play } from './play.js';

describe('what a session finds by itself', () => {
  test.each<[string, string, Partial<HoldfastError>, () => HoldfastError | null | undefined]>([
    [
      'no welcome in time',
      "The server did not welcome us within 5000 ms. Check that the URL is a holdfast server's (another kind needs plain() or ordinary()), or raise reconnect.connectTimeout.",
      { code: 'CONNECTION_FAILED', retryable: true },
      () => faultAfter(play({ reconnect: { connectTimeout: 5_000 } }).greet(), 5_000),
    ],
    [
      'no credentials in time',
      'auth gave no credentials within 7000 ms. Make it faster, or raise authTimeout.',
      { code: 'CONNECTION_FAILED', retryable: true },
      () => {
        const session = play({ auth: { timeout: 7_000 } });
        session.do({ fact: 'connectAsked' });
        return faultAfter(session, 7_000);
      },
    ],
    [
      'no heartbeat',
      'The server did not answer a heartbeat in time.',
      { code: 'HEARTBEAT_TIMEOUT', retryable: true },
      () => faultAfter(play({ heartbeat: { interval: 1_000, timeout: 500 } }).open(), 1_500),
    ],
    [
      'a goodbye instead of a welcome',
      'The server is leaving: draining',
      { code: 'CONNECTION_FAILED', retryable: true, retryAfter: 4_000 },
      () => {
        const session = play().greet();
        const frame = { kind: 'goodbye', reason: 'draining', reconnectAfter: 3_000 } as const;
        session.receive({ ...frame, spread: 2_000 });
        return session.state.error;
      },
    ],
    [
      'the same credentials after their refusal',
      'auth gave the same credentials again after they were refused. Fetch fresh ones when its reason is "expired".',
      { code: 'TOKEN_EXPIRED', retryable: false },
      refusedTwice,
    ],
    [
      'a refusal without an auth to ask',
      'The server refused a request for its credentials, and there is no auth to fetch others. Pass auth to createClient.',
      { code: 'TOKEN_EXPIRED', retryable: false },
      () => {
        const session = play().open();
        session.ask('q1');
        session.tick();
        session.respond('q1', 'TOKEN_EXPIRED');
        return session.state.error;
      },
    ],
    [
      'a storage that does not open',
      'The storage did not open within 5000 ms. What is asked meanwhile is kept in memory.',
      { code: 'STORAGE_FAILED', retryable: true },
      () => {
        const session = play({ ledger: () => new Ledger() }).slowStorage();
        session.ask('q1');
        session.wait(5_000);
        return session.all('report')[0]?.error;
      },
    ],
    [
      'a storage that does not write',
      'The storage did not write within 5000 ms. What is asked meanwhile is kept in memory.',
      { code: 'STORAGE_FAILED', retryable: true },
      () => {
        const session = play({ ledger: () => new Ledger() })
          .open()
          .slowStorage();
        session.ask('q1');
        session.tick();
        session.wait(5_000);
        return session.all('report')[0]?.error;
      },
    ],
    [
      'disconnect()',
      'Not connected: disconnect() was called.',
      { code: 'CONNECTION_FAILED', retryable: false },
      () => answer(play().dial(), 'disconnectAsked'),
    ],
    [
      'a sign-out',
      'Not connected: auth returned null.',
      { code: 'CONNECTION_FAILED', retryable: false },
      () => {
        const session = play({ auth: { timeout: 7_000 } });
        session.do({ fact: 'connectAsked' });
        session.do({ fact: 'credentialsGiven', ask: 1, auth: null, key: 'null' });
        return session.all('answerConnects')[0]?.error;
      },
    ],
    [
      'close()',
      'Not connected: close() was called, which is final. Create another client.',
      { code: 'CONNECTION_FAILED', retryable: false },
      () => answer(play().dial(), 'closeAsked'),
    ],
    [
      'connect() after close()',
      'Not connected: close() was called, which is final. Create another client.',
      { code: 'CONNECTION_FAILED', retryable: false },
      () => {
        const session = play();
        session.do({ fact: 'closeAsked' });
        return answer(session, 'connectAsked');
      },
    ],
  ])('%s: %s', (_name, message, about, find) => {
    const error = find();
    expect(error).toBeInstanceOf(HoldfastError);
    expect(error).toMatchObject({ message, ...about });
  });
});

describe('a request', () => {
  test.each<[string, string, string, (session: Play) => unknown]>([
    ['NOT_SENT', 'aborted', 'its signal was aborted', (session) => abort(session)],
    [
      'NOT_SENT',
      'closed',
      'the client was closed',
      (session) => session.do({ fact: 'closeAsked' }),
    ],
    [
      'NOT_SENT',
      'superseded',
      'a newer one with its coalesceKey took its place',
      (session) => session.ask('q2', { coalesceKey: 'key' }),
    ],
    ['NOT_SENT', 'ttl', 'it waited longer than its ttl', (session) => session.wait(20_000)],
    [
      'NOT_SENT',
      'identity',
      'another user is signed in now',
      (session) => {
        session.open();
        session.ask('q2');
        session.do({ fact: 'reconnectAsked' });
        session.open({ user: 'bob' });
      },
    ],
  ])('%s %s: it was never sent', (code, reason, cause, end) => {
    const session = play({ outbox: { maxInFlight: 1 } });
    // Where there is a link this one is on it, and the one behind it waits.
    session.ask(reason === 'identity' ? 'q0' : 'q1', { ttl: 20_000, coalesceKey: 'key' });
    end(session);
    const error = session.all('reject').find(({ error }) => error.code === code)?.error;
    const message = `The request "x:y" was never sent: ${cause}.`;
    expect(error).toMatchObject({ code, message, details: { reason }, retryable: false });
  });

  test.each<[string, string, (session: Play) => unknown]>([
    ['aborted', 'its signal was aborted', (session) => abort(session)],
    ['closed', 'the client was closed', (session) => session.do({ fact: 'closeAsked' })],
    ['timeout', 'no response came in time', (session) => session.wait(20_000)],
    ['lost', 'its link was lost, and it may not be written twice', (session) => session.lose()],
  ])('OUTCOME_UNKNOWN %s: it may have run', (reason, cause, end) => {
    const session = play({ heartbeat: null }).open();
    const delivery = reason === 'lost' ? 'at-most-once' : 'exactly-once';
    session.ask('q1', { delivery, timeout: 20_000 });
    session.tick();
    end(session);
    expect(session.all('reject')[0]?.error).toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      message: `The request "x:y" may have run: ${cause}.`,
      details: { reason },
      retryable: false,
    });
  });

  test.each([
    ['forgotten', 'the server no longer remembers its requests', { session: 's2' }],
    ['identity', 'another user is signed in now', { user: 'bob' }],
  ])('OUTCOME_UNKNOWN %s: it may have run under another welcome', (reason, cause, welcome) => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.do({ fact: 'reconnectAsked' });
    session.open(welcome);
    expect(session.all('reject')[0]?.error).toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      message: `The request "x:y" may have run: ${cause}.`,
      details: { reason },
    });
  });

  test('that finds the outbox full says how full, and which options say so', () => {
    const session = play({ outbox: { maxMessages: 2, maxBytes: 99, overflow: 'reject' } });
    session.do({ fact: 'told', message: { wire: 't1', bytes: 10 } });
    for (const id of ['q1', 'q2']) session.ask(id);
    expect(session.all('reject')[0]?.error).toMatchObject({
      code: 'NOT_SENT',
      message:
        '2 messages of 20 bytes are waiting. Raise outbox.maxMessages (now 2) or outbox.maxBytes (now 99), or send less while offline.',
      details: { reason: 'overflow' },
    });
  });

  test('that is too large says how large, and how large it may be', () => {
    const session = play({ limits: { maxMessageSize: 100 } });
    session.ask('q1', { bytes: 101 });
    expect(session.all('reject')[0]?.error).toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
      message:
        'A frame of 101 bytes is over the limit of 100. Send less at once, or raise limits.maxMessageSize on both sides.',
    });
  });

  test('to a closed client was never sent', () => {
    const session = play();
    session.do({ fact: 'closeAsked' });
    session.ask('q1');
    expect(session.all('reject')[0]?.error).toMatchObject({
      code: 'NOT_SENT',
      message: 'The request "x:y" was never sent: the client is closed.',
      details: { reason: 'closed' },
    });
  });
});

describe('a room', () => {
  test.each<[string, object, (session: Play) => unknown]>([
    [
      'it was left before.',
      { room: 'a', reason: 'aborted' },
      (session) => session.do({ fact: 'leaveAsked', room: 'a' }),
    ],
    [
      'the client was closed.',
      { room: 'a', reason: 'aborted' },
      (session) => session.do({ fact: 'closeAsked' }),
    ],
  ])('that was not joined says why: %s', (why, details, end) => {
    const session = play().open();
    session.join('a');
    end(session);
    const message = `The room "a" was not joined: ${why}`;
    expect(session.all('answerJoins')[0]?.error).toMatchObject({
      code: 'NOT_SENT',
      message,
      details,
    });
  });

  test('that is asked of a closed client was not joined', () => {
    const session = play();
    session.do({ fact: 'closeAsked' });
    session.join('a');
    expect(session.all('answerJoins')[0]?.error).toMatchObject({
      code: 'NOT_SENT',
      message: 'The room "a" was not joined: the client is closed.',
      details: { reason: 'closed' },
    });
  });

  test('that misses events, without an onGap, says so and why', () => {
    const session = lagging(false);
    expect(session.all('report').map(({ error }) => error)).toMatchObject([
      {
        code: 'PROTOCOL_ERROR',
        message:
          'Events of the room "a" are missing (expired). Pass onGap to createClient to fetch its state then.',
        details: { room: 'a', reason: 'expired' },
      },
    ]);
  });

  test('whose onGap takes too long says how long that is', () => {
    const session = lagging(true);
    session.wait(30_000);
    expect(session.all('report').map(({ error }) => error)).toMatchObject([
      {
        code: 'CONNECTION_FAILED',
        message:
          'onGap for the room "a" took longer than 30000 ms. It is asked again after a pause.',
        details: { room: 'a' },
      },
    ]);
  });

  test('whose onGap names an event that the server cannot go on from says what to return', () => {
    const session = lagging(true);
    session.do({ fact: 'healed', room: 'a', run: 1, eventId: 'elsewhere' });
    session.tick();
    session.joined('a', '2', 50, 'expired');
    expect(session.all('report').map(({ error }) => error)).toMatchObject([
      {
        code: 'PROTOCOL_ERROR',
        message:
          'The eventId that onGap returned for the room "a" is none the server can go on from. Return one of that room, or nothing.',
        details: { room: 'a' },
      },
    ]);
  });
});

/** The server refuses a request's credentials, and the application gives the same once more. */
function refusedTwice(): HoldfastError | null {
  const session = play({ auth: { timeout: 7_000 } });
  session.do({ fact: 'connectAsked' });
  session.credentials('old');
  session.open();
  session.ask('q1');
  session.tick();
  session.respond('q1', 'TOKEN_EXPIRED');
  session.credentials('old');
  session.tick();
  session.respond('q1', 'TOKEN_EXPIRED');
  return session.state.error;
}

function abort(session: Play) {
  return session.do({ fact: 'aborted', requestId: 'q1' });
}

/** Joined from a place that the server has no history of. */
function lagging(heals: boolean): Play {
  const session = play({ heartbeat: null, inbox: { heals } });
  session.join('a', 'a|1|2');
  session.open();
  session.joined('a', '1', 40, 'expired');
  return session;
}

/** What a `connect()` is told after this. */
function answer(session: Play, fact: 'connectAsked' | 'disconnectAsked' | 'closeAsked') {
  session.do({ fact });
  return session.all('answerConnects').at(-1)?.error;
}

/** Why there is no connection, some time later. */
function faultAfter(session: Play, ms: number): HoldfastError | null {
  session.wait(ms);
  return session.state.error;
}
