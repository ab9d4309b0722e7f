/** A real hub and a client on one virtual clock, joined by an in-memory network that is listened in on. */
import { type Client, type ClientOptions, type Contract, createClient } from 'holdfast';
import { createHub, type Hub, type HubOptions, type Journal, memoryJournal } from 'holdfast/server';
import {
  type Accept,
  type Direction,
  ids,
  type MemoryNetwork,
  memoryNetwork,
  type PassingFrame,
  type Recorder,
  recorder,
  seededDice,
  type VirtualClock,
  virtualClock,
} from 'holdfast/testing';

/** A frame as it was sent, at a time of the virtual clock. */
export interface Passed {
  readonly at: number;
  readonly direction: Direction;
  readonly frame: PassingFrame;
}

export interface HubHarness {
  readonly clock: VirtualClock;
  readonly network: MemoryNetwork;
  readonly hub: Hub;
  readonly client: Client;
  readonly seen: Recorder;
  /** Every frame sent by either end, oldest first. */
  readonly passed: readonly Passed[];
  /** The frames of one kind that the client sent (`up`) or the server (`down`), since `from`. */
  frames(direction: Direction, kind: string, from?: number): PassingFrame[];
  /** Starts one more hub on the same journal or another; it takes all dials from now on. */
  succeed(options?: Partial<HubOptions>): Hub;
  /** Connects, and lets everything that is under way arrive. */
  connected(): Promise<void>;
}

export interface HubHarnessOptions {
  readonly seed?: number;
  /** Milliseconds one way. @default 20 */
  readonly latency?: number;
  readonly hub?: Partial<HubOptions>;
  readonly client?: Partial<ClientOptions<Contract>>;
  /** Stands between the network and the hub, to watch the server's end of a wire. */
  readonly between?: (accept: Accept) => Accept;
}

/** Retries at once, so that a story is not longer than it must be. */
const brisk = { initialDelay: 100, maxDelay: 100, jitter: 'none' } as const;

export function hubHarness(options: HubHarnessOptions = {}): HubHarness {
  const { seed = 1, latency = 20, between = (accept) => accept } = options;
  const clock = virtualClock();
  const dice = seededDice(seed);
  const network = memoryNetwork({ clock, random: dice, latency });
  const passed: Passed[] = [];
  network.drop((frame, direction) => {
    passed.push({ at: clock.now(), direction, frame });
    return false;
  });
  const journal = options.hub?.journal ?? memoryJournal({ clock });
  const serverId = ids('server');
  const environment = { clock, random: dice, id: serverId };
  let stop = () => {};
  function serve(journalOfHub: Journal, more: Partial<HubOptions>): Hub {
    const hub: Hub = createHub({
      environment,
      onError() {},
      ...options.hub,
      ...more,
      journal: journalOfHub,
    });
    stop();
    stop = network.serve(between((wire) => hub.accept(wire)));
    return hub;
  }
  const hub = serve(journal, {});
  const client = createClient({
    transport: network.transport(),
    reconnect: brisk,
    ...options.client,
    environment: {
      clock,
      random: dice,
      id: ids('client'),
      lifecycle: () => () => {},
      report() {},
      ...options.client?.environment,
    },
  }) as Client;
  return {
    clock,
    network,
    hub,
    client,
    seen: recorder(client),
    passed,
    frames: (direction, kind, from = 0) =>
      passed
        .filter((one) => one.direction === direction && one.at >= from && one.frame.kind === kind)
        .map((one) => one.frame),
    succeed: ({ journal: other = journal, ...more } = {}) => serve(other, more),
    async connected() {
      void client.connect();
      await clock.advance(20 * latency + 10);
    },
  };
}
