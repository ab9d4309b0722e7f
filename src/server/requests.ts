/** Runs requests once: claim, check, run, commit together with what was published, answer. */
import { deferred } from '../lib/deferred.js';
import { toText } from '../protocol/bytes.js';
import { validate } from '../protocol/contract.js';
import { HoldfastError } from '../protocol/errors.js';
import { type ErrorBody, isReservedRoom, ME } from '../protocol/frame.js';
import { type Core, schemaOf } from './core.js';
import { Abort, DeadlinePassed, within } from './deadline.js';
import { errorBody, isDeliberate } from './failure.js';
import { authorize, serverError } from './identity.js';
import type { ErasedHandler } from './options.js';
import { RequestCall } from './request-call.js';
import type { PendingRequest, Seat } from './seat.js';

export class Requests {
  readonly #core: Core;
  /** Those that wait for a request that runs on another node. */
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #running = new Set<Abort>();
  #isStopped = false;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Starts nothing more, and ends whatever runs or waits; what ran has an unknown outcome. */
  stop(reason: Error): void {
    this.#isStopped = true;
    for (const abort of this.#running) abort.abort(reason);
    for (const [, waiting] of this.#waiting) for (const wake of waiting) wake();
  }

  /** A claim of another node has ended. */
  settled(client: string, requestId: string): void {
    for (const wake of this.#waiting.get(waitKey(client, requestId)) ?? []) wake();
  }

  /** Never rejects. */
  async answer(seat: Seat, request: PendingRequest): Promise<void> {
    try {
      while (await this.#attempt(seat, request));
    } catch (error) {
      // Nothing ran yet: the claim could not be made, or a refusal not be written.
      this.#core.report(error, `the journal, for a request "${request.type}"`);
      this.#refuse(seat, request, serverError(true));
    }
  }

  /**
   * Answers a request that ran, joins one that runs; false where nothing is known of it. Never rejects.
   */
  async recall(seat: Seat, request: PendingRequest): Promise<boolean> {
    try {
      const known = await this.#core.journal.recall(seat.key, request.requestId);
      if (this.#isStopped || request.link < seat.link) return true;
      if (known.state === 'settled') this.#replay(seat, request, known.response);
      else if (known.state === 'running' || seat.has(request.requestId)) seat.ask(request);
      else return false;
    } catch (error) {
      this.#core.report(error, `the journal, for a request "${request.type}"`);
      this.#refuse(seat, request, serverError(true));
    }
    return true;
  }

  #replay(seat: Seat, request: PendingRequest, response: string | undefined): void {
    this.#core.counters.requestsReplayed++;
    if (response === undefined) this.#refuse(seat, request, unknown('forgotten'));
    else seat.answer(request, response);
  }

  /** True where it must be tried again: another node had it, and has it no longer. */
  async #attempt(seat: Seat, request: PendingRequest): Promise<boolean> {
    // The client has a newer link, and sends again on it what it still wants.
    if (this.#isStopped || request.link < seat.link) return false;
    const { type, requestId, link } = request;
    const handler = this.#core.settings.handlers.get(type);
    const rerunnable = handler?.rerunnable ?? false;
    const claim = { client: seat.key, requestId, link, rerunnable };
    // Before the claim: the other node may be done before this one hears that it runs there.
    const ended = this.#ended(seat.key, requestId);
    const claimed = await this.#core.journal.claim(claim).catch((error: unknown) => {
      ended.forget();
      throw error;
    });
    const isElsewhere = claimed.state === 'running' && !claimed.isHere;
    if (!isElsewhere) ended.forget();
    switch (claimed.state) {
      case 'claimed':
        await this.#execute(seat, request, handler);
        return false;
      case 'settled':
        this.#replay(seat, request, claimed.response);
        return false;
      case 'orphaned':
        await this.#settle(seat, request, unknown('node-died'));
        return false;
      case 'running':
        // Ours, and not among those that run here: its commit failed.
        if (claimed.isHere) {
          await this.#settle(seat, request, unknown('node-died'));
          return false;
        }
        await ended.wait();
        return true;
      case 'fenced':
        return false;
      default:
        claimed satisfies never;
        return false;
    }
  }

  /** Listens from now on for another node that is done with it; one that died may say nothing. */
  #ended(client: string, requestId: string): Ended {
    const key = waitKey(client, requestId);
    const { promise, resolve } = deferred<void>();
    const waiting = this.#waiting.get(key) ?? new Set();
    this.#waiting.set(key, waiting);
    const wake = () => {
      waiting.delete(wake);
      if (waiting.size === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key);
      resolve();
    };
    waiting.add(wake);
    return {
      forget: wake,
      wait: async () => {
        const cancel = this.#core.clock.after(this.#core.settings.limits.handlerTimeout, wake);
        await promise;
        cancel();
      },
    };
  }

  async #execute(
    seat: Seat,
    request: PendingRequest,
    handler: ErasedHandler | undefined,
  ): Promise<void> {
    const abort = new Abort();
    this.#running.add(abort);
    try {
      const checked = await this.#check(request, { handler, abort });
      if (!('error' in checked)) {
        await this.#run({ seat, request, abort, ...checked });
        return;
      }
      await this.#release(seat, request);
      this.#refuse(seat, request, checked.error);
    } finally {
      this.#running.delete(abort);
    }
  }

