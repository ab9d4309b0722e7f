/** When a session asks for credentials, and what a refusal of them means. */
import { describe, expect, test } from 'vitest';
import { failed, names, only, type Play, play } from './play.js';

const auth = { timeout: 10_000 };

describe('credentials', () => {
  test('I16 come before every dial, on every path', () => {
    const session = play({ auth });
    session.do({ fact: 'connectAsked' });
    expect(session.phase).toBe('asking');
    session.credentials();
    session.open();
    session.lose();
    session.wait(session.due);
    expect(session.phase).toBe('asking');
    session.credentials();
    session.do({ fact: 'reconnectAsked' });
    expect(session.phase).toBe('asking');
    expect(session.all('askCredentials').map(({ reason }) => reason)).toEqual([
      'connect',
      'connect',
      'connect',
    ]);
  });

  test('stand in the hello, and nothing does after a sign-out', () => {
    const session = play({ auth }).dial().greet();
    expect(session.hello.auth).toEqual({ token: 'token-1' });
    session.do({ fact: 'disconnectAsked' });
    session.do({ fact: 'connectAsked' });
    expect(session.witness.session.hello(9).auth).toBeUndefined();
  });

  test('I16 E39 are asked for once at a time: who needs them shares the answer', () => {
    const session = play({ auth, heartbeat: null }).open({ terms: { authExpiresIn: 100_000 } });
    session.wait(80_000);
    expect(session.all('askCredentials').map(({ reason }) => reason)).toEqual([
      'connect',
      'expired',
    ]);
    session.lose();
    session.wait(session.due);
    expect(session.phase).toBe('asking');
    expect(session.all('askCredentials')).toHaveLength(2);
    expect(names(session.credentials())).toEqual(['dial']);
  });

  test('E38 that fail or do not come in time are a failed attempt like any other', () => {
    const session = play({ auth });
    session.do({ fact: 'connectAsked' });
    session.do({ fact: 'credentialsFailed', ask: 1, error: failed('CONNECTION_FAILED') });
    expect([session.phase, session.state.reconnectAttempts]).toEqual(['waiting', 1]);
    session.wait(session.due);
    expect(session.due).toBe(10_000);
    expect(names(session.wait(10_000))).toContain('dropCredentials');
    expect([session.phase, session.state.reconnectAttempts]).toEqual(['waiting', 2]);
  });

  test('E38 a provider that says UNAUTHORIZED closes', () => {
    const session = play({ auth });
    session.do({ fact: 'connectAsked' });
    session.do({ fact: 'credentialsFailed', ask: 1, error: failed('UNAUTHORIZED') });
    expect(session.phase).toBe('closed');
  });

  test('I01 E39 an answer that comes after disconnect() is thrown away', () => {
    const session = play({ auth });
    session.do({ fact: 'connectAsked' });
    session.do({ fact: 'disconnectAsked' });
    expect(session.credentials()).toEqual([]);
    expect(session.phase).toBe('idle');
  });

  test.each([
    ['the one that is late', { token: 'late' }],
    ['a late sign-out', null],
  ])(
    'I01 E39 an answer after its deadline is thrown away, and the next one is waited for: %s',
    (_name, auth) => {
      const session = renewing({ timeout: 10_000 });
      session.wait(10_000);
      const late = { fact: 'credentialsGiven', ask: 2, auth, key: 'late' } as const;
      expect(session.do(late)).toEqual([]);
      expect(session.tick()).toEqual([]);
      session.wait(725);
      expect(session.all('askCredentials').map(({ ask }) => ask)).toEqual([1, 2, 3]);
      expect(session.do(late)).toEqual([]);
      session.credentials('fresh');
      expect(session.tick()).toEqual([{ kind: 'auth', auth: { token: 'fresh' } }]);
      expect(session.phase).toBe('open');
    },
  );

  test('null is a sign-out', () => {
    const session = play({ auth }).open({ terms: { authExpiresIn: 10_000 } });
    session.wait(8_000);
    session.do({ fact: 'credentialsGiven', ask: 2, auth: null, key: 'null' });
    expect([session.phase, session.state.status]).toEqual(['idle', 'disconnected']);
  });
});

