/** One proxied TCP connection: the client's socket, the server's, and a lane each way. */
import type { Socket } from 'node:net';
import type { Direction } from './memory-faults.js';
import { type LaneFaults, type ProxyLane, proxyLane, resetSocket } from './proxy-lane.node.js';

/** One connection through the proxy, for faults that hit it alone. */
export interface ProxyConnection {
  /** 1 for the first connection of the proxy, and so on. */
  readonly id: number;
  /** Both ends get a RST now; what is under way is lost. */
  reset(): void;
  /** Both ends get a FIN now, as from a host that shuts down in order. */
  end(): void;
  /** One end gets a RST; the other hears nothing, ever. */
  halfOpen(gone: 'client' | 'server'): void;
  /** Passes nothing any more, either way, and nobody is told: a black hole of its own. */
  lose(): void;
  /** Lets `bytes` more through in one direction, then resets: a frame breaks off in its middle. */
  truncate(direction: Direction, bytes: number): void;
}

export interface PairSetup {
  id: number;
  client: Socket;
  upstream: Socket;
  random: () => number;
  faults(direction: Direction): LaneFaults;
  /** The first bytes have gone down: a handshake has got through. */
  answered(): void;
  forwarded(direction: Direction, bytes: number): void;
  truncated(): void;
  /** Both sockets are closed. */
  ended(): void;
}

/** A connection as the proxy keeps it. */
export interface ProxyPair extends ProxyConnection {
  /** Faults have changed. */
  changed(): void;
  /** If it holds bytes back: holds them for good, and all that follow. */
  loseIfHeld(): void;
}

export function proxyPair(setup: PairSetup): ProxyPair {
  const { client, upstream } = setup;
  const gone = { client: false, upstream: false };
  const closed = { client: false, upstream: false };
  let lost = false;
  let answered = false;

  const up = lane('up', client, upstream);
  const down = lane('down', upstream, client);
  watch('client', client, { own: up, other: down });
  watch('upstream', upstream, { own: down, other: up });

  function lane(direction: Direction, from: Socket, to: Socket): ProxyLane {
    const faults = setup.faults(direction);
    return proxyLane({
      ...faults,
      held: () => lost || faults.held(),
      from,
      to,
      random: setup.random,
      forwarded(bytes) {
        setup.forwarded(direction, bytes);
        if (direction === 'up' || answered) return;
        answered = true;
        setup.answered();
      },
      truncated() {
        setup.truncated();
        reset();
      },
    });
  }

  function watch(
    side: 'client' | 'upstream',
    socket: Socket,
    lanes: { own: ProxyLane; other: ProxyLane },
  ): void {
    socket.on('end', () => leave(side, () => lanes.own.finish('end')));
    socket.on('error', () => {
      lanes.other.discard();
      leave(side, () => lanes.own.finish('reset'));
    });
    socket.on('close', () => {
      closed[side] = true;
      lanes.other.discard();
      gone[side] = true;
      if (closed.client && closed.upstream) setup.ended();
    });
  }

  function leave(side: 'client' | 'upstream', pass: () => void): void {
    gone[side] = true;
    pass();
    destroyIfAbandoned();
  }

  /** Once both sides have ended, no fault may keep their sockets. */
  function destroyIfAbandoned(): void {
    if (!lost && !isHeld()) return;
    if (gone.client && gone.upstream) destroyBoth();
    else if (gone.client) down.readOn();
    else if (gone.upstream) up.readOn();
  }

  function isHeld(): boolean {
    return setup.faults('up').held() || setup.faults('down').held();
  }

  function destroyBoth(): void {
    up.discard();
    down.discard();
    client.destroy();
    upstream.destroy();
  }

  function reset(): void {
    up.discard();
    down.discard();
    resetSocket(client);
    resetSocket(upstream);
  }

  return {
    id: setup.id,
    reset,
    end() {
      client.end();
      upstream.end();
    },
    halfOpen(side) {
      lost = true;
      const [dead, left] = side === 'client' ? [client, down] : [upstream, up];
      resetSocket(dead);
      left.discard();
    },
    truncate: (direction, bytes) => (direction === 'up' ? up : down).truncateAfter(bytes),
    changed() {
      destroyIfAbandoned();
      up.pump();
      down.pump();
    },
    lose() {
      lost = true;
      destroyIfAbandoned();
    },
    loseIfHeld() {
      if (isHeld() && up.queued + down.queued > 0) lost = true;
    },
  };
}
