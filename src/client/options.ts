/** Every option of a client: its unit, its default with the reason, and its check. */
import type { Heartbeat } from '../machine/liveness.js';
import type { CredentialReason, GapReason } from '../machine/order.js';
import type { Contract } from '../protocol/contract.js';
import { HoldfastError } from '../protocol/errors.js';
import type { Dialect } from './dialect.js';
import type { Environment } from './environment.js';
import type { ClientStorage } from './storage.js';
import type { Transport } from './transport.js';

/** What a client is made of. Durations are milliseconds, sizes bytes of an encoded frame. */
export interface ClientOptions<C extends Contract> {
  /** The wire: `webSocket(url)`, or one of your own. */
  transport: Transport;
  /** For a server that does not speak holdfast/1: `plain({ … })`. @default holdfast/1 */
  protocol?: Dialect;
  /** Types and checks requests, events and messages. Without one nothing is checked. */
  contract?: C;
  /**
   * Gives the credentials for an attempt. Called before every one of them, one call at a time.
   * `reason: "expired"` asks for fresh ones: the last were refused or are about to run out. Return
   * `null` to sign out. A throw is a failed attempt, tried again with backoff; throw a
   * `HoldfastError` with code `UNAUTHORIZED` to close instead.
   */
  auth?: (about: { reason: CredentialReason; signal: AbortSignal }) => unknown;
  /** How long `auth` may take. @default 10_000: longer than a slow token endpoint, shorter than patience. */
  authTimeout?: number;
  reconnect?: Partial<ReconnectOptions>;
  /**
   * Overrules what an error's category says: `false` closes, `true` tries again, `{ delay }` after so
   * many ms. `undefined` leaves the decision.
   */
  shouldReconnect?: (error: HoldfastError) => boolean | { delay: number } | undefined;
  /** When to ask whether the server is there; a server's terms win. `false`: never. */
  heartbeat?: Partial<Heartbeat> | false;
  outbox?: Partial<OutboxOptions>;
  inbox?: Partial<InboxOptions>;
  limits?: Partial<LimitOptions>;
  /**
   * Fetches a room's state after its history was lost; `@me`, the user's own room, is one too. Events
   * of the room wait meanwhile. Return the eventId of that room which the state is current to, and
   * events up to it are skipped; return nothing where there is none. Runs again with backoff when it
   * throws or takes longer than 30 s. Without it a gap is reported as an error.
   */
  onGap?: (gap: GapNotice) => unknown;
  /** Puts a page's connection aside when it was hidden for so long and no request waits. @default false */
  pauseWhenHidden?: { afterMs: number } | false;
  /** Replaces parts of the platform: clock, random, ids, lifecycle. */
  environment?: Partial<Environment>;
}

export interface ReconnectOptions {
  /** The ceiling of the first wait. @default 750: a server that blinks is found again within a second */
  initialDelay: number;
  /**
   * No wait is longer, but for a number as `jitter`. @default 8_000: with the other two from the storm
   * simulation (`npm run bench -- --only storm`), where 10,000 clients that lost a server return gently
   * (under 3,000 attempts in the worst second, 4.3 each) and one alone is back soon: 0.6 s after an
   * outage of 2 s, 1.8 s after one of 5 s, 2.4 s after one of 12 s, in the median; at worst 8 s
   */
  maxDelay: number;
  /** Growth of the ceiling. @default 2.85: see maxDelay */
  factor: number;
  /**
   * `"full"`: anywhere from 45 % of the ceiling up to it; a number: so many ms at most on top of
   * it. Comes after the cap. @default "full": the gentlest on a server that returns
   */
  jitter: 'full' | 'none' | number;
  /** Retries since the last stable connection before the client closes. @default Infinity */
  maxAttempts: number;
  /** How long a connection must hold before the backoff starts over. @default 10_000 */
  stableAfter: number;
  /** How long a dial and its `welcome` may take together. @default 15_000 */
  connectTimeout: number;
  /** Gives up after a first attempt that failed. @default false: the first is retried like any other */
  failFast: boolean;
}

