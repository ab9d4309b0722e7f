/** What can be wrong with a memory network, or with one link of it. */
import type { Wire } from '../protocol/wire.js';
import type { LaneTerms } from './memory-lane.js';

/** `up` is from client to server. */
export type Direction = 'up' | 'down';

/** One value for both directions, or one for each; the one that is left out has no fault. */
export type EachWay = number | { up?: number; down?: number };

/** The state of the wire. Every fault may be changed at any time. */
export interface Faults {
  /** Milliseconds one way. @default 0, or `latency` of the network */
  latency: EachWay;
  /** Up to so many milliseconds more, by chance. Frames keep their order. @default 0 */
  jitter: number;
  /** Bytes per second; 0 is a peer that has stopped reading. @default Infinity */
  bandwidth: EachWay;
  /**
   * Silence without an end: frames wait, nobody is told, and all is carried on when it heals, as TCP
   * would. Dials stay open-ended too. @default 'none'
   */
  blackHole: Direction | 'both' | 'none';
  /**
   * Bytes the operating system takes in before `bufferedAmount` grows.
   * @default 65_536: about what a socket does; 0 shows every unsent byte
   */
  socketBuffer: number;
  /**
   * New dials are refused: with a close code after the wire has opened, as servers refuse
   * browsers (4401), or with an error code (`'CONNECTION_FAILED'`). @default null
   */
  refuse: number | string | null;
  /** New dials open, and nothing ever answers. @default false */
  silent: boolean;
}

/** A frame as it passes, seen by a rule. Wires that are not JSON have the kind `binary`. */
export interface PassingFrame {
  readonly kind: string;
  readonly [key: string]: unknown;
}

/** Which frames a rule is about. */
export type FrameTest = (frame: PassingFrame, direction: Direction) => boolean;

/** A rule over frames: the last of every `every` that match is lost, or comes twice. */
export interface Rule {
  readonly matches: FrameTest;
  readonly every: number;
  readonly copies: 0 | 2;
  seen: number;
}

/** The faults of a wire without any. */
export const healthy: Readonly<Faults> = Object.freeze({
  latency: 0,
  jitter: 0,
  bandwidth: Number.POSITIVE_INFINITY,
  blackHole: 'none',
  socketBuffer: 65_536,
  refuse: null,
  silent: false,
});

/** The faults of one direction. */
export function laneTerms(faults: Faults, direction: Direction): LaneTerms {
  return {
    latency: oneWay(faults.latency, direction, 0),
    jitter: faults.jitter,
    bandwidth: oneWay(faults.bandwidth, direction, Number.POSITIVE_INFINITY),
    held: faults.blackHole === 'both' || faults.blackHole === direction,
    socketBuffer: faults.socketBuffer,
  };
}

/** Adds a rule, and returns its end. */
export function addRule(rules: Rule[], rule: Omit<Rule, 'seen'>): () => void {
  const added = { ...rule, seen: 0 };
  rules.push(added);
  return () => {
    const index = rules.indexOf(added);
    if (index >= 0) rules.splice(index, 1);
  };
}

/** How often a frame arrives under these rules: 0, 1 or more. */
export function copiesOf(rules: readonly Rule[], wire: Wire, direction: Direction): number {
  if (rules.length === 0) return 1;
  const frame = passing(wire);
  let copies = 1;
  for (const rule of rules) {
    if (!rule.matches(frame, direction)) continue;
    rule.seen++;
    // The last of each `every`: "every second one" spares the first.
    if (rule.seen % rule.every === 0) copies *= rule.copies;
  }
  return copies;
}

function oneWay(value: EachWay, direction: Direction, otherwise: number): number {
  return typeof value === 'number' ? value : (value[direction] ?? otherwise);
}

function passing(wire: Wire): PassingFrame {
  if (typeof wire !== 'string') return { kind: 'binary' };
  try {
    const frame: unknown = JSON.parse(wire);
    return isPassingFrame(frame) ? frame : { kind: 'garbled' };
  } catch {
    return { kind: 'garbled' };
  }
}

function isPassingFrame(value: unknown): value is PassingFrame {
  return (
    typeof value === 'object' && value !== null && 'kind' in value && typeof value.kind === 'string'
  );
}
