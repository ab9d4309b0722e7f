/** A short run of the fuzz with every test run; `npm run fuzz` plays long ones. */
import { describe, expect, test } from 'vitest';
import { campaign } from './fuzz/campaign.js';
import { cellTable } from './fuzz/cells.js';
import { Dice } from './fuzz/dice.js';
import { type Played, Story } from './fuzz/story.js';

describe('2,000 random stories', () => {
  const outcome = campaign({ seed: 1, first: 0, stride: 1, end: 2_000, facts: 60 });

  test('break no invariant', () => {
    const { failure } = outcome;
    const told = failure === null ? '' : [failure.message, ...failure.shrunk].join('\n');
    expect(told, `npm run fuzz -- --seed 1 --first ${failure?.sequence} --sequences 1`).toBe('');
    expect(outcome.facts).toBeGreaterThan(2_000 * 60);
  });

  test('meet every fact in every phase', () => {
    expect(cellTable(outcome.cells).missing).toEqual([]);
  });
});

test('a story is the same whenever it is played with the same seed', () => {
  const tell = (seed: number) => {
    const played: Played[] = [];
    const story = new Story(new Dice(seed), (step) => played.push(step));
    while (played.length < 60) story.next();
    return JSON.stringify(played);
  };
  expect(tell(7)).toBe(tell(7));
  expect(tell(7)).not.toBe(tell(8));
});
