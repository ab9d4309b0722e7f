/** Every option of a hub, with its unit and default, and the checks that refuse a wrong one. */
import { checkKnown } from '../lib/known.js';
import type {
  AnyContract,
  Contract,
  EventInput,
  EventType,
  MessagePayload,
  MessageType,
  RequestPayload,
  RequestType,
  ResponseInput,
  StandardSchema,
} from '../protocol/contract.js';
import { defaultTerms, isReservedType } from '../protocol/frame.js';
import { type Environment, nodeEnvironment } from './environment.js';
import type { Journal } from './journal.js';
import { memoryJournal } from './memory-journal.js';
import type { WireRequest } from './wire.js';

export interface HubOptions<C extends Contract = AnyContract, U = string, A = unknown> {
  /** Schemas of requests, events and messages. @default none: every type, unvalidated */
  readonly contract?: C | undefined;
  /** Checks `auth` before `authenticate` sees it, and gives it its type. @default none: `unknown` */
  readonly credentials?: StandardSchema<unknown, A> | undefined;
  /**
   * Says who a client is. Throw `unauthorized()` or `tokenExpired()` to refuse; anything else that is
   * thrown makes the client try again. Bounded by `limits.helloTimeout`. Without it every client is a
   * user of its own, whose `user` is an opaque key.
   */
  readonly authenticate?:
    | ((input: AuthenticateInput<A>) => Authenticated<U> | PromiseLike<Authenticated<U>>)
    | undefined;
  /** The opaque, stable key of a user. @default the user itself where it is a string, else its `id` */
  readonly userKey?: ((user: U) => string) | undefined;
  /**
   * Whether a user may join, ask or send in a room. False, or a thrown `forbidden()`, refuses. Asked
   * for every join, also a resumed one, and for every request and message that names a room; never
   * for the user's own room. Bounded by `limits.helloTimeout`. @default everybody may do everything
   */
  readonly authorizeRoom?:
    | ((input: AuthorizeInput<U>) => boolean | PromiseLike<boolean>)
    | undefined;
  /** What answers each request type of the contract. */
  readonly handlers?: Handlers<C, U> | undefined;
  /** What hears each message type of the contract. */
  readonly onMessage?: MessageHandlers<C, U> | undefined;
  /** Where events and responses are kept. @default memoryJournal() */
  readonly journal?: Journal | undefined;
  readonly limits?: Partial<Limits> | undefined;
  /** When silence is asked about, and when it is death. @default 25_000 and 5_000 */
  readonly heartbeat?: { readonly interval?: number; readonly timeout?: number } | undefined;
  /**
   * Milliseconds over which clients that lost this server spread their next dials: about the number
   * of clients divided by the dials a second it can take. @default 0: clients use their backoff
   */
  readonly retrySpread?: number | undefined;
  /** Errors that no caller gets to see; `about` says where. @default console.error */
  readonly onError?: ((error: unknown, about: string) => void) | undefined;
  /** @default Node's clock, randomness and ids */
  readonly environment?: Environment | undefined;
}

export interface Limits {
  /** Bytes of one frame of a client. @default 1_048_576 */
  readonly maxMessageSize: number;
  /** Frames a second of one connection; two seconds' worth may come at once. @default 100 */
  readonly messagesPerSecond: number;
  /** Clients of one user at a time on this hub; a client that reconnects counts once. @default 5 */
  readonly connectionsPerUser: number;
  /** Rooms of one connection. @default 1_000 */
  readonly roomsPerConnection: number;
  /** Milliseconds for the first frame, and again for `authenticate` or `authorizeRoom`. @default 10_000 */
  readonly helloTimeout: number;
  /** Milliseconds for a handler; after it the outcome is unknown. @default 30_000 */
  readonly handlerTimeout: number;
  /**
   * Requests of one client that wait or run; above it RATE_LIMITED, and so where they are larger together
   * than eight times `maxMessageSize`. @default 256
   */
  readonly pendingRequests: number;
  /**
   * Bytes in a connection's buffer above which its events wait in the journal. Answers do not wait: above
   * eight times as much, and 8 MiB, the connection is cut. @default 1_048_576
   */
  readonly bufferedBytes: number;
  /**
   * Milliseconds for which that buffer may stay full without anything of it going out; then the
   * connection is closed with 1013, and its client comes back and goes on where it was. A slow one is
   * not closed. @default 30_000: as much as the heartbeat grants to silence
   */
  readonly stalledTimeout: number;
  /** Origins that browsers may connect from. @default any */
  readonly origins: readonly string[] | undefined;
}

export interface AuthenticateInput<A> {
  readonly auth: A;
  readonly request: WireRequest;
  readonly signal: AbortSignal;
}

/** `expiresIn`: milliseconds for which the credentials hold. @default for ever */
export interface Authenticated<U> {
  readonly user: U;
  readonly expiresIn?: number | undefined;
}

