/** Carries the machine's orders out. Holds handles only: links, the timer, open promises; decides nothing. */
import type { Ask, Fact } from '../machine/fact.js';
import type { CredentialReason, Order } from '../machine/order.js';
import type { RoomState } from '../machine/rooms.js';
import type { Session } from '../machine/session.js';
import type { ConnectionState } from '../machine/status.js';
import { type ErrorCategory, HoldfastError } from '../protocol/errors.js';
import type { Event, Hello } from '../protocol/frame.js';
import { Alarm } from './alarm.js';
import type { Environment, LifecycleSignal } from './environment.js';
import type { Metrics } from './metrics.js';
import type { GapNotice } from './options.js';
import type { ClientStorage, Slot } from './storage.js';
import type { Answer, TraceEntry } from './trace.js';
import type { Link, Transport } from './transport.js';
import { Waiters } from './waiters.js';

export interface DriverParts {
  session: Session;
  transport: Transport;
  environment: Environment;
  storage: ClientStorage | undefined;
  auth: ((about: { reason: CredentialReason; signal: AbortSignal }) => unknown) | undefined;
  onGap: ((gap: GapNotice) => unknown) | undefined;
  /** Gives an event to the listeners; calls `had` when all of them have had it. */
  deliver: (event: Event, had: (event: Event) => void) => void;
  /** Tells the listeners of a new state. */
  notify: (state: ConnectionState) => void;
  report: (error: unknown) => void;
}

export class Driver {
  readonly #parts: DriverParts;
  readonly #links = new Map<number, Link>();
  readonly #waiters = new Waiters();
  /** Calls of `connect()`, of `drained()` and of `restore()` that wait. */
  #connects: number[] = [];
  #drains: number[] = [];
  #restores: number[] = [];
  readonly #alarm: Alarm;
  readonly #healing = new Map<number, AbortController>();
  #asking: AbortController | null = null;
  #slot: Slot | null = null;
  #stopLifecycle: (() => void) | null = null;
  readonly #orders: Order[] = [];
  #running = false;
  #isStepping = false;
  readonly #later: Fact[] = [];
  #calls = 0;
  /** The time of this tick: one clock read for all that happens in it. */
  #now: number | null = null;
  #ticking = false;
  /** Nothing but events was delivered in this tick: no state, no deadline and no promise has moved. */
  #isQuiet = true;
  #told: ConnectionState | null = null;
  #steps = 0;
  /** What `shouldReconnect` has answered in the step that runs. */
  #answers: Answer[] = [];
  readonly #errors: Partial<Record<ErrorCategory, number>> = {};
  /** Steps that `trace` has not heard of yet. */
  readonly #untold: TraceEntry[] = [];
  /** Hears every fact and every order; set while somebody listens. */
  trace: ((entry: TraceEntry) => void) | null = null;

