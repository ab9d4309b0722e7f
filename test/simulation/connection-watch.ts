/** Watches one client's connecting from outside: arrows, steps, waits, silence, and its buffers. */
import type { ConnectionState, HoldfastError, Transport } from 'holdfast';
import { arrows } from '../../src/machine/status.js';
import type { Breach } from './reader-model.js';

export type Frame = Parameters<Parameters<Transport['dial']>[1]['received']>[0];
type Events = Parameters<Transport['dial']>[1];
type Link = ReturnType<Transport['dial']>;

export interface WatchLimits {
  readonly initialDelay: number;
  readonly maxDelay: number;
  readonly factor: number;
  readonly jitter: 'full' | 'none' | number;
  readonly stableAfter: number;
  /** Milliseconds of silence after which a link cannot be alive any more. */
  readonly patience: number;
  /** Milliseconds that no step to a connection takes. */
  readonly longestStep: number;
  readonly maxMessages: number;
}

export interface WatchEvents {
  breach(breach: Breach): void;
  heard(frame: Frame): void;
  /** A request is written. */
  asked(requestId: string): void;
}

interface WatchedLink {
  readonly link: Link;
  readonly on: Events;
  state: 'dialing' | 'welcomed' | 'over';
  welcomedAt: number;
  /** The server has said goodbye on it: the next link is this one's heir, not a retry. */
  isLeft: boolean;
  /** The last frames that came, for those that come late. */
  readonly frames: Frame[];
}

/** Bytes that a client lets a link buffer, and the frame that goes beyond it. */
const MOST_BUFFERED = 65_536 + 16_384;
const KEPT_FRAMES = 6;

/** Why a client hangs up where nothing has failed. */
const onPurpose: ReadonlySet<string> = new Set([
  'reconnecting',
  'disconnected',
  'closed',
  'page suspended',
  'moved to another link',
]);

export class ConnectionWatch {
  readonly #now: () => number;
  readonly #limits: WatchLimits;
  readonly #on: WatchEvents;
  #isDead = false;
  #links: WatchedLink[] = [];
  #status: ConnectionState['status'] = 'disconnected';
  /** Questions for credentials that are open, and whether they were asked for a renewal. */
  readonly #questions = new Map<number, boolean>();
  #asks = 0;
  /** Attempts and connections that failed since the last one that was stable. */
  #failures = 0;
  #failedAt = 0;
  /** The next attempt may start at any time: the application, the device or the server said so. */
  #hurried = true;
  #refreshed = false;
  #stepSince = 0;
  #heardAt = 0;
  /** When the device last was, or ceased to be, asleep, throttled or slow. */
  #hinderedAt = Number.NEGATIVE_INFINITY;
  /** Put aside by its device. */
  #isAside = false;
  /** The storage is being opened: nothing is dialed before. */
  isRestoring = false;
  endings = 0;
  dials = 0;

  constructor(now: () => number, limits: WatchLimits, on: WatchEvents) {
    this.#now = now;
    this.#limits = limits;
    this.#on = on;
  }

  /** The page is gone: its links tell nobody anything. */
  die(): void {
    this.#isDead = true;
  }

