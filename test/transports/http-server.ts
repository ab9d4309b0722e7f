/** A small HTTP server on loopback that answers as a test says, and one dial with all it tells written down. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, vi } from 'vitest';
import type { Link, Opened, Transport } from '../../src/client/transport.js';
import { HoldfastError } from '../../src/protocol/errors.js';
import type { Garbled, Hello, RoomWish, ServerFrame } from '../../src/protocol/frame.js';

export interface Asked {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a body of any shape.
  readonly body: any; // eslint-disable-line @typescript-eslint/no-explicit-any -- as above
  readonly response: ServerResponse;
  /** The client has gone, or the answer is out. */
  readonly isOver: boolean;
}

export interface HttpServer {
  readonly url: string;
  /** Oldest first. */
  readonly asked: readonly Asked[];
  close(): Promise<void>;
}

/** @param answer called when the body is there, with the number of requests before it */
export async function httpServer(
  answer: (asked: Asked, before: number) => void,
): Promise<HttpServer> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      let isOver = false;
      response.on('close', () => {
        isOver = true;
      });
      const one: Asked = {
        method: request.method ?? '',
        headers: request.headers,
        text,
        body: text.startsWith('{') ? JSON.parse(text) : undefined,
        response,
        get isOver() {
          return isOver;
        },
      };
      asked.push(one);
      answer(one, asked.length - 1);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    asked,
    async close() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

/** Opens a stream, and writes frames to it. */
export function stream(response: ServerResponse, ...frames: readonly ServerFrame[]): void {
  if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
  for (const frame of frames) response.write(`data: ${JSON.stringify(frame)}\n\n`);
}

export function answer(response: ServerResponse, frames: readonly ServerFrame[], status = 200) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ frames }));
}

export const welcome: ServerFrame = { kind: 'welcome', connectionId: 'c', session: 's', user: 'u' };

export const joined = (room: string, cursor: string): ServerFrame[] => [
  { kind: 'room', room, joined: true, epoch: 'e', cursor, seq: 1, recovered: true },
  { kind: 'room', room, caughtUp: true, cursor },
];

export const event = (eventId: string, room?: string): ServerFrame => ({
  kind: 'event',
  eventId,
  type: 'a:b',
  timestamp: 0,
  ...(room !== undefined && { room }),
});

export const error = (code: string, retryAfter?: number): ServerFrame => ({
  kind: 'error',
  error: { code, message: 'No.', ...(retryAfter !== undefined && { retryAfter }) },
});

export type Told = 'opened' | ServerFrame | Garbled | HoldfastError;

export interface Dialed {
  readonly link: Link;
  readonly hello: ReturnType<typeof vi.fn>;
  readonly opened: (Opened | undefined)[];
  /** In order; what came before `dial` had returned is `early`. */
  readonly told: readonly Told[];
  readonly early: readonly Told[];
  /** Of the events that were told. */
  ids(): string[];
  kinds(): string[];
  fault(): HoldfastError | undefined;
}

/** @param meanwhile called with each frame as it is told */
export function dialed(
  transport: Transport,
  rooms: RoomWish[] = [],
  meanwhile: (one: Told, link: Link) => void = () => {},
): Dialed {
  const told: Told[] = [];
  const early: Told[] = [];
  const opened: (Opened | undefined)[] = [];
  let hasReturned = false;
  const tell = (one: Told) => {
    (hasReturned ? told : early).push(one);
    if (hasReturned) meanwhile(one, link);
  };
  const hello = vi.fn(
    (): Hello => ({ kind: 'hello', protocol: 1, clientId: 'c', link: 7, auth: 'old', rooms }),
  );
  const link = transport.dial(hello, {
    opened(as) {
      opened.push(as);
      tell('opened');
    },
    received: tell,
    closed: tell,
  });
  hasReturned = true;
  const kindOf = (one: Told) =>
    one === 'opened' ? one : one instanceof HoldfastError ? 'closed' : one.kind;
  return {
    link,
    hello,
    opened,
    told,
    early,
    ids: () =>
      told.flatMap((one) =>
        typeof one === 'object' && 'kind' in one && one.kind === 'event' ? [one.eventId] : [],
      ),
    kinds: () => told.map(kindOf),
    fault: () => told.find((one) => one instanceof HoldfastError),
  };
}

export const eventually = (check: () => unknown) =>
  vi.waitFor(check, { interval: 3, timeout: 5_000 });

/** Time for what must not happen: one whole exchange of another client with the same server. */
export async function aRoundTrip({ url }: HttpServer): Promise<void> {
  await fetch(url).then(
    (response) => response.body?.cancel(),
    () => {},
  );
  await new Promise((done) => setImmediate(done));
}

export function expectFault(told: Dialed, facts: Partial<HoldfastError>): Promise<unknown> {
  return eventually(() => expect(told.fault()).toMatchObject(facts));
}
