/** What one client asked and was answered: claims and responses, bounded, under one session id. */
import { Queue } from '../lib/queue.js';
import type { Claim, Claimed, Recalled } from './journal.js';

export interface RequestBounds {
  readonly maxRequests: number;
  readonly maxResponseBytes: number;
}

type Entry =
  | { readonly state: 'running'; readonly node: string }
  | { readonly state: 'settled'; response: string | undefined };

export class RequestMemory {
  session: string;
  /** The highest link that was welcomed. */
  link = -1;
  /** The node that serves it; undefined once it has ended. */
  node: string | undefined;
  readonly #bounds: RequestBounds;
  readonly #id: () => string;
  /** In the order of settling, running ones where they were claimed. */
  readonly #entries = new Map<string, Entry>();
  /** The requests whose response is still kept, oldest first; some of them may be gone. */
  readonly #responses = new Queue<string>();
  #bytes = 0;
  #running = 0;

  constructor(id: () => string, bounds: RequestBounds) {
    this.#id = id;
    this.#bounds = bounds;
    this.session = id();
  }

  /** Something runs: the memory must not be forgotten. */
  get busy(): boolean {
    return this.#running > 0;
  }

  claim(claim: Claim, node: string, isAlive: (node: string) => boolean): Claimed {
    if (claim.link < this.link) return { state: 'fenced' };
    const entry = this.#entries.get(claim.requestId);
    if (entry?.state === 'settled') {
      this.recall(claim.requestId);
      return { state: 'settled', response: entry.response };
    }
    if (entry !== undefined) {
      if (isAlive(entry.node)) return { state: 'running', isHere: entry.node === node };
      if (!claim.rerunnable) {
        this.#entries.set(claim.requestId, { state: 'running', node });
        return { state: 'orphaned' };
      }
      this.#running--;
    }
    this.#entries.set(claim.requestId, { state: 'running', node });
    this.#running++;
    return { state: 'claimed' };
  }

  owns(requestId: string, node: string): boolean {
    const entry = this.#entries.get(requestId);
    return entry?.state === 'running' && entry.node === node;
  }

  release(requestId: string): void {
    if (this.#entries.get(requestId)?.state !== 'running') return;
    this.#entries.delete(requestId);
    this.#running--;
  }

  settle(requestId: string, response: string): void {
    this.release(requestId);
    this.#entries.set(requestId, { state: 'settled', response });
    this.#responses.push(requestId);
    this.#bytes += response.length;
    this.#bound(requestId);
  }

  recall(requestId: string): Recalled {
    const entry = this.#entries.get(requestId);
    if (entry?.state !== 'settled') return { state: entry?.state ?? 'unknown' };
    // To the end: the client may not have had the first answer.
    this.#entries.delete(requestId);
    this.#entries.set(requestId, entry);
    return { state: 'settled', response: entry.response };
  }

  forget(requestIds: readonly string[]): void {
    for (const requestId of requestIds) {
      if (this.#entries.get(requestId)?.state === 'settled') this.#drop(requestId);
    }
    this.#tidy();
  }

  #bound(newest: string): void {
    const { maxRequests, maxResponseBytes } = this.#bounds;
    while (this.#bytes > maxResponseBytes && this.#responses.peek() !== newest) {
      const entry = this.#entries.get(this.#responses.shift() ?? newest);
      if (entry?.state !== 'settled') continue;
      // Its id stays: a repeat is told that it ran, and does not run again.
      this.#bytes -= entry.response?.length ?? 0;
      entry.response = undefined;
    }
    if (this.#entries.size - this.#running > maxRequests) this.#forgetOldest(maxRequests / 2);
  }

  /** Many at once, so that the session does not change with every request from here on. */
  #forgetOldest(keep: number): void {
    this.session = this.#id();
    for (const [requestId, entry] of this.#entries) {
      if (this.#entries.size - this.#running <= keep) break;
      if (entry.state === 'settled') this.#drop(requestId);
    }
    this.#tidy();
  }

  #drop(requestId: string): void {
    const entry = this.#entries.get(requestId);
    if (entry?.state === 'settled') this.#bytes -= entry.response?.length ?? 0;
    this.#entries.delete(requestId);
  }

  #tidy(): void {
    for (let oldest = this.#responses.peek(); oldest !== undefined; ) {
      if (this.#entries.has(oldest)) break;
      this.#responses.shift();
      oldest = this.#responses.peek();
    }
    // One that is kept for long must not keep those behind it.
    if (this.#responses.length <= this.#entries.size * 2 + 64) return;
    for (let left = this.#responses.length; left > 0; left--) {
      const requestId = this.#responses.shift();
      if (requestId !== undefined && this.#entries.has(requestId)) this.#responses.push(requestId);
    }
  }
}
