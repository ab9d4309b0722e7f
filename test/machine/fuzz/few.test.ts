/** A few random stories: few enough that `npm run mutants` can play them against every mutant. */
import { expect, test } from 'vitest';
import { campaign } from './campaign.js';

test('60 random stories break no invariant', () => {
  const { failure } = campaign({ seed: 3, first: 0, stride: 1, end: 60, facts: 60 });
  expect(failure?.message).toBeUndefined();
});
