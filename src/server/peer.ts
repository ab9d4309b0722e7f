/** One connection: what arrives on it, how long it is believed in, and how it ends. */
import { byteLength } from '../protocol/codec.js';
import { closeReason, HoldfastError } from '../protocol/errors.js';
import {
  type ClientFrame,
  type ErrorBody,
  type Goodbye,
  type Hello,
  PROTOCOL,
} from '../protocol/frame.js';
import { clientFrame } from '../protocol/schema.js';
import { type Admitted, admit, wishesOf } from './admission.js';
import type { Core } from './core.js';
import { Abort } from './deadline.js';
import { errorBody, refusalCode } from './failure.js';
import { authorize } from './identity.js';
import { Liveness } from './liveness.js';
import { Memberships } from './memberships.js';
import { Messages } from './messages.js';
import { Outlet } from './outlet.js';
import { RateMeter } from './rate.js';
import { Renewal } from './renewal.js';
import { failed } from './requests.js';
import type { Seat, Served } from './seat.js';
import type { Seats } from './seats.js';
import type { ServerWire, ServerWireEvents } from './wire.js';

/** What a peer needs of its hub. */
export interface PeerHost {
  readonly core: Core;
  readonly seats: Seats;
  /** Said to every hello once the hub leaves. */
  readonly goodbye: Goodbye | undefined;
  welcomed(peer: Peer): void;
  /** It is served no longer; its wire may take a while to close. */
  ended(peer: Peer): void;
  /** Its wire is closed. */
  closed(peer: Peer): void;
}

type State =
  | { readonly name: 'greeting' }
  | { readonly name: 'admitting' }
  | { readonly name: 'open'; readonly at: Standing }
  | { readonly name: 'closing'; readonly since: number }
  | { readonly name: 'closed' };

/** Everything a welcomed connection has. */
interface Standing {
  readonly seat: Seat;
  readonly link: number;
  readonly memberships: Memberships;
  readonly messages: Messages;
  readonly renewal: Renewal;
  readonly openedAt: number;
}

const PING = '{"kind":"ping"}';
const PONG = '{"kind":"pong"}';
/** How often the journal is told what a client has for certain, in ms. */
const FORGET_INTERVAL = 30_000;

export class Peer implements Served, ServerWireEvents {
  readonly id: string;
  readonly transport: string;
  readonly #host: PeerHost;
  readonly #core: Core;
  readonly #wire: ServerWire;
  readonly #outlet: Outlet;
  readonly #liveness: Liveness;
  readonly #rate: RateMeter;
  readonly #openedAt: number;
  readonly #abort = new Abort();
  #state: State = { name: 'greeting' };
  #user: unknown;
  #saidGoodbye = false;
  /** When a superseded link is closed, during a handover. */
  #fencedAt: number | undefined;
  #forgotAt = 0;

  constructor(host: PeerHost, wire: ServerWire) {
    const { core } = host;
    const { settings } = core;
    const now = core.clock.now();
    this.id = settings.environment.id();
    this.transport = wire.transport;
    this.#host = host;
    this.#core = core;
    this.#wire = wire;
    this.#outlet = new Outlet(wire, core.flusher, settings.limits.bufferedBytes);
    this.#liveness = new Liveness(settings.heartbeat, now);
    this.#rate = new RateMeter(settings.limits.messagesPerSecond, now);
    this.#openedAt = now;
  }

  get user(): unknown {
    return this.#user;
  }

  get isOpen(): boolean {
    return this.#state.name === 'open';
  }

  write(text: string): void {
    this.#outlet.write(text);
  }

