/** A poll: a connection that is gathered into one answer, and ends with it. */
import type { Clock } from '../lib/clock.js';
import { ME, type RoomVerdict, type RoomWish } from '../protocol/frame.js';
import { serverFrame } from '../protocol/guard.js';
import type { Wire } from '../protocol/wire.js';
import type { Exchange } from './http-exchange.js';
import type { Pollers } from './pollers.js';
import type { ServerWire, ServerWireEvents } from './wire.js';

export interface PollSetup {
  readonly clock: Clock;
  /** Milliseconds; 0: the verdict on every room is asked for, and what there is. */
  readonly wait: number;
  readonly rooms: readonly RoomWish[];
  /** Bytes of frames after which it is answered. */
  readonly enough: number;
  /** The hub's: a client that asked for an answer at once waits no longer than half of it. */
  readonly timeout: number;
  readonly clientId: string;
  readonly pollers: Pollers;
}

/** Rooms of one poll: each is joined anew every time. */
const MOST_ROOMS = 100;
/** Milliseconds: proxies cut what is silent for a minute. */
const LONGEST_WAIT = 55_000;
/** Milliseconds after the first news: what comes together should arrive together. */
const GATHER = 100;

interface Gathered {
  readonly text: string;
  /** Of a verdict, which is left out where its room has no news. */
  readonly about: string | undefined;
}

export class HttpPoll implements ServerWire {
  readonly transport = 'polling';
  readonly maxRooms = MOST_ROOMS;
  readonly request: ServerWire['request'];
  readonly #exchange: Exchange;
  readonly #setup: PollSetup;
  readonly #gathered: Gathered[] = [];
  /** Rooms that have not caught up, and were not refused. */
  readonly #behind: Set<string>;
  readonly #news = new Set<string>();
  #hasNews = false;
  #bytes = 0;
  #isWelcomed = false;
  /** The last of `error` and `goodbye`. */
  #ending: 'error' | 'goodbye' | undefined;
  #isTimeUp = false;
  #isOver = false;
  #closed: () => void = () => {};
  #cancelWait: () => void;
  #cancelGather: (() => void) | undefined;

  constructor(exchange: Exchange, setup: PollSetup) {
    const { clock, wait, rooms, timeout } = setup;
    this.request = exchange.request;
    this.#exchange = exchange;
    this.#setup = setup;
    this.#behind = new Set([ME, ...rooms.map(({ room }) => room)]);
    const longest = wait === 0 ? timeout / 2 : Math.min(wait, LONGEST_WAIT);
    this.#cancelWait = clock.after(longest, () => this.#timeUp());
  }

  /** Tells the hub from now on. */
  serve(on: ServerWireEvents): void {
    let isClosed = false;
    this.#closed = () => {
      if (!isClosed) on.closed();
      isClosed = true;
    };
    this.#exchange.onClose(() => this.#end());
  }

  get bufferedAmount(): number {
    return this.#bytes;
  }

  send(wires: readonly Wire[]): void {
    if (this.#isOver) return;
    for (const wire of wires) this.#gather(String(wire));
    this.#look();
  }

  /** The client knows when it will hear. */
  keepAlive(): void {}

  close(code: number, reason: string): void {
    if (this.#isOver) return;
    if (this.#isWelcomed) this.#answer();
    else {
      const { pollers, clientId } = this.#setup;
      // A newcomer is sent away; for one that polled before, this is how it hears.
      if (this.#ending !== 'goodbye') pollers.arrived(clientId);
      else if (pollers.isAway(clientId)) pollers.told(clientId);
      const frames = this.#gathered.map(({ text }) => text);
      this.#exchange.turnAway(frames, { code, reason });
    }
  }

  terminate(): void {
    this.#exchange.destroy();
  }

  #gather(text: string): void {
    this.#bytes += text.length;
    const frame = serverFrame(JSON.parse(text));
    const isVerdict = frame.kind === 'room';
    this.#gathered.push({ text, about: isVerdict ? frame.room : undefined });
    if (frame.kind === 'error' || frame.kind === 'goodbye') this.#ending = frame.kind;
    if (frame.kind === 'welcome') this.#welcomed();
    else if (!isVerdict) this.#hasNews = true;
    else this.#note(frame);
    if (frame.kind === 'event') this.#news.add(frame.room ?? '');
  }

  #welcomed(): void {
    this.#isWelcomed = true;
    this.#setup.pollers.arrived(this.#setup.clientId);
  }

  #note(verdict: RoomVerdict): void {
    const { room } = verdict;
    const isNews = 'joined' in verdict ? !verdict.recovered : !('caughtUp' in verdict);
    if (!('joined' in verdict)) this.#behind.delete(room);
    if (!isNews) return;
    this.#hasNews = true;
    this.#news.add(room);
  }

  #look(): void {
    if (!this.#isWelcomed) return;
    const { clock, wait, enough } = this.#setup;
    const isDone = wait === 0 && this.#behind.size === 0;
    if (isDone || this.#isTimeUp || this.#bytes >= enough) this.#answer();
    else if (wait > 0 && this.#hasNews) {
      this.#cancelGather ??= clock.after(GATHER, () => this.#answer());
    }
  }

  #timeUp(): void {
    this.#isTimeUp = true;
    this.#look();
  }

  #answer(): void {
    const { wait, pollers, clientId } = this.#setup;
    const isAsked = wait === 0;
    if (this.#ending === 'goodbye') pollers.told(clientId);
    else if (this.#ending === undefined) pollers.left(clientId);
    const told = this.#gathered.filter(
      ({ about }) => isAsked || about === undefined || this.#news.has(about),
    );
    this.#exchange.answer(told.map(({ text }) => text));
    this.#end();
  }

  #end(): void {
    this.#isOver = true;
    this.#gathered.length = 0;
    this.#cancelWait();
    this.#cancelGather?.();
    this.#closed();
  }
}
