/** One after another, in order of arrival. */
import { Queue } from '../lib/queue.js';

export class Line<T> {
  readonly #work: (item: T) => Promise<void>;
  readonly #waiting = new Queue<T>();
  #busy = false;

  /** @param work must not reject. */
  constructor(work: (item: T) => Promise<void>) {
    this.#work = work;
  }

  get isIdle(): boolean {
    return !this.#busy;
  }

  /** Waiting items, the one under way not counted. */
  get length(): number {
    return this.#waiting.length;
  }

  add(item: T): void {
    this.#waiting.push(item);
    if (this.#busy) return;
    this.#busy = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    for (let item = this.#waiting.shift(); item !== undefined; item = this.#waiting.shift()) {
      await this.#work(item);
    }
    this.#busy = false;
  }
}