describe('a refusal', () => {
  test('E38 asks for fresh ones at once, once', () => {
    const session = play({ auth }).greet();
    refuse(session);
    expect([session.phase, session.all('askCredentials').at(-1)?.reason]).toEqual([
      'asking',
      'expired',
    ]);
    session.credentials();
    session.greet();
    refuse(session);
    expect(session.phase).toBe('waiting');
    session.wait(session.due);
    expect(session.all('askCredentials').at(-1)?.reason).toBe('expired');
  });

  test('E38 of the same token twice closes; a later connect() asks again', () => {
    const session = play({ auth });
    session.do({ fact: 'connectAsked' });
    session.credentials('old');
    session.greet();
    refuse(session);
    session.credentials('old');
    session.greet();
    refuse(session);
    expect(session.state).toMatchObject({ status: 'closed', error: { code: 'TOKEN_EXPIRED' } });
    session.do({ fact: 'connectAsked' });
    session.credentials('fresh');
    session.open();
    expect(session.phase).toBe('open');
  });

  test('E38 that the provider itself tells is answered by one more question at once, then by waiting', () => {
    const session = play({ auth });
    session.do({ fact: 'connectAsked' });
    for (const [ask, phase] of [
      [1, 'asking'],
      [2, 'waiting'],
    ] as const) {
      session.do({ fact: 'credentialsFailed', ask, error: failed('TOKEN_EXPIRED') });
      expect(session.phase).toBe(phase);
    }
    expect(session.all('askCredentials').map(({ reason }) => reason)).toEqual([
      'connect',
      'expired',
    ]);
  });

  test('E38 is answered at once again after a connection that held', () => {
    const session = play({ auth, heartbeat: null }).open();
    session.lose(failed('TOKEN_EXPIRED'));
    session.credentials();
    session.open();
    session.wait(10_000);
    session.lose(failed('TOKEN_EXPIRED'));
    expect(session.phase).toBe('asking');
  });

  test('E38 by close code 4401 is one as well', () => {
    const session = play({ auth }).open();
    session.lose(failed('TOKEN_EXPIRED'));
    expect(session.phase).toBe('asking');
  });

  test('without a provider there is nothing fresh: it closes', () => {
    const session = play().greet();
    refuse(session);
    expect(session.phase).toBe('closed');
  });

  test('of a request without a provider closes as well', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.respond('q1', 'TOKEN_EXPIRED');
    expect(session.state).toMatchObject({ status: 'closed', error: { code: 'TOKEN_EXPIRED' } });
  });

  test('of fresh ones is answered after a growing pause; a response of any other kind ends that', () => {
    const session = play({ auth, heartbeat: null }).open();
    const asked = () => session.all('askCredentials').length;
    session.ask('q1');
    session.tick();
    for (const [count, pause] of [0, 725, 1_450].entries()) {
      session.respond('q1', 'TOKEN_EXPIRED');
      if (pause > 0) session.wait(pause - 1);
      expect(asked()).toBe(count + (pause > 0 ? 1 : 2));
      session.wait(1);
      expect(asked()).toBe(count + 2);
      session.credentials();
      session.tick();
    }
    session.respond('q1');
    session.ask('q2');
    session.tick();
    session.respond('q2', 'TOKEN_EXPIRED');
    expect(asked()).toBe(5);
    expect(session.all('askCredentials').at(-1)?.reason).toBe('expired');
  });

  test('of a request holds everything back, renews in place, and writes it again', () => {
    const session = play({ auth }).open();
    session.ask('q1');
    session.ask('q2');
    session.tick();
    session.respond('q1', 'TOKEN_EXPIRED');
    expect(session.tick()).toEqual([]);
    session.credentials('fresh');
    expect(session.tick()).toEqual([{ kind: 'auth', auth: { token: 'fresh' } }, 'q1']);
    expect(session.state.status).toBe('connected');
  });

  test('E38 64 late refusals of an old token renew nothing and close nothing', () => {
    const messagesPerSecond = 1_000;
    const session = play({ auth, limits: { messagesPerSecond } }).open({
      terms: { messagesPerSecond },
    });
    for (let count = 1; count <= 64; count++) session.ask(`q${count}`);
    session.tick();
    session.respond('q1', 'TOKEN_EXPIRED');
    for (let count = 2; count <= 32; count++) session.respond(`q${count}`, 'TOKEN_EXPIRED');
    session.credentials('fresh');
    for (let count = 33; count <= 64; count++) session.respond(`q${count}`, 'TOKEN_EXPIRED');
    expect(session.tick()).toHaveLength(65);
    session.wait(24_000);
    expect(session.all('askCredentials')).toHaveLength(2);
    expect(session.phase).toBe('open');
  });

  test('I12 a renewal does not end a pause that the server asked for', () => {
    const session = play({ auth }).open();
    session.ask('q1');
    session.ask('q2');
    session.tick();
    session.respond('q1', 'RATE_LIMITED', { retryAfter: 5_000 });
    session.respond('q2', 'TOKEN_EXPIRED');
    session.credentials('fresh');
    expect(session.tick()).toEqual([{ kind: 'auth', auth: { token: 'fresh' } }]);
    expect(only(session.wait(5_000), 'transmit').at(-1)?.frames).toEqual(['q1', 'q2']);
  });
});

