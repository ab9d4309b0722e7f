/** Gathers what is asked of the journal at once into one transaction, and answers once it is kept. */
import { setImmediate } from 'node:timers';
import { resultCode, SQLITE } from '../lib/sqlite.node.js';
import type { Database } from './sqlite-database.js';

/**
 * What a work needs: `read` writes nothing, `light` may be lost in a power cut together with all that
 * came after it, `durable` may not.
 */
export type Weight = 'read' | 'light' | 'durable';

/** Keeps what is to happen once the transaction is committed, and never if it is not. */
export type After = (then: () => void) => void;

interface Work {
  readonly weight: Weight;
  readonly run: (after: After) => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export interface CommitsSetup {
  /** `turn`: what arrives in one turn of the event loop shares a transaction; `tick`: in one tick. */
  readonly batch: 'turn' | 'tick';
  /** Off: nothing waits for the disk. */
  readonly durable: boolean;
  readonly explained: (error: unknown) => Error;
}

export class Commits {
  readonly #database: Database;
  readonly #setup: CommitsSetup;
  #waiting: Work[] = [];
  /** What the next commit waits for, as SQLite has it now. */
  #waitsForDisk = true;

  constructor(database: Database, setup: CommitsSetup) {
    this.#database = database;
    this.#setup = setup;
    this.#syncs(false);
  }

  /** Runs in the order of the calls. What throws is undone, and rejects. */
  do<T>(weight: Weight, run: (after: After) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let result: { readonly value: T } | undefined;
      this.#waiting.push({
        weight,
        run: (after) => {
          result = { value: run(after) };
        },
        resolve: () => {
          if (result !== undefined) resolve(result.value);
        },
        reject,
      });
      if (this.#waiting.length > 1) return;
      const flush = () => this.flush();
      if (this.#setup.batch === 'turn') setImmediate(flush);
      else void Promise.resolve().then(flush);
    });
  }

  /** At once, for one who cannot wait; what waits goes first. */
  now<T>(weight: Weight, run: (after: After) => T): T {
    this.flush();
    const thens: (() => void)[] = [];
    let value: T;
    try {
      value = this.#within(weight, () => run((then) => thens.push(then)));
    } catch (error) {
      throw this.#setup.explained(error);
    }
    for (const then of thens) then();
    return value;
  }

  flush(): void {
    const batch = this.#waiting;
    if (batch.length === 0) return;
    this.#waiting = [];
    this.#commit(batch);
  }

  #commit(batch: readonly Work[]): void {
    const thens: (() => void)[] = [];
    const after: After = (then) => thens.push(then);
    try {
      this.#within(heaviest(batch), () => {
        for (const work of batch) work.run(after);
      });
    } catch (error) {
      this.#failed(batch, error);
      return;
    }
    for (const work of batch) work.resolve(undefined);
    for (const then of thens) then();
  }

  /** One by one, so that a work that cannot be done takes no other with it. */
  #failed(batch: readonly Work[], error: unknown): void {
    const isBusy = resultCode(error) === SQLITE.BUSY;
    for (const work of batch) {
      // Each of them would wait as long again.
      const isHopeless = batch.length === 1 || (isBusy && work.weight !== 'read');
      if (isHopeless) work.reject(this.#setup.explained(error));
      else this.#commit([work]);
    }
  }

  #within<T>(weight: Weight, run: () => T): T {
    this.#syncs(weight === 'durable' && this.#setup.durable);
    this.#database.exec(weight === 'read' ? 'BEGIN' : 'BEGIN IMMEDIATE');
    try {
      const value = run();
      this.#database.exec('COMMIT');
      return value;
    } catch (error) {
      this.#rollback();
      throw error;
    }
  }

  #rollback(): void {
    try {
      this.#database.exec('ROLLBACK');
    } catch {
      // SQLite has rolled back already, as it does where the disk is full.
    }
  }

  #syncs(waits: boolean): void {
    if (waits === this.#waitsForDisk) return;
    this.#database.exec(waits ? 'PRAGMA synchronous = FULL' : 'PRAGMA synchronous = NORMAL');
    this.#waitsForDisk = waits;
  }
}

function heaviest(batch: readonly Work[]): Weight {
  if (batch.some(({ weight }) => weight === 'durable')) return 'durable';
  return batch.some(({ weight }) => weight === 'light') ? 'light' : 'read';
}
