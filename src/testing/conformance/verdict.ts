/** How a broken promise is told. */
import { shown } from '../shown.js';

/** @throws Error that says what was to hold. */
export function holds(isTrue: boolean, what: string): asserts isTrue {
  if (!isTrue) throw broken(what);
}

export function broken(what: string): Error {
  return new Error(`The transport breaks a promise: ${what}`);
}

/** @throws Error with both values, where they are not the same. */
export function same(found: unknown, wanted: unknown, what: string): void {
  const [here, there] = [shown(found), shown(wanted)];
  holds(here === there, `${what}: found ${here}, wanted ${there}`);
}
