/** What is still unanswered, and in which order it is written. */
import { Queue } from '../lib/queue.js';
import { Samples } from '../lib/samples.js';
import { HoldfastError } from '../protocol/errors.js';
import type { Response } from '../protocol/frame.js';
import { byteLength, type Wire } from '../protocol/wire.js';
import type { Ask, Restored, Tell } from './fact.js';
import type { Ledger } from './ledger.js';
import type { Order } from './order.js';
import { Pace } from './pace.js';
import { LONGEST_PAUSE, NEVER } from './step.js';

export interface OutboxLimits {
  maxMessages: number;
  maxBytes: number;
  /** Who gives way when it is full: the new one, the oldest or the youngest that was never written. */
  overflow: 'reject' | 'drop-oldest' | 'drop-newest';
  maxInFlight: number;
}

/** What the live server allows: bytes of one frame, frames per second. */
export interface OutboxTerms {
  maxMessageSize: number;
  messagesPerSecond: number;
}

/** Why a request was never written, or why its outcome is unknown: `details.reason`. */
type DeliveryReason =
  | 'aborted'
  | 'closed'
  | 'forgotten'
  | 'identity'
  | 'lost'
  | 'superseded'
  | 'timeout'
  | 'ttl';

interface Entry extends Ask {
  readonly kind: 'request';
  /** Its place: the order of first asking. */
  place: number;
  sent: boolean;
  /** The request memory it was first written under; null while it was never written. */
  session: string | null;
  serial: number;
  /** How often it was written since the server last promised that nothing had happened. */
  writes: number;
  /** The last such promise, while its next write waits: what it rejects with when its time is up. */
  refusal: HoldfastError | null;
  /** Milliseconds of its timeout that are left; they run only while it is on a link. */
  left: number;
  deadline: number;
  /** Had its one more try after a server error without effect. */
  retried: boolean;
  /** Stood in the outbox at the last `welcome`. */
  backlog: boolean;
  /** Was on a link that was closed for what it carried (1007, 1009). */
  isSuspect: boolean;
}

interface Letter extends Tell {
  readonly kind: 'message';
  place: number;
}

/**
 * Requests stay until they are answered, messages until they are written. Nothing that was reported
 * as failed is ever written again.
 */
export class Outbox {
  readonly #limits: OutboxLimits;
  readonly #entries = new Map<string, Entry>();
  readonly #line = new Queue<Entry | Letter>();
  #letters = 0;
  #bytes = 0;
  #places = 0;
  #inFlight = 0;
  #backlog = 0;
  #terms: OutboxTerms;
  #due = NEVER;
  readonly #pace = new Pace();
  /** Written when a link was closed for what it carried (1007, 1009): one of these is the culprit. */
  #suspects = 0;
  #session: string | null = null;
  #blocked = false;
  /** Null where requests are kept in memory alone. */
  readonly #ledger: Ledger | null;
  readonly counts = { requestsSent: 0, messagesSent: 0 };
  /** Milliseconds from the write on the link to the response, of those that succeeded. */
  readonly responses = new Samples();

  constructor(limits: OutboxLimits, terms: OutboxTerms, ledger: Ledger | null) {
    this.#limits = limits;
    this.#ledger = ledger;
    this.#terms = terms;
  }

  /** Requests without a response. */
  get size(): number {
    return this.#entries.size;
  }

  /** Those of them that a storage has, where there is one. */
  get queued(): number {
    return this.#entries.size - (this.#ledger?.saving.size ?? 0);
  }

  /** Bytes of what stands here. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Requests and messages that wait for their first or next write. */
  get waiting(): number {
    return this.#line.length;
  }

  /** Requests that stood here at the last `welcome` and are still unanswered. */
  get backlog(): number {
    return this.#backlog;
  }

  /** The last flush stopped because the link's buffer was full. */
  get blocked(): boolean {
    return this.#blocked;
  }

  get session(): string | null {
    return this.#session;
  }

