/** What every adapter does alike: which slots are forgotten, how many cursors one keeps, and its errors. */
import { HoldfastError } from '../protocol/errors.js';

/** Milliseconds, 30 days: a slot without requests that nobody has used for so long is deleted. */
export const SLOT_LIFETIME = 2_592_000_000;

/** Cursors of a slot; the oldest written go. Twice the rooms that a server lets one client join. */
export const MAX_CURSORS = 2_000;

/** An error of a storage, that says what happened and how to help. */
export function storageFailed(message: string, cause?: unknown): HoldfastError {
  return new HoldfastError('STORAGE_FAILED', message, { cause });
}
