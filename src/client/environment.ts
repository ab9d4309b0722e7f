/** What the platform lends: clock, dice, ids, signs of life. The only file of the client that names them. */
import { nanoid } from 'nanoid';
import { nanoid as guessableId } from 'nanoid/non-secure';
import type { Clock } from '../lib/clock.js';

/**
 * What the device says of itself. `offline` and `online` are hints; `hidden` and `visible` are the
 * page's; `suspended` and `resumed` are the back/forward cache's and a frozen page's. Whatever ends a
 * wait ends that for a visible page too: where `online` or `resumed` comes while the page is still
 * hidden, say `hidden` once more.
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
  /** What is to be printed, as in `holdfast:*`; asked with the first `connect()`. */
  debug(): string | null | undefined;
  /** Prints one line of that. */
  log(line: string): void;
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
  id: freshId,
  lifecycle: listenToPage,
  report: (error: unknown) => console.error(error),
  debug: wishHere,
  // In Node console.debug writes to stdout, where a program's own output goes.
  log: (line: string) => ('document' in globalThis ? console.debug(line) : console.error(line)),
});

/**
 * React Native without a polyfill and some old web views have no `crypto`, and a sandbox may deny it.
 * Ids that are no two alike, but could be guessed, beat no connection. Whoever guessed a clientId
 * would still need its user's credentials; only where a server asks for none, add the polyfill
 * (`react-native-get-random-values`), or give `environment.id`.
 */
function freshId(): string {
  try {
    return nanoid();
  } catch {
    return guessableId();
  }
}

/** A page keeps it in its storage, where it may read that; a process in its environment. */
function wishHere(): string | null | undefined {
  try {
    // Deno would ask its user for permission.
    const isPage = 'document' in globalThis || 'Deno' in globalThis;
    return isPage ? localStorage.getItem('debug') : process.env.DEBUG;
  } catch {
    return undefined;
  }
}

/**
 * No `unload` or `beforeunload` listener: either keeps a page out of the back/forward cache. Nothing
 * to hear where there is no page (Node, most workers), or half of one: React Native has a `window`
 * without events, and shims have a `document` without them.
 */
function listenToPage(listener: (signal: LifecycleSignal) => void): () => void {
  const ends: (() => void)[] = [];
  const on = (target: EventTarget | undefined, type: string, hear: (event: Event) => void) => {
    harmless(() => {
      target?.addEventListener(type, hear);
      ends.push(() => target?.removeEventListener(type, hear));
    });
  };
  const page = documentHere();
  const wake = (signal: 'online' | 'resumed') => {
    listener(signal);
    // Chromium lets frozen pages run now and then without showing them.
    if (page?.hidden) listener('hidden');
  };
  on(globalThis, 'online', () => wake('online'));
  on(globalThis, 'offline', () => listener('offline'));
  if (page !== undefined) {
    on(globalThis, 'pagehide', (event) => {
      if ('persisted' in event && event.persisted === true) listener('suspended');
    });
    on(globalThis, 'pageshow', (event) => {
      if ('persisted' in event && event.persisted === true) wake('resumed');
    });
    on(page, 'visibilitychange', () => listener(page.hidden ? 'hidden' : 'visible'));
    on(page, 'freeze', () => listener('suspended'));
    on(page, 'resume', () => wake('resumed'));
    // A page that was opened in the background never becomes hidden: it is so from the start.
    if (page.hidden) listener('hidden');
  }
  return () => {
    for (const end of ends) harmless(end);
  };
}

function documentHere(): Document | undefined {
  try {
    const page: Document | null | undefined = globalThis.document;
    return page ?? undefined;
  } catch {
    return undefined;
  }
}

/** What cannot be heard is done without. */
function harmless(run: () => void): void {
  try {
    run();
  } catch {
    // A platform's own doing: missing, or denied to this page.
  }
}
