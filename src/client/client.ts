/** The public client: what an application holds in its hands. */
import { Emitter } from '../lib/emitter.js';
import { shield } from '../lib/shield.js';
import type { Delivery } from '../machine/fact.js';
import { Session } from '../machine/session.js';
import type { ConnectionState } from '../machine/status.js';
import { byteLength } from '../protocol/codec.js';
import {
  type AnyContract,
  type Contract,
  type EventPayload,
  type EventType,
  entryOf,
  type MessageInput,
  type MessageType,
  type RequestInput,
  type RequestType,
  type ResponseData,
  type StandardSchema,
  validate,
} from '../protocol/contract.js';
import { HoldfastError } from '../protocol/errors.js';
import { type Event, isReservedRoom, isReservedType } from '../protocol/frame.js';
import { Driver } from './driver.js';
import { type Environment, platformEnvironment } from './environment.js';
import { type ClientOptions, checkOptions, REQUEST_TIMEOUT } from './options.js';
import { Room } from './room.js';
import { Stream } from './stream.js';
import { redacted, type TraceEntry } from './trace.js';
import type { Transport } from './transport.js';

/** What a listener hears beside the payload. */
export interface EventInfo {
  readonly eventId: string;
  readonly type: string;
  /** Unix milliseconds, of the server. */
  readonly timestamp: number;
  readonly room: string | undefined;
  readonly seq: number | undefined;
}

/** One event of an iterator. */
export interface Delivered<P> {
  readonly payload: P;
  readonly event: EventInfo;
}

export interface RequestOptions {
  /** The room it belongs to: requests to one room run one after another. */
  room?: string | undefined;
  /** Milliseconds from the write to `OUTCOME_UNKNOWN`; they stand still while there is no link. @default 30_000 */
  timeout?: number;
  /** Milliseconds it may wait for its first write. @default outbox.ttl */
  ttl?: number;
  /** Before the write: it is never sent. After it: the response is ignored. */
  signal?: AbortSignal;
  /** @default "exactly-once" */
  delivery?: Delivery;
  /** Takes the place of what waits with the same key and was never written. */
  coalesceKey?: string;
  /** @default a nanoid */
  requestId?: string;
}

export interface SendOptions {
  room?: string | undefined;
  /** What happens to it while there is no connection. @default "queue" */
  whileOffline?: 'queue' | 'drop' | 'reject';
}

export interface StreamOptions {
  signal?: AbortSignal;
  /** Events that may wait for the consumer; with more the iterator ends with an error. @default 1_000 */
  bufferSize?: number;
}

/** A request without a response yet. */
export interface Pending {
  readonly requestId: string;
  readonly type: string;
  readonly payload: unknown;
  readonly room: string | undefined;
  readonly state: 'queued' | 'sent';
  readonly result: Promise<unknown>;
}

/** Counts since the client was created; milliseconds; sizes in messages. */
export interface Metrics {
  readonly attempts: number;
  readonly connects: number;
  readonly reconnects: number;
  readonly received: number;
  readonly duplicates: number;
  readonly gaps: number;
  readonly replayed: number;
  /** Frames that were none: malformed, or of an unknown kind. */
  readonly garbled: number;
  /** Frames of links that were given up, and others that had no place. */
  readonly ignored: number;
  readonly stray: number;
  readonly queued: number;
  readonly latency: number | null;
}

export type Listener<P> = (payload: P, event: EventInfo) => unknown;
type Scope = { listeners: Emitter<[unknown, EventInfo]>; streams: Set<Tap> };
type Tap = { type: string; stream: Stream<Delivered<unknown>> };

const STATE = 'state';
const ERROR = 'error';
const ANY = '*';

/**
 * A realtime connection that holds. Nothing happens before `connect()`: no socket, no timer, no look
 * at a global.
 * @throws HoldfastError `INVALID_PAYLOAD` where an option is not what it must be.
 */
