/** A link over HTTP asks in turns, each a stream or a poll: one at a time, a new one ends the old. */
import type { LinkEvents } from '../../client/transport.js';
import type { HoldfastError } from '../../protocol/errors.js';
import type { Garbled, ServerFrame } from '../../protocol/frame.js';
import { failed } from './call.js';
import { later } from './later.js';

export interface Turns {
  /** Aborted with the link. */
  readonly signal: AbortSignal;
  /** Ends the turn under way and begins another. `isUrgent`: the server is to answer it at once. */
  next(isUrgent: boolean): void;
  /** Runs after `ms`, unless a turn begins before. */
  rest(ms: number, run: () => void): void;
  /** The first time it counts. */
  opened(): void;
  tell(frame: ServerFrame | Garbled): void;
  end(fault: HoldfastError): void;
  close(): void;
}

/**
 * Starts with an urgent turn, in the next microtask.
 * @param take throws what ends the link
 */
export function turnsOf(
  on: LinkEvents,
  take: (signal: AbortSignal, isUrgent: boolean) => Promise<void>,
): Turns {
  const life = new AbortController();
  let turn = life;
  let stopRest = () => {};
  let isOpen = false;

  async function run(signal: AbortSignal, isUrgent: boolean): Promise<void> {
    // Whatever else changes in this tick goes along.
    await Promise.resolve();
    if (signal.aborted) return;
    try {
      await take(signal, isUrgent);
    } catch (thrown) {
      if (!signal.aborted) turns.end(failed(thrown));
    }
  }

  const turns: Turns = {
    signal: life.signal,
    next(isUrgent) {
      if (life.signal.aborted) return;
      stopRest();
      if (turn !== life) turn.abort();
      turn = new AbortController();
      void run(turn.signal, isUrgent);
    },
    rest(ms, go) {
      if (life.signal.aborted) return;
      stopRest();
      if (ms > 0) stopRest = later(ms, go);
      else go();
    },
    opened() {
      if (!isOpen) on.opened({ pings: false });
      isOpen = true;
    },
    tell(frame) {
      if (!life.signal.aborted) on.received(frame);
    },
    end(fault) {
      if (life.signal.aborted) return;
      turns.close();
      on.closed(fault);
    },
    close() {
      stopRest();
      turn.abort();
      life.abort();
    },
  };
  turns.next(true);
  return turns;
}
