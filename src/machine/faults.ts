/** The machine's own errors, and what any fault means for the connection. */
import { HoldfastError } from '../protocol/errors.js';
import { STORAGE_TIMEOUT } from './step.js';

/** A refusal that another attempt cannot change: close, and say which. */
export function isPermanent(fault: HoldfastError): boolean {
  return !fault.retryable && /^auth|^proto/.test(fault.category);
}

/** The server went, or cannot be reached: what a whole herd sees at once. */
export function isHerdLoss(fault: HoldfastError): boolean {
  return fault.code === 'CONNECTION_FAILED';
}

/** The link was closed for a frame that it carried. */
export function isAccusation(fault: HoldfastError): boolean {
  // A refused upgrade has a status: no frame was ever sent.
  if (fault.details.status !== undefined) return false;
  return fault.code === 'INVALID_PAYLOAD' || fault.code === 'MESSAGE_TOO_LARGE';
}

export function noWelcome(timeout: number): HoldfastError {
  return new HoldfastError(
    'CONNECTION_FAILED',
    `The server did not welcome us within ${timeout} ms. Check that the URL is a holdfast server's (another kind needs plain() or ordinary()), or raise reconnect.connectTimeout.`,
  );
}

export function noCredentials(timeout: number): HoldfastError {
  return new HoldfastError(
    'CONNECTION_FAILED',
    `auth gave no credentials within ${timeout} ms. Make it faster, or raise authTimeout.`,
  );
}

export function noHeartbeat(): HoldfastError {
  return new HoldfastError('HEARTBEAT_TIMEOUT', 'The server did not answer a heartbeat in time.');
}

export function turnedAway(reason: string, retryAfter: number): HoldfastError {
  return new HoldfastError('CONNECTION_FAILED', `The server is leaving: ${reason}`, { retryAfter });
}

export function refusedTwice(): HoldfastError {
  return new HoldfastError(
    'TOKEN_EXPIRED',
    'auth gave the same credentials again after they were refused. Fetch fresh ones when its reason is "expired".',
    { retryable: false },
  );
}

export function noFreshCredentials(): HoldfastError {
  return new HoldfastError(
    'TOKEN_EXPIRED',
    'The server refused a request for its credentials, and there is no auth to fetch others. Pass auth to createClient.',
    { retryable: false },
  );
}

export function notConnected(why: string): HoldfastError {
  return new HoldfastError('CONNECTION_FAILED', `Not connected: ${why}.`, { retryable: false });
}

export function closedForGood(): HoldfastError {
  return notConnected('close() was called, which is final. Create another client');
}

export function storageOverdue(what: 'open' | 'write'): HoldfastError {
  return new HoldfastError(
    'STORAGE_FAILED',
    `The storage did not ${what} within ${STORAGE_TIMEOUT} ms. What is asked meanwhile is kept in memory.`,
  );
}
