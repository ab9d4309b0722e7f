/** What can happen to a session: everything the machine ever learns, in the past tense. */

import type { HoldfastError } from '../protocol/errors.js';
import type { Garbled, RoomWish, ServerFrame } from '../protocol/frame.js';
import type { Wire } from '../protocol/wire.js';

export type Fact =
  /** A link brought a frame. */
  | { fact: 'received'; link: number; frame: ServerFrame | Garbled }
  /** Every listener of an event has returned or thrown. */
  | { fact: 'delivered'; room: string; eventId: string }
  /** The application asks for a response. */
  | { fact: 'asked'; request: Ask }
  /** The application sends without wanting a response. */
  | { fact: 'told'; message: Tell }
  | { fact: 'aborted'; requestId: string }
  /** The tick is over: what it gathered may be written. `buffered`: bytes in the live link. */
  | { fact: 'tickEnded'; buffered: number }
  /** The session's deadline has come. */
  | { fact: 'timeUp'; buffered: number }
  | { fact: 'connectAsked' }
  | { fact: 'reconnectAsked' }
  | { fact: 'disconnectAsked' }
  | { fact: 'closeAsked' }
  /** `auth: null` is a sign-out. `key` tells two credentials apart without looking into them. */
  | { fact: 'credentialsGiven'; ask: number; auth: unknown; key: string }
  | { fact: 'credentialsFailed'; ask: number; error: HoldfastError }
  /**
   * `rooms`: what its hello named, where that is not what it would name now. `transport`: which wire
   * it is, where a transport has several. `pings: false`: a ping is dear there. `age`: ms
   * since it opened, where it is told late.
   */
  | {
      fact: 'opened';
      link: number;
      rooms?: readonly RoomWish[] | undefined;
      transport?: string | undefined;
      pings?: boolean | undefined;
      age?: number | undefined;
    }
  | { fact: 'lost'; link: number; fault: HoldfastError }
  /** The device is back: online, visible, resumed. */
  | { fact: 'woke'; buffered: number }
  /** The device says it is offline: a hint, no more. */
  | { fact: 'wentOffline'; buffered: number }
  /** The page is being frozen or put aside; its links will not survive. */
  | { fact: 'suspended' }
  | { fact: 'hid' }
  | { fact: 'joinAsked'; room: string; since?: string | undefined; call: number }
  | { fact: 'joinAborted'; room: string; call: number }
  | { fact: 'leaveAsked'; room: string }
  /** `onGap` has finished run `run`; its state is current to `eventId`, where it said so. */
  | { fact: 'healed'; room: string; run: number; eventId?: string | undefined }
  | { fact: 'healFailed'; room: string; run: number; error: HoldfastError }
  /** The application wants to see what the storage holds, before it connects. */
  | { fact: 'restoreAsked' }
  /** The storage is open. `date`: Unix milliseconds. */
  | { fact: 'restored'; saved: Restored; date: number }
  | { fact: 'restoreFailed'; error: HoldfastError }
  /** Write `write` is durable. */
  | { fact: 'stored'; write: number }
  | { fact: 'storeFailed'; write: number; error: HoldfastError };

/**
 * How often a request may run. `exactly-once`: written again on every link until it is answered, run
 * once by a server that remembers. `at-least-once`: the same with servers that do not remember.
 * `at-most-once`: never written twice.
 */
export type Delivery = 'exactly-once' | 'at-least-once' | 'at-most-once';

/** A request as it enters the outbox: already encoded, so that later changes to the payload cannot reach it. */
export interface Ask {
  requestId: string;
  type: string;
  payload: unknown;
  room: string | undefined;
  wire: Wire;
  bytes: number;
  delivery: Delivery;
  /** Milliseconds between the write and `OUTCOME_UNKNOWN`; they do not run while there is no link. */
  timeout: number;
  /** Milliseconds it may wait for its first write. */
  ttl: number;
  /** The same as a Unix time in ms, for a storage; Infinity: for ever. */
  expiresAt: number;
  coalesceKey: string | undefined;
}

export interface Tell {
  wire: Wire;
  bytes: number;
}

/** A request as it is stored: what its next owner needs to go on with it. */
export interface SavedRequest {
  readonly requestId: string;
  readonly type: string;
  readonly room: string | undefined;
  /** As it will be written. */
  readonly wire: Wire;
  readonly delivery: Delivery;
  /** Milliseconds between a write and `OUTCOME_UNKNOWN`. */
  readonly timeout: number;
  /** Unix milliseconds until which it may wait for its first write; Infinity: for ever. */
  readonly expiresAt: number;
  readonly coalesceKey: string | undefined;
  /** The request memory that it may have been written under; null: it certainly never was. */
  readonly session: string | null;
}

/** What an owner leaves to the next one. */
export interface Saved {
  readonly clientId: string;
  /** No owner before this one has dialed a link above it. */
  readonly link: number;
  /** The identity that the requests belong to: the `user` of the last welcome; undefined before the first. */
  readonly user: string | null | undefined;
  /** In the order in which they were asked. */
  readonly requests: readonly SavedRequest[];
  /** Room and eventId: the last event that every listener has had. */
  readonly cursors: readonly (readonly [room: string, cursor: string])[];
}

/** The same, with what the requests' payloads were: they can be shown. */
export interface Restored extends Saved {
  readonly requests: readonly (SavedRequest & { readonly payload: unknown })[];
}
