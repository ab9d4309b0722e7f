/** The public client: what an application holds in its hands. */
import { Emitter } from '../lib/emitter.js';
import { shielded } from '../lib/shield.js';
import type { Judge } from '../machine/retry.js';
import { Session } from '../machine/session.js';
import type { ConnectionState } from '../machine/status.js';
import { LONGEST_PAUSE } from '../machine/step.js';
import type {
  AnyContract,
  Contract,
  MessageInput,
  MessageType,
  RequestInput,
  RequestType,
  ResponseData,
} from '../protocol/contract.js';
import { HoldfastError } from '../protocol/errors.js';
import { isReservedRoom } from '../protocol/frame.js';
import { Audience, type Channel, type EventInfo } from './audience.js';
import { print } from './debug.js';
import { Driver } from './driver.js';
import { type Environment, platformEnvironment } from './environment.js';
import { Listening } from './listening.js';
import type { Metrics } from './metrics.js';
import { type ClientOptions, checkNumber, checkOptions, spoken } from './options.js';
import { aborted, Outgoing, onAbort, type RequestOptions, type SendOptions } from './outgoing.js';
import { Room } from './room.js';
import { redaction, type TraceEntry, type TraceOptions } from './trace.js';

/** A request without a response yet. */
export interface Pending {
  readonly requestId: string;
  readonly type: string;
  readonly payload: unknown;
  readonly room: string | undefined;
  /** `sent`: it may have reached the server, also from an earlier page. `queued`: certainly not. */
  readonly state: 'queued' | 'sent';
  readonly result: Promise<unknown>;
}

const STATE = 'state';
const ERROR = 'error';
const TRACE = 'trace';

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

export class Client<C extends Contract = AnyContract> extends Listening<C> {
  readonly #environment: Environment;
  readonly #session: Session;
  readonly #driver: Driver;
  readonly #audience: Audience;
  readonly #outgoing: Outgoing;
  readonly #states: Emitter<[ConnectionState]>;
  readonly #errors: Emitter<[HoldfastError]>;
  readonly #traces: Emitter<[TraceEntry]>;
  /** What the session was made of, for a replay. */
  readonly #made: TraceOptions;
  #redact: ReturnType<typeof redaction> | null = null;
  #isPrinting = false;
  readonly #report = (thrown: unknown) => this.#tellError(thrown);

