/** A client without a page: asks, listens, and keeps count of both. */
import { type Client, createClient, HoldfastError, type Transport } from 'holdfast';
import { contract, LOBBY } from './contract.ts';
import type { RoomServer } from './hub.ts';
import { Tally } from './tally.ts';
import type { Tokens } from './tokens.ts';

export interface VisitorOptions {
  readonly name: string;
  readonly transport: Transport;
  readonly server: RoomServer;
  readonly tokens: Tokens;
  /** Something has changed that somebody may be waiting for. */
  readonly changed: () => void;
}

/** The series of the feed; every sender's messages are another. */
export const FEED = '#feed';

export class Visitor {
  readonly name: string;
  readonly client: Client<typeof contract>;
  readonly tallies = new Map<string, Tally>();
  /** The numbers of its messages that were answered, and the ids of every answered request. */
  readonly answered = new Set<number>();
  readonly answeredIds: string[] = [];
  /** Requests that failed, by code. */
  readonly failed = new Map<string, number>();
  sent = 0;
  open = 0;
  gaps = 0;
  /** Gap notices although no journal had been lost since the last one. */
  gapsWithoutLoss = 0;
  /** Milliseconds, of the longest time from losing the link to having caught up. */
  slowestRecovery = 0;
  readonly #options: VisitorOptions;
  #token: string | undefined;
  #generation: number;
  #said = 0;
  #lostAt: number | undefined;

  constructor(options: VisitorOptions) {
    this.#options = options;
    this.name = options.name;
    this.#generation = options.server.generation;
    this.client = createClient({
      contract,
      transport: options.transport,
      auth: ({ reason }) => ({ token: this.#fetchToken(reason) }),
      onGap: ({ room }) => this.#heal(room),
      reconnect: { initialDelay: 100, maxDelay: 500, connectTimeout: 2_000 },
    });
    this.#listen();
  }

  /** Resolves joined and caught up. */
  async enter(): Promise<void> {
    void this.client.connect();
    await this.client.room(LOBBY).join();
  }

  /** Says something, and asks for an echo now and then. */
  speak(): void {
    const number = ++this.#said;
    const requestId = `${this.name}-${number}`;
    const payload = { text: `message ${number} of ${this.name}`, number };
    const saying = this.client.request('message:say', payload, { room: LOBBY, requestId });
    this.#follow(
      saying.then(() => {
        this.answered.add(number);
        this.answeredIds.push(requestId);
      }),
    );
    if (number % 4 === 0) this.#follow(this.client.request('echo:ask', {}));
  }

  /** Up to date with everything: connected, nothing asked is open, the feed heard to this number. */
  isSettled(number: number): boolean {
    const { status, synced } = this.client.state;
    const isCurrent = this.tally(FEED).last >= number;
    return status === 'connected' && synced && this.open === 0 && isCurrent;
  }

  tally(series: string): Tally {
    const tally = this.tallies.get(series) ?? new Tally();
    this.tallies.set(series, tally);
    return tally;
  }

  #listen(): void {
    const { changed } = this.#options;
    this.client.on('feed:ticked', ({ number }) => {
      this.tally(FEED).take(number);
      changed();
    });
    this.client.on('message:said', ({ from, number }) => this.tally(from).take(number));
    this.client.onState(({ status, synced }) => {
      if (status === 'reconnecting') this.#lostAt ??= performance.now();
      if (synced && this.#lostAt !== undefined) {
        this.slowestRecovery = Math.max(this.slowestRecovery, performance.now() - this.#lostAt);
        this.#lostAt = undefined;
      }
      changed();
    });
    // Faults are what this is about; what comes of them is counted, not printed.
    this.client.onError(() => {});
  }

  #follow(request: Promise<unknown>): void {
    this.sent++;
    this.open++;
    const done = () => {
      this.open--;
      this.#options.changed();
    };
    request.then(done, (error: unknown) => {
      const code = error instanceof HoldfastError ? error.code : String(error);
      this.failed.set(code, (this.failed.get(code) ?? 0) + 1);
      done();
    });
  }

  #fetchToken(reason: string): string {
    const { tokens, name } = this.#options;
    if (reason !== 'expired' && this.#token !== undefined) return this.#token;
    const renewed = this.#token === undefined ? undefined : tokens.renew(this.#token);
    this.#token = (renewed ?? tokens.issue(name)).token;
    return this.#token;
  }

  /** Fetches what the room has come to. Nothing is ever published to a user alone here. */
  #heal(room: string): string | undefined {
    if (room !== LOBBY) return undefined;
    const { server } = this.#options;
    this.gaps++;
    if (this.#generation === server.generation) this.gapsWithoutLoss++;
    this.#generation = server.generation;
    const { eventId, number, numbers } = server.snapshot;
    this.tally(FEED).excuse(number);
    for (const [from, last] of Object.entries(numbers)) this.tally(from).excuse(last);
    return eventId;
  }
}
