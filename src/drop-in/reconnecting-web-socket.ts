/** `holdfast/drop-in`: a WebSocket that reconnects, for code that wants a WebSocket. */
import { openSocket } from '#platform';
import { type Environment, platformEnvironment } from '../client/environment.js';
import { LONGEST_TIMER } from '../lib/clock.js';
import { eventOf, exception } from './events.js';
import {
  delayBefore,
  type ProtocolsProvider,
  type ReconnectingWebSocketOptions,
  type Settings,
  settle,
  type UrlProvider,
} from './options.js';
import {
  abandon,
  copyOf,
  type End,
  type Failure,
  type InnerData,
  type InnerSocket,
  type Message,
  sizeOf,
} from './socket.js';
import { SocketTarget, throwLater } from './target.js';

export type { ReconnectingWebSocketEventMap } from './events.js';
export type { ProtocolsProvider, ReconnectingWebSocketOptions, UrlProvider } from './options.js';
export type { Message } from './socket.js';

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

/** What a connection comes to that nobody closed. */
const lost = { code: 1006, reason: '' };

/**
 * A WebSocket that connects again after each loss, until `close()`. `readyState` is CONNECTING
 * meanwhile, and what is sent is kept until it is open. Each connection that was open ends with a
 * `close` event, each attempt that fails with `error` and `close`.
 *
 * ```ts
 * const socket = new ReconnectingWebSocket('wss://feed.example.com');
 * socket.onmessage = ({ data }) => console.log(data);
 * socket.send('hello');
 * ```
 */
export class ReconnectingWebSocket extends SocketTarget implements WebSocket {
  static readonly CONNECTING = CONNECTING;
  static readonly OPEN = OPEN;
  static readonly CLOSING = CLOSING;
  static readonly CLOSED = CLOSED;
  readonly CONNECTING = CONNECTING;
  readonly OPEN = OPEN;
  readonly CLOSING = CLOSING;
  readonly CLOSED = CLOSED;

  readonly #url: UrlProvider;
  readonly #protocols: ProtocolsProvider;
  readonly #settings: Settings;
  readonly #environment: Environment;
  #state: 0 | 1 | 2 | 3 = CLOSED;
  /** The one that is heard, or was last. */
  #socket: InnerSocket | undefined;
  #binaryType: BinaryType = 'blob';
  #dialed = '';
  #queue: Message[] = [];
  #queuedBytes = 0;
  #retries = 0;
  /** What began before this changed is over. */
  #turn = 0;
  #isWaiting = false;
  #cancelTimer = () => {};
  #stopListening: (() => void) | undefined;

  /**
   * A class with these options, for what takes a WebSocket class and calls `new Class(url, protocols)`.
   * Options given to its constructor come on top.
   */
  static with(options: ReconnectingWebSocketOptions): typeof ReconnectingWebSocket {
    return class extends ReconnectingWebSocket {
      constructor(
        url: UrlProvider,
        protocols?: ProtocolsProvider,
        more?: ReconnectingWebSocketOptions,
      ) {
        super(url, protocols, { ...options, ...more });
      }
    };
  }

  /** Dials as soon as the code that runs has ended, unless it is to `startClosed`. Throws nothing. */
  constructor(
    url: UrlProvider,
    protocols?: ProtocolsProvider,
    options: ReconnectingWebSocketOptions = {},
  ) {
    const environment = { ...platformEnvironment, ...options.environment };
    super(environment.clock);
    this.#url = url;
    this.#protocols = protocols;
    this.#environment = environment;
    this.#settings = settle(options, environment.random());
    if (typeof url === 'string' || 'href' in url) this.#dialed = `${url}`;
    if (!options.startClosed) this.#dial();
  }

  /** CONNECTING between connections; CLOSED after `close()`, and where it has given up. */
  get readyState(): 0 | 1 | 2 | 3 {
    // The server has closed, and its close event is on the way.
    return this.#state === OPEN && !this.#canSend() ? CLOSING : this.#state;
  }

  /** As dialed last; '' until a function has said it. */
  get url(): string {
    return this.#socket?.url ?? this.#dialed;
  }

  /** What the server chose on this connection, or on the last one. */
  get protocol(): string {
    return this.#socket?.protocol ?? '';
  }

  get extensions(): string {
    return this.#socket?.extensions ?? '';
  }

  /** Bytes: what waits here, and what the socket has not handed to the network. */
  get bufferedAmount(): number {
    const isLive = this.#state === OPEN || this.#state === CLOSING;
    return this.#queuedBytes + ((isLive && this.#socket?.bufferedAmount) || 0);
  }

