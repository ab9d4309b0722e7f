/** Bytes in the payloads of frames that are text. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromText, revived, toText } from '../../src/protocol/bytes.js';

const event = (payload: unknown) => ({ kind: 'event', payload, room: 'a' });
const payloadOf = (value: unknown) => (value as { payload?: unknown }).payload;
const back = (payload: unknown) => payloadOf(fromText(toText(event(payload))));

describe('bytes in JSON frames', () => {
  test.each([
    ['at the top', Uint8Array.of(1, 2, 255)],
    ['none at all', new Uint8Array(0)],
    ['in an object', { file: Uint8Array.of(0), name: 'x' }],
    ['in a list', ['a', [Uint8Array.of(7)], null]],
    ['beside what only looks like them', [Uint8Array.of(1), '\0bAQ==', '\0', '\0\0', 'b\0']],
    ['more than one call can take', new Uint8Array(300_000).fill(9)],
  ])('come back as they were: %s', (_where, payload) => {
    expect(back(payload)).toEqual(payload);
  });

  test('come back as plain bytes from a Buffer, whose own JSON is another', () => {
    const got = back({ file: Buffer.from('hi') });
    expect(got).toEqual({ file: Uint8Array.of(104, 105) });
    expect(Buffer.isBuffer((got as { file: unknown }).file)).toBe(false);
  });

  test('come back from what has its own way into JSON', () => {
    expect(back({ toJSON: () => ({ file: Uint8Array.of(3), said: '\0' }) })).toEqual({
      file: Uint8Array.of(3),
      said: '\0',
    });
    expect(back(new Date(0))).toBe('1970-01-01T00:00:00.000Z');
    expect(back([{ toJSON: () => undefined }])).toEqual([null]);
  });

  test('come back from the data of a response too', () => {
    const response = { kind: 'response', data: { file: Uint8Array.of(1) } };
    expect(fromText(toText(response))).toEqual(response);
  });

  test('any text comes back as it was, whatever it begins with', () => {
    const text = fc.string({ unit: fc.constantFrom('\0', 'b', 'A', '=', '"', '\\') });
    const json = fc.oneof(text, fc.jsonValue(), fc.uint8Array());
    fc.assert(
      fc.property(fc.oneof(json, fc.array(json), fc.dictionary(text, json)), (payload) => {
        const plain: unknown = structuredClone(payload);
        expect(fromText(toText(event(payload)))).toEqual(event(zeroed(plain)));
        expect(payload).toEqual(plain);
      }),
    );
  });

  test('a frame without any is the text that JSON gives it, and so is the rest of a frame', () => {
    const frame = { kind: 'request', payload: { a: ['\\u0000', 'x\0'] }, room: '\0room' };
    expect(toText(frame)).toBe(JSON.stringify(frame));
    const loaded = { kind: 'request', payload: '\0', room: '\0room' };
    expect(fromText(toText(loaded))).toEqual(loaded);
    expect(toText(loaded)).toContain('"room":"\\u0000room"');
  });

  test('what is no escape stays what it is', () => {
    for (const said of ['\0', '\0x', '\0b!', '\0b=', '\0bA']) {
      expect(fromText(JSON.stringify(event(said)))).toEqual(event(said));
    }
    for (const value of [null, 7, 'text', [], {}]) expect(revived(value)).toBe(value);
  });

  test('a key called __proto__ stays data', () => {
    const text = '{"payload":{"__proto__":{"polluted":"\\u0000bAQ=="}}}';
    const payload = payloadOf(fromText(text));
    expect(Object.getPrototypeOf(payload)).toBe(Object.prototype);
    expect(Object.getOwnPropertyDescriptor(payload, '__proto__')?.value).toEqual({
      polluted: Uint8Array.of(1),
    });
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test('are written as any base64 is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
        expect(JSON.parse(toText(event(bytes)))).toEqual(
          event(`\0b${Buffer.from(bytes).toString('base64')}`),
        );
      }),
    );
  });

  test('come back from any depth that JSON can be read from', () => {
    let deep: unknown = { file: Uint8Array.of(1), said: '\0' };
    for (let level = 0; level < 1_500; level++) deep = level % 2 === 0 ? [deep] : { deep };
    expect(back(deep)).toEqual(deep);
  });

  test('refuses a cycle and a BigInt as JSON does', () => {
    const loop: Record<string, unknown> = { file: Uint8Array.of(1) };
    loop.self = loop;
    expect(() => toText(event(loop))).toThrow(TypeError);
    const plain: Record<string, unknown> = {};
    Object.assign(plain, { a: plain, b: [plain, plain] });
    expect(() => toText(event(plain))).toThrow(TypeError);
    expect(() => toText(event([Uint8Array.of(1), 1n]))).toThrow(TypeError);
  });
});

/** -0 has no JSON. */
function zeroed(value: unknown): unknown {
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null)
    return Object.is(value, -0) ? 0 : value;
  if (Array.isArray(value)) return value.map(zeroed);
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, zeroed(one)]));
}
