/** The room's server: a hub on a port of its own that can be stopped and started while all go on. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHub, type Hub, type MemoryJournal, memoryJournal } from 'holdfast/server';
import { Server as SocketIo } from 'socket.io';
import * as z from 'zod';
import { contract, LOBBY, type Said } from './contract.ts';
import { remark } from './keeper.ts';
import type { Tokens, User } from './tokens.ts';

/** What a client fetches after a gap: everything up to `eventId`. */
export interface Snapshot {
  readonly eventId: string;
  /** The last number of the feed. */
  readonly number: number;
  /** The last number that each sender has said. */
  readonly numbers: Readonly<Record<string, number>>;
  /** The newest messages, oldest first. */
  readonly messages: readonly SaidAt[];
}

export interface SaidAt extends Said {
  /** Unix milliseconds. */
  readonly at: number;
}

interface Running {
  readonly hub: Hub<typeof contract, User>;
  readonly http: Server;
  readonly io: SocketIo;
}

export interface RoomServerOptions {
  readonly tokens: Tokens;
  /** Whether the lighthouse keeper says something now and then. @default true */
  readonly keeper?: boolean;
}

/** Milliseconds between two numbers of the feed. */
const FEED_PACE = 50;
/** The keeper speaks once in so many numbers. */
const KEEPER_PACE = 160;
const MESSAGES_KEPT = 50;

export class RoomServer {
  /** How often each request has run, by its id. */
  readonly runs = new Map<string, number>();
  /** Grows each time a journal is lost, and with it what clients have missed. */
  generation = 0;
  readonly #tokens: Tokens;
  readonly #keeper: boolean;
  readonly #numbers = new Map<string, number>();
  #messages: SaidAt[] = [];
  #running: Running | undefined;
  #journal: MemoryJournal = newJournal();
  #port = 0;
  #number = 0;
  #eventId = '';
  #published = 0;
  #feed: NodeJS.Timeout | undefined;
  #ticking = false;

  constructor({ tokens, keeper = true }: RoomServerOptions) {
    this.#tokens = tokens;
    this.#keeper = keeper;
  }

  get isUp(): boolean {
    return this.#running !== undefined;
  }

  /** Where it listens, on 127.0.0.1; the same after every start. */
  get port(): number {
    return this.#port;
  }

  /** The last number of the feed that is certainly published. */
  get number(): number {
    return this.#number;
  }

  /** Events published by all its hubs. */
  get published(): number {
    return this.#published + (this.#running?.hub.metrics().eventsPublished ?? 0);
  }

  get snapshot(): Snapshot {
    return {
      eventId: this.#eventId,
      number: this.#number,
      numbers: Object.fromEntries(this.#numbers),
      messages: this.#messages,
    };
  }

  /** Starts, or starts again: with the journal it had, or with an empty one, as after a crash. */
  async start(journal: 'kept' | 'lost' = 'kept'): Promise<void> {
    if (this.#running !== undefined) return;
    if (journal === 'lost') {
      this.#journal = newJournal();
      this.generation++;
    }
    const hub = this.#createHub();
    this.#eventId = await hub.cursor(LOBBY);
    const http = createServer((request, response) => {
      if (request.url === '/realtime') void hub.handleHttp(request, response);
      else response.writeHead(404).end();
    });
    hub.attachWebSocket(http);
    // Its own default for the size of a message is below what the hub takes.
    const io = new SocketIo(http, { maxHttpBufferSize: 2 ** 21, cors: { origin: '*' } });
    hub.attachSocketIO(io);
    await new Promise<void>((done, failed) => {
      http.once('error', failed).listen(this.#port, '127.0.0.1', done);
    });
    this.#port = (http.address() as AddressInfo).port;
    this.#running = { hub, http, io };
  }

  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#running = undefined;
    await running.hub.close();
    this.#published += running.hub.metrics().eventsPublished;
    running.http.closeAllConnections();
    // It closes the HTTP server too.
    await running.io.close();
  }

  startFeed(): void {
    this.#feed ??= setInterval(() => void this.#tick(), FEED_PACE);
  }

  stopFeed(): void {
    clearInterval(this.#feed);
    this.#feed = undefined;
  }

  /** Ends every connection for good: their clients have to sign in again. */
  async signOutEverybody(): Promise<void> {
    const why = { reason: 'The server has signed you out.' };
    for (const user of this.#tokens.users) await this.#running?.hub.kick({ user }, why);
  }

  async close(): Promise<void> {
    this.stopFeed();
    await this.stop();
  }

  #createHub(): Hub<typeof contract, User> {
    return createHub({
      contract,
      credentials: z.object({ token: z.string() }),
      authenticate: ({ auth }) => this.#tokens.check(auth.token),
      handlers: {
        'message:say': ({ text, number }, { requestId, user, publish }) => {
          this.#ran(requestId);
          const said = { id: requestId, from: user.name, text, number };
          this.#keep(said);
          publish(LOBBY, 'message:said', said);
          return { id: requestId };
        },
        'echo:ask': (_payload, { requestId }) => {
          this.#ran(requestId);
          return {};
        },
      },
      journal: this.#journal,
      // Much shorter than the defaults, so that nobody waits half a minute for a dead link to show.
      heartbeat: { interval: 1_000, timeout: 500 },
      limits: { connectionsPerUser: 20 },
    });
  }

  /** One number after the other: the next one only when the journal has the last. */
  async #tick(): Promise<void> {
    const running = this.#running;
    if (running === undefined || this.#ticking) return;
    this.#ticking = true;
    const number = this.#number + 1;
    try {
      const { eventId } = await running.hub.publish(LOBBY, 'feed:ticked', { number });
      this.#number = number;
      this.#eventId = eventId;
      if (this.#keeper && number % KEEPER_PACE === 1) await this.#remark(running.hub);
    } catch {
      // The hub was closed meanwhile: the number is not published, and comes again.
    } finally {
      this.#ticking = false;
    }
  }

  async #remark(hub: Hub<typeof contract, User>): Promise<void> {
    const number = (this.#numbers.get('Keeper') ?? 0) + 1;
    const said = { id: `keeper-${number}`, from: 'Keeper', text: remark(number), number };
    await hub.publish(LOBBY, 'message:said', said);
    this.#keep(said);
  }

  #ran(requestId: string): void {
    this.runs.set(requestId, (this.runs.get(requestId) ?? 0) + 1);
  }

  /** The application's own store: it outlives the journal. */
  #keep(said: Said): void {
    this.#numbers.set(said.from, said.number);
    this.#messages = [...this.#messages.slice(1 - MESSAGES_KEPT), { ...said, at: Date.now() }];
  }
}

function newJournal(): MemoryJournal {
  return memoryJournal({ maxEvents: 10_000 });
}
