/** Everyone who hears events: of the whole client, of one room, of every type, and by iterator. */
import { Emitter } from '../lib/emitter.js';
import { type Contract, entryOf, validate } from '../protocol/contract.js';
import { HoldfastError } from '../protocol/errors.js';
import type { Event } from '../protocol/frame.js';
import { Stream } from './stream.js';

/** What a listener hears beside the payload. */
export interface EventInfo {
  readonly eventId: string;
  readonly type: string;
  /** Unix milliseconds, of the server. */
  readonly timestamp: number;
  readonly room: string | undefined;
  readonly seq: number | undefined;
}

/** One event of an iterator. */
export interface Delivered<P> {
  readonly payload: P;
  readonly event: EventInfo;
}

export interface StreamOptions {
  signal?: AbortSignal;
  /** Events that may wait for the consumer; with more the iterator ends with an error. @default 1_000 */
  bufferSize?: number;
}

/** Its promise is not awaited; a rejection is reported. */
export type Listener<P> = (payload: P, event: EventInfo) => unknown;

type Report = (thrown: unknown) => void;

/** The listeners and iterators of one room, or of the whole client. */
export class Channel {
  // biome-ignore lint/suspicious/noExplicitAny: payloads are checked by the contract, types by the public classes.
  readonly listeners: Emitter<[any, EventInfo]>; // eslint-disable-line @typescript-eslint/no-explicit-any -- as above
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  readonly #streams = new Map<Stream<Delivered<any>>, string>(); // eslint-disable-line @typescript-eslint/no-explicit-any -- as above

  constructor(report: Report) {
    this.listeners = new Emitter(report);
  }

  hears(type: string): boolean {
    if (this.listeners.hears(type)) return true;
    return this.#streams.size > 0 && [...this.#streams.values()].includes(type);
  }

  stream<P>(type: string, { signal, bufferSize = 1_000 }: StreamOptions): Stream<Delivered<P>> {
    const end = () => void stream.return();
    const stream = new Stream<Delivered<P>>(bufferSize, () => {
      this.#streams.delete(stream);
      signal?.removeEventListener('abort', end);
    });
    this.#streams.set(stream, type);
    if (signal?.aborted) end();
    else signal?.addEventListener('abort', end, { once: true });
    return stream;
  }

  /** Gives an event to everyone here. `owe` is called for each iterator, and returns its receipt. */
  emit(delivered: Delivered<unknown>, owe: () => () => void): void {
    const { payload, event } = delivered;
    this.listeners.emit(event.type, payload, event);
    if (this.#streams.size === 0) return;
    for (const [stream, type] of [...this.#streams]) {
      if (type === event.type) stream.push(delivered, owe());
    }
  }
}

const ANY = '*';

export class Audience {
  readonly #contract: Contract;
  readonly #report: Report;
  readonly #rooms = new Map<string, Channel>();
  /** Types that arrived and nobody listened to: reported once each. */
  readonly #unheard = new Set<string>();
  readonly everywhere: Channel;
  readonly any: Emitter<[string, unknown, EventInfo]>;

  constructor(contract: Contract, report: Report) {
    this.#contract = contract;
    this.#report = report;
    this.everywhere = new Channel(report);
    this.any = new Emitter(report);
  }

  room(name: string): Channel {
    const channel = this.#rooms.get(name) ?? new Channel(this.#report);
    this.#rooms.set(name, channel);
    return channel;
  }

  onAny(listener: (type: string, payload: unknown, event: EventInfo) => unknown): () => void {
    return this.any.on(ANY, listener);
  }

  /**
   * To every listener, then to the iterators, whose consumers say when they have had it. What nobody
   * hears, or does not fit its contract, counts as delivered: it would not be heard the next time
   * either.
   * @param had called once, when the last of them has had it
   */
  deliver({ type, eventId, timestamp, room, seq, payload }: Event, had: () => void): void {
    const inRoom = room === undefined ? undefined : this.#rooms.get(room);
    const isHeard = this.any.hears(ANY) || this.everywhere.hears(type) || inRoom?.hears(type);
    if (!isHeard) this.#reportUnheard(type);
    else {
      try {
        const schema = entryOf(this.#contract.events, type);
        const checked =
          schema === undefined ? payload : validate(schema, payload, `event "${type}"`);
        const event: EventInfo = { eventId, type, timestamp, room, seq };
        this.#emit({ payload: checked, event }, inRoom, had);
        return;
      } catch (error) {
        this.#report(error);
      }
    }
    had();
  }

  #emit(delivered: Delivered<unknown>, inRoom: Channel | undefined, had: () => void): void {
    let owed = 1;
    const receipt = () => {
      if (--owed === 0) had();
    };
    const owe = () => {
      owed++;
      return receipt;
    };
    const { payload, event } = delivered;
    this.any.emit(ANY, event.type, payload, event);
    this.everywhere.emit(delivered, owe);
    inRoom?.emit(delivered, owe);
    receipt();
  }

  #reportUnheard(type: string): void {
    if (this.#unheard.has(type)) return;
    this.#unheard.add(type);
    this.#report(
      new HoldfastError(
        'UNKNOWN_TYPE',
        `Nobody listens to "${type}". Its events count as delivered.`,
      ),
    );
  }
}
