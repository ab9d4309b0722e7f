/** What happened and what was decided, for an inspector, a log or a bug report; credentials left out. */
import type { Fact } from '../machine/fact.js';
import type { Order, Outgoing } from '../machine/order.js';

/** One step of the machine. `at`: milliseconds of the monotonic clock. */
export interface TraceEntry {
  readonly at: number;
  readonly fact: Fact;
  readonly orders: readonly Order[];
}

const REDACTED = '[redacted]';

/** The entry as it may be shown. */
export function redacted({ at, fact, orders }: TraceEntry): TraceEntry {
  return {
    at,
    fact:
      fact.fact === 'credentialsGiven' && fact.auth !== null
        ? { ...fact, auth: REDACTED, key: REDACTED }
        : fact,
    orders: orders.map((order) =>
      order.order === 'transmit' ? { ...order, frames: order.frames.map(redactFrame) } : order,
    ),
  };
}

function redactFrame(frame: Outgoing): Outgoing {
  if (typeof frame === 'string' || frame instanceof Uint8Array || frame.kind !== 'auth')
    return frame;
  return { ...frame, auth: REDACTED };
}
