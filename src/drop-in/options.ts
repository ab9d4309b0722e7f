/** What a ReconnectingWebSocket can be told, under the names that others have given it. */
import type { Environment } from '../client/environment.js';
import { backoff } from '../machine/backoff.js';

type Given<T> = T | PromiseLike<T> | (() => T | PromiseLike<T>);

/** A function is asked before each attempt. */
export type UrlProvider = Given<string | URL>;

/** A function is asked before each attempt. */
export type ProtocolsProvider = Given<string | string[] | null | undefined>;

/** Durations are milliseconds. Names that are not here are ignored. */
export interface ReconnectingWebSocketOptions {
  /** The shortest wait between attempts. @default 1_000 to 5_000, drawn for each socket: a herd spreads */
  minReconnectionDelay?: number;
  /** The longest. @default 10_000 */
  maxReconnectionDelay?: number;
  /** How much each wait may be longer than the last one; by as much it is left to chance. @default 1.3 */
  reconnectionDelayGrowFactor?: number;
  /** How long it must stay open for its retries to be forgotten. @default 5_000 */
  minUptime?: number;
  /**
   * The longest that an attempt may take, and `url` and `protocols` before it, and the close
   * handshake. @default 4_000
   */
  connectionTimeout?: number;
  /** Attempts after the first, until one stays open for `minUptime`. @default Infinity */
  maxRetries?: number;
  /** Messages that are kept while there is no connection; further ones are dropped. @default Infinity */
  maxEnqueuedMessages?: number;
  /** Waits for `reconnect()`. @default false */
  startClosed?: boolean;
  /**
   * Whether to go on, asked after every connection that is lost and every attempt that fails.
   * @default always
   */
  shouldReconnectOnClose?: (event: CloseEvent) => boolean;
  /**
   * Retries until it is open, and tells nothing of attempts that fail; once open it is an ordinary
   * WebSocket, whose close is final. For libraries that make a new WebSocket after each close.
   * @default false
   */
  untilOpen?: boolean;
  /**
   * The class to dial with. @default the platform's WebSocket; in Node that of `ws`
   */
  WebSocket?: new (
    url: string,
    protocols?: string | string[],
  ) => object;
  /** Headers of the handshake. Node only, and without `WebSocket`. */
  headers?: Readonly<Record<string, string>>;
  /** Prints what it does. @default false */
  debug?: boolean;
  /** Prints it elsewhere. @default the console */
  debugLogger?: (...args: unknown[]) => void;
  /** Replaces clock, chance and lifecycle signals, or some of them: for tests, or React Native. */
  environment?: Partial<Environment>;
}

type Defaulted =
  | 'minReconnectionDelay'
  | 'maxReconnectionDelay'
  | 'reconnectionDelayGrowFactor'
  | 'minUptime'
  | 'connectionTimeout'
  | 'maxRetries'
  | 'maxEnqueuedMessages';

export type Settings = Omit<ReconnectingWebSocketOptions, Defaulted> &
  Required<Pick<ReconnectingWebSocketOptions, Defaulted>>;

/** `roll` in [0, 1). An option that is undefined is one that was not given. */
export function settle(options: ReconnectingWebSocketOptions, roll: number): Settings {
  const {
    minReconnectionDelay = 1_000 + 4_000 * roll,
    maxReconnectionDelay = 10_000,
    reconnectionDelayGrowFactor = 1.3,
    minUptime = 5_000,
    connectionTimeout = 4_000,
    maxRetries = Number.POSITIVE_INFINITY,
    maxEnqueuedMessages = Number.POSITIVE_INFINITY,
  } = options;
  return {
    ...options,
    minReconnectionDelay,
    maxReconnectionDelay,
    reconnectionDelayGrowFactor,
    minUptime,
    connectionTimeout,
    maxRetries,
    maxEnqueuedMessages,
  };
}

/**
 * Before retry number `retry` (1 is the first). Chance comes after the cap, so that those who reached
 * it do not march in step, and keeps within both delays: it takes back at most one step of growth.
 */
export function delayBefore(retry: number, roll: number, settings: Settings): number {
  const { minReconnectionDelay: least, maxReconnectionDelay: most } = settings;
  const factor = settings.reconnectionDelayGrowFactor;
  const limits = { initialDelay: least, maxDelay: most, factor, jitter: 'none' as const };
  const ceiling = backoff(retry + 1, 0, limits);
  return Math.max(Math.min(least, most), ceiling * factor ** -roll);
}