  constructor(parts: DriverParts) {
    this.#parts = parts;
    this.#alarm = new Alarm(parts.environment.clock, () =>
      this.dispatch({ fact: 'timeUp', buffered: this.#buffered() }),
    );
  }

  get state(): ConnectionState {
    const { clock } = this.#parts.environment;
    return this.#parts.session.state(clock.date() - clock.now());
  }

  metrics(): Metrics {
    const { clock } = this.#parts.environment;
    const { latency, queued } = this.state;
    const errors = { ...this.#errors };
    return { ...this.#parts.session.metrics(clock.now()), latency, queued, errors };
  }

  /** An error that was told to the application, in whichever way. */
  count(error: unknown): void {
    if (!(error instanceof HoldfastError)) return;
    this.#errors[error.category] = (this.#errors[error.category] ?? 0) + 1;
  }

  /** What says no more than that it is done. One that nobody awaits does not end a process by its rejection. */
  settled(promise: Promise<unknown>): Promise<void> {
    const done = promise.then(() => {});
    done.catch((error) => this.count(error));
    return done;
  }

  /** What `shouldReconnect` says goes into the trace: a replay cannot ask it again. */
  answered<A extends Answer | undefined>(answer: A): A {
    if (this.trace !== null) this.#answers.push(answer ?? null);
    return answer;
  }

  /** One thing that happened. The machine decides at once; its orders wait their turn. */
  dispatch(fact: Fact): void {
    const isEvent = fact.fact === 'received' && fact.frame.kind === 'event';
    // A storage waits a little for a cursor that moves: there is a deadline then.
    this.#isQuiet &&= (isEvent || fact.fact === 'delivered') && this.#parts.storage === undefined;
    this.#step(fact);
    this.#run();
    this.#beginTick();
  }

  connect(): { call: number; connected: Promise<unknown> } {
    const call = ++this.#calls;
    const connected = this.#waiters.add(call);
    this.#connects.push(call);
    this.#listenToDevice();
    this.dispatch({ fact: 'connectAsked' });
    return { call, connected };
  }

  /** Ends the wait for a connection; the connecting goes on. */
  abortConnect(call: number, error: HoldfastError): void {
    this.#waiters.reject(call, error);
  }

  reconnect(): void {
    this.#listenToDevice();
    this.dispatch({ fact: 'reconnectAsked' });
  }

  request(request: Ask): Promise<unknown> {
    const response = this.#waiters.add(request.requestId);
    this.dispatch({ fact: 'asked', request });
    return response;
  }

  /** Opens the storage, where there is one; resolves once it has been read, or given up. */
  restored(): Promise<unknown> {
    const call = ++this.#calls;
    this.#restores.push(call);
    const restored = this.#waiters.add(call);
    this.dispatch({ fact: 'restoreAsked' });
    return restored;
  }

  roomState(room: string): RoomState {
    return this.#parts.session.roomState(room);
  }

  response(requestId: string): Promise<unknown> | undefined {
    return this.#waiters.get(requestId);
  }

  join(room: string, since: string | undefined): { call: number; joined: Promise<unknown> } {
    const call = ++this.#calls;
    const joined = this.#waiters.add(call);
    this.dispatch({ fact: 'joinAsked', room, since, call });
    return { call, joined };
  }

  /** Gives a join up before its answer. */
  abortJoin(room: string, call: number, error: HoldfastError): void {
    if (this.#waiters.reject(call, error)) this.dispatch({ fact: 'joinAborted', room, call });
  }

  drained(): Promise<unknown> {
    const call = ++this.#calls;
    this.#drains.push(call);
    this.#isQuiet = false;
    this.#beginTick();
    return this.#waiters.add(call);
  }

  #step(fact: Fact): void {
    const { session, environment } = this.#parts;
    // `shouldReconnect` is asked in the middle of a step: what it calls comes after it.
    if (this.#isStepping) {
      this.#later.push(fact);
      return;
    }
    const before = this.#orders.length;
    this.#now ??= environment.clock.now();
    this.#isStepping = true;
    const roll = environment.random();
    try {
      session.step(fact, this.#now, roll, this.#orders);
    } finally {
      this.#isStepping = false;
    }
    const step = ++this.#steps;
    if (this.trace !== null) {
      const orders = this.#orders.slice(before);
      const answers = this.#answers.splice(0);
      const { deadline } = session;
      this.#traced({ step, at: this.#now, roll, fact, orders, deadline, answers });
    }
    const next = this.#later.shift();
    if (next !== undefined) this.#step(next);
  }

  /** In the order of the steps, also where who hears of one causes the next. */
  #traced(entry: TraceEntry): void {
    this.#untold.push(entry);
    if (this.#untold.length > 1) return;
    for (const one of this.#untold) this.trace?.(one);
    this.#untold.length = 0;
  }

  /** What a listener asks for meanwhile is appended, and carried out after what came before it. */
  #run(): void {
    if (this.#running || this.#isStepping) return;
    const orders = this.#orders;
    const { session } = this.#parts;
    this.#running = true;
    for (let index = 0; index < orders.length; index++) {
      const order = orders[index];
      if (order === undefined) continue;
      // What a listener has left or closed since is not heard any more.
      const isStale = index > 0 && order.order === 'deliver' && !session.hears(order.event.room);
      if (!isStale) this.#carryOut(order);
    }
    // One by one: `length = 0` would give the array's memory back, and every event would ask for it anew.
    while (orders.length > 0) orders.pop();
    this.#running = false;
  }

  #carryOut(order: Order): void {
    if (order.order !== 'deliver') this.#isQuiet = false;
    switch (order.order) {
      case 'deliver':
        this.#parts.deliver(order.event, this.#had);
        break;
      case 'transmit':
        this.#links.get(order.link)?.send(order.frames);
        break;
      case 'settle':
        this.#waiters.resolve(order.requestId, order.data);
        break;
      case 'reject':
        this.#waiters.reject(order.requestId, order.error);
        break;
      case 'askCredentials':
        this.#askCredentials(order.ask, order.reason);
        break;
      case 'dropCredentials':
        this.#asking?.abort();
        this.#asking = null;
        break;
      case 'dial':
        this.#dial(order.link);
        break;
      case 'hangUp':
        this.#links.get(order.link)?.close(order.code, order.reason);
        this.#links.delete(order.link);
        break;
      case 'heal':
        this.#heal(order);
        break;
      case 'stopHealing':
        this.#healing.get(order.run)?.abort();
        this.#healing.delete(order.run);
        break;
      case 'answerJoins':
        this.#waiters.answer(order.calls, order.error);
        break;
      case 'answerConnects':
        this.#waiters.answer(this.#connects, order.error);
        this.#connects = [];
        break;
      case 'restore':
        void this.#restore();
        break;
      case 'store':
        this.#store(order);
        break;
      case 'release':
        this.#release();
        break;
      case 'report':
        this.#parts.report(order.error);
        break;
      default:
        order satisfies never;
    }
  }

  readonly #had = ({ room, eventId }: Event): void => {
    if (room !== undefined) this.dispatch({ fact: 'delivered', room, eventId });
  };

  #dial(link: number): void {
    const { session, transport } = this.#parts;
    let presented: Hello | undefined;
    const hello = () => {
      presented = session.hello(link);
      return presented;
    };
    try {
      const dialed = transport.dial(hello, {
        opened: ({ hello: named = presented, ...wire } = {}) =>
          this.dispatch({ fact: 'opened', link, rooms: named?.rooms, ...wire }),
        received: (frame) => this.dispatch({ fact: 'received', link, frame }),
        closed: (fault) => {
          this.#links.delete(link);
          this.dispatch({ fact: 'lost', link, fault });
        },
      });
      this.#links.set(link, dialed);
    } catch (thrown) {
      // Not as the cause: what platforms throw here quotes the URL, and with it whatever its query holds.
      const kind = thrown instanceof Error ? thrown.name : typeof thrown;
      const fault = new HoldfastError(
        'CONNECTION_FAILED',
        `The transport could not dial (${kind}). Check its URL.`,
      );
      this.dispatch({ fact: 'lost', link, fault });
    }
  }

  #askCredentials(ask: number, reason: CredentialReason): void {
    const controller = new AbortController();
    this.#asking = controller;
    run(this.#parts.auth, { reason, signal: controller.signal }).then(
      (auth) => this.dispatch(credentialsFact(ask, auth)),
      (thrown: unknown) => {
        const error = thrown instanceof HoldfastError ? thrown : failed('auth', 'it threw', thrown);
        this.dispatch({ fact: 'credentialsFailed', ask, error });
      },
    );
  }

  #heal({ room, run: runId, cursor, reason }: Order & { order: 'heal' }): void {
    const controller = new AbortController();
    this.#healing.set(runId, controller);
    const over = () => this.#healing.delete(runId);
    run(this.#parts.onGap, { room, cursor, reason, signal: controller.signal }).then(
      (current) => {
        over();
        const eventId = typeof current === 'string' ? current : undefined;
        this.dispatch({ fact: 'healed', room, run: runId, eventId });
      },
      (thrown: unknown) => {
        over();
        const error = failed('onGap', `it threw for the room "${room}"`, thrown);
        this.dispatch({ fact: 'healFailed', room, run: runId, error });
      },
    );
  }