  get binaryType(): BinaryType {
    return this.#binaryType;
  }

  /** Holds for the connections to come too. */
  set binaryType(type: BinaryType) {
    if (!/^(blob|arraybuffer|nodebuffer|fragments)$/.test(type)) return;
    this.#binaryType = type;
    this.#typeSocket();
  }

  /** Attempts since it last stayed open for `minUptime`, less the first. */
  get retryCount(): number {
    return this.#retries;
  }

  /** It is neither closed nor has it given up. */
  get shouldReconnect(): boolean {
    return this.#state < CLOSING;
  }

  /**
   * Sends it, or keeps a copy until there is a connection. What a connection took and did not deliver
   * is not sent again: only the application can know what arrived.
   * @returns whether a connection took it
   */
  send(data: Message): boolean {
    if (this.#canSend()) {
      this.#socket?.send(data);
      return true;
    }
    if (this.#queue.length < this.#settings.maxEnqueuedMessages) {
      this.#queue.push(copyOf(data));
      this.#queuedBytes += sizeOf(data);
    }
    return false;
  }

  /** Takes back what was kept and never sent, oldest first. */
  drainQueuedMessages(): Message[] {
    this.#queuedBytes = 0;
    return this.#queue.splice(0);
  }

  /**
   * Ends it for good: no attempt follows, and one `close` event tells when it is done. Nothing more
   * where it is CLOSED already.
   * @throws DOMException InvalidAccessError where the code is neither 1000 nor in 3000 to 4999,
   * SyntaxError where the reason is longer than 123 bytes
   */
  close(code = 1000, reason = ''): void {
    check(code, reason);
    if (this.#state >= CLOSING) return;
    const wasOpen = this.#state === OPEN;
    this.#state = CLOSING;
    if (wasOpen) {
      this.#after(this.#settings.connectionTimeout, () => this.#ended(lost));
      this.#socket?.close(code, reason);
    } else {
      this.#leave();
      this.#after(0, () => this.#ended({ code, reason, wasClean: true }));
    }
  }

  /**
   * Leaves the connection, the attempt or the wait, and dials at once; after `close()` too. The
   * retries begin anew.
   * @throws as `close`
   */
  reconnect(code = 1000, reason = ''): void {
    check(code, reason);
    const hadConnection = this.#state === OPEN || this.#state === CLOSING;
    this.#leave(code, reason);
    this.#retries = 0;
    this.#dial();
    if (hadConnection) this.#tell('close', { code, reason, wasClean: true });
  }

  #dial(): void {
    this.#leave();
    this.#state = CONNECTING;
    this.#debug(`dials, retry ${this.#retries}`);
    this.#stopListening ??= this.#environment.lifecycle((signal) => {
      const isWaking = signal === 'online' || signal === 'visible' || signal === 'resumed';
      if (isWaking && this.#isWaiting) this.#dial();
    });
    const turn = this.#turn;
    this.#limit();
    // Not before the constructor has returned: a function may name the socket that it is for.
    Promise.resolve()
      .then(() => Promise.all([given(this.#url), given(this.#protocols)]))
      .then(([url, protocols]) => {
        if (turn === this.#turn) this.#open(`${url ?? ''}`, protocols ?? undefined);
      })
      .catch((thrown: unknown) => {
        const why = thrown instanceof Error ? thrown : new Error(String(thrown));
        if (turn === this.#turn) this.#ended(lost, why);
      });
  }

  #open(url: string, protocols: string | string[] | undefined): void {
    if (!url) throw new TypeError('There is no URL to dial.');
    const { WebSocket: Given, headers } = this.#settings;
    this.#limit();
    this.#dialed = url;
    let why: Failure = {};
    const socket: InnerSocket = Given
      ? // eslint-disable-next-line @typescript-eslint/consistent-type-assertions -- the option asks for a WebSocket class
        ((protocols === undefined ? new Given(url) : new Given(url, protocols)) as InnerSocket)
      : openSocket(url, [protocols ?? []].flat(), { headers });
    this.#socket = socket;
    this.#typeSocket();
    socket.onopen = () => this.#opened(socket);
    socket.onmessage = ({ data, origin = '' }) =>
      this.#tell('message', { data: this.#typed(data), origin });
    socket.onerror = (event) => {
      why = event;
      if (this.#state !== CONNECTING) this.#tellError(event);
    };
    socket.onclose = ({ code, reason, wasClean = code !== lost.code }) => {
      const wasOpen = this.#state !== CONNECTING;
      this.#ended({ code, reason, wasClean }, wasOpen ? undefined : why);
    };
  }

  #opened(socket: InnerSocket): void {
    this.#debug('is open');
    this.#state = OPEN;
    this.#after(this.#settings.minUptime, () => {
      this.#retries = 0;
    });
    for (const message of this.drainQueuedMessages()) {
      try {
        socket.send(message);
      } catch (thrown) {
        throwLater(this.#environment.clock, thrown);
      }
    }
    this.#tell('open');
  }

  /** The one end of every connection and every attempt. `why`: of an attempt that failed. */
  #ended(end: End, why?: Failure): void {
    const { maxRetries, untilOpen } = this.#settings;
    const event = eventOf('close', { wasClean: false, ...end });
    this.#debug(`closed, ${end.code} ${end.reason}`);
    this.#leave();
    const mayGoOn = this.#state === CONNECTING || (this.#state === OPEN && !untilOpen);
    const turn = this.#turn;
    this.#state = CONNECTING;
    const goesOn = mayGoOn && this.#retries < maxRetries && this.#wants(event);
    // Unless who was asked has closed it, or reconnected, by itself.
    if (turn === this.#turn) this.#settle(goesOn);
    if (goesOn && untilOpen) return;
    if (why) this.#tellError(why);
    // Closed by a listener just now: the event that tells so is the last one.
    if (this.readyState !== CLOSING) this.dispatchEvent(event);
  }

  #wants(event: CloseEvent): boolean {
    try {
      return this.#settings.shouldReconnectOnClose?.(event) ?? true;
    } catch (thrown) {
      throwLater(this.#environment.clock, thrown);
      return true;
    }
  }

  #settle(goesOn: boolean): void {
    if (!goesOn) {
      this.#state = CLOSED;
      this.#stopListening?.();
      this.#stopListening = undefined;
      return;
    }
    this.#isWaiting = true;
    const ms = delayBefore(++this.#retries, this.#environment.random(), this.#settings);
    this.#debug(`waits ${Math.round(ms)} ms`);
    this.#after(ms, () => this.#dial());
  }

  /** Whatever was going on: its timer is off, its socket is closed, and nothing of it is heard. */
  #leave(code?: number, reason?: string): void {
    this.#cancelTimer();
    this.#turn++;
    this.#isWaiting = false;
    if (this.#socket) abandon(this.#socket, code, reason);
  }

  #limit(): void {
    const { connectionTimeout } = this.#settings;
    this.#after(connectionTimeout, () => this.#ended(lost, new Error('TIMEOUT')));
  }

  /** There is one timer at a time. */
  #after(ms: number, run: () => void): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#environment.clock.after(Math.min(ms, LONGEST_TIMER), run);
  }

  #canSend(): boolean {
    return this.#state === OPEN && this.#socket?.readyState === OPEN;
  }

