/** A network in memory, for clients and servers in one test: fast, repeatable, and faulty on demand. */
import type { Dialect } from '../client/dialect.js';
import type { Transport } from '../client/transport.js';
import type { Clock } from '../lib/clock.js';
import { jsonCodec } from '../protocol/codec.js';
import type { Codec } from '../protocol/wire.js';
import type { WireRequest } from '../server/wire.js';
import { addRule, type Faults, type FrameTest, healthy, type Rule } from './memory-faults.js';
import { type Accept, memoryPair, type Pair } from './memory-link.js';

/** A clock; of a virtual one the part that is never throttled is used. */
export type NetworkClock = Clock & { readonly wire?: Clock };

/** What a network is made of. */
export interface MemoryNetworkOptions {
  /** All waiting goes by this clock. */
  clock: NetworkClock;
  /** All chance (jitter) comes from here: numbers in [0, 1). */
  random: () => number;
  /** Milliseconds one way, where no fault says otherwise. @default 0 */
  latency?: number;
}

/** What a dial over the memory network looks like. */
export interface MemoryTransportOptions {
  /** Shown in `client.state.transport`. @default 'memory' */
  name?: string;
  /** The clock of the client's device, where it may sleep. @default the network's */
  clock?: NetworkClock;
  /** @default JSON */
  codec?: Codec;
  /** What `authenticate` sees. @default url 'memory:/', no headers, no address */
  request?: Partial<WireRequest>;
}

/** Breaks and mends: a whole network, or one link. */
export interface FaultControls {
  /** The faults in force. */
  readonly faults: Readonly<Faults>;
  /** Changes some faults, at once, also for what is under way. A link's own win over its network's. */
  set(change: Partial<Faults>): void;
  /** Ends all faults and rules; what a black hole held is carried on. Of a link: its own only. */
  heal(): void;
  /** Both ends hear at once that the connection is lost (1006); what was under way is lost. */
  cut(): void;
  /** The server's end starts a close handshake; what it sent before arrives first. */
  close(code?: number, reason?: string): void;
  /** One end is gone: it hears 1006, the other hears nothing, ever. */
  halfOpen(gone: 'client' | 'server'): void;
  /**
   * Loses every `every`-th frame that matches, on a wire that is otherwise fine. Returns its end.
   * @param options `every`, default 1: all of them.
   */
  drop(matches: FrameTest, options?: { every?: number }): () => void;
  /** Carries every `every`-th frame that matches twice. Returns its end. */
  duplicate(matches: FrameTest, options?: { every?: number }): () => void;
}

/** One link, from its dial until both ends have closed it. */
export interface MemoryLink extends FaultControls {
  /** 1 for the first dial of the network, and so on. */
  readonly id: number;
  /** The name of the transport that dialed. */
  readonly transport: string;
  /** It has opened, and neither end is closing it. */
  readonly open: boolean;
}

export interface MemoryNetwork extends FaultControls {
  /** A transport for a client of this network. */
  transport(options?: MemoryTransportOptions): Transport;
  /**
   * Takes the dials of this network: `network.serve(hub.accept)`. Several servers take turns.
   * Returns the end of it, after which links that are open stay open; `cut()` ends those.
   */
  serve(accept: Accept): () => void;
  /** Links in the order they were dialed: those not yet open, and half-open ones, are among them. */
  readonly links: readonly MemoryLink[];
  /** Dials ever made. */
  readonly dials: number;
}

/**
 * A network whose frames travel through memory.
 *
 * ```ts
 * const clock = virtualClock();
 * const network = memoryNetwork({ clock, random: seededDice(1), latency: 20 });
 * network.serve(hub.accept);
 * const client = createClient({ transport: network.transport(), environment: { clock } });
 * network.set({ blackHole: 'both' });
 * ```
 */
export function memoryNetwork(options: MemoryNetworkOptions): MemoryNetwork {
  const clock = options.clock.wire ?? options.clock;
  const base: Faults = { ...healthy, latency: options.latency ?? healthy.latency };
  const servers: Accept[] = [];
  const links = new Set<LiveLink>();
  const rules: Rule[] = [];
  let faults = base;
  let dials = 0;
  let turn = 0;

  function transport(about: MemoryTransportOptions = {}, dialect?: Dialect): Transport {
    const { name = 'memory' } = about;
    const { codec } = dialect ?? { codec: about.codec ?? jsonCodec };
    const clientClock = about.clock?.wire ?? about.clock ?? clock;
    const request = { url: 'memory:/', headers: {}, remoteAddress: undefined, ...about.request };
    const setup = {
      transport: name,
      codec,
      dialect,
      request,
      clock,
      clientClock,
      random: options.random,
    };
    return {
      name,
      codec,
      dial(hello, on) {
        const link = liveLink({ id: ++dials, transport: name, faults: () => faults });
        links.add(link);
        link.pair = memoryPair(
          {
            ...setup,
            faults: () => link.faults,
            rules: () => (link.rules.length === 0 ? rules : [...rules, ...link.rules]),
            server: () => servers[turn++ % servers.length],
            ended: () => links.delete(link),
          },
          hello,
          on,
        );
        return link.pair.client;
      },
      speak: (other) => transport(about, other),
    };
  }

  return {
    transport: (about) => transport(about),
    serve(accept) {
      servers.push(accept);
      return () => {
        const index = servers.indexOf(accept);
        if (index >= 0) servers.splice(index, 1);
      };
    },
    get links() {
      return [...links];
    },
    get dials() {
      return dials;
    },
    get faults() {
      return faults;
    },
    set(change) {
      faults = { ...faults, ...change };
      for (const link of links) link.pair?.changed();
    },
    heal() {
      faults = base;
      rules.length = 0;
      for (const link of links) link.heal();
    },
    cut() {
      for (const link of [...links]) link.cut();
    },
    close(code, reason) {
      for (const link of [...links]) link.close(code, reason);
    },
    halfOpen(gone) {
      for (const link of [...links]) link.halfOpen(gone);
    },
    ...ruleMakers(rules),
  };
}

interface LiveLink extends MemoryLink {
  readonly rules: Rule[];
  pair: Pair | undefined;
}

function liveLink(about: { id: number; transport: string; faults: () => Faults }): LiveLink {
  const rules: Rule[] = [];
  let own: Partial<Faults> = {};
  const live: LiveLink = {
    id: about.id,
    transport: about.transport,
    rules,
    pair: undefined,
    get open() {
      return live.pair?.open ?? false;
    },
    get faults() {
      return { ...about.faults(), ...own };
    },
    set(change) {
      own = { ...own, ...change };
      live.pair?.changed();
    },
    heal() {
      own = {};
      rules.length = 0;
      live.pair?.changed();
    },
    cut() {
      live.pair?.cut();
    },
    close(code = 1000, reason = '') {
      live.pair?.close(code, reason);
    },
    halfOpen(gone) {
      live.pair?.halfOpen(gone);
    },
    ...ruleMakers(rules),
  };
  return live;
}

function ruleMakers(rules: Rule[]): Pick<FaultControls, 'drop' | 'duplicate'> {
  return {
    drop: (matches, { every = 1 } = {}) => addRule(rules, { matches, every, copies: 0 }),
    duplicate: (matches, { every = 1 } = {}) => addRule(rules, { matches, every, copies: 2 }),
  };
}
