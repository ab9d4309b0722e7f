/** When to ask whether the server is still there, and when to stop believing it. */
import { NEVER } from './step.js';

/** Milliseconds. A server's terms win over the client's own. */
export interface Heartbeat {
  /** Silence before we ask. */
  interval: number;
  /** How long the answer may take. */
  timeout: number;
}

export interface Measured {
  /** Milliseconds that the handshake took. */
  roundTrip: number;
  /** Whether a link that is alive is asked for its latency too. */
  measures: boolean;
}

/** How late a timer may be before it says more about this device (sleep, throttling) than about the link. */
const LATE = 1_000;

export type Pulse = 'quiet' | 'ping' | 'dead';

interface Probe {
  readonly deadline: number;
  /** What lay in the link's buffer when it was last looked at. */
  readonly buffered: number;
  /** The device has slept through one deadline already. */
  readonly forgiven: boolean;
  /** Milliseconds that it gets where there is a reason to wait on. */
  readonly again: number;
}

/**
 * One link's pulse. Any inbound byte proves life, and so does a falling send buffer: a slow upload is
 * not death. Costs a timestamp per message and one deadline, no timer of its own.
 */
export class Liveness {
  #heartbeat: Heartbeat | null;
  #heardAt: number;
  #pingedAt: number;
  readonly #measures: boolean;
  #awaitsPong = false;
  #probe: Probe | null = null;
  /** Smoothed round trip in ms (RFC 6298: 7/8 old, 1/8 new). */
  latency: number;

  constructor(heartbeat: Heartbeat | null, now: number, { roundTrip, measures }: Measured) {
    this.#heartbeat = heartbeat;
    this.#measures = measures;
    this.#heardAt = now;
    this.#pingedAt = now;
    this.latency = roundTrip;
  }

  heard(now: number): void {
    this.#heardAt = now;
    this.#probe = null;
  }

  /** Returns the round trip in ms, where a ping was answered. */
  ponged(now: number): number | undefined {
    if (!this.#awaitsPong) return undefined;
    this.#awaitsPong = false;
    const sample = now - this.#pingedAt;
    this.latency = (this.latency * 7 + sample) / 8;
    return sample;
  }

  /** Asks at once, with at most `timeout` ms to answer: after a wake, or when the device says it is offline. */
  probe(now: number, buffered: number, timeout = NEVER): boolean {
    if (this.#heartbeat === null) return false;
    const { timeout: again } = this.#heartbeat;
    const patience = Math.min(timeout, again);
    if (this.#probe !== null) {
      // The answer to the ping that is out will do, but it may be wanted sooner.
      const deadline = Math.min(this.#probe.deadline, now + patience);
      this.#probe = { ...this.#probe, deadline };
      return false;
    }
    this.#probe = { deadline: now + patience, buffered, forgiven: false, again };
    this.#pinged(now);
    return true;
  }

  get deadline(): number {
    if (this.#heartbeat === null) return NEVER;
    if (this.#probe !== null) return this.#probe.deadline;
    return this.#heardAt + this.#heartbeat.interval;
  }

  /** What the deadline means, now that it has come. */
  check(now: number, buffered: number): Pulse {
    const heartbeat = this.#heartbeat;
    if (heartbeat === null) return 'quiet';
    if (this.#probe !== null) return this.#checkProbe(this.#probe, now, buffered);
    if (now >= this.#heardAt + heartbeat.interval) {
      this.probe(now, buffered);
      return 'ping';
    }
    // A busy link is asked as well, once an interval: without a deadline, for the latency alone.
    if (!this.#measures || this.#awaitsPong || now < this.#pingedAt + heartbeat.interval)
      return 'quiet';
    this.#pinged(now);
    return 'ping';
  }

  #checkProbe(probe: Probe, now: number, buffered: number): Pulse {
    if (now < probe.deadline) return 'quiet';
    if (buffered < probe.buffered) {
      this.#probe = { ...probe, deadline: now + probe.again, buffered };
      return 'quiet';
    }
    // The device slept through the deadline: no evidence. Asked once more, never twice.
    if (now > probe.deadline + LATE && !probe.forgiven) {
      this.#probe = { ...probe, deadline: now + probe.again, buffered, forgiven: true };
      this.#pinged(now);
      return 'ping';
    }
    return 'dead';
  }

  #pinged(now: number): void {
    this.#pingedAt = now;
    this.#awaitsPong = true;
  }
}
