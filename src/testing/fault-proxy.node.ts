/** A TCP proxy on loopback that makes real connections slow, silent or broken. Node only. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { seededDice } from './dice.js';
import type { Direction } from './memory-faults.js';
import { type ProxyAccept, proxyDoor } from './proxy-door.node.js';
import type { LaneFaults } from './proxy-lane.node.js';
import { type ProxyConnection, type ProxyPair, proxyPair } from './proxy-pair.node.js';

/** The state of the proxy. Every fault may be changed at any time, for open connections too. */
export interface ProxyFaults {
  /** Milliseconds one way. @default 0 */
  latency: number;
  /** Up to so many milliseconds more, by chance. Bytes keep their order. @default 0 */
  jitter: number;
  /** Bytes per second, each direction of each connection; 0 stops it. @default Infinity */
  bandwidth: number;
  /** Bytes are taken in and held back: no FIN, no RST, no answer. @default 'none' */
  blackHole: Direction | 'both' | 'none';
  /** What new connections meet. @default 'pass' */
  accept: ProxyAccept;
  /**
   * New connections are reset so many milliseconds after their first answer (the upgrade) has
   * passed: a server that opens and dies again, as long as this stands. @default null
   */
  killAfter: number | null;
  /** The same with a FIN: a server that opens and closes again. @default null */
  endAfter: number | null;
  /**
   * New connections are reset when so many bytes have come down: in the middle of the upgrade's
   * answer, or of the first frame after it. @default null
   */
  cutAfter: number | null;
}

/** What the proxy has done since it was made. */
export interface ProxyCounters {
  /** New connections that were let through. */
  accepted: number;
  /** New connections that got a RST (`accept: 'refuse'`). */
  refused: number;
  /** New connections that got a FIN (`accept: 'end'`). */
  endedAtOnce: number;
  /** New connections that got nothing (`accept: 'silent'`). */
  silenced: number;
  /** Requests that got an HTTP answer in the server's place. */
  answered: number;
  resets: number;
  ends: number;
  halfOpened: number;
  /** Connections that pass nothing any more (`lose`). */
  lost: number;
  /** By `truncate` and `cutAfter`. */
  truncated: number;
  /** By `killAfter` and `endAfter`. */
  killed: number;
  bytesUp: number;
  bytesDown: number;
}

export interface ProxyTarget {
  port: number;
  /** @default '127.0.0.1' */
  host?: string;
}

export interface FaultProxyOptions {
  target: ProxyTarget;
  /** Where to listen, on loopback only. @default 0: any free port */
  port?: number;
  /** All chance (jitter) comes from here. @default seededDice(1) */
  random?: () => number;
}

export interface FaultProxy {
  /** Where clients connect to, on 127.0.0.1. */
  readonly port: number;
  readonly faults: Readonly<ProxyFaults>;
  readonly counters: Readonly<ProxyCounters>;
  /** Open connections, oldest first; those that were not let through are not among them. */
  readonly connections: readonly ProxyConnection[];
  set(change: Partial<ProxyFaults>): void;
  /**
   * Ends all faults. Held bytes are carried on; with `release: false` the connections that had some
   * stay silent for good, as behind a router that forgot them, and only new ones pass.
   */
  heal(options?: { release?: boolean }): void;
  /** New connections go there from now on: a restarted server on another port. */
  retarget(target: ProxyTarget): void;
  /** Resets every connection: both ends get a RST. */
  reset(): void;
  /** Ends every connection in order: both ends get a FIN. */
  end(): void;
  /** One end of every connection gets a RST, the other hears nothing, ever. */
  halfOpen(gone: 'client' | 'server'): void;
  /** No connection that is open passes anything any more, and nobody is told; new ones pass. */
  lose(): void;
  /** Every connection passes so many bytes more in one direction, then is reset. */
  truncate(direction: Direction, bytes: number): void;
  /** Resets what is open and stops listening. Harmless twice. */
  close(): Promise<void>;
}

/**
 * Starts a proxy between a client and a server on this machine.
 *
 * ```ts
 * const proxy = await faultProxy({ target: { port: serverPort } });
 * const client = createClient({ transport: webSocket(`ws://127.0.0.1:${proxy.port}`) });
 * proxy.set({ blackHole: 'both' });
 * proxy.heal();
 * await proxy.close();
 * ```
 * @throws Error `EADDRINUSE` where the port is taken.
 */
