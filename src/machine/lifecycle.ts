/** Whether there is a link, and what is done to get one: attempts, credentials, heartbeat, handover. */
import { Samples } from '../lib/samples.js';
import { HoldfastError } from '../protocol/errors.js';
import {
  type AuthVerdict,
  defaultTerms,
  type Goodbye,
  type Terms,
  type Welcome,
} from '../protocol/frame.js';
import { type Attempt, attemptOf, deadlineOf, linkOf, type Phase } from './attempt.js';
import { Credentials } from './auth.js';
import type { Delivery } from './delivery.js';
import type { Fact, Restored } from './fact.js';
import {
  closedForGood,
  isAccusation,
  isPermanent,
  noCredentials,
  noFreshCredentials,
  noHeartbeat,
  notConnected,
  noWelcome,
  refusedTwice,
  turnedAway,
} from './faults.js';
import { type Heartbeat, Liveness } from './liveness.js';
import type { CredentialReason } from './order.js';
import { type Judge, Retry, type RetryOptions } from './retry.js';
import { NEVER, type Step } from './step.js';

export interface LifecycleOptions {
  /** The transport's name, for the state. */
  transport: string;
  /** Whether the application gives credentials, and how long it may take, in ms. */
  auth: { timeout: number } | null;
  reconnect: RetryOptions & { connectTimeout: number };
  shouldReconnect: Judge;
  heartbeat: Heartbeat | null;
  limits: { maxMessageSize: number; messagesPerSecond: number };
  /** Milliseconds a page may be hidden before its idle connection is put aside; null: for ever. */
  pauseAfter: number | null;
}

/** The device says it is offline: it may be wrong, so the server is asked, and not for long. */
const OFFLINE_PROBE = 2_000;

/** How soon a hidden page that waits for an answer is looked at again. */
const PAUSE_RECHECK = 1_000;

export class Lifecycle {
  readonly #options: LifecycleOptions;
  readonly #delivery: Delivery;
  readonly #credentials: Credentials;
  readonly #retry: Retry;
  #phase: Phase = { name: 'idle' };
  #links = 0;
  #pauseAt = NEVER;
  /** Put aside because it was hidden: its scripts still run. */
  #isAside = false;
  #terms: Terms = defaultTerms;
  #liveness: Liveness | null = null;
  /** The last `error` frame of the link in use. */
  #complaint: HoldfastError | null = null;
  /** The identity that the outbox and the cursors belong to; undefined before the first welcome. */
  #owner: string | null | undefined;
  /** Of the credentials that the link in use was opened with, or renewed to. */
  serial = 0;
  /** Of the link in use, or of the last one. */
  transport: string | null = null;
  /** Why there is no connection. */
  error: HoldfastError | null = null;
  /** When the last welcome came, in ms of the monotonic clock. */
  connectedAt: number | null = null;
  readonly counts = { attempts: 0, connects: 0, reconnects: 0 };
  /** Milliseconds: of handshakes and pings. */
  readonly roundTrips = new Samples();

  constructor(options: LifecycleOptions, delivery: Delivery) {
    this.#options = options;
    this.#delivery = delivery;
    this.#credentials = new Credentials(options.auth?.timeout ?? 0);
    this.#retry = new Retry(options.reconnect, options.shouldReconnect);
  }

  get phase(): Phase {
    return this.#phase;
  }

  get attempts(): number {
    return this.#retry.attempts;
  }

  get latency(): number | null {
    return this.#liveness?.latency ?? null;
  }

  get auth(): unknown {
    return this.#credentials.auth;
  }

