/** Watches requests and messages: what is written, how often, in which order, and how it ends. */
import type { Ask, Restored } from '../../src/machine/fact.js';
import type { Order } from '../../src/machine/order.js';
import { HoldfastError } from '../../src/protocol/errors.js';
import { defaultTerms, type Response, type Terms } from '../../src/protocol/frame.js';
import type { Outgoing } from '../../src/protocol/wire.js';
import { must, type Scene } from './scene.js';
import type { StorageWatch } from './watch-storage.js';

const GRAIN = 0.001;

interface Asked {
  readonly ask: Ask;
  readonly at: number;
  /** Its place in the order of asking. */
  readonly place: number;
  /** The identity it belongs to; undefined before the first one is known. */
  owner: string | null | undefined;
  /** It may have run: written, and no answer has said that nothing happened. */
  mayHaveRun: boolean;
  /** Written at least once. */
  written: boolean;
  session: string | null;
  /** Since the server last promised that nothing had happened. */
  writes: number;
  /** Refused without effect, and not written since. */
  refused: boolean;
  /** The link it was last written on and is unanswered on. */
  onLink: number | null;
  writtenAt: number;
  /** Milliseconds it spent on links that are gone. */
  spent: number;
}

/**
 * I06–I12. The wire of a request is its requestId, the wire of a message is any other text that
 * is used once.
 */
export class RequestWatch {
  readonly #pending = new Map<string, Asked>();
  readonly #known = new Set<string>();
  /** Messages that may still be written, in order. */
  #letters: string[] = [];
  readonly #suspects = new Set<string>();
  #places = 0;
  /** Restored requests come on top of the bounds. */
  #spare = 0;
  #highest = Number.NEGATIVE_INFINITY;
  #written = 0;
  #welcomedAt = 0;
  #heldUntil = 0;
  #terms: Terms = defaultTerms;
  #session: string | null = null;
  #owner: string | null | undefined;

  get pending(): readonly Ask[] {
    return [...this.#pending.values()].map(({ ask }) => ask);
  }

  /** Those the live link carries, unanswered. */
  inFlight(live: number | null): string[] {
    return [...this.#pending.values()]
      .filter(({ onLink }) => onLink !== null && onLink === live)
      .map(({ ask }) => ask.requestId);
  }

  step(scene: Scene, storage: StorageWatch): void {
    this.#hear(scene, storage.isRestored);
    this.#unlinked(scene);
    if (scene.welcomed !== null) this.#welcomed(scene);
    for (const order of scene.orders) this.#order(order, scene);
    this.#heard(scene);
    this.#times(scene);
    const queued = [...this.#pending.keys()].filter((id) => storage.counts(id)).length;
    must(
      scene.after.queued === queued,
      'I06',
      `${scene.after.queued} requests queued, ${queued} of ${this.#pending.size} unanswered are`,
    );
  }

  #hear({ fact, now }: Scene, isRestored: boolean): void {
    if (fact.fact === 'asked') this.#add(fact.request, now, ++this.#places);
    else if (fact.fact === 'restored' && isRestored) this.#restored(fact.saved, fact.date, now);
    else if (fact.fact === 'told') {
      this.#letters.push(String(fact.message.wire));
    }
  }

  #add(ask: Ask, at: number, place: number): Asked {
    const one: Asked = {
      ask,
      at,
      place,
      owner: this.#owner,
      mayHaveRun: false,
      written: false,
      writes: 0,
      refused: false,
      session: null,
      onLink: null,
      writtenAt: 0,
      spent: 0,
    };
    this.#known.add(ask.requestId);
    this.#pending.set(ask.requestId, one);
    return one;
  }

  /** What an earlier owner left stands before everything that was asked here. */
  #restored({ requests, user }: Restored, date: number, now: number): void {
    this.#owner = user;
    let place = -requests.length;
    for (const { session, ...saved } of requests) {
      const ttl = session === null ? saved.expiresAt - date : Number.POSITIVE_INFINITY;
      const asked = this.#pending.get(saved.requestId);
      // Asked here under that id, and ended.
      if (asked === undefined && this.#known.has(saved.requestId)) continue;
      const one = asked ?? this.#add({ ...saved, bytes: saved.wire.length, ttl }, now, place++);
      one.session = session;
      one.written = session !== null;
      one.mayHaveRun = one.written;
      one.writes = one.written ? 1 : 0;
    }
    for (const one of this.#pending.values()) one.owner = user;
    this.#spare += requests.length;
  }

  /** What is left of a link that ended. */
  #unlinked({ liveBefore, live, now, fact }: Scene): void {
    if (liveBefore === null || liveBefore === live) return;
    const accused = fact.fact === 'lost' && fact.link === liveBefore ? fact.fault.code : '';
    for (const one of this.#pending.values()) {
      if (one.onLink !== liveBefore) continue;
      // A timer that was late has let it live on: a moment is left on the next link.
      one.spent = Math.min(one.spent + now - one.writtenAt, one.ask.timeout - 1);
      one.onLink = null;
      if (accused === 'INVALID_PAYLOAD' || accused === 'MESSAGE_TOO_LARGE') {
        this.#suspects.add(one.ask.requestId);
      }
    }
  }

  #welcomed({ welcomed, now }: Scene): void {
    const welcome = welcomed?.welcome;
    this.#terms = { ...defaultTerms, ...welcome?.terms };
    this.#session = welcome?.session ?? null;
    this.#owner = welcome?.user ?? null;
    this.#welcomedAt = now;
    this.#heldUntil = 0;
    this.#highest = Number.NEGATIVE_INFINITY;
    this.#written = 0;
  }

