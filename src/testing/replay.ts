/** Plays a saved trace through the machine again: what a bug report holds becomes a test. */
import type { TraceEntry } from '../client/trace.js';
import type { Fact } from '../machine/fact.js';
import { Ledger } from '../machine/ledger.js';
import type { Order } from '../machine/order.js';
import { Session } from '../machine/session.js';
import type { ConnectionState } from '../machine/status.js';
import { comparable } from './packer.js';
import { readTrace } from './saved-trace.js';

export interface Decided {
  readonly orders: readonly Order[];
  /** When it has to be told the time again, in ms of the monotonic clock. */
  readonly deadline: number;
}

/** One step, as it was and as it is now. */
export interface ReplayedStep {
  /** 1 for the first. */
  readonly step: number;
  /** Milliseconds of the monotonic clock. */
  readonly at: number;
  readonly fact: Fact;
  /** What the trace says the machine decided. */
  readonly recorded: Decided;
  /** What it decides now. */
  readonly replayed: Decided;
  /** What the application would see then. */
  readonly state: ConnectionState;
}

export interface Replay {
  /** Up to the first difference, that step included. */
  readonly steps: readonly ReplayedStep[];
  /** The first step that is decided otherwise, the words of errors aside; null: none. */
  readonly difference: ReplayedStep | null;
  /** Every state there was, without repeats; the first is the one before any step. */
  readonly states: readonly ConnectionState[];
}

/**
 * Gives the facts of a trace to a new machine, each with its time and its chance, and compares what it
 * decides.
 *
 * ```ts
 * const { difference, states } = replayTrace(readFileSync('bug.trace', 'utf8'));
 * expect(difference).toBeNull();
 * expect(states.at(-1)?.status).toBe('connected');
 * ```
 * @throws Error where the text is no trace, or one that does not start with the first step
 */
export function replayTrace(text: string): Replay {
  const { entries, origin } = readTrace(text);
  if (origin === null) {
    throw new Error(
      'This trace cannot be replayed: it does not hold every step of its client. Call onTrace before connect(), and keep all that it tells.',
    );
  }
  const answers: TraceEntry['answers'][number][] = [];
  const session = new Session({
    ...origin.options,
    clientId: () => 'replayed',
    shouldReconnect: () => answers.shift() ?? undefined,
    ledger: origin.options.storage === null ? null : () => new Ledger(),
  });
  const steps: ReplayedStep[] = [];
  const states = new Set([session.state(origin.unix)]);
  for (const { step, at, roll, fact, answers: given, ...entry } of entries) {
    answers.push(...given);
    const recorded = { orders: entry.orders, deadline: entry.deadline };
    const replayed = { orders: session.step(fact, at, roll), deadline: session.deadline };
    const state = session.state(origin.unix);
    states.add(state);
    const played = { step, at, fact, recorded, replayed, state };
    steps.push(played);
    const isSame = answers.length === 0 && comparable(replayed) === comparable(recorded);
    if (!isSame) return { steps, difference: played, states: [...states] };
  }
  return { steps, difference: null, states: [...states] };
}