  get deadline(): number {
    return Math.min(
      deadlineOf(attemptOf(this.#phase)),
      this.#credentials.deadline,
      this.#liveness?.deadline ?? NEVER,
      this.#retry.deadline,
      this.#pauseAt,
    );
  }

  connect(step: Step): void {
    const phase = this.#phase;
    if (phase.name === 'open') step.out.push({ order: 'answerConnects', error: null });
    else if (phase.name === 'closed' && phase.final) {
      step.out.push({ order: 'answerConnects', error: closedForGood() });
    } else if (phase.name !== 'trying') {
      // disconnect() keeps the count until a stable connection; what ended in "closed" starts anew.
      if (phase.name === 'closed') this.#retry.reset();
      this.error = null;
      this.#begin(true, step);
    }
  }

  /** Now, skipping the wait; what was under way is given up for it. */
  reconnect(step: Step): void {
    const phase = this.#phase;
    if (!('next' in phase)) {
      this.connect(step);
      return;
    }
    this.#dropLinks('reconnecting', step);
    this.#begin(phase.name === 'trying' && phase.first, step);
  }

  disconnect(step: Step, error = notConnected('disconnect() was called')): void {
    if (!('next' in this.#phase)) return;
    this.#dropLinks('disconnected', step);
    this.#credentials.drop();
    this.#phase = { name: 'idle' };
    this.error = null;
    step.out.push({ order: 'answerConnects', error });
  }

  /** `fault`: a permanent refusal. Without one the application has closed the client, for good. */
  close(fault: HoldfastError | null, step: Step): void {
    const isClosed = this.#phase.name === 'closed';
    if (isClosed && fault !== null) return;
    this.#dropLinks('closed', step);
    this.#phase = { name: 'closed', final: fault === null };
    if (isClosed) {
      this.#delivery.release(step);
      return;
    }
    this.#credentials.drop();
    this.error = fault;
    this.#delivery.closed(step);
    if (fault === null) this.#delivery.release(step);
    step.out.push({ order: 'answerConnects', error: fault ?? closedForGood() });
  }

  /** The storage is open, and says who we are. */
  restored({ link, user }: Restored): void {
    this.#links = link;
    this.#owner = user;
  }

  /** Goes on once the storage has said what it had to say, or has been given up. */
  resume(step: Step): void {
    if (attemptOf(this.#phase)?.step === 'restoring' && this.#delivery.isReady) this.#start(step);
  }

  credentialsGiven(ask: number, auth: unknown, key: string, step: Step): void {
    if (!this.#credentials.given(ask, auth, key)) return;
    if (auth === null) this.disconnect(step, notConnected('auth returned null'));
    else if (attemptOf(this.#phase)?.step === 'asking') this.#dial(step);
    else if (this.#phase.name === 'open') {
      this.serial = this.#credentials.serial;
      this.#delivery.say({ kind: 'auth', auth });
      this.#delivery.hold(false);
    }
  }

  credentialsFailed(ask: number, error: HoldfastError, step: Step): void {
    if (this.#credentials.failed(ask)) this.#noCredentials(error, step);
  }

  /** False for a link that was given up, or is open already. */
  opened(fact: Fact & { fact: 'opened' }, step: Step): boolean {
    const { link, transport, pings = true, age = 0 } = fact;
    const attempt = attemptOf(this.#phase);
    if (attempt?.step !== 'dialing' || attempt.link !== link) return false;
    const wire = { transport: transport ?? this.#options.transport, pings };
    this.#attempt({ ...attempt, step: 'greeting', since: step.now - age, wire });
    return true;
  }

  welcomed(link: number, welcome: Welcome, step: Step): void {
    const attempt = attemptOf(this.#phase);
    if (attempt?.step !== 'greeting') return;
    if (this.#phase.name === 'open') {
      step.out.push(hangUp(this.#phase.link, 'moved to another link'));
      this.#delivery.unlinked(step);
    }
    this.#terms = { ...defaultTerms, ...welcome.terms };
    this.#phase = { name: 'open', link, next: null };
    this.#complaint = null;
    const { heartbeat } = this.#options;
    const pulse = heartbeat === null ? null : atLeast(welcome.terms?.heartbeat ?? heartbeat);
    this.roundTrips.add(step.now - attempt.since);
    this.#liveness = new Liveness(pulse, step.now, {
      roundTrip: step.now - attempt.since,
      measures: attempt.wire.pings,
    });
    this.transport = attempt.wire.transport;
    this.serial = this.#credentials.serial;
    this.#credentials.holdFor(this.#terms.authExpiresIn, step);
    this.#retry.welcomed(step.now);
    this.error = null;
    this.connectedAt = step.now;
    if (this.counts.connects++ > 0) this.counts.reconnects++;
    this.#identify(welcome.user ?? null, step);
    this.#delivery.welcomed(welcome.session ?? null, this.#outboxTerms(), step);
    step.out.push({ order: 'answerConnects', error: null });
  }

  /** Whether the frame came over the link in use: then it is also a sign of life. */
  heard(link: number, now: number): boolean {
    if (this.#phase.name !== 'open' || this.#phase.link !== link) return false;
    this.#liveness?.heard(now);
    return true;
  }

  isGreeting(link: number): boolean {
    const attempt = attemptOf(this.#phase);
    return attempt?.step === 'greeting' && attempt.link === link;
  }

  ponged(now: number): void {
    const sample = this.#liveness?.ponged(now);
    if (sample !== undefined) this.roundTrips.add(sample);
  }

  /** The server leaves on purpose. The next link is dialed beside this one, which still works. */
  goodbye(goodbye: Goodbye, step: Step): void {
    if (this.#phase.name !== 'open' || this.#phase.next !== null) return;
    const pause = this.#retry.pause(pauseOf(goodbye, step.roll), step.roll);
    this.#attempt({ step: 'waiting', until: step.now + pause });
  }

  /** A draining server answers `hello` with `goodbye`: a failed attempt like any other, so no loop. */
  turnedAway(link: number, goodbye: Goodbye, step: Step): void {
    step.out.push(hangUp(link, 'turned away'));
    this.lost(link, turnedAway(goodbye.reason, pauseOf(goodbye, step.roll)), step);
  }

  /** The server's word on credentials: how long they hold, or that a renewal was refused. */
  renewed(verdict: AuthVerdict, step: Step): void {
    if (verdict.error === undefined) {
      this.#credentials.holdFor(verdict.expiresIn, step);
      return;
    }
    step.out.push({ order: 'report', error: HoldfastError.from(verdict.error) });
    this.#credentials.retryRenewal(step);
  }

  /** A request was refused for its credentials: once for each set of them, they are renewed. */
  refused(serial: number, step: Step): void {
    const refusal = this.#credentials.refused(serial);
    if (this.#options.auth === null) this.close(noFreshCredentials(), step);
    else if (refusal === 'final') this.close(refusedTwice(), step);
    if (refusal !== 'refresh') return;
    this.#delivery.hold(true);
    // A server that refuses whatever is fresh is not hammered: at once, once.
    if (this.#credentials.refusals > 1) this.#credentials.retryRenewal(step);
    else this.#ask('expired', step);
  }

  /** A request was answered: the credentials in use are good. */
  accepted(): void {
    this.#credentials.refusals = 0;
  }

  /** An `error` frame: before `welcome` a refusal, after it the reason of what comes next. */
  complained(link: number, error: HoldfastError, step: Step): void {
    if (!this.isGreeting(link) && !error.category.startsWith('auth')) {
      this.#complaint = error;
      step.out.push({ order: 'report', error });
      return;
    }
    step.out.push(hangUp(link, 'refused'));
    this.lost(link, error, step);
  }

  /** A link has ended by itself. Links that were given up change nothing. */
  lost(link: number, fault: HoldfastError, step: Step): void {
    if (this.#phase.name === 'open' && this.#phase.link === link) {
      // A close code alone has no `retryAfter`: the frame before it may have said more of the same.
      const said = this.#complaint?.code === fault.code ? this.#complaint : fault;
      this.#lose(said, step);
    } else if (linkOf(attemptOf(this.#phase)) === link) this.#failed(fault, step);
  }

  /** The device is back: a wait is over, and a link that looks alive is asked. */
  woke(buffered: number, step: Step): void {
    this.#pauseAt = NEVER;
    const phase = this.#phase;
    if (phase.name === 'open') this.#probe(buffered, NEVER, step);
    else if (phase.name === 'trying' && phase.next.step === 'waiting') {
      this.#retry.hurry();
      this.#begin(phase.first, step);
    }
  }

  wentOffline(buffered: number, step: Step): void {
    this.#probe(buffered, OFFLINE_PROBE, step);
  }

  hid(step: Step): void {
    this.#pauseAt = step.now + (this.#options.pauseAfter ?? NEVER);
  }

  /** A request of a page that was put aside for being hidden: it is not to wait for its being seen. */
  asked(step: Step): void {
    const phase = this.#phase;
    if (!this.#isAside || phase.name !== 'trying') return;
    this.hid(step);
    this.#begin(phase.first, step);
  }

  /** The page is put aside: its links end now, and the next attempt waits for it to come back. */
  suspend(step: Step): void {
    const phase = this.#phase;
    if (!('next' in phase)) return;
    const first = phase.name === 'trying' && phase.first;
    this.#dropLinks('page suspended', step);
    this.#phase = { name: 'trying', next: { step: 'waiting', until: NEVER }, first };
  }

  timeUp(buffered: number, step: Step): void {
    const { now } = step;
    this.#retry.timeUp(now);
    if (this.#credentials.overdue(now)) {
      step.out.push({ order: 'dropCredentials' });
      this.#noCredentials(noCredentials(this.#options.auth?.timeout ?? 0), step);
    }
    if (now >= this.#credentials.renewAt) this.#renewalDue(step);
    if (now >= this.#pauseAt) {
      // Hidden for long enough: put aside, unless an answer is still to come.
      const { isIdle } = this.#delivery;
      this.#pauseAt = isIdle ? NEVER : now + PAUSE_RECHECK;
      if (isIdle) this.suspend(step);
      this.#isAside = isIdle;
    }
    this.#checkPulse(buffered, step);
    this.#checkAttempt(step);
  }

  #begin(first: boolean, step: Step): void {
    this.#isAside = false;
    this.#phase = { name: 'trying', next: { step: 'waiting', until: step.now }, first };
    this.#start(step);
  }

  /** Every path to a link asks the storage, once, and then for credentials. */
  #start(step: Step): void {
    if (!this.#delivery.isReady) {
      this.#delivery.openStorage(step);
      this.#attempt({ step: 'restoring' });
      return;
    }
    this.counts.attempts++;
    if (this.#options.auth === null) {
      this.#dial(step);
      return;
    }
    this.#attempt({ step: 'asking' });
    this.#ask(this.#retry.reason, step);
  }

  #ask(reason: CredentialReason, step: Step): void {
    const ask = this.#credentials.ask(step.now);
    if (ask !== null) step.out.push({ order: 'askCredentials', ask, reason });
  }

  #dial(step: Step): void {
    const link = ++this.#links;
    const until = step.now + this.#options.reconnect.connectTimeout;
    this.#attempt({ step: 'dialing', link, until });
    step.out.push({ order: 'dial', link });
  }

  #attempt(next: Attempt): void {
    if ('next' in this.#phase) this.#phase = { ...this.#phase, next };
  }

  /** The link in use is gone. A dial that is under way beside it becomes the next attempt. */
  #lose(fault: HoldfastError, step: Step): void {
    const next = attemptOf(this.#phase);
    this.#liveness = null;
    this.#retry.hurry();
    if (isAccusation(fault)) this.#delivery.accuse(fault, step);
    this.#delivery.unlinked(step);
    this.#phase = { name: 'trying', next: next ?? { step: 'waiting', until: NEVER }, first: false };
    this.error = fault;
    if (next === null) this.#failed(fault, step);
    // Told 4409 while our own next link is under way, it was that one which took over.
    else if (isPermanent(fault) && fault.code !== 'SUPERSEDED') this.close(fault, step);
  }

  #failed(fault: HoldfastError, step: Step): void {
    const phase = this.#phase;
    const isTrying = phase.name === 'trying';
    const refusal = fault.code === 'TOKEN_EXPIRED' ? this.#refusal() : null;
    const first = isTrying && phase.first;
    const spread = this.#terms.retrySpread;
    // A `hello` that was too large names fewer rooms the next time; the others are joined after it.
    if (isAccusation(fault)) this.#delivery.shrinkHello();
    const verdict = this.#retry.decide({ fault, first, refusal, spread }, step);
    if (verdict.next === 'close') this.close(fault, step);
    else if (verdict.next === 'give up') this.disconnect(step, fault);
    else {
      if (isTrying) this.#phase = { ...phase, first: false };
      if (verdict.next === 'refresh') this.#start(step);
      else this.#attempt({ step: 'waiting', until: verdict.until });
    }
    if (this.#phase.name !== 'open') this.error = fault;
  }

  #refusal(): 'stale' | 'refresh' | 'final' {
    return this.#options.auth === null
      ? 'final'
      : this.#credentials.refused(this.#credentials.serial);
  }

  #renewalDue(step: Step): void {
    this.#credentials.renewAt = NEVER;
    if (this.#phase.name === 'open' && this.#options.auth !== null) this.#ask('expired', step);
  }

  #noCredentials(error: HoldfastError, step: Step): void {
    if (attemptOf(this.#phase)?.step === 'asking') {
      this.#failed(error, step);
      return;
    }
    this.#credentials.retryRenewal(step);
    step.out.push({ order: 'report', error });
  }

  #identify(user: string | null, step: Step): void {
    if (this.#owner !== undefined && this.#owner !== user) this.#delivery.disown(step);
    if (this.#owner !== user) this.#delivery.own(user);
    this.#owner = user;
  }

  #outboxTerms(): { maxMessageSize: number; messagesPerSecond: number } {
    const { limits } = this.#options;
    const { maxMessageSize, messagesPerSecond } = this.#terms;
    return {
      maxMessageSize: Math.min(limits.maxMessageSize, maxMessageSize),
      messagesPerSecond: Math.min(limits.messagesPerSecond, messagesPerSecond),
    };
  }

  #probe(buffered: number, timeout: number, step: Step): void {
    if (this.#liveness?.probe(step.now, buffered, timeout)) this.#delivery.say({ kind: 'ping' });
  }

  #checkPulse(buffered: number, step: Step): void {
    const pulse = this.#liveness?.check(step.now, buffered);
    if (pulse === 'ping') this.#delivery.say({ kind: 'ping' });
    if (pulse !== 'dead' || this.#phase.name !== 'open') return;
    step.out.push(hangUp(this.#phase.link, 'no heartbeat'));
    this.#lose(noHeartbeat(), step);
  }

  #checkAttempt(step: Step): void {
    const attempt = attemptOf(this.#phase);
    const link = linkOf(attempt);
    if (step.now < deadlineOf(attempt)) return;
    if (link === null) {
      this.#start(step);
      return;
    }
    step.out.push(hangUp(link, 'connect timeout'));
    this.#failed(noWelcome(this.#options.reconnect.connectTimeout), step);
  }

  /** Ends every link and question there is: none of them survives what was asked for. */
  #dropLinks(reason: string, step: Step): void {
    const phase = this.#phase;
    const dialed = linkOf(attemptOf(phase));
    if (dialed !== null) step.out.push(hangUp(dialed, reason));
    if (this.#credentials.cancel()) step.out.push({ order: 'dropCredentials' });
    this.#liveness = null;
    this.#pauseAt = NEVER;
    this.#isAside = false;
    this.#retry.hurry();
    if (phase.name === 'open') {
      step.out.push(hangUp(phase.link, reason));
      this.#delivery.unlinked(step);
    }
  }
}

/** What a goodbye asks for: so long, and a random part of its spread. */
function pauseOf(goodbye: Goodbye, roll: number): number {
  return (goodbye.reconnectAfter ?? 0) + roll * (goodbye.spread ?? 0);
}

/** A server may be wrong about its terms; nobody pings more often than this, in ms. */
const FASTEST = 50;

function atLeast({ interval, timeout }: Heartbeat): Heartbeat {
  return { interval: Math.max(FASTEST, interval), timeout: Math.max(FASTEST, timeout) };
}

function hangUp(link: number, reason: string) {
  return { order: 'hangUp', link, code: 1000, reason } as const;
}
