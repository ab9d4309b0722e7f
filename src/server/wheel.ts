/** One timer for all connections of a hub; it turns only while there are some. */
import type { Clock } from '../lib/clock.js';

export interface Ticking {
  tick(now: number): void;
}

export class Wheel {
  readonly #clock: Clock;
  readonly #ms: number;
  readonly #members = new Set<Ticking>();
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#ms = ms;
  }

  add(member: Ticking): void {
    this.#members.add(member);
    this.#cancel ??= this.#clock.after(this.#ms, () => this.#turn());
  }

  delete(member: Ticking): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #turn(): void {
    const now = this.#clock.now();
    this.#cancel = this.#clock.after(this.#ms, () => this.#turn());
    for (const member of this.#members) member.tick(now);
  }
}