export function createClient<C extends Contract = AnyContract>(
  options: ClientOptions<C>,
): Client<C> {
  return new Client(options);
}

export class Client<C extends Contract = AnyContract> {
  readonly #contract: Contract;
  readonly #transport: Transport;
  readonly #environment: Environment;
  readonly #session: Session;
  readonly #driver: Driver;
  readonly #ttl: number;
  readonly #everywhere: Scope;
  readonly #rooms = new Map<string, Scope>();
  readonly #any: Emitter<[string, unknown, EventInfo]>;
  readonly #states: Emitter<[ConnectionState]>;
  readonly #errors: Emitter<[HoldfastError]>;
  readonly #traces: Emitter<[TraceEntry]>;
  /** Types that arrived and nobody listened to: reported once each. */
  readonly #unheard = new Set<string>();

  constructor(options: ClientOptions<C>) {
    const checked = checkOptions(options);
    const { auth, contract, onGap, shouldReconnect, transport } = options;
    const report = (thrown: unknown) => this.#report(thrown);
    this.#contract = contract ?? {};
    this.#transport = transport;
    this.#environment = { ...platformEnvironment, ...options.environment };
    this.#ttl = checked.outbox.ttl;
    this.#everywhere = scope(report);
    this.#any = new Emitter(report);
    this.#states = new Emitter(report);
    this.#traces = new Emitter(report);
    this.#errors = new Emitter((thrown) => this.#environment.report(thrown));
    const { environment } = { environment: this.#environment };
    let clientId: string | null = null;
    this.#session = new Session({
      ...checked,
      // Made when it is first needed: construction touches no global, and `crypto` is one.
      get clientId() {
        clientId ??= environment.id();
        return clientId;
      },
      transport: transport.name,
      auth: auth === undefined ? null : { timeout: checked.authTimeout },
      inbox: { ...checked.inbox, heals: onGap !== undefined },
      shouldReconnect: (error) => judge(shouldReconnect, error, report),
    });
    this.#driver = new Driver({
      session: this.#session,
      transport,
      environment,
      auth,
      onGap,
      deliver: (event, had) => this.#deliver(event, had),
      notify: (state) => this.#states.emit(STATE, state),
      report,
    });
  }

  /** The state of this moment: frozen, and the same object until something in it changes. */
  get state(): ConnectionState {
    return this.#driver.state;
  }

  /** Called at once, then on every change, at most once a tick. Returns its unsubscribe. */
  onState = (listener: (state: ConnectionState) => unknown): (() => void) => {
    const off = this.#states.on(STATE, listener);
    shield((thrown) => this.#report(thrown), listener, this.state);
    return off;
  };

  /**
   * Connects and stays connected until `disconnect()` or `close()`. Resolves with the first success;
   * there is no need to await it. Aborting the signal ends the wait, not the connecting.
   * @throws HoldfastError (as a rejection) where the client closes or is disconnected before.
   */
  connect(options: { signal?: AbortSignal } = {}): Promise<void> {
    return abortable(this.#driver.connect(), options.signal, 'connect()');
  }

  /** Takes a new link now: skips a wait, or leaves a connection that the application distrusts. */
  reconnect(): void {
    this.#driver.dispatch({ fact: 'reconnectAsked' });
  }

  /** Leaves. Outbox and cursors are kept for the next `connect()`. */
  disconnect(): void {
    this.#driver.dispatch({ fact: 'disconnectAsked' });
  }

  /** Leaves for good. Every pending promise settles. */
  close(): void {
    this.#driver.dispatch({ fact: 'closeAsked' });
  }

  /** Hears events of one type: of every room, and those to the user alone. Returns its removal. */
  on<T extends EventType<C>>(type: T, listener: Listener<EventPayload<C, T>>): () => void {
    return this.#everywhere.listeners.on(type, listener as Listener<unknown>);
  }

  once<T extends EventType<C>>(type: T, listener: Listener<EventPayload<C, T>>): () => void {
    return this.#everywhere.listeners.once(type, listener as Listener<unknown>);
  }

  off<T extends EventType<C>>(type: T, listener: Listener<EventPayload<C, T>>): void {
    this.#everywhere.listeners.off(type, listener as Listener<unknown>);
  }

  /** Hears every event. */
  onAny(listener: (type: string, payload: unknown, event: EventInfo) => unknown): () => void {
    return this.#any.on(ANY, listener);
  }

  /** Events as an iterator. The cursor moves as the consumer asks for the next one. */
  events<T extends EventType<C>>(
    type: T,
    options: StreamOptions = {},
  ): AsyncIterableIterator<Delivered<EventPayload<C, T>>> {
    return this.#stream(this.#everywhere, type, options) as Stream<Delivered<EventPayload<C, T>>>;
  }

  /** Hears what goes wrong outside any promise: listeners that throw, gaps, refused rooms. */
  onError(listener: (error: HoldfastError) => unknown): () => void {
    return this.#errors.on(ERROR, listener);
  }

  /** Hears every fact and decision, credentials redacted. Costs nothing while nobody listens. */
  onTrace(listener: (entry: TraceEntry) => unknown): () => void {
    const off = this.#traces.on(ANY, listener);
    this.#driver.trace = (entry) => this.#traces.emit(ANY, redacted(entry));
    return () => {
      off();
      if (this.#traces.isEmpty) this.#driver.trace = null;
    };
  }

  /**
   * Asks for a response: exactly once, through any fault. Always settles.
   * @throws HoldfastError (as a rejection) with the server's error; `NOT_SENT` where it certainly did
   * not run; `OUTCOME_UNKNOWN` where it may have.
   */
  request<T extends RequestType<C>>(
    type: T,
    payload: RequestInput<C, T>,
    options: RequestOptions = {},
  ): Promise<ResponseData<C, T>> {
    const promise = this.#request(type, payload, options);
    promise.catch(() => {});
    return promise as Promise<ResponseData<C, T>>;
  }

  /**
   * Sends without wanting an answer: at most once.
   * @throws HoldfastError `NOT_SENT` with `whileOffline: "reject"` and no connection, or after `close()`.
   */
  send<T extends MessageType<C>>(
    type: T,
    payload: MessageInput<C, T>,
    options: SendOptions = {},
  ): void {
    const { room, whileOffline = 'queue' } = options;
    const { status } = this.#session;
    if (status === 'closed' || (whileOffline === 'reject' && status !== 'connected')) {
      throw new HoldfastError('NOT_SENT', `The message "${type}" was not sent: ${status}.`, {
        details: { reason: status === 'closed' ? 'closed' : 'offline' },
      });
    }
    if (whileOffline === 'drop' && status !== 'connected') return;
    this.#check(entryOf(this.#contract.messages, type), payload, type, 'message');
    const timestamp = this.#environment.clock.date();
    const frame = { kind: 'message', type, timestamp, payload, room } as const;
    const wire = this.#encode(frame, type);
    this.#driver.dispatch({ fact: 'told', message: { wire, bytes: byteLength(wire) } });
  }

  /** A handle on a room; nothing is sent before `join()`. */
  room(name: string): Room<C> {
    if (name === '' || isReservedRoom(name)) {
      throw new HoldfastError(
        'INVALID_PAYLOAD',
        `"${name}" cannot be a room. Names that start with "@" are the server's; what is published to the user alone arrives at client.on.`,
      );
    }
    return new Room(this, this.#roomDoor(name), name);
  }

  /** Requests without a response, in order. */
  pending(): Pending[] {
    return this.#session.pending().map(({ requestId, type, payload, room, sent }) => ({
      requestId,
      type,
      payload,
      room,
      state: sent ? 'sent' : 'queued',
      result: this.#driver.response(requestId) ?? Promise.resolve(),
    }));
  }

  /** Resolves when nothing waits to be written: the moment to send more. */
  drained(): Promise<void> {
    return this.#driver.drained();
  }

  metrics(): Metrics {
    const { latency, queued } = this.state;
    return { ...this.#session.metrics(), latency, queued };
  }

  #request(type: string, payload: unknown, options: RequestOptions): Promise<unknown> {
    const { signal, room } = options;
    const requestId = options.requestId ?? this.#environment.id();
    if (signal?.aborted) return Promise.reject(aborted(`The request "${type}"`, signal));
    if (this.#driver.response(requestId) !== undefined) {
      return Promise.reject(
        invalid(`A request with the requestId "${requestId}" is waiting for its response.`),
      );
    }
    const schemas = entryOf(this.#contract.requests, type);
    let wire: string | Uint8Array;
    try {
      this.#check(schemas?.payload, payload, type, 'request');
      const timestamp = this.#environment.clock.date();
      wire = this.#encode({ kind: 'request', requestId, type, timestamp, payload, room }, type);
    } catch (error) {
      return Promise.reject(error);
    }
    const response = this.#driver.expectResponse(requestId);
    this.#driver.dispatch({
      fact: 'asked',
      request: {
        requestId,
        type,
        payload,
        room,
        wire,
        bytes: byteLength(wire),
        delivery: options.delivery ?? 'exactly-once',
        timeout: options.timeout ?? REQUEST_TIMEOUT,
        ttl: options.ttl ?? this.#ttl,
        coalesceKey: options.coalesceKey,
      },
    });
    if (signal !== undefined) this.#abortOn(signal, requestId, response);
    const data = schemas?.data;
    if (data === undefined) return response;
    return response.then((value) => validate(data, value, `response "${type}"`));
  }

  #abortOn(signal: AbortSignal, requestId: string, response: Promise<unknown>): void {
    const abort = () => this.#driver.dispatch({ fact: 'aborted', requestId });
    signal.addEventListener('abort', abort, { once: true });
    const off = () => signal.removeEventListener('abort', abort);
    response.then(off, off);
  }

  #check(
    schema: StandardSchema | undefined,
    payload: unknown,
    type: string,
    what: 'request' | 'message',
  ): void {
    if (schema !== undefined) {
      validate(schema, payload, `${what} "${type}"`);
      return;
    }
    const known = what === 'request' ? this.#contract.requests : this.#contract.messages;
    if (known !== undefined) {
      throw new HoldfastError(
        'UNKNOWN_TYPE',
        `The contract has no ${what} "${type}". Add it there.`,
      );
    }
    if (isReservedType(type)) {
      throw new HoldfastError(
        'UNKNOWN_TYPE',
        `The type "${type}" is reserved. Name it "resource:action".`,
      );
    }
  }

  #encode(frame: Parameters<Transport['codec']['encode']>[0], type: string): string | Uint8Array {
    try {
      return this.#transport.codec.encode(frame);
    } catch (cause) {
      throw new HoldfastError('INVALID_PAYLOAD', `The payload of "${type}" cannot be encoded.`, {
        cause,
      });
    }
  }

  /** What a room's handle may do; one object for each handle. */
  #roomDoor(name: string) {
    const scoped = () => {
      const known = this.#rooms.get(name) ?? scope((thrown) => this.#report(thrown));
      this.#rooms.set(name, known);
      return known;
    };
    return {
      state: () => this.#session.roomState(name),
      listeners: () => scoped().listeners,
      stream: (type: string, options: StreamOptions) => this.#stream(scoped(), type, options),
      join: (since: string | undefined, signal: AbortSignal | undefined) =>
        this.#join(name, since, signal),
      leave: () => this.#driver.dispatch({ fact: 'leaveAsked', room: name }),
    };
  }

  #join(name: string, since: string | undefined, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(aborted(`Joining "${name}"`, signal));
    const { call, joined } = this.#driver.join(name, since);
    if (signal === undefined) return joined;
    const abort = () => this.#driver.abortJoin(name, call, aborted(`Joining "${name}"`, signal));
    signal.addEventListener('abort', abort, { once: true });
    const off = () => signal.removeEventListener('abort', abort);
    joined.then(off, off);
    return joined;
  }

  #stream(where: Scope, type: string, options: StreamOptions): Stream<Delivered<unknown>> {
    const { signal, bufferSize = 1_000 } = options;
    const end = () => void stream.return();
    const stream = new Stream<Delivered<unknown>>(bufferSize, () => {
      where.streams.delete(tap);
      signal?.removeEventListener('abort', end);
    });
    const tap = { type, stream };
    if (signal?.aborted) end();
    else {
      where.streams.add(tap);
      signal?.addEventListener('abort', end, { once: true });
    }
    return stream;
  }

  /** To every listener, then to the iterators, whose consumers decide when they have had it. */
  #deliver(event: Event, had: () => void): void {
    const { type, eventId, timestamp, room, seq } = event;
    const inRoom = room === undefined ? undefined : this.#rooms.get(room);
    const heard = hears(this.#everywhere, type) || (inRoom !== undefined && hears(inRoom, type));
    if (!heard && !this.#any.hears(ANY)) {
      this.#reportUnheard(type);
      had();
      return;
    }
    const info: EventInfo = { eventId, type, timestamp, room, seq };
    let payload: unknown;
    try {
      const schema = entryOf(this.#contract.events, type);
      payload =
        schema === undefined ? event.payload : validate(schema, event.payload, `event "${type}"`);
    } catch (error) {
      this.#report(error);
      had();
      return;
    }
    this.#any.emit(ANY, type, payload, info);
    this.#everywhere.listeners.emit(type, payload, info);
    inRoom?.listeners.emit(type, payload, info);
    this.#feed([this.#everywhere, inRoom], { payload, event: info }, had);
  }

  #feed(scopes: (Scope | undefined)[], delivered: Delivered<unknown>, had: () => void): void {
    let owed = 1;
    const one = () => {
      if (--owed === 0) had();
    };
    for (const where of scopes) {
      if (where === undefined || where.streams.size === 0) continue;
      for (const tap of [...where.streams]) {
        if (tap.type !== delivered.event.type) continue;
        owed++;
        tap.stream.push(delivered, one);
      }
    }
    one();
  }

  #reportUnheard(type: string): void {
    if (this.#unheard.has(type)) return;
    this.#unheard.add(type);
    this.#report(
      new HoldfastError(
        'UNKNOWN_TYPE',
        `Nobody listens to "${type}". Its events count as delivered.`,
      ),
    );
  }

  #report(thrown: unknown): void {
    const error =
      thrown instanceof HoldfastError
        ? thrown
        : new HoldfastError('LISTENER_FAILED', 'A listener threw.', { cause: thrown });
    if (!this.#errors.emit(ERROR, error)) this.#environment.report(error);
  }
}

function scope(report: (thrown: unknown) => void): Scope {
  return { listeners: new Emitter(report), streams: new Set() };
}

function hears({ listeners, streams }: Scope, type: string): boolean {
  return listeners.hears(type) || streams.size > 0;
}

function judge(
  shouldReconnect: ClientOptions<Contract>['shouldReconnect'],
  error: HoldfastError,
  report: (thrown: unknown) => void,
): boolean | { delay: number } | undefined {
  try {
    return shouldReconnect?.(error);
  } catch (thrown) {
    report(thrown);
    return undefined;
  }
}

async function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  what: string,
): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(aborted(what, signal));
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

function aborted(what: string, signal: AbortSignal): HoldfastError {
  return new HoldfastError('NOT_SENT', `${what} was aborted by its signal.`, {
    cause: signal.reason,
    details: { reason: 'aborted' },
  });
}

function invalid(message: string): HoldfastError {
  return new HoldfastError('INVALID_PAYLOAD', message);
}
