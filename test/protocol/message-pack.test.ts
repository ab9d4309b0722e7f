/** MessagePack against JSON, against another implementation of it, and against whoever means harm. */
import { Decoder, Encoder } from '@msgpack/msgpack';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromText, toText } from '../../src/protocol/bytes.js';
import type { ClientFrame } from '../../src/protocol/frame.js';
import { messagePack } from '../../src/protocol/message-pack.js';
import { unpack } from '../../src/protocol/message-pack-reader.js';
import { pack } from '../../src/protocol/message-pack-writer.js';
import { damagedFrame, validFrame } from './frames.js';

const codec = messagePack();

/** What a frame's payload becomes on a text wire. */
const asInJson = (payload: unknown) =>
  (fromText(toText({ kind: 'message', payload })) as { payload?: unknown }).payload;

const key = fc.string().filter((one) => one !== '__proto__');
const whole = fc.oneof(
  fc.maxSafeInteger(),
  fc.constantFrom(7, 8, 15, 16, 31, 32, 53).chain((power) => {
    const at = 2 ** power;
    return fc.constantFrom(at - 2, at - 1, at, at + 1, 1 - at, -at, -at - 1);
  }),
);
const scalar = fc.oneof(
  whole,
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.boolean(),
  fc.constant(null),
  fc.string({ maxLength: 300 }),
  fc.string({ unit: 'grapheme', maxLength: 100 }),
  fc.uint8Array({ maxLength: 300 }),
);
/** Whatever a payload may be. */
const { value: payload } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    scalar,
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(key, tie('value'), { maxKeys: 20 }),
  ),
}));

