/** A transport played by hand, without manners: it may speak after `close()`, and in any order. */
import type { Link, LinkEvents, Transport } from '../../src/client/transport.js';
import { jsonCodec } from '../../src/protocol/codec.js';
import { closeFault } from '../../src/protocol/errors.js';
import type { ClientFrame, Hello, ServerFrame } from '../../src/protocol/frame.js';
import { encoded } from '../../src/protocol/wire.js';

/** One dial, as the test holds it. */
export interface HandLink {
  readonly on: LinkEvents;
  readonly hello: () => Hello;
  /** What the client wrote, `hello` aside. */
  readonly sent: ClientFrame[];
  /** How the client has hung up, if it has. */
  hungUp: { code: number | undefined; reason: string | undefined } | null;
  bufferedAmount: number;
  /** Opens the wire. */
  open(): void;
  /** Brings frames. */
  say(...frames: ServerFrame[]): void;
  welcome(welcome?: Partial<Extract<ServerFrame, { kind: 'welcome' }>>): void;
  /** The wire is closed, by its other end. */
  end(code?: number): void;
}

export interface HandTransport extends Transport {
  readonly links: HandLink[];
  /** The newest link. @throws Error where there is none. */
  readonly link: HandLink;
}

/** Nothing happens by itself; `close()` is only written down. */
export function handTransport(): HandTransport {
  const links: HandLink[] = [];
  return {
    name: 'hand',
    codec: jsonCodec,
    links,
    get link() {
      const newest = links.at(-1);
      if (newest === undefined) throw new Error('Nothing has been dialed yet.');
      return newest;
    },
    dial(hello, on) {
      const link = handLink(hello, on);
      links.push(link);
      return wireOf(link);
    },
  };
}

function handLink(hello: () => Hello, on: LinkEvents): HandLink {
  return {
    on,
    hello,
    sent: [],
    hungUp: null,
    bufferedAmount: 0,
    open: () => on.opened(),
    say(...frames) {
      for (const frame of frames) on.received(frame);
    },
    welcome: (welcome) =>
      on.received({ kind: 'welcome', connectionId: 'c', session: 's', ...welcome }),
    end: (code = 1006) => on.closed(closeFault(code, '')),
  };
}

function wireOf(link: HandLink): Link {
  return {
    send(frames) {
      for (const wire of encoded(jsonCodec, frames)) {
        link.sent.push(JSON.parse(String(wire)) as ClientFrame);
      }
    },
    close(code, reason) {
      link.hungUp ??= { code, reason };
    },
    get bufferedAmount() {
      return link.bufferedAmount;
    },
  };
}
