/** One client of the soak, behind a fault proxy of its own: asks, listens, and keeps count of both. */
import { type Client, createClient, HoldfastError } from 'holdfast';
import { type FaultProxy, faultProxy } from 'holdfast/testing/node';
import { webSocket } from 'holdfast/websocket';
import { Tally } from '../../examples/chat/tally.ts';
import { contract } from './contract.ts';
import type { HubProcess } from './hub-process.ts';

export interface VisitorOptions {
  readonly name: string;
  readonly rooms: readonly string[];
  readonly hub: HubProcess;
  readonly random: () => number;
}

/** Milliseconds after which a client that was refused for good tries again, as a person would. */
const SIGN_IN = 1_000;

/** The sender of a room's feed, which is the hub itself. */
export const FEED = '#feed';

export class Visitor {
  readonly name: string;
  readonly rooms: readonly string[];
  readonly proxy: FaultProxy;
  readonly client: Client<typeof contract>;
  /** By room and sender. */
  readonly tallies = new Map<string, Tally>();
  /** How far it has counted in each room; without a room, how often it has asked for an echo. */
  readonly counted = new Map<string | undefined, number>();
  /** The requests without an answer, by room and number, and why: their code and its reason. */
  readonly failed = new Map<string, string>();
  /** Gap notices by room. */
  readonly gaps = new Map<string, number>();
  /** Why it closed, by code; it connects again. */
  readonly closed = new Map<string, number>();
  sent = 0;
  open = 0;
  /** Answers that name no process that was there. */
  wrong = 0;
  /** Events of a hub that had forgotten everything, and no gap notice before them. */
  unannounced = 0;
  /** How often it left `connected`. */
  losses = 0;
  /** Milliseconds, of the longest time from losing the link to having caught up. */
  slowestRecovery = 0;
  readonly #options: VisitorOptions;
  /** The hub's process whose events a room may hear. */
  readonly #runs = new Map<string, number>();
  #lostAt: number | undefined;
  #comingBack: NodeJS.Timeout | undefined;
  #wasConnected = false;
  #tokens = 1;
  #turn = 0;
  #left = false;

  static async create(options: VisitorOptions): Promise<Visitor> {
    const { hub, random } = options;
    return new Visitor(options, await faultProxy({ target: { port: hub.port }, random }));
  }

  private constructor(options: VisitorOptions, proxy: FaultProxy) {
    this.#options = options;
    this.name = options.name;
    this.rooms = options.rooms;
    this.proxy = proxy;
    this.client = createClient({
      contract,
      transport: webSocket(`ws://127.0.0.1:${proxy.port}/realtime`),
      auth: ({ reason }) => ({ token: this.#token(reason) }),
      onGap: ({ room, signal }) => this.#heal(room, signal),
      reconnect: { initialDelay: 200, maxDelay: 2_000, connectTimeout: 3_000 },
    });
    this.#listen();
  }

  /** Resolves joined and caught up. */
  async enter(): Promise<void> {
    void this.client.connect();
    await Promise.all(this.rooms.map((room) => this.client.room(room).join()));
  }

  /** Asks for the next thing: to be counted in a room, in the other, and for an echo. */
  ask(): void {
    const room = this.rooms[this.#turn++ % (this.rooms.length + 1)];
    const number = (this.counted.get(room) ?? 0) + 1;
    this.counted.set(room, number);
    const requestId = requestIdOf(this.name, room, number);
    this.#follow(
      room === undefined
        ? this.client.request('echo:ask', { number }, { requestId })
        : this.client.request('count:add', { number }, { room, requestId }),
      { room, number },
    );
  }

  /** Up to date: connected, nothing unanswered, and each feed heard to the number that is given. */
  isSettled(lastOf: (room: string) => number): boolean {
    const { status, synced } = this.client.state;
    const isCurrent = this.rooms.every((room) => this.tally(room, FEED).last >= lastOf(room));
    return status === 'connected' && synced && this.open === 0 && isCurrent;
  }

  tally(room: string, from: string): Tally {
    const series = seriesOf(room, from);
    const tally = this.tallies.get(series) ?? new Tally();
    this.tallies.set(series, tally);
    return tally;
  }

  async leave(): Promise<void> {
    this.#left = true;
    clearTimeout(this.#comingBack);
    this.client.close();
    await this.proxy.close();
  }

  /** Another one each time that the last was refused. */
  #token(reason: string): string {
    if (reason === 'expired') this.#tokens++;
    return `${this.name}.${this.#tokens}`;
  }

  #listen(): void {
    this.client.on('feed:ticked', ({ number, run }, { room = '' }) => {
      this.tally(room, FEED).take(number);
      this.#heardRun(room, run);
    });
    this.client.on('count:added', ({ from, number, run }, { room = '' }) => {
      this.tally(room, from).take(number);
      this.#heardRun(room, run);
    });
    this.client.onState(({ status, synced, error }) => {
      if (status === 'closed' && !this.#left) this.#comeBack(error);
      if (status !== 'connected' && this.#wasConnected) this.losses++;
      this.#wasConnected = status === 'connected';
      if (status === 'reconnecting') this.#lostAt ??= performance.now();
      if (synced && this.#lostAt !== undefined) {
        this.slowestRecovery = Math.max(this.slowestRecovery, performance.now() - this.#lostAt);
        this.#lostAt = undefined;
      }
    });
    // Faults are what this is about; what comes of them is counted, not printed.
    this.client.onError(() => {});
  }

  #follow(request: Promise<{ run: number }>, about: { room: string | undefined; number: number }) {
    this.sent++;
    this.open++;
    request
      .then(({ run }) => {
        if (run < 1 || run > this.#options.hub.run) this.wrong++;
      })
      .catch((error: unknown) => {
        this.failed.set(seriesOf(about.room ?? '', String(about.number)), codeOf(error));
      })
      .finally(() => {
        this.open--;
      });
  }

  #comeBack(error: HoldfastError | null): void {
    const code = error?.code ?? 'none';
    this.closed.set(code, (this.closed.get(code) ?? 0) + 1);
    // Once: while it waits, nothing changes.
    this.#comingBack = setTimeout(() => void this.client.connect(), SIGN_IN);
  }

  #heardRun(room: string, run: number): void {
    const known = this.#runs.get(room);
    if (known === undefined) this.#runs.set(room, run);
    else if (run > known) {
      this.unannounced++;
      this.#runs.set(room, run);
    }
  }

  /** Fetches what the room has come to. Nothing is ever published to a user alone here. */
  async #heal(room: string, signal: AbortSignal): Promise<string | undefined> {
    if (!this.rooms.includes(room)) return undefined;
    const { eventId, run, feed, counts } = await this.#options.hub.state(room, signal);
    this.gaps.set(room, (this.gaps.get(room) ?? 0) + 1);
    this.#runs.set(room, run);
    this.tally(room, FEED).excuse(feed);
    for (const [from, last] of Object.entries(counts)) this.tally(room, from).excuse(last);
    return eventId;
  }
}

export function requestIdOf(name: string, room: string | undefined, number: number): string {
  return `${name}:${room ?? 'echo'}:${number}`;
}

export function seriesOf(room: string, from: string): string {
  return `${room}/${from}`;
}

function codeOf(error: unknown): string {
  if (!(error instanceof HoldfastError)) return String(error);
  const { details } = error;
  const reason =
    typeof details === 'object' && details !== null && 'reason' in details ? details.reason : '';
  return `${error.code} ${reason}`.trimEnd();
}
