/** What any fault means for the connection. */
import { describe, expect, test } from 'vitest';
import { isAccusation, isHerdLoss, isPermanent } from '../../src/machine/faults.js';
import { HoldfastError } from '../../src/protocol/errors.js';
import { failed } from './play.js';

describe('a fault', () => {
  test.each([
    ['CONNECTION_FAILED', ['herd loss']],
    ['HEARTBEAT_TIMEOUT', []],
    ['TOKEN_EXPIRED', []],
    ['UNAUTHORIZED', ['permanent']],
    ['TOO_MANY_CONNECTIONS', ['permanent']],
    ['SUPERSEDED', ['permanent']],
    ['FORBIDDEN', ['permanent']],
    ['PROTOCOL_ERROR', []],
    ['INVALID_PAYLOAD', ['accusation']],
    ['MESSAGE_TOO_LARGE', ['accusation']],
    ['RATE_LIMITED', []],
    ['SERVER_ERROR', []],
    ['OUT_OF_STOCK', []],
  ])('%s is %j by its code', (code, means) => {
    expect(meaningOf(failed(code))).toEqual(means);
  });

  test.each([
    ['PROTOCOL_ERROR', false, ['permanent']],
    ['TOKEN_EXPIRED', false, ['permanent']],
    ['UNAUTHORIZED', true, []],
    ['RATE_LIMITED', false, []],
    ['CONNECTION_FAILED', false, ['herd loss']],
  ])('%s with retryable %s is %j', (code, retryable, means) => {
    expect(meaningOf(failed(code, { retryable }))).toEqual(means);
  });
});

test.each(['INVALID_PAYLOAD', 'MESSAGE_TOO_LARGE'])(
  '%s with an HTTP status accuses no frame: none was ever sent',
  (code) => {
    expect(isAccusation(new HoldfastError(code, 'no', { details: { status: 413 } }))).toBe(false);
  },
);

function meaningOf(fault: HoldfastError): string[] {
  const words = [];
  if (isPermanent(fault)) words.push('permanent');
  if (isAccusation(fault)) words.push('accusation');
  if (isHerdLoss(fault)) words.push('herd loss');
  return words;
}
