/** What is seen while a schedule is played: its lines, their digest, the kinds met, the first violation. */

export interface Violation {
  /** The rule that was broken, in a few words: the same after shrinking. */
  readonly rule: string;
  readonly message: string;
}

/** Totals of what was played. */
export interface Counts {
  events: number;
  delivered: number;
  requests: number;
  answered: number;
  gaps: number;
  faults: number;
  dials: number;
}

export class Story {
  readonly kinds = new Map<string, number>();
  readonly counts: Counts = {
    events: 0,
    delivered: 0,
    requests: 0,
    answered: 0,
    gaps: 0,
    faults: 0,
    dials: 0,
  };
  violation: Violation | null = null;
  readonly #now: () => number;
  readonly #lines: string[] | null;
  #digest = 0x811c9dc5;

  /** @param keepsLines for a timeline; without it only their digest is kept. */
  constructor(now: () => number, keepsLines: boolean) {
    this.#now = now;
    this.#lines = keepsLines ? [] : null;
  }

  /** One thing that happened, to whom. */
  tell(who: string, what: string): void {
    const now = this.#now();
    this.#hash(now, who, what);
    this.#lines?.push(`${(now / 1_000).toFixed(3).padStart(8)}  ${who.padEnd(8)}  ${what}`);
  }

  /** A kind of fault has had an effect. */
  reach(kind: string, times = 1): void {
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + times);
  }

  /** The first one counts: what follows may be its consequence. */
  violate(who: string, rule: string, message: string): void {
    this.tell(who, `VIOLATION ${rule}: ${message}`);
    this.violation ??= { rule, message: `${who}: ${message}` };
  }

  get lines(): readonly string[] {
    return this.#lines ?? [];
  }

  /** Of everything told, in order: the same for the same seed. */
  get digest(): string {
    return (this.#digest >>> 0).toString(16).padStart(8, '0');
  }

  #hash(now: number, ...texts: string[]): void {
    let digest = this.#digest ^ Math.round(now * 1_000);
    for (const text of texts) {
      for (let index = 0; index < text.length; index++) {
        digest = Math.imul(digest ^ text.charCodeAt(index), 0x01000193);
      }
    }
    this.#digest = digest;
  }
}
