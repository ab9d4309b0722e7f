/** What may become of a request: it settles, ran at most once to completion, and once where it succeeded. */
import type { Breach } from './reader-model.js';
import type { AskPlan } from './schedule.js';

/** How a request ended. */
export type Outcome =
  | { readonly ok: true; readonly data: unknown }
  | { readonly ok: false; readonly code: string; readonly reason: string | null };

/** What has happened that may explain an unknown outcome. */
export interface Circumstances {
  /** Hubs that crashed or left, journals that were lost, and links that ended, so far. */
  readonly deaths: number;
  readonly losses: number;
  readonly endings: number;
}

export interface Asked {
  readonly plan: AskPlan;
  readonly at: number;
  readonly since: Circumstances;
  /** What `Story` calls its asker. */
  readonly who: string;
  /** How often it was written to a link. */
  writes: number;
  starts: number;
  completions: number;
  /** Refusals that promised no effect. */
  refusals: number;
  /** Its frame, or its answer's, was lost or doubled on the way. */
  isMeddled: boolean;
  /** Its page is gone without having been closed: nobody waits for it there. */
  isOrphan: boolean;
  /** A later page goes on with it. */
  isAdopted: boolean;
  /** The storage failed while it was under way: what it holds of it may be old. */
  isUnsaved: boolean;
  outcome: Outcome | null;
}

export class RequestModel {
  readonly #asked = new Map<number, Asked>();
  /** The last request that started for the first time, by asker and line. */
  readonly #lines = new Map<string, number>();

  get all(): IterableIterator<Asked> {
    return this.#asked.values();
  }

  get(n: number): Asked | undefined {
    return this.#asked.get(n);
  }

  ask(request: Pick<Asked, 'plan' | 'at' | 'since' | 'who'>): Asked {
    const asked: Asked = {
      ...request,
      writes: 0,
      starts: 0,
      completions: 0,
      refusals: 0,
      isMeddled: false,
      isOrphan: false,
      isAdopted: false,
      isUnsaved: false,
      outcome: null,
    };
    this.#asked.set(request.plan.n, asked);
    return asked;
  }

  /** A later page goes on with a request of one that is gone; false where nobody is gone. */
  adopt(n: number, who: string): boolean {
    const asked = this.#asked.get(n);
    if (asked === undefined || asked.who === who) return false;
    asked.isOrphan = false;
    asked.isAdopted = true;
    // Its page died between the outcome and the word of it in the storage.
    asked.outcome = null;
    return true;
  }

  /** The storage of this asker fails. */
  unsaved(who: string): void {
    for (const asked of this.#asked.values()) {
      if (asked.who === who && asked.outcome === null) asked.isUnsaved = true;
    }
  }

  /** It is written to a link. */
  wrote(n: number): Breach | null {
    const asked = this.#asked.get(n);
    if (asked === undefined) return { rule: 'invented', message: `nobody asked ${n}` };
    asked.writes++;
    const { plan, writes, refusals, outcome } = asked;
    if (outcome !== null) return { rule: 'written after its end', message: `request ${n}` };
    if (asked.isAdopted && asked.isUnsaved) return null;
    // A refusal promises that nothing has happened.
    if (plan.delivery !== 'at-most-once' || writes <= 1 + refusals) return null;
    return { rule: 'at-most-once, written again', message: `request ${n}` };
  }

  /** A handler begins. */
  started(n: number): Breach | null {
    const asked = this.#asked.get(n);
    if (asked === undefined) return { rule: 'invented', message: `nobody asked ${n}` };
    asked.starts++;
    const { outcome, plan } = asked;
    if (outcome?.ok === false && outcome.code === 'NOT_SENT' && !wasCopied(asked)) {
      return { rule: 'NOT_SENT, and ran', message: `request ${n} starts after it failed` };
    }
    if (asked.starts > 1) return null;
    const line = `${asked.who}\n${plan.room ?? ''}`;
    const last = this.#asked.get(this.#lines.get(line) ?? 0);
    this.#lines.set(line, n);
    return last === undefined || inOrder(last, asked) ? null : overtaken(asked, last);
  }

