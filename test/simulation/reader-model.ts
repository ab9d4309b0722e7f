/** What one application may be given of one room: every event after its place, once, in order, or a gap. */
import { cursorOf, type Place, placeOf, shown, type Truth } from './truth.js';

export interface Breach {
  readonly rule: string;
  readonly message: string;
}

export interface Given extends Place {
  readonly payload: string;
}

export interface Notice {
  readonly cursor: string | null;
  readonly reason: string;
}

interface Gap {
  /** Where the application stood before it. */
  readonly low: Place;
  readonly high: Place | null;
  /** The tail when `onGap` was called last, and the verdicts that had told of gaps by then. */
  tail: Place;
  verdicts: number;
  /** Where the one stood that opened it, and whether there was no other since. */
  verdict: Place | null;
  isOnly: boolean;
  /** When that call ended well. */
  healedAt: number | null;
}

const anywhere: Place = { epoch: '', seq: 0 };

type State = 'idle' | 'reading' | 'healing' | 'resting';

/** The first breach of each call is returned; null where all is as promised. */
export class ReaderModel {
  readonly #room: string;
  readonly #truth: Truth;
  readonly #maxHeld: number;
  #state: State = 'idle';
  /** The place is known to lie between these; `high` is null while nothing bounds it. */
  #low: Place = { epoch: '', seq: 0 };
  #high: Place | null = null;
  /** The gap that is open, or was healed last. */
  #gap: Gap | null = null;
  /** How often the wire lost each event on its way here. */
  readonly #dropped = new Map<string, number>();
  /** Verdicts that came here and told of a gap. */
  #verdicts = 0;
  /** Where the last of them stood; null once anything was delivered or healed since. */
  #verdict: Place | null = null;
  #wasJoined = false;

  /** @param maxHeld events that the client holds while `onGap` runs. */
  constructor(room: string, truth: Truth, maxHeld: number) {
    this.#room = room;
    this.#truth = truth;
    this.#maxHeld = maxHeld;
  }

  get state(): State {
    return this.#state;
  }

  /** Where the application can go on from, where that is certain. */
  get cursor(): string | null {
    const { epoch, seq } = this.#low;
    return this.#high?.epoch === epoch && this.#high.seq === seq ? cursorOf(this.#low) : null;
  }

  /** The client goes on from wherever a storage says it stood. */
  restored(): void {
    this.joined(null);
    this.#low = { epoch: '', seq: 0 };
  }

