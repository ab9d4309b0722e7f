/** How fast the outbox may be written: a token bucket, and pauses that the server asks for. */
import { NEVER } from './step.js';

export class Pace {
  /** Messages per second; as many may go at once after a quiet second. */
  #rate = 1;
  #tokens = 0;
  #refilledAt = 0;
  #heldUntil = 0;
  #isHeld = false;
  #nextAt = NEVER;

  /** When writing may go on, where it was stopped here. */
  get deadline(): number {
    return this.#nextAt;
  }

  timeUp(now: number): void {
    if (now >= this.#nextAt) this.#nextAt = NEVER;
  }

  /** A new link: nothing of the old one's pauses counts. */
  restart(rate: number, now: number): void {
    // A server that says 0 would stop everything; one a second is as slow as it gets.
    this.#rate = Math.max(1, rate);
    this.#tokens = this.#rate;
    this.#refilledAt = now;
    this.#heldUntil = 0;
    this.#isHeld = false;
    this.#nextAt = NEVER;
  }

  /** Nothing is written while credentials are being renewed. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
  }

  /** Nothing is written before `until`: the server asked for it. Never shortens a pause. */
  pause(until: number): void {
    this.#heldUntil = Math.max(this.#heldUntil, until);
  }

  /** Takes the turn of one message, or sets the deadline for it. */
  take(now: number): boolean {
    if (this.#isHeld) return false;
    if (now < this.#heldUntil) {
      this.#nextAt = this.#heldUntil;
      return false;
    }
    const earned = ((now - this.#refilledAt) * this.#rate) / 1_000;
    this.#tokens = Math.min(this.#rate, this.#tokens + earned);
    this.#refilledAt = now;
    const isFree = this.#tokens >= 1;
    if (isFree) this.#tokens--;
    // At least 1 ms: with rates such as 3 the last bit of a token is lost to rounding.
    this.#nextAt = isFree ? NEVER : now + Math.max(1, ((1 - this.#tokens) * 1_000) / this.#rate);
    return isFree;
  }
}
