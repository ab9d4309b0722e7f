/** How fast frames may be written: a bucket of tokens, and pauses. */
import { describe, expect, test } from 'vitest';
import { Pace } from '../../src/machine/pace.js';
import { NEVER } from '../../src/machine/step.js';
import { play } from './play.js';

describe('the pace', () => {
  test.each([
    [10, 1_000, 10],
    [10, 100, 1],
    [10, 199, 1],
    [10, 200, 2],
    [10, 3_600_000, 10],
    [3, 1_000, 3],
  ])('of %i a second: after a burst, %i ms bring %i', (rate, pause, turns) => {
    const pace = started(rate, 5_000);
    expect(turnsAt(pace, 5_000)).toBe(rate);
    expect(turnsAt(pace, 5_000 + pause)).toBe(turns);
  });

  test('says when the next turn comes, to the fraction of a turn that is there already', () => {
    const pace = started(10, 5_000);
    turnsAt(pace, 5_000);
    expect(pace.deadline).toBe(5_100);
    expect(pace.take(5_040)).toBe(false);
    expect(pace.deadline).toBeCloseTo(5_100, 6);
    pace.timeUp(5_099);
    expect(pace.deadline).toBeCloseTo(5_100, 6);
    pace.timeUp(pace.deadline);
    expect(pace.deadline).toBe(NEVER);
    expect(pace.take(5_101)).toBe(true);
    expect(pace.deadline).toBe(NEVER);
  });

  test('never says a turn comes in less than a millisecond: rounding would make it spin', () => {
    const pace = started(4_000, 0);
    turnsAt(pace, 0);
    expect(pace.deadline).toBe(1);
  });

  test('a pause only grows, and is told as the deadline', () => {
    const pace = started(10, 0);
    pace.pause(3_000);
    pace.pause(2_000);
    expect(pace.take(2_999)).toBe(false);
    expect(pace.deadline).toBe(3_000);
    expect(pace.take(3_000)).toBe(true);
    expect(pace.deadline).toBe(NEVER);
  });

  test('held, nothing goes and nothing is due', () => {
    const pace = started(10, 0);
    pace.hold(true);
    expect([pace.take(1_000), pace.deadline]).toEqual([false, NEVER]);
    pace.hold(false);
    expect(pace.take(1_000)).toBe(true);
  });

  test('a new link has its own rate, and nothing of the pauses of the one before', () => {
    const pace = started(2, 0);
    turnsAt(pace, 0);
    pace.pause(60_000);
    pace.take(0);
    pace.hold(true);
    pace.restart(5, 100);
    expect(pace.deadline).toBe(NEVER);
    expect(turnsAt(pace, 100)).toBe(5);
    expect(pace.deadline).toBe(300);
  });

  test.each([0, -1, 0.5])('a server that allows %d a second is taken for one', (rate) => {
    const pace = started(rate, 0);
    expect(turnsAt(pace, 0)).toBe(1);
    expect(pace.deadline).toBe(1_000);
  });
});

describe('on a new link', () => {
  test('a pause that another server asked for is over', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.respond('q1', 'RATE_LIMITED', { retryAfter: 3_600_000 });
    session.lose();
    session.wait(session.due);
    session.greet();
    session.receive({ kind: 'welcome', connectionId: 'c2', session: 's1', user: 'ann' });
    expect(session.tick()).toEqual(['q1']);
  });

  test('the rate is what its server allows, and never above our own', () => {
    const session = play({ limits: { messagesPerSecond: 3 } });
    for (let count = 1; count <= 9; count++) session.ask(`q${count}`);
    session.open({ terms: { messagesPerSecond: 2 } });
    expect(session.all('transmit').at(-1)?.frames).toHaveLength(2);
    session.do({ fact: 'reconnectAsked' });
    session.open({ terms: { messagesPerSecond: 1_000 } });
    expect(session.all('transmit').at(-1)?.frames).toHaveLength(3);
  });
});

/** As a link with this rate finds it. */
function started(rate: number, now: number): Pace {
  const pace = new Pace();
  pace.restart(rate, now);
  return pace;
}

/** How many frames may go at this moment. */
function turnsAt(pace: Pace, now: number): number {
  let turns = 0;
  while (turns < 10_000 && pace.take(now)) turns++;
  return turns;
}
