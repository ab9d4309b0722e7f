/** Chance that can be repeated: the same seed throws the same numbers and makes the same ids. */

/**
 * Numbers in [0, 1) that depend on the seed alone (mulberry32): `random` for an environment, a
 * network or a fuzz test. Print the seed where a test fails, and the failure can be replayed.
 * Never for ids that must not be guessed.
 */
export function seededDice(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Ids in order: `id-1`, `id-2`, … Give every peer a prefix of its own. */
export function ids(prefix = 'id'): () => string {
  let made = 0;
  return () => `${prefix}-${++made}`;
}