  /** The application wants the room; `since` is where it stands. */
  joined(since: string | null): void {
    this.#state = 'reading';
    this.#gap = null;
    if (since !== null) {
      this.#low = placeOf(since);
      this.#high = this.#low;
      this.#wasJoined = true;
      return;
    }
    // Left and joined again before the server knew, it goes on where it was; else from now.
    if (!this.#wasJoined) this.#low = this.#truth.tail(this.#room);
    this.#wasJoined = true;
    this.#high = null;
  }

  /** The client says that the room is joined and caught up. */
  caughtUp(): void {
    if (this.#state === 'reading' && this.#high === null) this.#high = this.#truth.tail(this.#room);
  }

  /** The server says that there is no going on from where the client stands. */
  unrecovered(cursor: string): void {
    this.#verdicts++;
    this.#verdict = placeOf(cursor);
  }

  left(): void {
    this.abandoned();
    this.#state = 'idle';
  }

  /** The client was closed: an open gap is forgotten, and told again if it is still one. */
  abandoned(): void {
    if (this.#gap !== null && (this.#state === 'healing' || this.#state === 'resting')) {
      this.#low = this.#gap.low;
      this.#high = this.#gap.high;
      this.#state = 'reading';
    }
    this.#gap = null;
  }

  lostOnTheWay(eventId: string): void {
    this.#dropped.set(eventId, (this.#dropped.get(eventId) ?? 0) + 1);
  }

  delivered(event: Given): Breach | null {
    const breach = this.#judge(event);
    this.#verdict = null;
    this.#low = { epoch: event.epoch, seq: event.seq };
    this.#high = this.#low;
    return breach;
  }

  /** `onGap` is called. */
  gap(notice: Notice): Breach | null {
    const isAgain = this.#isAgain(notice);
    const breach = isAgain ? null : this.#judgeGap(notice);
    const goesOn = isAgain || this.#state === 'resting';
    const tail = this.#truth.tail(this.#room);
    const verdicts = this.#verdicts;
    if (goesOn && this.#gap !== null) {
      const isOnly = this.#gap.isOnly && this.#gap.verdicts === verdicts;
      this.#gap = { ...this.#gap, tail, verdicts, isOnly, healedAt: null };
    } else {
      const before = { low: this.#low, high: this.#high, verdict: this.#verdict };
      this.#gap = { ...before, tail, verdicts, isOnly: true, healedAt: null };
    }
    this.#state = 'healing';
    return breach;
  }

  /** That call has fetched the state as it is after `eventId`, or as it is at some time since. */
  healed(eventId: string | null): void {
    const gap = this.#gap;
    if (this.#state !== 'healing' || gap === null) return;
    this.#state = 'reading';
    this.#verdict = null;
    gap.healedAt = this.#truth.now;
    if (eventId !== null) {
      this.#low = placeOf(eventId);
      this.#high = this.#low;
      return;
    }
    this.#low = gap.verdict ?? gap.low;
    const isOnly = gap.isOnly && this.#verdicts === gap.verdicts;
    const isBounded = isOnly && gap.tail.epoch === this.#low.epoch;
    this.#high = isBounded ? gap.tail : null;
  }

  healFailed(): void {
    if (this.#state === 'healing') this.#state = 'resting';
  }

  /** All is quiet: whoever reads has everything. */
  atRest(): Breach | null {
    if (this.#state === 'idle') return null;
    if (this.#state !== 'reading') return breach('a gap stays open', `${this.#room} is not healed`);
    const tail = this.#truth.tail(this.#room);
    const { epoch, seq } = this.#high ?? this.#low;
    if (epoch === tail.epoch && seq === tail.seq) return null;
    return breach('lost', `${this.#room} stands at ${shown({ epoch, seq })}, not ${shown(tail)}`);
  }

  #judge({ payload, ...place }: Given): Breach | null {
    const what = `${this.#room} ${shown(place)}`;
    const fact = this.#truth.find(this.#room, place);
    if (fact === undefined) return breach('invented', `${what} was never published`);
    if (fact.payload !== payload) return breach('changed', `${what} says ${payload}`);
    if (this.#state === 'idle') return breach('not wanted', `${what} of a room that was left`);
    if (this.#state !== 'reading') return breach('past a gap', `${what} while its gap is open`);
    const [low, high] = [this.#low, this.#high];
    if (place.epoch === low.epoch && place.seq <= low.seq) {
      return breach('doubled or out of order', `${what} after ${shown(low)}`);
    }
    if (high === null) return null;
    if (place.epoch !== high.epoch) {
      return breach('lost', `${what} after ${shown(high)}, and no gap was told`);
    }
    if (place.seq <= high.seq + 1) return null;
    return breach('lost', `${what} after ${shown(high)}, and no gap was told`);
  }

  #judgeGap(notice: Notice): Breach | null {
    const { cursor, reason } = notice;
    const at = `${this.#room} after ${shown(this.#low)}: ${reason}`;
    if (this.#state === 'idle') return breach('a gap nobody asked for', at);
    if (this.#state === 'healing') return breach('two runs of onGap at a time', at);
    if (this.#state === 'resting') return null;
    const expected = this.cursor;
    if (!this.#isJustified(reason)) return breach('a gap that is none', at);
    if (expected === null || cursor === expected) return null;
    return breach('a gap with a wrong cursor', `${at}, told from ${cursor}`);
  }

  #isJustified(reason: string): boolean {
    if (reason === 'hole') return this.#hasHole(this.cursor === null ? anywhere : this.#low);
    return !this.#truth.covers(this.#room, this.#low);
  }

  /** One event was lost, and lost again when the room was joined again for it. */
  #hasHole({ epoch, seq }: Place): boolean {
    for (const [eventId, times] of this.#dropped) {
      const place = placeOf(eventId);
      if (times < 2 || place.seq <= seq) continue;
      // Without an epoch nothing was known of the room when it was joined.
      if (epoch === '' || place.epoch === epoch) return true;
    }
    return false;
  }

  /** Something was missed once more while `onGap` ran: it is called again as soon as it has ended. */
  #isAgain({ reason }: Notice): boolean {
    const gap = this.#gap;
    if (gap === null || gap.healedAt !== this.#truth.now) return false;
    if (reason === 'hole') return this.#hasHole(anywhere);
    if (reason !== 'overflow') return this.#verdicts > gap.verdicts;
    const { epoch, seq } = this.#truth.tail(this.#room);
    // How many came of an epoch that is lost by now, nobody can say.
    if (epoch !== gap.tail.epoch) return true;
    return seq - (epoch === gap.low.epoch ? gap.low.seq : 0) > this.#maxHeld;
  }
}

function breach(rule: string, message: string): Breach {
  return { rule, message };
}
