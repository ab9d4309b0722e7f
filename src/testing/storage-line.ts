/** What a slow storage works through: one task after the other, late or not at all. */
import type { Clock } from '../lib/clock.js';

/** How the tasks of a line go at the moment. */
export interface LineTerms {
  readonly clock: Clock | undefined;
  /** Milliseconds that each takes. */
  delay(): number;
  hangs(): boolean;
}

interface Task {
  run(): void;
}

/** Tasks in their order. A task without a delay runs as it is added. */
export class StorageLine {
  readonly #terms: LineTerms;
  #tasks: Task[] = [];
  #waiters: (() => void)[] = [];
  #cancel: (() => void) | null = null;

  constructor(terms: LineTerms) {
    this.#terms = terms;
  }

  add<T>(run: () => T): Promise<T> {
    return new Promise((resolve) => {
      // Async, so that what it throws is a rejection.
      this.#tasks.push({ run: () => resolve((async () => run())()) });
      if (this.#tasks.length === 1) this.attend();
    });
  }

  /** Starts over with the first task, by the terms of now. */
  attend(): void {
    this.#cancel?.();
    this.#cancel = null;
    while (this.#tasks.length > 0 && !this.#terms.hangs()) {
      const { clock } = this.#terms;
      const delay = this.#terms.delay();
      if (delay > 0 && clock !== undefined) {
        this.#cancel = clock.after(delay, () => this.#step());
        return;
      }
      this.#tasks.shift()?.run();
    }
    this.#tellEmpty();
  }

  /** Resolves when nothing is left to do, or will ever be. */
  empty(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.#tellEmpty();
    });
  }

  /** Runs so many tasks at once; the others never run, and never settle. */
  cut(landed: number): void {
    this.#cancel?.();
    this.#cancel = null;
    for (const task of this.#tasks.splice(0).slice(0, landed)) task.run();
    this.#tellEmpty();
  }

  #step(): void {
    this.#cancel = null;
    this.#tasks.shift()?.run();
    this.attend();
  }

  #tellEmpty(): void {
    if (this.#tasks.length > 0) return;
    for (const tell of this.#waiters.splice(0)) tell();
  }
}
