/** Wires that are tried one after another, each with a head start, until one of them is welcomed. */
import { type Clock, LONGEST_TIMER } from '../../lib/clock.js';
import { HoldfastError } from '../../protocol/errors.js';
import type { Hello } from '../../protocol/frame.js';
import { type Attempt, attempt, type Wire } from './attempt.js';
import type { Memory } from './memory.js';
import { isOfClient } from './standing.js';

export interface Race {
  readonly clock: Clock;
  readonly memory: Memory;
  /** Milliseconds. */
  readonly headStart: number;
  readonly order: readonly Wire[];
  /** How many of them have had their turn already. */
  readonly tried: number;
  /**
   * Beside a link: all wires get their turn, and it ends when none was welcomed in its time.
   * Otherwise whoever dials has a deadline of its own.
   */
  readonly isBeside: boolean;
  /** The link beside it works: who has presented a hello, and fences it by that, may take longer. */
  readonly isProbe: boolean;
  hello(): Hello;
  /** Another wire of this client was served in its place. */
  isOwnFence(fault: HoldfastError, one: Attempt): boolean;
  /** It was welcomed, or sent away with a goodbye: its first frame says which. The others are closed. */
  won(one: Attempt): void;
  /**
   * All are closed.
   * @param failed wires that failed, from the first of the order on; 0: it was none's fault
   */
  lost(failed: number, fault: HoldfastError | undefined): void;
}

/** Milliseconds that a wire gets more where it is trusted: its silence is rather the server's. */
const TRUST = 3_000;

/** Starts at once. Returns its end, harmless twice: nothing is told after it. */
export function race(about: Race): () => void {
  const { clock, headStart, isBeside, memory, order } = about;
  let { tried } = about;
  let running: Attempt[] = [];
  let stop = () => {};
  let said: HoldfastError | undefined;

  function end(): void {
    stop();
    for (const { link } of running) link.close();
    running = [];
  }

  function lose(failed: number): void {
    end();
    about.lost(failed, said);
  }

  function failed(one: Attempt, fault: HoldfastError, isFinal: boolean): void {
    if (!running.includes(one)) return;
    running = running.filter((other) => other !== one);
    // Browsers say nothing of a WebSocket that was refused; what says more is worth more.
    if (isFinal || said === undefined || fault.code !== 'CONNECTION_FAILED') said = fault;
    const isNewest = one.wire === order[tried - 1];
    if (isFinal) lose(0);
    else if (tried < order.length && isNewest && (isBeside || !memory.isTrusted(one.wire))) next();
    else if (running.length === 0) lose(tried);
  }

  function next(): void {
    stop();
    const wire = order[tried];
    if (wire === undefined) {
      if (!about.isProbe || running.every(({ as }) => as.hello === undefined)) lose(tried);
      return;
    }
    tried++;
    const one = attempt(wire, about, {
      received(frame) {
        if (frame.kind === 'welcome' || frame.kind === 'goodbye') {
          running = running.filter((other) => other !== one);
          end();
          one.frames.push(frame);
          about.won(one);
        } else if (frame.kind === 'error') {
          // A server that says why it refuses says so on every wire.
          one.link.close();
          const fault = HoldfastError.from(frame.error);
          failed(one, fault, !about.isOwnFence(fault, one));
        }
      },
      closed: (fault) => failed(one, fault, isOfClient(fault) && !about.isOwnFence(fault, one)),
    });
    running.push(one);
    if (tried === order.length && !isBeside) return;
    const patience = headStart + (memory.isTrusted(wire) ? TRUST : 0);
    stop = clock.after(Math.min(patience, LONGEST_TIMER), next);
  }

  next();
  return end;
}
