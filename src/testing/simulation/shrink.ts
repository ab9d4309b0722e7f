/** Makes a failing story short. */

export interface ShrinkOptions {
  /** Plays at most. @default 400: enough for a few hundred items, of which a handful matter */
  readonly most?: number;
}

/**
 * Leaves items out, many at a time at first, for as long as what is left still fails. The items keep
 * their order; the fewer they are, the plainer is what they show.
 *
 * ```ts
 * const few = await shrink(faults, async (fewer) => (await play(fewer)) !== 'fine');
 * ```
 * @param fails plays the items, and says whether the same thing still goes wrong.
 */
export async function shrink<T>(
  items: readonly T[],
  fails: (fewer: readonly T[]) => Promise<boolean>,
  { most = 400 }: ShrinkOptions = {},
): Promise<T[]> {
  let kept = [...items];
  let plays = 0;
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = smaller(size)) {
    for (let from = kept.length - size; from > -size; from -= size) {
      const start = Math.max(0, from);
      const fewer = [...kept.slice(0, start), ...kept.slice(from + size)];
      if (fewer.length === kept.length) continue;
      if (++plays > most) return kept;
      if (await fails(fewer)) kept = fewer;
    }
  }
  return kept;
}

function smaller(size: number): number {
  return size === 1 ? 0 : Math.ceil(size / 2);
}
