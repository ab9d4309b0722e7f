/** Arbitrary frames of a server, whole and damaged, for the property tests. */
import * as fc from 'fast-check';
import type { ServerFrame } from '../../src/protocol/frame.js';

const text = fc.string({ minLength: 1, unit: 'binary' });
const span = fc.oneof(fc.nat(), fc.double({ min: 0, max: 1e12, noNaN: true }));
const positive = span.filter((value) => value > 0);
const timestamp = fc.oneof(fc.nat(), fc.double({ noNaN: true, noDefaultInfinity: true }));
const count = fc.maxSafeNat();
const payload = fc.jsonValue({ maxDepth: 3 });

const errorBody = optional(
  { code: text, message: fc.string() },
  {
    retryable: fc.boolean(),
    retryAfter: span,
    details: fc.dictionary(fc.string(), payload, { maxKeys: 3 }),
  },
);

const terms = optional(
  {},
  {
    heartbeat: fc.record({ interval: positive, timeout: positive }),
    maxMessageSize: positive,
    messagesPerSecond: positive,
    maxRooms: span,
    replayWindow: span,
    requestWindow: span,
    retrySpread: span,
    authExpiresIn: span,
  },
);

/** One arbitrary for each kind of frame; a kind without one does not compile. */
const byKind: Record<ServerFrame['kind'], fc.Arbitrary<object>> = {
  welcome: optional(
    { kind: fc.constant('welcome'), connectionId: text },
    { session: text, user: text, terms },
  ),
  room: fc.oneof(
    optional(
      {
        kind: fc.constant('room'),
        room: text,
        joined: fc.constant(true),
        epoch: text,
        cursor: text,
        seq: count,
        recovered: fc.boolean(),
      },
      { reason: fc.constantFrom('new', 'expired', 'epoch'), since: text },
    ),
    fc.record({
      kind: fc.constant('room'),
      room: text,
      caughtUp: fc.constant(true),
      cursor: text,
    }),
    fc.record({ kind: fc.constant('room'), room: text, left: fc.constant(true) }),
    fc.record({ kind: fc.constant('room'), room: text, error: errorBody }),
  ),
  event: optional(
    { kind: fc.constant('event'), eventId: text, type: text, timestamp },
    { payload, room: text, seq: count },
  ),
  response: fc.oneof(
    optional(
      { kind: fc.constant('response'), requestId: text, success: fc.constant(true) },
      { data: payload },
    ),
    fc.record({
      kind: fc.constant('response'),
      requestId: text,
      success: fc.constant(false),
      error: errorBody,
    }),
  ),
  ping: fc.record({ kind: fc.constant('ping') }),
  pong: fc.record({ kind: fc.constant('pong') }),
  auth: optional({ kind: fc.constant('auth') }, { expiresIn: span, error: errorBody }),
  error: fc.record({ kind: fc.constant('error'), error: errorBody }),
  goodbye: optional(
    { kind: fc.constant('goodbye'), reason: text },
    { reconnectAfter: span, spread: span },
  ),
};

/** A frame that every peer must take. */
export const validFrame: fc.Arbitrary<object> = fc.oneof(...Object.values(byKind));

/** What a careless or hostile peer puts where something else belongs. */
const junk: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, '', 0, -1, -0.5, 1.5, -0, 2 ** 53, [], {}, ['ping']),
  fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
  fc.constantFrom<unknown>({ toString: 1, valueOf: 2 }, { code: '' }, { interval: 0, timeout: 1 }),
  fc.constantFrom('event', 'constructor', '__proto__', 'new'),
  fc.jsonValue({ maxDepth: 2 }),
);

const damage = fc.record({
  act: fc.constantFrom('drop', 'retype', 'add'),
  /** Which of the keys there are, at any depth. */
  at: fc.nat(),
  junk,
  name: fc.oneof(
    fc.constantFrom('joined', 'caughtUp', 'left', 'error', 'success', 'reason', 'terms', 'room'),
    fc.constantFrom('kind', 'seq', 'payload', '__proto__', 'constructor', 'toString'),
    fc.string(),
  ),
});

/** A valid frame with one to three keys dropped, retyped or added, at any depth. */
export const damagedFrame: fc.Arbitrary<unknown> = fc
  .tuple(validFrame, fc.array(damage, { minLength: 1, maxLength: 3 }))
  .map(([frame, damages]) => {
    const copy: unknown = structuredClone(frame);
    for (const { act, at, junk, name } of damages) {
      const places = placesIn(copy);
      const place = places[at % places.length];
      if (place === undefined) break;
      if (act === 'drop') delete place.holder[place.key];
      else put(place.holder, act === 'add' ? name : place.key, structuredClone(junk));
    }
    return copy;
  });

interface Place {
  holder: Record<string, unknown>;
  key: string;
}

function placesIn(value: unknown): Place[] {
  if (typeof value !== 'object' || value === null) return [];
  const holder = value as Record<string, unknown>;
  return Object.keys(holder).flatMap((key) => [{ holder, key }, ...placesIn(holder[key])]);
}

/** As `JSON.parse` puts it: an own key, also where it is called `__proto__`. */
function put(holder: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(holder, key, {
    value,
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

function optional(
  needed: Record<string, fc.Arbitrary<unknown>>,
  free: Record<string, fc.Arbitrary<unknown>>,
): fc.Arbitrary<object> {
  return fc.record({ ...needed, ...free }, { requiredKeys: Object.keys(needed) });
}
