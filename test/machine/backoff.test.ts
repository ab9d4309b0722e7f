/** How long a client waits, alone and in a herd. */
import { describe, expect, test } from 'vitest';
import { backoff, nextSlot } from '../../src/machine/backoff.js';
import { failed, play } from './play.js';

const limits = { initialDelay: 1_000, maxDelay: 10_000, factor: 2 };

describe('backoff', () => {
  test.each([
    [1, 1_000],
    [2, 2_000],
    [3, 4_000],
    [4, 8_000],
    [5, 10_000],
    [40, 10_000],
  ])('attempt %i waits %i ms without jitter', (attempt, wait) => {
    expect(backoff(attempt, 0.7, { ...limits, jitter: 'none' })).toBe(wait);
  });

  test('E08 full jitter takes what it likes between a floor and the ceiling, also of the cap', () => {
    const full = { ...limits, jitter: 'full' } as const;
    expect(backoff(3, 0, full)).toBe(4_000);
    expect(backoff(3, 0.5, full)).toBeCloseTo(2_900, 6);
    expect(backoff(3, 0.999_999, full)).toBeCloseTo(1_800, 1);
    expect(backoff(9, 0.8, full)).toBeCloseTo(5_600, 6);
  });

  test('E08 a number comes on top of the cap, not under it', () => {
    const added = { ...limits, jitter: 500 };
    expect(backoff(1, 0.5, added)).toBe(1_250);
    expect(backoff(9, 0.5, added)).toBe(10_250);
  });

  test('E08 it is never 0', () => {
    for (const jitter of ['full', 'none', 0] as const) {
      expect(backoff(1, 0.999_999_999, { ...limits, initialDelay: 0.1, jitter })).toBe(1);
    }
  });

  test('a thousand failures do not overflow it', () => {
    expect(backoff(5_000, 0, { ...limits, jitter: 'full' })).toBe(10_000);
  });
});

describe('the waits of a session', () => {
  test('I18 grow from attempt to attempt, and no dial comes before its time', () => {
    const session = play({ reconnect: { jitter: 'none' } }).dial();
    for (const wait of [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]) {
      session.lose();
      expect([session.phase, session.due]).toEqual(['waiting', wait]);
      expect(session.wait(wait - 1)).toEqual([]);
      expect(session.wait(1)).toEqual([{ order: 'dial', link: session.link }]);
    }
  });

  test('are at least what the server asks for', () => {
    const session = play().open();
    session.lose(failed('RATE_LIMITED', { retryAfter: 7_000 }));
    expect(session.due).toBe(7_000);
  });

  test('are what the application says, where it says so', () => {
    const session = play({ shouldReconnect: () => ({ delay: 123 }) }).open();
    session.lose();
    expect(session.due).toBe(123);
  });

  test('I19 E07 a bare open, and a welcome that does not hold, leave the count as it is', () => {
    const session = play({ reconnect: { stableAfter: 10_000 } }).dial();
    for (let round = 1; round <= 5; round++) {
      session.open();
      expect(session.wait(9_000)).toEqual([]);
      session.lose();
      expect(session.state.reconnectAttempts).toBe(round);
      session.wait(session.due);
    }
  });

  test('I19 the count starts over once a connection holds for stableAfter', () => {
    const session = play().dial();
    session.lose();
    session.wait(session.due);
    session.open().wait(10_000);
    expect(session.state.reconnectAttempts).toBe(0);
  });

  test('I19 a link that goes while the next one is dialed does not become stable afterwards', () => {
    const session = play({ reconnect: { jitter: 'none', connectTimeout: 60_000 } }).open();
    session.lose();
    session.wait(session.due);
    session.open();
    session.receive({ kind: 'goodbye', reason: 'deploy' });
    session.wait(0);
    session.lose(undefined, session.witness.links.live ?? 0);
    session.wait(11_000);
    expect([session.phase, session.state.reconnectAttempts]).toEqual(['dialing', 1]);
  });

  test('grow with goodbyes that come before any connection was stable, and never below what they ask', () => {
    const session = play({ heartbeat: null, reconnect: { jitter: 'none' } }).open();
    const told = (reconnectAfter: number) => {
      session.receive({ kind: 'goodbye', reason: 'deploy', reconnectAfter });
      const { due } = session;
      session.wait(due);
      session.greet().open();
      return due;
    };
    session.wait(10_000);
    expect([0, 0, 0, 0, 9_000].map(told)).toEqual([0, 0, 2_000, 4_000, 9_000]);
    session.wait(10_000);
    expect([0, 100, 100].map(told)).toEqual([0, 100, 2_000]);
  });

  test('end with the client when the attempts are used up', () => {
    const session = play({ reconnect: { maxAttempts: 2 } }).dial();
    for (let attempt = 0; attempt < 2; attempt++) {
      session.lose();
      session.wait(session.due);
    }
    session.lose();
    expect(session.state).toMatchObject({ status: 'closed', error: { code: 'CONNECTION_FAILED' } });
  });

  test('with failFast the first failure ends them', () => {
    const session = play({ reconnect: { failFast: true } }).dial();
    session.lose();
    expect(session.phase).toBe('idle');
    expect(session.all('answerConnects')[0]?.error?.code).toBe('CONNECTION_FAILED');
  });
});

describe('a herd', () => {
  test('keeps one slot: each member its own, in every turn', () => {
    const herd = { origin: 1_000, share: 0.25, spread: 20_000 };
    expect(nextSlot(herd, 1_000)).toBe(6_000);
    expect(nextSlot(herd, 6_000)).toBe(26_000);
    expect(nextSlot(herd, 30_000)).toBe(46_000);
    expect(nextSlot({ origin: 0, share: 0.25, spread: 2 }, 0)).toBe(0.5);
  });

  test('draws its slot once for each loss', () => {
    const session = play().open({ terms: { retrySpread: 20_000 } });
    session.roll = 0.5;
    const lostAt = session.now;
    session.lose();
    expect(session.now + session.due).toBe(lostAt + 10_000);
    session.wait(session.due);
    session.roll = 0.9;
    session.lose();
    expect(session.now + session.due).toBe(lostAt + 30_000);
  });

  test.each([
    ['a heartbeat that is not answered', 'HEARTBEAT_TIMEOUT'],
    ['a rate limit', 'RATE_LIMITED'],
  ])('%s is no herd loss', (_name, code) => {
    const session = play().open({ terms: { retrySpread: 20_000 } });
    session.lose(failed(code));
    expect(session.due).toBe(725);
  });

  test.each(['woke', 'reconnectAsked'] as const)('%s leaves it', (fact) => {
    const session = play().open({ terms: { retrySpread: 20_000 } });
    session.lose();
    session.wait(3_000);
    session.do(fact === 'woke' ? { fact, buffered: 0 } : { fact });
    expect(session.phase).toBe('dialing');
    session.roll = 0.25;
    session.lose();
    expect(session.due).toBe(5_000);
  });
});

test('a pause that was asked for before the link was closed for its rate is kept', () => {
  const session = play({ reconnect: { jitter: 'none' } }).open();
  const error = { code: 'RATE_LIMITED', message: 'slow down', retryAfter: 7_000 };
  session.receive({ kind: 'error', error });
  session.lose(failed('RATE_LIMITED'));
  expect(session.due).toBe(7_000);
  // It was about that link alone.
  session.wait(7_000);
  session.open();
  session.lose(failed('RATE_LIMITED'));
  expect(session.due).toBeLessThan(7_000);
});
