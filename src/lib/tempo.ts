/** How fast counters grow, without a clock or a timer of its own. */

interface Mark {
  readonly at: number;
  readonly counts: readonly number[];
}

/** Milliseconds between two marks. */
const APART = 30_000;

/** Remembers how counters stood half a minute to a minute ago; longer ago where nothing happened. */
export class Tempo {
  readonly #counts: () => readonly number[];
  #older: Mark | null = null;
  #newer: Mark | null = null;

  constructor(counts: () => readonly number[]) {
    this.#counts = counts;
  }

  /** To be told the time, in ms, whenever something has happened. */
  passed(at: number): void {
    if (this.#newer !== null && at < this.#newer.at + APART) return;
    const mark = { at, counts: this.#counts() };
    this.#older = this.#newer ?? mark;
    this.#newer = mark;
  }

  /** What each counter has grown by, a second. */
  perSecond(now: number): number[] {
    const { at, counts } = this.#older ?? { at: now, counts: [] };
    const seconds = Math.max(1, (now - at) / 1_000);
    return this.#counts().map((count, index) => (count - (counts[index] ?? 0)) / seconds);
  }
}
