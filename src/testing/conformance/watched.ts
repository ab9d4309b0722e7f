/** A transport that is listened in on: what its links tell, and whether they keep T1 to T3. */
import type { Link, LinkEvents, Transport } from '../../client/transport.js';
import type { Garbled, Hello, ServerFrame } from '../../protocol/frame.js';

export interface Watched {
  readonly transport: Transport;
  /** What every link has received, in order. */
  readonly frames: readonly (ServerFrame | Garbled)[];
  /** Each a sentence. */
  readonly breaches: readonly string[];
}

export function watched(transport: Transport): Watched {
  const frames: (ServerFrame | Garbled)[] = [];
  const breaches: string[] = [];

  function dial(hello: () => Hello, on: LinkEvents): Link {
    let hasReturned = false;
    let isAbandoned = false;
    let isOver = false;

    function calls(what: string): void {
      if (!hasReturned) breaches.push(`T1: \`${what}\` came before dial had returned`);
      if (isAbandoned) breaches.push(`T3: \`${what}\` came after close()`);
      else if (isOver) breaches.push(`T2: \`${what}\` came after \`closed\``);
    }

    const link = transport.dial(hello, {
      opened(as) {
        calls('opened');
        on.opened(as);
      },
      received(frame) {
        calls('received');
        frames.push(frame);
        on.received(frame);
      },
      closed(fault) {
        calls('closed');
        isOver = true;
        on.closed(fault);
      },
    });
    hasReturned = true;
    return {
      send: (some) => link.send(some),
      close(code, reason) {
        isAbandoned = true;
        link.close(code, reason);
      },
      get bufferedAmount() {
        return link.bufferedAmount;
      },
    };
  }

  return { transport: { ...transport, dial }, frames, breaches };
}
