/** What happened and what was decided, for an inspector, a log or a bug report; credentials left out. */
import type { Fact } from '../machine/fact.js';
import type { Order } from '../machine/order.js';
import type { SessionOptions } from '../machine/session.js';
import type { Outgoing } from '../protocol/wire.js';

/** One step of the machine: a fact, what it found, and the orders that it led to. */
export interface TraceEntry {
  /** 1 for a client's first step, then up. A trace that holds all of them can be replayed. */
  readonly step: number;
  /** Milliseconds of the monotonic clock. */
  readonly at: number;
  /** In [0, 1): the chance there was in it. */
  readonly roll: number;
  /** Credentials are `[redacted]`, and so is the clientId; two sets of them have two `key`s. */
  readonly fact: Fact;
  readonly orders: readonly Order[];
  /** When the machine has to be told the time again, on the same clock; Infinity: it need not be. */
  readonly deadline: number;
  /** What `shouldReconnect` answered, each time it was asked. */
  readonly answers: readonly Answer[];
  /** What all of it started from: with the first step alone. */
  readonly origin?: TraceOrigin;
}

/** What `shouldReconnect` said; null: nothing. */
export type Answer = boolean | { readonly delay: number } | null;

export interface TraceOrigin {
  /** The client's options, with their defaults, as far as decisions follow from them. */
  readonly options: TraceOptions;
  /** To be added to `at` for Unix milliseconds. */
  readonly unix: number;
}

export interface TraceOptions
  extends Omit<SessionOptions, 'clientId' | 'shouldReconnect' | 'ledger'> {
  /** The name of its storage. */
  readonly storage: string | null;
}

const REDACTED = '[redacted]';

/** Makes entries what may be shown. `origin` is asked for with the first step. */
export function redaction(origin: () => TraceOrigin): (entry: TraceEntry) => TraceEntry {
  const names = new Map<string, string>();
  return ({ fact, orders, ...entry }) => ({
    ...entry,
    ...(entry.step === 1 && { origin: origin() }),
    fact: redactFact(fact, names),
    orders: orders.map((order) =>
      order.order === 'transmit' ? { ...order, frames: order.frames.map(redactFrame) } : order,
    ),
  });
}

/** The same credentials have the same name, so that a replay decides as the machine did. */
function redactFact(fact: Fact, names: Map<string, string>): Fact {
  if (fact.fact === 'restored') {
    return { ...fact, saved: { ...fact.saved, clientId: REDACTED } };
  }
  if (fact.fact !== 'credentialsGiven') return fact;
  const key = names.get(fact.key) ?? `credentials ${names.size + 1}`;
  names.set(fact.key, key);
  return { ...fact, auth: fact.auth === null ? null : REDACTED, key };
}

function redactFrame(frame: Outgoing): Outgoing {
  if (typeof frame === 'string' || frame instanceof Uint8Array || frame.kind !== 'auth')
    return frame;
  return { ...frame, auth: REDACTED };
}
