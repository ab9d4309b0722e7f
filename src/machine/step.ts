/** One step of the machine: the time, a roll of the dice, and where its orders go. */
import type { Order } from './order.js';

export interface Step {
  /** Milliseconds of the monotonic clock. */
  readonly now: number;
  /** In [0, 1), drawn by the caller. */
  readonly roll: number;
  readonly out: Order[];
}

/** A deadline that is none. */
export const NEVER = Number.POSITIVE_INFINITY;

/** Milliseconds: a year. Who asks for a longer pause is wrong, and dates end somewhere. */
export const LONGEST_PAUSE = 31_536_000_000;

/** How long a storage may take to open, or to write, in ms, before nothing waits for it any more. */
export const STORAGE_TIMEOUT = 5_000;
