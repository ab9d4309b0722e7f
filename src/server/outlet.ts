/** The writing half of one wire: gathers what a tick writes, and knows when a link is slow. */
import type { ServerWire } from './wire.js';

/** Whoever waits for a slow link to take more. */
export interface Stalled {
  resume(): void;
}

/** Writes what the outlets of one hub gathered, all in one microtask. */
export class Flusher {
  #dirty: Outlet[] = [];

  add(outlet: Outlet): void {
    if (this.#dirty.push(outlet) === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const outlet of dirty) outlet.flush();
  }
}

/** Where a link is given up: times the high-water mark, and at least so many bytes. */
const OVERFULL = 8;
const LEAST_OVERFULL = 8_388_608;

export class Outlet {
  readonly #wire: ServerWire;
  readonly #flusher: Flusher;
  readonly #highWater: number;
  readonly #stalled = new Set<Stalled>();
  #texts: string[] = [];
  #gathered = 0;
  #closed = false;

  constructor(wire: ServerWire, flusher: Flusher, highWater: number) {
    this.#wire = wire;
    this.#flusher = flusher;
    this.#highWater = highWater;
  }

  get bufferedAmount(): number {
    return this.#wire.bufferedAmount + this.#gathered;
  }

  /** Whether events may be written: responses and verdicts go out regardless. */
  get hasRoom(): boolean {
    return !this.#closed && this.bufferedAmount < this.#highWater;
  }

  /** Not even responses are read: whoever asks without reading is not served for ever. */
  get isOverfull(): boolean {
    return this.bufferedAmount > Math.max(this.#highWater * OVERFULL, LEAST_OVERFULL);
  }

  write(text: string, bytes: number = text.length): void {
    if (this.#closed) return;
    this.#gathered += bytes;
    if (this.#texts.push(text) === 1) this.#flusher.add(this);
  }

  flush(): void {
    if (this.#texts.length === 0) return;
    const texts = this.#texts;
    this.#texts = [];
    this.#gathered = 0;
    this.#wire.send(texts);
  }

  stall(waiting: Stalled): void {
    this.#stalled.add(waiting);
  }

  unstall(waiting: Stalled): void {
    this.#stalled.delete(waiting);
  }

  /** Lets the next one that waits go on, if there is room; it passes the turn on when it is done. */
  resume(): void {
    if (this.#stalled.size === 0 || !this.hasRoom) return;
    const [next] = this.#stalled;
    if (next === undefined) return;
    this.#stalled.delete(next);
    next.resume();
  }

  close(code: number, reason: string): void {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    this.#wire.close(code, reason);
  }

  terminate(): void {
    this.#closed = true;
    this.#texts = [];
    this.#wire.terminate();
  }
}
