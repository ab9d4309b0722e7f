/** The words of `plain()`: what a server may say, and what it may be told. */
import type {
  AuthRenewal,
  AuthVerdict,
  ConnectionError,
  ErrorBody,
  Goodbye,
  Message,
  Request,
} from '../protocol/frame.js';
import type { Wire } from '../protocol/wire.js';
import type { Heard } from './dialect.js';

/** What is written: one message or several, in order; none where there is nothing to say. */
export type PlainData = Wire | readonly Wire[];

/** One thing that a server said. What else an object holds is ignored. */
export type PlainSaid =
  /** An event. `eventId` is unique in its room; without one duplicates cannot be told. */
  | {
      type: string;
      payload?: unknown;
      eventId?: string | number | null | undefined;
      room?: string | undefined;
      /** Unix milliseconds. @default now */
      timestamp?: number | undefined;
    }
  /** The answer to a request. An error counts where there is one. */
  | { requestId: string; data?: unknown; error?: ErrorBody | undefined }
  /**
   * The room is joined. `recovered`: all that came after the join's `since` follows, or has come since
   * it was asked for. `false`, said at any time, means that history is missing. `cursor`: the place
   * where the room stands, for the next `since`.
   */
  | {
      room: string;
      joined: true;
      recovered?: boolean | undefined;
      cursor?: string | number | null | undefined;
    }
  /** It was left because we asked: nothing follows from it. One that the server ends is an error. */
  | { room: string; left: true }
  /** It was refused or taken away; with `retryable` it is asked for again. */
  | { room: string; error: ErrorBody }
  /** The welcome, for the option `ready`. `expiresIn`: ms for which the credentials hold. */
  | {
      ready: true;
      user?: string | undefined;
      session?: string | undefined;
      expiresIn?: number | undefined;
    }
  | { ping: true }
  | { pong: true }
  /** About the connection: before `ready` it refuses the attempt. `TOKEN_EXPIRED` asks for others. */
  | { error: ErrorBody }
  /** Of holdfast/1: word on credentials, and a server that leaves on purpose. */
  | AuthVerdict
  | ConnectionError
  | Goodbye;

/** One thing that the client has to say. */
export type PlainFrame =
  | Request
  | Message
  /** `since`: the last `eventId` or `cursor` of the server's own that the listeners have had. */
  | { kind: 'join'; room: string; since: string | undefined }
  | { kind: 'leave'; room: string }
  | AuthRenewal;

/** What is known when a wire has opened. */
export interface PlainOpening {
  /** Writes at once, and at any time later; without a link it does nothing. */
  send(data: PlainData): void;
  /** What the option `auth` of the client gave for this attempt. */
  readonly auth: unknown;
  /** The rooms that are wanted. Each is encoded as a join after the welcome. */
  readonly rooms: readonly string[];
}

/** What SSE says of a message. */
export type PlainAbout = Omit<Heard, 'data'>;

/** How a server is spoken to. Every part may be left out. */
export interface PlainOptions {
  /** @default "plain" */
  name?: string;
  /** Offered in the handshake of a WebSocket. What the server chooses is taken. @default none */
  subprotocols?: readonly string[];
  /**
   * What a message means: nothing, one thing or several. `event` and `id` are those of SSE. A message
   * for which it throws, or gives nonsense, is dropped and counted (`metrics().garbled`).
   * @default an event: its type is the name that SSE gave it, or "message"; its payload the data, parsed where it is JSON
   */
  decode?: (
    data: string | Uint8Array,
    about: PlainAbout,
    // biome-ignore lint/suspicious/noConfusingVoidType: a decode that returns nothing is typed as void.
  ) => PlainSaid | readonly PlainSaid[] | null | undefined | void;
  /**
   * What to write; null where this server has no such thing. Then a request is rejected, and a join
   * counts as joined. A request or message is encoded once, when it is asked for, as one message.
   * @default null, whatever it is
   */
  encode?: (frame: PlainFrame) => PlainData | null;
  /** Asks for a sign of life. @default none: a server that has fallen silent is not noticed */
  ping?: () => PlainData;
  /** Answers the `{ ping: true }` of a server, given the message that said so. @default no answer */
  pong?: (data: string | Uint8Array) => PlainData;
  /** Writes the first messages. */
  onOpen?: (opening: PlainOpening) => unknown;
  /** The server has a welcome: decode says `{ ready: true }`. @default false: it is ready once the wire is open */
  ready?: boolean;
  /** The server answers joins: decode says so. @default false: a room is joined once that is written */
  joined?: boolean;
}
