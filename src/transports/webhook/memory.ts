/** Which webhooks were heard already: in this process, or wherever several of them can see it. */
import type { Clock } from '../../lib/clock.js';

/**
 * Where ids are kept for more than one process, each call one step that nothing comes between. With
 * Redis: `SET id running NX PX lease GET`, `SET id done PX ttl`, `DEL id`.
 */
export interface WebhookStore {
  /**
   * Takes an id for `lease` ms, if nobody has it. `new`: it is taken now. `running`: another process
   * has taken it. `done`: its listeners have returned.
   */
  add(id: string, lease: number): Promise<'new' | 'running' | 'done'>;
  /** Its listeners have returned: to be known for `ttl` ms. */
  done(id: string, ttl: number): Promise<unknown>;
  /** Its listeners have failed: the next attempt is to run them. */
  remove(id: string): Promise<unknown>;
}

/** Of this process alone, which waits for what it runs itself. Forgets the oldest above `most`. */
export function processStore(clock: Clock, most: number): WebhookStore {
  const goneAt = new Map<string, number>();
  const forget = (now: number) => {
    for (const [id, at] of goneAt) {
      if (at > now && goneAt.size <= most) return;
      goneAt.delete(id);
    }
  };
  return {
    async add(id) {
      forget(clock.now());
      return goneAt.has(id) ? 'done' : 'new';
    },
    async done(id, ttl) {
      const now = clock.now();
      goneAt.set(id, now + ttl);
      forget(now);
    },
    async remove(id) {
      goneAt.delete(id);
    },
  };
}
