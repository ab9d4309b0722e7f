/** How fast clients send that have no connection to be measured on. */
import type { Core } from './core.js';
import { RateMeter } from './rate.js';

/** Milliseconds after which a meter has forgotten everything by itself. */
const LIFE = 60_000;

interface Metered {
  readonly meter: RateMeter;
  usedAt: number;
}

export class Meters {
  readonly #core: Core;
  /** By client; the one that was used first comes first. */
  readonly #clients = new Map<string, Metered>();

  constructor(core: Core) {
    this.#core = core;
  }

  of(clientId: string): RateMeter {
    const now = this.#core.clock.now();
    for (const [name, { usedAt }] of this.#clients) {
      if (now - usedAt < LIFE) break;
      this.#clients.delete(name);
    }
    const rate = this.#core.settings.limits.messagesPerSecond;
    const metered = this.#clients.get(clientId) ?? { meter: new RateMeter(rate, now), usedAt: now };
    metered.usedAt = now;
    this.#clients.delete(clientId);
    this.#clients.set(clientId, metered);
    return metered.meter;
  }
}
