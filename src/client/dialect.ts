/** The port for servers that speak something else than holdfast/1: `plain()` makes one of these. */
import type { ClientFrame, Garbled, Hello, ServerFrame } from '../protocol/frame.js';
import type { Codec, Wire } from '../protocol/wire.js';

/** Another language over the same wires. A transport's `speak` takes one. */
export interface Dialect {
  readonly name: string;
  /** Offered in the handshake, where the wire has one; the server's choice is taken as it is. */
  readonly subprotocols: readonly string[];
  /** Encodes requests and messages, as they will go over the wire. */
  readonly codec: Codec;
  /** A new link: what is to be remembered of it is remembered in its conversation. */
  begin(hello: () => Hello, talk: Talk): Conversation;
}

/** What a conversation may do. */
export interface Talk {
  /** Writes to the wire, as it is. Never throws. */
  send(data: Wire): void;
  /** Tells the client; the first frame that counts is a `welcome`. */
  received(frame: ServerFrame | Garbled): void;
}

/** One message of a server, as its wire gives it. */
export interface Heard {
  readonly data: string | Uint8Array;
  /** SSE: the name of the event. @default "message" */
  readonly event?: string | undefined;
  /** SSE: the id of the event. */
  readonly id?: string | undefined;
}

/** What a link and a server say to each other. None of it throws. */
export interface Conversation {
  /** The wire is open. */
  opened(): void;
  heard(message: Heard): void;
  /** A frame about the link itself: joins, leaves, pings, new credentials. */
  say(frame: ClientFrame): void;
}
