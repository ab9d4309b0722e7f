/** Duplicates, order and gaps: what of all that arrives is given to the listeners, and when. */
import { HoldfastError } from '../protocol/errors.js';
import type { Event, RoomJoined } from '../protocol/frame.js';
import { backoff } from './backoff.js';
import type { GapReason } from './order.js';
import type { Gap, Room } from './rooms.js';
import { NEVER, type Step } from './step.js';

export interface InboxLimits {
  /** eventIds remembered, where events carry no `seq`. */
  dedupWindow: number;
  /** Events held while `onGap` runs. */
  maxHeld: number;
  /** Whether the application has an `onGap`. */
  heals: boolean;
}

/** Milliseconds that `onGap` may take. */
const HEAL_TIMEOUT = 30_000;
const healPauses = { initialDelay: 1_000, maxDelay: 30_000, factor: 2, jitter: 'full' } as const;

export interface InboxCounts {
  received: number;
  duplicates: number;
  /** Events of rooms that are not joined on this link: left, or answered by an older join. */
  stray: number;
  gaps: number;
  /** Delivered between a recovered join and its `caughtUp`. */
  replayed: number;
}

export class Inbox {
  readonly #limits: InboxLimits;
  #seen: Set<string> | null = null;
  #seenBefore: Set<string> | null = null;
  /** Rooms whose `onGap` runs or rests. */
  #gapped: Room[] = [];
  #runs = 0;
  readonly counts: InboxCounts = { received: 0, duplicates: 0, stray: 0, gaps: 0, replayed: 0 };

  constructor(limits: InboxLimits) {
    this.#limits = limits;
  }

  /** Returns true where a number is missing: the room must be joined again from its cursor. */
  receive(event: Event, room: Room | undefined, step: Step): boolean {
    this.counts.received++;
    const isOurs = room !== undefined && room.wanted > 0;
    if (event.seq === undefined) {
      if (event.room !== undefined && !isOurs) this.counts.stray++;
      else if (this.#isNew(keyOf(event))) this.#give(event, room, step);
      return false;
    }
    if (!isOurs || room.onLink !== 'joined') {
      this.counts.stray++;
      return false;
    }
    if (event.seq <= room.seq) {
      this.counts.duplicates++;
      return false;
    }
    if (event.seq > room.seq + 1) return this.#missing(event, room, step);
    room.seq = event.seq;
    room.refilled = false;
    this.#give(event, room, step);
    return false;
  }

  /** Every listener has had it. The cursor follows in order, whatever the order they finish in. */
  delivered(room: Room, eventId: string): void {
    const { given, had } = room;
    if (given.peek()?.eventId !== eventId) {
      had.push(eventId);
      return;
    }
    given.shift();
    room.cursor = eventId;
    if (had.length === 0) return;
    for (let next = given.peek(); next !== undefined; next = given.peek()) {
      const index = had.indexOf(next.eventId);
      if (index === -1) return;
      had.splice(index, 1);
      given.shift();
      room.cursor = next.eventId;
    }
  }

  /** A verdict says where the room stands, and whether history is missing before that. */
  joined(room: Room, verdict: RoomJoined, step: Step): void {
    const sameEpoch = room.epoch === null || room.epoch === verdict.epoch;
    const before = room.cursor ?? null;
    const isNew = before === null;
    // A reader that fell behind and starts anew where we are already has lost nothing of ours. A server
    // that does not number its events says 0.
    const isOurs = verdict.seq > 0 && verdict.seq <= room.seq && !room.reposition;
    const isHere = isOurs && room.epoch === verdict.epoch && room.gap === null;
    // Nor has one that starts where we want to go on from.
    const hasAll = isHere || (verdict.seq > 0 && verdict.cursor === before);
    const gapped = !verdict.recovered && !isNew && !hasAll;
    if (gapped || !sameEpoch || room.reposition || room.seq < 0) {
      room.seq = verdict.seq;
      room.cursor = verdict.cursor;
      room.given.clear();
      room.had.length = 0;
      // A hole from here on is another one.
      room.refilled = false;
    }
    room.epoch = verdict.epoch;
    room.reposition = false;
    if (verdict.recovered) room.relapses = 0;
    if (!gapped) return;
    const said = verdict.reason === 'expired' || verdict.reason === 'epoch' ? verdict.reason : null;
    this.miss(room, { reason: said ?? (sameEpoch ? 'expired' : 'epoch'), cursor: before }, step);
  }

  /** History is missing. `onGap` runs once for it; what arrives meanwhile is held. */
  miss(
    room: Room,
    { reason, cursor }: { reason: GapReason; cursor: string | null },
    step: Step,
  ): void {
    this.counts.gaps++;
    if (!this.#limits.heals) {
      step.out.push({ order: 'report', error: gapError(room.name, reason) });
    } else if (room.gap === null) {
      const state = { name: 'resting' as const, until: step.now };
      const { relapses } = room;
      room.gap = { run: 0, reason, cursor, state, failures: relapses, held: [], again: null };
      this.#gapped.push(room);
      // Not a loop: what cannot be gone on from is a failed run, with its pause.
      if (relapses > 0) this.healFailed(room, unknownEvent(room.name), step);
      else this.#heal(room, room.gap, step);
    } else {
      room.gap.held = [];
      room.gap.again = reason;
    }
  }

  /**
   * `onGap` has fetched the state. Returns true where that state is current to an event we do not
   * hold: the room must be joined again from there.
   */
  healed(room: Room, eventId: string | undefined, step: Step): boolean {
    const gap = room.gap;
    if (gap === null) return false;
    if (gap.again !== null) {
      this.#heal(room, gap, step);
      return false;
    }
    this.#close(room);
    const contained = gap.held.findIndex((event) => event.eventId === eventId);
    // Without numbers there is no history to ask for: what is held came after the join, as the state did.
    const isNumbered = gap.held.every(({ seq }) => seq !== undefined);
    if (isNumbered && eventId !== undefined && contained === -1 && eventId !== room.cursor) {
      room.cursor = eventId;
      room.reposition = true;
      room.relapses = gap.failures + 1;
      return true;
    }
    if (contained !== -1) room.cursor = eventId;
    for (const event of gap.held.slice(contained + 1)) this.#give(event, room, step);
    return false;
  }

  healFailed(room: Room, error: HoldfastError, step: Step): void {
    const gap = room.gap;
    if (gap === null) return;
    gap.failures++;
    const until = step.now + backoff(gap.failures, step.roll, healPauses);
    gap.state = { name: 'resting', until };
    step.out.push({ order: 'report', error });
  }

  get deadline(): number {
    let deadline = NEVER;
    for (const { gap } of this.#gapped) deadline = Math.min(deadline, gap?.state.until ?? deadline);
    return deadline;
  }

  timeUp(step: Step): void {
    for (const room of this.#gapped) {
      const gap = room.gap;
      if (gap === null || step.now < gap.state.until) continue;
      if (gap.state.name === 'resting') {
        this.#heal(room, gap, step);
        continue;
      }
      step.out.push({ order: 'stopHealing', room: room.name, run: gap.run });
      this.healFailed(room, healOverdue(room.name), step);
    }
  }

  /** The room is left, or the client is closed: nobody wants its state any more. */
  abandon(room: Room, step: Step): void {
    if (room.gap === null) return;
    step.out.push({ order: 'stopHealing', room: room.name, run: room.gap.run });
    // What was held is gone, and what was missing too: the next link goes on from before the gap.
    for (const event of room.gap.held) this.#forget(keyOf(event));
    room.reposition = true;
    room.cursor = room.gap.cursor ?? undefined;
    this.#close(room);
  }

  #close(room: Room): void {
    room.gap = null;
    this.#gapped = this.#gapped.filter((other) => other !== room);
  }

  #heal(room: Room, gap: Gap, step: Step): void {
    // A run that begins now covers all that was missed before it.
    gap.reason = gap.again ?? gap.reason;
    gap.again = null;
    gap.run = ++this.#runs;
    gap.state = { name: 'healing', until: step.now + HEAL_TIMEOUT };
    const { run, cursor, reason } = gap;
    step.out.push({ order: 'heal', room: room.name, run, cursor, reason });
  }

