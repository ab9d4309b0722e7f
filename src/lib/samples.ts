/** The last measurements of one kind, and how they are spread. */

/** Half, 95 and 99 of 100 measurements are no larger. */
export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** Measurements that are remembered. */
const LAST = 100;

export class Samples {
  readonly #last: number[] = [];
  #count = 0;

  add(sample: number): void {
    this.#last[this.#count++ % LAST] = sample;
  }

  /** Null before the first measurement. */
  get percentiles(): Percentiles | null {
    const sorted = [...this.#last].sort((one, other) => one - other);
    const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
    return sorted.length === 0 ? null : { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
  }
}