  #order(order: Order, scene: Scene): void {
    if (order.order === 'transmit') {
      must(order.link === scene.live, 'I17', `writes to ${order.link}, live is ${scene.live}`);
      must(scene.fact.fact === 'tickEnded', 'I17', `writes at ${scene.fact.fact}`);
      must(order.frames.length > 0, 'I17', 'writes nothing');
      for (const frame of order.frames) this.#write(frame, scene);
    } else if (order.order === 'settle') {
      const one = this.#end(order.requestId);
      const { fact } = scene;
      const answer = fact.fact === 'received' && fact.frame.kind === 'response' ? fact.frame : null;
      const fits = answer?.requestId === order.requestId && answer.success;
      must(fits && one.mayHaveRun, 'I06', `settles ${order.requestId} without its response`);
    } else if (order.order === 'reject') this.#rejected(order.requestId, order.error, scene);
  }

  #write(frame: Outgoing, scene: Scene): void {
    if (typeof frame !== 'string') return;
    const { now, options } = scene;
    this.#written++;
    const rate = Math.max(
      1,
      Math.min(this.#terms.messagesPerSecond, options.limits.messagesPerSecond),
    );
    const most = rate + ((now - this.#welcomedAt) * rate) / 1_000;
    must(this.#written <= most + GRAIN, 'I11', `${this.#written} frames where ${most} are allowed`);
    must(now + GRAIN >= this.#heldUntil, 'I12', `writes ${frame} before ${this.#heldUntil}`);
    if (!this.#known.has(frame)) {
      const index = this.#letters.indexOf(frame);
      must(index !== -1, 'I07', `writes the message ${frame} again, or after it was dropped`);
      this.#letters = this.#letters.slice(index + 1);
      return;
    }
    this.#writeRequest(frame, scene);
  }

  #writeRequest(requestId: string, { now, live, options }: Scene): void {
    const one = this.#pending.get(requestId);
    must(one !== undefined, 'I07', `writes ${requestId}, which has been answered or has failed`);
    must(one.onLink === null, 'I08', `writes ${requestId} twice on one link`);
    if (one.mayHaveRun) {
      const { delivery } = one.ask;
      const remembered = one.session !== null && one.session === this.#session;
      const may = delivery === 'at-least-once' || (delivery === 'exactly-once' && remembered);
      must(may, 'I08', `writes ${requestId} (${delivery}) a second time`);
    }
    must(
      one.owner === undefined || one.owner === this.#owner,
      'I08',
      `writes ${requestId} of ${one.owner} for ${this.#owner}`,
    );
    must(
      one.place > this.#highest || (one.written && (!one.mayHaveRun || one.refused)),
      'I09',
      `writes ${requestId} after a younger one`,
    );
    must(one.ask.bytes <= this.#terms.maxMessageSize, 'I11', `writes ${one.ask.bytes} bytes`);
    this.#highest = Math.max(this.#highest, one.place);
    one.session = one.mayHaveRun ? one.session : this.#session;
    one.mayHaveRun = true;
    one.written = true;
    one.writes++;
    // What is written again after a refusal has no more time than the first write had.
    if (!one.refused) one.writtenAt = now;
    one.refused = false;
    one.onLink = live;
    const flying = this.inFlight(live).length;
    must(flying <= options.outbox.maxInFlight, 'I11', `${flying} requests in flight`);
    must(this.#suspects.size === 0 || flying === 1, 'I11', `${flying} in flight beside a suspect`);
  }

  #rejected(requestId: string, error: HoldfastError, scene: Scene): void {
    const { fact, now } = scene;
    const one = this.#end(requestId);
    const answer = fact.fact === 'received' && fact.frame.kind === 'response' ? fact.frame : null;
    if (answer?.requestId === requestId) return;
    must(
      answer === null || scene.after.status === 'closed',
      'I06',
      `rejects ${requestId} for another's answer`,
    );
    if (error.code === 'NOT_SENT') {
      must(!one.mayHaveRun, 'I10', `${requestId} was written, and is reported as not sent`);
    } else if (error.code === 'OUTCOME_UNKNOWN') {
      must(one.mayHaveRun, 'I10', `${requestId} was never written, and its outcome is unknown`);
    }
    const { reason } = error.details;
    if (reason === 'ttl') {
      must(now - one.at >= one.ask.ttl - GRAIN, 'I12', `${requestId} fails before its ttl`);
    } else if (reason === 'timeout') {
      const spent = one.spent + (one.onLink === null ? 0 : now - one.writtenAt);
      must(spent >= one.ask.timeout - 2, 'I12', `${requestId} times out after ${spent} ms`);
    }
  }

  /** After the orders: what the fact must have led to. */
  #heard(scene: Scene): void {
    const { fact, options } = scene;
    if (fact.fact === 'asked') this.#admitted(fact.request, scene);
    if (fact.fact === 'aborted') {
      must(!this.#pending.has(fact.requestId), 'I06', `${fact.requestId} outlives its abort`);
    }
    if (fact.fact === 'received' && fact.link === scene.live && fact.frame.kind === 'response') {
      this.#answered(fact.frame, scene);
    }
    if (scene.after.status === 'closed') {
      must(
        this.#pending.size === 0,
        'I24',
        `closed with ${this.#pending.size} requests unanswered`,
      );
      if (scene.before.status !== 'closed') this.#letters = [];
    }
    const bytes = this.pending.reduce((sum, ask) => sum + ask.bytes, 0);
    const most = options.outbox.maxMessages + this.#spare;
    must(this.#pending.size <= most, 'I11', `${this.#pending.size} requests`);
    must(this.#spare > 0 || bytes <= options.outbox.maxBytes, 'I11', `${bytes} bytes`);
  }

  #admitted({ coalesceKey, requestId }: Ask, scene: Scene): void {
    const mine = this.#pending.get(requestId);
    must(
      mine === undefined || scene.before.status !== 'closed',
      'I24',
      'takes a request when closed',
    );
    if (coalesceKey === undefined || mine === undefined) return;
    for (const other of this.#pending.values()) {
      const replaced = other !== mine && other.ask.coalesceKey === coalesceKey && !other.mayHaveRun;
      must(!replaced, 'I06', `${other.ask.requestId} waits beside its successor`);
    }
  }

  #answered(response: Response, scene: Scene): void {
    const one = this.#pending.get(response.requestId);
    if (one === undefined || !one.mayHaveRun) return;
    must(!response.success, 'I06', `${response.requestId} was answered and is not settled`);
    const error = HoldfastError.from(response.error);
    must(error.retryable, 'I06', `${response.requestId} was refused and is not rejected`);
    if (scene.after.status === 'closed') return;
    // The promise is about this write: one on an earlier link may have run all the same.
    if (one.writes === 1) {
      one.mayHaveRun = false;
      one.session = null;
      one.writes = 0;
    }
    one.refused = true;
    one.onLink = null;
    if (error.code === 'RATE_LIMITED') {
      this.#heldUntil = Math.max(this.#heldUntil, scene.now + (error.retryAfter ?? 1_000));
    }
  }

  #times({ fact, now }: Scene): void {
    if (fact.fact !== 'timeUp') return;
    for (const { ask, at, onLink, spent, written, writtenAt } of this.#pending.values()) {
      const old = !written && now - at > ask.ttl;
      must(!old, 'I12', `${ask.requestId} waits beyond its ttl`);
      const late = onLink !== null && spent + now - writtenAt > ask.timeout + 2;
      must(!late, 'I12', `${ask.requestId} is unanswered beyond its timeout`);
    }
  }

  #end(requestId: string): Asked {
    const one = this.#pending.get(requestId);
    must(one !== undefined, 'I06', `ends ${requestId}, which is not waiting`);
    this.#pending.delete(requestId);
    this.#suspects.delete(requestId);
    return one;
  }
}
