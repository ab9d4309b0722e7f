/** How long to wait before the next attempt. */

/** Full jitter and its kin: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. */
export interface BackoffLimits {
  /** Milliseconds; the ceiling of the first wait. */
  initialDelay: number;
  /** Milliseconds; no ceiling grows above it. */
  maxDelay: number;
  factor: number;
  /** `full`: anywhere from 45 % of the ceiling up to it. A number: so many ms at most on top. */
  jitter: 'full' | 'none' | number;
}

/**
 * What of a ceiling is always waited. Without a floor many dial again before anything can have
 * changed: in the simulation of a storm (bench/storm.ts) that costs every client an attempt more and
 * brings none of them back sooner, and no choice of the other values makes up for it.
 */
const FLOOR = 0.45;

/**
 * Milliseconds before attempt number `attempt` (1 is the first retry). The jitter comes after the
 * cap, or clients that all reached it would march in step. Never 0: a refused dial must not spin.
 * @param roll in [0, 1)
 */
export function backoff(attempt: number, roll: number, limits: BackoffLimits): number {
  const ceiling = Math.min(limits.maxDelay, limits.initialDelay * limits.factor ** (attempt - 1));
  const { jitter } = limits;
  if (jitter === 'full') return Math.max(1, ceiling * (1 - (1 - FLOOR) * roll));
  return Math.max(1, ceiling + (jitter === 'none' ? 0 : jitter * roll));
}

/**
 * The slot a herd's member keeps: `spread` ms hold all clients that lost the server at `origin`, each
 * at its own `share` of them, again in every following turn. So the server sees an even stream from
 * the first second on, which no kind of jitter gives. Returns the first slot after `now`.
 */
export function nextSlot(herd: Herd, now: number): number {
  const first = herd.origin + herd.share * herd.spread;
  if (first > now) return first;
  return first + Math.ceil((now - first + 1) / herd.spread) * herd.spread;
}

export interface Herd {
  /** When the server was lost, in ms of the monotonic clock. */
  origin: number;
  /** Drawn once for each loss, in [0, 1). */
  share: number;
  /** The server's `retrySpread`, in ms; above 0. */
  spread: number;
}