  received(wire: unknown): void {
    this.#liveness.heard();
    if (this.#state.name === 'closing' || this.#state.name === 'closed') return;
    if (wire === PONG) return;
    const wait = this.#rate.take(this.#core.clock.now());
    if (wait !== undefined && this.#rate.isAbused) {
      this.refuse(
        new HoldfastError('RATE_LIMITED', 'Far too many frames, for too long.', {
          retryAfter: wait,
        }),
      );
      return;
    }
    if (wire === PING) {
      this.write(PONG);
      return;
    }
    const frame = this.#decode(wire);
    if (frame !== undefined) this.#handle(frame, wait);
  }

  drained(): void {
    this.#outlet.resume();
  }

  closed(): void {
    if (this.#state.name === 'closed') return;
    this.#end({ name: 'closed' });
    this.#host.closed(this);
  }

  tick(now: number): void {
    const { limits, heartbeat } = this.#core.settings;
    switch (this.#state.name) {
      case 'greeting':
        if (now - this.#openedAt >= limits.helloTimeout) this.refuse(noHello(limits.helloTimeout));
        return;
      case 'open':
        this.#tickOpen(now, this.#state.at);
        return;
      case 'closing':
        // Whoever does not answer a close is not waited for.
        if (now - this.#state.since >= heartbeat.timeout) this.#wire.terminate();
        return;
      case 'admitting':
      case 'closed':
        return;
      default:
        this.#state satisfies never;
    }
  }

  /** A newer link of this client is served; this one ends, after a while if it is being moved over. */
  supersede(): void {
    if (this.#state.name !== 'open') return;
    if (!this.#saidGoodbye) {
      this.close(4409, 'A newer link of this client is served.');
      return;
    }
    this.#state.at.memberships.end();
    this.#fencedAt = this.#core.clock.now() + this.#core.settings.heartbeat.timeout;
  }

  /** Fences this link if it is older than what another node serves. */
  supersededBy(link: number): void {
    if (this.#state.name !== 'open' || this.#state.at.link > link) return;
    this.#state.at.seat.leave(this);
    this.supersede();
  }

  sayGoodbye(goodbye: Goodbye): void {
    this.#saidGoodbye = true;
    this.write(JSON.stringify(goodbye));
  }

  /** Takes the client out of a room. */
  removeFrom(room: string, error: ErrorBody): void {
    if (this.#state.name === 'open') this.#state.at.memberships.remove(room, error);
  }

  /** Says why, and closes with the code that goes with it. */
  refuse(error: HoldfastError): void {
    if (this.#state.name === 'closing' || this.#state.name === 'closed') return;
    const { refused } = this.#core.counters;
    if (this.#state.name !== 'open') refused[error.code] = (refused[error.code] ?? 0) + 1;
    this.write(JSON.stringify({ kind: 'error', error: errorBody(error) }));
    this.close(refusalCode(error), error.message);
  }

  close(code: number, reason: string): void {
    if (this.#state.name === 'closing' || this.#state.name === 'closed') return;
    this.#end({ name: 'closing', since: this.#core.clock.now() });
    this.#outlet.close(code, closeReason(reason));
  }

  terminate(): void {
    this.#end({ name: 'closing', since: this.#core.clock.now() });
    this.#outlet.terminate();
  }

  #end(next: State): void {
    const state = this.#state;
    this.#state = next;
    this.#abort.abort(new Error('The connection has ended.'));
    if (state.name !== 'open') return;
    const { seat, link, memberships, renewal } = state.at;
    memberships.end();
    renewal.end();
    seat.leave(this);
    this.#core.journal.unlink(seat.key, link);
    this.#host.ended(this);
  }

  #decode(wire: unknown): ClientFrame | undefined {
    const { maxMessageSize } = this.#core.settings.limits;
    if (typeof wire !== 'string') return this.#garbled(undefined);
    // A unit is at most three bytes: most frames need not be counted.
    if (wire.length * 3 > maxMessageSize && byteLength(wire) > maxMessageSize) {
      this.refuse(
        new HoldfastError('MESSAGE_TOO_LARGE', `A frame has at most ${maxMessageSize} bytes.`),
      );
      return undefined;
    }
    let value: unknown;
    try {
      value = JSON.parse(wire);
    } catch {
      return this.#garbled(undefined);
    }
    const parsed = clientFrame.safeParse(value);
    return parsed.success ? parsed.data : this.#garbled(value);
  }

  /** What was not understood: counted, and answered where somebody waits for an answer. */
  #garbled(value: unknown): undefined {
    this.#core.counters.garbled++;
    const { kind, requestId, protocol } = fieldsOf(value);
    if (this.#state.name === 'greeting') {
      const speaks = typeof protocol === 'number' ? `holdfast/${protocol}` : 'something else';
      const isOther = kind === 'hello' && protocol !== PROTOCOL;
      const what = isOther
        ? `This server speaks holdfast/${PROTOCOL}, the client ${speaks}. Update the older one.`
        : 'The first frame was no valid `hello`.';
      this.refuse(new HoldfastError('PROTOCOL_ERROR', what));
    } else if (kind === 'request' && typeof requestId === 'string' && requestId !== '') {
      const message = 'The frame is no valid `request`: see the protocol.';
      this.write(failed(requestId, { code: 'INVALID_PAYLOAD', message, retryable: false }));
    }
    return undefined;
  }

  #handle(frame: ClientFrame, wait: number | undefined): void {
    if (this.#state.name === 'open') {
      this.#handleOpen(frame, this.#state.at, wait);
      return;
    }
    if (this.#state.name === 'greeting' && frame.kind === 'hello') {
      this.#greet(frame);
      return;
    }
    if (frame.kind === 'ping' || frame.kind === 'pong') return;
    this.refuse(new HoldfastError('PROTOCOL_ERROR', `\`${frame.kind}\` came before \`welcome\`.`));
  }

  #handleOpen(frame: ClientFrame, at: Standing, wait: number | undefined): void {
    // A link that is being left is not listened to: its client says it again on the newer one.
    if (this.#fencedAt !== undefined) return;
    switch (frame.kind) {
      case 'request':
        this.#ask(frame, at, wait);
        return;
      case 'message':
        if (wait === undefined) at.messages.take(frame);
        else this.#core.counters.messagesDropped++;
        return;
      case 'join':
        at.memberships.join(frame.rooms);
        return;
      case 'leave':
        at.memberships.leave(frame.rooms);
        return;
      case 'auth':
        at.renewal.take(frame.auth);
        return;
      case 'ping':
        this.write(PONG);
        return;
      case 'pong':
        return;
      case 'hello':
        this.refuse(new HoldfastError('PROTOCOL_ERROR', 'A second `hello` on one connection.'));
        return;
      default:
        frame satisfies never;
    }
  }

  #ask(
    frame: Extract<ClientFrame, { kind: 'request' }>,
    { seat, link }: Standing,
    wait: number | undefined,
  ): void {
    const { requestId, type, payload, room } = frame;
    const isFull = seat.pending >= this.#core.settings.limits.pendingRequests;
    const retryAfter =
      isFull && !seat.has(requestId) ? this.#rate.block(this.#core.clock.now(), 0) : wait;
    if (retryAfter !== undefined) {
      this.#core.counters.rateLimited++;
      const message = isFull
        ? 'Too many requests of this client wait for their answer.'
        : 'Too many frames a second.';
      this.write(failed(requestId, { code: 'RATE_LIMITED', message, retryable: true, retryAfter }));
      return;
    }
    const connection = { id: this.id, transport: this.transport };
    seat.ask({ requestId, type, payload, room, connection, user: this.#user, link });
  }

  #greet(hello: Hello): void {
    const { goodbye } = this.#host;
    if (goodbye !== undefined) {
      this.sayGoodbye(goodbye);
      this.close(1001, goodbye.reason);
      return;
    }
    this.#state = { name: 'admitting' };
    this.#admit(hello).catch((error: unknown) => {
      if (error instanceof HoldfastError) {
        this.refuse(error);
        return;
      }
      this.#broken(error, 'admitting a client');
    });
  }

  async #admit(hello: Hello): Promise<void> {
    const admitted = await admit(this.#core, this.#host.seats, {
      hello,
      request: this.#wire.request,
      abort: this.#abort,
      connectionId: this.id,
      isOver: () => this.#state.name !== 'admitting' || this.#host.goodbye !== undefined,
    });
    if (admitted !== undefined) this.#open(hello, admitted);
    else if (this.#state.name === 'admitting') {
      // The hub began to leave while the client was being looked at.
      this.#state = { name: 'greeting' };
      this.#greet(hello);
    }
  }

  #open(hello: Hello, { seat, identity, welcome }: Admitted): void {
    const now = this.#core.clock.now();
    this.#user = identity.user;
    const memberships = new Memberships({
      core: this.#core,
      outlet: this.#outlet,
      userKey: identity.key,
      authorize: (room) =>
        authorize(this.#core, { user: this.#user, room, action: 'join', type: undefined }),
      failed: (error) => this.#broken(error, 'the journal'),
    });
    const renewal = new Renewal(this.#core, {
      identity,
      clientId: hello.clientId,
      request: this.#wire.request,
      renewed: (user) => {
        this.#user = user;
      },
      write: (text) => this.write(text),
    });
    const messages = new Messages(this.#core, this);
    const { link } = hello;
    this.#state = {
      name: 'open',
      at: { seat, link, memberships, renewal, messages, openedAt: now },
    };
    this.#core.counters.connectionsAccepted++;
    this.write(JSON.stringify(welcome));
    seat.take(this, link);
    this.#host.welcomed(this);
    memberships.join(wishesOf(hello));
  }

  #tickOpen(now: number, at: Standing): void {
    if (this.#fencedAt !== undefined && now >= this.#fencedAt) {
      this.close(4409, 'A newer link of this client is served.');
      return;
    }
    if (at.renewal.isExpired(now)) {
      this.refuse(new HoldfastError('TOKEN_EXPIRED', 'The credentials have expired.'));
      return;
    }
    const life = this.#liveness.look(now, this.#outlet.bufferedAmount);
    if (life === 'dead' || this.#outlet.isOverfull) {
      this.#core.counters.timedOut++;
      this.terminate();
      return;
    }
    if (life === 'ask') this.write(PING);
    this.#outlet.resume();
    this.#forget(now, at);
  }

  /**
   * What was answered long before the last sign of life, on a link that has lived as long, has
   * arrived: a client that misses an answer asks again as soon as it has a link.
   */
  #forget(now: number, { seat, openedAt }: Standing): void {
    if (!seat.hasAsked || now - this.#forgotAt < FORGET_INTERVAL) return;
    const age = Math.min(this.#core.settings.journal.requestWindow / 2, 300_000);
    if (this.#liveness.heardAt - openedAt < age) return;
    this.#forgotAt = now;
    seat.hasAsked = false;
    this.#core.journal.forget(seat.key, age + now - this.#liveness.heardAt);
  }

  #broken(error: unknown, about: string): void {
    this.#core.report(error, about);
    this.refuse(
      new HoldfastError('SERVER_ERROR', 'The server failed. Come back.', { retryable: true }),
    );
  }
}

function noHello(ms: number): HoldfastError {
  return new HoldfastError('PROTOCOL_ERROR', `No \`hello\` within ${ms} ms.`);
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
