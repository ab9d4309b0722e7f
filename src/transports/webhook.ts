/** Webhooks of the Standard Webhooks kind: verified, heard once, and answered when they were. Node only. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Webhook } from 'standardwebhooks';
import { type Environment, platformEnvironment } from '../client/environment.js';
import { checkKnown } from '../lib/known.js';
import {
  type AnyContract,
  type Contract,
  type EventPayload,
  type EventType,
  entryOf,
  validate,
} from '../protocol/contract.js';
import { HoldfastError } from '../protocol/errors.js';
import { bodyOf } from './webhook/body.js';
import { processStore, type WebhookStore } from './webhook/memory.js';
import {
  type Fields,
  fieldsOf,
  flawOf,
  incomingOf,
  keysOf,
  type WebhookHeaders,
  type WebhookInfo,
} from './webhook/signed.js';

export type { WebhookStore } from './webhook/memory.js';
export type { WebhookHeaders, WebhookInfo } from './webhook/signed.js';

export interface WebhookOptions<C extends Contract = AnyContract> {
  /** Its events are what may come, and what listeners get. @default none: every type, unvalidated */
  readonly contract?: C | undefined;
  /** As the sender shows it, `whsec_` or not. Several while one takes the place of another. */
  readonly secret: string | readonly string[];
  readonly remember?: RememberOptions | undefined;
  /** Of a body. @default 1_048_576 */
  readonly maxBytes?: number | undefined;
  /** @default the platform's clock; errors that nobody listens for go to the console */
  readonly environment?: Pick<Environment, 'clock' | 'report'> | undefined;
}

/** How long the same webhook is known again. Senders repeat one for hours, under the same id. */
export interface RememberOptions {
  /** Milliseconds, 600_000 at least: so long may an attempt be played back. @default 86_400_000: a day */
  readonly ttl?: number | undefined;
  /** Ids; above it the oldest are forgotten. Does not count with a `store`. @default 100_000 */
  readonly max?: number | undefined;
  /** For several processes. @default the memory of this one */
  readonly store?: WebhookStore | undefined;
  /** Milliseconds that listeners may take before another process may start them. @default 300_000 */
  readonly lease?: number | undefined;
}

/** Its promise is awaited: the sender gets its answer, and stops repeating, only after that. */
export type WebhookListener<P> = (payload: P, event: WebhookInfo) => unknown;

/** A request of any framework. `body` is what came, not what was made of it. */
export interface WebhookRequest {
  readonly headers: WebhookHeaders;
  readonly body: string | Uint8Array;
}

export interface WebhookAnswer {
  readonly status: number;
  readonly body: string;
}

export interface Webhooks<C extends Contract = AnyContract> {
  /** Hears webhooks of one type. Returns its removal, harmless twice. */
  on<T extends EventType<C>>(type: T, listener: WebhookListener<EventPayload<C, T>>): () => void;
  /** Hears every webhook. Returns its removal. */
  onAny(listener: (type: string, payload: unknown, event: WebhookInfo) => unknown): () => void;
  /** Hears of refusals and of listeners that fail. Returns its removal. @default the console */
  onError(listener: (error: HoldfastError) => unknown): () => void;
  /** Answers a request of `node:http`, whose body nobody has read yet. Needs no `this`, never rejects. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  /** The same for other frameworks: what to answer. Needs no `this`, never rejects. */
  readonly receive: (request: WebhookRequest) => Promise<WebhookAnswer>;
}

/**
 * Receives what is signed by the Standard Webhooks specification, at most five minutes old, and gives
 * each to its listeners once. 2xx only after all of them have returned; one that throws makes it 500, and
 * the sender repeats it: for all of them.
 * @throws TypeError, RangeError where an option is wrong. Errors never hold a secret.
 */
export function webhooks<C extends Contract = AnyContract>(
  options: WebhookOptions<C>,
): Webhooks<C> {
  checkKnown('webhooks', options, ['contract', 'secret', 'remember', 'maxBytes', 'environment']);
  checkKnown('remember', options.remember ?? {}, ['ttl', 'max', 'store', 'lease']);
  return new Receiver(options);
}

