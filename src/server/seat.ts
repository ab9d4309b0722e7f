/**
 * One client of one user, as this hub serves it: whichever link is its newest, and the requests that
 * run for it, which outlive links.
 */
import type { HoldfastError } from '../protocol/errors.js';
import type { ErrorBody } from '../protocol/frame.js';
import { Line } from './line.js';
import type { Limits } from './options.js';

/** A link, as its seat sees it. */
export interface Served {
  write(text: string): void;
  /** The outcome of a request was written to it. */
  answered(requestId: string): void;
  /** A newer link was welcomed here, or this one anew. */
  supersede(link: number): void;
  /** Another node welcomed this link: gives way to it if it is the newer one. */
  supersededBy(link: number): void;
  /** Says why, and closes. */
  refuse(error: HoldfastError): void;
  removeFrom(room: string, error: ErrorBody): void;
}

/**
 * Takes the response of a request that did not come on a link; without one it gets none. False where
 * nobody waits for it any more. Called more than once, the first counts.
 */
export type Reply = (text?: string) => boolean;

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
  /** It came on a link itself, and is answered on the newest one. */
  byLink: boolean;
  /** Who waits for it beside. */
  readonly replies: Reply[];
}

/** Times `maxMessageSize`: as large may all requests of one client be that wait or run. */
const PENDING_MESSAGES = 8;

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

  get isIdle(): boolean {
    return this.#peer === undefined && this.#pending.size === 0;
  }

  take(peer: Served, link: number): void {
    const old = this.#peer;
    this.#peer = peer;
    this.#link = link;
    if (old !== peer) old?.supersede(link);
  }

  /** The link has ended; a newer one is not touched. */
  leave(peer: Served): void {
    if (this.#peer !== peer) return;
    this.#peer = undefined;
    if (this.isIdle) this.#host.emptied(this);
  }

  /** Answers whoever waits for it; where nobody does, the memory keeps the answer. */
  answer(request: PendingRequest, text: string): void {
    if (this.tell(request, text)) this.#peer?.answered(request.requestId);
  }

  /** The same for what is no outcome, and so is not remembered. True where it went to the newest link. */
  tell({ byLink, replies }: PendingRequest, text: string): boolean {
    let isTaken = false;
    for (const reply of replies) isTaken = reply(text) || isTaken;
    // Whoever waited for it may listen on the newest link meanwhile.
    if (isTaken && !byLink) return false;
    this.#peer?.write(text);
    return true;
  }

  /** One request always fits, where nothing else waits. */
  isFull(size: number, { pendingRequests, maxMessageSize }: Limits): boolean {
    if (this.pending >= pendingRequests) return true;
    return this.pending > 0 && this.#pendingSize + size > PENDING_MESSAGES * maxMessageSize;
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
      known.byLink ||= request.byLink;
      known.replies.push(...request.replies);
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
        for (const reply of request.replies) reply();
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
