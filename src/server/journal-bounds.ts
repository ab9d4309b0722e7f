/** What every journal of ours keeps, and for how long. */

export interface JournalBounds {
  /** Events kept in each room. @default 1_000 */
  readonly maxEvents?: number | undefined;
  /** Bytes of encoded events kept in each room. @default 4_194_304 */
  readonly maxBytes?: number | undefined;
  /** Milliseconds for which an event is kept. @default 120_000: longer than most outages last. */
  readonly maxAge?: number | undefined;
  /** Rooms kept; above it the least recently used one that nobody is in is forgotten. @default 100_000 */
  readonly maxRooms?: number | undefined;
  /** Milliseconds after which a room that nobody uses is forgotten. @default 3_600_000 */
  readonly roomWindow?: number | undefined;
  /** Milliseconds for which responses are kept after a client's last link. @default 600_000 */
  readonly requestWindow?: number | undefined;
  /** Clients kept; above it the one that left first is forgotten. @default 100_000 */
  readonly maxClients?: number | undefined;
  /** Requests remembered of each client. Above it half are forgotten and its session changes. @default 10_000 */
  readonly maxRequests?: number | undefined;
  /** Bytes of responses kept of each client. Above it only the fact that a request ran is kept. @default 1_048_576 */
  readonly maxResponseBytes?: number | undefined;
}

/** All of them, with their defaults. */
export type Bounds = { readonly [Name in keyof JournalBounds]-?: number };

const defaults: Bounds = Object.freeze({
  maxEvents: 1_000,
  maxBytes: 4_194_304,
  maxAge: 120_000,
  maxRooms: 100_000,
  roomWindow: 3_600_000,
  requestWindow: 600_000,
  maxClients: 100_000,
  maxRequests: 10_000,
  maxResponseBytes: 1_048_576,
});

export const boundNames: readonly string[] = Object.keys(defaults);

/**
 * @param journal the function that was called, for the error
 * @throws RangeError where one is no finite number above 0.
 */
export function boundsOf(journal: string, options: JournalBounds): Bounds {
  const bound = (name: keyof Bounds) => {
    const value = options[name] ?? defaults[name];
    if (Number.isFinite(value) && value > 0) return value;
    throw new RangeError(
      `${journal}: ${name} must be a finite number above 0, not ${String(value)}.`,
    );
  };
  return {
    maxEvents: bound('maxEvents'),
    maxBytes: bound('maxBytes'),
    maxAge: bound('maxAge'),
    maxRooms: bound('maxRooms'),
    roomWindow: bound('roomWindow'),
    requestWindow: bound('requestWindow'),
    maxClients: bound('maxClients'),
    maxRequests: bound('maxRequests'),
    maxResponseBytes: bound('maxResponseBytes'),
  };
}
