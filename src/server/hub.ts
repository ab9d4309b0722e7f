/** The server half: takes wires in, keeps rooms and requests, publishes, and leaves in good order. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import * as z from 'zod';
import { checkKnown } from '../lib/known.js';
import type { AnyContract, Contract, EventInput, EventType } from '../protocol/contract.js';
import { HoldfastError } from '../protocol/errors.js';
import type { Goodbye } from '../protocol/frame.js';
import { Core, ownRoom, type RoomName, sharedRoom } from './core.js';
import { errorBody } from './failure.js';
import { HttpDoor } from './http.js';
import { cursorOf } from './journal.js';
import type { HubMetrics } from './metrics.js';
import { type HubOptions, type Settings, settle, span } from './options.js';
import { Peer, type PeerHost } from './peer.js';
import { Requests } from './requests.js';
import { Seats } from './seats.js';
import { attachSocketIO, type SocketIoServer } from './socket-io.js';
import { attachWebSocket, type WebSocketOptions } from './websocket.js';
import { Wheel } from './wheel.js';
import type { ServerWire, ServerWireEvents } from './wire.js';

/** Where an event went. */
export interface Published {
  /** The cursor of the event: a client that has it goes on after it. */
  readonly eventId: string;
}

/** Everybody who is this user; with `room`, out of that room alone. A string is the user's key. */
export interface KickTarget<U> {
  readonly user: U | string;
  readonly room?: string | undefined;
}

export interface CloseOptions {
  /** Lets clients move and requests finish first. @default false */
  readonly drain?: boolean | undefined;
  /** Milliseconds that may take. @default 30_000 */
  readonly over?: number | undefined;
}

export interface Hub<C extends Contract = AnyContract, U = string> {
  /** Serves one connection. Every wire comes in here. Needs no `this`. */
  readonly accept: (wire: ServerWire) => ServerWireEvents;
  /**
   * Serves WebSockets of an HTTP server, on one path; other upgrades are left to others.
   * @returns its detach, which also ends the connections that came in by it.
   */
  attachWebSocket(server: Server | SecureServer, options?: WebSocketOptions): () => void;
  /**
   * Serves the connections of a Socket.IO server, or of one of its namespaces, with events of their own
   * beside the hub's if you like. That server needs a `maxHttpBufferSize` of `limits.maxMessageSize` and
   * 1,024, and no `connectionStateRecovery`.
   * @returns its detach, which also ends the connections that came in by it.
   * @throws TypeError where its options would break the hub's promises, with the cure.
   */
  attachSocketIO(io: SocketIoServer): () => void;
  /**
   * Serves one request of an HTTP server: streams, polls and errands by POST, and CORS preflights.
   * Which path that is, the application says. It answers whatever it is given, by itself, and never
   * throws.
   */
  handleHttp(request: IncomingMessage, response: ServerResponse): void;
  /**
   * Resolves once the journal has the event. The payload is checked, then sent as it was given:
   * leave out what clients may not see.
   * @throws HoldfastError `INVALID_PAYLOAD`, `UNKNOWN_TYPE`, `FORBIDDEN` for a reserved room,
   * `CONNECTION_FAILED` once the hub is closed.
   */
  publish<T extends EventType<C>>(
    room: string,
    type: T,
    payload: EventInput<C, T>,
  ): Promise<Published>;
  /** Publishes to the room of one user, wherever they are connected. A string is the user's key. */
  publishToUser<T extends EventType<C>>(
    user: U | string,
    type: T,
    payload: EventInput<C, T>,
  ): Promise<Published>;
  /** The eventId at the tail of a room: take it before you read the state that it belongs to. */
  cursor(room: string): Promise<string>;
  /**
   * Ends a user's connections for good, or takes the user out of a room, on every hub of the journal.
   * Make `authenticate` or `authorizeRoom` refuse first, or they come back. Done at once on this hub;
   * resolves once the journal has it for the others.
   * @throws what the journal failed with: the others may not hear of it, so kick again.
   */
  kick(target: KickTarget<U>, why?: { readonly reason?: string | undefined }): Promise<void>;
  /**
   * Without `drain` everything ends at once; running handlers are aborted and their outcome is unknown.
   * With it, clients are told to move, new ones are sent away, and requests finish. Resolves when no
   * connection and no timer is left. Harmless twice.
   * @throws RangeError where `over` is no finite number of 0 or more milliseconds.
   */
  close(options?: CloseOptions): Promise<void>;
  metrics(): HubMetrics;
}

