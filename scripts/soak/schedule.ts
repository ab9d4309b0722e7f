/** Which harm comes when, and when the hub is killed: the same for the same seed. */
import { type Harm, harms } from './harm.ts';

export interface Schedule {
  /** Milliseconds from the start. */
  readonly blows: readonly { readonly at: number; readonly harm: Harm }[];
  /** Of the hub: a SIGKILL after which it is `away` for so long, or one process gives way to the next. */
  readonly ends: readonly { readonly at: number; readonly away: number | 'never' }[];
}

/** Milliseconds from one harm to the next: some clients are always in trouble, most are well. */
const PACE = 400;
/** Milliseconds at the end in which nothing new is done. */
const CALM = 7_000;

export interface ScheduleOptions {
  readonly ms: number;
  /** Whether one process of the hub can take over from another. */
  readonly replaces: boolean;
  readonly random: () => number;
}

export function schedule({ ms, replaces, random }: ScheduleOptions): Schedule {
  const blows: Schedule['blows'][number][] = [];
  let deck: Harm[] = [];
  for (let at = PACE; at < ms - CALM; at += PACE) {
    if (deck.length === 0) deck = shuffled(harms, random);
    const harm = deck.pop();
    if (harm !== undefined) blows.push({ at: at + random() * PACE, harm });
  }
  // Five in ten minutes, with as much time after the last as before the first.
  const count = Math.max(1, Math.round(ms / 120_000));
  const step = ms / (count + 1);
  const kills = Array.from({ length: count }, (_, index) => ({
    at: step * (index + 1) + (random() - 0.5) * 2_000,
    away: 500 + random() * 2_500,
  }));
  const replacements = kills
    .slice(1)
    .map(({ at }) => ({ at: at - step / 2, away: 'never' as const }));
  const ends = [...kills, ...(replaces ? replacements : [])].toSorted((a, b) => a.at - b.at);
  return { blows, ends };
}

function shuffled<T>(cards: readonly T[], random: () => number): T[] {
  const rest = [...cards];
  return cards.flatMap(() => rest.splice(Math.floor(random() * rest.length), 1));
}
