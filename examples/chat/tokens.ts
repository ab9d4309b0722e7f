/** Short-lived tokens for whoever asks: this is a demo, so everybody may be somebody. */
import { randomBytes, randomInt } from 'node:crypto';
import { type Authenticated, tokenExpired, unauthorized } from 'holdfast/server';

export interface User {
  readonly id: string;
  readonly name: string;
}

export interface Issued {
  readonly token: string;
  readonly name: string;
}

/** Milliseconds: short, so that the page can be watched renewing it. */
const LIFETIME = 60_000;
/** Milliseconds after which a token that ran out is forgotten, and with it whose it was. */
const MEMORY = 3_600_000;

export class Tokens {
  readonly #tokens = new Map<string, { readonly user: User; expiresAt: number }>();
  #refusing = false;

  get refusing(): boolean {
    return this.#refusing;
  }

  get users(): User[] {
    return [...new Set([...this.#tokens.values()].map(({ user }) => user))];
  }

  /** @param name of a new user @default a random one */
  issue(name = randomName()): Issued {
    return this.#issue({ id: randomBytes(6).toString('base64url'), name });
  }

  /** A fresh token for the user of an old one; undefined where that is not known. */
  renew(old: string): Issued | undefined {
    const known = this.#tokens.get(old);
    return known === undefined ? undefined : this.#issue(known.user);
  }

  /** The hub's `authenticate`. @throws HoldfastError `TOKEN_EXPIRED`, `UNAUTHORIZED` */
  check(token: string): Authenticated<User> {
    const known = this.#tokens.get(token);
    if (known === undefined) throw unauthorized('Nobody knows this token.');
    if (this.#refusing) throw unauthorized('The server has signed you out.');
    const expiresIn = known.expiresAt - Date.now();
    if (expiresIn <= 0) throw tokenExpired();
    return { user: known.user, expiresIn };
  }

  /** Every token that is out there runs out now. */
  expire(): void {
    for (const known of this.#tokens.values()) known.expiresAt = 0;
  }

  /** Nobody is let in until `allow`. */
  refuse(): void {
    this.#refusing = true;
  }

  allow(): void {
    this.#refusing = false;
  }

  #issue(user: User): Issued {
    const now = Date.now();
    for (const [token, { expiresAt }] of this.#tokens) {
      if (expiresAt > 0 && now - expiresAt > MEMORY) this.#tokens.delete(token);
    }
    const token = randomBytes(18).toString('base64url');
    this.#tokens.set(token, { user, expiresAt: now + LIFETIME });
    return { token, name: user.name };
  }
}

const tempers = ['Calm', 'Bold', 'Quick', 'Sunny', 'Amber', 'Silver', 'Gentle', 'Merry', 'Clever'];
const animals = ['Heron', 'Otter', 'Limpet', 'Puffin', 'Tern', 'Seal', 'Plover', 'Cormorant'];

function randomName(): string {
  return `${tempers[randomInt(tempers.length)]} ${animals[randomInt(animals.length)]}`;
}
