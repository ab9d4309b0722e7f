/** Chance for schedules: everything that is drawn from a seed is drawn here. */
import { seededDice } from 'holdfast/testing';

export class Dice {
  readonly roll: () => number;

  /** Streams of one seed have nothing in common. */
  constructor(seed: number, stream = 0) {
    this.roll = seededDice(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b));
  }

  /** A whole number, both ends included. */
  whole(least: number, most: number): number {
    return least + Math.floor(this.roll() * (most - least + 1));
  }

  chance(share: number): boolean {
    return this.roll() < share;
  }

  pick<const T>(choices: readonly T[]): T {
    const chosen = choices[Math.floor(this.roll() * choices.length)];
    if (chosen === undefined) throw new Error('There is nothing to choose from.');
    return chosen;
  }
}
