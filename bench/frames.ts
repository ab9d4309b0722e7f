/**
 * What the server sends, as bytes that are ready before the clock starts: events of exactly 200 bytes
 * in WebSocket frames.
 *
 * How it could mislead: all events have the same keys in the same order, ASCII only, and one type.
 * `JSON.parse` and the inline caches of every client are at their best with them.
 */

/** The room of all benches but the one that has a hundred of them. */
export const ROOM = 'conversation:456';
export const EVENT_TYPE = 'message:received';
const EVENT_BYTES = 200;
const TIMESTAMP = 1_700_000_000_000;

/** Events from number `first` on, each a frame of its own, one after another in one buffer. */
export function eventFrames(count: number, { first = 1, seq = true, room = ROOM } = {}): Buffer[] {
  return Array.from({ length: count }, (_, index) => {
    const number = first + index;
    const event = {
      kind: 'event',
      eventId: eventId(room, number),
      type: EVENT_TYPE,
      timestamp: TIMESTAMP + number,
      payload: { id: number, from: 'Ada', text: '' },
      room,
      ...(seq ? { seq: number } : {}),
    };
    event.payload.text = '.'.repeat(EVENT_BYTES - JSON.stringify(event).length);
    return frame(event);
  });
}

/** 21 characters or more, as random ids have. */
export function eventId(room: string, number: number): string {
  return `${room.slice(-4)}-${String(number).padStart(16, '0')}`;
}

export function numberOf(eventId: string): number {
  return Number(eventId.slice(5));
}

export function joined(room: string, number: number, recovered: boolean): Buffer {
  const cursor = eventId(room, number);
  const why = recovered ? {} : { reason: 'new' };
  const verdict = { kind: 'room', room, joined: true, epoch: 'one', cursor, seq: number };
  return frame({ ...verdict, recovered, ...why });
}

export function caughtUp(room: string, number: number): Buffer {
  return frame({ kind: 'room', room, caughtUp: true, cursor: eventId(room, number) });
}

/** A text frame as a server writes it: not masked. */
export function frame(value: unknown): Buffer {
  const text = Buffer.from(JSON.stringify(value));
  const { length } = text;
  if (length >= 65_536) throw new RangeError('Frames of 64 KiB and more are not needed here.');
  const head = length < 126 ? [0x81, length] : [0x81, 126, length >> 8, length & 255];
  return Buffer.concat([Buffer.from(head), text]);
}
