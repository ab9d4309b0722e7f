/** Waiting for application code, but not forever. */
import type { Clock } from '../lib/clock.js';

/** An AbortSignal that is only made when somebody looks at it. */
export class Abort {
  #controller: AbortController | undefined;
  #reason: Error | undefined;
  #listeners: Set<(reason: Error) => void> | undefined;

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  get aborted(): boolean {
    return this.#reason !== undefined;
  }

  abort(reason: Error): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    for (const listener of this.#listeners ?? []) listener(reason);
    this.#listeners = undefined;
  }

  /** Called at once where it is aborted already. Returns its undo. */
  onAbort(listener: (reason: Error) => void): () => void {
    if (this.#reason !== undefined) {
      listener(this.#reason);
      return () => {};
    }
    this.#listeners ??= new Set();
    this.#listeners.add(listener);
    return () => this.#listeners?.delete(listener);
  }
}

/** Application code did not answer in time. */
export class DeadlinePassed extends Error {
  override readonly name = 'DeadlinePassed';
}

export interface Deadline {
  readonly clock: Clock;
  readonly ms: number;
  readonly abort: Abort;
}

/**
 * Runs it, and rejects with `DeadlinePassed` when it takes longer, or with the reason it was aborted
 * with. What answers at once costs no timer.
 */
export async function within<T>(
  { clock, ms, abort }: Deadline,
  run: () => T | PromiseLike<T>,
): Promise<T> {
  const answer = run();
  if (!isThenable(answer)) return answer;
  return new Promise<T>((resolve, reject) => {
    const cancel = clock.after(ms, () => {
      abort.abort(new DeadlinePassed(`No answer within ${ms} ms.`));
    });
    const forget = abort.onAbort((reason) => {
      cancel();
      reject(reason);
    });
    const settle = () => {
      cancel();
      forget();
    };
    answer.then(resolve, reject);
    answer.then(settle, settle);
  });
}

export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && 'then' in value;
}
