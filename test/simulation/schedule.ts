/** One story: what it is played on, and a list of timed actions, all drawn from its seed. */
import { drawFault, type NetworkFault } from 'holdfast/testing';
import { Dice } from './dice.js';

/** Milliseconds in which things happen; after them every fault is over. */
export const ACTIVE = 60_000;

export const rooms = ['north', 'south', 'east'] as const;

export interface Setup {
  readonly pages: number;
  readonly latency: number;
  readonly journal: { readonly maxEvents: number; readonly maxAge: number };
  readonly outbox: {
    readonly maxMessages: number;
    readonly overflow: 'reject' | 'drop-oldest' | 'drop-newest';
    readonly maxInFlight: number;
  };
  readonly maxHeld: number;
  /** Milliseconds for which credentials hold; null: for ever. */
  readonly expiresIn: number | null;
  readonly jitter: 'full' | 'none' | number;
  readonly retrySpread: number;
  /** Bytes of a connection's buffer above which events wait in the journal. */
  readonly bufferedBytes: number;
  /** Whether the outbox outlives a page. */
  readonly isStored: boolean;
  /** Milliseconds that each write to the storage takes. */
  readonly storageDelay: number;
}

/** How a request's handler behaves. */
export interface AskPlan {
  readonly n: number;
  readonly room: string | null;
  readonly handler: 'quick' | 'slow' | 'retryable' | 'failing' | 'hanging' | 'rerunnable';
  /** Milliseconds that the handler takes. */
  readonly takes: number;
  readonly publishes: boolean;
  readonly delivery: 'exactly-once' | 'at-least-once' | 'at-most-once';
  /** Milliseconds after which its signal aborts. */
  readonly abortAfter: number | null;
  readonly timeout: number | null;
}

export type Action =
  | { readonly do: 'publish'; readonly room: string; readonly count: number; readonly pad: number }
  | { readonly do: 'publish to user'; readonly page: number; readonly count: number }
  | { readonly do: 'ask'; readonly page: number; readonly plan: AskPlan }
  | { readonly do: 'tell'; readonly page: number; readonly n: number; readonly offline: Offline }
  | FaultAction;

type Offline = 'queue' | 'drop' | 'reject';

export type FaultAction =
  | {
      readonly do: 'network';
      /** Null: all of them. */
      readonly page: number | null;
      readonly fault: NetworkFault;
      readonly for: number;
    }
  | { readonly do: 'late frames'; readonly page: number }
  | {
      readonly do: 'server crash';
      readonly journal: 'kept' | 'lost';
      readonly isSilent: boolean;
      readonly for: number;
    }
  | { readonly do: 'goodbye'; readonly over: number }
  | { readonly do: 'clock jump'; readonly page: number; readonly by: number }
  | {
      readonly do: 'sleep';
      readonly page: number;
      readonly monotonic: 'runs' | 'stops';
      readonly for: number;
    }
  | {
      readonly do: 'throttled timers';
      readonly page: number;
      readonly ms: number;
      readonly for: number;
    }
  | { readonly do: 'token expiry' }
  | {
      readonly do: 'banishment';
      readonly page: number;
      readonly code: number;
      readonly for: number;
    }
  | { readonly do: 'trouble'; readonly page: number; readonly with: Trouble; readonly for: number }
  | {
      readonly do: 'churn';
      readonly page: number;
      readonly room: string;
      readonly resumes: boolean;
      readonly for: number;
    }
  | {
      readonly do: 'aborted join';
      readonly page: number;
      readonly room: string;
      readonly for: number;
    }
  | { readonly do: 'flood'; readonly page: number }
  | {
      readonly do: 'reload';
      readonly page: number;
      readonly isKilled: boolean;
      readonly for: number;
    }
  | { readonly do: 'signal'; readonly page: number; readonly signal: Signal; readonly for: number }
  | { readonly do: 'reconnect'; readonly page: number }
  | { readonly do: 'disconnect'; readonly page: number; readonly for: number };

export type Signal = 'offline' | 'hidden' | 'suspended';

/** What goes wrong in the application's own code while it lasts. */
export const troubles = [
  'provider throws',
  'provider hangs',
  'onGap throws',
  'onGap hangs',
  'a listener throws',
  'storage fails',
  'authorization fails',
] as const;

export type Trouble = (typeof troubles)[number];

export type Timed<A extends Action = Action> = A & { readonly at: number };

export interface Schedule {
  readonly seed: number;
  readonly setup: Setup;
  readonly actions: readonly Timed[];
}

/** Requests that one flood asks at once: more than any outbox here takes. */
export const FLOOD = 60;

export function drawSchedule(seed: number): Schedule {
  const dice = new Dice(seed);
  const setup = drawSetup(dice);
  const actions = [...drawTraffic(dice, setup), ...drawTrouble(dice, setup)];
  return { seed, setup, actions: actions.sort((one, other) => one.at - other.at) };
}

function drawSetup(dice: Dice): Setup {
  const isShort = dice.chance(0.3);
  return {
    pages: dice.whole(2, 3),
    latency: dice.pick([0, 5, 20, 60, 150]),
    journal: {
      maxEvents: isShort ? dice.pick([3, 8, 20]) : 1_000,
      maxAge: dice.chance(0.15) ? dice.pick([2_000, 8_000]) : 120_000,
    },
    outbox: {
      maxMessages: dice.pick([8, 20, 50]),
      overflow: dice.pick(['reject', 'drop-oldest', 'drop-newest']),
      maxInFlight: dice.pick([1, 4, 64]),
    },
    maxHeld: dice.pick([2, 10, 10_000]),
    expiresIn: dice.pick([null, 6_000, 15_000]),
    jitter: dice.pick(['full', 'full', 'none', 300]),
    retrySpread: dice.pick([0, 0, 0, 1_500]),
    bufferedBytes: dice.pick([2_000, 16_384, 1_048_576]),
    isStored: dice.chance(0.5),
    storageDelay: dice.pick([0, 0, 5, 80]),
  };
}

