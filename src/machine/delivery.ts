/** What goes over a link, whichever it is: requests and messages out, events in, rooms both ways. */

import { HoldfastError } from '../protocol/errors.js';
import {
  type Event,
  ME,
  type Response,
  type RoomVerdict,
  type RoomWish,
} from '../protocol/frame.js';
import type { Outgoing } from '../protocol/wire.js';
import type { Ask, Restored, Tell } from './fact.js';
import { storageOverdue } from './faults.js';
import { Inbox, type InboxLimits } from './inbox.js';
import type { Ledger } from './ledger.js';
import { Outbox, type OutboxLimits, type OutboxTerms } from './outbox.js';
import { isBehind, isCurrent, type Room, type RoomState, Rooms, STORED } from './rooms.js';
import { NEVER, type Step } from './step.js';

export interface DeliveryLimits {
  outbox: OutboxLimits;
  inbox: InboxLimits;
  terms: OutboxTerms;
  /** The books of the storage; null where there is none. */
  ledger: Ledger | null;
}

/** Above so many bytes in the link's buffer nothing more is written: order and memory stay ours. */
const HIGH_WATER = 65_536;

/** How soon a full buffer is looked at again, in ms: browsers have no event for it. */
const BUFFER_RECHECK = 5;

export class Delivery {
  readonly #outbox: Outbox;
  readonly #inbox: Inbox;
  readonly #rooms: Rooms;
  /** Frames about the link itself; they go before everything else. */
  #control: Outgoing[] = [];
  #recheckAt = NEVER;
  /** Whether a room is behind, until something that could change it happens. */
  #behind: boolean | null = null;
  readonly #ledger: Ledger | null;
  /** Since when there is a link, and for how long there were others before it, in ms. */
  #linkedAt: number | null = null;
  #linkedFor = 0;

  constructor(limits: DeliveryLimits) {
    this.#ledger = limits.ledger;
    this.#outbox = new Outbox(limits.outbox, limits.terms, limits.ledger);
    this.#inbox = new Inbox(limits.inbox);
    this.#rooms = new Rooms(limits.terms.maxMessageSize);
  }

  /** Everything counted here; `now` ends the time connected. */
  metrics(now: number) {
    const since = this.#linkedAt ?? now;
    return {
      ...this.#inbox.counts,
      ...this.#outbox.counts,
      connectedFor: this.#linkedFor + now - since,
      queuedBytes: this.#outbox.bytes,
      responseTime: this.#outbox.responses.percentiles,
    };
  }

