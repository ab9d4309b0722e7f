/** Everything behind the page: the server, the proxies in front of it, and the means to harm all. */
import { type FaultProxy, faultProxy } from 'holdfast/testing/node';
import { Harms, type Scene } from './harm.ts';
import { RoomServer } from './hub.ts';
import { Tokens } from './tokens.ts';
import type { Doors } from './wires.ts';

export interface Stage extends Scene {
  readonly harms: Harms;
  /** Where clients connect to: the proxies, never the server itself. */
  readonly doors: Doors;
  close(): Promise<void>;
}

export async function setStage(options: { keeper?: boolean; random?: () => number } = {}) {
  const { keeper = true, random } = options;
  const tokens = new Tokens();
  const server = new RoomServer({ tokens, keeper });
  await server.start();
  const target = { port: server.port };
  const made = random === undefined ? { target } : { target, random };
  const [sockets, others] = await Promise.all([faultProxy(made), faultProxy(made)]);
  const scene = { proxies: { sockets, others }, server, tokens };
  const harms = new Harms(scene, (error) => console.error(error));
  const stage: Stage = {
    ...scene,
    harms,
    doors: { socketDoor: doorOf(sockets), httpDoor: doorOf(others) },
    close: () => close(scene, harms),
  };
  return stage;
}

function doorOf({ port }: FaultProxy): string {
  return `http://127.0.0.1:${port}`;
}

async function close({ proxies, server }: Scene, harms: Harms): Promise<void> {
  await harms.heal();
  await Promise.all([proxies.sockets.close(), proxies.others.close()]);
  await server.close();
}
