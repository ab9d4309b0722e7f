/** What the soak's clients and their hub say to each other, and how the rooms are filled. */
import { defineContract } from 'holdfast';
import * as z from 'zod';

/** `run` counts the hub's processes from 1: a client must be told of a gap before a forgetful one speaks. */
const run = z.int();
/** Counts in each series from 1: a hole in it is a loss that can be seen. */
const number = z.int();

export const contract = defineContract({
  requests: {
    // Publishes `count:added` to the room it is asked in.
    'count:add': { payload: z.object({ number }), data: z.object({ run }) },
    'echo:ask': { payload: z.object({ number }), data: z.object({ run }) },
  },
  events: {
    'feed:ticked': z.object({ number, run }),
    'count:added': z.object({ from: z.string(), number, run }),
  },
});

/** What a client fetches after a gap: everything up to `eventId`, and perhaps more. */
export interface RoomState {
  readonly eventId: string;
  readonly run: number;
  /** The last number of the feed. */
  readonly feed: number;
  /** The last number of each client. */
  readonly counts: Readonly<Record<string, number>>;
}

/** Each room has about twenty members. */
export function roomNames(clients: number): string[] {
  const count = Math.max(2, Math.round(clients / 10));
  return Array.from({ length: count }, (_, index) => `room-${index + 1}`);
}

/** The two rooms of one client. */
export function roomsOf(client: number, rooms: readonly string[]): string[] {
  const first = client % rooms.length;
  const step = 1 + (Math.floor(client / rooms.length) % (rooms.length - 1));
  return [first, (first + step) % rooms.length].flatMap((index) => rooms[index] ?? []);
}
