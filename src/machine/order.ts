/** What the machine asks its driver to do, in the imperative. The driver adds nothing of its own. */

import type { HoldfastError } from '../protocol/errors.js';
import type { Event } from '../protocol/frame.js';
import type { Outgoing } from '../protocol/wire.js';
import type { SavedRequest } from './fact.js';

export type Order =
  | { order: 'deliver'; event: Event }
  | { order: 'transmit'; link: number; frames: Outgoing[] }
  | { order: 'settle'; requestId: string; data: unknown }
  | { order: 'reject'; requestId: string; error: HoldfastError }
  /** Ask the application for credentials, under `signal` and the machine's deadline. */
  | { order: 'askCredentials'; ask: number; reason: CredentialReason }
  | { order: 'dropCredentials' }
  | { order: 'dial'; link: number }
  | { order: 'hangUp'; link: number; code: number; reason: string }
  /** Run `onGap`. `cursor` is the last event that was delivered before the gap. */
  | { order: 'heal'; room: string; run: number; cursor: string | null; reason: GapReason }
  | { order: 'stopHealing'; room: string; run: number }
  | { order: 'answerJoins'; calls: number[]; error: HoldfastError | null }
  /** `connect()` has its first success, or will have none. */
  | { order: 'answerConnects'; error: HoldfastError | null }
  /** Open the storage. */
  | { order: 'restore' }
  | { order: 'store'; write: number; changes: Changes }
  /** Give the storage's slot back, once it has written what it was told. */
  | { order: 'release' }
  | { order: 'report'; error: HoldfastError };

/**
 * `expired`: the last credentials were refused or are about to run out, so a cached copy will not do.
 * `connect`: any attempt else.
 */
export type CredentialReason = 'connect' | 'expired';

/**
 * Why history is missing. `expired`: the cursor has fallen out of the journal. `epoch`: the journal
 * was lost. `hole`: a number in the sequence never came. `overflow`: more events arrived while
 * `onGap` ran than `inbox.maxHeld`.
 */
export type GapReason = 'expired' | 'epoch' | 'hole' | 'overflow';

/** What changed since the last write. Applied in the order of the keys here, all of it or nothing. */
export interface Changes {
  /** Requests, behind those that are there; one that is there already is replaced in its place. */
  readonly puts: readonly SavedRequest[];
  /** Requests that are there, and their `session` from now on. */
  readonly stamps: readonly (readonly [requestId: string, session: string | null])[];
  /** Requests that have ended; some of them may not be there. */
  readonly drops: readonly string[];
  /** Null forgets the room. */
  readonly cursors: readonly (readonly [room: string, cursor: string | null])[];
  /** Left out where it stays as it is. */
  readonly user?: string | null;
}
