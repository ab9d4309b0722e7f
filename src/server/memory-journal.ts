/** The journal in memory: outlives a hub, not its process. */
import type { Clock } from '../lib/clock.js';
import { checkKnown } from '../lib/known.js';
import type { Journal } from './journal.js';
import { boundNames, boundsOf, type JournalBounds } from './journal-bounds.js';
import { MemoryNode } from './memory-node.js';
import { MemoryStore } from './memory-store.js';

export interface MemoryJournalOptions extends JournalBounds {
  /** @default the clock of the first hub that opens it */
  readonly clock?: Clock | undefined;
}

export interface MemoryJournal extends Journal {
  /**
   * Declares every hub that has it open dead, as a crash would: what they still write is refused, their
   * running requests are orphans, and they close their clients with 1012, so that they move. For
   * tests, and for a hub that can no longer be closed.
   */
  fence(): void;
}

/** Rooms, epochs, responses and sessions in memory. Hand the same one to the next hub to keep them. */
export function memoryJournal(options: MemoryJournalOptions = {}): MemoryJournal {
  checkKnown('memoryJournal', options, [...boundNames, 'clock']);
  const bounds = boundsOf('memoryJournal', options);
  const store = new MemoryStore(bounds, options.clock);
  return {
    replayWindow: bounds.maxAge,
    requestWindow: bounds.requestWindow,
    open: (user) => new MemoryNode(store, user),
    fence() {
      for (const node of [...store.nodes.values()]) {
        node.end();
        node.user.fenced?.();
      }
    },
  };
}
