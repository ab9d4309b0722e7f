/** The door of a client's requests: in they go, unless they are too many or come too fast. */
import type { Core } from './core.js';
import type { RateMeter } from './rate.js';
import { failed } from './requests.js';
import type { PendingRequest, Seat } from './seat.js';

export interface Intake {
  readonly seat: Seat;
  readonly rate: RateMeter;
  /** Milliseconds that the rate asks for; undefined: the request may pass. */
  readonly wait: number | undefined;
  readonly refuse: (text: string) => void;
}

/** Resolves once the request waits in its line, was answered from memory, or was refused. Never rejects. */
export async function takeIn(core: Core, intake: Intake, request: PendingRequest): Promise<void> {
  const { seat, rate, wait, refuse } = intake;
  const { requestId, size } = request;
  const isFull = seat.isFull(size, core.settings.limits);
  const retryAfter = isFull ? rate.block(core.clock.now(), 0) : wait;
  if (retryAfter === undefined || seat.has(requestId)) {
    seat.ask(request);
    return;
  }
  // "Come again" says that nothing happened: not to a repeat of what ran already, or runs.
  if (await seat.recall(request)) return;
  core.counters.rateLimited++;
  const message = isFull
    ? 'Too many or too large requests of this client wait for their answer.'
    : 'Too many frames a second.';
  refuse(failed(requestId, { code: 'RATE_LIMITED', message, retryable: true, retryAfter }));
}
