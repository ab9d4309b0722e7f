/** The wires that the demo offers, each to the same room. */
import type { Transport } from 'holdfast';
import { fallback } from 'holdfast/fallback';
import { polling } from 'holdfast/polling';
import { socketIo } from 'holdfast/socket.io';
import { sse } from 'holdfast/sse';
import { webSocket } from 'holdfast/websocket';

/** Where clients connect to. Two doors, so that WebSockets can be blocked and nothing else. */
export interface Doors {
  /** http://host:port, for WebSockets alone. */
  readonly socketDoor: string;
  /** http://host:port, for all other wires. */
  readonly httpDoor: string;
}

/** Milliseconds; somebody sits here and watches whether the better wire is back. */
const PROBE_PACE = 2_000;

const sockets = ({ socketDoor }: Doors) =>
  webSocket(`${socketDoor.replace('http', 'ws')}/realtime`);
const events = ({ httpDoor }: Doors) => sse(`${httpDoor}/realtime`);
const polls = ({ httpDoor }: Doors) => polling(`${httpDoor}/realtime`);

const wires = {
  websocket: sockets,
  'socket.io': ({ socketDoor }: Doors) => socketIo(socketDoor),
  sse: events,
  polling: polls,
  fallback: (doors: Doors) =>
    fallback([sockets(doors), events(doors), polls(doors)], {
      headStart: 1_000,
      probeInterval: PROBE_PACE,
      // The page starts from the best wire, whatever the last visit found.
      store: false,
    }),
} as const satisfies Record<string, (doors: Doors) => Transport>;

export type WireName = keyof typeof wires;

export const wireNames = Object.keys(wires) as WireName[];

export function isWireName(name: string): name is WireName {
  return Object.hasOwn(wires, name);
}

export function wire(name: WireName, doors: Doors): Transport {
  return wires[name](doors);
}
