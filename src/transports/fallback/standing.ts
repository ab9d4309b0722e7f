/** What is known of each wire, and what follows from that. Values in, values out. */
import type { HoldfastError } from '../../protocol/errors.js';

/**
 * How often in a row a wire was useless, and until when (Unix ms) its past counts: above 0 it has
 * proven itself till then, below 0 it is given up till then. 0: nothing is known of it.
 */
export type Standing = readonly [failures: number, until: number];

/** One useless attempt more, and a wire is given up: a restart makes fewer. */
const MANY = 2;

/** It works here: a failure is rather the server's. */
export function isTrusted([failures, until]: Standing, date: number): boolean {
  return failures < MANY && until > date;
}

export function isGivenUp([, until]: Standing, date: number): boolean {
  return -until > date;
}

/** One more useless attempt, and another wire takes its place. */
export function isOnLastLeg(standing: Standing, date: number): boolean {
  return standing[0] >= MANY || isGivenUp(standing, date);
}

/** A useless attempt. `end`: till when it is given up, if that was one too many. */
export function blamed([failures, until]: Standing, end: number): Standing {
  return failures < MANY ? [failures + 1, until] : [0, -end];
}

/**
 * A refusal of the client, which every other wire would repeat. Not so a bare HTTP status, but for
 * 429: a server refuses in words, so what stands before this one wire has said it.
 */
export function isOfClient({ category, code, details }: HoldfastError): boolean {
  return code === 'RATE_LIMITED' || (details.status === undefined && category.startsWith('auth'));
}
