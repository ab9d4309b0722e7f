/** What can happen to a memory network, as values: drawn from a seed, played, cut short, printed. */
import type { Clock } from '../../lib/clock.js';
import { type Direction, type Faults, healthy, type PassingFrame } from '../memory-faults.js';
import type { FaultControls } from '../memory-network.js';

/** One thing that goes wrong. What has no duration of its own happens at once. */
export type NetworkFault =
  /** Milliseconds one way, and up to `jitter` more by chance. */
  | { readonly kind: 'delay'; readonly ms: number; readonly jitter: number }
  /** 0 is a reader that has stopped. */
  | { readonly kind: 'bandwidth'; readonly bytesPerSecond: number; readonly direction: Direction }
  /** Silence; what was held arrives late, when it is over. */
  | { readonly kind: 'black hole'; readonly direction: Direction | 'both' }
  /** With a close code, or with the code of an error. */
  | { readonly kind: 'refused dials'; readonly by: number | string }
  | { readonly kind: 'silent dials' }
  /** Of the frames whose loss the protocol makes good: events, requests, responses, heartbeats. */
  | { readonly kind: 'lost frames'; readonly every: number }
  | { readonly kind: 'doubled frames'; readonly every: number }
  | { readonly kind: 'cut' }
  | { readonly kind: 'close'; readonly code: number }
  | { readonly kind: 'half open'; readonly gone: 'client' | 'server' };

/** A fault with its place in a story, in ms. `for` is 0 for what happens at once. */
export interface TimedFault {
  readonly at: number;
  readonly for: number;
  readonly fault: NetworkFault;
}

export interface FaultDraw {
  /** Numbers in [0, 1): the same ones draw the same faults. */
  readonly random: () => number;
  /** Faults start within so many ms. */
  readonly within: number;
  readonly count: number;
  /** @default all of them */
  readonly kinds?: readonly NetworkFault['kind'][];
}

/**
 * Draws what goes wrong and when, in the order of time. The list is plain data: print it beside the
 * seed, leave some out to see which are needed (`shrink`), play it with `playFaults`.
 */
export function drawFaults({ random, within, count, kinds = allKinds }: FaultDraw): TimedFault[] {
  const drawn = Array.from({ length: count }, () => {
    const fault = drawFault(pick(random, kinds), random);
    return { at: Math.floor(random() * within), for: lasts(fault, random), fault };
  });
  return drawn.sort((one, other) => one.at - other.at);
}

/** One fault of a kind, its terms by chance. */
export function drawFault(kind: NetworkFault['kind'], random: () => number): NetworkFault {
  return draws[kind](random);
}

/** Plays faults on a network, each at its time from now. Returns the end of those still to come. */
export function playFaults(
  faults: readonly TimedFault[],
  { network, clock, ...about }: FaultStage,
): () => void {
  const ends = new Set<() => void>();
  const after = (ms: number, run: () => void) => {
    const cancel = clock.after(ms, () => {
      ends.delete(cancel);
      run();
    });
    ends.add(cancel);
  };
  for (const { at, for: ms, fault } of faults) {
    after(at, () => {
      const end = startFault(network, fault, about);
      after(ms, end);
    });
  }
  return () => {
    for (const end of ends) end();
  };
}

/** Where faults are played. */
export interface FaultStage extends FaultSurroundings {
  readonly network: FaultControls;
  readonly clock: Clock;
}

export interface FaultSurroundings {
  /** What the network is like without the fault: a `latency` of its own, for one. */
  readonly usual?: Partial<Faults>;
  /** Hears of each frame that is lost or doubled. */
  readonly meddled?: (how: 'lost' | 'doubled', frame: PassingFrame) => void;
}

/**
 * Starts one fault, on a whole network or on one link. Returns its end, which leaves faults of other
 * kinds alone.
 */