  get deadline(): number {
    return this.#line.length === 0 ? this.#due : Math.min(this.#due, this.#pace.deadline);
  }

  pending(): readonly (Ask & { readonly session: string | null })[] {
    const entries = [...this.#entries.values()];
    return entries.filter(({ requestId }) => this.#ledger?.saving.has(requestId) !== true);
  }

  ask(request: Ask, now: number, out: Order[]): void {
    if (request.coalesceKey !== undefined) this.#supersede(request.coalesceKey, out);
    const refused = this.#admit(request.bytes, out);
    if (refused !== null) {
      // Under this id an earlier owner may have left one; what is reported as not sent is not sent.
      if (this.#ledger?.isReady === false) this.#ledger.drop(request.requestId);
      out.push({ order: 'reject', requestId: request.requestId, error: refused });
      return;
    }
    const entry = entryOf(request, ++this.#places, now + request.ttl);
    this.#add(entry);
    this.#line.push(entry);
    this.#ledger?.put(entry);
  }

  /** What an earlier owner of the storage left goes before everything that was asked since. */
  restore(
    { requests }: Restored,
    { now, date }: { now: number; date: number },
    out: Order[],
  ): void {
    const asked = this.#line.toArray();
    this.#line.clear();
    let place = -requests.length;
    for (const saved of requests) {
      const entry = this.#restored(saved, place++, { now, date });
      if (entry === null) continue;
      this.#add(entry);
      this.#line.push(entry);
    }
    for (const one of asked) this.#line.push(one);
    this.#bound(out);
  }

  /** Null where it is not to be gone on with, or is there already. */
  #restored(
    { session, ...saved }: Restored['requests'][number],
    place: number,
    { now, date }: { now: number; date: number },
  ): Entry | null {
    const asked = this.#entries.get(saved.requestId);
    if (asked !== undefined) {
      // Asked anew under its old id: it is the same request, and may have run.
      asked.session = session;
      asked.writes = session === null ? 0 : 1;
      return null;
    }
    if (this.#ledger?.hasDropped(saved.requestId)) return null;
    if (session === null && this.#isReplaced(saved.coalesceKey)) {
      this.#ledger?.drop(saved.requestId);
      return null;
    }
    // No longer than it was, whatever the device's date did meanwhile.
    const ttl = Math.max(0, saved.expiresAt - date);
    const bytes = byteLength(saved.wire);
    const entry = entryOf({ ...saved, bytes, ttl }, place, session === null ? now + ttl : NEVER);
    entry.session = session;
    entry.writes = session === null ? 0 : 1;
    return entry;
  }

  /** A newer request with its key was asked before the storage was open. */
  #isReplaced(coalesceKey: string | undefined): boolean {
    if (coalesceKey === undefined) return false;
    return [...this.#entries.values()].some((entry) => entry.coalesceKey === coalesceKey);
  }

  /** What was asked before the storage was open gives way to what was there. */
  #bound(out: Order[]): void {
    const { maxMessages, maxBytes } = this.#limits;
    for (const entry of [...this.#entries.values()].reverse()) {
      if (this.#entries.size + this.#letters <= maxMessages && this.#bytes <= maxBytes) return;
      if (entry.place > 0 && entry.session === null) this.#reject(entry, this.#full(), out);
    }
  }

  tell(message: Tell, out: Order[]): void {
    const refused = this.#admit(message.bytes, out);
    if (refused !== null) {
      out.push({ order: 'report', error: refused });
      return;
    }
    this.#letters++;
    this.#bytes += message.bytes;
    this.#line.push({ kind: 'message', ...message, place: ++this.#places });
  }

  abort(requestId: string, out: Order[]): void {
    const entry = this.#entries.get(requestId);
    if (entry !== undefined) this.#fail(entry, 'aborted', out);
  }

  /** What may be written now, in order: within the rate, the flight limit and `room` bytes of buffer. */
  flush(now: number, room: number, serial: number): Wire[] {
    const wires: Wire[] = [];
    let budget = room;
    for (let next = this.#line.peek(); next !== undefined; next = this.#line.peek()) {
      this.#blocked = budget <= 0;
      if (this.#blocked || !this.#mayWrite(next) || !this.#isSaved(next)) break;
      if (!this.#pace.take(now)) break;
      this.#line.shift();
      budget -= next.bytes;
      wires.push(next.wire);
      if (next.kind === 'request') this.#written(next, now, serial);
      else {
        this.#forgetLetter(next);
        this.counts.messagesSent++;
      }
    }
    return wires;
  }

  /** Returns the serial of the credentials where they were refused: the caller renews them. */
  answered(response: Response, now: number, out: Order[]): number | null {
    const entry = this.#entries.get(response.requestId);
    if (entry === undefined || entry.session === null) return null;
    if (response.success) {
      if (entry.sent) this.responses.add(now - entry.deadline + entry.left);
      this.#forget(entry);
      out.push({ order: 'settle', requestId: entry.requestId, data: response.data });
      return null;
    }
    const error = HoldfastError.from(response.error);
    if (error.code === 'TOKEN_EXPIRED') {
      this.#retry(entry, error);
      return entry.serial;
    }
    if (error.code === 'RATE_LIMITED') {
      this.#pace.pause(now + Math.min(error.retryAfter ?? 1_000, LONGEST_PAUSE));
      this.#retry(entry, error);
    } else if (error.retryable && !entry.retried) {
      entry.retried = true;
      this.#retry(entry, error);
    } else this.#reject(entry, error, out);
    return null;
  }

  /** Nothing is written while credentials are being renewed. */
  hold(isHeld: boolean): void {
    this.#pace.hold(isHeld);
  }

  /** A link is ready: what was written before comes first, in first order, then what never was. */
  resume(session: string | null, terms: OutboxTerms, now: number, out: Order[]): void {
    this.#session = session;
    this.#terms = terms;
    this.#pace.restart(terms.messagesPerSecond, now);
    this.#backlog = this.#entries.size;
    for (const entry of [...this.#entries.values()]) {
      entry.backlog = true;
      const forgotten = entry.session !== null && entry.session !== session;
      // Of an earlier owner's: on a link that is lost ours have failed already.
      const spent = entry.delivery === 'at-most-once' && entry.session !== null;
      if (spent) this.#fail(entry, 'lost', out);
      else if (forgotten && entry.delivery !== 'at-least-once') this.#fail(entry, 'forgotten', out);
      else if (entry.sent) this.#requeue(entry);
    }
    this.#refuseOversized(out);
    this.#ledger?.linked(session ?? '', this.#unwritten());
  }

  /** The link is gone. Timeouts stand still; what may not be written twice fails. */
  unlink(now: number, out: Order[]): void {
    for (const entry of [...this.#entries.values()]) {
      if (!entry.sent) continue;
      entry.left = Math.max(1, entry.deadline - now);
      entry.deadline = NEVER;
      const twice =
        entry.delivery === 'at-least-once' ||
        (entry.delivery === 'exactly-once' && this.#session !== null);
      if (!twice) this.#fail(entry, 'lost', out);
    }
    this.#ledger?.unlinked(this.#unwritten());
  }

  /**
   * A link was closed for a frame it carried. Whatever was unanswered on it goes one at a time from
   * now on; what is alone in flight when it happens again is the culprit and fails.
   */
  accuse(fault: HoldfastError, out: Order[]): void {
    const sent = [...this.#entries.values()].filter((entry) => entry.sent);
    const [only] = sent;
    if (only?.isSuspect && sent.length === 1) {
      this.#reject(only, fault, out);
      return;
    }
    for (const entry of sent) {
      if (!entry.isSuspect) this.#suspects++;
      entry.isSuspect = true;
    }
  }

  /** Deadlines that have come: requests that waited too long for their write, or for their answer. */
  expire(now: number, out: Order[]): void {
    this.#pace.timeUp(now);
    if (now < this.#due) return;
    this.#due = NEVER;
    for (const entry of [...this.#entries.values()]) {
      if (entry.deadline <= now) {
        if (entry.refusal !== null) this.#reject(entry, entry.refusal, out);
        else this.#fail(entry, entry.sent ? 'timeout' : 'ttl', out);
      } else this.#due = Math.min(this.#due, entry.deadline);
    }
  }

  /** Everything fails, each as what it was: never written, or of unknown outcome. */
  failAll(reason: 'closed' | 'identity', out: Order[]): void {
    for (const entry of [...this.#entries.values()]) this.#fail(entry, reason, out);
    this.#line.clear();
    this.#letters = 0;
    this.#bytes = 0;
    this.#session = null;
  }

  #fail(entry: Entry, reason: DeliveryReason, out: Order[]): void {
    this.#reject(entry, deliveryError(entry, reason), out);
  }

  #reject(entry: Entry, error: HoldfastError, out: Order[]): void {
    this.#forget(entry);
    out.push({ order: 'reject', requestId: entry.requestId, error });
  }

  #add(entry: Entry): void {
    this.#entries.set(entry.requestId, entry);
    this.#bytes += entry.bytes;
    this.#due = Math.min(this.#due, entry.deadline);
  }

  #isSaved(next: Entry | Letter): boolean {
    return next.kind === 'message' || (this.#ledger?.allows(next) ?? true);
  }

  #unwritten(): Entry[] {
    return [...this.#entries.values()].filter(({ session }) => session === null);
  }

  #written(entry: Entry, now: number, serial: number): void {
    this.counts.requestsSent++;
    entry.sent = true;
    entry.serial = serial;
    entry.writes++;
    entry.session ??= this.#session ?? '';
    // A repeat on the same link has no more time than the first write had.
    if (entry.refusal === null) entry.deadline = now + entry.left;
    entry.refusal = null;
    this.#due = Math.min(this.#due, entry.deadline);
    this.#inFlight++;
  }

  /**
   * The server promised that nothing happened: as good as never written, but for its time. The promise
   * is about this write alone: one on an earlier link may have run all the same.
   */
  #retry(entry: Entry, refusal: HoldfastError): void {
    const { deadline } = entry;
    if (entry.writes === 1) {
      entry.session = null;
      entry.writes = 0;
    }
    this.#requeue(entry);
    entry.deadline = deadline;
    entry.refusal = refusal;
  }

  /** In first order, whatever waits already. */
  #lineUp(entry: Entry): void {
    this.#line.insert(entry, (other) => other.place > entry.place);
  }

  #requeue(entry: Entry): void {
    if (!entry.sent) return;
    entry.sent = false;
    entry.deadline = NEVER;
    this.#inFlight--;
    this.#lineUp(entry);
  }

  #forget(entry: Entry): void {
    if (!this.#entries.delete(entry.requestId)) return;
    this.#ledger?.drop(entry.requestId);
    this.#bytes -= entry.bytes;
    if (entry.isSuspect) this.#suspects--;
    if (entry.backlog) this.#backlog--;
    if (entry.sent) this.#inFlight--;
    else this.#line.remove(entry);
  }

  #forgetLetter(letter: Letter): void {
    this.#letters--;
    this.#bytes -= letter.bytes;
  }

  /** While a culprit is looked for, one at a time, and no message beside it. */
  #mayWrite(next: Entry | Letter): boolean {
    if (this.#suspects > 0) return this.#inFlight === 0;
    return next.kind === 'message' || this.#inFlight < this.#limits.maxInFlight;
  }

  /** What this server would answer with a close fails before it does harm. */
  #refuseOversized(out: Order[]): void {
    for (const waiting of this.#line.toArray()) {
      const error = this.#oversized(waiting.bytes);
      if (error === null) continue;
      if (waiting.kind === 'request') {
        this.#reject(waiting, error, out);
        continue;
      }
      this.#dropLetter(waiting);
      out.push({ order: 'report', error });
    }
  }

  #oversized(bytes: number): HoldfastError | null {
    const { maxMessageSize } = this.#terms;
    if (bytes <= maxMessageSize) return null;
    return new HoldfastError(
      'MESSAGE_TOO_LARGE',
      `A frame of ${bytes} bytes is over the limit of ${maxMessageSize}. Send less at once, or raise limits.maxMessageSize on both sides.`,
    );
  }

  /** Makes room, or says why there is none. */
  #admit(bytes: number, out: Order[]): HoldfastError | null {
    const oversized = this.#oversized(bytes);
    if (oversized !== null) return oversized;
    const victims = this.#victims(bytes, this.#limits);
    if (victims === null) return this.#full();
    for (const victim of victims) {
      const error = this.#full();
      if (victim.kind === 'request') this.#reject(victim, error, out);
      else {
        this.#dropLetter(victim);
        out.push({ order: 'report', error });
      }
    }
    return null;
  }

  /** Who gives way to so many bytes more; null where even that would not make room. */
  #victims(bytes: number, { maxMessages, maxBytes, overflow }: Bounds): (Entry | Letter)[] | null {
    let count = this.#entries.size + this.#letters + 1 - maxMessages;
    let excess = this.#bytes + bytes - maxBytes;
    if (count <= 0 && excess <= 0) return [];
    if (overflow === 'reject') return null;
    const unwritten = this.#line.toArray().filter(isUnwritten);
    if (overflow === 'drop-newest') unwritten.reverse();
    const victims: (Entry | Letter)[] = [];
    for (const one of unwritten) {
      if (count <= 0 && excess <= 0) break;
      victims.push(one);
      count--;
      excess -= one.bytes;
    }
    return count <= 0 && excess <= 0 ? victims : null;
  }

  #supersede(key: string, out: Order[]): void {
    for (const waiting of this.#line.toArray()) {
      if (waiting.kind !== 'request' || waiting.session !== null) continue;
      if (waiting.coalesceKey === key) this.#fail(waiting, 'superseded', out);
    }
  }

  #full(): HoldfastError {
    const { maxMessages, maxBytes } = this.#limits;
    const count = this.#entries.size + this.#letters;
    return new HoldfastError(
      'NOT_SENT',
      `${count} messages of ${this.#bytes} bytes are waiting. Raise outbox.maxMessages (now ${maxMessages}) or outbox.maxBytes (now ${maxBytes}), or send less while offline.`,
      { details: { reason: 'overflow' } },
    );
  }

  #dropLetter(letter: Letter): void {
    this.#line.remove(letter);
    this.#forgetLetter(letter);
  }
}

