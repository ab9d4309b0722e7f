/** Which harm comes when: the same for the same seed and length. */
import type { HarmName } from './harm-list.ts';

export interface Planned {
  /** Milliseconds from the start. */
  readonly at: number;
  readonly name: HarmName;
  /** Milliseconds. */
  readonly lasts: number;
}

/** Milliseconds from one fault to the next: enough to be noticed (1.5 s) and to come back. */
const SLOT = 2_200;

/** Long enough for the heartbeats to give a silent link up, short enough for its slot. */
const lasting: readonly (readonly [HarmName, number])[] = [
  ['cut', 0],
  ['restart-kept', 700],
  ['silence', 1_800],
  ['restart-lost', 700],
  ['flap', 1_300],
  ['token-expired', 0],
  ['silence-down', 1_800],
  ['delay', 1_400],
  ['silence-up', 1_800],
];

/** @param seconds how long it may take; one fault at least */
export function schedule(seconds: number, random: () => number): Planned[] {
  const faults = Math.max(1, Math.floor((seconds * 1_000) / SLOT));
  const plan: Planned[] = [];
  let deck: (readonly [HarmName, number])[] = [];
  for (let slot = 0; slot < faults; slot++) {
    if (deck.length === 0) deck = shuffled(lasting, random);
    const [name, lasts] = deck.pop() ?? ['cut', 0];
    const spare = Math.max(0, SLOT - lasts) / 2;
    plan.push({ at: Math.round(slot * SLOT + random() * spare), name, lasts });
  }
  return plan;
}

function shuffled<T>(cards: readonly T[], random: () => number): T[] {
  const rest = [...cards];
  return cards.flatMap(() => rest.splice(Math.floor(random() * rest.length), 1));
}
