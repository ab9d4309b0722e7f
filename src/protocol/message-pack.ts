/** MessagePack: each frame as one piece of bytes, with `Uint8Array` in payloads as it is. */
import { jsonCodec } from './codec.js';
import type { ClientFrame, Garbled, ServerFrame } from './frame.js';
import { serverFrame } from './guard.js';
import { unpack } from './message-pack-reader.js';
import { pack } from './message-pack-writer.js';
import type { Codec, Wire } from './wire.js';

/**
 * Frames in MessagePack, for `webSocket(url, { codec: messagePack() })`. What a payload holds arrives
 * as it does in JSON (a date as text, NaN as null, a key of undefined not at all), but bytes take no
 * more room than they have. `encode` throws a TypeError for a cycle, for a BigInt, and for what is
 * nested more than 1000 deep.
 */
export function messagePack(): Codec {
  return Object.freeze({
    name: 'msgpack',
    encode: (frame: ClientFrame) => pack(frame),
    decode(wire: unknown): ServerFrame | Garbled {
      // A server may say in JSON what it cannot say in MessagePack.
      if (typeof wire === 'string') return jsonCodec.decode(wire);
      const bytes = wire instanceof ArrayBuffer ? new Uint8Array(wire) : wire;
      if (!(bytes instanceof Uint8Array)) return { kind: 'garbled', why: 'not bytes' };
      let value: unknown;
      try {
        value = unpack(bytes);
      } catch {
        return { kind: 'garbled', why: 'not MessagePack' };
      }
      return serverFrame(value);
    },
    payload(wire: Wire): unknown {
      if (typeof wire === 'string') return jsonCodec.payload(wire);
      try {
        const frame = unpack(wire);
        return isObject(frame) && 'payload' in frame ? frame.payload : undefined;
      } catch {
        return undefined;
      }
    },
  });
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
