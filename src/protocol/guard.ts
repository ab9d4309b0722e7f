/**
 * The server's frames, checked by hand on the client's path: no validator in the bundle and no
 * generated code, so that it runs under a strict Content-Security-Policy. `schema.ts` says the same
 * in zod; a property test holds the two together.
 */
import type { ErrorBody, Garbled, ServerFrame } from './frame.js';

/** Lets a decoded value in as a frame, or says why not. Unknown keys are ignored. */
export function serverFrame(value: unknown): ServerFrame | Garbled {
  if (!isObject(value)) return { kind: 'garbled', why: 'not an object' };
  const check = checks[value.kind as keyof typeof checks];
  // An own check only: `kind: "constructor"` must not find Object.prototype.
  if (check === undefined || !Object.hasOwn(checks, value.kind as string)) {
    return { kind: 'garbled', why: 'unknown kind' };
  }
  if (!check(value)) return { kind: 'garbled', why: `malformed ${String(value.kind)}` };
  return value as unknown as ServerFrame;
}

type Fields = Record<string, unknown>;

const checks: Record<ServerFrame['kind'], (frame: Fields) => boolean> = {
  event: (frame) =>
    isText(frame.eventId) &&
    isText(frame.type) &&
    isNumber(frame.timestamp) &&
    isOptional(frame.room, isText) &&
    isOptional(frame.seq, isCount),
  response: (frame) =>
    isText(frame.requestId) &&
    (frame.success === true || (frame.success === false && isErrorBody(frame.error))),
  ping: () => true,
  pong: () => true,
  room: (frame) => isText(frame.room) && isVerdict(frame),
  welcome: (frame) =>
    isText(frame.connectionId) &&
    isOptional(frame.session, isText) &&
    isOptional(frame.user, isText) &&
    isOptional(frame.terms, isTerms),
  auth: (frame) => isOptional(frame.expiresIn, isSpan) && isOptional(frame.error, isErrorBody),
  error: (frame) => isErrorBody(frame.error),
  goodbye: (frame) =>
    isText(frame.reason) &&
    isOptional(frame.reconnectAfter, isSpan) &&
    isOptional(frame.spread, isSpan),
};

function isVerdict(frame: Fields): boolean {
  if (frame.joined === true) {
    return (
      isText(frame.epoch) &&
      isText(frame.cursor) &&
      isCount(frame.seq) &&
      typeof frame.recovered === 'boolean' &&
      isOptional(frame.reason, isReason)
    );
  }
  if (frame.caughtUp === true) return isText(frame.cursor);
  return frame.left === true || isErrorBody(frame.error);
}

function isTerms(value: unknown): boolean {
  return (
    isObject(value) &&
    isOptional(value.heartbeat, isHeartbeat) &&
    isOptional(value.maxMessageSize, isSpan) &&
    isOptional(value.messagesPerSecond, isSpan) &&
    isOptional(value.maxRooms, isSpan) &&
    isOptional(value.replayWindow, isSpan) &&
    isOptional(value.requestWindow, isSpan) &&
    isOptional(value.retrySpread, isSpan) &&
    isOptional(value.authExpiresIn, isSpan)
  );
}

function isHeartbeat(value: unknown): boolean {
  return isObject(value) && isPositive(value.interval) && isPositive(value.timeout);
}

function isErrorBody(value: unknown): value is ErrorBody {
  return (
    isObject(value) &&
    isText(value.code) &&
    typeof value.message === 'string' &&
    isOptional(value.retryable, (flag) => typeof flag === 'boolean') &&
    isOptional(value.retryAfter, isSpan) &&
    isOptional(value.details, isObject)
  );
}

function isReason(value: unknown): boolean {
  return value === 'new' || value === 'expired' || value === 'epoch';
}

function isOptional(value: unknown, check: (value: unknown) => boolean): boolean {
  return value === undefined || check(value);
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

function isNumber(value: unknown): boolean {
  return Number.isFinite(value);
}

function isSpan(value: unknown): boolean {
  return Number.isFinite(value) && (value as number) >= 0;
}

function isPositive(value: unknown): boolean {
  return Number.isFinite(value) && (value as number) > 0;
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