/**
 * A hub keeps the protocol's promises over any wire. It starts nothing by itself: attach it to a server.
 * @throws TypeError, RangeError where an option is wrong.
 */
export function createHub<C extends Contract = AnyContract, U = string, A = unknown>(
  options: HubOptions<C, U, A>,
): Hub<C, U> {
  return new LocalHub(settle(options));
}

/** Milliseconds that closing wires get before they are cut. */
const CLOSE_GRACE = 1_000;

/** RFC 6455's registry: clients dial again. */
const SERVICE_RESTART = 1012;
const REPLACED = 'This server was replaced.';

class LocalHub implements Hub<AnyContract, unknown>, PeerHost {
  readonly core: Core;
  readonly seats: Seats;
  goodbye: Goodbye | undefined;
  readonly #requests: Requests;
  readonly #wheel: Wheel;
  readonly #http: HttpDoor;
  /** Every wire that is not closed yet. */
  readonly #peers = new Set<Peer>();
  readonly #detachments = new Set<() => void>();
  #open = 0;
  #closing: Promise<void> | undefined;
  #isClosed = false;
  #isFenced = false;
  /** Whatever was to take its time is not to any more. */
  #hurried = false;
  /** Those that wait for something to become less. */
  #watchers: (() => void)[] = [];

  constructor(settings: Settings) {
    this.core = new Core(settings, {
      settled: (client, requestId) => this.#requests.settled(client, requestId),
      linked: (client, link) => this.#linked(client, link),
      told: (text) => this.#told(text),
      fenced: () => this.#fenced(),
    });
    this.#requests = new Requests(this.core);
    this.seats = new Seats(this.core, this.#requests, () => this.#wake());
    const { interval, timeout } = settings.heartbeat;
    const look = Math.min(1_000, Math.max(20, Math.min(timeout / 5, interval / 20)));
    this.#wheel = new Wheel(this.core.clock, look);
    this.#http = new HttpDoor({
      core: this.core,
      seats: this.seats,
      accept: (wire) => this.accept(wire),
      isClosed: () => this.#isClosed || this.#isFenced,
      isLeaving: () => this.#isClosed || this.goodbye !== undefined,
      changed: () => this.#wake(),
    });
  }

  // A field, so that it can be handed on as it is.
  readonly accept = (wire: ServerWire): ServerWireEvents => {
    const peer = new Peer(this, wire);
    this.#peers.add(peer);
    this.#wheel.add(peer);
    if (this.#isClosed) peer.close(1001, 'The server has closed.');
    else if (this.#isFenced) peer.close(SERVICE_RESTART, REPLACED);
    return peer;
  };

  attachWebSocket(server: Server | SecureServer, options: WebSocketOptions = {}): () => void {
    checkKnown('attachWebSocket', options, ['path', 'perMessageDeflate']);
    return this.#attached(attachWebSocket(server, { ...options, ...this.#door }));
  }

  attachSocketIO(io: SocketIoServer): () => void {
    return this.#attached(attachSocketIO(io, this.#door));
  }

  handleHttp(request: IncomingMessage, response: ServerResponse): void {
    this.#http.handle(request, response);
  }

  async publish(room: string, type: string, payload: unknown): Promise<Published> {
    return this.#publish(sharedRoom(room), type, payload);
  }

  async publishToUser(user: unknown, type: string, payload: unknown): Promise<Published> {
    return this.#publish(ownRoom(this.#userKey(user)), type, payload);
  }

  async cursor(room: string): Promise<string> {
    return cursorOf(await this.core.journal.tail(sharedRoom(room).journal));
  }

  async kick(target: KickTarget<unknown>, why: { readonly reason?: string | undefined } = {}) {
    const kick: Kick = {
      user: this.#userKey(target.user),
      reason: why.reason ?? 'The server ended this.',
      ...(target.room === undefined ? {} : { room: sharedRoom(target.room).wire }),
    };
    this.#kick(kick);
    await this.core.journal.tell(JSON.stringify({ kick }));
  }

  async close(options: CloseOptions = {}): Promise<void> {
    span('over', options.over ?? 0);
    if (options.drain !== true) {
      this.#hurried = true;
      this.#wake();
    }
    this.#closing ??= this.#close(options);
    await this.#closing;
  }

  metrics(): HubMetrics {
    const { counters, feeds } = this.core;
    return {
      connections: this.#open,
      rooms: feeds.size,
      ...counters,
      refused: { ...counters.refused },
    };
  }

  welcomed(): void {
    this.#open++;
  }

  ended(): void {
    this.#open--;
    this.#wake();
  }

  closed(peer: Peer): void {
    this.#peers.delete(peer);
    this.#wheel.delete(peer);
    this.#wake();
  }

  /** What connections come in by. */
  get #door() {
    const { maxMessageSize, origins } = this.core.settings.limits;
    return { maxMessageSize, origins, accept: this.accept };
  }

  #attached(detach: () => void): () => void {
    this.#detachments.add(detach);
    return () => {
      this.#detachments.delete(detach);
      detach();
    };
  }

  async #publish(room: RoomName, type: string, payload: unknown): Promise<Published> {
    const draft = this.core.draft(room, type, payload);
    const result = await this.core.writer.write({ events: [draft] });
    const eventId = result.accepted ? result.cursors[0] : undefined;
    if (eventId === undefined) {
      throw new HoldfastError(
        'CONNECTION_FAILED',
        `"${type}" was not published: the hub is closed, or its journal was taken over.`,
      );
    }
    this.core.counters.eventsPublished++;
    return { eventId };
  }

  #userKey(user: unknown): string {
    return typeof user === 'string' ? user : this.core.settings.userKey(user);
  }

  #kick({ user, room, reason }: Kick): void {
    const error =
      room === undefined
        ? new HoldfastError('UNAUTHORIZED', reason)
        : new HoldfastError('FORBIDDEN', reason);
    if (room === undefined) this.seats.kicked(user, error);
    for (const { peer } of this.seats.ofUser(user)) {
      if (room === undefined) peer?.refuse(error);
      else peer?.removeFrom(room, errorBody(error));
    }
  }

  #linked(client: string, link: number): void {
    this.seats.get(client)?.peer?.supersededBy(link);
  }

  #told(text: string): void {
    const parsed = told.safeParse(JSON.parse(text));
    if (parsed.success) this.#kick(parsed.data.kick);
  }

  /** Another one serves in its place: whatever runs here can be neither committed nor answered. */
  #fenced(): void {
    this.#isFenced = true;
    this.#requests.stop(new Error('The hub was declared dead.'));
    for (const peer of this.#peers) peer.close(SERVICE_RESTART, REPLACED);
  }

  async #close({ drain = false, over = 30_000 }: CloseOptions): Promise<void> {
    if (drain) await this.#drain(over);
    this.#isClosed = true;
    this.#requests.stop(new Error('The server closes.'));
    this.#http.shut();
    await this.#until(() => this.seats.pending === 0, CLOSE_GRACE);
    await this.core.writer.idle();
    for (const peer of this.#peers) peer.close(1001, 'The server closes.');
    await this.core.journal.close();
    const isGone = () => this.#peers.size === 0 && this.#http.isIdle;
    await this.#until(isGone, CLOSE_GRACE);
    for (const peer of this.#peers) peer.terminate();
    this.#http.terminate();
    await this.#until(isGone, CLOSE_GRACE);
    for (const detach of this.#detachments) detach();
    this.#detachments.clear();
  }

  async #drain(over: number): Promise<void> {
    const { retrySpread } = this.core.settings;
    const spread = Math.min(retrySpread > 0 ? retrySpread : over, over / 2);
    this.goodbye = { kind: 'goodbye', reason: 'The server is restarting.', spread };
    for (const peer of this.#peers) peer.sayGoodbye(this.goodbye);
    const { pollers } = this.#http;
    const isDone = () => this.#open === 0 && this.seats.pending === 0 && pollers.areGone;
    const unwatch = pollers.watch(() => this.#wake());
    await this.#until(() => this.#hurried || isDone(), over);
    unwatch();
  }

  /** Waits for a condition that `#wake` looks at, but not longer than `ms`. */
  #until(condition: () => boolean, ms: number): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        this.#watchers = this.#watchers.filter((watcher) => watcher !== look);
        resolve();
      };
      const look = () => {
        if (condition()) done();
      };
      const cancel = this.core.clock.after(ms, done);
      this.#watchers.push(look);
    });
  }

  #wake(): void {
    for (const look of [...this.#watchers]) look();
  }
}

/** What hubs tell each other. Of a later version they may not understand it. */
const told = z.object({
  kick: z.object({ user: z.string(), room: z.exactOptional(z.string()), reason: z.string() }),
});

type Kick = z.infer<typeof told>['kick'];
