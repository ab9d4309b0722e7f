/**
 * The server's frames, checked by hand on the client's path: no validator in the bundle and no
 * generated code, so that it runs under a strict Content-Security-Policy. `schema.ts` says the same
 * in zod; a property test holds the two together.
 */
import type { ErrorBody, Garbled, ServerFrame } from './frame.js';

/** Lets a decoded value in as a frame, or says why not. Unknown keys are ignored. */
export function serverFrame(value: unknown): ServerFrame | Garbled {
  if (!isObject(value)) return { kind: 'garbled', why: 'not an object' };
  const fits = isServerFrame(value);
  if (fits === undefined) return { kind: 'garbled', why: 'unknown kind' };
  if (!fits) return { kind: 'garbled', why: `malformed ${value.kind}` };
  return value as unknown as ServerFrame;
}

type Fields = Record<string, unknown>;

/**
 * Whether the fields fit the frame's kind; undefined where the kind is unknown. A switch, not a table:
 * it compares strictly, so that no `kind` is turned into a key (`"constructor"`, `["ping"]`, an
 * object whose `toString` throws), and it costs a fifth of a look-up.
 */
function isServerFrame(frame: Fields): boolean | undefined {
  switch (frame.kind as ServerFrame['kind']) {
    case 'event':
      return (
        isText(frame.eventId) &&
        isText(frame.type) &&
        isNumber(frame.timestamp) &&
        isOptional(frame.room, isText) &&
        isOptional(frame.seq, isCount)
      );
    case 'response':
      return (
        isText(frame.requestId) &&
        (frame.success === true || (frame.success === false && isErrorBody(frame.error)))
      );
    case 'ping':
    case 'pong':
      return true;
    case 'room':
      return isText(frame.room) && isVerdict(frame);
    case 'welcome':
      return isWelcome(frame);
    case 'auth':
      return isOptional(frame.expiresIn, isSpan) && isOptional(frame.error, isErrorBody);
    case 'error':
      return isErrorBody(frame.error);
    case 'goodbye':
      return (
        isText(frame.reason) &&
        isOptional(frame.reconnectAfter, isSpan) &&
        isOptional(frame.spread, isSpan)
      );
  }
}

function isWelcome(frame: Fields): boolean {
  return (
    isText(frame.connectionId) &&
    isOptional(frame.session, isText) &&
    isOptional(frame.user, isText) &&
    isOptional(frame.terms, isTerms)
  );
}

/** One mark and no second one: two verdicts at once contradict each other. */
function isVerdict(frame: Fields): boolean {
  const { joined, caughtUp, left, error } = frame;
  if ([joined, caughtUp, left, error].filter((mark) => mark !== undefined).length !== 1)
    return false;
  if (joined === true) {
    return (
      isText(frame.epoch) &&
      isText(frame.cursor) &&
      isCount(frame.seq) &&
      typeof frame.recovered === 'boolean' &&
      isOptional(frame.reason, isReason) &&
      isOptional(frame.since, isText)
    );
  }
  if (caughtUp === true) return isText(frame.cursor);
  return left === true || isErrorBody(error);
}

function isTerms(value: unknown): boolean {
  return (
    isObject(value) &&
    isOptional(value.heartbeat, isHeartbeat) &&
    isOptional(value.maxMessageSize, isPositive) &&
    isOptional(value.messagesPerSecond, isPositive) &&
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
