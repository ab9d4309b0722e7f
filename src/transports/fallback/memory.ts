/** Remembers what is known of the wires: with them, and where the page or the application keeps it. */
import type { Clock } from '../../lib/clock.js';
import type { Wire } from './attempt.js';
import { blamed, isGivenUp, isOnLastLeg, isTrusted, type Standing } from './standing.js';

/** Where something is kept from one page to the next: `localStorage`, or what does the same. */
export interface FallbackStore {
  get(key: string): string | null;
  set(key: string, value: string): void;
}

export interface MemoryParts {
  /** The best first. */
  readonly wires: readonly Wire[];
  readonly clock: Clock;
  /** Milliseconds. */
  readonly remember: number;
  readonly store: FallbackStore | undefined;
}

export type Memory = ReturnType<typeof memoryOf>;

export function memoryOf({ wires, clock, remember, store }: MemoryParts) {
  const key = `holdfast:fallback:${wires.map(({ transport }) => transport.name)}`;
  const is = (test: (standing: Standing, date: number) => boolean) => (wire: Wire) =>
    test(wire.standing, clock.date());
  const given = is(isGivenUp);

  function change(some: readonly Wire[], by: (standing: Standing, end: number) => Standing) {
    const end = clock.date() + remember;
    for (const wire of some) wire.standing = by(wire.standing, end);
    harmless(() => store?.set(key, `${wires.map(({ standing }) => standing)}`));
  }

  return {
    /** As a dial tries them: what is given up comes last, where it is better than nothing. */
    order(): Wire[] {
      // Other pages may have learnt something.
      harmless(() => {
        const kept = (store?.get(key) ?? '').split(',').map(Number);
        if (kept.length !== 2 * wires.length || !kept.every(Number.isFinite)) return;
        for (const wire of wires) {
          const [failures = 0, until = 0] = kept.splice(0, 2);
          wire.standing = [failures, until];
        }
      });
      return [...wires].sort((one, other) => Number(given(one)) - Number(given(other)));
    },
    isTrusted: is(isTrusted),
    isOnLastLeg: is(isOnLastLeg),
    /** They were useless. */
    blame: (some: readonly Wire[]) => change(some, blamed),
    /** It was welcomed, and held. */
    prove: (wire: Wire) => change([wire], (_, end) => [0, end]),
    /** All of them failed at once: that was the server. */
    forgive: () => change(wires, ([, until]) => [0, until]),
  };
}

/** The page's own. Workers have none, and a page may be denied it. */
export const pageStore: FallbackStore = {
  // eslint-disable-next-line no-restricted-globals -- looked up when it is used, and only here
  get: (key) => ('document' in globalThis ? localStorage.getItem(key) : null),
  set(key, value) {
    // eslint-disable-next-line no-restricted-globals -- the same
    if ('document' in globalThis) localStorage.setItem(key, value);
  },
};

/** What cannot be kept is learnt again. */
function harmless(run: () => void): void {
  try {
    run();
  } catch {
    // A full or denied storage, or a stranger's.
  }
}