describe('MessagePack', () => {
  test('gives back every frame as it was encoded', () => {
    fc.assert(
      fc.property(validFrame, (frame) => {
        const plain: unknown = JSON.parse(JSON.stringify(frame));
        expect(codec.decode(pack(frame))).toEqual(plain);
      }),
    );
  });

  test('a payload arrives as it does in JSON', () => {
    fc.assert(
      fc.property(payload, (value) => {
        expect(unpack(pack(value))).toEqual(asInJson(value));
      }),
    );
  });

  test.each<[string, unknown]>([
    ['a date', new Date(0)],
    ['no date', new Date(Number.NaN)],
    ['what has its own way into JSON', { a: { toJSON: (name: string) => [name, '\0'] } }],
    ['what gives bytes as its JSON', { toJSON: () => Uint8Array.of(1) }],
    ['a Buffer', { file: Buffer.from('hi') }],
    ['undefined', { a: undefined, b: [undefined], c: () => 1, d: Symbol('d') }],
    ['what gives nothing as its JSON', { a: { toJSON: () => undefined }, b: 1 }],
    ['numbers that are none', [Number.NaN, Number.POSITIVE_INFINITY, -0]],

    ['boxed primitives', [Object(5), Object('ab'), Object(false), { toJSON: () => Object(7) }]],
    ['a list with holes', Object.assign([1], { 2: 3 })],
    ['a map and a set', [new Map([[1, 2]]), new Set([1])]],
    [
      'an instance',
      new (class Point {
        x = 1;
      })(),
    ],
    ['text that looks like escaped bytes', ['\0bAQ==', '\0', '\0\0']],
    ['text that begins with a byte order mark', '\ufefftext'],
    ['text of every length of UTF-8', 'aé€😀'.repeat(20)],
  ])('%s arrives as it does in JSON', (_what, value) => {
    expect(unpack(pack(value))).toEqual(asInJson(value));
  });

  test('is read by another implementation as it was meant', () => {
    const other = new Decoder();
    fc.assert(
      fc.property(payload, (value) => {
        expect(other.decode(pack(value))).toEqual(asInJson(value));
      }),
    );
  });

  test('of another implementation is read as it was meant', () => {
    const others = [new Encoder(), new Encoder({ forceIntegerToFloat: true })];
    fc.assert(
      fc.property(payload, fc.constantFrom(...others), (value, other) => {
        expect(unpack(other.encode(value))).toEqual(asInJson(zeroed(value)));
      }),
    );
  });

  test.each([
    ['the smallest positive one', '00', 0],
    ['a positive one in a byte', '7f', 127],
    ['a negative one in a byte', 'e0', -32],
    ['8 bits', 'cc80', 128],
    ['16 bits', 'cd0100', 256],
    ['32 bits', 'ce00010000', 65_536],
    ['64 bits', 'cf0000000100000000', 2 ** 32],
    ['the largest that counts', 'cf001fffffffffffff', Number.MAX_SAFE_INTEGER],
    ['8 bits below 0', 'd0df', -33],
    ['16 bits below 0', 'd1ff7f', -129],
    ['32 bits below 0', 'd2ffff7fff', -32_769],
    ['64 bits below 0', 'd3ffffffff7fffffff', -(2 ** 31) - 1],
    ['the smallest that counts', 'd3ffe0000000000001', Number.MIN_SAFE_INTEGER],
    ['a fraction', 'cb3ff8000000000000', 1.5],
    ['beyond what counts', 'cb4340000000000000', 2 ** 53],
  ])('writes a number the shortest way: %s', (_what, hex, value) => {
    expect(Buffer.from(pack(value)).toString('hex')).toBe(hex);
    expect(unpack(bytes(hex))).toBe(value);
  });

  test.each([
    ['a float of 32 bits', 'ca3fc00000', 1.5],
    ['a number with more bits than it needs', 'd30000000000000001', 1],
    ['64 bits beyond what counts, rounded as in JSON', 'cf7fffffffffffffff', 2 ** 63],
    ['64 bits far below 0', 'd38000000000000000', -(2 ** 63)],
    ['a text with a longer size than it needs', 'db0000000161', 'a'],
    ['an empty map of 32 bits', 'df00000000', {}],
    ['a key twice', '82a16101a16102', { a: 2 }],
  ])('reads what another implementation may write: %s', (_what, hex, value) => {
    expect(unpack(bytes(hex))).toEqual(value);
  });

  test('what it reads shares no memory with what came', () => {
    const pool = Buffer.concat([Buffer.from('secret'), pack({ file: Uint8Array.of(1, 2, 3) })]);
    const { file } = unpack(pool.subarray(6)) as { file: Uint8Array };
    expect(file).toEqual(Uint8Array.of(1, 2, 3));
    expect(file.buffer.byteLength).toBe(3);
    pool.fill(0);
    expect(file).toEqual(Uint8Array.of(1, 2, 3));
  });

  test('text that is no Unicode is written with U+FFFD, as every encoder does', () => {
    expect(unpack(pack('x\ud800y'))).toBe('x\ufffdy');
    expect(unpack(pack(`${'long '.repeat(20)}\ude00`))).toBe(`${'long '.repeat(20)}\ufffd`);
  });

  test.each<[string, unknown]>([
    ['a cycle', cycle()],
    ['a BigInt', 1n],
    ['what is nested too deep', nested(1_001)],
  ])('throws a TypeError for %s in a payload', (_what, value) => {
    expect(() =>
      codec.encode({ kind: 'message', type: 'a:b', timestamp: 0, payload: value }),
    ).toThrow(TypeError);
  });

  test('tells what a request was given as its payload, as bytes or as text', () => {
    const request: ClientFrame = {
      kind: 'request',
      requestId: 'r',
      type: 'a:b',
      timestamp: 0,
      payload: { file: Uint8Array.of(1) },
    };
    expect(codec.payload(codec.encode(request))).toEqual(request.payload);
    expect(codec.payload(toText(request))).toEqual(request.payload);
    for (const wire of [pack(7), pack(null), pack({}), bytes('c1'), 'no JSON']) {
      expect(codec.payload(wire)).toBeUndefined();
    }
  });

  test('takes what a platform gives: a buffer, a view of one, and text, which is JSON', () => {
    const wire = pack({ kind: 'ping' });
    const { buffer } = new Uint8Array(wire);
    for (const one of [wire, buffer, Buffer.from(wire), '{"kind":"ping"}']) {
      expect(codec.decode(one)).toEqual({ kind: 'ping' });
    }
  });
});

