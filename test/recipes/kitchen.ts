/** What every recipe's test needs: a place for its server, a proxy before it, and an end of everything. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Client } from 'holdfast';
import { type FaultProxy, faultProxy } from 'holdfast/testing/node';
import { expect } from 'vitest';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';

export interface Kitchen {
  /** Runs after the test, last first. */
  cleanup(end: () => unknown): void;
  /** A WebSocket server on loopback, and a proxy that breaks its connections. */
  webSocketServer(options?: ServerOptions): Promise<Served>;
  /** A proxy before whatever listens on this port. */
  proxyOf(port: number): Promise<FaultProxy>;
  close(): Promise<void>;
}

export interface Served {
  readonly server: WebSocketServer;
  readonly proxy: FaultProxy;
  /** By way of the proxy. */
  readonly url: string;
  /** Ends all connections, without a word. */
  cut(): void;
}

export function kitchen(): Kitchen {
  const ends: (() => unknown)[] = [];
  const cleanup = (end: () => unknown) => void ends.push(end);

  async function proxyOf(port: number): Promise<FaultProxy> {
    const proxy = await faultProxy({ target: { port } });
    cleanup(() => proxy.close());
    return proxy;
  }

  return {
    cleanup,
    proxyOf,
    async webSocketServer(options = {}) {
      const server = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
      await once(server, 'listening');
      cleanup(() => {
        for (const socket of server.clients) socket.terminate();
        return new Promise<void>((done) => server.close(() => done()));
      });
      const proxy = await proxyOf((server.address() as AddressInfo).port);
      return {
        server,
        proxy,
        url: `ws://127.0.0.1:${proxy.port}`,
        cut() {
          for (const connection of proxy.connections) connection.reset();
        },
      };
    },
    async close() {
      for (const end of ends.splice(0).reverse()) await end();
    },
  };
}

/** A test does not wait for the backoff, which the recipes leave as it is. */
export function hurry(client: Pick<Client, 'onState' | 'reconnect'>): void {
  client.onState(({ nextRetryAt }) => {
    if (nextRetryAt !== null) client.reconnect();
  });
}

export const eventually = (check: () => unknown): ReturnType<typeof expect.poll> =>
  expect.poll(check, { interval: 5, timeout: 4_000 });

export function say(socket: WebSocket, message: unknown): void {
  socket.send(JSON.stringify(message));
}
