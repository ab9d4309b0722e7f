/** The bytes of a request as they came: a signature is of those, and of nothing made from them. */
import type { IncomingMessage } from 'node:http';

/** What kept a body from being read. */
export type Unread = 'too large' | 'taken' | 'gone';

/** Reads at most `most` bytes. What `express.raw()` has read is taken as it is. */
export function bodyOf(request: IncomingMessage, most: number): Promise<Buffer | Unread> {
  const parsed: unknown = Reflect.get(request, 'body');
  if (Buffer.isBuffer(parsed)) return Promise.resolve(parsed.length > most ? 'too large' : parsed);
  if (request.readableDidRead) return Promise.resolve('taken');
  if (request.destroyed) return Promise.resolve('gone');
  if (Number(request.headers['content-length']) > most) return Promise.resolve('too large');
  return new Promise((resolve) => {
    // One piece of memory: a body in chunks of a byte would take a hundred times its size.
    let body = Buffer.alloc(0);
    let size = 0;
    const take = (chunk: Buffer) => {
      const end = size + chunk.length;
      if (end > most) {
        settle('too large');
        return;
      }
      if (end > body.length) {
        const larger = Buffer.alloc(Math.min(most, Math.max(end, body.length * 2)));
        body.copy(larger);
        body = larger;
      }
      chunk.copy(body, size);
      size = end;
    };
    const settle = (outcome: Buffer | Unread) => {
      request.off('data', take);
      request.pause();
      resolve(outcome);
    };
    request.on('data', take);
    request.once('end', () => settle(body.subarray(0, size)));
    // An error is followed by a close; a close after the end comes too late to matter.
    request.once('error', () => {});
    request.once('close', () => settle('gone'));
  });
}
