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
  type Slice,
  type StoredEvent,
} from './journal.js';
import type { Counters } from './metrics.js';
import type { Outlet, Stalled } from './outlet.js';

/** Events taken from the journal in one read. */
const READ_LIMIT = 256;

export interface ReaderSetup {
  readonly feed: Feed;
  /** The room's name on the wire. */
  readonly room: string;
  readonly outlet: Outlet;
  readonly counters: Counters;
  /** The journal failed in the middle of a connection. */
  readonly failed: (error: unknown) => void;
}

export class Reader implements FeedReader, Stalled {
  readonly #setup: ReaderSetup;
  #position: Position = { epoch: '', seq: 0 };
  /** `starting` and `behind` have a read under way, or wait for the link; `live` takes what comes. */
  #state: 'idle' | 'starting' | 'behind' | 'live' = 'idle';
  #caughtUp = false;
  /** Grows with every start and stop: the answer to an older read is thrown away. */
  #turn = 0;

  constructor(setup: ReaderSetup) {
    this.#setup = setup;
    setup.feed.readers.add(this);
  }

  /** Announces where it starts, then reads. False where it was stopped meanwhile. */
  async start(since: string | undefined): Promise<boolean> {
    const turn = ++this.#turn;
    this.#state = 'starting';
    const { feed } = this.#setup;
    if (feed.tail === undefined) await feed.ready;
    if (turn !== this.#turn) return false;
    if (since === undefined) return this.#begin('new');
    const position = parseCursor(since);
    if (position === undefined) return this.#begin('epoch');
    this.#position = position;
    if (feed.tail !== undefined && cursorOf(feed.tail) === since) {
      return this.#begin(undefined, position);
    }
    const slice = await feed.journal.read(feed.room, position, READ_LIMIT);
    if (turn !== this.#turn) return false;
    if (slice.gap !== undefined) return this.#begin(slice.gap, slice.tail);
    this.#announce(position, undefined);
    this.#take(slice.events);
    this.#settle();
    return true;
  }

  /** Nothing more is written, whatever is under way. */
  stop(): void {
    this.#turn++;
    this.#state = 'idle';
    this.#setup.outlet.unstall(this);
    this.#setup.feed.readers.delete(this);
  }

  appended(news: Appended): void {
    if (this.#state !== 'live') return;
    if (news.epoch !== this.#position.epoch) {
      this.#begin('epoch');
      return;
    }
    this.#take(news.events);
    this.#settle();
  }

  resume(): void {
    if (this.#state === 'behind') this.#read(this.#turn).catch(this.#setup.failed);
  }

  /** Starts at the tail where there is no going on from the cursor. */
  #begin(reason: UnrecoveredReason | undefined, at?: Position): boolean {
    const position = at ?? this.#setup.feed.tail;
    if (position === undefined) return false;
    this.#announce(position, reason);
    this.#settle();
    return true;
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
    if (reason !== undefined) verdict.reason = reason;
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

  /** Live where nothing is left to read; else reads on, now or when the link has room. */
  #settle(): void {
    if (!this.#isAtTail()) {
      this.#state = 'behind';
      this.resume();
      return;
    }
    this.#state = 'live';
    if (this.#caughtUp) return;
    this.#caughtUp = true;
    const { room, outlet } = this.#setup;
    const cursor = cursorOf(this.#position);
    outlet.write(JSON.stringify({ kind: 'room', room, caughtUp: true, cursor }));
  }

  async #read(turn: number): Promise<void> {
    const { feed, outlet } = this.#setup;
    if (!outlet.hasRoom) {
      outlet.stall(this);
      return;
    }
    const slice = await feed.journal.read(feed.room, this.#position, READ_LIMIT);
    if (turn === this.#turn) this.#goOn(slice);
    outlet.resume();
  }

  #goOn(slice: Slice): void {
    if (slice.gap !== undefined) {
      this.#begin(slice.gap, slice.tail);
      return;
    }
    this.#take(slice.events);
    if (slice.events.length > 0 || this.#isAtTail()) this.#settle();
    else this.#outrun();
  }

  /** The journal has nothing more, and yet the tail that was told is another. */
  #outrun(): void {
    const { feed, outlet } = this.#setup;
    if (feed.tail?.epoch === this.#position.epoch) {
      // The journal lags behind what it told: asked again on the next beat.
      outlet.stall(this);
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
