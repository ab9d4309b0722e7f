/** A WebSocket server on loopback that speaks just enough of the protocol for one client. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { ClientFrame, ServerFrame } from '../../src/protocol/frame.js';

export interface RealServer {
  readonly port: number;
  readonly url: string;
  /** The handshakes, oldest first. */
  readonly handshakes: readonly IncomingMessage[];
  /** Every frame that came, over any connection. */
  readonly frames: readonly ClientFrame[];
  /** Open connections, oldest first. */
  readonly sockets: readonly WebSocket[];
  /** What the client's closes said. */
  readonly closes: readonly { code: number; reason: string }[];
  /** Resets what is open and stops. Harmless twice. */
  close(): Promise<void>;
}

export type Answer = (frame: ClientFrame, socket: WebSocket, request: IncomingMessage) => void;

/** @param answer what to do with a frame, where it is not what {@link courtesy} does. */
export async function realServer(answer: Answer = courtesy, port = 0): Promise<RealServer> {
  const server = new WebSocketServer({ host: '127.0.0.1', port });
  await once(server, 'listening');
  const { port: taken } = server.address() as AddressInfo;
  const handshakes: IncomingMessage[] = [];
  const frames: ClientFrame[] = [];
  const closes: { code: number; reason: string }[] = [];
  server.on('connection', (socket, request) => {
    handshakes.push(request);
    socket.on('error', () => {});
    socket.on('close', (code, reason) => closes.push({ code, reason: String(reason) }));
    socket.on('message', (text: Buffer) => {
      const frame = JSON.parse(String(text)) as ClientFrame;
      frames.push(frame);
      answer(frame, socket, request);
    });
  });
  return {
    port: taken,
    url: `ws://127.0.0.1:${taken}`,
    handshakes,
    frames,
    closes,
    get sockets() {
      return [...server.clients];
    },
    async close() {
      for (const socket of server.clients) socket.terminate();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}

/** Welcomes, answers pings, and sends each request's payload back. */
export function courtesy(frame: ClientFrame, socket: WebSocket): void {
  if (frame.kind === 'hello') say(socket, { kind: 'welcome', connectionId: 'c', session: 's' });
  if (frame.kind === 'ping') say(socket, { kind: 'pong' });
  if (frame.kind === 'request') {
    const { requestId, payload: data } = frame;
    say(socket, { kind: 'response', requestId, success: true, data });
  }
}

export function say(socket: WebSocket, frame: ServerFrame): void {
  socket.send(JSON.stringify(frame));
}
