/** A client on a virtual clock and an in-memory network, with everything it shows written down. */
import { type Client, type ClientOptions, type Contract, createClient } from 'holdfast';
import {
  ids,
  type MemoryNetwork,
  memoryNetwork,
  type Recorder,
  recorder,
  type ScriptedServer,
  scriptedServer,
  seededDice,
  type VirtualClock,
  virtualClock,
} from 'holdfast/testing';
import type { LifecycleSignal } from '../../src/client/environment.js';
import type { Clock } from '../../src/lib/clock.js';

export interface Harness {
  readonly clock: VirtualClock;
  readonly network: MemoryNetwork;
  readonly server: ScriptedServer;
  readonly client: Client;
  readonly seen: Recorder;
  /** What the device says of itself. */
  signal(signal: LifecycleSignal): void;
}

export interface HarnessOptions extends Partial<ClientOptions<Contract>> {
  /** The server answers by itself. @default false */
  auto?: boolean;
  seed?: number;
  /** The clock as the client sees it; the network keeps the whole one. */
  wrapClock?: (clock: Clock) => Clock;
}

export function harness(options: HarnessOptions = {}): Harness {
  const { auto = false, seed = 1, wrapClock = (whole) => whole, ...rest } = options;
  const clock = virtualClock();
  const dice = seededDice(seed);
  const network = memoryNetwork({ clock, random: dice });
  const server = scriptedServer(network, { auto });
  const listeners = new Set<(signal: LifecycleSignal) => void>();
  const client = createClient({
    transport: network.transport(),
    ...rest,
    environment: {
      clock: wrapClock(clock),
      random: dice,
      id: ids(`id${seed}`),
      lifecycle(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      report() {},
      ...rest.environment,
    },
  }) as Client;
  const seen = recorder(client);
  const signal = (one: LifecycleSignal) => {
    for (const listener of listeners) listener(one);
  };
  return { clock, network, server, client, seen, signal };
}
