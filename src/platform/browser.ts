/** Browsers, workers, Deno and Bun: the WebSocket of the runtime. */
import type { Socket, SocketOptions } from './socket.js';

/**
 * Opens a WebSocket. The global is looked up with each call: one that was patched after import is used.
 * @throws SyntaxError where the URL or a subprotocol is not valid.
 */
export function openSocket(
  url: string,
  protocols: readonly string[],
  _options?: SocketOptions,
): Socket {
  const socket = new globalThis.WebSocket(url, [...protocols]);
  socket.binaryType = 'arraybuffer';
  // eslint-disable-next-line @typescript-eslint/consistent-type-assertions -- its handlers are typed for DOM events, of which Socket names the used part
  return socket as unknown as Socket;
}

/** Runs `write`, which sends several frames. Browsers gather writes by themselves. */
export function corked(_socket: Socket, write: () => void): void {
  write();
}
