/** Who may read the journal for one link: few at a time, nobody while its buffer is full or time is due. */
import type { Clock } from '../lib/clock.js';

/** Whoever has more to write than fits at once. */
export interface Taker {
  /** One read and what follows from it; to go on it takes another turn. Never rejects. */
  turn(): Promise<void>;
}

/**
 * Reads under way for one link. As many slices of the journal are in memory at most, and as many rooms
 * do not wait for a journal that is far away.
 */
const AT_ONCE = 16;

/** Bytes of history written in one go; then everybody else gets to run. A few milliseconds. */
const BREATH = 131_072;

export class Turns {
  /** Had a turn, but no room. */
  readonly #first = new Set<Taker>();
  readonly #waiting = new Set<Taker>();
  readonly #late = new Set<Taker>();
  readonly #breath: Breath;
  readonly #hasRoom: () => boolean;
  readonly #next = (): void => this.next();
  #active = 0;

  constructor(breath: Breath, hasRoom: () => boolean) {
    this.#breath = breath;
    this.#hasRoom = hasRoom;
  }

  /** Waits for its turn, behind those that wait already. */
  take(taker: Taker): void {
    this.#waiting.add(taker);
    this.next();
  }

  /** The turn was in vain, because others have filled the buffer meanwhile: it is the next. */
  takeAgain(taker: Taker): void {
    this.#first.add(taker);
  }

  /** Waits for the next beat first: there was nothing to read yet. */
  takeLater(taker: Taker): void {
    this.#late.add(taker);
  }

  drop(taker: Taker): void {
    this.#first.delete(taker);
    this.#waiting.delete(taker);
    this.#late.delete(taker);
  }

  /** A moment has passed. */
  beat(): void {
    for (const taker of this.#late) this.#waiting.add(taker);
    this.#late.clear();
    this.next();
  }

  /** Hands out turns as far as there is room. */
  next(): void {
    while (this.#active < AT_ONCE && this.#hasRoom()) {
      const queue = this.#first.size > 0 ? this.#first : this.#waiting;
      const [taker] = queue;
      if (taker === undefined) return;
      if (this.#breath.isOver) {
        this.#breath.wait(this.#next);
        return;
      }
      queue.delete(taker);
      void this.#run(taker);
    }
  }

  end(): void {
    this.#first.clear();
    this.#waiting.clear();
    this.#late.clear();
    this.#breath.forget(this.#next);
  }

  async #run(taker: Taker): Promise<void> {
    this.#active++;
    await taker.turn();
    this.#active--;
    this.next();
  }
}

/** How much history a hub writes before it lets the event loop go round: one for all of its links. */
export class Breath {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  #spent = 0;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isOver(): boolean {
    return this.#spent >= BREATH;
  }

  spend(bytes: number): void {
    this.#spent += bytes;
  }

  /** Calls `next` once, when the event loop has gone round. */
  wait(next: () => void): void {
    this.#waiting.add(next);
    this.#cancel ??= this.#clock.after(0, () => this.#begin());
  }

  forget(next: () => void): void {
    this.#waiting.delete(next);
    if (this.#waiting.size > 0) return;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #begin(): void {
    this.#cancel = undefined;
    this.#spent = 0;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const next of waiting) next();
  }
}
