/** A client on a virtual clock and an in-memory network, with everything it shows written down. */
import { type Client, type ClientOptions, createClient, type Contract } from 'holdfast';
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

export interface Harness {
  readonly clock: VirtualClock;
  readonly network: MemoryNetwork;
  readonly server: ScriptedServer;
  readonly client: Client;
  readonly seen: Recorder;
  /** What the device says of itself. */
  signal(signal: LifecycleSignal): void;
}

export function harness(
  options: Partial<ClientOptions<Contract>> & { auto?: boolean; seed?: number } = {},
): Harness {
  const { auto = false, seed = 1, ...rest } = options;
  const clock = virtualClock();
  const dice = seededDice(seed);
  const network = memoryNetwork({ clock, random: dice });
  const server = scriptedServer(network, { auto });
  const listeners = new Set<(signal: LifecycleSignal) => void>();
  const client = createClient({
    transport: network.transport(),
    ...rest,
    environment: {
      clock,
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
