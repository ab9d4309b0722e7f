/** A real hub that counts what ran, and the page of storage.test.ts, on one port of loopback. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHub, type Hub } from 'holdfast/server';

export interface StorageSite {
  readonly url: string;
  readonly hub: Hub;
  /** The numbers of the requests that ran, in their order. */
  readonly ran: readonly number[];
  /** Runs once more than so many have. */
  onRun(count: number, run: () => void): void;
  close(): Promise<void>;
}

/** @param script what every page runs */
export async function storageSite(script: string): Promise<StorageSite> {
  const ran: number[] = [];
  let watch = { count: Number.POSITIVE_INFINITY, run: () => {} };
  const hub = createHub({
    limits: { messagesPerSecond: 100_000 },
    authenticate: ({ auth }) => ({ user: String(auth) }),
    handlers: {
      'note:add': async (payload: unknown) => {
        const { number } = payload as { number: number };
        ran.push(number);
        if (ran.length > watch.count) watch.run();
        // So that some are running when it happens.
        await new Promise((done) => setImmediate(done));
        return { number };
      },
    },
  });
  const server = createServer(({ url }, response) => {
    const isScript = url === '/script.js';
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html');
    response.end(
      isScript
        ? script
        : '<!doctype html><title>storage</title><link rel="icon" href="data:,"><script src="/script.js"></script>',
    );
  });
  hub.attachWebSocket(server, { path: '/realtime' });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    hub,
    ran,
    onRun(count, run) {
      watch = { count, run };
    },
    async close() {
      await hub.close();
      server.closeAllConnections();
      server.close();
    },
  };
}
