/** The slots of a memory storage: what stands in each, who owns it, and which one is taken next. */

import { LINKS_PER_OWNER } from '../client/storage.js';
import type { Saved, SavedRequest } from '../machine/fact.js';
import type { Changes } from '../machine/order.js';
import { MAX_CURSORS, SLOT_LIFETIME } from '../storage/slots.js';

/** One slot, as its writes leave it. Maps keep the order of their first entry. */
export class MemorySlot {
  readonly clientId: string;
  link = 0;
  user: string | null | undefined;
  /** Unix milliseconds of its last use. */
  used = 0;
  owned = false;
  readonly requests = new Map<string, Entry>();
  readonly cursors = new Map<string, string>();

  constructor(clientId: string) {
    this.clientId = clientId;
  }

  /** How many requests it would hold after these changes. */
  sizeAfter({ puts, drops }: Changes): number {
    const ids = new Set([...this.requests.keys(), ...puts.map(({ requestId }) => requestId)]);
    for (const id of drops) ids.delete(id);
    return ids.size;
  }

  /** @param turn counts the writes of the whole storage: who asked first has waited longest */
  apply(changes: Changes, turn: number, date: number): void {
    this.used = date;
    for (const request of changes.puts) this.#put(request, turn);
    for (const [id, session] of changes.stamps) {
      const entry = this.requests.get(id);
      if (entry !== undefined) entry.request = { ...entry.request, session };
    }
    for (const id of changes.drops) this.requests.delete(id);
    for (const [room, cursor] of changes.cursors) {
      // Taken out first, so that the oldest written comes first.
      this.cursors.delete(room);
      if (cursor !== null) this.cursors.set(room, cursor);
    }
    for (const room of this.cursors.keys()) {
      if (this.cursors.size <= MAX_CURSORS) break;
      this.cursors.delete(room);
    }
    if (changes.user !== undefined) this.user = changes.user;
  }

  /** Since when its oldest request waits; Infinity without one. */
  get waitingSince(): number {
    const [oldest] = this.requests.values();
    return oldest?.turn ?? Number.POSITIVE_INFINITY;
  }

  saved(): Saved {
    const { clientId, link, user } = this;
    const requests = [...this.requests.values()].map(({ request }) => request);
    return { clientId, link, user, requests, cursors: [...this.cursors] };
  }

  #put(request: SavedRequest, turn: number): void {
    // One that is there keeps its place.
    const place = this.requests.get(request.requestId)?.turn ?? turn;
    this.requests.set(request.requestId, { turn: place, request: { ...request } });
  }
}

interface Entry {
  readonly turn: number;
  request: SavedRequest;
}

/**
 * Takes a free slot, or adds one: the one whose requests have waited longest, else the one that was
 * used last. Those that nobody has used for long are forgotten.
 */
export function takeSlot(slots: MemorySlot[], makeId: () => string, date: number): Taken {
  const [best] = slots
    .filter(({ owned }) => !owned)
    .sort((one, other) => rank(one) - rank(other) || other.used - one.used);
  const slot = best ?? new MemorySlot(makeId());
  if (best === undefined) slots.push(slot);
  slot.owned = true;
  slot.used = date;
  const saved = slot.saved();
  slot.link += LINKS_PER_OWNER;
  for (const old of slots.filter((one) => isForgotten(one, date)))
    slots.splice(slots.indexOf(old), 1);
  return { slot, saved };
}

export interface Taken {
  readonly slot: MemorySlot;
  readonly saved: Saved;
}

/** A number even without a request: two infinities have no difference. */
function rank({ waitingSince }: MemorySlot): number {
  return Math.min(waitingSince, Number.MAX_SAFE_INTEGER);
}

function isForgotten({ owned, used, requests }: MemorySlot, date: number): boolean {
  return !owned && requests.size === 0 && date - used > SLOT_LIFETIME;
}
