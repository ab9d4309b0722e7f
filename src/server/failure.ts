/** The errors that application code throws on purpose, and how errors travel. */
import * as z from 'zod';
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
  const { retryAfter } = error;
  if (retryAfter !== undefined && Number.isFinite(retryAfter)) {
    body.retryAfter = Math.max(0, retryAfter);
  }
  const details = detailsOf(error);
  if (details !== undefined) body.details = details;
  return body;
}

/** What JSON makes of them; undefined where it can make nothing: the error itself still counts. */
function detailsOf({ details }: HoldfastError): Record<string, unknown> | undefined {
  try {
    if (Object.keys(details).length === 0) return undefined;
    const parsed = anyObject.safeParse(JSON.parse(JSON.stringify(details)));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** The close code that refuses a connection. What cannot get better by trying again closes the client. */
export function refusalCode(error: HoldfastError): number {
  const code = closeCodeOf(error.code);
  if (code !== 1011 || error.retryable || error.category === 'server') return code;
  return closeCodeOf('UNAUTHORIZED');
}

// A mark beside the class: an error of ours that a handler merely let through is not for the client.
const deliberate = new WeakSet<HoldfastError>();

const anyObject = z.record(z.string(), z.unknown());
