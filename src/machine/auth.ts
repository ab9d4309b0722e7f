/** When to ask for credentials, and what a refusal of them means. */
import { backoff } from './backoff.js';
import { NEVER, type Step } from './step.js';

const renewalPauses = { initialDelay: 1_000, maxDelay: 30_000, factor: 2, jitter: 'full' } as const;

export type Refusal =
  /** It concerned credentials that are no longer in use, or that are being renewed already. */
  | 'stale'
  /** The first refusal of these: ask for fresh ones. */
  | 'refresh'
  /** The application gave the same ones again after they were refused: it has no better. */
  | 'final';

/**
 * The credentials of a session. One question to the application at a time, under one deadline;
 * everyone who needs an answer shares it.
 */
export class Credentials {
  readonly #timeout: number;
  #asks = 0;
  #asking: { ask: number; until: number } | null = null;
  #current: { auth: unknown; key: string; again: boolean } | null = null;
  #refusedKey: string | null = null;
  #serial = 0;
  /** Renewals that failed in a row. */
  #failures = 0;
  /** Sets of credentials refused in a row. */
  refusals = 0;
  /** When to ask for their successors. */
  renewAt = NEVER;

  constructor(timeout: number) {
    this.#timeout = timeout;
  }

  get auth(): unknown {
    return this.#current?.auth;
  }

  /** Grows with every answer, so that a late refusal can be told from a new one. */
  get serial(): number {
    return this.#serial;
  }

  get deadline(): number {
    return Math.min(this.#asking?.until ?? NEVER, this.renewAt);
  }

  /** Starts a question and returns its number, or null where one is under way that will do. */
  ask(now: number): number | null {
    this.renewAt = NEVER;
    if (this.#asking !== null) return null;
    this.#asking = { ask: ++this.#asks, until: now + this.#timeout };
    return this.#asks;
  }

  /** False for an answer that nobody waits for any more. */
  given(ask: number, auth: unknown, key: string): boolean {
    if (this.#asking?.ask !== ask) return false;
    this.#asking = null;
    this.#serial++;
    this.#current = { auth, key, again: key === this.#refusedKey };
    return true;
  }

  failed(ask: number): boolean {
    if (this.#asking?.ask !== ask) return false;
    this.#asking = null;
    return true;
  }

  /** True once, when the question has been open for too long. */
  overdue(now: number): boolean {
    if (this.#asking === null || now < this.#asking.until) return false;
    this.#asking = null;
    return true;
  }

  /** A refusal counts once for each set of credentials, however many requests carried them. */
  refused(serial: number): Refusal {
    const current = this.#current;
    if (current === null || serial !== this.#serial || this.#asking !== null) return 'stale';
    if (current.again) return 'final';
    this.#refusedKey = current.key;
    this.refusals++;
    return 'refresh';
  }

  /**
   * The server's word on how long they hold. The next ones are asked for after 75–85 % of it, each
   * client at its own moment, so that a fleet that connected together does not renew together.
   */
  holdFor(expiresIn: number | undefined, { now, roll }: Step): void {
    const held = expiresIn ?? NEVER;
    this.#failures = 0;
    this.renewAt = now + held * (0.75 + 0.1 * roll);
  }

  /** A renewal failed or was refused: again after a pause, with requests kept back meanwhile. */
  retryRenewal({ now, roll }: Step): void {
    this.renewAt = now + backoff(++this.#failures, roll, renewalPauses);
  }

  /** Nobody waits for the answer any more. Returns whether there was a question. */
  cancel(): boolean {
    const asked = this.#asking !== null;
    this.#asking = null;
    return asked;
  }

  /** Nothing after a sign-out carries the old ones. */
  drop(): void {
    this.#current = null;
    this.renewAt = NEVER;
  }
}