/** What an attacker may know of each outcome. */
const answers = {
  200: 'Received.',
  202: 'Received, and nobody listens to this type.',
  400: 'This is no webhook.',
  401: 'The signature does not hold.',
  405: 'Webhooks come by POST.',
  413: 'The body is too large.',
  422: 'The payload does not fit.',
  500: 'It could not be handled. Send it again.',
  503: 'It is being handled. Send it again later.',
} as const;

type Status = keyof typeof answers;

const unread = { 'no POST': 405, 'too large': 413, taken: 500 } as const;

/** `undefined` for those that hear every type. */
interface Heard {
  readonly type: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: payloads are checked by the contract, types by `on`.
  readonly call: WebhookListener<any>; // eslint-disable-line @typescript-eslint/no-explicit-any -- as above
}

/** A timestamp may lie five minutes in the future, and holds for five more. */
const LEAST_TTL = 600_000;

/** A sender that never runs out of types must not fill the memory. */
const MOST_UNHEARD = 100;

class Receiver<C extends Contract> implements Webhooks<C> {
  readonly #contract: Contract | undefined;
  readonly #secrets: readonly Webhook[];
  readonly #maxBytes: number;
  readonly #ttl: number;
  readonly #lease: number;
  readonly #store: WebhookStore;
  readonly #print: (error: unknown) => void;
  readonly #heard = new Set<Heard>();
  readonly #errors = new Set<{ readonly call: (error: HoldfastError) => unknown }>();
  /** Attempts under way here, by id: the next of the same waits for its outcome. */
  readonly #running = new Map<string, Promise<Status>>();
  readonly #unheard = new Set<string>();
  /** Reasons of refusals since the last webhook that held: whoever floods us fills no log. */
  readonly #refused = new Set<string>();

  constructor(options: WebhookOptions<C>) {
    const { remember = {}, environment = platformEnvironment } = options;
    this.#contract = options.contract;
    this.#secrets = keysOf(options.secret);
    this.#maxBytes = atLeast('maxBytes', options.maxBytes ?? 1_048_576, 1);
    this.#ttl = atLeast('remember.ttl', remember.ttl ?? 86_400_000, LEAST_TTL);
    this.#lease = atLeast('remember.lease', remember.lease ?? 300_000, 1);
    const max = atLeast('remember.max', remember.max ?? 100_000, 1);
    this.#store = remember.store ?? processStore(environment.clock, max);
    this.#print = (error) => environment.report(error);
  }

  on<T extends EventType<C>>(type: T, call: WebhookListener<EventPayload<C, T>>): () => void {
    return added(this.#heard, { type, call });
  }

  onAny(listener: (type: string, payload: unknown, event: WebhookInfo) => unknown): () => void {
    return added(this.#heard, {
      type: undefined,
      call: (payload, event) => listener(event.type, payload, event),
    });
  }