  /** Events in, requests and messages out. */
  get traffic(): number[] {
    const { messagesSent, requestsSent } = this.#outbox.counts;
    return [this.#inbox.counts.received, requestsSent + messagesSent];
  }

  /** Whom a link presents, and from where, is known: there is no storage, or it has been asked. */
  get isReady(): boolean {
    return this.#ledger?.isReady ?? true;
  }

  get queued(): number {
    return this.#outbox.queued;
  }

  /** No request is unanswered, and none waits to be stored. */
  get isIdle(): boolean {
    return this.#outbox.size === 0;
  }

  get waiting(): number {
    return this.#outbox.waiting;
  }

  get session(): string | null {
    return this.#outbox.session;
  }

  /** Every room caught up, and all that waited at the last `welcome` answered. */
  get synced(): boolean {
    this.#behind ??= [...this.#rooms].some(isBehind);
    return !this.#behind && this.#outbox.backlog === 0;
  }

  get deadline(): number {
    const { deadline } = this.#outbox;
    return Math.min(
      deadline,
      this.#rooms.deadline,
      this.#inbox.deadline,
      this.#recheckAt,
      this.storageDeadline,
    );
  }

  /** What a storage waits for, also when the client is closed but for good. */
  get storageDeadline(): number {
    return this.#ledger?.deadline ?? NEVER;
  }

  openStorage(step: Step): void {
    this.#ledger?.open(step);
  }

  /** False where the storage comes too late: what it holds is left to the next owner. */
  restored(saved: Restored, date: number, { now, out }: Step): boolean {
    if (this.#ledger?.opened(saved.requests, out) !== true) return false;
    this.#outbox.restore(saved, { now, date }, out);
    const isKept = ([room]: readonly [string, string]) => this.#ledger?.hasForgotten(room) !== true;
    this.#rooms.restore(saved.cursors.filter(isKept));
    return true;
  }

  /** It cannot be opened: everything stays in memory. */
  restoreFailed(error: HoldfastError, step: Step): void {
    if (this.#ledger?.lose() !== true) return;
    step.out.push({ order: 'report', error });
  }

  stored(write: number, step: Step): void {
    this.#ledger?.stored(write, step.now);
  }

  storeFailed(write: number, error: HoldfastError, step: Step): void {
    if (this.#ledger?.failed(write, step.now) === true) step.out.push({ order: 'report', error });
  }

  pending(): ReturnType<Outbox['pending']> {
    return this.#outbox.pending();
  }

  /** Whether an event of this room still has anybody to go to. */
  hears(name: string): boolean {
    return (this.#rooms.get(name)?.wanted ?? 0) > 0;
  }

  roomState(name: string): RoomState {
    return this.#rooms.state(name);
  }

  /** The wishes of a new link. */
  hello(): RoomWish[] {
    return this.#rooms.hello();
  }

  /** A link has named these. */
  named(rooms: readonly RoomWish[]): void {
    this.#rooms.named(rooms);
  }

  shrinkHello(): void {
    this.#rooms.shrink();
  }

  ask(request: Ask, step: Step): void {
    this.#outbox.ask(request, step.now, step.out);
    this.openStorage(step);
  }

  tell(message: Tell, step: Step): void {
    this.#outbox.tell(message, step.out);
  }

  abort(requestId: string, step: Step): void {
    this.#outbox.abort(requestId, step.out);
  }

  /** Keeps everything back while credentials are being renewed. */
  hold(isHeld: boolean): void {
    this.#outbox.hold(isHeld);
  }

  /** A frame that goes out with the end of this tick. */
  say(frame: Outgoing): void {
    this.#control.push(frame);
  }

  join(name: string, since: string | undefined, call: number, step: Step): void {
    const room = this.#rooms.want(name, since, call);
    this.#behind = null;
    if (since === STORED) this.openStorage(step);
    if (room.onLink === 'joined' && isCurrent(room)) answerJoins(room, null, step);
  }

  abortJoin(name: string, call: number, step: Step): void {
    const room = this.#rooms.get(name);
    if (!room?.calls.includes(call)) return;
    room.calls = room.calls.filter((other) => other !== call);
    this.#leave(name, true, step);
  }

  leave(name: string, step: Step): void {
    this.#leave(name, false, step);
  }

  event(event: Event, step: Step): void {
    const room = event.room === undefined ? undefined : this.#rooms.get(event.room);
    const hole = this.#inbox.receive(event, room, step);
    if (hole && room !== undefined) this.#rejoin(room);
  }

  delivered(name: string, eventId: string): void {
    const room = this.#rooms.get(name);
    if (room === undefined) return;
    this.#inbox.delivered(room, eventId);
    this.#moved(room);
  }

  verdict(verdict: RoomVerdict, step: Step): void {
    const room = this.#rooms.get(verdict.room);
    this.#behind = null;
    if (room === undefined) return;
    if ('caughtUp' in verdict) {
      if (room.onLink !== 'joined') return;
      room.caughtUp = true;
      this.#settleRoom(room, step);
      return;
    }
    if ('joined' in verdict && this.#rooms.isUnasked(verdict, room)) return;
    const isAnswer = room.answers > 0;
    // The answer to a leave; a removal comes as an error.
    if ('left' in verdict || room.onLink === 'absent' || !this.#rooms.answered(room)) return;
    if ('error' in verdict) this.#refused(room, HoldfastError.from(verdict.error), step);
    else if (room.wanted === 0) room.onLink = 'moved';
    else if (room.onLink === 'moved') return;
    else if (isAnswer && !verdict.recovered && isPassed(room)) {
      room.passed = room.cursor;
      this.#rejoin(room);
    } else {
      room.onLink = 'joined';
      this.#inbox.joined(room, verdict, step);
      this.#moved(room);
    }
  }

  healed(name: string, run: number, eventId: string | undefined, step: Step): void {
    const room = this.#rooms.get(name);
    if (room?.gap?.run !== run || room.gap.state.name !== 'healing') return;
    this.#behind = null;
    const isElsewhere = this.#inbox.healed(room, eventId, step);
    this.#moved(room);
    if (isElsewhere) {
      if (room.onLink !== 'absent') this.#rejoin(room);
    } else this.#settleRoom(room, step);
  }

  healFailed(name: string, run: number, error: HoldfastError, step: Step): void {
    const room = this.#rooms.get(name);
    if (room?.gap?.run !== run || room.gap.state.name !== 'healing') return;
    this.#inbox.healFailed(room, error, step);
  }

  /** Returns the serial of the credentials that were refused, where that is why there is no answer yet. */
  response(response: Response, step: Step): number | null {
    return this.#outbox.answered(response, step.now, step.out);
  }

  /** A link is ready for this identity: first what was written before, then the rest. */
  welcomed(session: string | null, terms: OutboxTerms, step: Step): void {
    this.#behind = null;
    this.#control = [];
    this.#linkedAt = step.now;
    this.#rooms.welcomed(terms.maxMessageSize);
    this.#outbox.resume(session, terms, step.now, step.out);
  }

  unlinked(step: Step): void {
    this.#behind = null;
    this.#recheckAt = NEVER;
    this.#linkedFor += step.now - (this.#linkedAt ?? step.now);
    this.#linkedAt = null;
    this.#rooms.unlinked();
    this.#outbox.unlink(step.now, step.out);
  }

  /** The link was closed for a frame that it carried. */
  accuse(fault: HoldfastError, step: Step): void {
    this.#outbox.accuse(fault, step.out);
  }

  /** Another user is signed in: nothing of the first one's goes out, nothing of theirs comes in. */
  disown(step: Step): void {
    this.#outbox.failAll('identity', step.out);
    const me = this.#rooms.forgetMe();
    if (me !== undefined) this.#inbox.abandon(me, step);
    this.#ledger?.moved(ME, null);
  }

  /** Whom the requests belong to from now on. */
  own(user: string | null): void {
    this.#ledger?.identify(user);
  }

  closed(step: Step): void {
    this.#outbox.failAll('closed', step.out);
    for (const room of this.#rooms) {
      this.#inbox.abandon(room, step);
      room.wanted = Math.max(0, room.wanted - room.calls.length);
      answerJoins(room, notJoined(room.name, 'the client was closed'), step);
    }
  }

  /** The client is closed for good. */
  release(step: Step): void {
    this.#ledger?.close(step.out);
  }

  /** What the tick changed, to the storage. */
  save(step: Step): void {
    this.#ledger?.flush(step);
  }

  /** What the tick gathered, in the order of its importance: the link, the rooms, the outbox. */
  flush(buffered: number, serial: number, step: Step): Outgoing[] {
    const frames = this.#control.concat(this.#rooms.reconcile(step.now));
    this.#control = [];
    this.#recheckAt = NEVER;
    if (this.#outbox.waiting === 0) return frames;
    const wires = this.#outbox.flush(step.now, HIGH_WATER - buffered, serial);
    if (this.#outbox.blocked) this.#recheckAt = step.now + BUFFER_RECHECK;
    return frames.length === 0 ? wires : frames.concat(wires);
  }

  timeUp(step: Step): void {
    this.#outbox.expire(step.now, step.out);
    this.#checkStorage(step);
    this.#rooms.timeUp(step.now);
    this.#inbox.timeUp(step);
  }

  #rejoin(room: Room): void {
    this.#behind = null;
    this.#rooms.move(room);
  }

  /** `keeps`: the join was taken back, and the storage's cursor is good for the next one. */
  #leave(name: string, keeps: boolean, step: Step): void {
    const room = this.#rooms.unwant(name, keeps);
    if (room === null) return;
    this.#behind = null;
    this.#inbox.abandon(room, step);
    if (!keeps) this.#ledger?.moved(name, null);
    answerJoins(room, notJoined(name, 'it was left before'), step);
  }

  /** Where a gap is open, what is stored stays before it: `onGap` has not done its work. */
  #moved({ name, cursor, gap, wanted }: Room): void {
    if (gap === null && cursor !== undefined && wanted > 0) this.#ledger?.moved(name, cursor);
  }

  #checkStorage(step: Step): void {
    const overdue = this.#ledger?.overdue(step.now) ?? null;
    if (overdue === 'open') this.restoreFailed(storageOverdue('open'), step);
    else if (overdue !== null) this.storeFailed(overdue, storageOverdue('write'), step);
  }

  #settleRoom(room: Room, step: Step): void {
    if (isCurrent(room)) answerJoins(room, null, step);
  }

  #refused(room: Room, error: HoldfastError, step: Step): void {
    // Nobody wants it any more, or it is to be asked for from elsewhere: that refusal is no news.
    if (room.wanted === 0 || room.onLink === 'moved') room.onLink = 'absent';
    else if (error.retryable) {
      this.#rooms.retryLater(room, step.now + (error.retryAfter ?? 1_000));
    } else {
      this.#inbox.abandon(room, step);
      this.#ledger?.moved(room.name, null);
      this.#rooms.refuse(room, error, step.out);
    }
  }
}

/**
 * History is missing where the room stood when it was joined; it stands elsewhere now, and need not miss
 * any: asked once more from there. A server that says so again is believed.
 */
function isPassed({ asked, cursor, passed }: Room): boolean {
  return cursor !== undefined && asked !== cursor && passed !== cursor;
}

function answerJoins(room: Room, error: HoldfastError | null, step: Step): void {
  if (room.calls.length === 0) return;
  step.out.push({ order: 'answerJoins', calls: room.calls, error });
  room.calls = [];
}

function notJoined(room: string, why: string): HoldfastError {
  return new HoldfastError('NOT_SENT', `The room "${room}" was not joined: ${why}.`, {
    details: { room, reason: 'aborted' },
  });
}
