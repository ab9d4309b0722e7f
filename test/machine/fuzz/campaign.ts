/** Runs many stories, counts what they met, and makes a short one of the first that fails. */
import type { SessionOptions } from '../../../src/machine/session.js';
import { Broken } from '../scene.js';
import { Witness } from '../witness.js';
import { Dice } from './dice.js';
import { type Played, Story } from './story.js';

export interface Plan {
  seed: number;
  /** The first sequence's number, and the step to the next one. */
  first: number;
  stride: number;
  /** The sequence's number before which to stop. */
  end: number;
  /** Facts in a sequence, at least. */
  facts: number;
}

export interface Outcome {
  sequences: number;
  facts: number;
  /** `phase fact` → how often. */
  cells: Record<string, number>;
  failure: Failure | null;
}

export interface Failure {
  sequence: number;
  id: string;
  message: string;
  /** Facts before and after they were dropped one by one as long as it still failed. */
  length: number;
  shrunk: string[];
}

export function campaign(plan: Plan): Outcome {
  const outcome: Outcome = { sequences: 0, facts: 0, cells: {}, failure: null };
  // Thousands of errors are made on purpose, and nobody reads where.
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  for (let number = plan.first; number < plan.end; number += plan.stride) {
    outcome.sequences++;
    outcome.failure = play(number, plan, outcome);
    if (outcome.failure !== null) break;
  }
  Error.stackTraceLimit = limit;
  return outcome;
}

function play(number: number, plan: Plan, outcome: Outcome): Failure | null {
  const played: Played[] = [];
  const story = new Story(new Dice(mixed(plan.seed, number)), (step) => {
    const cell = `${story.witness.phase} ${step.fact.fact}`;
    outcome.cells[cell] = (outcome.cells[cell] ?? 0) + 1;
    played.push(step);
  });
  const { options } = story.witness;
  try {
    while (played.length < plan.facts) story.next();
    story.end();
    outcome.facts += played.length;
    return null;
  } catch (thrown) {
    if (!(thrown instanceof Broken)) throw thrown;
    const shrunk = shrink(options, played, thrown.id);
    const message = broken(options, shrunk)?.message ?? thrown.message;
    const { id } = thrown;
    return { sequence: number, id, message, length: played.length, shrunk: shrunk.map(written) };
  }
}

/** Drops facts, many at a time at first, while the same invariant still breaks. */
function shrink(options: SessionOptions, played: readonly Played[], id: string): Played[] {
  let kept = [...played];
  for (
    let size = Math.ceil(kept.length / 2);
    size >= 1;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let from = kept.length - size; from >= 0; from -= size) {
      const fewer = [...kept.slice(0, from), ...kept.slice(from + size)];
      if (broken(options, fewer)?.id === id) kept = fewer;
    }
  }
  return kept;
}

function broken(options: SessionOptions, played: readonly Played[]): Broken | null {
  const witness = new Witness(options);
  try {
    for (const { fact, now, roll } of played) witness.step(fact, now, roll);
    return null;
  } catch (thrown) {
    if (thrown instanceof Broken) return thrown;
    throw thrown;
  }
}

function written({ fact, now, roll }: Played): string {
  const shown = JSON.stringify(fact, (_key, value: unknown) => {
    if (value instanceof Error && 'code' in value) return value.code;
    return value === Number.POSITIVE_INFINITY ? 'Infinity' : value;
  });
  return `${now} ${roll.toFixed(3)} ${shown}`;
}

/** Neighbouring sequences of neighbouring seeds share nothing. */
function mixed(seed: number, number: number): number {
  return Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b);
}
