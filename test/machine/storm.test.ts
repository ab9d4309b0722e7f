/** 10,000 clients lose their server at once: what it sees when it is back, and how soon they are all there. */
import { describe, expect, test } from 'vitest';
import { defaults } from '../../src/client/options.js';
import type { Fact } from '../../src/machine/fact.js';
import { Session } from '../../src/machine/session.js';
import { seededDice } from '../../src/testing/dice.js';
import { sessionOptions } from './options.js';
import { failed, play } from './play.js';

describe('a herd', () => {
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
