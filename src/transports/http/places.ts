/** What has arrived of each room on one link: from there the next exchange goes on. */
import {
  type ClientFrame,
  type Garbled,
  type Hello,
  ME,
  type RoomWish,
  type ServerFrame,
} from '../../protocol/frame.js';

interface Place {
  /** The last event that arrived, or the position that a verdict named. */
  since: string | undefined;
  /** Joins that wait for a verdict. Those of one room that went in one `hello` get one between them. */
  owed: number;
  /** The exchange under way names it. What else comes of the room answers an older join. */
  isAsked: boolean;
  /** It has yet to be caught up. */
  isBehind: boolean;
}

export interface Places {
  /** The body of an exchange: every room from its place. */
  ask(session?: string): object;
  /** A frame of the client's about the link. */
  changed(frame: ClientFrame): void;
  /** How often the client is to be told of a frame. */
  heard(frame: ServerFrame | Garbled): number;
  /** A room waits for a verdict that a poll without news leaves out. */
  readonly isBehind: boolean;
  readonly hello: Readonly<Hello>;
}

export function placesOf(first: Hello): Places {
  const hello = { ...first };
  const table = new Map<string, Place>();
  const join = ({ room, since }: RoomWish) => {
    const owed = (table.get(room)?.owed ?? 0) + 1;
    table.set(room, { since, owed, isAsked: false, isBehind: true });
  };
  first.rooms.forEach(join);
  return {
    hello,
    get isBehind() {
      return [...table.values()].some(({ isBehind }) => isBehind);
    },
    ask(session) {
      const rooms = [];
      for (const [room, place] of table) {
        place.isAsked = true;
        rooms.push({ room, since: place.since });
      }
      return { ...hello, ...(session && { session }), rooms };
    },
    changed(frame) {
      if (frame.kind === 'join') frame.rooms.forEach(join);
      if (frame.kind === 'leave') for (const room of frame.rooms) table.delete(room);
      if (frame.kind === 'auth') hello.auth = frame.auth;
    },
    heard(frame) {
      if (!('room' in frame) || frame.room === undefined) return 1;
      const { room } = frame;
      let place = table.get(room);
      if (place === undefined && room === ME) {
        // Every hello joins it, named or not.
        place = { since: undefined, owed: 0, isAsked: true, isBehind: true };
        table.set(ME, place);
      }
      if (!place?.isAsked) return 0;
      if (frame.kind === 'event') {
        place.since = frame.eventId;
        return 1;
      }
      if ('cursor' in frame) place.since = frame.cursor;
      else table.delete(room);
      if ('caughtUp' in frame) place.isBehind = false;
      if (place.owed === 0 || 'caughtUp' in frame) return 1;
      const { owed } = place;
      place.owed = 0;
      return owed;
    },
  };
}
