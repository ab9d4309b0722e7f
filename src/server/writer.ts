/** Gathers the writes of a tick, and those that arrive while one is under way, into one journal call. */
import type { JournalNode, Write, WriteResult } from './journal.js';

interface Waiting {
  readonly write: Write;
  readonly resolve: (result: WriteResult) => void;
  readonly reject: (error: unknown) => void;
}

export class Writer {
  readonly #journal: JournalNode;
  #waiting: Waiting[] = [];
  #busy: Promise<void> | undefined;

  constructor(journal: JournalNode) {
    this.#journal = journal;
  }

  /** Resolves once the journal has it. Writes keep the order of their calls. */
  write(write: Write): Promise<WriteResult> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ write, resolve, reject });
      this.#busy ??= this.#drain();
    });
  }

  /** Resolves once nothing is under way. */
  async idle(): Promise<void> {
    await this.#busy;
  }

  async #drain(): Promise<void> {
    // The rest of this tick comes along.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        const results = await this.#journal.write(batch.map((waiting) => waiting.write));
        batch.forEach((waiting, index) => {
          waiting.resolve(results[index] ?? { accepted: false });
        });
      } catch (error) {
        for (const waiting of batch) waiting.reject(error);
      }
    }
    this.#busy = undefined;
  }
}
