/** What the hub asks of its platform: time, chance and ids. The only server file that names them. */
import { randomBytes } from 'node:crypto';
import { type Clock, LONGEST_TIMER } from '../lib/clock.js';

/** Inject another one to run a whole hub on a virtual clock. */
export interface Environment {
  readonly clock: Clock;
  /** A number in [0, 1). */
  random(): number;
  /** A fresh id that nobody can guess. It needs no escape in JSON. */
  id(): string;
}

/** Node's. */
export const nodeEnvironment: Environment = Object.freeze({
  clock: Object.freeze({
    now: () => performance.now(),
    date: () => Date.now(),
    after(ms: number, run: () => void) {
      const timer = setTimeout(run, Math.min(ms, LONGEST_TIMER));
      return () => clearTimeout(timer);
    },
  }),
  random: () => Math.random(),
  id: () => randomBytes(12).toString('base64url'),
});
