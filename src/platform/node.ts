/** Node: the `ws` package, which can set headers and tells the frames of one batch to leave together. */
import type { Socket as NetSocket } from 'node:net';
import { type ClientOptions, WebSocket } from 'ws';
import type { Socket, SocketOptions } from './socket.js';

/**
 * Opens a WebSocket.
 * @throws SyntaxError where the URL or a subprotocol is not valid.
 */
export function openSocket(
  url: string,
  protocols: readonly string[],
  options: SocketOptions = {},
): Socket {
  const settings: ClientOptions & { closeTimeout: number } = {
    headers: { ...options.headers },
    // Compressing small messages costs more time and memory than it saves bytes.
    perMessageDeflate: false,
    // How long a close may wait for a silent peer; the 30 s of ws would keep a process alive.
    closeTimeout: 2_000,
  };
  const socket = new WebSocket(url, [...protocols], settings);
  socket.binaryType = 'arraybuffer';
  // Without a listener of its own, an error after `onerror` was taken off would end the process.
  socket.on('error', () => {});
  // eslint-disable-next-line @typescript-eslint/consistent-type-assertions -- its handlers are typed for the events of ws, of which Socket names the used part
  const opened = socket as unknown as Socket;
  socket.on('upgrade', (response) => netSockets.set(opened, response.socket));
  return opened;
}

/** Runs `write`, which sends several frames; they leave in one system call. */
export function corked(socket: Socket, write: () => void): void {
  const net = netSockets.get(socket);
  net?.cork();
  try {
    write();
  } finally {
    net?.uncork();
  }
}

const netSockets = new WeakMap<Socket, NetSocket>();
