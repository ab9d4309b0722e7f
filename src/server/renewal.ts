/** Credentials of a connection that goes on: renewed in place, and expired when nobody renews them. */
import { HoldfastError } from '../protocol/errors.js';
import type { AuthVerdict } from '../protocol/frame.js';
import type { Core } from './core.js';
import { Abort } from './deadline.js';
import { errorBody, unauthorized } from './failure.js';
import { type Identity, identify, serverError } from './identity.js';
import type { WireRequest } from './wire.js';

export interface RenewalSetup {
  readonly identity: Identity;
  readonly clientId: string;
  readonly request: WireRequest;
  renewed(user: unknown): void;
  write(text: string): void;
}

export class Renewal {
  readonly #core: Core;
  readonly #setup: RenewalSetup;
  #expiresAt: number;
  #underWay: Abort | undefined;
  /** What arrived while another was being looked at: the newest counts. */
  #next: { readonly auth: unknown } | undefined;
  #ended = false;

  constructor(core: Core, setup: RenewalSetup) {
    this.#core = core;
    this.#setup = setup;
    this.#expiresAt = this.#expiry(setup.identity);
  }

  /** Not while a renewal that began in time is being looked at: it has a deadline of its own. */
  isExpired(now: number): boolean {
    return now >= this.#expiresAt && this.#underWay === undefined;
  }

  take(auth: unknown): void {
    if (this.#underWay !== undefined) this.#next = { auth };
    // Begun too late, it would only put the end off.
    else if (!this.isExpired(this.#core.clock.now())) void this.#run(auth);
  }

  end(): void {
    this.#ended = true;
    this.#underWay?.abort(new Error('The connection has ended.'));
  }

  async #run(auth: unknown): Promise<void> {
    const verdict = await this.#renew(auth);
    if (this.#ended) return;
    this.#setup.write(JSON.stringify(verdict));
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined) this.take(next.auth);
  }

  async #renew(auth: unknown): Promise<AuthVerdict> {
    const { clientId, request, identity, renewed } = this.#setup;
    const abort = new Abort();
    this.#underWay = abort;
    try {
      const fresh = await identify(this.#core, { auth, clientId, request, abort });
      if (fresh.key !== identity.key) {
        throw unauthorized('These are the credentials of another user. Open a new connection.');
      }
      this.#expiresAt = this.#expiry(fresh);
      renewed(fresh.user);
      const { expiresIn } = fresh;
      return expiresIn === undefined ? { kind: 'auth' } : { kind: 'auth', expiresIn };
    } catch (error) {
      const body = error instanceof HoldfastError ? errorBody(error) : serverError(true);
      return { kind: 'auth', error: body };
    } finally {
      this.#underWay = undefined;
    }
  }

  #expiry({ expiresIn }: Identity): number {
    return this.#core.clock.now() + (expiresIn ?? Number.POSITIVE_INFINITY);
  }
}
