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
    const chunks: Buffer[] = [];
    let size = 0;
    const take = (chunk: Buffer) => {
      size += chunk.length;
      if (size <= most) chunks.push(chunk);
      else settle('too large');
    };
    const settle = (outcome: Buffer | Unread) => {
      request.off('data', take);
      request.pause();
      resolve(outcome);
    };
    request.on('data', take);
    request.once('end', () => settle(Buffer.concat(chunks)));
    // An error is followed by a close; a close after the end comes too late to matter.
    request.once('error', () => {});
    request.once('close', () => settle('gone'));
  });
}
