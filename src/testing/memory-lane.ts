/** One direction of a memory link: a queue before the wire, and what is under way on it. */
import type { Clock } from '../lib/clock.js';

/** How the wire is right now. */
export interface LaneTerms {
  latency: number;
  jitter: number;
  /** Bytes per second; Infinity for no limit. */
  bandwidth: number;
  /** Nothing leaves and nothing arrives. */
  held: boolean;
  /** Bytes that the wire takes in without showing them as buffered. */
  socketBuffer: number;
}

export interface LaneSetup<Parcel> {
  /** Measures all durations. */
  clock: Clock;
  /** Times what leaves, and what arrives: a sleeping device does neither. */
  sender: Clock;
  receiver: Clock;
  random: () => number;
  terms(): LaneTerms;
  arrived(parcel: Parcel): void;
  /** `buffered` has fallen. */
  fell(): void;
}

export interface Lane<Parcel> {
  send(parcel: Parcel, bytes: number): void;
  /** Takes note that `terms()` has changed. */
  changed(): void;
  /** Loses what has not left yet, or everything. */
  lose(what: 'unsent' | 'everything'): void;
  readonly buffered: number;
}

interface Waiting<Parcel> {
  parcel: Parcel;
  /** Bytes of it that have not left. */
  left: number;
}

interface Flying<Parcel> {
  parcel: Parcel;
  due: number;
  cancel: () => void;
}

/** Carries parcels in order, whatever the jitter. Each arrival is a timer of its own. */
export function memoryLane<Parcel>(setup: LaneSetup<Parcel>): Lane<Parcel> {
  let waiting: Waiting<Parcel>[] = [];
  let flying: Flying<Parcel>[] = [];
  let terms = setup.terms();
  let queued = 0;
  let pouredAt = setup.clock.now();
  let latest = 0;
  let cancelPour = () => {};

  function send(parcel: Parcel, bytes: number): void {
    waiting.push({ parcel, left: bytes });
    queued += bytes;
    if (waiting.length > 1) return;
    // The queue was empty: its idle time is no credit.
    pouredAt = setup.clock.now();
    pour();
  }

  /** Lets out what the bandwidth has allowed since the last time. Tells how many parcels left. */
  function pour(): number {
    let allowed = poured();
    let left = 0;
    pouredAt = setup.clock.now();
    cancelPour();
    if (terms.held) return left;
    for (let head = waiting[0]; head !== undefined; head = waiting[0]) {
      const part = Math.min(head.left, allowed);
      head.left -= part;
      queued -= part;
      allowed -= part;
      if (head.left > 0) break;
      waiting.shift();
      depart(head.parcel);
      left++;
    }
    schedulePour();
    return left;
  }

  function pourAndTell(): void {
    const full = queued > terms.socketBuffer;
    if (pour() > 0 && full) setup.fell();
  }

  /** Bytes that may have left since the last pour. */
  function poured(): number {
    if (terms.held) return 0;
    if (terms.bandwidth === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
    return ((setup.clock.now() - pouredAt) * terms.bandwidth) / 1_000;
  }

  function schedulePour(): void {
    const head = waiting[0];
    if (head === undefined || terms.bandwidth === 0) return;
    cancelPour = setup.sender.after(Math.ceil((head.left * 1_000) / terms.bandwidth), pourAndTell);
  }

  function depart(parcel: Parcel): void {
    const now = setup.clock.now();
    latest = Math.max(latest, now + terms.latency + setup.random() * terms.jitter);
    flying.push({ parcel, due: latest, cancel: setup.receiver.after(latest - now, arrive) });
  }

  function arrive(): void {
    const [next] = flying;
    if (terms.held || next === undefined || next.due > setup.clock.now()) return;
    flying.shift();
    setup.arrived(next.parcel);
  }

  function changed(): void {
    pourAndTell();
    const was = terms;
    terms = setup.terms();
    pourAndTell();
    if (!was.held || terms.held) return;
    const now = setup.clock.now();
    for (const parcel of flying.filter(({ due }) => due <= now)) {
      parcel.cancel = setup.receiver.after(0, arrive);
    }
  }

  function lose(what: 'unsent' | 'everything'): void {
    cancelPour();
    waiting = [];
    queued = 0;
    if (what === 'unsent') return;
    for (const parcel of flying) parcel.cancel();
    flying = [];
  }

  return {
    send,
    changed,
    lose,
    get buffered() {
      return Math.max(0, Math.ceil(queued - Math.min(poured(), queued) - terms.socketBuffer));
    },
  };
}
