/** The port between the hub and the wires it serves: one `ServerWire` for each accepted connection. */
import type { Wire } from '../protocol/wire.js';

/** What `authenticate` may look at beside the credentials in `hello`. */
export interface WireRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly remoteAddress: string | undefined;
}

/** One accepted connection, as the hub writes to it. None of its methods throws. */
export interface ServerWire {
  /** "websocket", "memory", … */
  readonly transport: string;
  readonly request: WireRequest;
  /** Writes encoded frames in order; those of one call may share one write. */
  send(wires: readonly Wire[]): void;
  /** Ends with a close handshake where the wire has one. */
  close(code: number, reason: string): void;
  /** Ends at once, without waiting for the peer. */
  terminate(): void;
  /** Bytes accepted by `send` and not yet handed to the network. */
  readonly bufferedAmount: number;
  /**
   * Bytes that the network has taken since the wire was made, where it can tell: a large write that
   * goes out bit by bit shows here before it shows in `bufferedAmount`.
   */
  readonly taken?: number | undefined;
  /** Rooms that one connection of this wire may be in, where that is less than the hub allows. */
  readonly maxRooms?: number | undefined;
  /**
   * For wires on which the client cannot answer: called in place of a `ping` when nothing was written
   * for four fifths of the heartbeat's interval. The client is never timed out, its silence says
   * nothing. It opens such a wire anew with the `link` it has, which ends the older one without a word.
   */
  keepAlive?(): void;
}

/** What a wire tells the hub. `closed` comes exactly once and last. */
export interface ServerWireEvents {
  received(wire: unknown): void;
  /** Bytes arrived, perhaps of a frame that is not whole yet: a slow upload is not death. */
  progressed?(): void;
  /** The buffer has fallen; a slow link reads on from here. */
  drained(): void;
  closed(): void;
}
