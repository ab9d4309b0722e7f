/** How far a socket's writes have gone, where Node's own count is too coarse. */
import type { Duplex } from 'node:stream';

/**
 * Bytes that the network has taken: Node counts a write as buffered until all of it is out; its handle
 * knows what is out already. Undefined where it cannot tell.
 */
export function bytesTaken(socket: Duplex): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const written: unknown = Reflect.get(handle, 'bytesWritten');
  const waiting: unknown = Reflect.get(handle, 'writeQueueSize');
  return typeof written === 'number' && typeof waiting === 'number' ? written - waiting : undefined;
}
