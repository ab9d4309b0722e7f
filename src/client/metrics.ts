/** What a client has counted, and how it stands. */
import type { Percentiles } from '../lib/samples.js';
import type { ErrorCategory } from '../protocol/errors.js';

/** Counters run since the client was created. Reading them costs more than keeping them. */
export interface Metrics {
  /** Dials, and questions for credentials before them. */
  readonly attempts: number;
  /** Links that were welcomed. */
  readonly connects: number;
  /** The same without the first. */
  readonly reconnects: number;
  /** Milliseconds with a connection, in total, those of the present one included. */
  readonly connectedFor: number;
  /** Requests handed to a link; one that is written again counts again. */
  readonly requestsSent: number;
  /** Messages handed to a link. */
  readonly messagesSent: number;
  /** Events that arrived on links in use. */
  readonly received: number;
  /** Events that had been delivered before, and were dropped. */
  readonly duplicates: number;
  /** Times that history was missing. */
  readonly gaps: number;
  /** Events delivered between a recovered join and the end of its replay. */
  readonly replayed: number;
  /** Frames that were none: malformed, or of an unknown kind. */
  readonly garbled: number;
  /** Frames of links that were given up, and others that had no place. */
  readonly ignored: number;
  /** Events of rooms that are not joined: left, or answered by an older join. */
  readonly stray: number;
  /** Now: requests without a response. */
  readonly queued: number;
  /** Now: bytes of these requests and of the messages that wait to be written. */
  readonly queuedBytes: number;
  /** Milliseconds: the smoothed round trip; null without a connection. */
  readonly latency: number | null;
  /** Milliseconds: the last 100 round trips of pings and handshakes; null before the first. */
  readonly roundTrip: Percentiles | null;
  /** Milliseconds from write to response: the last 100 answered requests; null before the first. */
  readonly responseTime: Percentiles | null;
  /** Events received a second, over the last half to whole minute. */
  readonly receivedPerSecond: number;
  /** Requests and messages sent a second, over the last half to whole minute. */
  readonly sentPerSecond: number;
  /** Errors that were reported, and those that promises were rejected with; categories without one are absent. */
  readonly errors: Readonly<Partial<Record<ErrorCategory, number>>>;
}
