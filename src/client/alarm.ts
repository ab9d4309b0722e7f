/** The client's one timer. */
import { type Clock, LONGEST_TIMER } from '../lib/clock.js';

/** A timer so late says that the device slept: what arrived meanwhile is read first. */
const LATE = 1_000;

export class Alarm {
  readonly #clock: Clock;
  readonly #ring: () => void;
  /** Put off once already: in a hidden tab every timer is late, and this one has to ring some time. */
  #putOff = false;
  #set: { at: number; cancel: () => void } | null = null;

  constructor(clock: Clock, ring: () => void) {
    this.#clock = clock;
    this.#ring = ring;
  }

  /**
   * Rings at `deadline`, in ms of the monotonic clock, or before: one that is set too early is left,
   * since moving it costs more than a look in vain. Infinity: not at all.
   */
  set(deadline: number, now: number): void {
    if (deadline === Number.POSITIVE_INFINITY) {
      this.#set?.cancel();
      this.#set = null;
    } else if (this.#set === null || this.#set.at > deadline) {
      this.#set?.cancel();
      this.#arm(Math.max(0, Math.ceil(deadline - now)), deadline);
    }
  }

  #arm(wait: number, at: number): void {
    const cancel = this.#clock.after(Math.min(wait, LONGEST_TIMER), () => this.#due(at));
    this.#set = { at, cancel };
  }

  #due(at: number): void {
    const now = this.#clock.now();
    this.#putOff = now > at + LATE && !this.#putOff;
    if (this.#putOff) {
      this.#arm(0, now);
      return;
    }
    this.#set = null;
    this.#ring();
  }
}
