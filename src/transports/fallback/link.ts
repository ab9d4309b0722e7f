/**
 * One link of a fallback: whichever wire carries it, and what is opened beside that.
 *
 * States
 *   seeking   a race is run; nobody is told of it
 *   in use    a wire was welcomed. `isHeld`: it has been in use for TRIAL ms
 *             seeking beside: a race is run beside it, among the better wires (a probe), or among all
 *               others where it was lost as one useless attempt too many
 *             waiting: another wire was welcomed beside it, and waits for the client's next dial
 *   left      that dial has taken it
 *   over
 *
 * Facts: a welcome, a fault, a wire's patience or a probe's time is up, the client dials or closes.
 *
 * Invariants
 *   F1 What a wire says before it has won is not heard, and nothing of one that has lost.
 *   F2 Of two welcomes one is used: that of the first; the other wire is closed.
 *   F3 Our own hello, presented on another wire, never ends a client with SUPERSEDED.
 *   F4 Who was welcomed beside a link is either taken over by the next dial of that client or closed
 *      with the link.
 *   F5 A fault of the wire in use that is kept back is told as soon as nothing is beside it any more.
 *   F6 After `close()`, or a fault that was told, there is no timer and no wire left.
 */
import type { Link, LinkEvents } from '../../client/transport.js';
import { type Clock, LONGEST_TIMER } from '../../lib/clock.js';
import { HoldfastError } from '../../protocol/errors.js';
import type { Garbled, Hello, ServerFrame } from '../../protocol/frame.js';
import type { Attempt, Wire } from './attempt.js';
import type { Memory } from './memory.js';
import { race } from './race.js';
import { isOfClient } from './standing.js';

/** What all links of a fallback share. */
export interface Shared {
  /** The best first. */
  readonly wires: readonly Wire[];
  readonly memory: Memory;
  readonly clock: Clock;
  /** Milliseconds. */
  readonly headStart: number;
  readonly probeInterval: number;
  /** Ends the search beside a client's link, and hands over what it has found; by clientId. */
  readonly beside: Map<string, () => Attempt | undefined>;
}

/**
 * How long a link must last, in ms. What is lost earlier was cut by what let it through: proxies that
 * look into the first frames do that within a second, a server that restarts does it at any age.
 */
const TRIAL = 5_000;

