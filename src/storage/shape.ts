/** Whether what stands in a storage is what was written there: anybody may have been at it since. */
import type { Saved, SavedRequest } from '../machine/fact.js';

/** What is kept of a slot beside its requests and cursors. */
export interface SlotRecord {
  readonly link: number;
  readonly user: string | null | undefined;
  /** Unix milliseconds of its last use. */
  readonly used: number;
}

export interface CursorRecord {
  readonly cursor: string;
  /** Unix milliseconds of its last write. */
  readonly at: number;
}

type Fields<T> = Readonly<Partial<Record<keyof T, unknown>>>;

export function isSlotRecord(value: unknown): value is SlotRecord {
  if (!isObject(value)) return false;
  const { link, user, used }: Fields<SlotRecord> = value;
  return Number.isSafeInteger(link) && isNumber(used) && (user === null || isOptionalText(user));
}

export function isCursorRecord(value: unknown): value is CursorRecord {
  if (!isObject(value)) return false;
  const { cursor, at }: Fields<CursorRecord> = value;
  return isText(cursor) && isNumber(at);
}

export function isSavedRequest(value: unknown): value is SavedRequest {
  if (!isObject(value)) return false;
  const { wire, delivery, session, ...rest }: Fields<SavedRequest> = value;
  return (
    isText(rest.requestId) &&
    isText(rest.type) &&
    isOptionalText(rest.room) &&
    isOptionalText(rest.coalesceKey) &&
    (isText(wire) || wire instanceof Uint8Array) &&
    (delivery === 'exactly-once' || delivery === 'at-least-once' || delivery === 'at-most-once') &&
    isNumber(rest.timeout) &&
    isNumber(rest.expiresAt) &&
    (session === null || isText(session))
  );
}

/** What a slot says of its last owner. */
export function isSaved(value: unknown): value is Saved {
  if (!isObject(value)) return false;
  const { clientId, link, user, requests, cursors }: Fields<Saved> = value;
  return (
    isText(clientId) &&
    clientId !== '' &&
    Number.isSafeInteger(link) &&
    (user === null || isOptionalText(user)) &&
    Array.isArray(requests) &&
    requests.every(isSavedRequest) &&
    Array.isArray(cursors) &&
    cursors.every((pair) => Array.isArray(pair) && pair.length === 2 && pair.every(isText))
  );
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

function isOptionalText(value: unknown): boolean {
  return value === undefined || isText(value);
}

/** Infinity is one: a request may wait for ever. */
function isNumber(value: unknown): boolean {
  return typeof value === 'number' && value >= 0;
}
