import { describe, expect, it } from 'vitest';
import { ids, seededDice } from '../../src/testing/dice.js';

describe('seededDice', () => {
  it('throws the same numbers for the same seed, others for another', () => {
    const throws = (seed: number) => Array.from({ length: 50 }, seededDice(seed));
    expect(throws(42)).toEqual(throws(42));
    expect(throws(42)).not.toEqual(throws(43));
  });

  it('throws evenly over [0, 1)', () => {
    const dice = seededDice(0);
    const buckets = new Array<number>(10).fill(0);
    for (let count = 0; count < 10_000; count++) {
      const roll = dice();
      expect(roll >= 0 && roll < 1).toBe(true);
      const bucket = Math.floor(roll * 10);
      buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    }
    expect(Math.min(...buckets)).toBeGreaterThan(850);
    expect(Math.max(...buckets)).toBeLessThan(1_150);
  });
});

describe('ids', () => {
  it('counts up, each maker on its own', () => {
    const [request, client] = [ids('request'), ids('client')];
    expect([request(), request(), client(), ids()()]).toEqual([
      'request-1',
      'request-2',
      'client-1',
      'id-1',
    ]);
  });
});
