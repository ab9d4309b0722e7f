/** The numbers that events carry here: 1, 2, 3 …, each once and in order where all is well. */
import type { Recorder } from '../recorder.js';

/** The room of most scenes. Its events are `feed:ticked`, with a number. */
export const ROOM = 'room';

/** The numbers of the events of a room, as the application had them. */
export function numbers({ seen }: { readonly seen: Recorder }, room = ROOM): number[] {
  return seen.events
    .filter(({ event }) => event.room === room)
    .map(({ payload }) => numberOf(payload));
}

/** What an event carries. */
export function numberOf(payload: unknown): number {
  return typeof payload === 'object' && payload !== null && 'number' in payload
    ? Number(payload.number)
    : Number.NaN;
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}
