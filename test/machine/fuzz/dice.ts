/** Choices of a seeded die. */
import { seededDice } from '../../../src/testing/dice.js';

export class Dice {
  readonly roll: () => number;

  constructor(seed: number) {
    this.roll = seededDice(seed);
  }

  /** True in `share` of all cases. */
  chance(share: number): boolean {
    return this.roll() < share;
  }

  /** A whole number from 0 to below `end`. */
  below(end: number): number {
    return Math.floor(this.roll() * end);
  }

  pick<T>(first: T, ...others: T[]): T {
    const index = this.below(others.length + 1);
    return index === 0 ? first : (others[index - 1] ?? first);
  }

  /** One of those there are, or null. */
  of<T>(items: readonly T[]): T | null {
    return items[this.below(items.length)] ?? null;
  }
}
