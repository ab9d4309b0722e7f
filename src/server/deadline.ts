/** Waiting for application code, but not forever. */
import type { Clock } from '../lib/clock.js';

/** An AbortSignal that is only made when somebody looks at it. */
export class Abort {
  #controller: AbortController | undefined;
  #reason: Error | undefined;

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

/** Runs it, and rejects with `DeadlinePassed` when it takes longer. What answers at once costs no timer. */
export async function within<T>(deadline: Deadline, run: () => T | PromiseLike<T>): Promise<T> {
  const answer = run();
  if (!isThenable(answer)) return answer;
  return new Promise<T>((resolve, reject) => {
    const cancel = deadline.clock.after(deadline.ms, () => {
      const passed = new DeadlinePassed(`No answer within ${deadline.ms} ms.`);
      deadline.abort.abort(passed);
      reject(passed);
    });
    answer.then(
      (value) => {
        cancel();
        resolve(value);
      },
      (error: unknown) => {
        cancel();
        reject(error);
      },
    );
  });
}

function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && 'then' in value;
}
