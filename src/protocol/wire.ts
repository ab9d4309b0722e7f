/** What goes over a wire, whatever its encoding: frames on one side, text or bytes on the other. */
import type { ClientFrame, Garbled, ServerFrame } from './frame.js';

/** One encoded frame, as a wire carries it. */
export type Wire = string | Uint8Array;

/** A frame, or one that was encoded when it was asked for. */
export type Outgoing = ClientFrame | Wire;

/** Turns a client's frames into what a wire carries, and a server's back. Never throws on input. */
export interface Codec {
  readonly name: string;
  /** @throws TypeError where a payload cannot be encoded (a cycle, a BigInt in JSON). */
  encode(frame: ClientFrame): Wire;
  decode(wire: unknown): ServerFrame | Garbled;
  /** What `encode` was given as the payload of a request; undefined where that cannot be told. */
  payload(wire: Wire): unknown;
}

/** What goes out, encoded where it is not yet. */
export function encoded(codec: Codec, frames: readonly Outgoing[]): Wire[] {
  return frames.map((frame) =>
    typeof frame === 'string' || frame instanceof Uint8Array ? frame : codec.encode(frame),
  );
}

/**
 * Bytes of an encoded frame: UTF-8 for text. Counted, not encoded: no copy is made. A lone surrogate
 * counts as the three bytes of U+FFFD that every encoder writes in its place.
 */
export function byteLength(wire: Wire): number {
  if (typeof wire !== 'string') return wire.byteLength;
  let bytes = wire.length;
  // Most frames are plain ASCII, and the test is twice as fast as the count.
  if (!/[\u0080-\uffff]/.test(wire)) return bytes;
  for (let index = 0; index < wire.length; index++) {
    const unit = wire.charCodeAt(index);
    if (unit < 0x80) continue;
    bytes += unit < 0x800 ? 1 : 2;
    // A pair is two units and four bytes: its second half adds nothing more.
    if (unit >= 0xd800 && unit < 0xdc00 && isLowHalf(wire.charCodeAt(index + 1))) index++;
  }
  return bytes;
}

function isLowHalf(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000;
}
