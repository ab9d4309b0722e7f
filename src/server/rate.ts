/** How fast one connection may send: a token bucket that can go into debt. */

/** Seconds' worth that may come at once: a network that stalled delivers in lumps. */
const BURST = 2;
/** Seconds' worth of debt above which it is abuse, not bad luck. */
const WORST = 10;
/** The shortest wait that is asked for, in ms: long enough for what is already under way to arrive. */
const SHORTEST_WAIT = 1_000;

export class RateMeter {
  readonly #rate: number;
  #tokens: number;
  #filledAt: number;
  #blockedUntil = 0;

  constructor(rate: number, now: number) {
    this.#rate = rate;
    this.#tokens = rate * BURST;
    this.#filledAt = now;
  }

  /** Takes one frame into account. Undefined: it may pass; else the ms to wait. */
  take(now: number): number | undefined {
    const earned = ((now - this.#filledAt) * this.#rate) / 1_000;
    this.#tokens = Math.min(this.#rate * BURST, this.#tokens + earned) - 1;
    this.#filledAt = now;
    // Once one was refused, those behind it are too: they would overtake it.
    if (now < this.#blockedUntil) return Math.ceil(this.#blockedUntil - now);
    if (this.#tokens >= 0) return undefined;
    return this.block(now, Math.ceil((-this.#tokens * 1_000) / this.#rate));
  }

  /** Refuses everything for a while. */
  block(now: number, ms: number): number {
    const wait = Math.max(SHORTEST_WAIT, ms);
    this.#blockedUntil = now + wait;
    return wait;
  }

  get isAbused(): boolean {
    return this.#tokens < -this.#rate * WORST;
  }
}
