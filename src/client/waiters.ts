/** The promises that an application holds: each settles once, on the machine's order. */
import { type Deferred, deferred } from '../lib/deferred.js';

export class Waiters<K> {
  readonly #waiting = new Map<K, Deferred<unknown>>();

  add(key: K): Deferred<unknown> {
    const waiter = deferred<unknown>();
    this.#waiting.set(key, waiter);
    return waiter;
  }

  get(key: K): Promise<unknown> | undefined {
    return this.#waiting.get(key)?.promise;
  }

  resolve(key: K, value?: unknown): void {
    this.#take(key)?.resolve(value);
  }

  /** False where nobody waits any more. */
  reject(key: K, error: unknown): boolean {
    const waiter = this.#take(key);
    waiter?.reject(error);
    return waiter !== undefined;
  }

  keys(): K[] {
    return [...this.#waiting.keys()];
  }

  #take(key: K): Deferred<unknown> | undefined {
    const waiter = this.#waiting.get(key);
    this.#waiting.delete(key);
    return waiter;
  }
}
