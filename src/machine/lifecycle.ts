/** Whether there is a link, and what is done to get one: attempts, credentials, heartbeat, handover. */
import { HoldfastError } from '../protocol/errors.js';
import {
  type AuthVerdict,
  defaultTerms,
  type Goodbye,
  type Terms,
  type Welcome,
} from '../protocol/frame.js';
import {
  type Attempt,
  attemptOf,
  deadlineOf,
  isHerdLoss,
  isPermanent,
  linkOf,
  type Phase,
} from './attempt.js';
import { Credentials } from './auth.js';
import { type BackoffLimits, backoff, type Herd, nextSlot } from './backoff.js';
import type { Delivery } from './delivery.js';
import { type Heartbeat, Liveness } from './liveness.js';
import type { CredentialReason } from './order.js';
import { NEVER, type Step } from './step.js';

export interface LifecycleOptions {
  /** Whether the application gives credentials, and how long it may take, in ms. */
  auth: { timeout: number } | null;
  reconnect: BackoffLimits & {
    maxAttempts: number;
    stableAfter: number;
    connectTimeout: number;
    failFast: boolean;
  };
  heartbeat: Heartbeat | null;
  limits: { maxMessageSize: number; messagesPerSecond: number };
  /** Milliseconds a page may be hidden before its idle connection is put aside; null: for ever. */
  pauseAfter: number | null;
  /** The application's own word on a fault; undefined: as its category says. */
  shouldReconnect: (fault: HoldfastError) => boolean | { delay: number } | undefined;
}

/** The device says it is offline: it may be wrong, so the server is asked, and not for long. */
const OFFLINE_PROBE = 2_000;

export class Lifecycle {
  readonly #options: LifecycleOptions;
  readonly #delivery: Delivery;
  readonly #credentials: Credentials;
  #phase: Phase = { name: 'idle' };
  #links = 0;
  #stableAt = NEVER;
  #pauseAt = NEVER;
  #terms: Terms = defaultTerms;
  #herd: Herd | null = null;
  #liveness: Liveness | null = null;
  /** Of the credentials that the link in use was opened with, or renewed to. */
  #serial = 0;
  #askReason: CredentialReason = 'connect';
  /** Fresh credentials were tried at once since the last stable connection; next time it waits. */
  #refreshed = false;
  /** The identity that the outbox and the cursors belong to; undefined before the first welcome. */
  #owner: string | null | undefined;
  /** Retries since the last stable connection. */
  attempts = 0;
  /** Why there is no connection. */
  error: HoldfastError | null = null;
  /** When the last welcome came, in ms of the monotonic clock. */
  connectedAt: number | null = null;
  readonly counts = { attempts: 0, connects: 0, reconnects: 0 };

  constructor(options: LifecycleOptions, delivery: Delivery) {
    this.#options = options;
    this.#delivery = delivery;
    this.#credentials = new Credentials(options.auth?.timeout ?? 0);
  }

  get phase(): Phase {
    return this.#phase;
  }

