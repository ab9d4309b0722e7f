/** A short run of the simulation with every test run; `npm run simulate` plays thousands of seeds. */
import { beforeAll, describe, expect, test } from 'vitest';
import { campaign, type Outcome } from './campaign.js';
import { kinds } from './kinds.js';
import { play } from './play.js';
import { drawSchedule } from './schedule.js';

const SEEDS = 150;

describe(`${SEEDS} seeds`, () => {
  let outcome: Outcome;

  beforeAll(async () => {
    outcome = await campaign({ first: 0, stride: 1, end: SEEDS });
  }, 240_000);

  test('break no promise', () => {
    const { failure } = outcome;
    const told = failure === null ? '' : [failure.rule, ...failure.timeline].join('\n');
    expect(told, `npm run simulate -- --seed ${failure?.seed}`).toBe('');
  });

  test('meet every kind of fault, and what may come of it', () => {
    expect(kinds.filter((kind) => outcome.kinds[kind] === undefined)).toEqual([]);
  });

  test('are each a minute of 20 faults, 200 events and 50 requests', () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const { actions } = drawSchedule(seed);
      const events = actions.map((one) => (one.do.startsWith('publish') ? countOf(one) : 0));
      expect(sum(events)).toBeGreaterThanOrEqual(200);
      expect(actions.filter(({ do: what }) => what === 'ask').length).toBeGreaterThanOrEqual(50);
      const traffic = ['publish', 'publish to user', 'ask', 'tell'];
      const faults = actions.filter(({ do: what }) => !traffic.includes(what));
      expect(faults.length).toBeGreaterThanOrEqual(20);
    }
    const { totals } = outcome;
    expect(totals.lasted).toBeGreaterThan(SEEDS * 60_000);
    expect(totals.delivered).toBeGreaterThan(totals.events);
  });
});

test('a seed is the same story whenever it is played', async () => {
  const schedule = drawSchedule(7);
  const [one, other] = [await play(schedule), await play(schedule, { keepsLines: true })];
  expect(other.digest).toBe(one.digest);
  expect(other.lines.length).toBeGreaterThan(200);
  expect((await play(drawSchedule(8))).digest).not.toBe(one.digest);
});

test('a story without actions is quiet', async () => {
  const { setup } = drawSchedule(1);
  const { violation, counts } = await play({ seed: 1, setup, actions: [] });
  expect(violation).toBeNull();
  expect(counts.faults).toBe(0);
});

function countOf(action: object): number {
  return 'count' in action && typeof action.count === 'number' ? action.count : 0;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
