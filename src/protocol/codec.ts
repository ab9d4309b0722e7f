/** JSON: the only door for `unknown` of a client whose wire is text. */
import { fromText, toText } from './bytes.js';
import type { ClientFrame, Garbled, Request, ServerFrame } from './frame.js';
import { serverFrame } from './guard.js';
import type { Codec, Wire } from './wire.js';

/** One frame is one JSON object in one text message. */
export const jsonCodec: Codec = Object.freeze({
  name: 'json',
  encode: (frame: ClientFrame) => toText(frame),
  decode(wire: unknown): ServerFrame | Garbled {
    if (typeof wire !== 'string') return { kind: 'garbled', why: 'not text' };
    let value: unknown;
    try {
      value = fromText(wire);
    } catch {
      return { kind: 'garbled', why: 'not JSON' };
    }
    return serverFrame(value);
  },
  payload(wire: Wire): unknown {
    try {
      return (fromText(String(wire)) as Partial<Request>).payload;
    } catch {
      return undefined;
    }
  },
});
