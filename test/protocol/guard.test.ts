/** The hand-written guard against the same frames written in zod. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { serverFrame as guard } from '../../src/protocol/guard.js';
import { serverFrame as schema } from '../../src/protocol/schema.js';
import { damagedFrame, validFrame } from './frames.js';

const runs = { numRuns: 3_000 };

describe('the guard and the schema', () => {
  test('both take every valid frame, and the guard gives back the very object', () => {
    fc.assert(
      fc.property(validFrame, (frame) => {
        expect(guard(frame)).toBe(frame);
        expect(schema.safeParse(frame).error).toBeUndefined();
      }),
      runs,
    );
  });

  test('agree on frames with keys dropped, retyped and added', () => {
    let taken = 0;
    fc.assert(
      fc.property(damagedFrame, (frame) => {
        agree(frame);
        if (guard(frame) === frame) taken++;
      }),
      runs,
    );
    // Both halves are met often enough to mean something.
    expect(taken).toBeGreaterThan(runs.numRuns / 10);
    expect(taken).toBeLessThan(runs.numRuns * 0.9);
  });

  test('agree on a valid frame with one unknown key', () => {
    fc.assert(
      fc.property(validFrame, fc.jsonValue(), (frame, value) => {
        const wider = { ...frame, somethingNew: value };
        expect(guard(wider)).toBe(wider);
        expect(schema.safeParse(wider).success).toBe(true);
      }),
    );
  });

  test('agree on arbitrary values', () => {
    fc.assert(fc.property(fc.oneof(fc.jsonValue(), fc.anything()), agree), runs);
  });

  test.each([
    ['an array', []],
    ['an array with a kind', Object.assign([], { kind: 'ping' })],
    ['null', null],
    ['text', 'ping'],
    ['a kind in an array', { kind: ['ping'] }],
    ['a kind that is an object nobody can print', { kind: { toString: 1, valueOf: 2 } }],
    ['a kind from Object.prototype', { kind: 'constructor' }],
    ['a kind from a prototype key', JSON.parse('{"__proto__": {"kind": "ping"}}')],
    ['an unknown kind', { kind: 'hello' }],
    ['an event without a type', event({ type: undefined })],
    ['an event with an empty id', event({ eventId: '' })],
    ['an event with a timestamp in words', event({ timestamp: 'now' })],
    ['an event at NaN', event({ timestamp: Number.NaN })],
    ['an event at Infinity', event({ timestamp: Number.POSITIVE_INFINITY })],
    ['an event with null for its room', event({ room: null })],
    ['an event with a fractional seq', event({ seq: 1.5 })],
    ['an event with a negative seq', event({ seq: -1 })],
    ['an event with a seq beyond what numbers hold', event({ seq: 2 ** 53 })],
    ['a failed response without an error', { kind: 'response', requestId: 'a', success: false }],
    ['a response that does not say', { kind: 'response', requestId: 'a' }],
    ['a verdict without a mark', { kind: 'room', room: 'a' }],
    ['a verdict with a false mark', { kind: 'room', room: 'a', left: false }],
    ['a verdict with two marks', { kind: 'room', room: 'a', left: true, joined: false }],
    ['a verdict with a half join', { kind: 'room', room: 'a', joined: true, cursor: 'b' }],
    ['a heartbeat of no time', { kind: 'welcome', connectionId: 'a', terms: heartbeat(0) }],
    ['a rate of nothing', { kind: 'welcome', connectionId: 'a', terms: { messagesPerSecond: 0 } }],
    ['a size of nothing', { kind: 'welcome', connectionId: 'a', terms: { maxMessageSize: 0 } }],
    ['terms in a list', { kind: 'welcome', connectionId: 'a', terms: [] }],
    ['an error of text', { kind: 'error', error: 'no' }],
    ['an error without a code', { kind: 'error', error: { message: 'no' } }],
    ['details in a list', { kind: 'error', error: { code: 'A', message: '', details: [] } }],
    ['a renewal into the past', { kind: 'auth', expiresIn: -1 }],
    ['a goodbye without a reason', { kind: 'goodbye' }],
  ])('both refuse %s', (_what, value) => {
    expect(guard(value)).toMatchObject({ kind: 'garbled', why: expect.any(String) });
    expect(schema.safeParse(value).success).toBe(false);
  });
});

describe('what the guard says of a refused value', () => {
  test.each([
    [7, 'not an object'],
    [{ kind: 'nonsense' }, 'unknown kind'],
    [{}, 'unknown kind'],
    [{ kind: 'event' }, 'malformed event'],
    [{ kind: 'welcome', session: 'secret' }, 'malformed welcome'],
  ])('%j is %s', (value, why) => {
    expect(guard(value)).toEqual({ kind: 'garbled', why });
  });
});

function agree(value: unknown): void {
  const taken = guard(value) === value;
  expect(taken, `guard ${taken ? 'takes' : 'refuses'} it, the schema does not agree`).toBe(
    schema.safeParse(value).success,
  );
}

function event(change: object): object {
  return { kind: 'event', eventId: '1-1', type: 'a:b', timestamp: 1, room: 'a', seq: 1, ...change };
}

function heartbeat(interval: number): object {
  return { heartbeat: { interval, timeout: 5_000 } };
}