export type RoomAction = 'join' | 'request' | 'message';

export interface AuthorizeInput<U> {
  readonly user: U;
  readonly room: string;
  readonly action: RoomAction;
  /** The request's or message's type; undefined for a join. */
  readonly type: string | undefined;
  readonly signal: AbortSignal;
}

export interface ConnectionFacts {
  readonly id: string;
  /** "websocket", "memory", … */
  readonly transport: string;
}

/** What request and message handlers know about who asks. */
export interface CallContext<U> {
  readonly user: U;
  /** The room the frame named; `@me`, the user's own, where it named none. */
  readonly room: string;
  readonly connection: ConnectionFacts;
}

export interface RequestContext<C extends Contract, U> extends CallContext<U> {
  readonly requestId: string;
  /** Names this request of this client for ever: a key to make your own writes idempotent with. */
  readonly requestKey: string;
  /** Aborted when `handlerTimeout` has passed or the hub closes. */
  readonly signal: AbortSignal;
  /**
   * Publishes together with the response: in one journal write, and not at all if the handler fails.
   * @throws HoldfastError `INVALID_PAYLOAD`, `UNKNOWN_TYPE`
   */
  publish<T extends EventType<C>>(room: string, type: T, payload: EventInput<C, T>): void;
  /** The same for everybody who is this user; a string is the user's key. */
  publishToUser<T extends EventType<C>>(user: U | string, type: T, payload: EventInput<C, T>): void;
}

export type MessageContext<U> = CallContext<U>;

export type Handler<C extends Contract, U, T extends RequestType<C>> = (
  payload: RequestPayload<C, T>,
  context: RequestContext<C, U>,
) => ResponseInput<C, T> | PromiseLike<ResponseInput<C, T>>;

/**
 * A function, or one that says it may run again for the same request after its server died in the
 * middle: because it keeps `context.requestKey` in its own transaction.
 */
export type Handlers<C extends Contract, U> = {
  readonly [T in RequestType<C>]:
    | Handler<C, U, T>
    | { readonly run: Handler<C, U, T>; readonly rerunnable: boolean };
};

export type MessageHandlers<C extends Contract, U> = {
  readonly [T in MessageType<C>]?: (
    payload: MessagePayload<C, T>,
    context: MessageContext<U>,
  ) => void | PromiseLike<void>;
};

/** The options as the hub works with them: complete, checked, their types known at the door only. */
export interface Settings {
  readonly contract: Contract | undefined;
  readonly credentials: StandardSchema | undefined;
  readonly authenticate:
    | ((
        input: AuthenticateInput<unknown>,
      ) => Authenticated<unknown> | PromiseLike<Authenticated<unknown>>)
    | undefined;
  readonly userKey: (user: unknown) => string;
  readonly authorizeRoom:
    | ((input: AuthorizeInput<unknown>) => boolean | PromiseLike<boolean>)
    | undefined;
  readonly handlers: ReadonlyMap<string, ErasedHandler>;
  readonly onMessage: ReadonlyMap<string, ErasedMessageHandler>;
  readonly journal: Journal;
  readonly limits: Limits;
  readonly heartbeat: { readonly interval: number; readonly timeout: number };
  readonly retrySpread: number;
  readonly onError: (error: unknown, about: string) => void;
  readonly environment: Environment;
}

export interface ErasedHandler {
  readonly run: (payload: unknown, context: RequestContext<AnyContract, unknown>) => unknown;
  readonly rerunnable: boolean;
}

export type ErasedMessageHandler = (payload: unknown, context: MessageContext<unknown>) => unknown;

const defaultLimits: Limits = Object.freeze({
  maxMessageSize: defaultTerms.maxMessageSize,
  messagesPerSecond: defaultTerms.messagesPerSecond,
  connectionsPerUser: 5,
  roomsPerConnection: defaultTerms.maxRooms,
  helloTimeout: 10_000,
  handlerTimeout: 30_000,
  pendingRequests: 256,
  bufferedBytes: 1_048_576,
  stalledTimeout: 30_000,
  origins: undefined,
});

const optionNames: readonly (keyof HubOptions)[] = [
  'contract',
  'credentials',
  'authenticate',
  'userKey',
  'authorizeRoom',
  'handlers',
  'onMessage',
  'journal',
  'limits',
  'heartbeat',
  'retrySpread',
  'onError',
  'environment',
];

