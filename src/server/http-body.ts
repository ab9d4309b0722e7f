/** The body of a POST as text, within bounds of size and of time. */
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../lib/clock.js';

export interface BodyBounds {
  /** Bytes. */
  readonly most: number;
  readonly clock: Clock;
  /** Milliseconds without a byte; a body that trickles gets ten times as long altogether. */
  readonly patience: number;
}

/** `gone`: nobody is left to answer. */
export type Body = { readonly text: string } | { readonly fault: 'large' | 'slow' | 'gone' };

const MOST_ROUNDS = 10;

/** Never rejects. What is left of a body that is too large is discarded, for as long as it may take. */
export function readBody(incoming: IncomingMessage, bounds: BodyBounds): Promise<Body> {
  const { most, clock, patience } = bounds;
  return new Promise((resolve) => {
    // One piece of memory: a body in chunks of a byte would take a hundred times its size.
    let body = Buffer.alloc(0);
    let bytes = 0;
    let seen = 0;
    let rounds = 0;
    let isDone = false;
    const done = (outcome: Body) => {
      if (!isDone) resolve(outcome);
      isDone = true;
      body = Buffer.alloc(0);
    };
    const keep = (chunk: Buffer) => {
      if (bytes > body.length) {
        const larger = Buffer.alloc(Math.min(most, Math.max(bytes, body.length * 2)));
        body.copy(larger);
        body = larger;
      }
      chunk.copy(body, bytes - chunk.length);
    };
    const look = () => {
      if (seen === bytes || ++rounds === MOST_ROUNDS) {
        // Nobody waits for the rest, whether it was answered already or is now.
        if (isDone) incoming.destroy();
        done({ fault: 'slow' });
        return;
      }
      seen = bytes;
      cancel = clock.after(patience, look);
    };
    let cancel = clock.after(patience, look);
    incoming.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > most) done({ fault: 'large' });
      else if (!isDone) keep(chunk);
    });
    incoming.on('end', () => done({ text: body.toString('utf8', 0, bytes) }));
    incoming.on('close', () => {
      cancel();
      done({ fault: 'gone' });
    });
    if (Number(incoming.headers['content-length'] ?? 0) > most) done({ fault: 'large' });
  });
}
