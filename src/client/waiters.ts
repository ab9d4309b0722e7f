/** The promises that an application holds: each settles once, on the machine's order. */
import { type Deferred, deferred } from '../lib/deferred.js';

/** Requests wait under their requestId, everything else under the number of its call. */
type Key = string | number;

export class Waiters {
  readonly #waiting = new Map<Key, Deferred<unknown>>();

  add(key: Key): Promise<unknown> {
    const waiter = deferred<unknown>();
    this.#waiting.set(key, waiter);
    return waiter.promise;
  }

  get(key: Key): Promise<unknown> | undefined {
    return this.#waiting.get(key)?.promise;
  }

  resolve(key: Key, value?: unknown): void {
    this.#take(key)?.resolve(value);
  }

  /** False where nobody waits any more. */
  reject(key: Key, error: unknown): boolean {
    const waiter = this.#take(key);
    waiter?.reject(error);
    return waiter !== undefined;
  }

  /** All of these at once. */
  answer(keys: readonly Key[], error: Error | null): void {
    for (const key of keys) {
      if (error === null) this.resolve(key);
      else this.reject(key, error);
    }
  }

  #take(key: Key): Deferred<unknown> | undefined {
    const waiter = this.#waiting.get(key);
    this.#waiting.delete(key);
    return waiter;
  }
}
