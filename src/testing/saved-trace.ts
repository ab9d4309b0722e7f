/** A trace as text and back: JSON lines with all that a replay needs, and no credentials. */
import type { TraceEntry, TraceOrigin } from '../client/trace.js';
import { Packer, unpacked } from './packer.js';

/** Of the text; a reader takes its own and those before it. */
const VERSION = 1;

export interface SaveOptions {
  /**
   * `"folded"`: in the place of payloads, of data and of what the application's own errors say, there
   * is only their size. The trace can be replayed all the same. @default "kept"
   */
  payloads?: 'kept' | 'folded';
}

/** What a text held. */
export interface SavedTrace {
  /** Null where the trace does not start with the client's first step, or steps are missing. */
  readonly origin: TraceOrigin | null;
  readonly entries: readonly TraceEntry[];
}

/**
 * Writes down what `client.onTrace` told, for a bug report: one line that says what it is, then one
 * for each step. No token and no clientId is in it. A replay needs every step from the first: listen
 * before `connect()`, and keep all; else `whole` is false in the first line, and it can only be read.
 */
export function saveTrace(
  entries: readonly TraceEntry[],
  { payloads = 'kept' }: SaveOptions = {},
): string {
  const origin = entries[0]?.origin;
  const whole = origin !== undefined && entries.every(({ step }, index) => step === index + 1);
  const packer = new Packer(payloads === 'folded');
  const header = { holdfastTrace: VERSION, whole, payloads, origin: packer.plain(origin) };
  const steps = entries.map(({ step, at, roll, fact, orders, deadline, answers }) =>
    packer.pack({ step, at, roll, fact, orders, deadline, answers }),
  );
  return [header, ...steps].map((line) => `${JSON.stringify(line)}\n`).join('');
}

/** @throws Error where it is no trace, or one of a later version */
export function readTrace(text: string): SavedTrace {
  const [head = '', ...lines] = text.split('\n').filter((line) => line.trim() !== '');
  if (!head.startsWith('{"holdfastTrace":')) {
    throw new Error('This is no trace. Give the text that saveTrace returned.');
  }
  const { holdfastTrace, whole, origin } = read<Header>(head);
  if (holdfastTrace > VERSION) {
    throw new Error(
      `This trace is of version ${holdfastTrace}, and only ${VERSION} is known here.`,
    );
  }
  return {
    origin: whole ? (origin ?? null) : null,
    entries: lines.map((line) => read<TraceEntry>(line)),
  };
}

interface Header {
  holdfastTrace: number;
  whole: boolean;
  origin?: TraceOrigin;
}

function read<T extends object>(line: string): T {
  let value: unknown;
  try {
    value = JSON.parse(line, unpacked);
  } catch (cause) {
    throw new Error('A line of this trace is cut off, or damaged. Save it whole.', { cause });
  }
  // eslint-disable-next-line @typescript-eslint/consistent-type-assertions -- the text is our own, and its version is known
  return value as T;
}
