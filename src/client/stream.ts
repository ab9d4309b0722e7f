/** Events as an async iterator, with a buffer that has an end. */
import { type Deferred, deferred } from '../lib/deferred.js';
import { Queue } from '../lib/queue.js';
import { HoldfastError } from '../protocol/errors.js';

interface Item<T> {
  readonly value: T;
  /** Called when the consumer asks for the next one: then it has had this one. */
  readonly had: () => void;
}

/** One `for await` over events. The consumer's pace is its own, as long as the buffer holds. */
export class Stream<T> implements AsyncIterableIterator<T> {
  readonly #size: number;
  readonly #onEnd: () => void;
  readonly #items = new Queue<Item<T>>();
  #current: Item<T> | null = null;
  #waiting: Deferred<IteratorResult<T>> | null = null;
  #ended = false;
  #error: HoldfastError | null = null;

  /** @param onEnd called once, when nothing is to be pushed any more */
  constructor(size: number, onEnd: () => void) {
    this.#size = size;
    this.#onEnd = onEnd;
  }

  push(value: T, had: () => void): void {
    const item = { value, had };
    if (this.#ended) had();
    else if (this.#waiting !== null) {
      const waiting = this.#waiting;
      this.#waiting = null;
      this.#current = item;
      waiting.resolve({ value, done: false });
    } else if (this.#items.length < this.#size) this.#items.push(item);
    else {
      this.#error = overflow(this.#size);
      had();
      this.#end();
    }
  }

  async next(): Promise<IteratorResult<T>> {
    this.#current?.had();
    this.#current = this.#items.shift() ?? null;
    if (this.#current !== null) return { value: this.#current.value, done: false };
    if (this.#error !== null) {
      const error = this.#error;
      this.#error = null;
      throw error;
    }
    if (this.#ended) return { value: undefined, done: true };
    this.#waiting ??= deferred();
    return this.#waiting.promise;
  }

  async return(): Promise<IteratorResult<T>> {
    this.#current?.had();
    this.#current = null;
    for (let item = this.#items.shift(); item !== undefined; item = this.#items.shift()) item.had();
    this.#end();
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
    this.#waiting?.resolve({ value: undefined, done: true });
    this.#waiting = null;
  }
}

function overflow(size: number): HoldfastError {
  return new HoldfastError(
    'LISTENER_FAILED',
    `${size} events wait for this iterator, as many as it may hold. Take them faster, or pass a larger bufferSize to events().`,
  );
}
