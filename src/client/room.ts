/** A handle on one room: the client's verbs, for this room alone. */
import type { Emitter } from '../lib/emitter.js';
import type { RoomState } from '../machine/rooms.js';
import type {
  Contract,
  EventPayload,
  EventType,
  MessageInput,
  MessageType,
  RequestInput,
  RequestType,
  ResponseData,
} from '../protocol/contract.js';
import type {
  Client,
  Delivered,
  EventInfo,
  Listener,
  RequestOptions,
  SendOptions,
  StreamOptions,
} from './client.js';
import type { Stream } from './stream.js';

/** What a handle needs of its client. */
export interface RoomDoor {
  state(): RoomState;
  listeners(): Emitter<[unknown, EventInfo]>;
  stream(type: string, options: StreamOptions): Stream<Delivered<unknown>>;
  join(since: string | undefined, signal: AbortSignal | undefined): Promise<void>;
  leave(): void;
}

export class Room<C extends Contract> {
  readonly name: string;
  readonly #client: Client<C>;
  readonly #door: RoomDoor;

  constructor(client: Client<C>, door: RoomDoor, name: string) {
    this.name = name;
    this.#client = client;
    this.#door = door;
  }

  get state(): RoomState {
    return this.#door.state();
  }

  /**
   * Wants the room, across every reconnect, until as many `leave()`s. Resolves joined and caught up.
   * `since`: the last eventId the application has; without one it starts now, or where this client
   * last stood.
   * @throws HoldfastError (as a rejection) where the server refuses; such a join does not count.
   */
  join(options: { since?: string; signal?: AbortSignal } = {}): Promise<void> {
    const joined = this.#door.join(options.since, options.signal);
    joined.catch(() => {});
    return joined;
  }

  /** One `join()` less; the last one forgets where this client stood. */
  leave(): void {
    this.#door.leave();
  }

  on<T extends EventType<C>>(type: T, listener: Listener<EventPayload<C, T>>): () => void {
    return this.#door.listeners().on(type, listener as Listener<unknown>);
  }

  once<T extends EventType<C>>(type: T, listener: Listener<EventPayload<C, T>>): () => void {
    return this.#door.listeners().once(type, listener as Listener<unknown>);
  }

  off<T extends EventType<C>>(type: T, listener: Listener<EventPayload<C, T>>): void {
    this.#door.listeners().off(type, listener as Listener<unknown>);
  }

  /** This room's events as an iterator. */
  events<T extends EventType<C>>(
    type: T,
    options: StreamOptions = {},
  ): AsyncIterableIterator<Delivered<EventPayload<C, T>>> {
    return this.#door.stream(type, options) as Stream<Delivered<EventPayload<C, T>>>;
  }

  request<T extends RequestType<C>>(
    type: T,
    payload: RequestInput<C, T>,
    options: Omit<RequestOptions, 'room'> = {},
  ): Promise<ResponseData<C, T>> {
    return this.#client.request(type, payload, { ...options, room: this.name });
  }

  send<T extends MessageType<C>>(
    type: T,
    payload: MessageInput<C, T>,
    options: Omit<SendOptions, 'room'> = {},
  ): void {
    this.#client.send(type, payload, { ...options, room: this.name });
  }
}
