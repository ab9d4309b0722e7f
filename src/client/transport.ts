/** The port: what the client asks of a wire. Write one of these to bring a wire of your own. */

import type { HoldfastError } from '../protocol/errors.js';
import type { Garbled, Hello, ServerFrame } from '../protocol/frame.js';
import type { Codec, Outgoing } from '../protocol/wire.js';
import type { Dialect } from './dialect.js';

/**
 * Opens links over one kind of wire. Five rules hold for every transport, and the conformance suite
 * checks them:
 *
 * - T1 It never calls back before `dial` has returned.
 * - T2 It calls `closed` exactly once, and nothing after it, unless `close()` came first.
 * - T3 It is silent after `close()`.
 * - T4 It never reconnects by itself.
 * - T5 It reports every refusal with the code the peer gave.
 */
export interface Transport {
  /** Shown in `client.state.transport`. */
  readonly name: string;
  readonly codec: Codec;
  /**
   * Starts one link. The transport presents `hello()` itself, as soon as the wire is open: called
   * then, it holds the rooms and cursors of that moment. Each call numbers its hello higher.
   */
  dial(hello: () => Hello, on: LinkEvents): Link;
  /** The same wire for a server that speaks another language; left out where it carries ours alone. */
  speak?(dialect: Dialect): Transport;
}

/** What there is to say of a link that is open. */
export interface Opened {
  /** The one that was presented. @default the last that this dial asked for */
  readonly hello?: Hello | undefined;
  /** Shown in `client.state.transport`. @default the transport's name */
  readonly transport?: string | undefined;
  /**
   * A `ping` costs no more than a frame. `false`: it opens the wire anew, so it is sent for a reason
   * alone, and not to measure the latency. @default true
   */
  readonly pings?: boolean | undefined;
  /** Milliseconds since it opened, where that is told later than it happened. @default 0 */
  readonly age?: number | undefined;
}

/** What a link tells the client. */
export interface LinkEvents {
  /** The wire is open and `hello` has been presented. */
  opened(as?: Opened): void;
  /**
   * A `goodbye` with a `reconnectAfter` below 0 is the transport's own: it has a better link open and
   * welcomed, which the next dial is to take over.
   */
  received(frame: ServerFrame | Garbled): void;
  closed(fault: HoldfastError): void;
}

/** One open, or opening, wire. */
export interface Link {
  /**
   * Writes in order; what comes in one call may share one write. Requests and messages come encoded,
   * frames about the link itself as they are. Never throws.
   */
  send(frames: readonly Outgoing[]): void;
  /** Ends the link, at once as far as the client can tell. Harmless twice. */
  close(code?: number, reason?: string): void;
  /** Bytes accepted by `send` and not yet handed to the network. */
  readonly bufferedAmount: number;
}
