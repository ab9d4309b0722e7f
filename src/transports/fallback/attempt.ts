/** One dial of one wire. Whom it tells may change: a dial may take over what was opened beside a link. */
import type { Link, LinkEvents, Opened, Transport } from '../../client/transport.js';
import type { Clock } from '../../lib/clock.js';
import { HoldfastError } from '../../protocol/errors.js';
import type { Garbled, Hello, ServerFrame } from '../../protocol/frame.js';
import type { Standing } from './standing.js';

/** One of the transports of a fallback. */
export interface Wire {
  /** Its place among them; 0 is the best. */
  readonly rank: number;
  readonly transport: Transport;
  standing: Standing;
}

export interface Attempt {
  readonly wire: Wire;
  link: Link;
  /** What is to be said of it, should it win. */
  readonly as: { -readonly [K in keyof Opened]: Opened[K] };
  /** What it has said and nobody was told, the welcome first. */
  readonly frames: (ServerFrame | Garbled)[];
  tell: Tell;
}

export type Tell = Pick<LinkEvents, 'received' | 'closed'>;

/** Dials at once; like any transport it tells nothing before this has returned. */
export function attempt(
  wire: Wire,
  { clock, hello }: { clock: Clock; hello: () => Hello },
  tell: Tell,
): Attempt {
  const { name } = wire.transport;
  const one: Attempt = { wire, link: nowhere, as: { transport: name }, frames: [], tell };
  let openedAt = 0;
  try {
    one.link = wire.transport.dial(
      () => {
        one.as.hello = hello();
        return one.as.hello;
      },
      {
        opened(as) {
          openedAt = clock.now();
          Object.assign(one.as, as);
        },
        received(frame) {
          if (frame.kind === 'welcome') one.as.age = clock.now() - openedAt;
          one.tell.received(frame);
        },
        closed: (fault) => one.tell.closed(fault),
      },
    );
  } catch (thrown) {
    // Not as the cause: what platforms throw here quotes the URL, and with it whatever its query holds.
    const kind = thrown instanceof Error ? thrown.name : typeof thrown;
    const fault = new HoldfastError('CONNECTION_FAILED', `${name} could not dial (${kind}).`);
    queueMicrotask(() => one.tell.closed(fault));
  }
  return one;
}

const nowhere: Link = { send() {}, close() {}, bufferedAmount: 0 };
