/** The errors that application code throws on purpose, and how errors travel. */
import { closeCodeOf, type ErrorCode, type ErrorFacts, HoldfastError } from '../protocol/errors.js';
import type { ErrorBody } from '../protocol/frame.js';

/** What `failure` may be told beside its code and message. */
export type FailureFacts = Pick<ErrorFacts, 'retryable' | 'retryAfter' | 'details'>;

/**
 * An error that reaches the client as it is, with its message and details. Throw it from a handler,
 * from `authenticate` or from `authorizeRoom`. Anything else that is thrown there reaches the client
 * as `SERVER_ERROR` without its message.
 *
 * `retryable: true` promises that nothing happened: the client sends the request again.
 * @default retryable as the code's table says; false for codes of your own
 */
export function failure(
  code: ErrorCode | (string & {}),
  message: string,
  facts: FailureFacts = {},
): HoldfastError {
  const error = new HoldfastError(code, message, facts);
  deliberate.add(error);
  return error;
}

/** Throw it from `authenticate` when the credentials are wrong: the client closes. */
export function unauthorized(message = 'The credentials were refused.'): HoldfastError {
  return failure('UNAUTHORIZED', message);
}

/** Throw it from `authenticate` when the token is too old: the client fetches a fresh one, once. */
export function tokenExpired(message = 'The token has expired.'): HoldfastError {
  return failure('TOKEN_EXPIRED', message);
}

/** Throw it from a handler or `authorizeRoom`: this user may not do that. Never retried. */
export function forbidden(message = 'This is not allowed.'): HoldfastError {
  return failure('FORBIDDEN', message);
}

/** Throw it from a handler or `authorizeRoom`: there is no such room. Never retried. */
export function roomNotFound(message = 'There is no such room.'): HoldfastError {
  return failure('ROOM_NOT_FOUND', message);
}

/** Whether an error was made by `failure`, and so is meant for the client. */
export function isDeliberate(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError && deliberate.has(error);
}

export function errorBody(error: HoldfastError): ErrorBody {
  const body: ErrorBody = {
    code: error.code,
    message: error.message,
    retryable: error.retryable,
  };
  if (error.retryAfter !== undefined) body.retryAfter = error.retryAfter;
  if (Object.keys(error.details).length > 0) body.details = { ...error.details };
  return body;
}

/** The close code that refuses a connection. What cannot get better by trying again closes the client. */
export function refusalCode(error: HoldfastError): number {
  const code = closeCodeOf(error.code);
  if (code !== 1011 || error.retryable || error.category === 'server') return code;
  return closeCodeOf('UNAUTHORIZED');
}

// A mark beside the class: an error of ours that a handler merely let through is not for the client.
const deliberate = new WeakSet<HoldfastError>();