  #typeSocket(): void {
    try {
      if (this.#socket) this.#socket.binaryType = this.#binaryType;
    } catch {
      // React Native without blobs refuses them, and hands out array buffers.
    }
  }

  /** The socket of Node knows no blobs. */
  #typed(data: InnerData): InnerData {
    if (this.#binaryType !== 'blob' || typeof data !== 'object' || 'size' in data) return data;
    return typeof Blob === 'function' ? new Blob([data]) : data;
  }

  #tell(type: 'open' | 'message' | 'close' | 'error', fields?: Record<string, unknown>): void {
    this.dispatchEvent(eventOf(type, fields));
  }

  #tellError(why: Failure): void {
    const { message = '' } = why;
    const { error = why instanceof Error ? why : new Error(message) } = why;
    this.#tell('error', { message, error });
  }

  #debug(line: string): void {
    const { debug, debugLogger = (text) => this.#environment.log(`${text}`) } = this.#settings;
    if (debug) debugLogger(`ReconnectingWebSocket ${line}`);
  }
}

async function given<T>(provider: T | PromiseLike<T> | (() => T | PromiseLike<T>)): Promise<T> {
  return provider instanceof Function ? provider() : provider;
}

/** What a WebSocket accepts of its application. */
function check(code: number, reason: string): void {
  if (code !== 1000 && !(code >= 3000 && code < 5000)) {
    throw exception(
      `The close code is 1000, or from 3000 to 4999, not ${code}.`,
      'InvalidAccessError',
    );
  }
  if (sizeOf(reason) > 123) {
    throw exception('The reason of a close is 123 bytes long at most.', 'SyntaxError');
  }
}
