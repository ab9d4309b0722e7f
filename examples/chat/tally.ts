/** Checks a numbered series as it arrives: nothing lost, nothing doubled, all in order. */

export class Tally {
  delivered = 0;
  doubled = 0;
  outOfOrder = 0;
  /** Passed over, and not arrived since. */
  readonly missing = new Set<number>();
  /** Missing as well, but a gap notice said so. */
  readonly excused = new Set<number>();
  #next: number;

  /** @param first the number that must come first */
  constructor(first = 1) {
    this.#next = first;
  }

  /** The highest number that has arrived, or that a gap notice has covered. */
  get last(): number {
    return this.#next - 1;
  }

  take(number: number): void {
    this.delivered++;
    if (number >= this.#next) {
      for (let hole = this.#next; hole < number; hole++) this.missing.add(hole);
      this.#next = number + 1;
    } else if (this.missing.delete(number)) this.outOfOrder++;
    // What the fetched state contains may still arrive: once.
    else if (!this.excused.delete(number)) this.doubled++;
  }

  /** A gap notice came, and the state that was fetched holds everything up to `last`. */
  excuse(last: number): void {
    for (let hole = this.#next; hole <= last; hole++) this.excused.add(hole);
    this.#next = Math.max(this.#next, last + 1);
  }
}