/** @throws TypeError, RangeError with the option's name, what it was, and what it may be. */
export function settle<C extends Contract, U, A>(given: HubOptions<C, U, A>): Settings {
  // Here the contract's types end: behind this line every payload and user is `unknown`, and what
  // the handlers get is what the contract let through.
  // eslint-disable-next-line @typescript-eslint/consistent-type-assertions -- the types end here
  const options = given as unknown as ErasedOptions;
  checkKnown('createHub', options, optionNames);
  checkKnown('heartbeat', options.heartbeat ?? {}, ['interval', 'timeout']);
  const settings: Settings = {
    contract: options.contract,
    credentials: options.credentials,
    authenticate: options.authenticate,
    userKey: checkedUserKey(options.userKey ?? defaultUserKey),
    authorizeRoom: options.authorizeRoom,
    handlers: handlerMap(options.handlers ?? {}),
    onMessage: new Map(Object.entries(options.onMessage ?? {})),
    journal: options.journal ?? memoryJournal(),
    limits: checkedLimits(options.limits ?? {}),
    heartbeat: {
      interval: positive('heartbeat.interval', options.heartbeat?.interval ?? 25_000),
      timeout: positive('heartbeat.timeout', options.heartbeat?.timeout ?? 5_000),
    },
    retrySpread: span('retrySpread', options.retrySpread ?? 0),
    onError: options.onError ?? printError,
    environment: options.environment ?? nodeEnvironment,
  };
  checkHandlers(settings);
  return settings;
}

interface ErasedOptions extends Omit<HubOptions<Contract, unknown>, 'handlers' | 'onMessage'> {
  readonly handlers?: Readonly<Record<string, ErasedHandler['run'] | ErasedHandler>> | undefined;
  readonly onMessage?: Readonly<Record<string, ErasedMessageHandler>> | undefined;
}

function handlerMap(
  handlers: Readonly<Record<string, ErasedHandler['run'] | ErasedHandler>>,
): Map<string, ErasedHandler> {
  return new Map(
    Object.entries(handlers).map(([type, handler]) => [
      type,
      typeof handler === 'function' ? { run: handler, rerunnable: false } : handler,
    ]),
  );
}

function checkHandlers({ contract, handlers, onMessage }: Settings): void {
  for (const type of [...handlers.keys(), ...onMessage.keys()]) {
    if (isReservedType(type)) throw new TypeError(`The type "${type}" is reserved.`);
  }
  if (contract === undefined) return;
  for (const type of Object.keys(contract.requests ?? {})) {
    if (handlers.has(type)) continue;
    throw new TypeError(`No handler for the request "${type}". Add handlers["${type}"].`);
  }
  for (const type of handlers.keys()) {
    if (Object.hasOwn(contract.requests ?? {}, type)) continue;
    throw new TypeError(`handlers["${type}"] answers no request of the contract.`);
  }
  for (const type of onMessage.keys()) {
    if (Object.hasOwn(contract.messages ?? {}, type)) continue;
    throw new TypeError(`onMessage["${type}"] hears no message of the contract.`);
  }
}

function checkedLimits(given: Partial<Limits>): Limits {
  checkKnown('limits', given, Object.keys(defaultLimits));
  const limit = (name: Exclude<keyof Limits, 'origins'>) =>
    positive(`limits.${name}`, given[name] ?? defaultLimits[name]);
  return {
    maxMessageSize: limit('maxMessageSize'),
    messagesPerSecond: limit('messagesPerSecond'),
    connectionsPerUser: limit('connectionsPerUser'),
    roomsPerConnection: limit('roomsPerConnection'),
    helloTimeout: limit('helloTimeout'),
    handlerTimeout: limit('handlerTimeout'),
    pendingRequests: limit('pendingRequests'),
    bufferedBytes: limit('bufferedBytes'),
    stalledTimeout: limit('stalledTimeout'),
    origins: given.origins,
  };
}

function positive(name: string, value: number): number {
  if (Number.isFinite(value) && value > 0) return value;
  throw new RangeError(`${name} must be a finite number above 0, not ${String(value)}.`);
}

/** @throws RangeError with the option's name, what it was, and what it may be. */
export function span(name: string, value: number): number {
  if (Number.isFinite(value) && value >= 0) return value;
  throw new RangeError(`${name} must be 0 or more milliseconds, and finite, not ${String(value)}.`);
}

function checkedUserKey(userKey: (user: unknown) => unknown): (user: unknown) => string {
  return (user) => {
    const key = userKey(user);
    if (typeof key === 'string' && key !== '') return key;
    throw new TypeError('userKey must return text of at least one character.');
  };
}

function defaultUserKey(user: unknown): string {
  if (typeof user === 'string' && user !== '') return user;
  if (typeof user === 'object' && user !== null && 'id' in user) {
    const { id } = user;
    if ((typeof id === 'string' && id !== '') || typeof id === 'number') return String(id);
  }
  throw new TypeError(
    'authenticate answered with a user that is neither a string nor has an `id`. Set the userKey option.',
  );
}

function printError(error: unknown, about: string): void {
  // eslint-disable-next-line no-console -- an error that nobody listens for must not vanish
  console.error(`holdfast: ${about}:`, error);
}
