/** Everyone who hears events: of the whole client, of one room, of every type, and by iterator. */
import { Emitter } from '../lib/emitter.js';
import { type Contract, entryOf, validate } from '../protocol/contract.js';
import { HoldfastError } from '../protocol/errors.js';
import type { Event } from '../protocol/frame.js';
import { checkNumber } from './options.js';
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
  #streams: { type: string; stream: Stream<Delivered<any>> }[] = []; // eslint-disable-line @typescript-eslint/no-explicit-any -- as above

  constructor(report: Report) {
    this.listeners = new Emitter(report);
  }

  stream<P>(type: string, { signal, bufferSize = 1_000 }: StreamOptions): Stream<Delivered<P>> {
    checkNumber('bufferSize', bufferSize, 1);
    const end = () => void stream.return();
    const stream = new Stream<Delivered<P>>(bufferSize, () => {
      this.#streams = this.#streams.filter((other) => other.stream !== stream);
      signal?.removeEventListener('abort', end);
    });
    this.#streams.push({ type, stream });
    if (signal?.aborted) end();
    else signal?.addEventListener('abort', end, { once: true });
    return stream;
  }

  /** The iterators of a type. */
  streams(type: string): Stream<Delivered<unknown>>[] {
    return this.#streams.filter((one) => one.type === type).map(({ stream }) => stream);
  }

  get isStreaming(): boolean {
    return this.#streams.length > 0;
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
  deliver(event: Event, had: (event: Event) => void): void {
    const { type, eventId, timestamp, room, seq } = event;
    let { payload } = event;
    try {
      const schema = entryOf(this.#contract.events, type);
      if (schema !== undefined) payload = validate(schema, payload, `event "${type}"`);
    } catch (error) {
      this.#report(error);
      had(event);
      return;
    }
    const info: EventInfo = { eventId, type, timestamp, room, seq };
    const { everywhere } = this;
    const inRoom = room === undefined ? undefined : this.#rooms.get(room);
    const byAny = this.any.hears(ANY) && this.any.emit(ANY, type, payload, info);
    const byAll = everywhere.listeners.emit(type, payload, info);
    const isHeard = inRoom?.listeners.emit(type, payload, info) || byAll || byAny;
    if (everywhere.isStreaming || inRoom?.isStreaming) {
      const streams = [...everywhere.streams(type), ...(inRoom?.streams(type) ?? [])];
      feed(streams, { payload, event: info }, () => had(event));
      if (streams.length > 0 || isHeard) return;
    } else {
      had(event);
      if (isHeard) return;
    }
    this.#reportUnheard(type, room);
  }

  #reportUnheard(type: string, room: string | undefined): void {
    // A server that never runs out of types must not fill the memory.
    if (this.#unheard.has(type) || this.#unheard.size >= 100) return;
    this.#unheard.add(type);
    this.#report(
      new HoldfastError(
        'UNKNOWN_TYPE',
        `Nobody listens to "${type}"${room === undefined ? '' : ` (room "${room}")`}: its events count as delivered. Listen with client.on or room.on.`,
      ),
    );
  }
}

/** The last consumer to have had it settles it. */
function feed(
  streams: Stream<Delivered<unknown>>[],
  delivered: Delivered<unknown>,
  had: () => void,
): void {
  let owed = streams.length + 1;
  const receipt = () => {
    if (--owed === 0) had();
  };
  for (const stream of streams) stream.push(delivered, receipt);
  receipt();
}
