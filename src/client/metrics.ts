/** What a client has counted since it was created. */
export interface Metrics {
  /** Dials, and questions for credentials before them. */
  readonly attempts: number;
  readonly connects: number;
  readonly reconnects: number;
  /** Events that arrived on links in use. */
  readonly received: number;
  readonly duplicates: number;
  readonly gaps: number;
  /** Events delivered between a recovered join and the end of its replay. */
  readonly replayed: number;
  /** Frames that were none: malformed, or of an unknown kind. */
  readonly garbled: number;
  /** Frames of links that were given up, and others that had no place. */
  readonly ignored: number;
  /** Events of rooms that are not joined: left, or answered by an older join. */
  readonly stray: number;
  /** Requests without a response. */
  readonly queued: number;
  /** Milliseconds, a smoothed round trip. */
  readonly latency: number | null;
}