  #missing(event: Event, room: Room, step: Step): boolean {
    if (!room.refilled) {
      room.refilled = true;
      return true;
    }
    // Joined again from the same cursor, and still missing: it will never come. Not a loop, a gap.
    room.refilled = false;
    room.seq = event.seq ?? room.seq;
    this.miss(room, { reason: 'hole', cursor: room.cursor ?? null }, step);
    this.#give(event, room, step);
    return false;
  }

  #give(event: Event, room: Room | undefined, step: Step): void {
    const gap = room?.gap ?? null;
    if (room !== undefined && gap !== null) {
      this.#hold(event, room, gap);
      return;
    }
    if (room !== undefined) {
      room.given.push(event);
      if (!room.caughtUp && room.seq >= 0) this.counts.replayed++;
    }
    step.out.push({ order: 'deliver', event });
  }

  #hold(event: Event, room: Room, gap: Gap): void {
    if (gap.again !== null) {
      room.cursor = event.eventId;
      return;
    }
    gap.held.push(event);
    if (gap.held.length <= this.#limits.maxHeld) return;
    this.counts.gaps++;
    gap.held = [];
    gap.again = 'overflow';
    room.cursor = event.eventId;
  }

  /** Two generations of ids: as cheap as a Set, remembers between one window and two. */
  #isNew(key: string): boolean {
    if (this.#seen?.has(key) || this.#seenBefore?.has(key)) {
      this.counts.duplicates++;
      return false;
    }
    if (this.#seen !== null && this.#seen.size >= this.#limits.dedupWindow) {
      this.#seenBefore = this.#seen;
      this.#seen = null;
    }
    this.#seen ??= new Set();
    this.#seen.add(key);
    return true;
  }

  #forget(key: string): void {
    this.#seen?.delete(key);
    this.#seenBefore?.delete(key);
  }
}

/** Without numbers each room is told apart from the others: it may give the ids of its own. */
function keyOf({ eventId, room }: Event): string {
  return room === undefined ? eventId : `${room}\n${eventId}`;
}

function gapError(room: string, reason: GapReason): HoldfastError {
  return new HoldfastError(
    'PROTOCOL_ERROR',
    `Events of the room "${room}" are missing (${reason}). Pass onGap to createClient to fetch its state then.`,
    { details: { room, reason } },
  );
}

function unknownEvent(room: string): HoldfastError {
  return new HoldfastError(
    'PROTOCOL_ERROR',
    `The eventId that onGap returned for the room "${room}" is none the server can go on from. Return one of that room, or nothing.`,
    { details: { room } },
  );
}

function healOverdue(room: string): HoldfastError {
  return new HoldfastError(
    'CONNECTION_FAILED',
    `onGap for the room "${room}" took longer than ${HEAL_TIMEOUT} ms. It is asked again after a pause.`,
    { details: { room } },
  );
}