  transport(inner: Transport): Transport {
    return { ...inner, dial: (hello, on) => this.#dial(inner, hello, on) };
  }

  state({ status, queued }: ConnectionState): void {
    const before = this.#status;
    this.#status = status;
    if (before !== status) this.#stepSince = this.#now();
    if (before !== status && !arrows[before].includes(status)) {
      this.#on.breach({ rule: 'an illegal arrow', message: `${before} → ${status}` });
    }
    if (status === 'closed') this.#failures = 0;
    const { maxMessages } = this.#limits;
    if (queued > maxMessages) {
      this.#on.breach({
        rule: 'unbounded outbox',
        message: `${queued} of ${maxMessages} requests`,
      });
    }
  }

  /** A question for credentials begins. Returns its end. */
  question(): () => void {
    const ask = ++this.#asks;
    const isRenewal = this.#status === 'connected';
    if (!isRenewal) this.#attempt();
    this.#questions.set(ask, isRenewal);
    if (this.#questions.size > 1) {
      this.#on.breach({ rule: 'two questions at a time', message: 'for credentials' });
    }
    return () => void this.#questions.delete(ask);
  }

  /** A question was answered with an error: the attempt has failed. */
  unanswered(): void {
    if (this.#status !== 'connected') this.#failed();
  }

  hurry(): void {
    this.#hurried = true;
    this.#stepSince = this.#now();
  }

  /** A request is asked: on a page that was put aside, that brings the connection back. */
  asked(): void {
    if (this.#isAside) this.hurry();
  }

  hindered(): void {
    this.#hinderedAt = this.#now();
  }

  aside(isAside: boolean): void {
    this.#isAside = isAside;
    this.#stepSince = this.#now();
  }

  /** Frames that a link had before it ended come once more. Returns how many. */
  late(): number {
    const over = this.#links.filter(({ state }) => state === 'over');
    let count = 0;
    for (const { on, frames } of over) {
      for (const frame of frames) on.received(frame);
      count += frames.length;
    }
    return count;
  }

  /** A look now and then. */
  sample(state: ConnectionState): void {
    this.#sampleSteps(state);
    this.#sampleSilence();
    for (const { link, state: name } of this.#links) {
      if (name === 'over' || link.bufferedAmount <= MOST_BUFFERED) continue;
      this.#on.breach({ rule: 'unbounded link', message: `${link.bufferedAmount} bytes buffered` });
    }
  }

  #dial(inner: Transport, hello: Parameters<Transport['dial']>[0], on: Events): Link {
    this.dials++;
    this.#stepSince = this.#now();
    const link = inner.dial(hello, {
      opened: () => {
        if (!this.#isDead) on.opened();
      },
      received: (frame) => {
        if (this.#isDead) return;
        this.#received(watched, frame);
        on.received(frame);
      },
      closed: (fault) => {
        if (this.#isDead) return;
        this.#over(watched, fault);
        on.closed(fault);
      },
    });
    const watched: WatchedLink = {
      link: this.#closing(link),
      on,
      state: 'dialing',
      welcomedAt: 0,
      isLeft: false,
      frames: [],
    };
    const over = this.#links.filter(({ state }) => state === 'over').slice(-2);
    const others = this.#links.filter(({ state }) => state !== 'over');
    this.#links = [...over, ...others, watched];
    return watched.link;
  }

  #closing(inner: Link): Link {
    const over = (reason = ''): void => {
      const watched = this.#links.find(({ link }) => link === closing);
      if (watched !== undefined) this.#over(watched, null, onPurpose.has(reason));
    };
    const closing: Link = {
      send: (frames) => {
        // Requests come encoded.
        for (const frame of frames) if (typeof frame === 'string') this.#wrote(frame);
        inner.send(frames);
      },
      close: (code, reason) => {
        over(reason);
        inner.close(code, reason);
      },
      get bufferedAmount() {
        return inner.bufferedAmount;
      },
    };
    return closing;
  }

  #wrote(wire: string): void {
    const [, requestId] = /^{"kind":"request","requestId":"([^"]+)"/.exec(wire) ?? [];
    if (requestId !== undefined) this.#on.asked(requestId);
  }

  #received(watched: WatchedLink, frame: Frame): void {
    this.#heardAt = this.#now();
    this.#on.heard(frame);
    if (watched.frames.push(frame) > KEPT_FRAMES) watched.frames.shift();
    if (frame.kind === 'goodbye') {
      this.#hurried = true;
      watched.isLeft = watched.state === 'welcomed';
    }
    if (frame.kind === 'error' && frame.error.code === 'TOKEN_EXPIRED') this.#refresh(watched);
    if (frame.kind !== 'welcome' || watched.state !== 'dialing') return;
    watched.state = 'welcomed';
    watched.welcomedAt = this.#now();
  }

  #over(watched: WatchedLink, fault: HoldfastError | null, isWanted = false): void {
    if (watched.state === 'over') return;
    const wasLive = watched.state === 'welcomed';
    watched.state = 'over';
    this.endings++;
    if (fault?.code === 'TOKEN_EXPIRED') this.#refresh(watched);
    if (wasLive && this.#now() - watched.welcomedAt >= this.#limits.stableAfter) {
      this.#failures = 0;
      this.#refreshed = false;
    }
    const isMoving = this.#links.some(({ state }) => state === 'welcomed');
    if (isMoving) return;
    if (isWanted || watched.isLeft) this.#stepSince = this.#now();
    else this.#failed();
  }

  /** At once, once. */
  #refresh({ isLeft }: WatchedLink): void {
    if (!this.#refreshed) this.#hurried = true;
    // A link that was being left has an heir under way: that is the attempt.
    this.#refreshed ||= !isLeft;
  }

  #failed(): void {
    this.#failures++;
    this.#failedAt = this.#now();
    this.#stepSince = this.#failedAt;
  }

  #attempt(): void {
    const waited = this.#now() - this.#failedAt;
    const { initialDelay, maxDelay, factor, jitter } = this.#limits;
    const grown = initialDelay * factor ** Math.max(0, this.#failures - 1);
    const least = Math.min(maxDelay, grown) * (jitter === 'full' ? 0.45 : 1);
    if (!this.#hurried && waited < least - 1) {
      const message = `${Math.round(waited)} ms after failure ${this.#failures}, not ${Math.round(least)}`;
      this.#on.breach({ rule: 'faster than the backoff', message });
    }
    this.#hurried = false;
    this.#stepSince = this.#now();
  }

  /** On the way to a connection exactly one thing is waited for. */
  #sampleSteps({ status, nextRetryAt }: ConnectionState): void {
    if (status !== 'connecting' && status !== 'reconnecting') return;
    const dials = this.#links.filter(({ state }) => state !== 'over').length;
    const steps = dials + (nextRetryAt === null ? 0 : 1) + (this.isRestoring ? 1 : 0);
    const asks = [...this.#questions.values()].filter((isRenewal) => !isRenewal).length;
    const isOne = steps === 0 ? this.#questions.size === 1 : steps === 1 && asks === 0;
    if (!isOne && !(this.#isAside && steps + asks === 0)) {
      const message = `${dials} dials, ${this.#questions.size} questions, ${nextRetryAt === null ? 'no' : 'a'} wait`;
      this.#on.breach({ rule: 'not one pending step', message });
    }
    const since = Math.max(this.#stepSince, this.#hinderedAt);
    if (this.#isAside || this.#now() - since <= this.#limits.longestStep) return;
    this.#on.breach({ rule: 'a stuck step', message: `${status} for ${this.#now() - since} ms` });
  }

  #sampleSilence(): void {
    if (this.#status !== 'connected') return;
    const live = this.#links.find(({ state }) => state === 'welcomed');
    if (live === undefined || live.link.bufferedAmount > 0) return;
    const silent = this.#now() - Math.max(this.#heardAt, this.#hinderedAt, live.welcomedAt);
    if (silent <= this.#limits.patience) return;
    this.#on.breach({ rule: 'a dead link is kept', message: `${silent} ms of silence` });
  }
}
