/** Servers that speak something else than holdfast/1: their messages become frames, and back. */
import { HoldfastError } from '../protocol/errors.js';
import type { ClientFrame } from '../protocol/frame.js';
import { serverFrame } from '../protocol/guard.js';
import type { Wire } from '../protocol/wire.js';
import type { Dialect } from './dialect.js';
import { conversation, wires } from './plain-conversation.js';
import type { PlainOptions } from './plain-options.js';

export type {
  PlainAbout,
  PlainData,
  PlainFrame,
  PlainOpening,
  PlainOptions,
  PlainSaid,
} from './plain-options.js';

/**
 * The language of a server that is not ours, for the option `protocol` of a client. What needs a
 * server's help is off: there is no replay but what the server has of its own, so a room that comes
 * back has a gap, and a request is written once.
 *
 * ```ts
 * plain({ decode: (text) => ({ type: 'tick:came', payload: JSON.parse(text) }) });
 * ```
 */
export function plain(options: PlainOptions = {}): Dialect {
  const { name = 'plain', subprotocols = [] } = options;
  return {
    name,
    subprotocols,
    codec: {
      name,
      encode: (frame) => only(options, frame),
      decode: serverFrame,
      payload: () => undefined,
    },
    begin: (hello, talk) => conversation(options, hello, talk),
  };
}

/** @throws HoldfastError `INVALID_PAYLOAD` where there is not exactly one message to write */
function only({ encode }: PlainOptions, frame: ClientFrame): Wire {
  const isAsked = frame.kind === 'request' || frame.kind === 'message';
  const [wire, ...more] = isAsked ? wires(encode?.(frame)) : [];
  if (wire !== undefined && more.length === 0) return wire;
  throw new HoldfastError(
    'INVALID_PAYLOAD',
    `encode gave ${wire ? 'several messages' : 'nothing'} for this ${frame.kind}: it must give one.`,
  );
}
