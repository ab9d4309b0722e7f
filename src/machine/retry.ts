/** What follows a lost link or a failed attempt: how long to wait, or that there is no use in waiting. */
import type { HoldfastError } from '../protocol/errors.js';
import { type BackoffLimits, backoff, type Herd, nextSlot } from './backoff.js';
import { isHerdLoss, isPermanent } from './faults.js';
import type { CredentialReason } from './order.js';
import { LONGEST_PAUSE, NEVER, type Step } from './step.js';

export interface RetryOptions extends BackoffLimits {
  maxAttempts: number;
  stableAfter: number;
  failFast: boolean;
}

/** The application's own word on a fault; undefined: as its category says. */
export type Judge = (fault: HoldfastError) => boolean | { delay: number } | undefined;

export type Verdict =
  | { readonly next: 'close' }
  /** The first attempt failed, and the application wanted to know. */
  | { readonly next: 'give up' }
  /** At once, with fresh credentials. */
  | { readonly next: 'refresh' }
  | { readonly next: 'wait'; readonly until: number };

export interface Failure {
  fault: HoldfastError;
  /** It was the first attempt since `connect()`. */
  first: boolean;
  /** What the credentials' refusal means, where that is what it was. */
  refusal: 'stale' | 'refresh' | 'final' | null;
  /** The server's `retrySpread`, in ms. */
  spread: number;
}

export class Retry {
  readonly #options: RetryOptions;
  readonly #judge: Judge;
  #herd: Herd | null = null;
  /** Fresh credentials were tried at once since the last stable connection; next time it waits. */
  #refreshed = false;
  #stableAt = NEVER;
  /** Since the last stable connection. */
  #goodbyes = 0;
  /** Retries since the last stable connection. */
  attempts = 0;
  /** What credentials are asked for with. */
  reason: CredentialReason = 'connect';

  constructor(options: RetryOptions, judge: Judge) {
    this.#options = options;
    this.#judge = judge;
  }

  get deadline(): number {
    return this.#stableAt;
  }

  decide({ fault, first, refusal, spread }: Failure, step: Step): Verdict {
    const word = this.#judge(fault);
    this.#stableAt = NEVER;
    if (word === false || (word === undefined && isPermanent(fault))) return { next: 'close' };
    if (refusal !== null) {
      this.reason = 'expired';
      if (refusal === 'final') return { next: 'close' };
    }
    if (first && this.#options.failFast) return { next: 'give up' };
    if (++this.attempts > this.#options.maxAttempts) return { next: 'close' };
    if (refusal !== null && !this.#refreshed) {
      this.#refreshed = true;
      return { next: 'refresh' };
    }
    const wait = typeof word === 'object' ? word.delay : this.#wait(fault, spread, step);
    return { next: 'wait', until: step.now + wait };
  }

  /** A connection stands. Only one that holds for `stableAfter` starts the backoff over. */
  welcomed(now: number): void {
    this.#stableAt = now + this.#options.stableAfter;
    this.reason = 'connect';
    this.#herd = null;
  }

  /**
   * How long to wait after a goodbye that asks for `pause`. A server that says it again and again,
   * before any connection was stable, is not dialed faster than one that cannot be reached.
   */
  pause(pause: number, roll: number): number {
    // Below 0, which no server can say (the guard refuses it): a transport has the next link open already.
    if (pause < 0) return 0;
    const asked = Math.min(pause, LONGEST_PAUSE);
    if (this.#stableAt === NEVER || this.#goodbyes++ === 0) return asked;
    return Math.max(asked, backoff(this.#goodbyes, roll, this.#options));
  }

  /** The application, or the device, wants a link now: its own trouble, no herd's. */
  hurry(): void {
    this.#herd = null;
    this.#stableAt = NEVER;
  }

  reset(): void {
    this.attempts = 0;
    this.#refreshed = false;
    this.#goodbyes = 0;
    this.#stableAt = NEVER;
  }

  timeUp(now: number): void {
    if (now >= this.#stableAt) this.reset();
  }

  #wait(fault: HoldfastError, spread: number, { now, roll }: Step): number {
    const asked = Math.min(fault.retryAfter ?? 0, LONGEST_PAUSE);
    const wait = Math.max(asked, backoff(this.attempts, roll, this.#options));
    if (spread === 0 || !isHerdLoss(fault)) {
      this.#herd = null;
      return wait;
    }
    this.#herd ??= { origin: now, share: roll, spread: Math.min(spread, LONGEST_PAUSE) };
    return Math.max(wait, nextSlot(this.#herd, now) - now);
  }
}
