/** The one door for what comes in, and the count of bytes that go out. */
import * as fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { jsonCodec } from '../../src/protocol/codec.js';
import { byteLength } from '../../src/protocol/wire.js';
import { damagedFrame, validFrame } from './frames.js';

describe('jsonCodec', () => {
  test('encodes a frame as one JSON object', () => {
    const wire = jsonCodec.encode({ kind: 'join', rooms: [{ room: 'a', since: 'e-1' }] });
    expect(wire).toBe('{"kind":"join","rooms":[{"room":"a","since":"e-1"}]}');
  });

  test('keeps a ping a constant text', () => {
    expect(jsonCodec.encode({ kind: 'ping' })).toBe('{"kind":"ping"}');
  });

  test.each([
    ['a cycle', cycle()],
    ['a BigInt', 1n],
  ])('throws a TypeError for %s in a payload', (_what, payload) => {
    expect(() => jsonCodec.encode({ kind: 'message', type: 'a:b', timestamp: 0, payload })).toThrow(
      TypeError,
    );
  });

  test('gives back every frame as it was encoded', () => {
    fc.assert(
      fc.property(validFrame, (frame) => {
        const wire = JSON.stringify(frame);
        expect(jsonCodec.decode(wire)).toEqual(JSON.parse(wire));
      }),
    );
  });

  test('encodes a lone surrogate as an escape, so that the text is UTF-8 as it stands', () => {
    const wire = jsonCodec.encode({
      kind: 'message',
      type: 'a:b',
      timestamp: 0,
      payload: 'x\ud800y',
    });
    expect(wire).toContain('x\\ud800y');
    expect(byteLength(wire)).toBe(Buffer.byteLength(String(wire)));
  });
});

describe('decoding what is no frame', () => {
  afterEach(() => {
    // A leak would poison the tests that follow; it must not outlive the one that found it.
    for (const key of ['polluted', 'kind', 'joined']) Reflect.deleteProperty(Object.prototype, key);
  });

  test('E42 malformed, truncated, non-object, deeply nested and unknown frames are dropped and counted and pollute nothing', () => {
    const pristine = Object.getOwnPropertyNames(Object.prototype).sort();
    for (const wire of garbage()) {
      const frame = jsonCodec.decode(wire);
      expect(frame, String(wire).slice(0, 80)).toMatchObject({
        kind: 'garbled',
        why: expect.stringMatching(
          /^(not text|not JSON|not an object|unknown kind|malformed \w+)$/,
        ),
      });
    }
    expect(Object.getOwnPropertyNames(Object.prototype).sort()).toEqual(pristine);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test('E42 keys called __proto__ and constructor stay data in a frame that is otherwise whole', () => {
    const frame = jsonCodec.decode(
      '{"kind":"event","eventId":"1","type":"a:b","timestamp":1,' +
        '"__proto__":{"polluted":true,"room":"elsewhere"},' +
        '"payload":{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}}',
    );
    expect(frame).toMatchObject({ kind: 'event', eventId: '1' });
    expect(Object.getPrototypeOf(frame)).toBe(Object.prototype);
    expect('polluted' in frame).toBe(false);
    expect((frame as { room?: string }).room).toBeUndefined();
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test('E42 a payload nested a hundred thousand deep neither throws nor takes the frame with it', () => {
    const payload = '['.repeat(100_000) + ']'.repeat(100_000);
    const wire = `{"kind":"event","eventId":"1","type":"a:b","timestamp":1,"payload":${payload}}`;
    expect(['event', 'garbled']).toContain(jsonCodec.decode(wire).kind);
  });

  test('E42 decoding never throws, whatever the text or the value', () => {
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      damagedFrame.map((frame) => JSON.stringify(frame)),
      validFrame.chain((frame) => {
        const wire = JSON.stringify(frame);
        return fc.nat({ max: wire.length - 1 }).map((end) => wire.slice(0, end));
      }),
    );
    fc.assert(
      fc.property(fc.oneof(texts, fc.anything()), (wire) => {
        expect(typeof jsonCodec.decode(wire).kind).toBe('string');
      }),
      { numRuns: 2_000 },
    );
  });

  test('E42 a truncated frame is never taken for a whole one', () => {
    const wire = '{"kind":"event","eventId":"1-1","type":"a:b","timestamp":1,"room":"a","seq":1}';
    for (let end = 0; end < wire.length; end++) {
      expect(jsonCodec.decode(wire.slice(0, end)).kind).toBe('garbled');
    }
    expect(jsonCodec.decode(wire).kind).toBe('event');
  });

  test.each([
    ['not text', new Uint8Array([123, 125])],
    ['not JSON', '<!doctype html><title>Sign in to the network</title>'],
    ['not an object', '"ping"'],
    ['unknown kind', '{"kind":"hello"}'],
    ['malformed response', '{"kind":"response","requestId":"r"}'],
  ])('says that it is %s', (why, wire) => {
    expect(jsonCodec.decode(wire)).toEqual({ kind: 'garbled', why });
  });
});

describe('byteLength', () => {
  test('equals what an encoder writes, for any text, lone surrogates included', () => {
    const unit = fc.oneof(
      fc.constantFrom('a', '\u007f', '\u0080', '\u07ff', '\u0800', '\uffff', '😀'),
      fc.nat({ max: 0xffff }).map((code) => String.fromCharCode(code)),
      fc.integer({ min: 0xd7ff, max: 0xe000 }).map((code) => String.fromCharCode(code)),
    );
    const encoder = new TextEncoder();
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 30 }), (text) => {
        expect(byteLength(text)).toBe(Buffer.byteLength(text));
        expect(byteLength(text)).toBe(encoder.encode(text).length);
      }),
      { numRuns: 3_000 },
    );
  });

  test.each([
    ['nothing', '', 0],
    ['a pair', '\ud83d\ude00', 4],
    ['a lone high half', '\ud83d', 3],
    ['a lone low half', '\ude00', 3],
    ['halves in the wrong order', '\ude00\ud83d', 6],
    ['a high half before a pair', '\ud83d\ud83d\ude00', 7],
  ])('counts %s', (_what, text, bytes) => {
    expect(byteLength(text)).toBe(bytes);
  });

  test('counts bytes as they are, a view by its own length', () => {
    expect(byteLength(new Uint8Array(7))).toBe(7);
    expect(byteLength(new Uint8Array(new ArrayBuffer(64), 8, 5))).toBe(5);
  });
});

function garbage(): unknown[] {
  return [
    ...['', ' ', '{', '{"kind":"event"', 'undefined', 'NaN', '{kind:"ping"}', "{'kind':'ping'}"],
    ...['null', '1', '"ping"', 'true', '[]', '[{"kind":"ping"}]', '{}', '{"kind":null}'],
    ...['{"kind":["ping"]}', '{"kind":{"toString":1,"valueOf":2}}', '{"kind":"nonsense"}'],
    ...['{"kind":"constructor"}', '{"kind":"__proto__"}', '{"kind":"hasOwnProperty"}'],
    '{"__proto__":{"kind":"ping","polluted":true}}',
    '{"constructor":{"prototype":{"kind":"ping","polluted":true}}}',
    '{"kind":"room","room":"a","__proto__":{"joined":true,"polluted":true}}',
    '{"kind":"event","eventId":"1","type":"a:b","timestamp":1e999}',
    '['.repeat(200_000),
    `${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`,
    ...[undefined, null, 7, {}, { kind: 'ping' }, new Uint8Array(3), new ArrayBuffer(3)],
    Symbol('ping'),
  ];
}

function cycle(): object {
  const loop: Record<string, unknown> = {};
  loop.self = loop;
  return loop;
}