describe('decoding what is no frame', () => {
  const event = { kind: 'event', eventId: '1', type: 'a:b', timestamp: 1 };

  test.each<[string, string, unknown]>([
    ['nothing', 'not MessagePack', new Uint8Array(0)],
    ['a type that is none', 'not MessagePack', bytes('c1')],
    ['two values', 'not MessagePack', bytes('8080')],
    ['an extension', 'not MessagePack', bytes('d6ff00000000')],
    ['a key that is a number', 'not MessagePack', bytes('8101a0')],
    ['a key that is a list', 'not MessagePack', bytes('8190a0')],
    ['a key that is null', 'not MessagePack', bytes('81c0a0')],
    ['a key that is bytes', 'not MessagePack', bytes('81c40161a0')],
    ['text that is no UTF-8', 'not MessagePack', bytes('a1ff')],
    ['long text that is no UTF-8', 'not MessagePack', bytes(`d928${'c0'.repeat(40)}`)],
    ['a text of 4 GB', 'not MessagePack', bytes('dbffffffff')],
    ['bytes of 4 GB', 'not MessagePack', bytes('c6ffffffff')],
    ['a list of 4 billion', 'not MessagePack', bytes('ddffffffff')],
    ['a map of 4 billion', 'not MessagePack', bytes('dfffffffff')],
    ['lists within lists without an end', 'not MessagePack', new Uint8Array(100_000).fill(0x91)],
    ['maps within maps', 'not MessagePack', bytes('81a161'.repeat(50_000))],
    ['a payload nested too deep', 'not MessagePack', tooDeep()],
    ['a number', 'not an object', pack(7)],
    ['a list', 'not an object', pack([event])],
    ['bytes in bytes', 'unknown kind', pack(Uint8Array.of(1))],
    ['no kind', 'unknown kind', pack({})],
    ['an unknown kind', 'unknown kind', pack({ kind: 'earthquake' })],
    ['a kind that is bytes', 'unknown kind', pack({ kind: Buffer.from('ping') })],
    ['a kind of Object.prototype', 'unknown kind', pack({ kind: 'constructor' })],
    ['bytes in place of an id', 'malformed event', pack({ ...event, eventId: Uint8Array.of(1) })],
    ['a seq beyond what counts', 'malformed event', bytes(hexOf({ ...event, seq: 2 ** 53 }))],
    ['an object', 'not bytes', { kind: 'ping' }],
    ['a list of numbers', 'not bytes', [128]],
    ['undefined', 'not bytes', undefined],
  ])('E42 %s is dropped: %s', (_what, why, wire) => {
    expect(codec.decode(wire)).toEqual({ kind: 'garbled', why });
  });

  test('E42 lists that announce more than there is take no memory', () => {
    const bomb = new Uint8Array(10_000);
    const view = new DataView(bomb.buffer);
    for (let at = 0; at < bomb.length; at += 5) {
      view.setUint8(at, 0xdd);
      view.setUint32(at + 1, bomb.length - at - 5);
    }
    const before = process.memoryUsage().heapUsed;
    expect(codec.decode(bomb).kind).toBe('garbled');
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(5_000_000);
  });

  test('E42 keys called __proto__ and constructor stay data', () => {
    const wire = JSON.parse(
      '{"kind":"event","eventId":"1","type":"a:b","timestamp":1,' +
        '"__proto__":{"polluted":true,"room":"elsewhere"},' +
        '"payload":{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}}',
    ) as unknown;
    const frame = codec.decode(pack(wire));
    expect(frame).toMatchObject({ kind: 'event', eventId: '1' });
    const { payload } = frame as unknown as { payload: object };
    for (const one of [frame, payload]) {
      expect(Object.getPrototypeOf(one)).toBe(Object.prototype);
      expect('polluted' in one).toBe(false);
      expect(Object.hasOwn(one, '__proto__')).toBe(true);
    }
    expect((frame as { room?: string }).room).toBeUndefined();
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test('E42 a payload as deep as may be arrives', () => {
    const wire = pack({ ...event, payload: nested(999) });
    expect(codec.decode(wire)).toMatchObject({ kind: 'event' });
  });

  test('E42 a truncated frame is never taken for a whole one', () => {
    const payload = { text: 'é'.repeat(40), file: new Uint8Array(9), list: [1.5, -700, 2 ** 40] };
    const wire = pack({ ...event, payload });
    for (let end = 0; end < wire.length; end++) {
      expect(codec.decode(wire.subarray(0, end)).kind).toBe('garbled');
    }
    expect(codec.decode(wire)).toEqual({ ...event, payload });
  });

  test('E42 decoding never throws, whatever the bytes', () => {
    const damaged = fc
      .tuple(damagedFrame, fc.nat(), fc.nat({ max: 255 }))
      .map(([frame, at, byte]) => {
        const wire = pack(frame);
        wire[at % wire.length] = byte;
        return wire;
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), damaged, fc.anything()), (wire) => {
        expect(typeof codec.decode(wire).kind).toBe('string');
      }),
      { numRuns: 3_000 },
    );
  });
});

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}

function hexOf(value: unknown): string {
  return Buffer.from(pack(value)).toString('hex');
}

function cycle(): object {
  const loop: Record<string, unknown> = {};
  loop.self = [loop, loop];
  return loop;
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = [value];
  return value;
}

/** An event whose payload is one list too deep: the frame itself is the first level. */
function tooDeep(): Uint8Array {
  const start = hexOf({ kind: 'event', eventId: '1', type: 'a:b', timestamp: 1, payload: 0 });
  return bytes(`${start.slice(0, -2)}${'91'.repeat(1_000)}01`);
}

/** -0 is no whole number to everybody. */
function zeroed(value: unknown): unknown {
  if (Object.is(value, -0)) return 0;
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(zeroed);
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, zeroed(one)]));
}
