/**
 * The port between a hub and what outlives its connections: the events of rooms and the memory of
 * requests. One journal may serve several hubs, in one process or in many.
 *
 * What every journal promises:
 *
 * - J1 Within a room's epoch, `seq` counts from 1 without a hole, and `(epoch, seq)` never names two
 *   events. A journal that may have lost its tail, or forgot the room, starts a new epoch.
 * - J2 One `Write` is atomic: its events and its settlement are there together or not at all, and
 *   it is refused where the node no longer owns the claim it settles. Writes of one call keep their
 *   order.
 * - J3 A claim is given once. It is given again only when it was released, or when its node is dead
 *   and the claim asks as `rerunnable`.
 * - J4 The session of a client changes whenever one of its settled requests may have been forgotten,
 *   `forget` aside.
 * - J5 After `follow` has answered, every later event of the room is told through `appended`.
 * - J6 `tell` resolves once the text is on its way to every other node and no failure of this one can
 *   stop it, and rejects where it may not reach them.
 */

import type { Clock } from '../lib/clock.js';
import { byteLength } from '../protocol/wire.js';

/** Where a reader stands: it has everything of `epoch` up to and including `seq`. */
export interface Position {
  readonly epoch: string;
  readonly seq: number;
}

/** An event before it has its place: the journal puts `eventId` and `seq` in front of the body. */
export interface Draft {
  /** The journal's name of the room; differs from the one on the wire for `@me`. */
  readonly room: string;
  /** The rest of the encoded event frame, from its first own key to the closing brace. */
  readonly body: string;
}

/** An event in its place, encoded once for everybody who will ever read it. */
export interface StoredEvent {
  readonly seq: number;
  readonly text: string;
  readonly bytes: number;
}

/** Bytes of events that one read brings, and at least one event: reads are thrown away where a link is slow. */
export const SLICE_BYTES = 65_536;

/** What a read finds: events right after the position, or why there is no going on from there. */
export type Slice =
  | { readonly gap?: undefined; readonly events: readonly StoredEvent[] }
  | { readonly gap: 'expired' | 'epoch'; readonly tail: Position };

/** Ends a claim. Without a response the claim is released: the request may run again. */
export interface Settlement {
  readonly client: string;
  readonly requestId: string;
  /** The encoded response frame. */
  readonly response?: string;
}

/** One atomic write. */
export interface Write {
  readonly events: readonly Draft[];
  readonly settle?: Settlement;
}

/** `cursors` are the eventIds, in the order of the events. Refused: another node owns the claim. */
export type WriteResult =
  | { readonly accepted: true; readonly cursors: readonly string[] }
  | { readonly accepted: false };

/** "May I run this?" */
export interface Claim {
  readonly client: string;
  readonly requestId: string;
  readonly link: number;
  /** The handler may run again after its node died in the middle of it. */
  readonly rerunnable: boolean;
}

/**
 * `settled` without a response: it ran, but its answer is no longer kept. `running`: on this node
 * (`isHere`), or on another one, which will tell `settled`: then ask again. `orphaned`: its node died. `fenced`: the client has a newer link.
 */
export type Claimed =
  | { readonly state: 'claimed' | 'fenced' | 'orphaned' }
  | { readonly state: 'settled'; readonly response: string | undefined }
  | { readonly state: 'running'; readonly isHere: boolean };

export type Recalled =
  | { readonly state: 'unknown' | 'running' }
  | { readonly state: 'settled'; readonly response: string | undefined };

/** `session` names the client's request memory. Refused: a higher link has been seen. */
export type Linked =
  | { readonly accepted: true; readonly session: string }
  | { readonly accepted: false; readonly link: number };

/** A client, as the journal knows it: its session, and the highest link that was accepted (-1: none yet). */
export interface Known {
  readonly session: string;
  readonly link: number;
}

/** New events at a room's tail. `events` may leave some out, even all: readers then read. */
export interface Appended {
  readonly room: string;
  readonly epoch: string;
  /** The `seq` of the tail. */
  readonly seq: number;
  readonly events: readonly StoredEvent[];
}

/** A hub, as its journal sees it: one node of however many. The journal names its nodes itself. */
export interface JournalUser {
  readonly clock: Clock;
  id(): string;
  appended(news: Appended): void;
  /** A claim has ended, or its node has died: ask again. */
  settled(client: string, requestId: string): void;
  /** Another node welcomed this link of the client. */
  linked(client: string, link: number): void;
  /** What another node passed to `tell`. */
  told(text: string): void;
  /** This node was declared dead: what it still writes is refused, so its clients must move. */
  fenced?(): void;
}

/** A journal, as one hub holds it. */
export interface JournalNode {
  /** Starts telling of the room's events, and answers with its tail. A new room gets an epoch. */
  follow(room: string): Promise<Position>;
  unfollow(room: string): void;
  /** The tail of a room. */
  tail(room: string): Promise<Position>;
  /**
   * At most `limit` events after `since`, none where it is the tail. It may bring fewer, and should
   * where they are large: about 64 KiB at once.
   */
  read(room: string, since: Position, limit: number): Promise<Slice>;
  write(writes: readonly Write[]): Promise<readonly WriteResult[]>;
  /** The client is to be served on this link from now on. */
  link(client: string, link: number): Promise<Linked>;
  /** The link has ended; the request window starts unless there is a newer one. */
  unlink(client: string, link: number): void;
  /** The client as `link` would find it; undefined where it is, or is about to be, forgotten. Changes nothing. */
  known(client: string): Promise<Known | undefined>;
  claim(claim: Claim): Promise<Claimed>;
  /** What is known of a request, without claiming it. A node that died may still be `running` it. */
  recall(client: string, requestId: string): Promise<Recalled>;
  /** The client has the answers to these for certain: drop them. */
  forget(client: string, requestIds: readonly string[]): void;
  /** Reaches every other node that has the journal open: see J6. */
  tell(text: string): Promise<void>;
  /** The node is gone: its links end, its claims are those of a dead node. */
  close(): Promise<void>;
}

export interface Journal {
  /** Milliseconds for which events are kept, told to clients. */
  readonly replayWindow: number;
  /** Milliseconds for which responses are kept after a client's last link, told to clients. */
  readonly requestWindow: number;
  open(user: JournalUser): JournalNode;
}

/** A position as clients carry it: the eventId of the last event they have. */
export function cursorOf(position: Position): string {
  return `${position.epoch}-${position.seq}`;
}

/** Undefined where the text is no cursor of ours. */
export function parseCursor(cursor: string): Position | undefined {
  const cut = cursor.lastIndexOf('-');
  const digits = cursor.slice(cut + 1);
  if (cut < 1 || !/^\d{1,15}$/.test(digits)) return undefined;
  return { epoch: cursor.slice(0, cut), seq: Number(digits) };
}

/** Gives a draft its place. */
export function storedEvent(position: Position, body: string): StoredEvent {
  const { seq } = position;
  const text = `{"kind":"event","eventId":"${cursorOf(position)}","seq":${seq},${body}`;
  return { seq, text, bytes: byteLength(text) };
}