  /** A handler has had its effect. */
  completed(n: number): Breach | null {
    const asked = this.#asked.get(n);
    if (asked === undefined) return null;
    asked.completions++;
    const { outcome } = asked;
    if (outcome?.ok === false && outcome.code === 'NOT_SENT' && !wasCopied(asked)) {
      return { rule: 'NOT_SENT, and ran', message: `request ${n} completes after it failed` };
    }
    if (asked.completions === 1 || mayRepeat(asked)) return null;
    return { rule: 'ran twice', message: `request ${n} completed ${asked.completions} times` };
  }

  settled(n: number, outcome: Outcome, now: Circumstances & { at: number }): Breach | null {
    const asked = this.#asked.get(n);
    if (asked === undefined) return null;
    if (asked.outcome !== null) return { rule: 'settled twice', message: `request ${n}` };
    asked.outcome = outcome;
    return outcome.ok ? succeeded(asked, outcome.data) : failed(asked, outcome, now);
  }

  /** All is quiet: everything has settled. */
  atRest(): Breach | null {
    for (const { plan, outcome, isOrphan } of this.#asked.values()) {
      if (outcome === null && !isOrphan) {
        return { rule: 'unsettled', message: `request ${plan.n} has no outcome` };
      }
    }
    return null;
  }
}

function succeeded(asked: Asked, data: unknown): Breach | null {
  const { plan, completions } = asked;
  const said = typeof data === 'object' && data !== null && 'n' in data ? data.n : undefined;
  if (said !== plan.n) return { rule: 'a wrong answer', message: `${plan.n} is told ${said}` };
  if (completions === 1 || (completions > 1 && mayRepeat(asked))) return null;
  return { rule: 'answered, and not run', message: `request ${plan.n} ran ${completions} times` };
}

function failed(
  asked: Asked,
  { code, reason }: Outcome & { ok: false },
  now: Circumstances & { at: number },
): Breach | null {
  const { plan, completions } = asked;
  const what = `request ${plan.n}: ${code} ${reason ?? ''}`;
  if (code === 'NOT_SENT') {
    return completions === 0 || wasCopied(asked)
      ? null
      : { rule: 'NOT_SENT, and ran', message: what };
  }
  if (code === 'OUTCOME_UNKNOWN') {
    return isExplained(asked, reason, now)
      ? null
      : { rule: 'an unknown outcome without a cause', message: what };
  }
  if (completions > 0) return { rule: 'an error, and ran', message: what };
  const expected = plan.handler === 'failing' || plan.handler === 'retryable';
  return expected ? null : { rule: 'an error without a cause', message: what };
}

function isExplained(asked: Asked, reason: string | null, now: Circumstances & { at: number }) {
  const { plan, since, isMeddled, at } = asked;
  switch (reason) {
    case 'aborted':
      return plan.abortAfter !== null;
    case 'closed':
      return true;
    case 'forgotten':
      return now.losses > since.losses;
    case 'node-died':
      return now.deaths > since.deaths;
    case 'lost':
      return plan.delivery === 'at-most-once' && (asked.isAdopted || now.endings > since.endings);
    case 'timeout':
      if (isMeddled || plan.handler === 'hanging') return true;
      return now.at - at >= (plan.timeout ?? Number.POSITIVE_INFINITY);
    default:
      return false;
  }
}

/** Where the application itself has said that it may run again. */
/**
 * Where the storage failed, and then its page died, it may still say of what has run that it was never
 * written: a server that has lost its memory as well cannot know better.
 */
function mayRepeat({ plan, isAdopted, isUnsaved }: Asked): boolean {
  const isOld = isAdopted && isUnsaved;
  return isOld || plan.delivery === 'at-least-once' || plan.handler === 'rerunnable';
}

/** A copy that the wire made may run after the first one was refused: no real wire does that. */
function wasCopied({ isMeddled, refusals }: Asked): boolean {
  return isMeddled && refusals > 0;
}

/** What was refused, lost or limited on its way may be overtaken; nothing else. */
function inOrder(last: Asked, next: Asked): boolean {
  if (last.plan.n < next.plan.n || last.at < next.at) return true;
  return last.isMeddled || next.isMeddled || last.refusals > 0 || next.refusals > 0;
}

function overtaken(asked: Asked, last: Asked): Breach {
  return { rule: 'requests out of order', message: `${last.plan.n} before ${asked.plan.n}` };
}
