/** Every frame two peers exchange: one union, written once, shared by client and server. */

/** The version of the wire this code speaks, as it stands in `hello.protocol`. */
export const PROTOCOL = 1;

/** The room of the authenticated user. Every `hello` joins it unasked. */
export const ME = '@me';

/** A room a client wants, from the event after `since` on, or from now where there is no `since`. */
export interface RoomWish {
  room: string;
  since?: string;
}

/** Opens or resumes a connection in one round trip: who I am, which rooms I want, from where. */
export interface Hello {
  kind: 'hello';
  protocol: typeof PROTOCOL;
  /** A credential: whoever has it can take the client's requests over. Never logged. */
  clientId: string;
  /** Grows with every dial of a `clientId`; the server serves the highest. */
  link: number;
  auth?: unknown;
  /** The request memory this client's unanswered requests were written under. */
  session?: string;
  rooms: RoomWish[];
}

export interface Join {
  kind: 'join';
  rooms: RoomWish[];
}

export interface Leave {
  kind: 'leave';
  rooms: string[];
}

/** Run this once. Durations are milliseconds, timestamps Unix milliseconds. */
export interface Request {
  kind: 'request';
  requestId: string;
  type: string;
  timestamp: number;
  payload?: unknown;
  room?: string | undefined;
}

/** Fire and forget: at most once, no answer. */
export interface Message {
  kind: 'message';
  type: string;
  timestamp: number;
  payload?: unknown;
  room?: string | undefined;
}

/** Constant text in both directions, so that a host can answer it without waking the server. */
export interface Ping {
  kind: 'ping';
}

export interface Pong {
  kind: 'pong';
}

/** New credentials on a connection that goes on. */
export interface AuthRenewal {
  kind: 'auth';
  auth: unknown;
}

export type ClientFrame = Hello | Join | Leave | Request | Message | Ping | Pong | AuthRenewal;

/** What a server asks of its clients. Milliseconds, bytes of an encoded frame, counts. */
export interface Terms {
  heartbeat: { interval: number; timeout: number };
  maxMessageSize: number;
  messagesPerSecond: number;
  maxRooms: number;
  /** How far back a cursor is still honoured. */
  replayWindow: number;
  /** How long a response is remembered after the client's last link. */
  requestWindow: number;
  /** Clients that lost this server spread their next dials over so many ms; 0: no wish. */
  retrySpread: number;
  /** A duration, not a date: device clocks lie. */
  authExpiresIn?: number;
}

/** The terms a client assumes where the server names none. */
export const defaultTerms: Readonly<Terms> = Object.freeze({
  heartbeat: Object.freeze({ interval: 25_000, timeout: 5_000 }),
  maxMessageSize: 1_048_576,
  messagesPerSecond: 100,
  maxRooms: 1_000,
  replayWindow: 120_000,
  requestWindow: 600_000,
  retrySpread: 0,
});

/** An error as it travels. `retryable: true` promises that nothing happened. */
export interface ErrorBody {
  code: string;
  message: string;
  retryable?: boolean;
  retryAfter?: number;
  details?: Record<string, unknown>;
}

export interface Welcome {
  kind: 'welcome';
  connectionId: string;
  /** The id of this client's request memory; absent on servers that remember nothing. */
  session?: string;
  /** An opaque key of the authenticated identity. */
  user?: string;
  terms?: Partial<Terms>;
}

/** Why a room could not go on from the cursor it was asked from. `new`: there was no cursor. */
export type UnrecoveredReason = 'new' | 'expired' | 'epoch';

/**
 * A room was joined, or the server changed its mind about where it stands.
 * `cursor` and `seq` are the position the reader starts after: the next event is `seq + 1`.
 */
export interface RoomJoined {
  kind: 'room';
  room: string;
  joined: true;
  epoch: string;
  cursor: string;
  seq: number;
  recovered: boolean;
  reason?: UnrecoveredReason;
  /** Of the join that it answers, where it is unrecovered and was asked for. */
  since?: string;
}

/** The room's reader has reached the tail for the first time. */
export interface RoomCaughtUp {
  kind: 'room';
  room: string;
  caughtUp: true;
  cursor: string;
}

export interface RoomLeft {
  kind: 'room';
  room: string;
  left: true;
}

/** The join was refused, or the server removed the client from the room. */
export interface RoomRefused {
  kind: 'room';
  room: string;
  error: ErrorBody;
}

export type RoomVerdict = RoomJoined | RoomCaughtUp | RoomLeft | RoomRefused;

/** Something happened. A server with a journal sends `room` and `seq`; one without omits `seq`. */
export interface Event {
  kind: 'event';
  eventId: string;
  type: string;
  timestamp: number;
  payload?: unknown;
  room?: string | undefined;
  seq?: number;
}

export type Response =
  | { kind: 'response'; requestId: string; success: true; data?: unknown }
  | { kind: 'response'; requestId: string; success: false; error: ErrorBody };

/** The answer to a renewal, or news about how long the credentials hold. */
export interface AuthVerdict {
  kind: 'auth';
  expiresIn?: number;
  error?: ErrorBody;
}

/** About the connection as a whole. */
export interface ConnectionError {
  kind: 'error';
  error: ErrorBody;
}

/** The server leaves on purpose: come back after `reconnectAfter` + random(0, `spread`) ms. */
export interface Goodbye {
  kind: 'goodbye';
  reason: string;
  reconnectAfter?: number;
  spread?: number;
}

export type ServerFrame =
  | Welcome
  | RoomVerdict
  | Event
  | Response
  | Ping
  | Pong
  | AuthVerdict
  | ConnectionError
  | Goodbye;

/** What arrived but is no frame this side knows: counted, never acted on. */
export interface Garbled {
  kind: 'garbled';
  why: string;
}

/** A type that user code may not use: the wire's own names and those Socket.IO reserves. */
export function isReservedType(type: string): boolean {
  return type.startsWith('holdfast:') || reservedTypes.has(type);
}

/** A room that user code may not name; `@me` is the one exception, and is joined unasked. */
export function isReservedRoom(room: string): boolean {
  return room.startsWith('@');
}

const reservedTypes = new Set([
  'connect',
  'connect_error',
  'disconnect',
  'disconnecting',
  'newListener',
  'removeListener',
]);