/** @param taken what waited beside the last link; without it the wires are dialed. */
export function openLink(
  shared: Shared,
  hello: () => Hello,
  on: LinkEvents,
  taken?: Attempt,
): Link {
  const { beside, clock, headStart, memory, wires } = shared;
  /** The number of the last hello, above those of all before it. */
  let presented = -1;
  let clientId = '';
  let current = taken;
  /** It waits for the next dial. */
  let found: Attempt | undefined;
  let endRace: (() => void) | undefined;
  let stopTrial = () => {};
  let stopProbing = () => {};
  /** Why the wire in use was lost; not told yet. */
  let fault: HoldfastError | undefined;
  let isHeld = false;
  let isLeft = false;
  let isOver = false;

  function seek(order: readonly Wire[], tried = 0, isProbe = false): void {
    const isBeside = current !== undefined;
    endRace?.();
    endRace = race({
      ...shared,
      order,
      tried,
      isBeside,
      isProbe,
      isOwnFence,
      hello() {
        const next = hello();
        presented = next.link;
        return next;
      },
      won(one) {
        endRace = undefined;
        const isWelcome = one.frames[0]?.kind === 'welcome';
        if (isWelcome && !isProbe) memory.blame(order.slice(0, order.indexOf(one.wire)));
        if (!isBeside) use(one);
        else if (isWelcome) wait(one);
        else {
          one.link.close();
          settle();
        }
      },
      lost(failed, cause) {
        endRace = undefined;
        if (!isProbe) {
          if (failed < order.length) memory.blame(order.slice(0, failed));
          else memory.forgive();
          fault ??= cause;
        }
        settle();
      },
    });
  }

  function use(one: Attempt): void {
    const { as, frames, wire } = one;
    current = one;
    one.tell = { received: heard, closed: lost };
    on.opened(as);
    for (const frame of frames) if (!isOver) on.received(frame);
    // The client may have hung up on what it heard, a goodbye for one.
    if (isOver) return;
    stopTrial = clock.after(TRIAL, () => {
      isHeld = true;
      memory.prove(wire);
    });
    ({ clientId } = as.hello ?? hello());
    beside.set(clientId, leave);
    if (wire.rank > 0) probeLater(wire);
  }

  function probeLater(wire: Wire): void {
    stopProbing = clock.after(Math.min(shared.probeInterval, LONGEST_TIMER), () => {
      probeLater(wire);
      seek(wires.slice(0, wire.rank), 0, true);
    });
  }

  /** The client moves over with its next dial, which is due at once. */
  function wait(one: Attempt): void {
    found = one;
    stopProbing();
    one.tell = {
      received: (frame) => one.frames.push(frame),
      closed() {
        found = undefined;
        settle();
      },
    };
    // Below 0, as no server can say it: the client has no reason to wait.
    on.received({ kind: 'goodbye', reason: 'upgrade', reconnectAfter: -1 });
  }

  function leave(): Attempt | undefined {
    const next = found;
    found = undefined;
    isLeft = next !== undefined;
    stopSeeking();
    if (!isLeft) settle();
    return next;
  }

  function heard(frame: ServerFrame | Garbled): void {
    if (frame.kind === 'error' && isOwnFence(frame.error, current)) {
      current?.link.close();
      lost(HoldfastError.from(frame.error));
    } else on.received(frame);
  }

  function lost(cause: HoldfastError): void {
    if (current === undefined || isLeft || isOver) return;
    const { wire } = current;
    const isFence = isOwnFence(cause, current);
    fault = isFence ? overtaken() : cause;
    stopTrial();
    stopProbing();
    if (found !== undefined) return;
    if (isFence && endRace !== undefined) {
      // The probe is served already: its welcome is on its way.
      stopProbing = clock.after(Math.min(headStart, LONGEST_TIMER), settle);
      return;
    }
    const isUseless = !isHeld && !isFence && !isOfClient(cause);
    if (isUseless && memory.isOnLastLeg(wire) && wires.length > 1) {
      seek([wire, ...memory.order().filter((other) => other !== wire)], 1);
      return;
    }
    if (isUseless) memory.blame([wire]);
    settle();
  }

  /** A link of ours with a higher number was served in its place. */
  function isOwnFence({ code }: { code: string }, one: Attempt | undefined): boolean {
    return code === 'SUPERSEDED' && presented > (one?.as.hello?.link ?? presented);
  }

  /** Tells what was kept back. */
  function settle(): void {
    if (fault === undefined) return;
    end();
    on.closed(fault);
  }

  function stopSeeking(): void {
    stopProbing();
    endRace?.();
    endRace = undefined;
    if (beside.get(clientId) === leave) beside.delete(clientId);
  }

  function end(): void {
    isOver = true;
    stopTrial();
    stopSeeking();
    found?.link.close();
    if (isHeld && current !== undefined) memory.prove(current.wire);
  }

  if (taken === undefined) seek(memory.order());
  else {
    taken.tell = {
      received: (frame) => taken.frames.push(frame),
      closed: (cause) => queueMicrotask(() => lost(cause)),
    };
    queueMicrotask(() => isOver || use(taken));
  }
  return {
    send: (frames) => current?.link.send(frames),
    close(code, reason) {
      if (isOver) return;
      end();
      current?.link.close(code, reason);
    },
    get bufferedAmount() {
      return current?.link.bufferedAmount ?? 0;
    },
  };
}

function overtaken(): HoldfastError {
  return new HoldfastError('CONNECTION_FAILED', 'Another wire of this client took its place.');
}
