/** The one error class, its closed list of codes, and the tables that map a wire's refusals to them. */
import type { ErrorBody } from './frame.js';

/** What an error is about; it decides what the client does by itself. */
export type ErrorCategory =
  | 'connection'
  | 'authentication'
  | 'authorization'
  | 'validation'
  | 'rate-limit'
  | 'server'
  | 'protocol'
  | 'delivery'
  | 'storage'
  | 'application';

/** Every code of our own. A handler may answer with codes of the application's beside them. */
export type ErrorCode = keyof typeof codes;

/** Code → category, and whether trying again can help. */
const codes = {
  CONNECTION_FAILED: ['connection', true],
  HEARTBEAT_TIMEOUT: ['connection', true],
  TOKEN_EXPIRED: ['authentication', true],
  UNAUTHORIZED: ['authentication', false],
  TOO_MANY_CONNECTIONS: ['authorization', false],
  SUPERSEDED: ['authorization', false],
  FORBIDDEN: ['authorization', false],
  ROOM_NOT_FOUND: ['authorization', false],
  INVALID_PAYLOAD: ['validation', false],
  UNKNOWN_TYPE: ['validation', false],
  MESSAGE_TOO_LARGE: ['validation', false],
  RATE_LIMITED: ['rate-limit', true],
  SERVER_ERROR: ['server', false],
  PROTOCOL_ERROR: ['protocol', true],
  NOT_SENT: ['delivery', false],
  OUTCOME_UNKNOWN: ['delivery', false],
  STORAGE_FAILED: ['storage', true],
  LISTENER_FAILED: ['application', false],
} as const satisfies Record<string, readonly [ErrorCategory, boolean]>;

/** What a `HoldfastError` may be told beside its code and message. */
export interface ErrorFacts {
  retryable?: boolean | undefined;
  /** Milliseconds to wait before trying again. */
  retryAfter?: number | undefined;
  details?: Record<string, unknown> | undefined;
  cause?: unknown;
  /** The peer said it, in words of its own. @default false */
  isRemote?: boolean | undefined;
}

/**
 * Everything holdfast rejects with or reports. `code` is one of {@link ErrorCode}, or a code that the
 * application's own handler answered with (category `application`).
 *
 * Messages say what happened, to what, and what to do. They never hold a token, a payload or the
 * query of a URL.
 */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode | (string & {});
  readonly category: ErrorCategory;
  /** Trying again can help. On a response it also promises that nothing happened. */
  readonly retryable: boolean;
  readonly retryAfter: number | undefined;
  readonly details: Readonly<Record<string, unknown>>;
  /** The message is the peer's: a handler may have put anything into it. */
  readonly isRemote: boolean;

  constructor(code: ErrorCode | (string & {}), message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    const [category, retryable] = isErrorCode(code)
      ? codes[code]
      : (['application', false] as const);
    this.code = code;
    this.category = category;
    this.retryable = facts.retryable ?? retryable;
    this.retryAfter = facts.retryAfter;
    this.details = facts.details ?? {};
    this.isRemote = facts.isRemote ?? false;
  }

  /** An error as it came over the wire. */
  static from(body: ErrorBody): HoldfastError {
    const { code, message, retryable, retryAfter, details } = body;
    return new this(code, message, { retryable, retryAfter, details, isRemote: true });
  }
}

/** Whether a code is one of ours. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(codes, code);
}

/** WebSocket close codes that mean something of their own; any other is a lost connection. */
const closeCodes: Readonly<Record<number, ErrorCode>> = {
  1002: 'PROTOCOL_ERROR',
  1003: 'PROTOCOL_ERROR',
  1007: 'INVALID_PAYLOAD',
  1008: 'UNAUTHORIZED',
  1009: 'MESSAGE_TOO_LARGE',
  1013: 'RATE_LIMITED',
  4401: 'TOKEN_EXPIRED',
  4403: 'UNAUTHORIZED',
  4408: 'TOO_MANY_CONNECTIONS',
  4409: 'SUPERSEDED',
  4429: 'RATE_LIMITED',
};

/** The error a close code stands for. 1000 and 1001 that we did not ask for are lost connections too. */
export function closeFault(closeCode: number, reason: string): HoldfastError {
  const said = reason === '' ? '.' : `: ${reason}`;
  return new HoldfastError(
    closeCodes[closeCode] ?? 'CONNECTION_FAILED',
    `The connection was closed with ${closeCode}${said}`,
    { details: { closeCode } },
  );
}

/** What was answered in place of a WebSocket, where browsers hide all of it, or of frames. */
export interface HttpRefusal {
  readonly status: number;
  /** Milliseconds, from its `Retry-After`. */
  readonly retryAfter?: number | undefined;
  /** It came with HTML, a page for people. */
  readonly isPage: boolean;
}

/** HTTP statuses that mean something of their own; any other is a failed connection. */
const statusCodes: Readonly<Record<number, ErrorCode>> = {
  400: 'INVALID_PAYLOAD',
  401: 'TOKEN_EXPIRED',
  403: 'UNAUTHORIZED',
  404: 'ROOM_NOT_FOUND',
  413: 'MESSAGE_TOO_LARGE',
  422: 'INVALID_PAYLOAD',
  429: 'RATE_LIMITED',
  500: 'SERVER_ERROR',
};

/**
 * The error that a status stands for in place of a connection. No request and no room was refused with
 * it, so trying again can help, but for 403. A page for people is a portal's or a proxy's, which knows nothing of our
 * credentials: of its statuses 429 alone is believed.
 */
export function statusFault({ status, retryAfter, isPage }: HttpRefusal): HoldfastError {
  const said = isPage && status !== 429 ? undefined : statusCodes[status];
  const code = said ?? 'CONNECTION_FAILED';
  return new HoldfastError(
    code,
    `The server refused with HTTP status ${status}. Check the URL, and what answers there.`,
    { retryable: code !== 'UNAUTHORIZED', retryAfter, details: { status } },
  );
}

/** The close code a server refuses with, by error code; 1011 where there is none. */
export function closeCodeOf(code: string): number {
  // An own check first: an application's code may be called `constructor`.
  return (isErrorCode(code) && refusals[code]) || 1011;
}

const refusals: Readonly<Partial<Record<ErrorCode, number>>> = {
  PROTOCOL_ERROR: 1002,
  INVALID_PAYLOAD: 1007,
  MESSAGE_TOO_LARGE: 1009,
  TOKEN_EXPIRED: 4401,
  UNAUTHORIZED: 4403,
  TOO_MANY_CONNECTIONS: 4408,
  SUPERSEDED: 4409,
  RATE_LIMITED: 4429,
};

/**
 * Cuts a close reason to the 123 UTF-8 bytes that RFC 6455 §5.5 leaves for it, on a whole character:
 * a longer one makes `WebSocket.close` throw.
 */
export function closeReason(reason: string): string {
  let bytes = 0;
  let kept = '';
  for (const character of reason) {
    const point = character.codePointAt(0) ?? 0;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    if (bytes > 123) break;
    kept += character;
  }
  return kept;
}
