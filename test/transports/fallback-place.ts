/** A fallback over three memory networks to one hub, on one virtual clock. */
import { type Client, type ClientOptions, type Contract, createClient } from 'holdfast';
import { createHub, type Hub, type HubOptions, memoryJournal } from 'holdfast/server';
import {
  ids,
  type MemoryNetwork,
  memoryNetwork,
  type Recorder,
  recorder,
  seededDice,
  type VirtualClock,
  virtualClock,
} from 'holdfast/testing';
import type { Transport } from '../../src/client/transport.js';
import { type FallbackOptions, fallback } from '../../src/transports/fallback.js';

export interface Place {
  readonly clock: VirtualClock;
  readonly hub: Hub;
  readonly transport: Transport;
  readonly client: Client;
  readonly seen: Recorder<Client['state']>;
  readonly websocket: MemoryNetwork;
  readonly sse: MemoryNetwork;
  readonly polling: MemoryNetwork;
  /** Dials ever made: of the WebSocket, of SSE, of polling. */
  readonly dials: () => number[];
  /** Wires open or opening, of each of them. */
  readonly open: () => number[];
  /** Every hello that reached the server: which wire, which number. */
  readonly hellos: readonly { wire: string; link: number }[];
  /** One more client: over the same fallback, or over one of its own with the same store. */
  member(options?: Partial<ClientOptions<Contract>>): Client;
  /** A fallback over the same networks. */
  again(options?: FallbackOptions): Transport;
  /** From here on links of this wire live so many ms. Returns the end of that. */
  kill(network: MemoryNetwork, life: number): () => void;
  /** Another hub over the same journal takes all dials from now on. */
  succeed(): void;
  /** Connects; resolves once all that is under way has arrived. */
  connected(): Promise<void>;
}

export interface PlaceOptions {
  readonly fallback?: FallbackOptions;
  readonly hub?: Partial<HubOptions>;
  readonly client?: Partial<ClientOptions<Contract>>;
  /** Milliseconds one way. @default 20 */
  readonly latency?: number;
}

export function place(options: PlaceOptions = {}): Place {
  const clock = virtualClock();
  const random = seededDice(1);
  const clientIds = ids('client');
  const journal = memoryJournal({ clock });
  const environment = { clock, random, id: ids('server') };
  const serve = () => createHub({ environment, journal, onError() {}, ...options.hub });
  const hub = serve();
  let serving = hub;
  const hellos: { wire: string; link: number }[] = [];
  const lives = new Map<MemoryNetwork, number>();
  const networks = ['websocket', 'sse', 'polling'].map((name) => {
    const network = memoryNetwork({ clock, random, latency: options.latency ?? 20 });
    network.serve((wire) => {
      const life = lives.get(network);
      if (life !== undefined) clock.after(life, () => wire.terminate());
      return serving.accept(wire);
    });
    network.drop(({ kind, link }, direction) => {
      if (direction === 'up' && kind === 'hello') hellos.push({ wire: name, link: Number(link) });
      return false;
    });
    return { name, network, transport: network.transport({ name }) };
  });
  const again = (more: FallbackOptions = {}) =>
    fallback(
      networks.map(({ transport }) => transport),
      { clock, store: false, ...options.fallback, ...more },
    );
  const transport = again();
  const member = (more: Partial<ClientOptions<Contract>> = {}) =>
    createClient({
      transport,
      environment: { clock, random, id: clientIds, lifecycle: () => () => {}, report() {} },
      ...options.client,
      ...more,
    }) as Client;
  const client = member();
  const [websocket, sse, polling] = networks.map(({ network }) => network);
  if (websocket === undefined || sse === undefined || polling === undefined) throw new Error();
  return {
    clock,
    hub,
    transport,
    client,
    seen: recorder(client),
    websocket,
    sse,
    polling,
    dials: () => networks.map(({ network }) => network.dials),
    open: () => networks.map(({ network }) => network.links.length),
    hellos,
    member,
    again,
    kill(network, life) {
      lives.set(network, life);
      return () => lives.delete(network);
    },
    succeed() {
      serving = serve();
    },
    async connected() {
      client.connect().catch(() => {});
      await clock.advance(500);
    },
  };
}
