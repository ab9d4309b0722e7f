/** Listeners by type, over eventemitter3: each shielded, each with its own way out. */
import { EventEmitter } from 'eventemitter3';
import { shielded } from './shield.js';

type Listener<A extends readonly unknown[]> = (...args: A) => unknown;

/**
 * A listener that throws does not stop the next one; one that was taken off during an emit is not
 * called any more, and the rest are.
 */
export class Emitter<A extends readonly unknown[]> {
  readonly #emitter = new EventEmitter();
  readonly #report: (thrown: unknown) => void;

  constructor(report: (thrown: unknown) => void) {
    this.#report = report;
  }

  /** Returns its removal, harmless twice. `run`: what is called in the listener's place. */
  on(type: string, listener: Listener<A>, run: Listener<A> = listener): () => void {
    const call = shielded(run, this.#report);
    const guarded: Guarded<A> = (...args) => {
      if (guarded.listener !== null) call(...args);
    };
    guarded.listener = listener;
    this.#emitter.on(type, guarded);
    return () => this.#remove(type, guarded);
  }

  once(type: string, listener: Listener<A>): () => void {
    const off = this.on(type, listener, (...args) => {
      off();
      return listener(...args);
    });
    return off;
  }

  off(type: string, listener: Listener<A>): void {
    for (const guarded of this.#emitter.listeners(type) as Guarded<A>[]) {
      if (guarded.listener === listener) this.#remove(type, guarded);
    }
  }

  /** Returns whether anybody listened. */
  emit(type: string, ...args: A): boolean {
    return this.#emitter.emit(type, ...args);
  }

  hears(type: string): boolean {
    return this.#emitter.listenerCount(type) > 0;
  }

  #remove(type: string, guarded: Guarded<A>): void {
    guarded.listener = null;
    this.#emitter.off(type, guarded);
  }
}

interface Guarded<A extends readonly unknown[]> {
  (...args: A): void;
  listener: Listener<A> | null;
}
