/** Whether somebody is there: silence is asked about once, then believed. No timer and no clock per message. */

export interface Heartbeat {
  readonly interval: number;
  readonly timeout: number;
}

/** Four fifths: what is told then arrives before the client asks. */
const QUIET = 0.8;

/** Whether the server was quiet for so long that a client which cannot ask should hear of it. */
export class Quiet {
  readonly #ms: number;
  #wroteAt: number;

  constructor({ interval }: Heartbeat, now: number) {
    this.#ms = interval * QUIET;
    this.#wroteAt = now;
  }

  /** @param wrote something was written since the last look; true where it is time to. */
  look(now: number, wrote: boolean): boolean {
    const isDue = !wrote && now - this.#wroteAt >= this.#ms;
    if (wrote || isDue) this.#wroteAt = now;
    return isDue;
  }
}

export class Liveness {
  readonly #heartbeat: Heartbeat;
  #heard = false;
  #heardAt: number;
  #askedAt: number | undefined;

  constructor(heartbeat: Heartbeat, now: number) {
    this.#heartbeat = heartbeat;
    this.#heardAt = now;
  }

  /** Anything arrived. Its time is that of the next look: exact enough, and free. */
  heard(): void {
    this.#heard = true;
  }

  /** When life was last seen. */
  get heardAt(): number {
    return this.#heardAt;
  }

  /** @param progressed some of what was written before has gone out since: somebody reads, however slowly */
  look(now: number, progressed: boolean): 'alive' | 'ask' | 'dead' {
    if (this.#heard || progressed) {
      this.#heardAt = now;
      this.#askedAt = undefined;
    }
    this.#heard = false;
    if (this.#askedAt !== undefined) {
      return now - this.#askedAt >= this.#heartbeat.timeout ? 'dead' : 'alive';
    }
    if (now - this.#heardAt < this.#heartbeat.interval) return 'alive';
    this.#askedAt = now;
    return 'ask';
  }
}
