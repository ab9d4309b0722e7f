/** One step of a session as an observer sees it, and how a broken invariant is told. */
import type { Fact } from '../../src/machine/fact.js';
import type { Order } from '../../src/machine/order.js';
import type { SessionOptions } from '../../src/machine/session.js';
import type { ConnectionState } from '../../src/machine/status.js';
import type { Hello, Welcome } from '../../src/protocol/frame.js';

/** Where a session is, as its facts and orders show it. `moving`: open, and dialing its next link. */
export const phases = [
  'idle',
  'waiting',
  'restoring',
  'asking',
  'dialing',
  'greeting',
  'open',
  'moving',
  'closed',
] as const;
export type Phase = (typeof phases)[number];

export interface Scene {
  readonly options: SessionOptions;
  readonly fact: Fact;
  /** Milliseconds of the monotonic clock. */
  readonly now: number;
  readonly roll: number;
  readonly orders: readonly Order[];
  readonly before: ConnectionState;
  readonly after: ConnectionState;
  readonly deadlineBefore: number;
  readonly deadline: number;
  readonly phaseBefore: Phase;
  /** The fact came from a link that is neither live nor dialed, or answers a question nobody asked. */
  readonly isStale: boolean;
  readonly liveBefore: number | null;
  readonly live: number | null;
  /** The welcome that made a link live in this step, with what that link had presented. */
  readonly welcomed: { welcome: Welcome; hello: Hello } | null;
}

/** A place in a room's history, as tests write it into an eventId: `room|epoch|seq`. */
export interface Place {
  readonly epoch: string;
  readonly seq: number;
}

export function placeOf(eventId: string): Place {
  const [, epoch = '', seq = '0'] = eventId.split('|');
  return { epoch, seq: Number(seq) };
}

/** An invariant that does not hold. Its message starts with the id. */
export class Broken extends Error {
  readonly id: string;

  constructor(id: string, message: string) {
    super(`${id}: ${message}`);
    this.id = id;
  }
}

export function must(holds: boolean, id: string, message: string): asserts holds {
  if (!holds) throw new Broken(id, message);
}