export interface OutboxOptions {
  /** Requests without a response and messages not yet written. @default 1_000 */
  maxMessages: number;
  /** The same, in bytes. @default 1_048_576 */
  maxBytes: number;
  /** Who gives way when it is full; what is dropped rejects its promise. @default "reject" */
  overflow: 'reject' | 'drop-oldest' | 'drop-newest';
  /** How long a request may wait for its first write. @default Infinity */
  ttl: number;
  /** Requests on the wire at a time. @default 64 */
  maxInFlight: number;
  /**
   * Where requests and cursors outlive a reload or a crash: `indexedDbStorage()`, `sqliteStorage()`.
   * A request is durable before it counts as queued. @default none: they live as long as the client
   */
  storage?: ClientStorage | undefined;
}

export interface InboxOptions {
  /** eventIds remembered to drop duplicates, where events carry no `seq`. @default 10_000 */
  dedupWindow: number;
  /** Events held while `onGap` runs; with more of them it runs again. @default 10_000 */
  maxHeld: number;
}

export interface LimitOptions {
  /** A larger frame is rejected before it is sent; a server's smaller limit wins. @default 1_048_576 */
  maxMessageSize: number;
  /** Sends above it wait their turn; a server's smaller limit wins. @default 100 */
  messagesPerSecond: number;
}

/** A room whose history is gone. */
export interface GapNotice {
  room: string;
  /** The last event that was delivered before the gap. */
  cursor: string | null;
  reason: GapReason;
  /** Aborts when it takes too long, or nobody wants it any more. */
  signal: AbortSignal;
}

/** The defaults of every option that has one. */
export const defaults = Object.freeze({
  authTimeout: 10_000,
  reconnect: Object.freeze<ReconnectOptions>({
    initialDelay: 750,
    maxDelay: 8_000,
    factor: 2.85,
    jitter: 'full',
    maxAttempts: Number.POSITIVE_INFINITY,
    stableAfter: 10_000,
    connectTimeout: 15_000,
    failFast: false,
  }),
  heartbeat: Object.freeze<Heartbeat>({ interval: 25_000, timeout: 5_000 }),
  outbox: Object.freeze<OutboxOptions>({
    maxMessages: 1_000,
    maxBytes: 1_048_576,
    overflow: 'reject',
    ttl: Number.POSITIVE_INFINITY,
    maxInFlight: 64,
    storage: undefined,
  }),
  inbox: Object.freeze<InboxOptions>({ dedupWindow: 10_000, maxHeld: 10_000 }),
  limits: Object.freeze<LimitOptions>({ maxMessageSize: 1_048_576, messagesPerSecond: 100 }),
});

/** How long a request may wait for its response, once written. @default 30_000 */
export const REQUEST_TIMEOUT = 30_000;

export interface CheckedOptions {
  authTimeout: number;
  reconnect: ReconnectOptions;
  heartbeat: Heartbeat | null;
  outbox: OutboxOptions;
  inbox: InboxOptions;
  limits: LimitOptions;
  pauseAfter: number | null;
}

/**
 * Fills in the defaults.
 * @throws HoldfastError `INVALID_PAYLOAD` that names the option, what it is and what it may be.
 */