export function startFault(
  network: FaultControls,
  fault: NetworkFault,
  { usual = {}, meddled = nothing }: FaultSurroundings = {},
): () => void {
  const { latency, jitter, bandwidth, socketBuffer } = { ...healthy, ...usual };
  switch (fault.kind) {
    case 'delay':
      network.set({ latency: fault.ms, jitter: fault.jitter });
      return () => network.set({ latency, jitter });
    case 'bandwidth':
      network.set({ bandwidth: { [fault.direction]: fault.bytesPerSecond }, socketBuffer: 2_048 });
      return () => network.set({ bandwidth, socketBuffer });
    case 'black hole':
      network.set({ blackHole: fault.direction });
      return () => network.set({ blackHole: 'none' });
    case 'refused dials':
      network.set({ refuse: fault.by });
      return () => network.set({ refuse: null });
    case 'silent dials':
      network.set({ silent: true });
      return () => network.set({ silent: false });
    case 'lost frames':
      return network.drop(every(fault.every, (frame) => meddled('lost', frame)));
    case 'doubled frames':
      return network.duplicate(every(fault.every, (frame) => meddled('doubled', frame)));
    case 'cut':
      network.cut();
      return nothing;
    case 'close':
      network.close(fault.code);
      return nothing;
    case 'half open':
      network.halfOpen(fault.gone);
      return nothing;
    default:
      fault satisfies never;
      return nothing;
  }
}

/** Frames that may be lost or doubled without breaking what a wire promises to the protocol. */
const redeemable: ReadonlySet<string> = new Set(['event', 'request', 'response', 'ping', 'pong']);

/** The last of every so many that may be meddled with. */
function every(
  times: number,
  hit: (frame: PassingFrame) => void,
): (frame: PassingFrame) => boolean {
  let seen = 0;
  return (frame) => {
    if (!redeemable.has(frame.kind) || ++seen % times !== 0) return false;
    hit(frame);
    return true;
  };
}

const nothing = () => {};

type Draws = { readonly [Kind in NetworkFault['kind']]: (random: () => number) => NetworkFault };

const draws: Draws = {
  delay: (random) => ({
    kind: 'delay',
    ms: whole(random, 10, 600),
    jitter: pick(random, [0, 50, 400]),
  }),
  bandwidth: (random) => ({
    kind: 'bandwidth',
    bytesPerSecond: pick(random, [0, 0, 500, 2_000, 10_000]),
    direction: pick(random, ['up', 'down', 'down']),
  }),
  'black hole': (random) => ({
    kind: 'black hole',
    direction: pick(random, ['both', 'up', 'down']),
  }),
  'refused dials': (random) => ({
    kind: 'refused dials',
    by: pick(random, ['CONNECTION_FAILED', 1011, 1013, 4429]),
  }),
  'silent dials': () => ({ kind: 'silent dials' }),
  'lost frames': (random) => ({ kind: 'lost frames', every: whole(random, 1, 6) }),
  'doubled frames': (random) => ({ kind: 'doubled frames', every: whole(random, 1, 4) }),
  cut: () => ({ kind: 'cut' }),
  close: (random) => ({
    kind: 'close',
    code: pick(random, [1000, 1001, 1006, 1011, 1012, 4401, 4429]),
  }),
  'half open': (random) => ({ kind: 'half open', gone: pick(random, ['client', 'server']) }),
};

const allKinds: readonly NetworkFault['kind'][] = [
  'delay',
  'bandwidth',
  'black hole',
  'refused dials',
  'silent dials',
  'lost frames',
  'doubled frames',
  'cut',
  'close',
  'half open',
];

function lasts({ kind }: NetworkFault, random: () => number): number {
  if (kind === 'cut' || kind === 'close' || kind === 'half open') return 0;
  return whole(random, 300, 9_000);
}

function whole(random: () => number, least: number, most: number): number {
  return least + Math.floor(random() * (most - least + 1));
}

function pick<const T>(random: () => number, choices: readonly T[]): T {
  const index = Math.floor(random() * choices.length);
  const chosen = choices[index];
  if (chosen === undefined) throw new RangeError('There is nothing to choose from.');
  return chosen;
}
