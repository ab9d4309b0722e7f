/** How much memory a process holds on to, and whether it grows. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Megabytes, after a full collection. */
export interface Heap {
  /** Objects, and what they hold outside the heap. */
  readonly held: number;
  readonly rss: number;
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

export function heapNow(): Heap {
  collect();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { held: (heapUsed + external) / 1e6, rss: rss / 1e6 };
}

export interface Sample {
  /** Seconds from the start. */
  readonly at: number;
  readonly clients: Heap;
  /** Null while there is none. */
  readonly hub: Heap | null;
}

/** A process may hold so much more at the end than after its first minute. */
const GROWTH = 1.1;
/** Seconds: what the end is compared with, and how much of it is looked at. */
const FIRST_MINUTE = 60;
const WINDOW = 40;

export interface Growth {
  readonly of: 'clients' | 'hub';
  readonly first: number;
  readonly last: number;
  readonly isTooMuch: boolean;
}

/** Nothing for a run that is too short to tell. */
export function growth(samples: readonly Sample[], seconds: number): Growth[] {
  if (seconds < FIRST_MINUTE + 2 * WINDOW) return [];
  return (['clients', 'hub'] as const).map((of) => {
    const held = (from: number) =>
      median(
        samples
          .filter(({ at }) => at >= from && at < from + WINDOW)
          .flatMap((one) => one[of]?.held ?? []),
      );
    const first = held(FIRST_MINUTE);
    const last = held(seconds - WINDOW);
    return { of, first, last, isTooMuch: !(last <= first * GROWTH) };
  });
}

/** Samples in one block of lines. */
const COLUMNS = 15;

export function series(samples: readonly Sample[]): string {
  const blocks: string[] = [];
  for (let from = 0; from < samples.length; from += COLUMNS) {
    blocks.push(block(samples.slice(from, from + COLUMNS)));
  }
  return blocks.join('\n\n');
}

function block(samples: readonly Sample[]): string {
  const row = (name: string, of: (sample: Sample) => number | undefined) =>
    `${name.padEnd(14)}${samples.map((one) => (of(one)?.toFixed(1) ?? '–').padStart(7)).join('')}`;
  return [
    `${'seconds'.padEnd(14)}${samples.map(({ at }) => String(Math.round(at)).padStart(7)).join('')}`,
    row('clients held', ({ clients }) => clients.held),
    row('clients RSS', ({ clients }) => clients.rss),
    row('hub held', ({ hub }) => hub?.held),
    row('hub RSS', ({ hub }) => hub?.rss),
  ].join('\n');
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
