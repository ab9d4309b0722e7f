/** A WebSocket server behind a fault proxy, and sockets to it that are closed when the test ends. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type FaultProxy, faultProxy } from 'holdfast/testing/node';
import { onTestFinished } from 'vitest';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import {
  type ProtocolsProvider,
  ReconnectingWebSocket,
  type ReconnectingWebSocketOptions,
} from '../../src/drop-in/reconnecting-web-socket.js';

export interface FeedServer {
  /** Through the proxy. */
  readonly url: string;
  readonly proxy: FaultProxy;
  readonly handshakes: readonly IncomingMessage[];
  /** Open connections, oldest first. */
  readonly sockets: readonly WebSocket[];
  /** Every message that came, as text, whatever the connection. */
  readonly received: readonly string[];
  readonly closes: readonly { code: number; reason: string }[];
  stop(): Promise<void>;
  /** On the same port. */
  start(): Promise<void>;
}

/** Sends back what it gets, as it got it. */
export async function feedServer(options: ServerOptions = {}): Promise<FeedServer> {
  const handshakes: IncomingMessage[] = [];
  const received: string[] = [];
  const closes: { code: number; reason: string }[] = [];
  let port = 0;
  let server: WebSocketServer;

  async function start(): Promise<void> {
    server = new WebSocketServer({ host: '127.0.0.1', ...options, port });
    server.on('connection', (socket, request) => {
      handshakes.push(request);
      socket.on('error', () => {});
      socket.on('close', (code, reason) => closes.push({ code, reason: String(reason) }));
      socket.on('message', (data, binary) => {
        received.push(String(data));
        socket.send(data, { binary });
      });
    });
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  }

  async function stop(): Promise<void> {
    for (const socket of server.clients) socket.terminate();
    await new Promise<void>((done) => server.close(() => done()));
  }

  await start();
  const proxy = await faultProxy({ target: { port } });
  onTestFinished(async () => {
    await proxy.close();
    await stop();
  });
  return {
    url: `ws://127.0.0.1:${proxy.port}`,
    proxy,
    handshakes,
    received,
    closes,
    start,
    stop,
    get sockets() {
      return [...server.clients];
    },
  };
}

/** Waits of a millisecond, so that a test of a retry takes no time; `events` as they were told. */
export function dialing(
  url: ConstructorParameters<typeof ReconnectingWebSocket>[0],
  options: ReconnectingWebSocketOptions = {},
  protocols?: ProtocolsProvider,
) {
  const socket = new ReconnectingWebSocket(url, protocols, {
    minReconnectionDelay: 1,
    maxReconnectionDelay: 20,
    ...options,
  });
  onTestFinished(() => socket.close());
  const events: string[] = [];
  const messages: unknown[] = [];
  socket.onopen = () => events.push('open');
  socket.onmessage = ({ data }) => messages.push(data);
  socket.onerror = () => events.push('error');
  socket.onclose = ({ code, reason }) => events.push(`close ${code} ${reason}`);
  return { socket, events, messages };
}
