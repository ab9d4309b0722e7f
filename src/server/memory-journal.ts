/** The journal in memory: outlives a hub, not its process. */
import type { Clock } from '../lib/clock.js';
import type { Journal } from './journal.js';
import { MemoryNode } from './memory-node.js';
import { type MemoryBounds, MemoryStore } from './memory-store.js';

export interface MemoryJournalOptions {
  /** Events kept in each room. @default 1_000 */
  readonly maxEvents?: number | undefined;
  /** Bytes of encoded events kept in each room. @default 4_194_304 */
  readonly maxBytes?: number | undefined;
  /** Milliseconds for which an event is kept. @default 120_000: longer than most outages last. */
  readonly maxAge?: number | undefined;
  /** Rooms kept; above it the least recently used one that nobody is in is forgotten. @default 100_000 */
  readonly maxRooms?: number | undefined;
  /** Milliseconds after which a room that nobody uses is forgotten. @default 3_600_000 */
  readonly roomWindow?: number | undefined;
  /** Milliseconds for which responses are kept after a client's last link. @default 600_000 */
  readonly requestWindow?: number | undefined;
  /** Clients kept; above it the one that left first is forgotten. @default 100_000 */
  readonly maxClients?: number | undefined;
  /** Requests remembered of each client. Above it half are forgotten and its session changes. @default 10_000 */
  readonly maxRequests?: number | undefined;
  /** Bytes of responses kept of each client. Above it only the fact that a request ran is kept. @default 1_048_576 */
  readonly maxResponseBytes?: number | undefined;
  /** @default the clock of the first hub that opens it */
  readonly clock?: Clock | undefined;
}

export interface MemoryJournal extends Journal {
  /**
   * Declares every hub that has it open dead, as a crash would: what they still write is refused and
   * their running requests are orphans. For tests, and for a hub that can no longer be closed.
   */
  fence(): void;
}

/** Rooms, epochs, responses and sessions in memory. Hand the same one to the next hub to keep them. */
export function memoryJournal(options: MemoryJournalOptions = {}): MemoryJournal {
  const bounds = checked(options);
  const store = new MemoryStore(bounds, options.clock);
  return {
    replayWindow: bounds.maxAge,
    requestWindow: bounds.requestWindow,
    open: (user) => new MemoryNode(store, user),
    fence() {
      for (const node of [...store.nodes.values()]) node.end();
    },
  };
}

const defaults = Object.freeze({
  maxEvents: 1_000,
  maxBytes: 4_194_304,
  maxAge: 120_000,
  maxRooms: 100_000,
  roomWindow: 3_600_000,
  requestWindow: 600_000,
  maxClients: 100_000,
  maxRequests: 10_000,
  maxResponseBytes: 1_048_576,
});

function checked(options: MemoryJournalOptions): MemoryBounds {
  const bound = (name: keyof MemoryBounds) => {
    const value = options[name] ?? defaults[name];
    if (Number.isFinite(value) && value > 0) return value;
    throw new RangeError(
      `memoryJournal: ${name} must be a finite number above 0, not ${String(value)}.`,
    );
  };
  return {
    maxEvents: bound('maxEvents'),
    maxBytes: bound('maxBytes'),
    maxAge: bound('maxAge'),
    maxRooms: bound('maxRooms'),
    roomWindow: bound('roomWindow'),
    requestWindow: bound('requestWindow'),
    maxClients: bound('maxClients'),
    maxRequests: bound('maxRequests'),
    maxResponseBytes: bound('maxResponseBytes'),
  };
}
