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
  /** Calls of `next` that came before their event. */
  readonly #waiting = new Queue<Deferred<IteratorResult<T>>>();
  #ended = false;
  #error: HoldfastError | null = null;

  /** @param onEnd called once, when nothing is to be pushed any more */
  constructor(size: number, onEnd: () => void) {
    this.#size = size;
    this.#onEnd = onEnd;
  }

  push(value: T, had: () => void): void {
    const waiting = this.#ended ? undefined : this.#waiting.shift();
    if (this.#ended) had();
    else if (waiting !== undefined) waiting.resolve(this.#take({ value, had }));
    else if (this.#items.length < this.#size) this.#items.push({ value, had });
    else {
      this.#error = overflow(this.#size);
      had();
      // What it holds may still be taken; the cursor does not wait for that.
      const held = this.#items.toArray();
      this.#end();
      for (const { value: one } of held) this.#items.push({ value: one, had: () => {} });
    }
  }

  async next(): Promise<IteratorResult<T>> {
    const item = this.#items.shift();
    if (item !== undefined) return this.#take(item);
    this.#current?.had();
    this.#current = null;
    if (this.#error !== null) {
      const error = this.#error;
      this.#error = null;
      throw error;
    }
    if (this.#ended) return { value: undefined, done: true };
    const waiting = deferred<IteratorResult<T>>();
    this.#waiting.push(waiting);
    return waiting.promise;
  }

  async return(): Promise<IteratorResult<T>> {
    this.#end();
    this.#items.clear();
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Whoever asks for the next one has had the one before. */
  #take(item: Item<T>): IteratorResult<T> {
    this.#current?.had();
    this.#current = item;
    return { value: item.value, done: false };
  }

  /** Nobody gets what is left: it counts as had, or the room's cursor would wait for it for ever. */
  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#current?.had();
    this.#current = null;
    for (let item = this.#items.shift(); item !== undefined; item = this.#items.shift()) item.had();
    for (let one = this.#waiting.shift(); one !== undefined; one = this.#waiting.shift()) {
      one.resolve({ value: undefined, done: true });
    }
    this.#onEnd();
  }
}

function overflow(size: number): HoldfastError {
  return new HoldfastError(
    'LISTENER_FAILED',
    `${size} events wait for this iterator, as many as it may hold. Take them faster, or pass a larger bufferSize to events().`,
  );
}
