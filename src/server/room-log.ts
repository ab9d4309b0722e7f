/** The events of one room in memory: a ring bounded by count, bytes and age. */
import { type Draft, type Position, type Slice, type StoredEvent, storedEvent } from './journal.js';

export interface RoomBounds {
  readonly maxEvents: number;
  readonly maxBytes: number;
  readonly maxAge: number;
}

export class RoomLog {
  readonly epoch: string;
  /** Nodes that follow the room: it is not forgotten while there are some. */
  readonly followers = new Set<string>();
  /** When the room was last asked for or written to. */
  usedAt: number;
  readonly #bounds: RoomBounds;
  #entries: { readonly event: StoredEvent; readonly at: number }[] = [];
  /** Index of the oldest kept entry: what lies before it is cut off now and then, not each time. */
  #start = 0;
  #seq = 0;
  #bytes = 0;

  constructor(epoch: string, now: number, bounds: RoomBounds) {
    this.epoch = epoch;
    this.usedAt = now;
    this.#bounds = bounds;
  }

  get tail(): Position {
    return { epoch: this.epoch, seq: this.#seq };
  }

  append(draft: Draft, now: number): StoredEvent {
    this.#seq++;
    const event = storedEvent({ epoch: this.epoch, seq: this.#seq }, draft.body);
    this.#entries.push({ event, at: now });
    this.#bytes += event.bytes;
    this.usedAt = now;
    this.trim(now);
    return event;
  }

  read(since: Position, limit: number, now: number): Slice {
    this.usedAt = now;
    this.trim(now);
    if (since.epoch !== this.epoch || since.seq > this.#seq) {
      return { gap: 'epoch', tail: this.tail };
    }
    const kept = this.#entries.length - this.#start;
    const missing = this.#seq - since.seq;
    if (missing > kept) return { gap: 'expired', tail: this.tail };
    const from = this.#entries.length - missing;
    return { events: this.#entries.slice(from, from + limit).map((entry) => entry.event) };
  }

  trim(now: number): void {
    const { maxEvents, maxBytes, maxAge } = this.#bounds;
    for (;;) {
      const oldest = this.#entries[this.#start];
      if (oldest === undefined) break;
      const fits = this.#entries.length - this.#start <= maxEvents && this.#bytes <= maxBytes;
      if (fits && now - oldest.at <= maxAge) break;
      this.#bytes -= oldest.event.bytes;
      this.#start++;
    }
    if (this.#start < 64 || this.#start * 2 < this.#entries.length) return;
    this.#entries = this.#entries.slice(this.#start);
    this.#start = 0;
  }
}