  get serial(): number {
    return this.#serial;
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
      this.#stableAt,
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
      if (phase.name === 'closed') this.attempts = 0;
      this.error = null;
      this.#begin(true, step);
    }
  }

  /** Now, skipping the wait; what was under way is given up for it. */
  reconnect(step: Step): void {
    const phase = this.#phase;
    if (phase.name === 'idle' || phase.name === 'closed') {
      this.connect(step);
      return;
    }
    this.#dropLinks(step, 'reconnecting');
    this.#herd = null;
    this.#begin(phase.name === 'trying' && phase.first, step);
  }

  disconnect(step: Step, why = 'disconnect() was called'): void {
    if (this.#phase.name === 'idle' || this.#phase.name === 'closed') return;
    this.#dropLinks(step, 'disconnected');
    this.#credentials.drop();
    this.#phase = { name: 'idle' };
    this.#pauseAt = NEVER;
    this.error = null;
    step.out.push({ order: 'answerConnects', error: notConnected(why) });
  }

  /** `fault`: a permanent refusal. Without one the application has closed the client, for good. */
  close(fault: HoldfastError | null, step: Step): void {
    if (this.#phase.name === 'closed') {
      if (fault === null) this.#phase = { name: 'closed', final: true };
      return;
    }
    this.#dropLinks(step, fault === null ? 'closed' : 'refused');
    this.#credentials.drop();
    this.#phase = { name: 'closed', final: fault === null };
    this.#pauseAt = NEVER;
    this.error = fault;
    this.#delivery.closed(step);
    step.out.push({ order: 'answerConnects', error: fault ?? closedForGood() });
  }

  credentialsGiven(ask: number, auth: unknown, key: string, step: Step): void {
    if (!this.#credentials.given(ask, auth, key)) return;
    if (auth === null) this.disconnect(step, 'auth returned null');
    else if (attemptOf(this.#phase)?.step === 'asking') this.#dial(step);
    else if (this.#phase.name === 'open') this.#renew(auth);
  }

  credentialsFailed(ask: number, error: HoldfastError, step: Step): void {
    if (this.#credentials.failed(ask)) this.#noCredentials(error, step);
  }

  opened(link: number, step: Step): void {
    const attempt = attemptOf(this.#phase);
    if (attempt?.step !== 'dialing' || attempt.link !== link) return;
    const { until } = attempt;
    this.#setAttempt({ step: 'greeting', link, until, since: step.now });
  }

  /** Of the live link, or of the one that is being greeted: what the server says of the connection. */
  welcomed(link: number, welcome: Welcome, step: Step): void {
    const attempt = attemptOf(this.#phase);
    if (attempt?.step !== 'greeting' || attempt.link !== link) return;
    if (this.#phase.name === 'open') {
      step.out.push(hangUp(this.#phase.link, 'moved to another link'));
      this.#delivery.unlinked(step);
    }
    this.#terms = { ...defaultTerms, ...welcome.terms };
    this.#phase = { name: 'open', link, next: null };
    const { heartbeat } = this.#options;
    const pulse = heartbeat === null ? null : (welcome.terms?.heartbeat ?? heartbeat);
    this.#liveness = new Liveness(pulse, step.now, step.now - attempt.since);
    this.#serial = this.#credentials.serial;
    this.#stableAt = step.now + this.#options.reconnect.stableAfter;
    this.#herd = null;
    this.#askReason = 'connect';
    this.error = null;
    if (this.counts.connects++ > 0) this.counts.reconnects++;
    this.connectedAt = step.now;
    this.#credentials.holdFor(this.#terms.authExpiresIn, step.now, step.roll);
    this.#identify(welcome.user ?? null, step);
    this.#delivery.welcomed(welcome.session ?? null, this.#outboxTerms(), step);
    step.out.push({ order: 'answerConnects', error: null });
  }

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
    this.#liveness?.ponged(now);
  }

  /** The server leaves on purpose. The next link is dialed beside this one, which still works. */
  goodbye(goodbye: Goodbye, step: Step): void {
    if (this.#phase.name !== 'open' || this.#phase.next !== null) return;
    this.#setAttempt({ step: 'waiting', until: step.now + pauseOf(goodbye, step.roll) });
  }

  /** A draining server answers `hello` with `goodbye`: a failed attempt like any other, so no loop. */
  turnedAway(link: number, goodbye: Goodbye, step: Step): void {
    step.out.push(hangUp(link, 'turned away'));
    const retryAfter = pauseOf(goodbye, step.roll);
    const fault = new HoldfastError(
      'CONNECTION_FAILED',
      `The server is leaving: ${goodbye.reason}`,
      {
        retryAfter,
      },
    );
    this.lost(link, fault, step);
  }

  /** The server's word on credentials: how long they hold, or that a renewal was refused. */
  renewed(verdict: AuthVerdict, step: Step): void {
    if (verdict.error === undefined) {
      this.#credentials.holdFor(verdict.expiresIn, step.now, step.roll);
      return;
    }
    step.out.push({ order: 'report', error: HoldfastError.from(verdict.error) });
    this.#credentials.retryRenewal(step.now);
  }

  /** A request was refused for its credentials: once for each set of them, they are renewed. */
  refused(serial: number, step: Step): void {
    const refusal = this.#credentials.refused(serial);
    if (refusal === 'final' || this.#options.auth === null) this.close(refusedTwice(), step);
    if (refusal !== 'refresh') return;
    this.#delivery.hold();
    this.#ask('expired', step);
  }

  /** An `error` frame: before `welcome` a refusal, after it the reason of what comes next. */
  complained(link: number, error: HoldfastError, step: Step): void {
    const fatal = error.category === 'authentication' || error.category === 'authorization';
    if (this.isGreeting(link) || fatal) {
      step.out.push(hangUp(link, 'refused'));
      this.lost(link, error, step);
    } else step.out.push({ order: 'report', error });
  }

  /** A link has ended by itself. Links that were given up change nothing. */
  lost(link: number, fault: HoldfastError, step: Step): void {
    const phase = this.#phase;
    if (phase.name === 'open' && phase.link === link) this.#lose(phase.next, fault, step);
    else if (linkOf(attemptOf(phase)) === link) this.#retry(fault, step);
  }

  /** The device is back: a wait is over, and a link that looks alive is asked. */
  woke(buffered: number, step: Step): void {
    this.#pauseAt = NEVER;
    const phase = this.#phase;
    if (phase.name === 'open') this.#probe(buffered, NEVER, step);
    else if (phase.name === 'trying' && phase.attempt.step === 'waiting') {
      this.#herd = null;
      this.#begin(phase.first, step);
    }
  }

  wentOffline(buffered: number, step: Step): void {
    if (this.#phase.name === 'open') this.#probe(buffered, OFFLINE_PROBE, step);
  }

  hid(step: Step): void {
    this.#pauseAt = step.now + (this.#options.pauseAfter ?? NEVER);
  }

  /** The page is put aside: its links end now, and the next attempt waits for it to come back. */
  suspend(step: Step): void {
    const phase = this.#phase;
    this.#pauseAt = NEVER;
    if (phase.name !== 'open' && phase.name !== 'trying') return;
    this.#dropLinks(step, 'page suspended');
    const first = phase.name === 'trying' && phase.first;
    this.#phase = { name: 'trying', attempt: { step: 'waiting', until: NEVER }, first };
  }

  timeUp(buffered: number, step: Step): void {
    if (step.now >= this.#stableAt) this.#settled();
    if (this.#credentials.overdue(step.now)) this.#credentialsOverdue(step);
    if (step.now >= this.#credentials.renewAt) this.#renewDue(step);
    if (step.now >= this.#pauseAt) this.#pause(step);
    this.#checkPulse(buffered, step);
    this.#checkAttempt(step);
  }

  #begin(first: boolean, step: Step): void {
    this.#phase = { name: 'trying', attempt: { step: 'waiting', until: step.now }, first };
    this.#start(step);
  }

  /** Every path to a link asks for credentials first. */
  #start(step: Step): void {
    this.counts.attempts++;
    if (this.#options.auth === null) {
      this.#dial(step);
      return;
    }
    this.#setAttempt({ step: 'asking' });
    this.#ask(this.#askReason, step);
  }

  #ask(reason: CredentialReason, step: Step): void {
    const question = this.#credentials.ask(step.now, reason);
    if (question === null) return;
    step.out.push({ order: 'askCredentials', ask: question.ask, reason });
  }

  #dial(step: Step): void {
    const link = ++this.#links;
    const until = step.now + this.#options.reconnect.connectTimeout;
    this.#setAttempt({ step: 'dialing', link, until });
    step.out.push({ order: 'dial', link });
  }

  #setAttempt(attempt: Attempt): void {
    const phase = this.#phase;
    if (phase.name === 'open') this.#phase = { ...phase, next: attempt };
    else if (phase.name === 'trying') this.#phase = { ...phase, attempt };
  }

  #lose(next: Attempt | null, fault: HoldfastError, step: Step): void {
    this.#liveness = null;
    this.#stableAt = NEVER;
    this.#accuse(fault, step);
    this.#delivery.unlinked(step);
    this.error = fault;
    const attempt = next ?? { step: 'waiting', until: NEVER };
    this.#phase = { name: 'trying', attempt, first: false };
    if (next === null) this.#retry(fault, step);
    // Told 4409 while our own next link is under way, it was that one which took over.
    else if (isPermanent(fault) && fault.code !== 'SUPERSEDED') this.close(fault, step);
  }

  #accuse(fault: HoldfastError, step: Step): void {
    const { code } = fault;
    if (code === 'INVALID_PAYLOAD' || code === 'MESSAGE_TOO_LARGE')
      this.#delivery.accuse(fault, step);
  }

  /** The attempt is over, or the link: what next depends on why. */
  #retry(fault: HoldfastError, step: Step): void {
    const { reconnect, shouldReconnect } = this.#options;
    const phase = this.#phase;
    if (phase.name === 'trying') this.error = fault;
    const word = shouldReconnect(fault);
    if (word === false || (word === undefined && isPermanent(fault))) {
      this.close(fault, step);
    } else if (fault.code === 'TOKEN_EXPIRED' && this.#refresh(fault, step)) {
      return;
    } else if (phase.name === 'trying' && phase.first && reconnect.failFast) {
      this.disconnect(step);
      this.error = fault;
    } else if (++this.attempts > reconnect.maxAttempts) {
      this.close(fault, step);
    } else {
      const wait = typeof word === 'object' ? word.delay : this.#wait(fault, step);
      if (phase.name === 'trying') this.#phase = { ...phase, first: false };
      this.#setAttempt({ step: 'waiting', until: step.now + wait });
    }
  }

  /** A fresh token, at once, once. Returns true where that is done, or where it can't help. */
  #refresh(fault: HoldfastError, step: Step): boolean {
    const refusal = this.#credentials.refused(this.#credentials.serial);
    this.#askReason = 'expired';
    if (refusal === 'final' || this.#options.auth === null) this.close(fault, step);
    else if (this.#refreshed) return false;
    else {
      this.#refreshed = true;
      this.attempts++;
      if (this.#phase.name === 'trying') this.#phase = { ...this.#phase, first: false };
      this.#start(step);
    }
    return true;
  }

  #wait(fault: HoldfastError, step: Step): number {
    const { now, roll } = step;
    const wait = Math.max(
      fault.retryAfter ?? 0,
      backoff(this.attempts, roll, this.#options.reconnect),
    );
    if (!isHerdLoss(fault)) {
      this.#herd = null;
      return wait;
    }
    const spread = this.#terms.retrySpread;
    if (spread === 0) return wait;
    this.#herd ??= { origin: now, share: roll, spread };
    return Math.max(wait, nextSlot(this.#herd, now) - now);
  }

  #renewDue(step: Step): void {
    this.#credentials.renewAt = NEVER;
    if (this.#phase.name === 'open' && this.#options.auth !== null) this.#ask('expired', step);
  }

  #renew(auth: unknown): void {
    this.#serial = this.#credentials.serial;
    this.#delivery.say({ kind: 'auth', auth });
    this.#delivery.release();
  }

  #noCredentials(error: HoldfastError, step: Step): void {
    if (attemptOf(this.#phase)?.step === 'asking') {
      this.#retry(error, step);
      return;
    }
    this.#delivery.release();
    this.#credentials.retryRenewal(step.now);
    step.out.push({ order: 'report', error });
  }

  #credentialsOverdue(step: Step): void {
    step.out.push({ order: 'dropCredentials' });
    const timeout = this.#options.auth?.timeout ?? 0;
    this.#noCredentials(
      failure(
        `auth gave no credentials within ${timeout} ms. Make it faster, or raise authTimeout.`,
      ),
      step,
    );
  }

  #identify(user: string | null, step: Step): void {
    if (this.#owner !== undefined && this.#owner !== user) this.#delivery.disown(step);
    this.#owner = user;
  }

  #outboxTerms(): { maxMessageSize: number; messagesPerSecond: number } {
    const { limits } = this.#options;
    return {
      maxMessageSize: Math.min(limits.maxMessageSize, this.#terms.maxMessageSize),
      // A server that says 0 would stop everything; one a second is as slow as it gets.
      messagesPerSecond: Math.max(
        1,
        Math.min(limits.messagesPerSecond, this.#terms.messagesPerSecond),
      ),
    };
  }

  #settled(): void {
    this.#stableAt = NEVER;
    this.#refreshed = false;
    this.attempts = 0;
  }

  /** Hidden for long enough: put aside, unless an answer is still to come. */
  #pause(step: Step): void {
    if (this.#delivery.queued === 0) this.suspend(step);
    else this.hid(step);
  }

  #probe(buffered: number, timeout: number, step: Step): void {
    if (this.#liveness?.probe(step.now, buffered, timeout)) this.#delivery.say({ kind: 'ping' });
  }

  #checkPulse(buffered: number, step: Step): void {
    const pulse = this.#liveness?.check(step.now, buffered);
    if (pulse === 'ping') this.#delivery.say({ kind: 'ping' });
    if (pulse !== 'dead' || this.#phase.name !== 'open') return;
    const { link, next } = this.#phase;
    step.out.push(hangUp(link, 'no heartbeat'));
    this.#lose(next, heartbeatTimeout(), step);
  }

  #checkAttempt(step: Step): void {
    const attempt = attemptOf(this.#phase);
    if (attempt === null || step.now < deadlineOf(attempt)) return;
    if (attempt.step === 'waiting') {
      this.#start(step);
      return;
    }
    if (attempt.step === 'asking') return;
    step.out.push(hangUp(attempt.link, 'connect timeout'));
    const { connectTimeout } = this.#options.reconnect;
    this.#retry(failure(`The server did not welcome us within ${connectTimeout} ms.`), step);
  }

  /** Ends every link and question there is: none of them survives what was asked for. */
  #dropLinks(step: Step, reason: string): void {
    const phase = this.#phase;
    const dialed = linkOf(attemptOf(phase));
    if (dialed !== null) step.out.push(hangUp(dialed, reason));
    if (this.#credentials.cancel()) step.out.push({ order: 'dropCredentials' });
    this.#liveness = null;
    this.#stableAt = NEVER;
    if (phase.name !== 'open') return;
    step.out.push(hangUp(phase.link, reason));
    this.#delivery.unlinked(step);
  }
}

/** What a goodbye asks for: so long, and a random part of its spread. */
function pauseOf(goodbye: Goodbye, roll: number): number {
  return (goodbye.reconnectAfter ?? 0) + roll * (goodbye.spread ?? 0);
}

function hangUp(link: number, reason: string) {
  return { order: 'hangUp', link, code: 1000, reason } as const;
}

function failure(message: string): HoldfastError {
  return new HoldfastError('CONNECTION_FAILED', message);
}

function notConnected(why: string): HoldfastError {
  return new HoldfastError('CONNECTION_FAILED', `Not connected: ${why}.`, { retryable: false });
}

function closedForGood(): HoldfastError {
  return notConnected('close() was called, which is final. Create another client');
}

function heartbeatTimeout(): HoldfastError {
  return new HoldfastError('HEARTBEAT_TIMEOUT', 'The server did not answer a heartbeat in time.');
}

function refusedTwice(): HoldfastError {
  return new HoldfastError(
    'TOKEN_EXPIRED',
    'auth gave the same credentials again after they were refused. Fetch fresh ones when its reason is "expired".',
    { retryable: false },
  );
}
