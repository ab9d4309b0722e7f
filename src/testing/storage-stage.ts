/** What the rules of storages are played on: one storage, its owners, and what they write. */
import type { Slot, StorageAdapter } from '../client/storage.js';
import type { SavedRequest } from '../machine/fact.js';
import type { Changes } from '../machine/order.js';
import { ids } from './dice.js';
import { shown } from './shown.js';
import { VIRTUAL_EPOCH } from './virtual-clock.js';

/** One storage, and whoever holds a slot of it. */
export class Stage {
  readonly #adapter: StorageAdapter;
  readonly #id = ids();
  readonly #slots: Slot[] = [];
  readonly #reports: unknown[] = [];
  #date = VIRTUAL_EPOCH;

  constructor(adapter: StorageAdapter) {
    this.#adapter = adapter;
  }

  async open(): Promise<Slot> {
    const slot = await this.#adapter.open({
      id: this.#id,
      date: () => this.#date,
      report: (error) => this.#reports.push(error),
    });
    this.#slots.push(slot);
    return slot;
  }

  async reopen(slot: Slot): Promise<Slot> {
    await slot.close();
    return this.open();
  }

  wait(ms: number): void {
    this.#date += ms;
  }

  async end(): Promise<void> {
    for (const slot of this.#slots) await slot.close();
    same(this.#reports, []);
  }
}

export function request(requestId: string, about: Partial<SavedRequest> = {}): SavedRequest {
  return {
    requestId,
    type: 'note:add',
    room: undefined,
    wire: `{"kind":"request","requestId":"${requestId}"}`,
    delivery: 'exactly-once',
    timeout: 30_000,
    expiresAt: Number.POSITIVE_INFINITY,
    coalesceKey: undefined,
    session: null,
    ...about,
  };
}

export function changes(about: Partial<Changes>): Changes {
  return { puts: [], stamps: [], drops: [], cursors: [], ...about };
}

/** @throws Error with both values, where they are not the same. */
export function same(found: unknown, wanted: unknown): void {
  const [here, there] = [shown(found), shown(wanted)];
  holds(here === there, `found ${here}, wanted ${there}`);
}

export function holds(isTrue: boolean, what: string): void {
  if (!isTrue) throw new Error(`The storage breaks a rule: ${what}`);
}
