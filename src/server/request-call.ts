/** What a request handler gets beside its payload; gathers what it publishes until it has returned. */
import { HoldfastError } from '../protocol/errors.js';
import { ME } from '../protocol/frame.js';
import { type Core, ownRoom, type RoomName, sharedRoom } from './core.js';
import type { Abort } from './deadline.js';
import { digest } from './identity.js';
import type { Draft } from './journal.js';
import type { PendingRequest, Seat } from './seat.js';

export class RequestCall {
  readonly user: unknown;
  readonly room: string;
  readonly requestId: string;
  readonly connection: { readonly id: string; readonly transport: string };
  readonly drafts: Draft[] = [];
  readonly #core: Core;
  readonly #seat: Seat;
  readonly #abort: Abort;
  #ended = false;

  constructor(core: Core, of: { seat: Seat; request: PendingRequest; abort: Abort }) {
    this.#core = core;
    this.#seat = of.seat;
    this.#abort = of.abort;
    this.user = of.request.user;
    this.room = of.request.room ?? ME;
    this.requestId = of.request.requestId;
    this.connection = of.request.connection;
  }

  get requestKey(): string {
    return digest(this.#seat.key, this.requestId);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  // Fields, not methods: handlers take them out of the context.
  readonly publish = (room: string, type: string, payload: unknown): void => {
    this.#publish(room === ME ? ownRoom(this.#seat.userKey) : sharedRoom(room), type, payload);
  };

  readonly publishToUser = (user: unknown, type: string, payload: unknown): void => {
    const key = typeof user === 'string' ? user : this.#core.settings.userKey(user);
    this.#publish(ownRoom(key), type, payload);
  };

  /** The outcome is decided: what is published from here on would belong to nothing. */
  end(): void {
    this.#ended = true;
  }

  #publish(room: RoomName, type: string, payload: unknown): void {
    if (this.#ended) {
      throw new HoldfastError(
        'OUTCOME_UNKNOWN',
        `The request "${this.requestId}" has its outcome already. Publish before the handler returns, or with hub.publish.`,
      );
    }
    this.drafts.push(this.#core.draft(room, type, payload));
  }
}