  constructor(options: ClientOptions<C>) {
    super();
    const checked = checkOptions(options);
    const { auth, contract = {}, onGap } = options;
    const transport = spoken(options);
    const report = this.#report;
    const environment = { ...platformEnvironment, ...options.environment };
    const { storage, ...outbox } = checked.outbox;
    this.#made = {
      ...checked,
      outbox,
      storage: storage?.name ?? null,
      transport: transport.name,
      auth: auth === undefined ? null : { timeout: checked.authTimeout },
      inbox: { ...checked.inbox, heals: onGap !== undefined },
    };
    const ask = judge(options, report);
    this.#environment = environment;
    this.#audience = new Audience(contract, report);
    this.#states = new Emitter(report);
    this.#traces = new Emitter(report);
    this.#errors = new Emitter((thrown) => lastResort(environment, thrown));
    this.#session = new Session({
      ...this.#made,
      clientId: () => environment.id(),
      shouldReconnect: (error) => this.#driver.answered(ask(error)),
      ledger: storage === undefined ? null : () => storage.ledger(),
    });
    this.#driver = new Driver({
      session: this.#session,
      transport,
      environment,
      storage,
      auth,
      onGap,
      deliver: (event, had) => this.#audience.deliver(event, had),
      notify: (state) => this.#states.emit(STATE, state),
      report,
    });
    this.#outgoing = new Outgoing({
      contract,
      transport,
      environment,
      driver: this.#driver,
      ttl: checked.outbox.ttl,
    });
  }

  protected get channel(): Channel {
    return this.#audience.everywhere;
  }

  /** The state of this moment: frozen, and the same object until something in it changes. */
  get state(): ConnectionState {
    return this.#driver.state;
  }

  /** Called at once, then on every change, at most once a tick. Returns its unsubscribe. */
  onState = (listener: (state: ConnectionState) => unknown): (() => void) => {
    const off = this.#states.on(STATE, listener);
    shielded(listener, this.#report)(this.state);
    return off;
  };

  /**
   * Connects and stays connected until `disconnect()` or `close()`. Resolves with the first success;
   * there is no need to await it. Aborting the signal ends the wait, not the connecting; one that is
   * aborted already starts nothing.
   * @throws HoldfastError (as a rejection) where the client closes or is disconnected before.
   */
  connect({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    if (signal?.aborted) return this.#driver.settled(Promise.reject(aborted('connect()', signal)));
    // Looked up once.
    if (!this.#isPrinting) this.#isPrinting = print(this, this.#environment);
    const { call, connected } = this.#driver.connect();
    onAbort(signal, connected, (by) => this.#driver.abortConnect(call, aborted('connect()', by)));
    return this.#driver.settled(connected);
  }

  /** Takes a new link now: skips a wait, or leaves a connection that the application distrusts. */
  reconnect(): void {
    this.#driver.reconnect();
  }

  /** Leaves. Outbox and cursors are kept for the next `connect()`. */
  disconnect(): void {
    this.#driver.dispatch({ fact: 'disconnectAsked' });
  }

  /** Leaves for good. Every pending promise settles. */
  close(): void {
    this.#driver.dispatch({ fact: 'closeAsked' });
  }

  /** Hears every event. Returns its removal. */
  onAny(listener: (type: string, payload: unknown, event: EventInfo) => unknown): () => void {
    return this.#audience.onAny(listener);
  }

  /**
   * Hears what goes wrong outside any promise: listeners that throw, gaps without `onGap`, rooms that
   * are refused after they were joined. Without a listener here it is written to the console. What a
   * promise rejects with is told there alone, and to nobody where nobody awaits it.
   */
  onError(listener: (error: HoldfastError) => unknown): () => void {
    return this.#errors.on(ERROR, listener);
  }

  /**
   * Hears every fact and decision, credentials redacted. Costs nothing while nobody listens. What it
   * hears from before `connect()` on can be saved and replayed: `saveTrace` of `holdfast/testing`.
   */
  onTrace(listener: (entry: TraceEntry) => unknown): () => void {
    const off = this.#traces.on(TRACE, listener);
    const { clock } = this.#environment;
    this.#redact ??= redaction(() => ({ options: this.#made, unix: clock.date() - clock.now() }));
    const redact = this.#redact;
    this.#driver.trace = (entry) => this.#traces.emit(TRACE, redact(entry));
    return () => {
      off();
      if (!this.#traces.hears(TRACE)) this.#driver.trace = null;
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
    const response = this.#outgoing.request(type, payload, options);
    response.catch((error) => this.#driver.count(error));
    // eslint-disable-next-line @typescript-eslint/consistent-type-assertions -- the contract's schema has checked it, or there is none
    return response as Promise<ResponseData<C, T>>;
  }

  /**
   * Sends without wanting an answer: at most once.
   * @throws HoldfastError `NOT_SENT` with `whileOffline: "reject"` and no connection, or when closed.
   */
  send<T extends MessageType<C>>(
    type: T,
    payload: MessageInput<C, T>,
    options: SendOptions = {},
  ): void {
    this.#outgoing.send(type, payload, options, this.#session.status);
  }

  /**
   * A handle on a room; nothing is sent before its `join()`.
   * @throws HoldfastError `INVALID_PAYLOAD` for a name that is empty or the server's.
   */
  room(name: string): Room<C> {
    if (typeof name === 'string' && name !== '' && !isReservedRoom(name)) {
      return new Room(name, () => this.#audience.room(name), this, this.#driver);
    }
    throw new HoldfastError(
      'INVALID_PAYLOAD',
      `"${name}" cannot be a room. A name is text, not empty, and does not start with "@": those are the server's, and what is published to the user alone arrives at client.on.`,
    );
  }

  /**
   * Opens the storage before `connect()` does, and answers with the requests that an earlier page or
   * process left unanswered: they go on by themselves, and each `result` settles as its own would
   * have. Without a storage there are none. Never rejects: a storage that fails is reported.
   */
  async restore(): Promise<Pending[]> {
    await this.#driver.restored();
    return this.pending();
  }

  /** Requests without a response, in order; where there is a storage, those that it has. */
  pending(): Pending[] {
    return this.#session.pending().map(({ requestId, type, payload, room, session }) => ({
      requestId,
      type,
      payload,
      room,
      state: session === null ? 'queued' : 'sent',
      result: this.#driver.response(requestId) ?? Promise.resolve(),
    }));
  }

  /** Resolves when nothing waits to be written: the moment to send more. */
  drained(): Promise<void> {
    return this.#driver.settled(this.#driver.drained());
  }

  metrics(): Metrics {
    return this.#driver.metrics();
  }

  #tellError(thrown: unknown): void {
    const error =
      thrown instanceof HoldfastError
        ? thrown
        : new HoldfastError('LISTENER_FAILED', 'A listener threw.', { cause: thrown });
    this.#driver.count(error);
    if (!this.#errors.emit(ERROR, error)) lastResort(this.#environment, error);
  }
}

/** A `report` that throws must not stop the client. */
function lastResort(environment: Environment, error: unknown): void {
  try {
    environment.report(error);
  } catch {
    // There is nobody left to tell.
  }
}

/** The application's own word on a fault; one that throws, or says what it may not, has said nothing. */
function judge<C extends Contract>(
  { shouldReconnect }: ClientOptions<C>,
  report: (thrown: unknown) => void,
): Judge {
  return (error) => {
    try {
      const word: unknown = shouldReconnect?.(error);
      if (word === undefined || typeof word === 'boolean') return word;
      const delay =
        typeof word === 'object' && word !== null && 'delay' in word ? word.delay : null;
      checkNumber('delay of shouldReconnect', delay, 0);
      return { delay: Math.min(Number(delay), LONGEST_PAUSE) };
    } catch (thrown) {
      report(thrown);
      return undefined;
    }
  };
}
