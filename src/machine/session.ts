/** The session machine: given a fact, the time and a roll, it answers with orders. It decides everything. */
import { Tempo } from '../lib/tempo.js';
import { HoldfastError } from '../protocol/errors.js';
import { type Garbled, type Hello, PROTOCOL, type ServerFrame } from '../protocol/frame.js';
import { attemptOf } from './attempt.js';
import { Delivery, type DeliveryLimits } from './delivery.js';
import type { Ask, Fact, Restored } from './fact.js';
import type { Ledger } from './ledger.js';
import { Lifecycle, type LifecycleOptions } from './lifecycle.js';
import type { Order } from './order.js';
import type { RoomState } from './rooms.js';
import type { ConnectionState, Status } from './status.js';
import type { Step } from './step.js';

export interface SessionOptions extends LifecycleOptions {
  /** Asked once, when the first link opens: construction touches no source of chance. */
  clientId: () => string;
  outbox: DeliveryLimits['outbox'];
  inbox: DeliveryLimits['inbox'];
  /** Makes the books of the storage; null where there is none. */
  ledger: (() => Ledger) | null;
}

/**
 * Two halves: the lifecycle gets and keeps a link, the delivery says what goes over whichever link
 * there is. Deterministic: the same facts, times and rolls give the same orders.
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #delivery: Delivery;
  readonly #lifecycle: Lifecycle;
  #clientId: string | null = null;
  /** The number of the last hello. */
  #presented = 0;
  #state: ConnectionState | null = null;
  readonly #lastConnected = new Moment();
  readonly #nextRetryAt = new Moment();
  /** What no part of this client understood, or wanted. */
  readonly counts = { garbled: 0, ignored: 0 };
  readonly #tempo = new Tempo(() => this.#delivery.traffic);

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#delivery = new Delivery({
      ...options,
      terms: options.limits,
      ledger: options.ledger?.() ?? null,
    });
    this.#lifecycle = new Lifecycle(options, this.#delivery);
  }

  /**
   * Takes one fact and answers with what is to be done, in order.
   * @param now milliseconds of the monotonic clock
   * @param roll in [0, 1), drawn by the caller
   * @param out where the orders are appended; one that is kept saves an array for every event
   */
  step(fact: Fact, now: number, roll: number, out: Order[] = []): Order[] {
    const step: Step = { now, roll, out };
    const lifecycle = this.#lifecycle;
    const delivery = this.#delivery;
    switch (fact.fact) {
      case 'received':
        this.#received(fact.link, fact.frame, step);
        break;
      case 'delivered':
        delivery.delivered(fact.room, fact.eventId);
        break;
      case 'asked':
        this.#asked(fact.request, step);
        break;
      case 'told':
        delivery.tell(fact.message, step);
        break;
      case 'aborted':
        delivery.abort(fact.requestId, step);
        break;
      case 'tickEnded':
        this.#flush(fact.buffered, step);
        this.#tempo.passed(now);
        break;
      case 'timeUp':
        lifecycle.timeUp(fact.buffered, step);
        delivery.timeUp(step);
        lifecycle.resume(step);
        break;
      case 'connectAsked':
        lifecycle.connect(step);
        break;
      case 'reconnectAsked':
        lifecycle.reconnect(step);
        break;
      case 'disconnectAsked':
        lifecycle.disconnect(step);
        break;
      case 'closeAsked':
        lifecycle.close(null, step);
        break;
      case 'credentialsGiven':
        lifecycle.credentialsGiven(fact.ask, fact.auth, fact.key, step);
        break;
      case 'credentialsFailed':
        lifecycle.credentialsFailed(fact.ask, fact.error, step);
        break;
      case 'opened':
        this.#opened(fact, step);
        break;
      case 'lost':
        lifecycle.lost(fact.link, fact.fault, step);
        break;
      case 'woke':
        lifecycle.woke(fact.buffered, step);
        break;
      case 'wentOffline':
        lifecycle.wentOffline(fact.buffered, step);
        break;
      case 'suspended':
        lifecycle.suspend(step);
        break;
      case 'hid':
        lifecycle.hid(step);
        break;
      case 'joinAsked':
        this.#joinAsked(fact, step);
        break;
      case 'joinAborted':
        delivery.abortJoin(fact.room, fact.call, step);
        break;
      case 'leaveAsked':
        delivery.leave(fact.room, step);
        break;
      case 'healed':
        delivery.healed(fact.room, fact.run, fact.eventId, step);
        break;
      case 'healFailed':
        delivery.healFailed(fact.room, fact.run, fact.error, step);
        break;
      case 'restoreAsked':
        delivery.openStorage(step);
        break;
      case 'restored':
        this.#restored(fact.saved, fact.date, step);
        break;
      case 'restoreFailed':
        delivery.restoreFailed(fact.error, step);
        lifecycle.resume(step);
        break;
      case 'stored':
        delivery.stored(fact.write, step);
        break;
      case 'storeFailed':
        delivery.storeFailed(fact.write, fact.error, step);
        break;
      default:
        fact satisfies never;
    }
    return out;
  }

  /** When `timeUp` is due, in ms of the monotonic clock; Infinity where nothing is pending. */
  get deadline(): number {
    if (this.#lifecycle.phase.name === 'closed') return this.#delivery.storageDeadline;
    return Math.min(this.#lifecycle.deadline, this.#delivery.deadline);
  }

  /**
   * What a link presents as it opens: as of that moment. A dial that tries several wires asks for one
   * for each: the server serves the highest number.
   */
  hello(link: number): Hello {
    const { auth } = this.#lifecycle;
    const { session } = this.#delivery;
    this.#clientId ??= this.#options.clientId();
    this.#presented = Math.max(link, this.#presented + 1);
    return {
      kind: 'hello',
      protocol: PROTOCOL,
      clientId: this.#clientId,
      link: this.#presented,
      ...(auth === undefined ? {} : { auth }),
      ...(session === null ? {} : { session }),
      rooms: this.#delivery.hello(),
    };
  }

  /**
   * What the application sees. The same object until something in it changes.
   * @param unix what to add to the monotonic clock to get Unix milliseconds
   */
  state(unix: number): ConnectionState {
    const next = this.#read(unix);
    const old = this.#state;
    if (old !== null && isSame(old, next)) return old;
    this.#state = Object.freeze(next);
    return this.#state;
  }

  get status(): Status {
    const { phase } = this.#lifecycle;
    if (phase.name === 'open') return 'connected';
    if (phase.name === 'trying') return phase.first ? 'connecting' : 'reconnecting';
    return phase.name === 'idle' ? 'disconnected' : 'closed';
  }

  /** The link in use, for the state of its buffer. */
  get link(): number | null {
    const { phase } = this.#lifecycle;
    return phase.name === 'open' ? phase.link : null;
  }

  /** Nothing waits to be written. */
  get isDrained(): boolean {
    return this.#delivery.waiting === 0;
  }

  /** The storage, where there is one, has been asked, or given up. */
  get isReady(): boolean {
    return this.#delivery.isReady;
  }

  pending(): ReturnType<Delivery['pending']> {
    return this.#delivery.pending();
  }

  /** Whether an event still has anybody to go to: its room was not left, and the client not closed. */
  hears(room: string | undefined): boolean {
    const { phase } = this.#lifecycle;
    if (phase.name === 'closed' && phase.final) return false;
    return room === undefined || this.#delivery.hears(room);
  }

  roomState(name: string): RoomState {
    return this.#delivery.roomState(name);
  }

  /** Everything counted so far, by all parts; `now` in ms of the monotonic clock. */
  metrics(now: number) {
    const { counts, roundTrips } = this.#lifecycle;
    const [received = 0, sent = 0] = this.#tempo.perSecond(now);
    return {
      ...this.counts,
      ...counts,
      ...this.#delivery.metrics(now),
      roundTrip: roundTrips.percentiles,
      receivedPerSecond: received,
      sentPerSecond: sent,
    };
  }

  #received(link: number, frame: ServerFrame | Garbled, step: Step): void {
    const lifecycle = this.#lifecycle;
    if (lifecycle.heard(link, step.now)) this.#served(link, frame, step);
    else if (!lifecycle.isGreeting(link)) this.counts.ignored++;
    else if (frame.kind === 'welcome') lifecycle.welcomed(link, frame, step);
    else if (frame.kind === 'error') {
      lifecycle.complained(link, HoldfastError.from(frame.error), step);
    } else if (frame.kind === 'goodbye') lifecycle.turnedAway(link, frame, step);
    else this.counts.ignored++;
  }

  /** A frame of the link in use. */
  #served(link: number, frame: ServerFrame | Garbled, step: Step): void {
    const lifecycle = this.#lifecycle;
    switch (frame.kind) {
      case 'event':
        this.#delivery.event(frame, step);
        break;
      case 'response': {
        const refused = this.#delivery.response(frame, step);
        if (refused === null) lifecycle.accepted();
        else lifecycle.refused(refused, step);
        break;
      }
      case 'room':
        this.#delivery.verdict(frame, step);
        break;
      case 'ping':
        this.#delivery.say({ kind: 'pong' });
        break;
      case 'pong':
        lifecycle.ponged(step.now);
        break;
      case 'auth':
        lifecycle.renewed(frame, step);
        break;
      case 'error':
        lifecycle.complained(link, HoldfastError.from(frame.error), step);
        break;
      case 'goodbye':
        lifecycle.goodbye(frame, step);
        break;
      case 'garbled':
        this.counts.garbled++;
        break;
      case 'welcome':
        this.counts.ignored++;
        break;
      default:
        frame satisfies never;
    }
  }

  #opened(fact: Fact & { fact: 'opened' }, step: Step): void {
    if (!this.#lifecycle.opened(fact, step)) return;
    this.#delivery.named(fact.rooms ?? this.#delivery.hello());
  }

  #asked(request: Ask, step: Step): void {
    if (this.#lifecycle.phase.name !== 'closed') {
      this.#delivery.ask(request, step);
      this.#lifecycle.asked(step);
      return;
    }
    const error = notSent(`The request "${request.type}" was never sent`);
    step.out.push({ order: 'reject', requestId: request.requestId, error });
  }

  #joinAsked({ room, since, call }: Fact & { fact: 'joinAsked' }, step: Step): void {
    if (this.#lifecycle.phase.name !== 'closed') this.#delivery.join(room, since, call, step);
    else {
      const error = notSent(`The room "${room}" was not joined`);
      step.out.push({ order: 'answerJoins', calls: [call], error });
    }
  }

  #restored(saved: Restored, date: number, step: Step): void {
    if (!this.#delivery.restored(saved, date, step)) return;
    this.#clientId = saved.clientId;
    this.#lifecycle.restored(saved);
    this.#lifecycle.resume(step);
  }

  #flush(buffered: number, step: Step): void {
    const { link } = this;
    if (link !== null) {
      const frames = this.#delivery.flush(buffered, this.#lifecycle.serial, step);
      if (frames.length > 0) step.out.push({ order: 'transmit', link, frames });
    }
    this.#delivery.save(step);
  }

  #read(unix: number): ConnectionState {
    const { attempts, connectedAt, error, latency, phase } = this.#lifecycle;
    const isOpen = phase.name === 'open';
    const attempt = isOpen ? null : attemptOf(phase);
    const retryAt = attempt?.step === 'waiting' ? attempt.until : null;
    return {
      status: this.status,
      synced: isOpen && this.#delivery.synced,
      lastConnected: this.#lastConnected.date(connectedAt, unix),
      reconnectAttempts: attempts,
      nextRetryAt: this.#nextRetryAt.date(retryAt, unix),
      latency: latency === null ? null : Math.round(latency * 10) / 10,
      transport: isOpen ? this.#lifecycle.transport : null,
      queued: this.#delivery.queued,
      error: isOpen ? null : error,
    };
  }
}

function notSent(what: string): HoldfastError {
  return new HoldfastError('NOT_SENT', `${what}: the client is closed.`, {
    details: { reason: 'closed' },
  });
}

/** A moment of the monotonic clock as a date: the same object for the same moment, whatever the wall clock does. */
class Moment {
  #at: number | null = null;
  #date: Date | null = null;

  date(at: number | null, unix: number): Date | null {
    if (at !== this.#at) {
      this.#at = at;
      this.#date = at === null || at === Number.POSITIVE_INFINITY ? null : new Date(at + unix);
    }
    return this.#date;
  }
}

function isSame(old: ConnectionState, next: ConnectionState): boolean {
  return fields.every((field) => old[field] === next[field]);
}

const fields = [
  'status',
  'synced',
  'lastConnected',
  'reconnectAttempts',
  'nextRetryAt',
  'latency',
  'transport',
  'queued',
  'error',
] as const satisfies readonly (keyof ConnectionState)[];
