/** Real Socket.IO servers on loopback, with a hub or without, and clients that come to them. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ClientOptions, type Contract, createClient, type Transport } from 'holdfast';
import { createHub, type HubOptions } from 'holdfast/server';
import { type Recorder, recorder } from 'holdfast/testing';
import { Server, type ServerOptions } from 'socket.io';
import { afterEach, vi } from 'vitest';
import type { HoldfastError } from '../../src/protocol/errors.js';
import type { Garbled, Hello, ServerFrame } from '../../src/protocol/frame.js';
import { type SocketIoOptions, socketIo } from '../../src/transports/socket.io.js';

export const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export const eventually = (check: () => unknown, timeout = 5_000) =>
  vi.waitFor(check, { interval: 5, timeout });

/** Large enough for frames of the default size. */
const ROOMY = { maxHttpBufferSize: 2_000_000 };

export async function serving(options: Partial<ServerOptions> = {}, at = 0) {
  const http = createServer();
  const io = new Server(http, { ...ROOMY, ...options });
  http.listen(at, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;
  const close = async () => {
    io.engine.close();
    http.closeAllConnections();
    await io.close();
  };
  cleanups.push(close);
  return { io, http, port, url: `http://127.0.0.1:${port}`, close };
}

export async function hubServing(options: HubOptions = {}) {
  const server = await serving();
  const hub = createHub({ onError() {}, ...options });
  const detach = hub.attachSocketIO(server.io);
  cleanups.push(() => hub.close());
  return { ...server, hub, detach };
}

type ClientParts = Partial<ClientOptions<Contract>> & { transport: Transport };

/** Waits of 20 ms at most. Not connected yet. */
export function clientOf(options: ClientParts) {
  const seen: Recorder<ReturnType<typeof stateOf>> = recorder();
  const client = createClient({
    reconnect: { initialDelay: 20, maxDelay: 20, jitter: 'none' },
    onGap: ({ room, reason }) => seen.onGap({ room, reason }),
    ...options,
    environment: { report() {}, ...options.environment },
  });
  seen.watch(client);
  cleanups.push(() => client.close());
  return { client, seen };
}

function stateOf() {
  return createClient({ transport: socketIo('http://127.0.0.1:9') }).state;
}

type Heard = 'opened' | ServerFrame | Garbled | HoldfastError;

/** One dial, with all that it says written down. */
export function dial(url: string, options: SocketIoOptions = {}) {
  const heard: Heard[] = [];
  const early: Heard[] = [];
  let hasReturned = false;
  const hear = (one: Heard) => void (hasReturned ? heard : early).push(one);
  const hello = vi.fn(
    (): Hello => ({ kind: 'hello', protocol: 1, clientId: 'c', link: 1, rooms: [] }),
  );
  const link = socketIo(url, options).dial(hello, {
    opened: () => hear('opened'),
    received: hear,
    closed: hear,
  });
  hasReturned = true;
  cleanups.push(() => link.close());
  const faults = () => heard.filter((one) => one instanceof Error);
  return { link, heard, early, hello, faults };
}
