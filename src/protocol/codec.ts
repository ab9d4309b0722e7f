/** The only door for `unknown`: text or bytes on one side, frames on the other. */
import type { ClientFrame, Garbled, ServerFrame } from './frame.js';
import { serverFrame } from './guard.js';

/** One encoded frame, as a wire carries it. */
export type Wire = string | Uint8Array;

/** Turns a client's frames into what a wire carries, and a server's back. Never throws on input. */
export interface Codec {
  readonly name: string;
  /** @throws TypeError where a payload cannot be encoded (a cycle, a BigInt in JSON). */
  encode(frame: ClientFrame): Wire;
  decode(wire: unknown): ServerFrame | Garbled;
}

/** One frame is one JSON object in one text message. */
export const jsonCodec: Codec = Object.freeze({
  name: 'json',
  encode: (frame: ClientFrame) => JSON.stringify(frame),
  decode(wire: unknown): ServerFrame | Garbled {
    if (typeof wire !== 'string') return { kind: 'garbled', why: 'not text' };
    let value: unknown;
    try {
      value = JSON.parse(wire);
    } catch {
      return { kind: 'garbled', why: 'not JSON' };
    }
    return serverFrame(value);
  },
});

/** Bytes of an encoded frame: UTF-8 for text. Counted, not encoded: no copy is made. */
export function byteLength(wire: Wire): number {
  if (typeof wire !== 'string') return wire.byteLength;
  let bytes = wire.length;
  for (let index = 0; index < wire.length; index++) {
    const unit = wire.charCodeAt(index);
    if (unit < 0x80) continue;
    // A surrogate pair is two units and four bytes: two more than its units say.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2;
  }
  return bytes;
}
