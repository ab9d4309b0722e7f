/** The server's door for `unknown`: what a wire brought, as a frame of a client, or why it is none. */
import { fromText } from '../protocol/bytes.js';
import { HoldfastError } from '../protocol/errors.js';
import { type ClientFrame, type Garbled, PROTOCOL } from '../protocol/frame.js';
import { unpack } from '../protocol/message-pack-reader.js';
import { clientFrame } from '../protocol/schema.js';
import { byteLength } from '../protocol/wire.js';

/** What was not understood; `requestId` where somebody waits for its answer. */
export interface GarbledFrame extends Garbled {
  readonly requestId?: string;
}

/** Text is JSON, bytes are MessagePack. @throws HoldfastError `MESSAGE_TOO_LARGE` */
export function decode(wire: unknown, maxMessageSize: number): ClientFrame | GarbledFrame {
  if (typeof wire !== 'string' && !(wire instanceof Uint8Array)) {
    return { kind: 'garbled', why: 'The frame is neither text nor bytes.' };
  }
  // A unit is at most three bytes: most frames need not be counted.
  if (wire.length * 3 > maxMessageSize && byteLength(wire) > maxMessageSize) {
    throw new HoldfastError('MESSAGE_TOO_LARGE', `A frame has at most ${maxMessageSize} bytes.`);
  }
  let value: unknown;
  try {
    value = typeof wire === 'string' ? fromText(wire) : unpack(wire);
  } catch {
    const what = typeof wire === 'string' ? 'JSON' : 'MessagePack';
    return { kind: 'garbled', why: `The frame is not ${what}.` };
  }
  const parsed = clientFrame.safeParse(value);
  return parsed.success ? parsed.data : garbled(value);
}

function garbled(value: unknown): GarbledFrame {
  if (typeof value !== 'object' || value === null) {
    return { kind: 'garbled', why: 'The frame is not an object.' };
  }
  const { kind, requestId, protocol }: Readonly<Record<string, unknown>> = { ...value };
  if (kind === 'hello' && protocol !== PROTOCOL) {
    const other = typeof protocol === 'number' ? `holdfast/${protocol}` : 'something else';
    const why = `This server speaks holdfast/${PROTOCOL}, the client ${other}. Update the older one.`;
    return { kind: 'garbled', why };
  }
  const named = typeof kind === 'string' ? `a valid \`${kind.slice(0, 32)}\`` : 'of a known kind';
  const why = `The frame is not ${named}.`;
  if (kind !== 'request' || typeof requestId !== 'string' || requestId === '') {
    return { kind: 'garbled', why };
  }
  return { kind: 'garbled', why, requestId };
}