  async #run({ seat, request, handler, payload, abort }: Run): Promise<void> {
    const core = this.#core;
    const call = new RequestCall(core, { seat, request, abort });
    const deadline = { clock: core.clock, ms: core.settings.limits.handlerTimeout, abort };
    core.counters.requestsRun++;
    try {
      const data = await within(deadline, () => handler.run(payload, call));
      const response = this.#response(request, data);
      call.end();
      await this.#commit({ seat, request }, { response, call });
    } catch (error) {
      call.end();
      if (abort.aborted && !(error instanceof DeadlinePassed)) {
        await this.#settle(seat, request, unknown('node-died'));
      } else await this.#failed({ seat, request }, error);
    }
  }

  async #failed({ seat, request }: Asked, error: unknown): Promise<void> {
    this.#core.counters.requestsFailed++;
    if (error instanceof DeadlinePassed) {
      this.#core.report(error, `the handler of "${request.type}"`);
      await this.#settle(seat, request, unknown('timeout'));
      return;
    }
    if (!isDeliberate(error)) {
      this.#core.report(error, `the handler of "${request.type}"`);
      await this.#settle(seat, request, serverError(false));
      return;
    }
    if (!error.retryable) {
      await this.#settle(seat, request, errorBody(error));
      return;
    }
    await this.#release(seat, request);
    this.#refuse(seat, request, errorBody(error));
  }

  /** What it takes to start, or why it is not started; what did not run is not remembered. */
  async #check(
    request: PendingRequest,
    { handler, abort }: { handler: ErasedHandler | undefined; abort: Abort },
  ): Promise<Checked> {
    const { type, room, user } = request;
    if (handler === undefined) {
      return refusal('UNKNOWN_TYPE', `The server has no request "${type.slice(0, 64)}".`);
    }
    let payload: unknown;
    try {
      payload = this.#payload(request);
    } catch (error) {
      if (error instanceof HoldfastError) return { error: errorBody(error) };
      this.#core.report(error, `the contract of the request "${type}"`);
      return { error: serverError(false) };
    }
    if (room === undefined || room === ME) return { handler, payload };
    if (isReservedRoom(room)) return refusal('FORBIDDEN', `The room "${room}" is reserved.`);
    const error = await authorize(this.#core, abort, { user, room, action: 'request', type });
    return error === undefined ? { handler, payload } : { error };
  }

  #payload({ type, payload }: PendingRequest): unknown {
    const schemas = schemaOf(this.#core.settings.contract?.requests, type);
    return schemas === undefined
      ? payload
      : validate(schemas.payload, payload, `request "${type}"`);
  }

  #response({ type, requestId }: PendingRequest, data: unknown): string {
    const schemas = schemaOf(this.#core.settings.contract?.requests, type);
    if (schemas !== undefined) validate(schemas.data, data, `the response to "${type}"`);
    return toText({ kind: 'response', requestId, success: true, data });
  }

  async #commit({ seat, request }: Asked, done: Done): Promise<void> {
    const { requestId } = request;
    const settle = { client: seat.key, requestId, response: done.response };
    const events = done.call?.drafts ?? [];
    try {
      const result = await this.#core.writer.write({ events, settle });
      // Refused: this node was declared dead, and another one has told the client so.
      if (!result.accepted) return;
      this.#core.counters.eventsPublished += events.length;
      seat.answer(request, done.response);
    } catch (error) {
      this.#core.report(error, `the journal, for the response to "${request.type}"`);
      this.#refuse(seat, request, unknown('journal'));
    }
  }

  #settle(seat: Seat, request: PendingRequest, error: ErrorBody): Promise<void> {
    return this.#commit({ seat, request }, { response: failed(request.requestId, error) });
  }

  async #release(seat: Seat, { requestId }: PendingRequest): Promise<void> {
    await this.#core.writer.write({ events: [], settle: { client: seat.key, requestId } });
  }

  #refuse(seat: Seat, request: PendingRequest, error: ErrorBody): void {
    seat.tell(request, failed(request.requestId, error));
  }
}

interface Ended {
  /** Nobody waits for it. */
  readonly forget: () => void;
  /** At once where it was told already; not for ever. */
  readonly wait: () => Promise<void>;
}

interface Asked {
  readonly seat: Seat;
  readonly request: PendingRequest;
}

interface Ready {
  readonly handler: ErasedHandler;
  readonly payload: unknown;
}

type Checked = Ready | { readonly error: ErrorBody };

interface Run extends Asked, Ready {
  readonly abort: Abort;
}

interface Done {
  readonly response: string;
  readonly call?: RequestCall;
}

/** The text of a response that failed. */
export function failed(requestId: string, error: ErrorBody): string {
  return JSON.stringify({ kind: 'response', requestId, success: false, error });
}

function unknown(reason: string): ErrorBody {
  return {
    code: 'OUTCOME_UNKNOWN',
    message: `The request may have run (${reason}). Look before you ask again.`,
    retryable: false,
    details: { reason },
  };
}

function refusal(code: string, message: string): { error: ErrorBody } {
  return { error: { code, message, retryable: false } };
}

function waitKey(client: string, requestId: string): string {
  return `${client.length}:${client}:${requestId}`;
}
