/** What comes one by one, for those who wait for the next one. */

export interface Arrivals<T> {
  add(one: T): void;
  /** The oldest that was not handed out yet, now or when it comes. */
  next(): Promise<T>;
}

/** Hands out what comes, each once, in order, now or when it comes. */
export function arrivalsOf<T>(): Arrivals<T> {
  const come: { one: T }[] = [];
  const waiting: ((one: T) => void)[] = [];
  return {
    add(one) {
      const first = waiting.shift();
      if (first === undefined) come.push({ one });
      else first(one);
    },
    next() {
      const oldest = come.shift();
      if (oldest !== undefined) return Promise.resolve(oldest.one);
      return new Promise((done) => waiting.push(done));
    },
  };
}
