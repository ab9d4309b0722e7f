/** Does harm, and takes it back: through the fault proxy, the server and its tokens. */
import type { FaultProxy } from 'holdfast/testing/node';
import { type HarmName, harmKinds } from './harm-list.ts';
import type { RoomServer } from './hub.ts';
import type { Tokens } from './tokens.ts';

/** One in front of WebSockets, one in front of all other wires. */
export interface Proxies {
  readonly sockets: FaultProxy;
  readonly others: FaultProxy;
}

/** What can be harmed. */
export interface Scene {
  readonly proxies: Proxies;
  readonly server: RoomServer;
  readonly tokens: Tokens;
}

export interface ActiveHarm {
  readonly name: HarmName;
  /** Milliseconds until it heals by itself; null: it does not. */
  readonly endsIn: number | null;
}

interface Deed {
  begin(scene: Scene): void | Promise<void>;
  end?(scene: Scene): void | Promise<void>;
}

/** How long a connection lives in the open-then-close loop, in ms after its first answer. */
const FLAP_LIFE = 300;

const deeds: Readonly<Record<HarmName, Deed>> = {
  cut: { begin: ({ proxies }) => each(proxies, (proxy) => proxy.reset()) },
  silence: silence('both'),
  'silence-up': silence('up'),
  'silence-down': silence('down'),
  'restart-kept': restart('kept'),
  'restart-lost': restart('lost'),
  delay: {
    begin: ({ proxies }) => each(proxies, (proxy) => proxy.set({ latency: 500 })),
    end: ({ proxies }) => each(proxies, (proxy) => proxy.set({ latency: 0 })),
  },
  flap: {
    begin: ({ proxies }) =>
      each(proxies, (proxy) => {
        proxy.set({ killAfter: FLAP_LIFE });
        proxy.reset();
      }),
    end: ({ proxies }) => each(proxies, (proxy) => proxy.set({ killAfter: null })),
  },
  'block-sockets': {
    begin({ proxies }) {
      proxies.sockets.set({ accept: 'refuse' });
      proxies.sockets.reset();
    },
    end: ({ proxies }) => proxies.sockets.set({ accept: 'pass' }),
  },
  'token-expired': {
    begin({ proxies, tokens }) {
      tokens.expire();
      each(proxies, (proxy) => proxy.reset());
    },
  },
  'token-refused': {
    begin({ server, tokens }) {
      tokens.refuse();
      return server.signOutEverybody();
    },
    end: ({ tokens }) => tokens.allow(),
  },
};

function each({ sockets, others }: Proxies, deed: (proxy: FaultProxy) => void): void {
  deed(sockets);
  deed(others);
}

function silence(blackHole: 'both' | 'up' | 'down'): Deed {
  return {
    begin: ({ proxies }) => each(proxies, (proxy) => proxy.set({ blackHole })),
    end: ({ proxies }) => each(proxies, (proxy) => proxy.set({ blackHole: 'none' })),
  };
}

function restart(journal: 'kept' | 'lost'): Deed {
  return {
    begin: ({ server }) => server.stop(),
    end: ({ server }) => server.start(journal),
  };
}

interface Running {
  readonly endsAt: number | null;
  readonly timer: NodeJS.Timeout | undefined;
}

export class Harms {
  readonly #scene: Scene;
  readonly #failed: (error: unknown) => void;
  readonly #active = new Map<HarmName, Running>();
  /** A server that is stopping must have stopped before it can start. */
  #work: Promise<void> = Promise.resolve();

  /** @param failed hears of harm that could not be done or taken back */
  constructor(scene: Scene, failed: (error: unknown) => void) {
    this.#scene = scene;
    this.#failed = failed;
  }

  get active(): ActiveHarm[] {
    const now = performance.now();
    return [...this.#active].map(([name, { endsAt }]) => ({
      name,
      endsIn: endsAt === null ? null : Math.max(0, Math.round(endsAt - now)),
    }));
  }

  /** @param lasts milliseconds @default as the list says */
  begin(name: HarmName, lasts = harmKinds[name].lasts): Promise<void> {
    const { group } = harmKinds[name];
    for (const other of this.#active.keys()) {
      if (harmKinds[other].group === group) void this.end(other);
    }
    if (lasts !== 0) {
      const timer = lasts === null ? undefined : setTimeout(() => void this.end(name), lasts);
      const endsAt = lasts === null ? null : performance.now() + lasts;
      this.#active.set(name, { endsAt, timer });
    }
    return this.#then(() => deeds[name].begin(this.#scene));
  }

  end(name: HarmName): Promise<void> {
    const running = this.#active.get(name);
    if (running === undefined) return this.#work;
    clearTimeout(running.timer);
    this.#active.delete(name);
    return this.#then(() => deeds[name].end?.(this.#scene));
  }

  /** Takes everything back. Resolves when the server is up and the wire is clean. */
  heal(): Promise<void> {
    for (const name of [...this.#active.keys()]) void this.end(name);
    return this.#work;
  }

  #then(deed: () => void | Promise<void>): Promise<void> {
    this.#work = this.#work.then(deed).catch(this.#failed);
    return this.#work;
  }
}