describe('a renewal', () => {
  test.each([
    [0, 75_000],
    [0.999, 84_990],
  ])('E40 with roll %d comes at %i of 100,000 ms: a fleet does not renew together', (roll, at) => {
    const session = play({ auth }).greet();
    session.roll = roll;
    session.open({ terms: { authExpiresIn: 100_000, heartbeat: { interval: 1e9, timeout: 1e9 } } });
    session.wait(10_000);
    expect(session.due + 10_000).toBeCloseTo(at, 3);
  });

  test('E40 goes in place, under the lifetime that the server names next', () => {
    const session = play({ auth, heartbeat: null }).open({ terms: { authExpiresIn: 100_000 } });
    session.wait(80_000);
    session.credentials('second');
    expect(session.tick()).toEqual([{ kind: 'auth', auth: { token: 'second' } }]);
    session.receive({ kind: 'auth', expiresIn: 1_000_000 });
    expect(session.due).toBe(800_000);
    expect([session.phase, session.all('dial').length]).toEqual(['open', 1]);
  });

  test('that fails is reported and tried again; the link stays', () => {
    const session = play({ auth, heartbeat: null }).open({ terms: { authExpiresIn: 100_000 } });
    session.wait(80_000);
    const orders = session.do({
      fact: 'credentialsFailed',
      ask: 2,
      error: failed('CONNECTION_FAILED'),
    });
    expect(names(orders)).toEqual(['report']);
    session.wait(60_000);
    expect(session.all('askCredentials').length).toBeGreaterThan(2);
    expect(session.phase).toBe('open');
  });

  test('that fails again and again is tried after a growing pause, and starts over with a success', () => {
    const session = renewing(auth);
    const fail = (ask: number) =>
      session.do({ fact: 'credentialsFailed', ask, error: failed('CONNECTION_FAILED') });
    for (const [index, pause] of [725, 1_450, 2_900].entries()) {
      fail(index + 2);
      expect(session.due).toBe(pause);
      session.wait(pause);
    }
    session.credentials();
    session.receive({ kind: 'auth', expiresIn: 1_000 });
    session.wait(800);
    fail(6);
    expect(session.due).toBe(725);
  });

  test('that the server refuses is reported; the link stays', () => {
    const session = play({ auth, heartbeat: null }).open({ terms: { authExpiresIn: 100_000 } });
    session.wait(80_000);
    session.credentials();
    const error = { code: 'TOKEN_EXPIRED', message: 'no' };
    expect(names(session.receive({ kind: 'auth', error }))).toEqual(['report']);
    expect(session.phase).toBe('open');
    session.wait(724);
    expect(session.all('askCredentials')).toHaveLength(2);
    session.wait(1);
    expect(session.all('askCredentials')).toHaveLength(3);
  });
});

/** Connected, and asking for the next credentials. */
function renewing(auth: { timeout: number }): Play {
  const session = play({ auth, heartbeat: null }).open({ terms: { authExpiresIn: 100_000 } });
  session.wait(80_000);
  return session;
}

function refuse(session: Play): void {
  session.receive({ kind: 'error', error: { code: 'TOKEN_EXPIRED', message: 'no' } });
}