export function checkOptions<C extends Contract>(options: ClientOptions<C>): CheckedOptions {
  checkKeys('', options, known);
  if (typeof options.transport?.dial !== 'function') {
    throw bad('transport', options.transport, 'a transport, such as webSocket(url)');
  }
  const checked: CheckedOptions = {
    authTimeout: options.authTimeout ?? defaults.authTimeout,
    reconnect: merged(defaults.reconnect, options.reconnect),
    heartbeat: options.heartbeat === false ? null : { ...defaults.heartbeat, ...options.heartbeat },
    outbox: merged(defaults.outbox, options.outbox),
    inbox: merged(defaults.inbox, options.inbox),
    limits: merged(defaults.limits, options.limits),
    pauseAfter: options.pauseWhenHidden ? options.pauseWhenHidden.afterMs : null,
  };
  const { jitter } = checked.reconnect;
  if (typeof jitter === 'number') checkNumber('reconnect.jitter', jitter, 0);
  else checkChoice('reconnect.jitter', jitter, ['full', 'none', 'a number']);
  checkChoice('outbox.overflow', checked.outbox.overflow, ['reject', 'drop-oldest', 'drop-newest']);
  checkNumber('authTimeout', checked.authTimeout, 1);
  if (checked.pauseAfter !== null) checkNumber('pauseWhenHidden.afterMs', checked.pauseAfter, 0);
  const { storage } = checked.outbox;
  if (storage !== undefined && typeof storage.ledger !== 'function') {
    throw bad('outbox.storage', storage, 'a storage, such as indexedDbStorage()');
  }
  for (const group of ['reconnect', 'heartbeat', 'outbox', 'inbox', 'limits'] as const) {
    checkKeys(`${group}.`, checked[group] ?? {}, Object.keys(defaults[group]));
    for (const [name, value] of Object.entries(checked[group] ?? {})) {
      if (unmeasured.includes(name)) continue;
      checkNumber(`${group}.${name}`, value, name === 'maxAttempts' || name === 'ttl' ? 0 : 1);
    }
  }
  return checked;
}

/**
 * The wire, for the language of the server.
 * @throws HoldfastError `INVALID_PAYLOAD` where this wire carries holdfast/1 alone
 */
export function spoken({
  transport,
  protocol,
}: {
  transport: Transport;
  protocol?: Dialect | undefined;
}): Transport {
  if (protocol === undefined) return transport;
  if (typeof protocol.begin !== 'function')
    throw bad('protocol', protocol, 'a dialect, such as plain({ decode })');
  const spoken = transport.speak?.(protocol);
  if (spoken !== undefined) return spoken;
  throw new HoldfastError(
    'INVALID_PAYLOAD',
    `The transport "${transport.name}" speaks holdfast/1 alone, not ${protocol.name}. Leave the option protocol out, or take another transport.`,
  );
}

/** A group that nobody set is the default itself: a process with many clients has it once. */
function merged<T extends object>(group: T, given: Partial<T> | undefined): T {
  return given === undefined ? group : { ...group, ...given };
}

/** @throws HoldfastError `INVALID_PAYLOAD`; NaN is no number here, since no deadline follows from it. */
export function checkNumber(name: string, value: unknown, least: number): void {
  if (typeof value === 'number' && value >= least) return;
  throw bad(name, value, `a number from ${least} on`);
}

/** @throws HoldfastError `INVALID_PAYLOAD` */
export function checkChoice(name: string, value: unknown, choices: readonly string[]): void {
  if (choices.some((choice) => choice === value)) return;
  throw bad(name, value, `one of ${choices.join(', ')}`);
}

/** A misspelt option would be one that is silently not there. */
function checkKeys(group: string, given: object, names: readonly string[]): void {
  for (const name of Object.keys(given)) {
    if (names.includes(name)) continue;
    throw new HoldfastError(
      'INVALID_PAYLOAD',
      `There is no option ${group}${name}. There are: ${names.join(', ')}.`,
    );
  }
}

/** Options of groups that are no numbers. */
const unmeasured = ['jitter', 'overflow', 'failFast', 'storage'];

const known = [
  ...Object.keys(defaults),
  'transport',
  'protocol',
  'contract',
  'auth',
  'shouldReconnect',
  'onGap',
  'pauseWhenHidden',
  'environment',
];

function bad(name: string, value: unknown, wanted: string): HoldfastError {
  const shown = typeof value === 'object' ? typeof value : String(value);
  return new HoldfastError(
    'INVALID_PAYLOAD',
    `The option ${name} is ${shown}. It must be ${wanted}.`,
  );
}
