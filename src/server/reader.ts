/**
 * One client in one room: a reader of the journal at the client's cursor. Live is only a name for
 * standing at the tail, so there is no seam between what was missed and what happens now.
 */
import type { RoomJoined, UnrecoveredReason } from '../protocol/frame.js';
import type { Feed, FeedReader } from './feed.js';
import {
  type Appended,
  cursorOf,
  type Position,
  parseCursor,
  SLICE_BYTES,
  type StoredEvent,
} from './journal.js';
import type { Counters } from './metrics.js';
import type { Outlet } from './outlet.js';
import type { Taker } from './turns.js';

/** Events taken from the journal in one read, where they are small. */
const READ_LIMIT = 32;

/** A cursor that is longer, in UTF-16 units, is none of ours, and is not repeated. */
const LONGEST_CURSOR = 512;

export interface ReaderSetup {
  readonly feed: Feed;
  /** The room's name on the wire. */
  readonly room: string;
  readonly outlet: Outlet;
  readonly counters: Counters;
  /** The journal failed in the middle of a connection. */
  readonly failed: (error: unknown) => void;
}

export class Reader implements FeedReader, Taker {
  readonly #setup: ReaderSetup;
  #position: Position = { epoch: '', seq: 0 };
  /** `starting` and `behind` have a turn, or wait for one; `live` takes what comes. */
  #state: 'idle' | 'starting' | 'behind' | 'live' = 'idle';
  #caughtUp = false;
  /** Grows with every start and stop: the answer to an older read is thrown away. */
  #run = 0;
  /** Where the client wants to go on, and whom to tell that it was announced. */
  #since: string | undefined;
  #started: () => void = () => {};
  /** The size of an event, as the last read had it. */
  #eventBytes = 1;

  constructor(setup: ReaderSetup) {
    this.#setup = setup;
    setup.feed.readers.add(this);
  }

