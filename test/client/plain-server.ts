/** A client that speaks `plain` on a virtual clock, and a server in memory that is played by hand. */
import type { ClientOptions, Contract } from 'holdfast';
import { type PlainOptions, plain } from '../../src/client/plain.js';
import type { ServerWire } from '../../src/server/wire.js';
import { type Harness, harness } from './harness.js';

/** One connection, as the server has it. */
export interface PlainLink {
  /** What came, JSON parsed. */
  readonly heard: unknown[];
  say(...messages: unknown[]): void;
  /** Text or bytes as they are. */
  write(data: string | Uint8Array): void;
  readonly wire: ServerWire;
}

export interface PlainStage extends Harness {
  readonly links: PlainLink[];
  /** The newest. @throws Error where there is none */
  readonly last: PlainLink;
  /** Connects, and lets the welcome come. */
  connect(): Promise<void>;
  /** Cuts the link, and waits for the next one. */
  reconnect(): Promise<void>;
}

/**
 * Messages are JSON in both directions. Unless the options say otherwise, the server speaks as `decode`
 * does, so that a test says what it means; requests, joins and all else go out as they are.
 */
export function plainStage(
  { answer = () => {}, ...protocol }: PlainOptions & { answer?: Answer } = {},
  options: Partial<ClientOptions<Contract>> = {},
): PlainStage {
  const stage = harness({
    protocol: plain({
      decode: (data) => JSON.parse(String(data)),
      encode: (frame) => JSON.stringify(frame),
      ...protocol,
    }),
    reconnect: { jitter: 'none' },
    ...options,
  });
  stage.server.stop();
  const links: PlainLink[] = [];
  stage.network.serve((wire) => {
    const link = linkOf(wire);
    links.push(link);
    return {
      received(data) {
        const message = JSON.parse(String(data));
        link.heard.push(message);
        answer(message, link);
      },
      drained() {},
      closed() {},
    };
  });
  return {
    ...stage,
    links,
    get last() {
      const newest = links.at(-1);
      if (newest === undefined) throw new Error('Nobody has dialed yet.');
      return newest;
    },
    async connect() {
      stage.client.connect().catch(() => {});
      await stage.clock.advance(0);
    },
    async reconnect() {
      await stage.clock.advance(0);
      stage.network.cut();
      // Long enough for the backoff to start over.
      await stage.clock.advance(12_000);
    },
  };
}

type Answer = (message: Message, link: PlainLink) => void;

/** What tests look at of a message. */
interface Message {
  readonly kind: string;
  readonly room: string;
  readonly since?: string;
  readonly requestId: string;
  readonly payload: unknown;
}

function linkOf(wire: ServerWire): PlainLink {
  return {
    heard: [],
    wire,
    say: (...messages) => wire.send(messages.map((message) => JSON.stringify(message))),
    write: (data) => wire.send([data]),
  };
}
