/** Time as a service: the platform's in production, a virtual one in tests. */
export interface Clock {
  /** Monotonic milliseconds, for durations: never jumps, whatever the device's date does. */
  now(): number;
  /** Unix milliseconds, for timestamps. */
  date(): number;
  /** Runs once, `ms` from now. Returns its cancel, harmless twice. */
  after(ms: number, run: () => void): () => void;
}

/** What `setTimeout` takes at most; above it, it fires at once. */
export const LONGEST_TIMER = 2 ** 31 - 1;
