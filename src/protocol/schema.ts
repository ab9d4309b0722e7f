/** Every frame in zod: what the server checks its clients with, and what tests hold `guard.ts` against. */
import * as z from 'zod';
import { PROTOCOL } from './frame.js';

const text = z.string().min(1);
/** What a server keeps for a while is bounded in length, in UTF-16 units. */
const id = text.max(128);
const type = text.max(256);
const room = text.max(512);
const count = z.int().min(0);
const span = z.number().min(0);
const positive = z.number().gt(0);

// Neither is bounded here: whoever names a wrong one is answered for that room alone.
const roomWish = z.object({ room: text, since: z.exactOptional(text) });

/** A frame of a client. Unknown keys are dropped; an unknown `kind` is an issue. */
export const clientFrame = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('hello'),
    protocol: z.literal(PROTOCOL),
    clientId: id,
    link: count,
    auth: z.exactOptional(z.unknown()),
    session: z.exactOptional(text),
    rooms: z.array(roomWish),
  }),
  z.object({ kind: z.literal('join'), rooms: z.array(roomWish) }),
  z.object({ kind: z.literal('leave'), rooms: z.array(text) }),
  z.object({
    kind: z.literal('request'),
    requestId: id,
    type,
    timestamp: z.number(),
    payload: z.exactOptional(z.unknown()),
    room: z.exactOptional(room),
  }),
  z.object({
    kind: z.literal('message'),
    type,
    timestamp: z.number(),
    payload: z.exactOptional(z.unknown()),
    room: z.exactOptional(room),
  }),
  z.object({ kind: z.literal('ping') }),
  z.object({ kind: z.literal('pong') }),
  z.object({ kind: z.literal('auth'), auth: z.unknown() }),
]);

// Not `z.record`: it takes plain objects only, and `guard.ts` takes any object that is no array.
const anyObject = z.custom<Record<string, unknown>>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
);

const errorBody = z.object({
  code: text,
  message: z.string(),
  retryable: z.boolean().optional(),
  retryAfter: span.optional(),
  details: anyObject.optional(),
});

const terms = z.object({
  heartbeat: z.object({ interval: positive, timeout: positive }).optional(),
  maxMessageSize: positive.optional(),
  messagesPerSecond: positive.optional(),
  maxRooms: span.optional(),
  replayWindow: span.optional(),
  requestWindow: span.optional(),
  retrySpread: span.optional(),
  authExpiresIn: span.optional(),
});

// A verdict has one mark: a second one, whatever it says, contradicts it.
const absent = z.undefined().optional();

const verdict = z.union([
  z.object({
    kind: z.literal('room'),
    room: text,
    joined: z.literal(true),
    caughtUp: absent,
    left: absent,
    error: absent,
    epoch: text,
    cursor: text,
    seq: count,
    recovered: z.boolean(),
    reason: z.enum(['new', 'expired', 'epoch']).optional(),
    since: text.optional(),
  }),
  z.object({
    kind: z.literal('room'),
    room: text,
    joined: absent,
    caughtUp: z.literal(true),
    left: absent,
    error: absent,
    cursor: text,
  }),
  z.object({
    kind: z.literal('room'),
    room: text,
    joined: absent,
    caughtUp: absent,
    left: z.literal(true),
    error: absent,
  }),
  z.object({
    kind: z.literal('room'),
    room: text,
    joined: absent,
    caughtUp: absent,
    left: absent,
    error: errorBody,
  }),
]);

const response = z.discriminatedUnion('success', [
  z.object({
    kind: z.literal('response'),
    requestId: text,
    success: z.literal(true),
    data: z.unknown().optional(),
  }),
  z.object({
    kind: z.literal('response'),
    requestId: text,
    success: z.literal(false),
    error: errorBody,
  }),
]);

const others = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('welcome'),
    connectionId: text,
    session: text.optional(),
    user: text.optional(),
    terms: terms.optional(),
  }),
  z.object({
    kind: z.literal('event'),
    eventId: text,
    type: text,
    timestamp: z.number(),
    payload: z.unknown().optional(),
    room: text.optional(),
    seq: count.optional(),
  }),
  response,
  z.object({ kind: z.literal('ping') }),
  z.object({ kind: z.literal('pong') }),
  z.object({ kind: z.literal('auth'), expiresIn: span.optional(), error: errorBody.optional() }),
  z.object({ kind: z.literal('error'), error: errorBody }),
  z.object({
    kind: z.literal('goodbye'),
    reason: text,
    reconnectAfter: span.optional(),
    spread: span.optional(),
  }),
]);

/** A frame of a server. Unknown keys are dropped; an unknown `kind` is an issue. */
export const serverFrame = z.union([others, verdict]);
