/** Small counters, for a dashboard. */

/** What `hub.metrics()` answers with. Counts since the hub was created, unless they say "now". */
export interface HubMetrics {
  /** Welcomed connections, now. */
  connections: number;
  /** Rooms that somebody on this hub is in, now; users' own rooms included. */
  rooms: number;
  connectionsAccepted: number;
  /** Connections closed before their welcome, by error code. */
  refused: Record<string, number>;
  eventsPublished: number;
  /** Events written to connections, each connection counted. */
  eventsDelivered: number;
  /** Readers that had to be told of a gap, joins with an old cursor included. */
  gaps: number;
  requestsRun: number;
  /** Requests answered from memory. */
  requestsReplayed: number;
  requestsFailed: number;
  messages: number;
  /** Messages that were dropped: unknown type, invalid payload, not allowed, or over the rate. */
  messagesDropped: number;
  /** Requests refused because of the rate or of too many waiting. */
  rateLimited: number;
  /** Frames that were not understood, and dropped. */
  garbled: number;
  /** Connections ended because nothing was heard from them. */
  timedOut: number;
  /** Connections closed because they had stopped reading. */
  stalled: number;
}

export type Counters = Omit<HubMetrics, 'connections' | 'rooms'>;

export function newCounters(): Counters {
  return {
    connectionsAccepted: 0,
    refused: {},
    eventsPublished: 0,
    eventsDelivered: 0,
    gaps: 0,
    requestsRun: 0,
    requestsReplayed: 0,
    requestsFailed: 0,
    messages: 0,
    messagesDropped: 0,
    rateLimited: 0,
    garbled: 0,
    timedOut: 0,
    stalled: 0,
  };
}