export async function faultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const random = options.random ?? seededDice(1);
  const pairs = new Set<ProxyPair>();
  const counters = { ...unused };
  const door = proxyDoor((how) => void counters[how]++);
  let faults = healthy;
  let target = options.target;
  let accepted = 0;

  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    if (faults.accept === 'pass') forward(client);
    else door.turnAway(client, faults.accept);
  });

  function forward(client: Socket): void {
    counters.accepted++;
    const { killAfter, endAfter, cutAfter } = faults;
    const timers: NodeJS.Timeout[] = [];
    const pair = proxyPair({
      id: ++accepted,
      client,
      upstream: connect({ host: '127.0.0.1', noDelay: true, allowHalfOpen: true, ...target }),
      random,
      faults: laneFaults,
      answered() {
        if (killAfter !== null) timers.push(setTimeout(() => kill(pair, 'reset'), killAfter));
        if (endAfter !== null) timers.push(setTimeout(() => kill(pair, 'end'), endAfter));
      },
      forwarded(direction, bytes) {
        counters[direction === 'up' ? 'bytesUp' : 'bytesDown'] += bytes;
      },
      truncated: () => void counters.truncated++,
      ended() {
        for (const timer of timers) clearTimeout(timer);
        pairs.delete(pair);
      },
    });
    pairs.add(pair);
    if (cutAfter !== null) pair.truncate('down', cutAfter);
  }

  function kill(pair: ProxyPair, how: 'reset' | 'end'): void {
    counters.killed++;
    pair[how]();
  }

  function laneFaults(direction: Direction): LaneFaults {
    return {
      latency: () => faults.latency,
      jitter: () => faults.jitter,
      bandwidth: () => faults.bandwidth,
      held: () => faults.blackHole === 'both' || faults.blackHole === direction,
    };
  }

  function counted(pair: ProxyPair): ProxyConnection {
    return {
      id: pair.id,
      reset() {
        counters.resets++;
        pair.reset();
      },
      end() {
        counters.ends++;
        pair.end();
      },
      halfOpen(gone) {
        counters.halfOpened++;
        pair.halfOpen(gone);
      },
      lose() {
        counters.lost++;
        pair.lose();
      },
      truncate: pair.truncate,
    };
  }

  function connections(): ProxyConnection[] {
    return [...pairs].map(counted);
  }

  function set(change: Partial<ProxyFaults>): void {
    faults = { ...faults, ...change };
    for (const pair of [...pairs]) pair.changed();
  }

  await new Promise<void>((done, failed) => {
    server.once('error', failed).listen(options.port ?? 0, '127.0.0.1', done);
  });
  const { port } = addressOf(server.address());
  return {
    port,
    counters,
    set,
    get faults() {
      return faults;
    },
    get connections() {
      return connections();
    },
    heal({ release = true } = {}) {
      if (!release) for (const pair of pairs) pair.loseIfHeld();
      set(healthy);
    },
    retarget(next) {
      target = next;
    },
    reset() {
      for (const one of connections()) one.reset();
    },
    end() {
      for (const one of connections()) one.end();
    },
    halfOpen(gone) {
      for (const one of connections()) one.halfOpen(gone);
    },
    lose() {
      for (const one of connections()) one.lose();
    },
    truncate(direction, bytes) {
      for (const one of connections()) one.truncate(direction, bytes);
    },
    async close() {
      if (!server.listening) return;
      for (const pair of [...pairs]) pair.reset();
      door.close();
      await new Promise((done) => server.close(done));
    },
  };
}

const healthy: Readonly<ProxyFaults> = Object.freeze({
  latency: 0,
  jitter: 0,
  bandwidth: Number.POSITIVE_INFINITY,
  blackHole: 'none',
  accept: 'pass',
  killAfter: null,
  endAfter: null,
  cutAfter: null,
});

const unused: Readonly<ProxyCounters> = Object.freeze({
  accepted: 0,
  refused: 0,
  endedAtOnce: 0,
  silenced: 0,
  answered: 0,
  resets: 0,
  ends: 0,
  halfOpened: 0,
  lost: 0,
  truncated: 0,
  killed: 0,
  bytesUp: 0,
  bytesDown: 0,
});

function addressOf(address: AddressInfo | string | null): AddressInfo {
  if (address !== null && typeof address === 'object') return address;
  throw new Error('The proxy does not listen on a port.');
}
