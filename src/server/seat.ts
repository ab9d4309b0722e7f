/**
 * One client of one user, as this hub serves it: whichever link is its newest, and the requests that
 * run for it, which outlive links.
 */
import type { HoldfastError } from '../protocol/errors.js';
import type { ErrorBody } from '../protocol/frame.js';
import { Line } from './line.js';

/** A link, as its seat sees it. */
export interface Served {
  write(text: string): void;
  /** The outcome of a request was written to it. */
  answered(requestId: string): void;
  /** A newer link was welcomed here. */
  supersede(): void;
  /** Another node welcomed this link: gives way to it if it is the newer one. */
  supersededBy(link: number): void;
  /** Says why, and closes. */
  refuse(error: HoldfastError): void;
  removeFrom(room: string, error: ErrorBody): void;
}

export interface PendingRequest {
  readonly requestId: string;
  readonly type: string;
  readonly payload: unknown;
  readonly room: string | undefined;
  readonly connection: { readonly id: string; readonly transport: string };
  readonly user: unknown;
  /** Of its frame, in UTF-16 units. */
  readonly size: number;
  /** The newest link it came on: a repeat raises it. */
  link: number;
}

/** What a seat leaves to its hub. */
export interface SeatHost {
  /** Must not reject. */
  answer(seat: Seat, request: PendingRequest): Promise<void>;
  /** Must not reject. */
  recall(seat: Seat, request: PendingRequest): Promise<boolean>;
  /** A request was taken, and one was done with. */
  asked(): void;
  done(): void;
  /** No link, and nothing runs. */
  emptied(seat: Seat): void;
}

export class Seat {
  /** The journal's name of the client. */
  readonly key: string;
  readonly userKey: string;
  readonly #host: SeatHost;
  readonly #lines = new Map<string, Line<PendingRequest>>();
  readonly #pending = new Map<string, PendingRequest>();
  #peer: Served | undefined;
  #link = -1;
  #pendingSize = 0;

  constructor(who: { readonly userKey: string; readonly clientId: string }, host: SeatHost) {
    this.userKey = who.userKey;
    this.key = clientKey(who.userKey, who.clientId);
    this.#host = host;
  }

  get peer(): Served | undefined {
    return this.#peer;
  }

  /** The highest link that was served. */
  get link(): number {
    return this.#link;
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** Of their frames, in UTF-16 units. */
  get pendingSize(): number {
    return this.#pendingSize;
  }

  get isIdle(): boolean {
    return this.#peer === undefined && this.#pending.size === 0;
  }

  take(peer: Served, link: number): void {
    const old = this.#peer;
    this.#peer = peer;
    this.#link = link;
    if (old !== peer) old?.supersede();
  }

  /** The link has ended; a newer one is not touched. */
  leave(peer: Served): void {
    if (this.#peer !== peer) return;
    this.#peer = undefined;
    if (this.isIdle) this.#host.emptied(this);
  }

  /** Answers on the newest link; where there is none, the memory keeps the answer. */
  answer(requestId: string, text: string): void {
    this.#peer?.write(text);
    this.#peer?.answered(requestId);
  }

  /** The same for what is no outcome, and so is not remembered. */
  tell(text: string): void {
    this.#peer?.write(text);
  }

  /** Answers or joins a request that is known; false where it is not. */
  recall(request: PendingRequest): Promise<boolean> {
    return this.#host.recall(this, request);
  }

  has(requestId: string): boolean {
    return this.#pending.has(requestId);
  }

  /** A repeat of a request that waits or runs keeps its place and waits for its answer. */
  ask(request: PendingRequest): void {
    const known = this.#pending.get(request.requestId);
    if (known !== undefined) {
      known.link = request.link;
      return;
    }
    this.#pending.set(request.requestId, request);
    this.#pendingSize += request.size;
    this.#host.asked();
    this.#line(request.room ?? '').add(request);
  }

  #line(room: string): Line<PendingRequest> {
    let line = this.#lines.get(room);
    if (line === undefined) {
      const made = new Line<PendingRequest>(async (request) => {
        await this.#host.answer(this, request);
        this.#pending.delete(request.requestId);
        this.#pendingSize -= request.size;
        if (made.length === 0) this.#lines.delete(room);
        this.#host.done();
        if (this.isIdle) this.#host.emptied(this);
      });
      this.#lines.set(room, made);
      line = made;
    }
    return line;
  }
}

/** Names a client in the journal. The length in front keeps two pairs from having one name. */
export function clientKey(userKey: string, clientId: string): string {
  return `${userKey.length}:${userKey}:${clientId}`;
}