  /** Resolves once it was announced where it starts, or it was stopped or started anew before. */
  async start(since: string | undefined): Promise<void> {
    const { feed, outlet } = this.#setup;
    const run = this.#begin();
    this.#state = 'starting';
    this.#since = since;
    if (feed.tail === undefined) await feed.ready;
    if (run !== this.#run) return;
    await new Promise<void>((resolve) => {
      this.#started = resolve;
      outlet.turns.take(this);
    });
  }

  /** Nothing more is written, whatever is under way. */
  stop(): void {
    this.#begin();
    this.#state = 'idle';
    this.#setup.feed.readers.delete(this);
  }

  async turn(): Promise<number> {
    try {
      if (this.#state === 'starting') return await this.#open();
      if (this.#state === 'behind') return await this.#goOn();
    } catch (error) {
      this.#started();
      this.#setup.failed(error);
    }
    return 0;
  }

  appended(news: Appended): void {
    if (this.#state !== 'live') return;
    if (news.epoch === this.#position.epoch) {
      this.#take(news.events);
      this.#settle();
    } else if (this.#setup.outlet.hasRoom) this.#startAt('epoch', this.#setup.feed.tail);
    else this.#fallBehind();
  }

  /** Whatever was under way counts no more. */
  #begin(): number {
    this.#setup.outlet.turns.drop(this);
    this.#started();
    return ++this.#run;
  }

  /** Says where it starts. Before a turn there was room for that; a read may have taken its time. */
  async #open(): Promise<number> {
    const { feed, outlet } = this.#setup;
    const run = this.#run;
    const { tail } = feed;
    const since = this.#since === undefined ? undefined : positionOf(this.#since);
    if (since === undefined) {
      this.#startAt(this.#since === undefined ? 'new' : 'epoch', tail);
    } else if (tail !== undefined && cursorOf(tail) === this.#since) {
      this.#startAt(undefined, since);
    } else {
      const { slice, bytes } = await this.#read(since);
      if (run !== this.#run) return bytes;
      if (!outlet.hasRoom) outlet.turns.takeAgain(this);
      else if (slice.gap === undefined) this.#startAt(undefined, since, slice.events);
      else this.#startAt(slice.gap, slice.tail);
      return bytes;
    }
    return 0;
  }

  /** No more than is likely to fit: what does not is read again. */
  async #read(since: Position) {
    const { feed, outlet } = this.#setup;
    const fitting = Math.ceil(Math.min(outlet.room, SLICE_BYTES) / this.#eventBytes);
    const limit = Math.max(1, Math.min(fitting, READ_LIMIT));
    const slice = await feed.journal.read(feed.room, since, limit);
    const events = slice.gap === undefined ? slice.events : [];
    let bytes = 0;
    for (const event of events) bytes += event.bytes;
    if (events.length > 0) this.#eventBytes = bytes / events.length;
    return { slice, bytes };
  }

  #startAt(
    reason: UnrecoveredReason | undefined,
    position: Position | undefined,
    events: readonly StoredEvent[] = [],
  ): void {
    if (position !== undefined) {
      this.#announce(position, reason);
      this.#take(events);
      this.#settle();
    }
    this.#started();
  }

  #announce(position: Position, reason: UnrecoveredReason | undefined): void {
    this.#position = position;
    this.#caughtUp = false;
    const { room, outlet, counters } = this.#setup;
    if (reason === 'expired' || reason === 'epoch') counters.gaps++;
    const verdict: RoomJoined = {
      kind: 'room',
      room,
      joined: true,
      epoch: position.epoch,
      cursor: cursorOf(position),
      seq: position.seq,
      recovered: reason === undefined,
    };
    if (reason !== undefined) {
      verdict.reason = reason;
      const echo = this.#state === 'starting' ? this.#since : undefined;
      if (echo !== undefined && echo.length <= LONGEST_CURSOR) verdict.since = echo;
    }
    outlet.write(JSON.stringify(verdict));
  }

  /** Writes what follows the position, as far as the link has room. */
  #take(events: readonly StoredEvent[]): void {
    const { outlet, counters } = this.#setup;
    let { seq } = this.#position;
    for (const event of events) {
      if (event.seq <= seq) continue;
      if (event.seq !== seq + 1 || !outlet.hasRoom) break;
      outlet.write(event.text, event.bytes);
      counters.eventsDelivered++;
      seq = event.seq;
    }
    if (seq !== this.#position.seq) this.#position = { epoch: this.#position.epoch, seq };
  }

  /** Live where nothing is left to read; else reads on, when there is room and it is its turn. */
  #settle(): void {
    if (!this.#isAtTail()) {
      this.#fallBehind();
      return;
    }
    this.#state = 'live';
    if (this.#caughtUp) return;
    this.#caughtUp = true;
    const { room, outlet } = this.#setup;
    const cursor = cursorOf(this.#position);
    outlet.write(JSON.stringify({ kind: 'room', room, caughtUp: true, cursor }));
  }

  #fallBehind(): void {
    this.#state = 'behind';
    this.#setup.outlet.turns.take(this);
  }

  async #goOn(): Promise<number> {
    const { outlet } = this.#setup;
    const run = this.#run;
    const { slice, bytes } = await this.#read(this.#position);
    if (run !== this.#run) return bytes;
    if (!outlet.hasRoom) outlet.turns.takeAgain(this);
    else if (slice.gap !== undefined) this.#startAt(slice.gap, slice.tail);
    else {
      this.#take(slice.events);
      if (slice.events.length > 0 || this.#isAtTail()) this.#settle();
      else this.#outrun();
    }
    return bytes;
  }

  /** The journal has nothing more, and yet the tail that was told is another. */
  #outrun(): void {
    const { feed, outlet } = this.#setup;
    if (feed.tail?.epoch === this.#position.epoch) {
      // The journal lags behind what it told: asked again on the next beat.
      outlet.turns.takeLater(this);
      return;
    }
    feed.tail = this.#position;
    this.#settle();
  }

  #isAtTail(): boolean {
    const { tail } = this.#setup.feed;
    if (tail === undefined) return false;
    return this.#position.epoch === tail.epoch && this.#position.seq >= tail.seq;
  }
}

function positionOf(cursor: string): Position | undefined {
  return cursor.length > LONGEST_CURSOR ? undefined : parseCursor(cursor);
}