  onError(call: (error: HoldfastError) => unknown): () => void {
    return added(this.#errors, { call });
  }

  readonly handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = request.method === 'POST' ? await bodyOf(request, this.#maxBytes) : 'no POST';
    if (body === 'gone') return;
    if (body === 'taken') this.#report(taken());
    const isRead = typeof body !== 'string';
    const status = isRead ? await this.#status(request.headers, body) : unread[body];
    try {
      response.writeHead(status, {
        'Content-Type': 'text/plain; charset=utf-8',
        ...(status === 405 && { Allow: 'POST' }),
        ...(status === 503 && { 'Retry-After': '5' }),
        // What is left of the body is not wanted.
        ...(!isRead && { Connection: 'close' }),
      });
      response.end(answers[status]);
    } catch (thrown) {
      this.#report(failed('Something else has answered a webhook', thrown));
    }
  };

  readonly receive = async ({ headers, body }: WebhookRequest): Promise<WebhookAnswer> => {
    const status = await this.#status(headers, body);
    return { status, body: answers[status] };
  };

  async #status(headers: WebhookHeaders, body: unknown): Promise<Status> {
    if (typeof body !== 'string' && !(body instanceof Uint8Array)) {
      this.#report(taken());
      return 500;
    }
    if (body.length > this.#maxBytes) return 413;
    try {
      const text = typeof body === 'string' ? body : Buffer.from(body).toString();
      return await this.#take(fieldsOf(headers), text);
    } catch (thrown) {
      this.#report(failed('What keeps their ids failed', thrown));
      return 500;
    }
  }

  async #take(fields: Fields | undefined, text: string): Promise<Status> {
    if (fields === undefined) return this.#refuse('A header of Standard Webhooks is missing', 400);
    const why = flawOf(this.#secrets, fields, text);
    if (why !== undefined) return this.#refuse(why, 401);
    const incoming = incomingOf(fields, text);
    if (incoming === undefined) return this.#refuse('It is no JSON object with a `type`', 400);
    this.#refused.clear();
    const { type, eventId } = incoming.info;
    const calls = [...this.#heard].filter((one) => one.type === undefined || one.type === type);
    const schema = entryOf(this.#contract?.events, type);
    const isKnown = this.#contract === undefined || schema !== undefined;
    if (!isKnown || calls.length === 0) return this.#ignore(type, isKnown);
    let payload = incoming.data;
    try {
      if (schema !== undefined) payload = validate(schema, payload, `webhook "${type}"`);
    } catch (thrown) {
      this.#report(thrown instanceof HoldfastError ? thrown : failed('A schema threw', thrown));
      return 422;
    }
    return this.#once(eventId, async () => {
      // Called in order, awaited together; all of them have ended before there is an answer.
      const ended = await Promise.allSettled(
        calls.map(async ({ call }) => call(payload, incoming.info)),
      );
      for (const one of ended) {
        if (one.status === 'rejected') {
          this.#report(failed(`A listener of the webhook "${type}" threw`, one.reason));
        }
      }
      return ended.every(({ status }) => status === 'fulfilled');
    });
  }

  #once(id: string, run: () => Promise<boolean>): Promise<Status> {
    const known = this.#running.get(id);
    if (known !== undefined) return known;
    const attempt = this.#attempt(id, run).finally(() => this.#running.delete(id));
    this.#running.set(id, attempt);
    return attempt;
  }

  async #attempt(id: string, run: () => Promise<boolean>): Promise<Status> {
    const state = await this.#store.add(id, this.#lease);
    if (state !== 'new') return state === 'done' ? 200 : 503;
    if (!(await run())) {
      await this.#store.remove(id);
      return 500;
    }
    // They have run: a repeat would run them twice.
    try {
      await this.#store.done(id, this.#ttl);
    } catch (thrown) {
      this.#report(failed('What keeps their ids failed', thrown));
    }
    return 200;
  }

  #ignore(type: string, isKnown: boolean): Status {
    if (!this.#unheard.has(type) && this.#unheard.size < MOST_UNHEARD) {
      this.#unheard.add(type);
      const why = isKnown ? 'Nobody listens to it: add hooks.on' : 'The contract has no such event';
      this.#report(new HoldfastError('UNKNOWN_TYPE', `A webhook "${type}" was ignored. ${why}.`));
    }
    return 202;
  }

  #refuse(why: string, status: 400 | 401): Status {
    if (!this.#refused.has(why)) {
      this.#refused.add(why);
      const code = status === 401 ? 'UNAUTHORIZED' : 'PROTOCOL_ERROR';
      const cure = status === 401 ? ' Check the secret, and the clocks of both sides.' : '';
      this.#report(new HoldfastError(code, `A webhook was refused: ${why}.${cure}`));
    }
    return status;
  }

  #report(error: HoldfastError): void {
    if (this.#errors.size === 0) this.#print(error);
    for (const { call } of this.#errors) {
      try {
        Promise.resolve(call(error)).catch(this.#print);
      } catch (thrown) {
        this.#print(thrown);
      }
    }
  }
}

function atLeast(name: string, value: number, least: number): number {
  if (Number.isFinite(value) && value >= least) return value;
  throw new RangeError(`${name} must be a finite number, ${least} or more, not ${String(value)}.`);
}

function added<T>(set: Set<T>, one: T): () => void {
  set.add(one);
  return () => void set.delete(one);
}

function failed(what: string, cause: unknown): HoldfastError {
  return new HoldfastError('LISTENER_FAILED', `${what}. Its sender will repeat it.`, { cause });
}

function taken(): HoldfastError {
  return new HoldfastError(
    'PROTOCOL_ERROR',
    'The body of a webhook was read before hooks.handle got it, so its signature cannot be checked. Put it before body parsers such as express.json(), or pass the raw body to hooks.receive.',
  );
}
