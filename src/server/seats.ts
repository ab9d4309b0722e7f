/** The clients of a hub, by name and by user. */
import type { HoldfastError } from '../protocol/errors.js';
import type { Core } from './core.js';
import type { Requests } from './requests.js';
import { clientKey, type PendingRequest, Seat, type SeatHost } from './seat.js';

export class Seats implements SeatHost {
  readonly #requests: Requests;
  readonly #core: Core;
  readonly #seats = new Map<string, Seat>();
  readonly #users = new Map<string, Set<Seat>>();
  readonly #quiet: () => void;
  readonly #admissions = new Set<Map<string, HoldfastError>>();
  #pending = 0;

  /** @param quiet is called whenever no request waits or runs any more. */
  constructor(core: Core, requests: Requests, quiet: () => void) {
    this.#core = core;
    this.#requests = requests;
    this.#quiet = quiet;
  }

  of(userKey: string, clientId: string): Seat {
    const key = clientKey(userKey, clientId);
    let seat = this.#seats.get(key);
    if (seat !== undefined) return seat;
    seat = new Seat({ userKey, clientId }, this);
    this.#seats.set(key, seat);
    const others = this.#users.get(userKey);
    if (others === undefined) this.#users.set(userKey, new Set([seat]));
    else others.add(seat);
    return seat;
  }

  get(key: string): Seat | undefined {
    return this.#seats.get(key);
  }

  /** Who is kicked from here on, until `over` is called: an admission may have asked before it. */
  watchKicks() {
    const kicked = new Map<string, HoldfastError>();
    this.#admissions.add(kicked);
    return {
      of: (userKey: string) => kicked.get(userKey),
      over: () => this.#admissions.delete(kicked),
    };
  }

  /** Nobody comes in as this user by an admission that is under way. */
  kicked(userKey: string, error: HoldfastError): void {
    for (const kicked of this.#admissions) kicked.set(userKey, error);
  }

  ofUser(userKey: string): Seat[] {
    return [...(this.#users.get(userKey) ?? [])];
  }

  /** Whether one more client of this user is too many; a client that comes back is not one more. */
  isFull(seat: Seat): boolean {
    const { connectionsPerUser } = this.#core.settings.limits;
    let others = 0;
    for (const other of this.#users.get(seat.userKey) ?? []) {
      if (other !== seat && other.peer !== undefined) others++;
    }
    return others >= connectionsPerUser;
  }

  answer(seat: Seat, request: PendingRequest): Promise<void> {
    return this.#requests.answer(seat, request);
  }

  recall(seat: Seat, request: PendingRequest): Promise<boolean> {
    return this.#requests.recall(seat, request);
  }

  /** Requests that wait or run. */
  get pending(): number {
    return this.#pending;
  }

  asked(): void {
    this.#pending++;
  }

  done(): void {
    this.#pending--;
    if (this.#pending === 0) this.#quiet();
  }

  emptied(seat: Seat): void {
    // Another may have its name by now.
    if (!seat.isIdle || this.#seats.get(seat.key) !== seat) return;
    this.#seats.delete(seat.key);
    const others = this.#users.get(seat.userKey);
    others?.delete(seat);
    if (others?.size === 0) this.#users.delete(seat.userKey);
  }
}
