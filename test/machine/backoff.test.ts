/** How long a client waits, alone and in a herd. */
import { describe, expect, test } from 'vitest';
import { defaults } from '../../src/client/options.js';
import { backoff, nextSlot } from '../../src/machine/backoff.js';
import type { Fact } from '../../src/machine/fact.js';
import { Session } from '../../src/machine/session.js';
import { seededDice } from '../../src/testing/dice.js';
import { sessionOptions } from './options.js';
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
    session.do(fact === 'woke' ? { fact, buffered: 0 } : { fact });
    expect(session.phase).toBe('dialing');
  });

  test('of 10,000 comes back in an even stream when the server names a retrySpread', () => {
    const herd = storm({ downFor: 5_000, acceptsPerSecond: 500 }, 20_000);
    expect(herd.highest).toBeLessThanOrEqual(600);
    expect(herd.almostAll).toBeLessThanOrEqual(21_000);
    expect(herd.attempts).toBeLessThanOrEqual(1.4);
  });

  test('of 10,000 is held back by its jitter where the server names none', () => {
    const herd = storm({ downFor: 5_000, acceptsPerSecond: 500 }, 0);
    expect(herd.highest).toBeLessThanOrEqual(3_000);
    expect(herd.almostAll).toBeLessThanOrEqual(27_000);
    expect(herd.attempts).toBeLessThanOrEqual(4.6);
  });

  test('of one finds a server that blinked within a second, in the median', () => {
    const dice = seededDice(3);
    const waits = Array.from({ length: 1_001 }, () => {
      const session = play({ reconnect: defaults.reconnect }).open();
      session.roll = dice();
      session.lose();
      return session.due;
    });
    expect(waits.sort((one, other) => one - other)[500]).toBeLessThanOrEqual(1_000);
  });
});

/**
 * 10,000 sessions lose a server at 0. It is back after `downFor` and takes so many a second; whom it
 * cannot take it refuses. Times count from the moment it is back.
 */
function storm(server: { downFor: number; acceptsPerSecond: number }, retrySpread: number) {
  const { acceptsPerSecond, downFor } = server;
  const dice = seededDice(11);
  const members = Array.from({ length: 10_000 }, () => new Member(retrySpread, dice));
  const dials = new Heap(members);
  const seconds = new Map<number, number>();
  const back: number[] = [];
  let attempts = 0;
  // In the order of their dials, as the server sees them.
  for (let member = dials.shift(); member !== undefined; member = dials.shift()) {
    attempts++;
    const since = member.at - downFor;
    const second = Math.floor(since / 1_000);
    if (second >= 0) seconds.set(second, (seconds.get(second) ?? 0) + 1);
    if (since >= 0 && back.length < (since / 1_000) * acceptsPerSecond) back.push(since);
    else {
      member.refused();
      dials.push(member);
    }
  }
  const almostAll = back.sort((one, other) => one - other)[9_899] ?? Number.NaN;
  return { highest: Math.max(...seconds.values()), almostAll, attempts: attempts / 10_000 };
}

const refusal = failed('CONNECTION_FAILED');

/** A session that was connected and has lost its link at 0. */
class Member {
  /** When it dials next. */
  at = 0;
  readonly #session = new Session(sessionOptions({ reconnect: defaults.reconnect }));
  readonly #dice: () => number;
  #link = 1;

  constructor(retrySpread: number, dice: () => number) {
    this.#dice = dice;
    const frame = { kind: 'welcome', connectionId: 'c', terms: { retrySpread } } as const;
    const facts: Fact[] = [
      { fact: 'connectAsked' },
      { fact: 'opened', link: 1 },
      { fact: 'received', link: 1, frame },
    ];
    for (const fact of facts) this.#session.step(fact, 0, dice());
    this.#lose();
  }

  refused(): void {
    this.#session.step({ fact: 'timeUp', buffered: 0 }, this.at, this.#dice());
    this.#link++;
    this.#lose();
  }

  #lose(): void {
    this.#session.step({ fact: 'lost', link: this.#link, fault: refusal }, this.at, this.#dice());
    this.at = this.#session.deadline;
  }
}

/** The soonest first. */
class Heap<T extends { at: number }> {
  readonly #items: T[] = [];

  constructor(items: readonly T[]) {
    for (const item of items) this.push(item);
  }

  push(item: T): void {
    let index = this.#items.push(item) - 1;
    for (let up = (index - 1) >> 1; index > 0 && this.#at(up) > item.at; up = (index - 1) >> 1) {
      this.#swap(index, up);
      index = up;
    }
  }

  shift(): T | undefined {
    const [first] = this.#items;
    const last = this.#items.pop();
    if (last === undefined || first === last) return first;
    this.#items[0] = last;
    for (let index = 0; ; ) {
      const left = 2 * index + 1;
      const least = this.#at(left + 1) < this.#at(left) ? left + 1 : left;
      if (this.#at(least) >= this.#at(index)) return first;
      this.#swap(index, least);
      index = least;
    }
  }

  #at(index: number): number {
    return this.#items[index]?.at ?? Number.POSITIVE_INFINITY;
  }

  #swap(one: number, other: number): void {
    const [first, second] = [this.#items[one], this.#items[other]];
    if (first !== undefined) this.#items[other] = first;
    if (second !== undefined) this.#items[one] = second;
  }
}
