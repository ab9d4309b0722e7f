/** Refuses options that there are none of: a misspelt one would do nothing, and say nothing. */

/**
 * @param what was called, for the error
 * @param names of all options there are
 * @throws TypeError with the first name that is none of them. One that is undefined does not count.
 */
export function checkKnown(what: string, given: object, names: readonly string[]): void {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || names.includes(name)) continue;
    throw new TypeError(`${what} has no option "${name}". It has: ${names.join(', ')}.`);
  }
}
