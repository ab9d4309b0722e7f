/** A real hub, and the pages of device.test.ts, on one port of loopback. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHub, type Hub } from 'holdfast/server';
import { bundle } from '../scenarios/bundle.js';

export interface DeviceSite {
  readonly url: string;
  readonly port: number;
  readonly hub: Hub;
  /** WebSocket handshakes so far. */
  readonly dials: number;
  /** Payloads of the requests that ran, in order. */
  readonly ran: readonly unknown[];
  /** Publishes so many numbers more to the room, from 1 on. */
  publish(count: number): Promise<void>;
  /** Requests of type `n:held` wait for the next call of this. */
  release(): void;
  close(): Promise<void>;
}

/** The pages' script, made once for all tests. */
export function deviceScript(): Promise<string> {
  // A name for the test; an import for its effects alone would be shaken off.
  const code = `import { device } from './test/browser/device-page.ts';
    Object.assign(globalThis, { device });`;
  return bundle('browser', code);
}

/** @param script what `/` runs; `/elsewhere` has none, `/sandbox` has `/` in a sandbox */
export async function deviceSite(script: string): Promise<DeviceSite> {
  const ran: unknown[] = [];
  let held: (() => void)[] = [];
  const hub = createHub({
    onError() {},
    handlers: {
      'n:run': (n) => ran.push(n),
      'n:held': async (n) => {
        ran.push(n);
        await new Promise<void>((done) => held.push(done));
        return n;
      },
    },
  });
  const server = createServer((request, response) => {
    const { pathname, search } = new URL(request.url ?? '/', 'http://127.0.0.1');
    const isScript = pathname === '/script.js';
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? script : pageOf(pathname, search));
  });
  let dials = 0;
  server.on('upgrade', () => dials++);
  hub.attachWebSocket(server, { path: '/realtime' });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  let published = 0;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    hub,
    get dials() {
      return dials;
    },
    ran,
    async publish(count) {
      for (let n = 0; n < count; n++) await hub.publish('r', 'n:next', ++published);
    },
    release() {
      for (const done of held) done();
      held = [];
    },
    async close() {
      for (const done of held) done();
      await hub.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

function pageOf(pathname: string, search: string): string {
  const body =
    pathname === '/elsewhere'
      ? '<p>Somewhere else.'
      : pathname === '/sandbox'
        ? `<iframe sandbox="allow-scripts" src="/${search}"></iframe>`
        : '<script src="/script.js"></script>';
  return `<!doctype html><title>${pathname}</title><link rel="icon" href="data:,">${body}`;
}
