/** Everything behind the page: the server, the proxy in front of it, and the means to harm both. */
import { type FaultProxy, faultProxy } from 'holdfast/testing/node';
import { Harms, type Scene } from './harm.ts';
import { RoomServer } from './hub.ts';
import { Tokens } from './tokens.ts';

export interface Stage extends Scene {
  readonly harms: Harms;
  /** Where clients connect to: the proxy, never the server itself. */
  readonly socketUrl: string;
  close(): Promise<void>;
}

export async function setStage(options: { keeper?: boolean; random?: () => number } = {}) {
  const { keeper = true, random } = options;
  const tokens = new Tokens();
  const server = new RoomServer({ tokens, keeper });
  await server.start();
  const target = { port: server.port };
  const proxy = await faultProxy(random === undefined ? { target } : { target, random });
  const harms = new Harms({ proxy, server, tokens }, (error) => console.error(error));
  const stage: Stage = {
    server,
    proxy,
    tokens,
    harms,
    socketUrl: `ws://127.0.0.1:${proxy.port}/realtime`,
    close: () => close(proxy, server, harms),
  };
  return stage;
}

async function close(proxy: FaultProxy, server: RoomServer, harms: Harms): Promise<void> {
  await harms.heal();
  await proxy.close();
  await server.close();
}
