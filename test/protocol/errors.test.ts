/** Codes, categories, close codes and reasons: the tables of the protocol, row by row. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  closeCodeOf,
  closeFault,
  closeReason,
  HoldfastError,
  isErrorCode,
} from '../../src/protocol/errors.js';

const rows = [
  ['CONNECTION_FAILED', 'connection', true],
  ['HEARTBEAT_TIMEOUT', 'connection', true],
  ['TOKEN_EXPIRED', 'authentication', true],
  ['UNAUTHORIZED', 'authentication', false],
  ['TOO_MANY_CONNECTIONS', 'authorization', false],
  ['SUPERSEDED', 'authorization', false],
  ['FORBIDDEN', 'authorization', false],
  ['ROOM_NOT_FOUND', 'authorization', false],
  ['INVALID_PAYLOAD', 'validation', false],
  ['UNKNOWN_TYPE', 'validation', false],
  ['MESSAGE_TOO_LARGE', 'validation', false],
  ['RATE_LIMITED', 'rate-limit', true],
  ['SERVER_ERROR', 'server', false],
  ['PROTOCOL_ERROR', 'protocol', true],
  ['NOT_SENT', 'delivery', false],
  ['OUTCOME_UNKNOWN', 'delivery', false],
] as const;

describe('an error', () => {
  test.each(rows)('%s is of category %s, retryable: %s', (code, category, retryable) => {
    const error = new HoldfastError(code, 'What happened.');
    expect(error).toMatchObject({ code, category, retryable, details: {} });
    expect(error.retryAfter).toBeUndefined();
    expect(isErrorCode(code)).toBe(true);
  });

  test('with a code of the application is of its category and not retryable', () => {
    for (const code of ['OUT_OF_STOCK', 'constructor', '__proto__', '']) {
      expect(new HoldfastError(code, 'Sold out.')).toMatchObject({
        code,
        category: 'application',
        retryable: false,
      });
      expect(isErrorCode(code)).toBe(false);
    }
  });

  test('is an Error with a name, its message and its cause', () => {
    const cause = new Error('ECONNREFUSED');
    const error = new HoldfastError('CONNECTION_FAILED', 'No answer from the server.', { cause });
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).toBe('HoldfastError: No answer from the server.');
    expect(error.cause).toBe(cause);
    expect('cause' in new HoldfastError('NOT_SENT', 'Nothing behind it.')).toBe(false);
  });

  test('takes what the thrower knows better than the table', () => {
    const error = new HoldfastError('SERVER_ERROR', 'Busy.', {
      retryable: true,
      retryAfter: 500,
      details: { queue: 3 },
    });
    expect(error).toMatchObject({ retryable: true, retryAfter: 500, details: { queue: 3 } });
    expect(new HoldfastError('RATE_LIMITED', 'Slow.', { retryable: false }).retryable).toBe(false);
  });
});

describe('HoldfastError.from', () => {
  test('keeps everything an error carries over the wire', () => {
    const error = HoldfastError.from({
      code: 'RATE_LIMITED',
      message: 'Two a second, please.',
      retryable: true,
      retryAfter: 250,
      details: { limit: 2 },
    });
    expect(error).toMatchObject({
      code: 'RATE_LIMITED',
      category: 'rate-limit',
      message: 'Two a second, please.',
      retryable: true,
      retryAfter: 250,
      details: { limit: 2 },
    });
  });

  test('falls back on the table where the peer says nothing', () => {
    expect(HoldfastError.from({ code: 'TOKEN_EXPIRED', message: '' }).retryable).toBe(true);
    expect(HoldfastError.from({ code: 'SERVER_ERROR', message: '' }).retryable).toBe(false);
  });

  test('ignores unknown keys, also those that an error has', () => {
    const body = { code: 'FORBIDDEN', message: 'No.', cause: 'x', category: 'server', stack: 'y' };
    const error = HoldfastError.from(body);
    expect('cause' in error).toBe(false);
    expect(error.category).toBe('authorization');
    expect(error.stack).not.toBe('y');
  });
});

describe('a close code', () => {
  test.each([
    [1000, 'CONNECTION_FAILED', 'connection', true],
    [1001, 'CONNECTION_FAILED', 'connection', true],
    [1005, 'CONNECTION_FAILED', 'connection', true],
    [1006, 'CONNECTION_FAILED', 'connection', true],
    [1011, 'CONNECTION_FAILED', 'connection', true],
    [1012, 'CONNECTION_FAILED', 'connection', true],
    [1002, 'PROTOCOL_ERROR', 'protocol', true],
    [1003, 'PROTOCOL_ERROR', 'protocol', true],
    [1007, 'INVALID_PAYLOAD', 'validation', false],
    [1008, 'UNAUTHORIZED', 'authentication', false],
    [1009, 'MESSAGE_TOO_LARGE', 'validation', false],
    [1013, 'RATE_LIMITED', 'rate-limit', true],
    [4401, 'TOKEN_EXPIRED', 'authentication', true],
    [4403, 'UNAUTHORIZED', 'authentication', false],
    [4408, 'TOO_MANY_CONNECTIONS', 'authorization', false],
    [4409, 'SUPERSEDED', 'authorization', false],
    [4429, 'RATE_LIMITED', 'rate-limit', true],
  ] as const)('%i stands for %s', (closeCode, code, category, retryable) => {
    expect(closeFault(closeCode, '')).toMatchObject({
      code,
      category,
      retryable,
      details: { closeCode },
    });
  });

  test('that is in no table is a lost connection', () => {
    for (const closeCode of [0, 1004, 1010, 1014, 1015, 3000, 4000, 4400, 4999, Number.NaN]) {
      expect(closeFault(closeCode, '').code).toBe('CONNECTION_FAILED');
    }
  });

  test('is named in the message, with the reason the peer gave', () => {
    expect(closeFault(1006, '').message).toBe('The connection was closed with 1006.');
    expect(closeFault(4403, 'banned').message).toBe('The connection was closed with 4403: banned');
  });

  test.each([
    ['PROTOCOL_ERROR', 1002],
    ['INVALID_PAYLOAD', 1007],
    ['MESSAGE_TOO_LARGE', 1009],
    ['TOKEN_EXPIRED', 4401],
    ['UNAUTHORIZED', 4403],
    ['TOO_MANY_CONNECTIONS', 4408],
    ['SUPERSEDED', 4409],
    ['RATE_LIMITED', 4429],
  ])('for %s is %i, and reads back as the same code', (code, closeCode) => {
    expect(closeCodeOf(code)).toBe(closeCode);
    expect(closeFault(closeCode, '').code).toBe(code);
  });

  test.each(['SERVER_ERROR', 'FORBIDDEN', 'OUT_OF_STOCK', 'constructor', '__proto__', 'toString'])(
    'for %s is 1011',
    (code) => {
      expect(closeCodeOf(code)).toBe(1011);
    },
  );
});

describe('closeReason', () => {
  test.each([
    ['a short one', 'bye', 'bye'],
    ['123 bytes', 'a'.repeat(123), 'a'.repeat(123)],
    ['124 bytes', 'a'.repeat(124), 'a'.repeat(123)],
    ['two-byte characters', 'é'.repeat(70), 'é'.repeat(61)],
    ['three-byte characters', '漢'.repeat(70), '漢'.repeat(41)],
    ['four-byte characters', '😀'.repeat(40), '😀'.repeat(30)],
    ['a character across the limit', `${'a'.repeat(122)}é`, 'a'.repeat(122)],
    ['a short character after the limit', `${'a'.repeat(121)}😀a`, 'a'.repeat(121)],
  ])('keeps what fits of %s', (_what, reason, kept) => {
    expect(closeReason(reason)).toBe(kept);
  });

  test('never exceeds 123 bytes, never splits a character, never cuts what fits', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (reason) => {
        const kept = closeReason(reason);
        expect(Buffer.byteLength(kept)).toBeLessThanOrEqual(123);
        expect(reason.startsWith(kept)).toBe(true);
        expect(kept).not.toMatch(/\p{Surrogate}/u);
        const next = [...reason.slice(kept.length)][0];
        if (next !== undefined) expect(Buffer.byteLength(kept + next)).toBeGreaterThan(123);
      }),
    );
  });
});
