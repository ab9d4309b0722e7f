/** The port: what the client asks of a wire. Write one of these to bring a wire of your own. */
import type { Codec, Wire } from '../protocol/codec.js';
import type { HoldfastError } from '../protocol/errors.js';
import type { Garbled, Hello, ServerFrame } from '../protocol/frame.js';

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
   * then, it holds the rooms and cursors of that moment.
   */
  dial(hello: () => Hello, on: LinkEvents): Link;
}

/** What a link tells the client. */
export interface LinkEvents {
  /** The wire is open and `hello` has been presented. */
  opened(): void;
  received(frame: ServerFrame | Garbled): void;
  closed(fault: HoldfastError): void;
}

/** One open, or opening, wire. */
export interface Link {
  /** Writes encoded frames in order; those of one call may share one write. Never throws. */
  send(wires: readonly Wire[]): void;
  /** Ends the link, at once as far as the client can tell. Harmless twice. */
  close(code?: number, reason?: string): void;
  /** Bytes accepted by `send` and not yet handed to the network. */
  readonly bufferedAmount: number;
}
