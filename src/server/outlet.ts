/** The writing half of one wire: gathers what a tick writes, and knows when a link is slow. */
import { type Breath, Turns } from './turns.js';
import type { ServerWire } from './wire.js';

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

/** What has become of the buffer since the last look. */
export interface Flow {
  /** The network has taken some of what waited then: somebody reads, however slowly. */
  readonly progressed: boolean;
  /** Milliseconds for which the buffer is full and nothing of it was taken. */
  readonly stalledFor: number;
  /** Something was written since. */
  readonly wrote: boolean;
}

export interface OutletSetup {
  /** Bytes in the buffer above which events wait. */
  readonly highWater: number;
  /** The link is to be given up: whoever asks and asks without reading is cut at once. */
  readonly overfull: () => void;
}

/** Where a link is given up: times the high-water mark, and at least so many bytes. */
const OVERFULL = 8;
const LEAST_OVERFULL = 8_388_608;

export class Outlet {
  /** Those who read the journal for this link. */
  readonly turns: Turns;
  readonly #wire: ServerWire;
  readonly #flusher: Flusher;
  readonly #highWater: number;
  readonly #overfull: () => void;
  #texts: string[] = [];
  #gathered = 0;
  #closed = false;
  /** As of the last look. */
  #buffered = 0;
  #taken = 0;
  #hasDrained = false;
  #wrote = false;
  #fullSince: number | undefined;

  constructor(wire: ServerWire, hub: { flusher: Flusher; breath: Breath }, setup: OutletSetup) {
    this.#wire = wire;
    this.#flusher = hub.flusher;
    this.#highWater = setup.highWater;
    this.#overfull = setup.overfull;
    this.turns = new Turns(hub.breath, () => this.room);
  }

  get bufferedAmount(): number {
    return this.#wire.bufferedAmount + this.#gathered;
  }

  /** Whether events may be written: responses and verdicts go out regardless. */
  get hasRoom(): boolean {
    return !this.#closed && this.bufferedAmount < this.#highWater;
  }

  /** Bytes of events that still fit. */
  get room(): number {
    return this.#closed ? 0 : this.#highWater - this.bufferedAmount;
  }

  /** Not even responses are read: whoever asks without reading is not served for ever. */
  get isOverfull(): boolean {
    return this.bufferedAmount > Math.max(this.#highWater * OVERFULL, LEAST_OVERFULL);
  }

  write(text: string, bytes: number = text.length): void {
    if (this.#closed) return;
    this.#gathered += bytes;
    if (this.#texts.push(text) === 1) this.#flusher.add(this);
    // Answers and verdicts go out whether there is room or not.
    if (this.isOverfull) this.#overfull();
  }

  flush(): void {
    if (this.#texts.length === 0) return;
    const texts = this.#texts;
    this.#texts = [];
    this.#gathered = 0;
    this.#wrote = true;
    this.#wire.send(texts);
  }

  /** The wire says that its buffer has fallen. */
  drained(): void {
    this.#hasDrained = true;
    this.turns.next();
  }

  /** Once a beat. What the network took of a buffer that was empty proves nothing: it has room of its own. */
  look(now: number): Flow {
    const { bufferedAmount } = this;
    const taken = this.#wire.taken ?? 0;
    const hasMoved = this.#hasDrained || bufferedAmount < this.#buffered || taken > this.#taken;
    const progressed = this.#buffered > 0 && hasMoved;
    this.#buffered = bufferedAmount;
    this.#taken = taken;
    this.#hasDrained = false;
    const wrote = this.#wrote;
    this.#wrote = false;
    if (bufferedAmount < this.#highWater) this.#fullSince = undefined;
    else if (progressed) this.#fullSince = now;
    else this.#fullSince ??= now;
    return { progressed, stalledFor: now - (this.#fullSince ?? now), wrote };
  }

  close(code: number, reason: string): void {
    if (this.#closed) return;
    this.flush();
    this.end();
    this.#wire.close(code, reason);
  }

  terminate(): void {
    this.end();
    this.#texts = [];
    this.#wire.terminate();
  }

  /** The wire is gone, or goes: nothing more is written. */
  end(): void {
    this.#closed = true;
    this.turns.end();
  }
}
