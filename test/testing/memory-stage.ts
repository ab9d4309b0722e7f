/** A stage in memory, on virtual time. */

import type { Clock, Transport } from 'holdfast';
import { createHub, failure, memoryJournal } from 'holdfast/server';
import {
  type MemoryTransportOptions,
  memoryNetwork,
  seededDice,
  type TransportStage,
  virtualClock,
} from 'holdfast/testing';

/** What is made of a transport before it is played. */
export type Change = (transport: Transport, clock: Clock) => Transport;

export function memoryStage(
  change: Change = (transport) => transport,
  options: MemoryTransportOptions = {},
): TransportStage {
  const clock = virtualClock();
  const network = memoryNetwork({ clock, random: seededDice(1), latency: 5 });
  let stop = () => {};
  return {
    server: { createHub, failure, memoryJournal },
    clock,
    transport: () => change(network.transport(options), clock),
    serve(hub) {
      // One at a time: the newest.
      stop();
      const ends = network.serve(hub.accept);
      stop = ends;
      return () => {
        ends();
        network.cut();
      };
    },
    network: {
      cut: () => network.cut(),
      refuse: () => network.set({ refuse: 'CONNECTION_FAILED' }),
      blackHole: () => network.set({ blackHole: 'both' }),
      slow: (bandwidth) => network.set({ bandwidth }),
      heal: () => network.heal(),
    },
    end() {},
  };
}
