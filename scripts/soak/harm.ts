/** What is done to one client's connection, and how it is taken back. */
import {
  captivePortal,
  type FaultProxy,
  type ProxyAccept,
  type ProxyFaults,
} from 'holdfast/testing/node';

export interface Harm {
  readonly name: string;
  /** Milliseconds. @default it is over at once */
  readonly lasts?: number;
  begin(proxy: FaultProxy, random: () => number): void;
  end?(proxy: FaultProxy): void;
}

/** A door is shut for so long, in ms: two or three dials. */
const SHUT = 2_500;

/** What a client with an open connection can meet. */
export const harms: readonly Harm[] = [
  { name: 'RST', begin: (proxy) => proxy.reset() },
  { name: 'FIN', begin: (proxy) => proxy.end() },
  { name: 'half-open, client gone', begin: (proxy) => proxy.halfOpen('client') },
  { name: 'half-open, server gone', begin: (proxy) => proxy.halfOpen('server') },
  { name: 'lost for good', begin: (proxy) => proxy.lose() },
  {
    name: 'truncated upwards',
    begin: (proxy, random) => proxy.truncate('up', 1 + Math.floor(random() * 200)),
  },
  {
    name: 'truncated downwards',
    begin: (proxy, random) => proxy.truncate('down', 1 + Math.floor(random() * 400)),
  },
  wire('black hole', 4_500, { blackHole: 'both' }),
  wire('black hole upwards', 4_500, { blackHole: 'up' }),
  wire('black hole downwards', 4_500, { blackHole: 'down' }),
  {
    ...wire('black hole, then forgotten', 2_000, { blackHole: 'both' }),
    end: (proxy) => proxy.heal({ release: false }),
  },
  wire('delay and jitter', 6_000, { latency: 350, jitter: 300 }),
  wire('narrow', 6_000, { bandwidth: 400 }),
  wire('stopped', 1_500, { bandwidth: 0 }),
  dialed('opens and is reset', 3_000, { killAfter: 150 }),
  dialed('opens and is ended', 3_000, { endAfter: 150 }),
  door('refused', 'refuse'),
  door('ended at once', 'end'),
  door('silent', 'silent'),
  door('401', { status: 401 }),
  door('403', { status: 403 }),
  door('429', { status: 429, headers: { 'Retry-After': '1' } }),
  door('503', { status: 503, headers: { 'Retry-After': '1' } }),
  door('captive portal', captivePortal),
];

function wire(name: string, lasts: number, faults: Partial<ProxyFaults>): Harm {
  return { name, lasts, begin: (proxy) => proxy.set(faults), end: (proxy) => proxy.heal() };
}

/** Is met by the next dial, so there must be one. */
function dialed(name: string, lasts: number, faults: Partial<ProxyFaults>): Harm {
  return {
    ...wire(name, lasts, faults),
    begin(proxy) {
      proxy.set(faults);
      proxy.reset();
    },
  };
}

function door(name: string, accept: ProxyAccept): Harm {
  return dialed(name, SHUT, { accept });
}
