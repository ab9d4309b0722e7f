/** What the promises of transports are played with: hubs over one journal, clients, and waiting. */
import { type Client, createClient } from '../../client/client.js';
import type { ClientOptions } from '../../client/options.js';
import type { Link } from '../../client/transport.js';
import { type Deferred, deferred } from '../../lib/deferred.js';
import type { ConnectionState } from '../../machine/status.js';
import type { AnyContract } from '../../protocol/contract.js';
import type { HoldfastError } from '../../protocol/errors.js';
import type { Garbled, Hello, ServerFrame } from '../../protocol/frame.js';
import type { Hub } from '../../server/hub.js';
import type { Journal } from '../../server/journal.js';
import type { HubOptions } from '../../server/options.js';
import { ids, seededDice } from '../dice.js';
import { type Recorder, recorder } from '../recorder.js';
import { numbers, ROOM, range } from './numbers.js';
import type { StageNetwork, TransportStage } from './stage.js';
import { same } from './verdict.js';
import { Waiting } from './waiting.js';
import { type Watched, watched } from './watched.js';

/** What comes later than this after an end would not have come. */
const AFTERMATH = 200;

/** A client, and what it saw. */
export interface Player {
  readonly client: Client;
  readonly seen: Recorder<ConnectionState>;
  readonly watch: Watched;
}

/** A link without a client. */
export interface RawLink {
  readonly link: Link;
  readonly watch: Watched;
  readonly opened: number;
  readonly frames: readonly (ServerFrame | Garbled)[];
  readonly faults: readonly HoldfastError[];
}

/** What `authenticate` of the scene's hubs does. */
type Admit = (auth: unknown) => { user: string; expiresIn?: number };

export class Scene extends Waiting {
  readonly #stage: TransportStage;
  readonly #journal: Journal;
  readonly #dice = seededDice(1);
  readonly #id = ids('server');
  readonly #watches: Watched[] = [];
  readonly #players: Player[] = [];
  readonly #raws: RawLink[] = [];
  readonly #hubs = new Map<Hub, () => Promise<void>>();
  /** Decides who comes in. */
  admit: Admit = () => ({ user: 'ann' });
  /** What clients have presented, one for each hello and renewal that reached a hub. */
  readonly presented: unknown[] = [];
  /** The payloads that `echo:say` and `echo:wait` ran with, and those of messages, in order. */
  readonly runs: unknown[] = [];
  readonly messages: unknown[] = [];
  /** What `echo:wait` waits for. */
  gate: Deferred<void> = deferred();

  constructor(stage: TransportStage) {
    super(stage.clock);
    this.#stage = stage;
    this.#journal = stage.server.memoryJournal({ clock: this.clock });
  }

  get network(): StageNetwork {
    return this.#stage.network;
  }

  get failure() {
    return this.#stage.server.failure;
  }

