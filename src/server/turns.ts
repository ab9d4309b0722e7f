/** Who may read the journal for one link: few at a time, nobody while its buffer is full or time is due. */
import type { Clock } from '../lib/clock.js';
import { SLICE_BYTES } from './journal.js';

/** Whoever has more to write than fits at once. */
export interface Taker {
  /**
   * One read and what follows from it; to go on it takes another turn. Resolves with the bytes that
   * were read, whether they fitted or not. Never rejects.
   */
  turn(): Promise<number>;
}

/** Reads under way for one link: the next slice is on its way while one is written. */
const AT_ONCE = 2;

/** Reads under way for all links of a hub: what a journal fetches in one go holds everybody up. */
const HUB_AT_ONCE = 16;

/** Bytes of history read in one go; then everybody else gets to run. A few milliseconds. */
const BREATH = 131_072;

export class Turns {
  /** Had a turn, but no room. */
  readonly #first = new Set<Taker>();
  readonly #waiting = new Set<Taker>();
  readonly #late = new Set<Taker>();
  readonly #breath: Breath;
  readonly #room: () => number;
  readonly #next = (): void => this.next();
  #active = 0;

  /** @param room how many bytes still fit in the buffer of the link */
  constructor(breath: Breath, room: () => number) {
    this.#breath = breath;
    this.#room = room;
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

  /** Hands out turns as far as there is room: what is being read will want its own. */
  next(): void {
    while (this.#active < AT_ONCE && this.#room() > this.#active * SLICE_BYTES) {
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
    this.#breath.begin();
    const bytes = await taker.turn();
    this.#active--;
    this.#breath.end(bytes);
    this.next();
  }
}

/** How much history a hub reads before it lets the event loop go round: one for all of its links. */
export class Breath {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  #spent = 0;
  #active = 0;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isOver(): boolean {
    return this.#spent >= BREATH || this.#active >= HUB_AT_ONCE;
  }

  /** A read is under way. */
  begin(): void {
    this.#active++;
  }

  /** It is over, and has brought so many bytes. */
  end(bytes: number): void {
    this.#active--;
    this.#spent += bytes;
    const [next] = this.#waiting;
    if (next === undefined || this.isOver) return;
    this.#waiting.delete(next);
    next();
  }

  /** Calls `next` once, when the event loop has gone round. */
  wait(next: () => void): void {
    this.#waiting.add(next);
    this.#cancel ??= this.#clock.after(0, () => this.#again());
  }

  forget(next: () => void): void {
    this.#waiting.delete(next);
    if (this.#waiting.size > 0) return;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #again(): void {
    this.#cancel = undefined;
    this.#spent = 0;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const next of waiting) next();
  }
}
