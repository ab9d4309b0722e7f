/** Plays many seeds, adds up what they met, and makes a short story of the first that fails. */
import { shrink } from 'holdfast/testing';
import { type Played, play } from './play.js';
import { drawSchedule, type Schedule } from './schedule.js';
import type { Counts } from './story.js';

export interface Plan {
  /** The first seed, the step to the next one, and the seed before which to stop. */
  readonly first: number;
  readonly stride: number;
  readonly end: number;
  /** Whether a failure is made short. @default true */
  readonly shrinks?: boolean;
  /** Shared by the threads of a campaign: not 0 once one of them has found a failure. */
  readonly stop?: SharedArrayBuffer;
}

export interface Totals extends Counts {
  seeds: number;
  /** Virtual milliseconds. */
  lasted: number;
}

export interface Outcome {
  readonly totals: Totals;
  /** How often each kind of fault had an effect. */
  readonly kinds: Record<string, number>;
  readonly failure: Failure | null;
}

export interface Failure {
  readonly seed: number;
  readonly rule: string;
  readonly message: string;
  /** Actions before and after those were left out that it fails without. */
  readonly length: number;
  readonly shrunk: number;
  readonly timeline: readonly string[];
}

export async function campaign(
  plan: Plan,
  progressed: (seeds: number) => void = () => {},
): Promise<Outcome> {
  const totals = { ...nothing };
  const kinds: Record<string, number> = {};
  // Thousands of errors are made on purpose, and nobody reads where.
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  let failure: Failure | null = null;
  const isOver = new Int32Array(plan.stop ?? new SharedArrayBuffer(4));
  for (let seed = plan.first; seed < plan.end && isOver[0] === 0; seed += plan.stride) {
    const schedule = drawSchedule(seed);
    const played = await play(schedule);
    add(played, totals, kinds);
    if (played.violation !== null) {
      Atomics.store(isOver, 0, 1);
      failure = await failureOf(schedule, played, plan.shrinks ?? true);
    }
    progressed(totals.seeds);
  }
  Error.stackTraceLimit = limit;
  return { totals, kinds, failure };
}

/** One seed, told from beginning to end. */
export async function replay(seed: number): Promise<Played> {
  return play(drawSchedule(seed), { keepsLines: true });
}

async function failureOf(
  schedule: Schedule,
  { violation }: Played,
  shrinks: boolean,
): Promise<Failure> {
  const { seed, actions } = schedule;
  const rule = violation?.rule ?? '';
  const message = violation?.message ?? '';
  const length = actions.length;
  if (!shrinks) return { seed, rule, message, length, shrunk: length, timeline: [] };
  const kept = await shrink(actions, async (fewer) => {
    const played = await play({ ...schedule, actions: fewer });
    return played.violation?.rule === rule;
  });
  const told = await play({ ...schedule, actions: kept }, { keepsLines: true });
  return {
    seed,
    rule,
    message: told.violation?.message ?? message,
    length,
    shrunk: kept.length,
    timeline: told.lines,
  };
}

function add(played: Played, totals: Totals, kinds: Record<string, number>): void {
  totals.seeds++;
  totals.lasted += played.lasted;
  for (const [kind, times] of played.kinds) kinds[kind] = (kinds[kind] ?? 0) + times;
  const { counts } = played;
  totals.events += counts.events;
  totals.delivered += counts.delivered;
  totals.requests += counts.requests;
  totals.answered += counts.answered;
  totals.gaps += counts.gaps;
  totals.faults += counts.faults;
  totals.dials += counts.dials;
}

const nothing: Totals = {
  seeds: 0,
  lasted: 0,
  events: 0,
  delivered: 0,
  requests: 0,
  answered: 0,
  gaps: 0,
  faults: 0,
  dials: 0,
};
