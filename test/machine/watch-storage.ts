/** Watches what a storage is told: it plays the storage, and what it would say after a crash. */
import type { SavedRequest } from '../../src/machine/fact.js';
import type { Changes, Order } from '../../src/machine/order.js';
import { STORAGE_TIMEOUT } from '../../src/machine/step.js';
import { must, type Scene } from './scene.js';

/** I26, I27. The wire of a request is its requestId. */
export class StorageWatch {
  /** `none`: there is no storage; `lost`: it was given up. */
  state: 'none' | 'closed' | 'opening' | 'open' | 'failing' | 'lost' = 'none';
  /** This step has brought what an earlier owner left. */
  isRestored = false;
  /** What a next owner would find. */
  readonly requests = new Map<string, string | null>();
  readonly cursors = new Map<string, string>();
  #underWay: { write: number; changes: Changes; until: number } | null = null;
  #writes = 0;
  #session = '';
  /** The session of each request's first write. */
  readonly #written = new Map<string, string>();

  /** The write that waits to be answered; 0: none. */
  get write(): number {
    return this.#underWay?.write ?? 0;
  }

  /** Whether a request counts as queued. */
  counts(requestId: string): boolean {
    const trusts = this.state === 'none' || this.state === 'failing' || this.state === 'lost';
    return trusts || this.requests.has(requestId);
  }

  step(scene: Scene): void {
    if (this.state === 'none') {
      if (scene.options.ledger === null) return;
      this.state = 'closed';
    }
    this.#hear(scene);
    if (scene.welcomed !== null) this.#session = scene.welcomed.welcome.session ?? '';
    for (const order of scene.orders) this.#order(order, scene);
    this.#late(scene);
  }

  /** What is left once all is told: what is unanswered, and nothing else. */
  rest(unanswered: readonly string[]): void {
    if (this.state !== 'open' || this.#underWay !== null) return;
    const kept = [...this.requests.keys()].sort();
    must(
      kept.join() === [...unanswered].sort().join(),
      'I27',
      `the storage keeps ${kept.join()}, unanswered are ${unanswered.join()}`,
    );
  }

  #hear({ fact }: Scene): void {
    this.isRestored = fact.fact === 'restored' && this.state === 'opening';
    if (fact.fact === 'restored' && this.state === 'opening') {
      this.state = 'open';
      for (const one of fact.saved.requests) this.#put(one);
      for (const [room, cursor] of fact.saved.cursors) this.cursors.set(room, cursor);
    } else if (fact.fact === 'restoreFailed' && this.state === 'opening') this.state = 'lost';
    else if (fact.fact === 'stored' && fact.write === this.#underWay?.write) {
      this.state = 'open';
      this.#apply(this.#underWay.changes);
      this.#underWay = null;
    } else if (fact.fact === 'storeFailed' && fact.write === this.write) this.#fail();
  }

  #order(order: Order, { fact, now }: Scene): void {
    switch (order.order) {
      case 'restore':
        must(this.state === 'closed', 'I27', `opens a storage that is ${this.state}`);
        this.state = 'opening';
        break;
      case 'store': {
        // The last word, as it is closed or comes too late.
        const last = this.state === 'lost' || fact.fact === 'closeAsked';
        must(order.write > this.#writes, 'I27', `write ${order.write} after ${this.#writes}`);
        must(
          last || (this.#underWay === null && fact.fact === 'tickEnded'),
          'I27',
          `writes ${order.write} at ${fact.fact}, ${this.write} is under way`,
        );
        this.#writes = order.write;
        this.#underWay = { ...order, until: now + STORAGE_TIMEOUT };
        if (last) this.#apply(order.changes);
        break;
      }
      case 'release':
        this.state = 'lost';
        this.#underWay = null;
        break;
      case 'transmit':
        for (const frame of order.frames) if (typeof frame === 'string') this.#transmitted(frame);
        break;
      default:
    }
  }

  #transmitted(requestId: string): void {
    const isRequest = requestId.startsWith('q');
    if (!isRequest) return;
    const session = this.#written.get(requestId) ?? this.#session;
    this.#written.set(requestId, session);
    if (this.state !== 'open') return;
    must(this.requests.has(requestId), 'I26', `writes ${requestId}, which is not stored`);
    const stored = this.requests.get(requestId);
    const fits = stored === session || stored === this.#session;
    must(fits, 'I26', `writes ${requestId} under ${session}, stored under ${stored}`);
  }

  /** What was not answered in time is given up. */
  #late({ fact, now, orders }: Scene): void {
    if (fact.fact === 'closeAsked') this.state = 'lost';
    if (fact.fact !== 'timeUp') return;
    const isReported = orders.some(
      (order) => order.order === 'report' && order.error.code === 'STORAGE_FAILED',
    );
    const isLate = this.#underWay !== null && now >= this.#underWay.until;
    must(!isLate || isReported || this.state === 'failing', 'I27', 'says nothing of a write');
    if (isReported && this.state === 'opening') this.state = 'lost';
    else if (isLate) this.#fail();
  }

  #fail(): void {
    if (this.#underWay === null) return;
    this.#underWay = null;
    this.state = 'failing';
  }

  #apply({ puts, stamps, drops, cursors }: Changes): void {
    for (const one of puts) this.#put(one);
    for (const [requestId, session] of stamps) {
      if (this.requests.has(requestId)) this.requests.set(requestId, session);
    }
    for (const requestId of drops) this.requests.delete(requestId);
    for (const [room, cursor] of cursors) {
      if (cursor === null) this.cursors.delete(room);
      else this.cursors.set(room, cursor);
    }
  }

  #put({ requestId, session }: SavedRequest): void {
    this.requests.set(requestId, session);
    if (session !== null && !this.#written.has(requestId)) this.#written.set(requestId, session);
  }
}
