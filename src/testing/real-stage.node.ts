/** A stage for transports over TCP: a real HTTP server for each hub, and the fault proxy before them. */
import { createServer, type Server } from 'node:http';
import type { Transport } from '../client/transport.js';
import type { Hub } from '../server/hub.js';
import { createHub, failure, memoryJournal } from '../server/index.js';
import type { Ending, TransportStage } from './conformance/stage.js';
import { faultProxy } from './fault-proxy.node.js';

export interface RealStageOptions {
  /** Serves the hub by this wire, on an HTTP server that listens already. */
  attach(hub: Hub, server: Server): (() => unknown) | undefined;
  /** Reaches that server, by way of the proxy on this port of 127.0.0.1. */
  transport(port: number): Transport;
}

/**
 * A stage of real sockets on 127.0.0.1, on ports of its own.
 *
 * ```ts
 * const stage = () =>
 *   realStage({
 *     attach: (hub, server) => hub.attachWebSocket(server),
 *     transport: (port) => webSocket(`ws://127.0.0.1:${port}/realtime`),
 *   });
 * ```
 */
export async function realStage(options: RealStageOptions): Promise<TransportStage> {
  const proxy = await faultProxy({ target: { port: 9 } });
  const servers = new Set<Server>();

  async function serve(hub: Hub): Promise<Ending> {
    const server = createServer();
    servers.add(server);
    proxy.retarget({ port: await listening(server) });
    const detach = options.attach(hub, server);
    return async () => {
      servers.delete(server);
      detach?.();
      await ended(server);
    };
  }

  return {
    server: { createHub, memoryJournal, failure },
    transport: () => options.transport(proxy.port),
    serve,
    network: {
      cut: () => proxy.reset(),
      refuse: () => proxy.set({ accept: 'refuse' }),
      blackHole: () => proxy.set({ blackHole: 'both' }),
      slow: (bandwidth) => proxy.set({ bandwidth }),
      heal: () => proxy.heal(),
    },
    resources: () => process.getActiveResourcesInfo(),
    async end() {
      for (const server of servers) await ended(server);
      await proxy.close();
    },
  };
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((done, failed) => {
    server.once('error', failed).listen(0, '127.0.0.1', done);
  });
  const address = server.address();
  if (address !== null && typeof address === 'object') return address.port;
  throw new Error('The server does not listen on a port.');
}

async function ended(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((done) => server.close(() => done()));
}
