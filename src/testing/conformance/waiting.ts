/** Waiting for what is to come, in real time or by moving a virtual clock. */
import { platformEnvironment } from '../../client/environment.js';
import type { Clock } from '../../lib/clock.js';
import type { VirtualClock } from '../virtual-clock.js';
import { broken, holds } from './verdict.js';

/** Milliseconds that anything may take that has no deadline of its own. */
const PATIENCE = 10_000;

export class Waiting {
  readonly clock: Clock;
  readonly #virtual: VirtualClock | undefined;

  constructor(virtual: VirtualClock | undefined) {
    this.clock = virtual ?? platformEnvironment.clock;
    this.#virtual = virtual;
  }

  /** Waits until it holds. @throws Error where it does not, within the time. */
  async until(what: string, check: () => boolean, within = PATIENCE): Promise<void> {
    const deadline = this.clock.now() + within;
    for (;;) {
      if (check()) return;
      holds(this.clock.now() < deadline, `${what}: not within ${within} ms`);
      await this.wait(5);
    }
  }

  /** The promise's value, once it has one. @throws Error where it rejects, or takes too long. */
  async get<T>(promise: Promise<T>, what: string, within = PATIENCE): Promise<T> {
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    promise.then(settled, settled);
    await this.until(what, () => isSettled, within);
    try {
      return await promise;
    } catch (error) {
      throw broken(`${what}: ${String(error)}`);
    }
  }

  async wait(ms: number): Promise<void> {
    if (this.#virtual !== undefined) await this.#virtual.advance(ms);
    else await new Promise<void>((done) => this.clock.after(ms, done));
  }
}