  async #restore(): Promise<void> {
    const { environment, report, session, storage, transport } = this.#parts;
    const { clock } = environment;
    try {
      const host = { id: () => environment.id(), date: () => clock.date(), report };
      const slot = await storage?.open(host);
      if (slot === undefined) return;
      this.#slot = slot;
      const requests = slot.saved.requests.map((request) => {
        return { ...request, payload: transport.codec.payload(request.wire) };
      });
      this.dispatch({ fact: 'restored', saved: { ...slot.saved, requests }, date: clock.date() });
      // Those that were asked anew under their old ids have one.
      for (const { requestId } of session.pending()) {
        void (this.#waiters.get(requestId) ?? this.#waiters.add(requestId));
      }
    } catch (thrown) {
      this.#release();
      this.dispatch({ fact: 'restoreFailed', error: storageError('opened', thrown) });
    }
  }

  /** What it promises never to do, a stranger's may. */
  #release(): void {
    run((slot: Slot | null) => slot?.close(), this.#slot).catch((thrown: unknown) =>
      this.#parts.report(storageError('closed', thrown)),
    );
    this.#slot = null;
  }

  #store({ write, changes }: Order & { order: 'store' }): void {
    run((slot: Slot | null) => slot?.write(changes), this.#slot).then(
      () => this.dispatch({ fact: 'stored', write }),
      (thrown: unknown) => {
        const error = storageError('written', thrown);
        this.dispatch({ fact: 'storeFailed', write, error });
      },
    );
  }

  #beginTick(): void {
    if (this.#ticking) return;
    this.#ticking = true;
    queueMicrotask(() => this.#endTick());
  }

  /** Once a tick, however much happened in it: write, set the timer, tell of the new state. */
  #endTick(): void {
    this.#ticking = false;
    this.#step({ fact: 'tickEnded', buffered: this.#buffered() });
    this.#run();
    const isQuiet = this.#isQuiet;
    this.#isQuiet = true;
    if (isQuiet) this.#now = null;
    else this.#settle();
  }

  #settle(): void {
    if (this.#drains.length > 0 && this.#parts.session.isDrained) {
      this.#waiters.answer(this.#drains, null);
      this.#drains = [];
    }
    if (this.#restores.length > 0 && this.#parts.session.isReady) {
      this.#waiters.answer(this.#restores, null);
      this.#restores = [];
    }
    this.#alarm.set(this.#parts.session.deadline, this.#now ?? 0);
    this.#now = null;
    this.#tell();
  }

  #tell(): void {
    const { state } = this;
    if (state === this.#told) return;
    this.#told = state;
    if (state.status === 'closed' || state.status === 'disconnected') this.#ignoreDevice();
    this.#parts.notify(state);
  }

  #buffered(): number {
    const { link } = this.#parts.session;
    return link === null ? 0 : (this.#links.get(link)?.bufferedAmount ?? 0);
  }

  #listenToDevice(): void {
    this.#stopLifecycle ??= this.#parts.environment.lifecycle((signal) => this.#hear(signal));
  }

  #ignoreDevice(): void {
    this.#stopLifecycle?.();
    this.#stopLifecycle = null;
  }

  #hear(signal: LifecycleSignal): void {
    const buffered = this.#buffered();
    if (signal === 'offline') this.dispatch({ fact: 'wentOffline', buffered });
    else if (signal === 'hidden') this.dispatch({ fact: 'hid' });
    else if (signal === 'suspended') this.dispatch({ fact: 'suspended' });
    else this.dispatch({ fact: 'woke', buffered });
  }
}

/** Calls a stranger's function; a throw becomes a rejection. */
async function run<A>(stranger: ((about: A) => unknown) | undefined, about: A): Promise<unknown> {
  return stranger?.(about);
}

function storageError(what: 'closed' | 'opened' | 'written', thrown: unknown): HoldfastError {
  if (thrown instanceof HoldfastError) return thrown;
  return new HoldfastError(
    'STORAGE_FAILED',
    `The storage could not be ${what}. Requests go on, and are kept in memory.`,
    { cause: thrown },
  );
}

function failed(option: string, why: string, cause?: unknown): HoldfastError {
  return new HoldfastError('CONNECTION_FAILED', `${option} failed: ${why}.`, { cause });
}

/** The key tells two credentials apart; it is never shown to anybody. */
function credentialsFact(ask: number, auth: unknown): Fact {
  try {
    const key = JSON.stringify(auth);
    if (key !== undefined) return { fact: 'credentialsGiven', ask, auth, key };
    const error = failed('auth', 'it returned nothing. Return credentials, or null to sign out');
    return { fact: 'credentialsFailed', ask, error };
  } catch (cause) {
    const error = failed('auth', 'it returned what cannot be encoded as JSON', cause);
    return { fact: 'credentialsFailed', ask, error };
  }
}