type Bounds = Pick<OutboxLimits, 'maxMessages' | 'maxBytes' | 'overflow'>;

function isUnwritten(one: Entry | Letter): boolean {
  return one.kind === 'message' || one.session === null;
}

function entryOf(request: Ask, place: number, deadline: number): Entry {
  return {
    ...request,
    kind: 'request',
    place,
    sent: false,
    session: null,
    serial: 0,
    writes: 0,
    refusal: null,
    left: request.timeout,
    deadline,
    retried: false,
    backlog: false,
    isSuspect: false,
  };
}

/** Never written and of unknown outcome are different errors: only one of them is safe to ask again. */
function deliveryError(entry: Entry, reason: DeliveryReason): HoldfastError {
  const written = entry.session !== null;
  return new HoldfastError(
    written ? 'OUTCOME_UNKNOWN' : 'NOT_SENT',
    `The request "${entry.type}" ${written ? 'may have run' : 'was never sent'}: ${causes[reason]}.`,
    { details: { reason } },
  );
}

const causes: Record<DeliveryReason, string> = {
  aborted: 'its signal was aborted',
  closed: 'the client was closed',
  forgotten: 'the server no longer remembers its requests',
  identity: 'another user is signed in now',
  lost: 'its link was lost, and it may not be written twice',
  superseded: 'a newer one with its coalesceKey took its place',
  timeout: 'no response came in time',
  ttl: 'it waited longer than its ttl',
};
