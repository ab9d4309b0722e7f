/** A handle on one room: the client's verbs, for this room alone. */
import type { RoomState } from '../machine/rooms.js';
import type {
  Contract,
  MessageInput,
  MessageType,
  RequestInput,
  RequestType,
  ResponseData,
} from '../protocol/contract.js';
import { HoldfastError } from '../protocol/errors.js';
import type { Channel } from './audience.js';
import type { Driver } from './driver.js';
import { Listening } from './listening.js';
import { aborted, onAbort, type RequestOptions, type SendOptions } from './outgoing.js';

/** The part of a client that a room speaks through. */
export interface Speaker<C extends Contract> {
  request<T extends RequestType<C>>(
    type: T,
    payload: RequestInput<C, T>,
    options: RequestOptions,
  ): Promise<ResponseData<C, T>>;
  send<T extends MessageType<C>>(type: T, payload: MessageInput<C, T>, options: SendOptions): void;
}

export interface JoinOptions {
  /**
   * The last eventId the application has; `"stored"`: where the storage left the room; null and
   * undefined: where this client stood, or now.
   */
  since?: string | null | undefined;
  signal?: AbortSignal;
}

export class Room<C extends Contract> extends Listening<C> {
  readonly name: string;
  readonly #channel: () => Channel;
  readonly #speaker: Speaker<C>;
  readonly #driver: Driver;

  constructor(name: string, channel: () => Channel, speaker: Speaker<C>, driver: Driver) {
    super();
    this.name = name;
    this.#channel = channel;
    this.#speaker = speaker;
    this.#driver = driver;
  }

  protected get channel(): Channel {
    return this.#channel();
  }

  get state(): RoomState {
    return this.#driver.roomState(this.name);
  }

  /**
   * Wants the room, across every reconnect, until as many `leave()`s. Resolves joined and caught up.
   * `since`: the last eventId the application has; without one it starts where this client last
   * stood, or now.
   * @throws HoldfastError (as a rejection) where the server refuses; such a join does not count.
   */
  join({ since, signal }: JoinOptions = {}): Promise<void> {
    const what = `Joining "${this.name}"`;
    if (signal?.aborted) return this.#driver.settled(Promise.reject(aborted(what, signal)));
    // What a storage returns for "nothing" is nothing.
    const from = since ?? undefined;
    if (from !== undefined && (typeof from !== 'string' || from === '')) {
      return this.#driver.settled(Promise.reject(badSince(from)));
    }
    const { call, joined } = this.#driver.join(this.name, from);
    onAbort(signal, joined, (by) => this.#driver.abortJoin(this.name, call, aborted(what, by)));
    return this.#driver.settled(joined);
  }

  /** One `join()` less; the last one forgets where this client stood. */
  leave(): void {
    this.#driver.dispatch({ fact: 'leaveAsked', room: this.name });
  }

  /** As on the client, for this room. */
  request<T extends RequestType<C>>(
    type: T,
    payload: RequestInput<C, T>,
    options: Omit<RequestOptions, 'room'> = {},
  ): Promise<ResponseData<C, T>> {
    return this.#speaker.request(type, payload, { ...options, room: this.name });
  }

  /** As on the client, for this room. */
  send<T extends MessageType<C>>(
    type: T,
    payload: MessageInput<C, T>,
    options: Omit<SendOptions, 'room'> = {},
  ): void {
    this.#speaker.send(type, payload, { ...options, room: this.name });
  }
}

function badSince(since: unknown): HoldfastError {
  return new HoldfastError(
    'INVALID_PAYLOAD',
    `The option since is ${typeof since === 'string' ? 'empty' : typeof since}. It must be an eventId, or left out.`,
  );
}
