/** A welcomed connection: what its client asks for, and how long it may stay. */
import { HoldfastError } from '../protocol/errors.js';
import type { ClientFrame, ErrorBody, Hello, Request } from '../protocol/frame.js';
import { type Admitted, wishesOf } from './admission.js';
import type { Core } from './core.js';
import type { Abort } from './deadline.js';
import { authorize } from './identity.js';
import { takeIn } from './intake.js';
import { checkRooms, Memberships } from './memberships.js';
import { Messages } from './messages.js';
import type { Outlet } from './outlet.js';
import type { RateMeter } from './rate.js';
import { Renewal } from './renewal.js';
import type { Seat } from './seat.js';
import type { WireRequest } from './wire.js';

/** The connection that was welcomed. */
export interface StandingSetup {
  readonly id: string;
  readonly transport: string;
  readonly request: WireRequest;
  readonly maxRooms: number;
  readonly outlet: Outlet;
  readonly rate: RateMeter;
  /** Ends with the connection. */
  readonly abort: Abort;
  readonly refuse: (error: HoldfastError) => void;
  readonly broken: (error: unknown, about: string) => void;
}

/** A frame, as it came. */
export interface Arrival {
  readonly frame: ClientFrame;
  /** Milliseconds that the rate asks for; undefined: the frame may pass. */
  readonly wait: number | undefined;
  /** In UTF-16 units. */
  readonly size: number;
}

const PONG = '{"kind":"pong"}';
/** How often the journal is told what a client has for certain, in ms. */
const FORGET_INTERVAL = 30_000;
/** Answers of which it is watched that they arrive; what is beyond stays in the journal. */
const MOST_ANSWERED = 10_000;

export class Standing {
  readonly seat: Seat;
  readonly link: number;
  user: unknown;
  readonly #core: Core;
  readonly #setup: StandingSetup;
  readonly #memberships: Memberships;
  readonly #messages: Messages;
  readonly #renewal: Renewal;
  /** When each outcome was last written to this link; the oldest comes first. */
  readonly #answered = new Map<string, number>();
  /** When this link is closed because a newer one is served, during a handover. */
  #fencedAt: number | undefined;
  #forgotAt = 0;

  constructor(core: Core, setup: StandingSetup, of: Admitted & { readonly hello: Hello }) {
    const { hello, identity, seat } = of;
    const { outlet, abort } = setup;
    this.#core = core;
    this.#setup = setup;
    this.seat = seat;
    this.link = hello.link;
    this.user = identity.user;
    this.#memberships = new Memberships({
      core,
      outlet,
      userKey: identity.key,
      maxRooms: setup.maxRooms,
      authorize: (room) =>
        authorize(core, abort, { user: this.user, room, action: 'join', type: undefined }),
      failed: (error) => setup.broken(error, 'the journal'),
    });
    this.#renewal = new Renewal(core, {
      identity,
      clientId: hello.clientId,
      request: setup.request,
      renewed: (user) => {
        this.user = user;
      },
      write: (text) => outlet.write(text),
    });
    this.#messages = new Messages(core, this, abort);
  }

  get id(): string {
    return this.#setup.id;
  }

  get transport(): string {
    return this.#setup.transport;
  }

  join(hello: Hello): void {
    this.#memberships.join(wishesOf(hello));
  }

  handle({ frame, wait, size }: Arrival): void {
    // A link that is being left is not listened to: its client says it again on the newer one.
    if (this.#fencedAt !== undefined) return;
    switch (frame.kind) {
      case 'request':
        this.#ask({ frame, wait, size });
        return;
      case 'message':
        if (wait === undefined) this.#messages.take(frame, size);
        else this.#core.counters.messagesDropped++;
        return;
      case 'join':
        checkRooms(this.#core.settings.limits, frame.rooms);
        this.#memberships.join(frame.rooms);
        return;
      case 'leave':
        checkRooms(this.#core.settings.limits, frame.rooms);
        this.#memberships.leave(frame.rooms);
        return;
      case 'auth':
        this.#renewal.take(frame.auth);
        return;
      case 'ping':
        this.#setup.outlet.write(PONG);
        return;
      case 'pong':
        return;
      case 'hello':
        this.#setup.refuse(
          new HoldfastError('PROTOCOL_ERROR', 'A second `hello` on one connection.'),
        );
        return;
      default:
        frame satisfies never;
    }
  }

  /** A newer link is served: this one is closed, but not while its client is still moving over. */
  fence(at: number): void {
    this.#memberships.end();
    this.#fencedAt = at;
  }

  answered(requestId: string): void {
    this.#answered.delete(requestId);
    this.#answered.set(requestId, this.#core.clock.now());
    if (this.#answered.size <= MOST_ANSWERED) return;
    const [oldest] = this.#answered.keys();
    if (oldest !== undefined) this.#answered.delete(oldest);
  }

  removeFrom(room: string, error: ErrorBody): void {
    this.#memberships.remove(room, error);
  }

  /** Why it may not stay, if so. */
  tick(now: number, heardAt: number): HoldfastError | undefined {
    if (this.#fencedAt !== undefined && now >= this.#fencedAt) return superseded();
    if (this.#renewal.isExpired(now)) {
      return new HoldfastError('TOKEN_EXPIRED', 'The credentials have expired.');
    }
    this.#forget(now, heardAt);
    return undefined;
  }

  end(): void {
    this.#memberships.end();
    this.#messages.end();
    this.#renewal.end();
  }

  #ask({ frame, wait, size }: Arrival & { readonly frame: Request }): void {
    const { requestId, type, payload, room } = frame;
    const { seat, link, id, transport, user } = this;
    const connection = { id, transport };
    const asked = { requestId, type, payload, room, connection, user, size, link };
    const { rate, outlet } = this.#setup;
    const refuse = (text: string) => outlet.write(text);
    const request = { ...asked, byLink: true, replies: [] };
    void takeIn(this.#core, { seat, rate, wait, refuse }, request);
  }

  /**
   * What was written to this very link long before the client's last sign of life has arrived. An
   * answer that went to an older link may still be asked for, however long ago that was.
   */
  #forget(now: number, heardAt: number): void {
    if (this.#answered.size === 0 || now - this.#forgotAt < FORGET_INTERVAL) return;
    // What is in the buffer has not arrived, whatever the client says meanwhile.
    if (this.#setup.outlet.bufferedAmount > 0) return;
    this.#forgotAt = now;
    const age = Math.min(this.#core.settings.journal.requestWindow / 2, 300_000);
    const arrived: string[] = [];
    for (const [requestId, at] of this.#answered) {
      if (at > heardAt - age) break;
      arrived.push(requestId);
      this.#answered.delete(requestId);
    }
    if (arrived.length > 0) this.#core.journal.forget(this.seat.key, arrived);
  }
}

/** Tells a link that a newer one is served. */
export function superseded(): HoldfastError {
  return new HoldfastError('SUPERSEDED', 'A newer link of this client is served.');
}
