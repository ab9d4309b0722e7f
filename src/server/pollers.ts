/** Clients between two of their polls: they are still there, and a hub that leaves has to tell them. */
import type { Core } from './core.js';

/** Milliseconds between two looks, while the hub leaves. */
const LOOK = 100;

export class Pollers {
  readonly #core: Core;
  /** By clientId: when it counts as gone. */
  readonly #away = new Map<string, number>();

  constructor(core: Core) {
    this.#core = core;
  }

  get areGone(): boolean {
    const now = this.#core.clock.now();
    for (const [clientId, until] of this.#away) if (until <= now) this.#away.delete(clientId);
    return this.#away.size === 0;
  }

  /** It is connected, or does not come again. */
  arrived(clientId: string): void {
    this.#away.delete(clientId);
  }

  /** It polls again, be it only to hear that there is nothing new. */
  left(clientId: string): void {
    const { interval, timeout } = this.#core.settings.heartbeat;
    this.#until(clientId, interval + timeout);
  }

  /** It knows that it has to move, and polls here until it has. */
  told(clientId: string): void {
    this.#until(clientId, this.#core.settings.heartbeat.timeout);
  }

  isAway(clientId: string): boolean {
    return this.#away.has(clientId);
  }

  /** Calls `look` now and then; returns the end of it. */
  watch(look: () => void): () => void {
    const { clock } = this.#core;
    const again = () => {
      cancel = clock.after(LOOK, again);
      look();
    };
    let cancel = clock.after(LOOK, again);
    return () => cancel();
  }

  #until(clientId: string, ms: number): void {
    const now = this.#core.clock.now();
    this.#away.delete(clientId);
    this.#away.set(clientId, now + ms);
    for (const [other, until] of this.#away) {
      if (until > now) return;
      this.#away.delete(other);
    }
  }
}