  /** One more hub on the journal of the scene; new connections reach it. */
  async serve(options: Partial<HubOptions> = {}): Promise<Hub> {
    const { clock } = this.#stage;
    const hub: Hub = this.#stage.server.createHub({
      journal: this.#journal,
      authenticate: ({ auth }: { auth: unknown }) => {
        this.presented.push(auth);
        return this.admit(auth);
      },
      handlers: {
        'echo:say': (payload: unknown) => this.#ran(payload),
        'echo:wait': async (payload: unknown) => {
          const { promise } = this.gate;
          this.#ran(payload);
          await promise;
          return payload;
        },
      },
      onMessage: { 'note:sent': (payload: unknown) => void this.messages.push(payload) },
      onError() {},
      ...(clock === undefined
        ? {}
        : { environment: { clock, random: this.#dice, id: () => this.#id() } }),
      ...options,
      limits: { messagesPerSecond: 1_000, ...options.limits },
    });
    const end = await this.#stage.serve(hub);
    this.#hubs.set(hub, async () => {
      this.#hubs.delete(hub);
      await this.get(hub.close(), 'the hub closes');
      await end();
    });
    return hub;
  }

  /** A hub that dies: what is open ends, and nobody answers there. */
  async stop(hub: Hub): Promise<void> {
    await this.#hubs.get(hub)?.();
  }

  client(options: Partial<ClientOptions<AnyContract>> = {}): Player {
    const watch = this.#watch();
    const { clock } = this.#stage;
    const seen = recorder<ConnectionState>();
    const client = createClient<AnyContract>({
      transport: watch.transport,
      reconnect: { initialDelay: 100, maxDelay: 300, jitter: 'none', connectTimeout: 5_000 },
      limits: { messagesPerSecond: 1_000 },
      onGap: ({ room, reason, cursor }) =>
        seen.onGap({ room, reason, cursor: cursor ?? undefined }),
      ...options,
      environment: {
        random: this.#dice,
        lifecycle: () => () => {},
        ...(clock === undefined ? {} : { clock }),
      },
    });
    seen.watch(client);
    const player = { client, seen, watch };
    this.#players.push(player);
    return player;
  }

  /** A client that is connected, and in the room. */
  async member(options: Partial<ClientOptions<AnyContract>> = {}): Promise<Player> {
    const player = this.client(options);
    await this.get(player.client.connect(), 'it connects');
    await this.get(player.client.room(ROOM).join(), 'it joins a room');
    return player;
  }

  /** Dials without a client: nobody is there to correct what the transport does. */
  dial(hello: Partial<Hello> = {}): RawLink {
    const watch = this.#watch();
    const { link: first = 1, clientId = `raw-${this.#watches.length}` } = hello;
    const faults: HoldfastError[] = [];
    let hellos = 0;
    let opened = 0;
    const link = watch.transport.dial(
      () => ({ kind: 'hello', protocol: 1, rooms: [], ...hello, clientId, link: first + hellos++ }),
      {
        opened: () => void opened++,
        received() {},
        closed: (fault) => void faults.push(fault),
      },
    );
    const raw: RawLink = {
      link,
      watch,
      frames: watch.frames,
      faults,
      get opened() {
        return opened;
      },
    };
    this.#raws.push(raw);
    return raw;
  }

  /** The same, welcomed. */
  async welcomed(hello: Partial<Hello> = {}): Promise<RawLink> {
    const raw = this.dial(hello);
    await this.until('it is welcomed', () => raw.frames.some(({ kind }) => kind === 'welcome'));
    return raw;
  }

  /** The client loses its link, hears of it, and is back. */
  async lose({ client }: Player): Promise<void> {
    // A wire may have no connection open just now: the next one fails as well.
    this.network.refuse();
    this.network.cut();
    await this.until('a cut is told', () => client.state.status === 'reconnecting');
    this.network.heal();
    await this.until('it is back', () => client.state.status === 'connected');
  }

  /** Publishes these numbers in a room, in order. */
  async publish(hub: Hub, from: number, to: number, room = ROOM): Promise<void> {
    const all = range(from, to).map((number) => hub.publish(room, 'feed:ticked', { number }));
    await this.get(Promise.all(all), 'the hub publishes');
  }

  /** It hears these numbers, all of them, each once and in order, and of no gap. */
  async hears(player: Player, last: number, room = ROOM): Promise<void> {
    const what = `it hears of events up to ${last} in "${room}"`;
    await this.until(what, () => (numbers(player, room).at(-1) ?? 0) >= last);
    same(numbers(player, room), range(1, last), `the events of "${room}"`);
    same(player.seen.gaps, [], 'gaps');
  }

  /** What is left over of what was begun since, by name. */
  resources(): () => readonly string[] {
    const { clock, resources = () => [] } = this.#stage;
    const all = () =>
      clock === undefined ? resources() : Array.from({ length: clock.pending }, () => 'timer');
    const before = all();
    return () => {
      const missing = [...before];
      return all().filter((name) => {
        const index = missing.indexOf(name);
        if (index >= 0) missing.splice(index, 1);
        return index < 0;
      });
    };
  }

  /** Everybody leaves; harmless twice. */
  async leave(): Promise<void> {
    this.gate.resolve();
    for (const { client } of this.#players) client.close();
    for (const { link } of this.#raws) link.close();
    for (const end of [...this.#hubs.values()]) await end();
  }

  /** The end of every scene: the watches have something to say as well. */
  async end(): Promise<void> {
    try {
      await this.leave();
      await this.wait(AFTERMATH);
      for (const { breaches } of this.#watches) same(breaches, [], 'rules of the port, broken');
    } finally {
      await this.#stage.end();
    }
  }

  /** Ends it all without a look: it has failed already. */
  async abandon(): Promise<void> {
    await this.leave().catch(() => {});
    await this.#stage.end();
  }

  #watch(): Watched {
    const watch = watched(this.#stage.transport());
    this.#watches.push(watch);
    return watch;
  }

  #ran(payload: unknown): unknown {
    this.runs.push(payload);
    return payload;
  }
}