function drawTraffic(dice: Dice, { pages }: Setup): Timed[] {
  const drawn: Timed[] = [];
  for (let events = 0; events < 210; ) {
    const count = dice.pick([1, 1, 2, 3, 6, 12]);
    const isOwn = dice.chance(0.12);
    events += count;
    const at = dice.whole(0, ACTIVE);
    if (isOwn) drawn.push({ at, do: 'publish to user', page: dice.whole(0, pages - 1), count });
    else {
      const pad = dice.pick([0, 0, 0, 200, 1_500]);
      drawn.push({ at, do: 'publish', room: dice.pick(rooms), count, pad });
    }
  }
  for (let n = 1; n <= 54; n++) {
    const page = dice.whole(0, pages - 1);
    drawn.push({ at: dice.whole(0, ACTIVE), do: 'ask', page, plan: drawAsk(dice, n) });
  }
  for (let n = 1; n <= 12; n++) {
    const offline = dice.pick(['queue', 'drop', 'reject']);
    drawn.push({
      at: dice.whole(0, ACTIVE),
      do: 'tell',
      page: dice.whole(0, pages - 1),
      n,
      offline,
    });
  }
  return drawn;
}

function drawAsk(dice: Dice, n: number): AskPlan {
  const handler = dice.pick<AskPlan['handler']>([
    'quick',
    'quick',
    'quick',
    'slow',
    'slow',
    'retryable',
    'failing',
    'rerunnable',
    dice.chance(0.15) ? 'hanging' : 'slow',
  ]);
  return {
    n,
    room: dice.chance(0.6) ? dice.pick(rooms) : null,
    handler,
    takes: handler === 'quick' ? 0 : dice.whole(1, 2_500),
    publishes: dice.chance(0.4),
    delivery: dice.chance(0.8) ? 'exactly-once' : dice.pick(['at-least-once', 'at-most-once']),
    abortAfter: dice.chance(0.12) ? dice.whole(0, 5_000) : null,
    timeout: dice.chance(0.08) ? dice.whole(100, 4_000) : null,
  };
}

function drawTrouble(dice: Dice, setup: Setup): Timed<FaultAction>[] {
  const count = dice.whole(22, 30);
  return Array.from({ length: count }, () => ({
    at: dice.whole(500, ACTIVE - 2_000),
    ...drawFaultAction(dice, setup),
  }));
}

function drawFaultAction(dice: Dice, { pages }: Setup): FaultAction {
  const page = dice.whole(0, pages - 1);
  const ms = dice.whole(300, 9_000);
  switch (dice.pick(faultActions)) {
    case 'network': {
      const fault = drawFault(dice.pick(networkKinds), dice.roll);
      return { do: 'network', page: dice.chance(0.3) ? null : page, fault, for: ms };
    }
    case 'late frames':
      return { do: 'late frames', page };
    case 'server crash': {
      const journal = dice.chance(0.3) ? 'lost' : 'kept';
      const downtime = dice.pick([0, 50, 1_000, 4_000]);
      return { do: 'server crash', journal, isSilent: dice.chance(0.3), for: downtime };
    }
    case 'goodbye':
      return { do: 'goodbye', over: dice.pick([500, 3_000, 8_000]) };
    case 'clock jump':
      return { do: 'clock jump', page, by: dice.pick([-86_400_000, -5_000, 5_000, 86_400_000]) };
    case 'sleep':
      return { do: 'sleep', page, monotonic: dice.pick(['runs', 'stops']), for: ms };
    case 'throttled timers':
      return { do: 'throttled timers', page, ms: dice.pick([1_000, 1_000, 10_000]), for: 2 * ms };
    case 'token expiry':
      return { do: 'token expiry' };
    case 'banishment':
      return { do: 'banishment', page, code: dice.pick([4403, 4408, 1008]), for: ms };
    case 'trouble':
      return { do: 'trouble', page, with: dice.pick(troubles), for: 2 * ms };
    case 'churn':
      return { do: 'churn', page, room: dice.pick(rooms), resumes: dice.chance(0.7), for: ms };
    case 'aborted join':
      return { do: 'aborted join', page, room: dice.pick(rooms), for: dice.whole(0, 400) };
    case 'flood':
      return { do: 'flood', page };
    case 'reload':
      return { do: 'reload', page, isKilled: dice.chance(0.6), for: dice.pick([0, 10, 2_000]) };
    case 'signal':
      return { do: 'signal', page, signal: dice.pick(['offline', 'hidden', 'suspended']), for: ms };
    case 'reconnect':
      return { do: 'reconnect', page };
    case 'disconnect':
      return { do: 'disconnect', page, for: ms };
  }
}

/** The wire fails more often than the rest together. */
const faultActions = [
  ...Array<'network'>(14).fill('network'),
  'late frames',
  'server crash',
  'server crash',
  'goodbye',
  'goodbye',
  'clock jump',
  'sleep',
  'throttled timers',
  'token expiry',
  'banishment',
  'trouble',
  'trouble',
  'trouble',
  'trouble',
  'churn',
  'churn',
  'aborted join',
  'flood',
  'reload',
  'signal',
  'reconnect',
  'disconnect',
] as const;

const networkKinds = [
  'delay',
  'bandwidth',
  'black hole',
  'refused dials',
  'silent dials',
  'lost frames',
  'doubled frames',
  'cut',
  'cut',
  'close',
  'half open',
] as const;
