/** A hub behind a real HTTP server on loopback, with the proxy that breaks it, and what was asked of it. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHub, type Hub, type HubOptions } from 'holdfast/server';
import { type FaultProxy, faultProxy } from 'holdfast/testing/node';

export interface HttpHub {
  readonly hub: Hub;
  readonly proxy: FaultProxy;
  /** By way of the proxy. */
  readonly url: string;
  /** The bodies that came, oldest first. */
  readonly bodies: readonly Body[];
  /** Those that ask for a stream or a poll, and those that do not. */
  asks(): Body[];
  errands(): Body[];
  /** At once. Harmless twice. */
  close(): Promise<void>;
}

export interface Body {
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a body of any shape.
  readonly value: any; // eslint-disable-line @typescript-eslint/no-explicit-any -- as above
}

export async function httpHub(options: HubOptions): Promise<HttpHub> {
  const hub = createHub(options);
  const bodies: Body[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      bodies.push({ text, value: JSON.parse(text) });
    });
    hub.handleHttp(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const proxy = await faultProxy({ target: { port } });
  const isErrand = ({ value }: Body) => value.frames !== undefined;
  return {
    hub,
    proxy,
    url: `http://127.0.0.1:${proxy.port}/`,
    bodies,
    asks: () => bodies.filter((body) => !isErrand(body)),
    errands: () => bodies.filter(isErrand),
    async close() {
      await proxy.close();
      await hub.close();
      if (!server.listening) return;
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
