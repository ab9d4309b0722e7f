/** What an ordinary Socket.IO server calls things, and how its events are read. */
import type { Message } from '../../protocol/frame.js';

/** What an event says of itself; what it leaves out is made up. */
export interface OrdinaryEvent {
  /** Without one it is delivered however often it comes, and cannot be asked for again. */
  readonly eventId?: unknown;
  /** @default the name of the Socket.IO event */
  readonly type?: unknown;
  /** Unix milliseconds, or a date as text. @default now, by the device's clock */
  readonly timestamp?: unknown;
  readonly payload?: unknown;
  /** @default none: `client.on` hears it, `room.on` does not */
  readonly room?: unknown;
}

/** The names of the server's own events. `false`: it has none such. */
export interface OrdinaryOptions {
  /** `emit(join, room, ack)`. @default "join-room" */
  readonly join?: string | false;
  /** `emit(leave, room)`. @default "leave-room" */
  readonly leave?: string | false;
  /** `emit(rejoin, rooms, ack)`, once for each connection. @default "rejoin-rooms"; false: `join`, one by one */
  readonly rejoin?: string | false;
  /**
   * `emit(sync, { lastEventId, lastTimestamp, rooms: [{ room, lastEventId, lastTimestamp }] }, ack)`, after
   * that; the ack brings what was missed, in order: `[event, …]` or `{ events }`. @default "sync-events";
   * false: whatever was missed is a gap
   */
  readonly sync?: string | false;
  /** `emit(ping, ack)`. @default false: Engine.IO's heartbeat is trusted */
  readonly ping?: string | false;
  /** Whether joins are acknowledged. `false`: they count as soon as they are sent. @default true */
  readonly confirms?: boolean;
  /** Milliseconds for an ack of the events above. A join without one counts, a sync is a gap. @default 10_000 */
  readonly timeout?: number;
  /**
   * What an event says, given all its arguments; undefined: it is none. One that a sync brings comes as the
   * only argument, with its `type` as the name. @default an envelope with an `eventId`, else the payload
   */
  readonly event?: (name: string, args: readonly unknown[]) => OrdinaryEvent | undefined;
  /** The arguments of a request or a message. @default its payload */
  readonly args?: (call: OrdinaryCall) => readonly unknown[];
}

/** A request or a message, which has no id. */
export interface OrdinaryCall extends Omit<Message, 'kind'> {
  readonly requestId?: string;
}
