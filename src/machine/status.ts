/** What the application sees of a session: one word, and the facts beside it. */
import type { HoldfastError } from '../protocol/errors.js';

export type Status = 'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'closed';

/** Frozen; the same object until something in it changes. */
export interface ConnectionState {
  readonly status: Status;
  /** Connected, every room caught up, and all that waited at the last `welcome` answered. */
  readonly synced: boolean;
  readonly lastConnected: Date | null;
  /** Attempts since the last stable connection. */
  readonly reconnectAttempts: number;
  /** While waiting: when the next attempt starts. */
  readonly nextRetryAt: Date | null;
  /** Milliseconds, a smoothed round trip. */
  readonly latency: number | null;
  /** "websocket", "sse", …: the wire in use. */
  readonly transport: string | null;
  /** Requests without a response. */
  readonly queued: number;
  /** Why it is not connected. */
  readonly error: HoldfastError | null;
}

/** Every legal change of status; no other arrow exists. */
export const arrows: Readonly<Record<Status, readonly Status[]>> = {
  disconnected: ['connecting', 'closed'],
  connecting: ['connected', 'reconnecting', 'disconnected', 'closed'],
  connected: ['reconnecting', 'disconnected', 'closed'],
  reconnecting: ['connected', 'disconnected', 'closed'],
  closed: ['connecting'],
};
