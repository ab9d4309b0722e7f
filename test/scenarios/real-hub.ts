/** A hub behind a real HTTP server on loopback, and clients that come to it over real WebSockets. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Client, createClient } from 'holdfast';
import { createHub, type Hub, type HubOptions } from 'holdfast/server';
import { webSocket } from 'holdfast/websocket';
import type { ClientOptions } from '../../src/client/options.js';

export interface RealHub {
  readonly hub: Hub;
  readonly port: number;
  /** At once. Harmless twice. */
  close(): Promise<void>;
}

export async function realHub(options: HubOptions): Promise<RealHub> {
  const hub = createHub(options);
  const server = createServer();
  hub.attachWebSocket(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    hub,
    port: (server.address() as AddressInfo).port,
    async close() {
      await hub.close();
      if (!server.listening) return;
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

/** A client that listens to one room, and when it heard what. */
export interface Member {
  readonly name: string;
  readonly client: Client;
  readonly statuses: string[];
  readonly numbers: number[];
  /** Milliseconds of the process, one for each of the numbers. */
  readonly times: number[];
}

/** The room that every member is in; its events are `feed:ticked` with a number. */
export const ROOM = 'room';

/** Connected and joined. It signs in with its name. */
export async function member(
  name: string,
  port: number,
  options: Partial<ClientOptions<never>> = {},
): Promise<Member> {
  const client: Client = createClient({
    transport: webSocket(`ws://127.0.0.1:${port}/realtime`),
    auth: () => ({ token: name }),
    ...options,
  });
  const one: Member = { name, client, statuses: [], numbers: [], times: [] };
  client.on('feed:ticked', (payload) => {
    one.numbers.push((payload as { number: number }).number);
    one.times.push(performance.now());
  });
  client.onState(({ status }) => {
    if (one.statuses.at(-1) !== status) one.statuses.push(status);
  });
  client.onError(() => {});
  await client.connect();
  await client.room(ROOM).join();
  return one;
}

export interface Feed {
  /** Answers with the last number, once the journal has it. Harmless twice. */
  stop(): Promise<number>;
}

/** Publishes 1, 2, 3 … in the room, one every `pace` ms. */
export function feed(hub: Hub, pace: number): Feed {
  let number = 0;
  let last: Promise<unknown> = Promise.resolve();
  const timer = setInterval(() => {
    const next = ++number;
    last = last.then(() => hub.publish(ROOM, 'feed:ticked', { number: next }));
    // Whoever stops it hears of it.
    last.catch(() => clearInterval(timer));
  }, pace);
  return {
    async stop() {
      clearInterval(timer);
      await last;
      return number;
    },
  };
}
