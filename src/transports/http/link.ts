/** A link over HTTP to a server of ours: who is on it, what it tells, and when the server is asked anew. */
import type { Link, LinkEvents } from '../../client/transport.js';
import {
  defaultTerms,
  type Garbled,
  type Hello,
  type ServerFrame,
  type Welcome,
} from '../../protocol/frame.js';
import { type Call, failed, lost } from './call.js';
import { errandsOf } from './errands.js';
import { type Places, placesOf } from './places.js';
import { turnsOf } from './turns.js';

/** One asking of the server. */
export interface Turn {
  /** Who asks, and each room from the last event that has arrived. */
  readonly hello: object;
  readonly isUrgent: boolean;
  readonly signal: AbortSignal;
  opened(): void;
  heard(frame: ServerFrame | Garbled): void;
}

export interface HttpWire {
  readonly call: Call;
  /** Resolves with the pause before the next turn, in ms. @throws the fault that ends the link */
  take(turn: Turn): Promise<number>;
  /** The longest silence of a healthy link, in ms, where the server's terms do not know it. */
  readonly silence: number;
}

/** How soon, in ms, a server is asked again that has nothing to say, or is leaving. */
export const SOON = 1_000;

/** So long a new stream is left alone, in ms: joins that come one by one would end each unheard. */
const YOUTH = 20;

export function httpLink(wire: HttpWire, present: () => Hello, on: LinkEvents): Link {
  let places: Places | undefined;
  let welcome: Welcome | undefined;
  /** The server has yet to answer; what changes meanwhile goes with the next turn. */
  let isAsking = true;
  let hasChanged = false;
  let isRenewal = false;
  /** The server has said goodbye. */
  let isLeaving = false;

  const turns = turnsOf(on, async (signal, isUrgent) => {
    isAsking = isUrgent;
    places ??= placesOf(present());
    hasChanged = false;
    try {
      const pause = await wire.take({
        hello: places.ask(welcome?.session),
        isUrgent,
        signal,
        opened: turns.opened,
        heard: (frame) => void (signal.aborted || hear(frame)),
      });
      if (signal.aborted) return;
      if (welcome === undefined) throw lost('The server sent no welcome');
      turns.tell({ kind: 'pong' });
      turns.rest(pause, () => turns.next(places?.isBehind === true));
      settled();
    } catch (thrown) {
      if (signal.aborted) return;
      const { code, message } = failed(thrown);
      if (isRenewal && /^TOKEN|^UNAUTH/.test(code))
        turns.tell({ kind: 'auth', error: { code, message } });
      // Another link takes over, and this one is in doubt, no more: the client has its heartbeat.
      if (!isLeaving || welcome === undefined) throw thrown;
      turns.rest(SOON, () => turns.next(false));
    }
  });

  const errands = errandsOf({
    call: wire.call,
    signal: turns.signal,
    head() {
      const { clientId, link, auth } = places?.hello ?? {};
      return { clientId, link, session: welcome?.session, auth };
    },
    most: () => welcome?.terms?.maxMessageSize ?? defaultTerms.maxMessageSize,
    // A handler that takes longer is asked for again, which costs no more than that.
    patience: () => 3 * (welcome?.terms?.heartbeat ?? defaultTerms.heartbeat).timeout,
    heard: turns.tell,
    ended: turns.end,
  });

  function hear(frame: ServerFrame | Garbled): void {
    isLeaving ||= frame.kind === 'goodbye';
    if (frame.kind !== 'welcome') {
      for (let times = places?.heard(frame) ?? 0; times > 0; times--) turns.tell(frame);
      return;
    }
    if (welcome === undefined) {
      welcome = frame;
      turns.tell(patient(frame, wire.silence));
    } else if (welcome.session !== frame.session || welcome.user !== frame.user) {
      turns.end(lost('Another session or user answers than before'));
    } else {
      turns.tell({ kind: 'pong' });
      const expiresIn = frame.terms?.authExpiresIn;
      if (isRenewal) turns.tell({ kind: 'auth', ...(expiresIn !== undefined && { expiresIn }) });
      isRenewal = false;
    }
    turns.rest(YOUTH, settled);
  }

  function settled(): void {
    isAsking = false;
    if (hasChanged) turns.next(true);
  }

  return {
    send(frames) {
      let isUrgent = false;
      for (const frame of frames) {
        if (typeof frame === 'string') errands.put(frame);
        else if ('kind' in frame && frame.kind !== 'pong') {
          places?.changed(frame);
          hasChanged = true;
          isRenewal ||= frame.kind === 'auth';
          isUrgent ||= frame.kind === 'auth' || frame.kind === 'ping';
        }
      }
      if (isUrgent || (hasChanged && !isAsking)) {
        isAsking = true;
        turns.next(true);
      }
    },
    close: turns.close,
    get bufferedAmount() {
      return errands.waiting;
    },
  };
}

/** The server's terms, for a wire that is silent for longer. */
export function patient(welcome: Welcome, silence: number): Welcome {
  if (silence === 0) return welcome;
  const { interval, timeout } = welcome.terms?.heartbeat ?? defaultTerms.heartbeat;
  const heartbeat = { interval: Math.max(interval, silence + timeout), timeout };
  return { ...welcome, terms: { ...welcome.terms, heartbeat } };
}
