/** What the platform lends: clock, dice, ids, signs of life. The only file of the client that names them. */
import { nanoid } from 'nanoid';
import type { Clock } from '../lib/clock.js';

/**
 * What the device says of itself. `offline` and `online` are hints; `hidden` and `visible` are the
 * page's; `suspended` and `resumed` are the back/forward cache's and a frozen page's.
 */
export type LifecycleSignal = 'online' | 'offline' | 'visible' | 'hidden' | 'suspended' | 'resumed';

/** Inject another one for tests, React Native (AppState, NetInfo) or Electron (powerMonitor). */
export interface Environment {
  clock: Clock;
  /** In [0, 1). */
  random(): number;
  /** Unique and hard to guess: ids of clients and requests. */
  id(): string;
  /** Starts to listen to the device; returns how to stop. */
  lifecycle(listener: (signal: LifecycleSignal) => void): () => void;
  /** Hears of errors that the application has no `onError` for. */
  report(error: unknown): void;
}

/** The platform's own. Globals are looked up when they are used, never at import. */
export const platformEnvironment: Environment = Object.freeze({
  clock: Object.freeze({
    now: () => performance.now(),
    date: () => Date.now(),
    after(ms: number, run: () => void) {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
  }),
  random: () => Math.random(),
  id: () => nanoid(),
  lifecycle: listenToPage,
  report: (error: unknown) => console.error(error),
});

/**
 * No `unload` or `beforeunload` listener: either keeps a page out of the back/forward cache.
 * Nothing to hear where there is no page (Node, most workers).
 */
function listenToPage(listener: (signal: LifecycleSignal) => void): () => void {
  const page: Partial<typeof globalThis> = globalThis;
  const { addEventListener, document } = page;
  if (typeof addEventListener !== 'function') return () => {};
  const ends: (() => void)[] = [];
  const on = (target: EventTarget, type: string, hear: (event: Event) => void) => {
    target.addEventListener(type, hear);
    ends.push(() => target.removeEventListener(type, hear));
  };
  on(globalThis, 'online', () => listener('online'));
  on(globalThis, 'offline', () => listener('offline'));
  if (document !== undefined) {
    on(globalThis, 'pagehide', (event) => {
      if ('persisted' in event && event.persisted === true) listener('suspended');
    });
    on(globalThis, 'pageshow', (event) => {
      if ('persisted' in event && event.persisted === true) listener('resumed');
    });
    on(document, 'visibilitychange', () => listener(document.hidden ? 'hidden' : 'visible'));
    on(document, 'freeze', () => listener('suspended'));
    on(document, 'resume', () => listener('resumed'));
  }
  return () => {
    for (const end of ends) end();
  };
}
