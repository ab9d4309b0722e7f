/** What of a platform is looked at and when, and what may be missing: in contexts with none, traps, or holes. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createContext, runInContext, Script } from 'node:vm';
import { createHub } from 'holdfast/server';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { bundle } from './bundle.js';

const code = `
export { createClient, defineContract, defaults, HoldfastError } from 'holdfast';
export { webSocket } from 'holdfast/websocket';
export { indexedDbStorage } from 'holdfast/storage/indexed-db';
export { fallback } from 'holdfast/fallback';
export { sse } from 'holdfast/sse';
export { polling } from 'holdfast/polling';
export { messagePack } from 'holdfast/message-pack';
export { ReconnectingWebSocket } from 'holdfast/drop-in';
`;

/** An application's first lines, before it connects: everything that must be harmless in SSR. */
const construct = `
const contract = script.defineContract({ events: {} });
var client = script.createClient({
  contract,
  transport: script.webSocket('wss://chat.example.com/realtime'),
  auth: () => 'token',
  onGap: () => undefined,
  pauseWhenHidden: { afterMs: 1000 },
  outbox: { storage: script.indexedDbStorage() },
});
new script.ReconnectingWebSocket('wss://chat.example.com', [], { startClosed: true });
script.webSocket('wss://chat.example.com', { codec: script.messagePack() });
script.fallback([
  script.webSocket('wss://chat.example.com/realtime'),
  script.sse('https://chat.example.com/realtime'),
  script.polling('https://chat.example.com/realtime'),
]);
client.onError(() => {});
client.onTrace(() => {})();
client.on('a:b', () => {});
client.events('a:b').return();
const room = client.room('r');
room.on('a:b', () => {});
`;

let browser: string;
let node: string;

beforeAll(async () => {
  browser = await bundle('browser', code);
  node = await bundle('node', code);
});

/** What a language without a platform has; all other names are a platform's. */
const language = new Set(
  runInContext(
    'Object.getOwnPropertyNames(globalThis)',
    createContext(Object.create(null)),
  ) as string[],
);

/** Names of browsers, workers and React Native that this Node may not have. */
const elsewhere = [
  ...['window', 'self', 'document', 'navigator', 'location', 'localStorage', 'sessionStorage'],
  ...['indexedDB', 'WebSocket', 'EventSource', 'XMLHttpRequest', 'addEventListener'],
  ...['removeEventListener', 'requestAnimationFrame', 'requestIdleCallback', 'importScripts'],
  ...['HTMLElement', 'customElements', 'Deno', 'Bun', 'caches', 'history', 'screen'],
];

/** A context in which every global of any platform can be looked up, and is written down. */
function trapped(given: Record<string, unknown> = {}) {
  const touched: string[] = [];
  const context = createContext(Object.assign(Object.create(null), given));
  const names = new Set([...Object.getOwnPropertyNames(globalThis), ...elsewhere]);
  for (const name of names) {
    if (language.has(name) || name in given) continue;
    Object.defineProperty(context, name, {
      configurable: true,
      get() {
        touched.push(name);
        return undefined;
      },
    });
  }
  return { context, touched };
}

describe('without any global', () => {
  test('E21 a bare VM can import it and construct a client', () => {
    const context = createContext(Object.create(null));
    runInContext(browser, context);
    runInContext(construct, context);
    expect(runInContext('client.pending().length', context)).toBe(0);
  });

  test('E21 the trap works: it knows what a platform has, and says who looked', () => {
    const { context, touched } = trapped();
    runInContext('typeof setTimeout; globalThis.document; typeof WebSocket; [].map;', context);
    expect(touched).toEqual(['setTimeout', 'document', 'WebSocket']);
    runInContext('({ performance }); typeof process; "crypto" in globalThis;', context);
    expect(touched.slice(3)).toEqual(['performance', 'process']);
  });

  test('E21 nothing is looked at while it is imported and constructed', () => {
    const { context, touched } = trapped();
    runInContext(browser, context);
    expect(touched).toEqual([]);
    runInContext(construct, context);
    expect(touched).toEqual([]);
    // It does look when it is told to connect: the trap is not blind.
    runInContext('try { client.connect().catch(() => {}); } catch {}', context);
    expect(touched).not.toEqual([]);
  });

  test('E21 nor is it on a server that renders pages, `ws` itself aside', async () => {
    // `ws` and Node's own modules are other people's; they are asked for, and stand-ins given.
    const asked: string[] = [];
    const required = (name: string) => {
      asked.push(name);
      return { WebSocket: class {}, webcrypto: {}, Buffer: class {} };
    };
    const external = await bundle('node', code, ['ws']);
    expect(node.length).toBeGreaterThan(external.length);
    const { context, touched } = trapped({ module: { exports: {} }, require: required });
    new Script(external).runInContext(context);
    runInContext(`var script = module.exports; ${construct}`, context);
    expect(asked).toContain('ws');
    expect(touched).toEqual([]);
  });
});

describe('globals that change', () => {
  class Patched {
    static readonly made: Patched[] = [];
    readyState = 0;
    protocol = '';
    bufferedAmount = 0;
    readonly sent: string[] = [];
    onopen: (() => void) | null = null;
    onmessage: ((event: { data: string }) => void) | null = null;
    readonly url: string;
    readonly protocols: string[];
    constructor(url: string, protocols: string[]) {
      this.url = url;
      this.protocols = protocols;
      Patched.made.push(this);
    }
    send(wire: string) {
      this.sent.push(wire);
    }
    close() {
      this.readyState = 3;
    }
  }

  test('E21 a global WebSocket that is patched after the import is the one used', async () => {
    const { clearTimeout, console, crypto, performance, queueMicrotask, setTimeout } = globalThis;
    const given = { clearTimeout, console, crypto, performance, queueMicrotask, setTimeout };
    // A worker or React Native: no document, no navigator, no addEventListener, no localStorage.
    const context = createContext({
      ...given,
      AbortController,
      WebSocket: class {
        constructor() {
          throw new Error('The one of the import was used.');
        }
      },
    });
    runInContext(browser, context);
    runInContext(construct, context);
    context.WebSocket = Patched;
    runInContext('client.connect()', context);
    await expect.poll(() => Patched.made).toHaveLength(1);
    const [socket] = Patched.made;
    expect(socket).toMatchObject({
      url: 'wss://chat.example.com/realtime',
      binaryType: 'arraybuffer',
    });
    expect([...(socket?.protocols ?? [])]).toEqual(['holdfast.1']);
    if (socket === undefined) return;
    socket.readyState = 1;
    socket.onopen?.();
    expect(JSON.parse(socket.sent[0] ?? '')).toMatchObject({ kind: 'hello', auth: 'token' });
    socket.onmessage?.({ data: JSON.stringify({ kind: 'welcome', connectionId: 'c' }) });
    await expect.poll(() => runInContext('client.state.status', context)).toBe('connected');
    runInContext('client.close()', context);
    expect(socket.readyState).toBe(3);
  });

  test('E21 so is a patched clock: nothing is bound at import', async () => {
    const context = createContext({ queueMicrotask, crypto, AbortController, WebSocket: Patched });
    runInContext(browser, context);
    runInContext(construct, context);
    const timers: number[] = [];
    Object.assign(context, {
      performance: { now: () => 0 },
      setTimeout: (_run: () => void, ms: number) => timers.push(ms),
      clearTimeout: () => {},
    });
    runInContext('client.connect().catch(() => {})', context);
    await expect.poll(() => timers.length).toBeGreaterThan(0);
    runInContext('client.close()', context);
  });
});

/** What no client can do without: timers, a clock, a socket. React Native has little more. */
const least = {
  ...{ clearTimeout, console, performance, queueMicrotask, setTimeout },
  ...{ AbortController, WebSocket },
};

/** What browsers have beside it, and sandboxes, old web views and other runtimes may lack or deny. */
function browserLike(): Record<string, unknown> {
  const page = new EventTarget();
  return {
    crypto: globalThis.crypto,
    document: Object.assign(new EventTarget(), { hidden: false }),
    navigator: { onLine: false },
    Event,
    ...{ localStorage: {}, sessionStorage: {}, indexedDB: {}, caches: {} },
    ...{ BroadcastChannel, structuredClone, TextEncoder },
    addEventListener: page.addEventListener.bind(page),
    removeEventListener: page.removeEventListener.bind(page),
    dispatchEvent: page.dispatchEvent.bind(page),
  };
}

const names = Object.keys(browserLike());

/** Defined from within: Node takes a getter of the outside that throws for a name that is missing. */
const deny = `(name) => Object.defineProperty(globalThis, name, {
  get() { throw new Error('Access is denied for this document.'); },
})`;

/** A global object with what is least, what is given, and what may not be touched. */
function worldOf(given: Record<string, unknown>, forbidden: readonly string[] = []) {
  const world = createContext(Object.assign(Object.create(null), least, given));
  const denyTo = runInContext(deny, world) as (name: string) => void;
  for (const name of forbidden) denyTo(name);
  runInContext(browser, world);
  return world;
}

/** A hub that echoes and publishes, for a client in a world of its own. */
async function hubOnLoopback(): Promise<string> {
  const hub = createHub({ handlers: { 'n:echo': (payload) => payload } });
  const server = createServer();
  hub.attachWebSocket(server, { path: '/realtime' });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  await hub.publish('r', 'n:first', 1);
  onTestFinished(async () => {
    await hub.close();
    server.close();
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/realtime`;
}

/** Everything that a client does, once, in that world. Resolves with what came of it. */
async function live(world: object, storage = 'undefined'): Promise<unknown> {
  Object.assign(world, { url: await hubOnLoopback() });
  const errors: unknown[] = [];
  Object.assign(world, { report: ({ code }: { code: string }) => errors.push(code) });
  const answer: unknown = await runInContext(
    `(async () => {
      var client = script.createClient({
        transport: script.webSocket(url),
        auth: () => 'token',
        pauseWhenHidden: { afterMs: 60000 },
        outbox: { storage: ${storage} },
      });
      client.onError(report);
      client.onTrace(() => {});
      await client.connect();
      await client.room('r').join();
      const answer = await client.request('n:echo', { text: 'hello' });
      client.close();
      return [answer.text, client.state.status];
    })()`,
    world,
  );
  return [...(answer as unknown[]), ...errors];
}

const worked = ['hello', 'closed'];

describe('a platform with holes', () => {
  test('E22 it works where all of it is there', async () => {
    expect(await live(worldOf(browserLike()))).toEqual(worked);
  });

  test('E22 it works with nothing but timers, a clock and a socket', async () => {
    expect(await live(worldOf({}))).toEqual(worked);
  });

  test('E22 it works where everything else throws when it is touched', async () => {
    const world = worldOf({}, names);
    for (const name of names) {
      expect(() => runInContext(name, world) as unknown).toThrow('Access is denied');
    }
    expect(await live(world)).toEqual(worked);
  });

  test.each(names)('E22 it works where %s alone is missing, or throws', async (name) => {
    const { [name]: _missing, ...rest } = browserLike();
    expect(await live(worldOf(rest))).toEqual(worked);
    expect(await live(worldOf(browserLike(), [name]))).toEqual(worked);
  });

  test.each<[string, Record<string, unknown>]>([
    ['a document without events', { document: {} }],
    ['a document that is null', { document: null }],
    ['a window that refuses listeners', { addEventListener: refuse }],
    ['a window that keeps its listeners', { removeEventListener: refuse }],
    ['a crypto that makes no ids', { crypto: { getRandomValues: globalThis.crypto } }],
    ['a crypto that refuses', { crypto: { getRandomValues: refuse } }],
    ['a crypto without randomUUID', { crypto: { getRandomValues: fill } }],
  ])('E22 it works with %s', async (_name, given) => {
    expect(await live(worldOf({ ...browserLike(), ...given }))).toEqual(worked);
  });

  test.each<[string, Record<string, unknown>, string[]]>([
    ['is missing', { indexedDB: undefined }, []],
    ['throws when it is touched', {}, ['indexedDB']],
    ['refuses to open', { indexedDB: { open: refuse } }, []],
    ['has no Web Locks beside it', { navigator: {} }, []],
    ['cannot ask for them', {}, ['navigator']],
    ['may not take them', { navigator: { locks: { request: refuse } } }, []],
  ])(
    'E22 where IndexedDB %s, a storage is reported once and done without',
    async (_name, given, forbidden) => {
      const locks = {
        request: (_lock: string, _options: object, run: (lock: object) => unknown) =>
          Promise.resolve(run({})),
      };
      const world = worldOf({ ...browserLike(), navigator: { locks }, ...given }, forbidden);
      const outcome = await live(world, 'script.indexedDbStorage()');
      expect(outcome).toEqual([...worked, 'STORAGE_FAILED']);
    },
  );

  test('E22 without crypto the ids still differ, in one client and between clients', () => {
    const ids = Array.from({ length: 5 }, () => {
      const world = worldOf({}, ['crypto']);
      runInContext(
        `var client = script.createClient({ transport: script.webSocket('wss://x') });`,
        world,
      );
      const asked = `for (let n = 0; n < 1000; n++) client.request('a:b', n).catch(() => {});
        client.pending().map(({ requestId }) => requestId)`;
      return [...(runInContext(asked, world) as string[])];
    }).flat();
    expect(new Set(ids).size).toBe(5_000);
    expect(ids.filter((id) => !/^[\w-]{21}$/.test(id))).toEqual([]);
  });

  test('E22 with the document denied the network is still listened to, and let go of', async () => {
    const given = browserLike();
    const world = worldOf(given, ['document']);
    const facts: string[] = [];
    const hear = (fact: string) => facts.push(fact);
    Object.assign(world, { url: await hubOnLoopback(), hear });
    await runInContext(
      `var client = script.createClient({ transport: script.webSocket(url) });
      client.onTrace(({ fact }) => hear(fact.fact));
      client.connect()`,
      world,
    );
    for (const type of ['offline', 'online']) {
      (given.dispatchEvent as EventTarget['dispatchEvent'])(new Event(type));
    }
    expect(facts).toEqual(expect.arrayContaining(['wentOffline', 'woke']));
    runInContext('client.close()', world);
    await expect.poll(() => runInContext('client.state.status', world)).toBe('closed');
    const heard = facts.length;
    (given.dispatchEvent as EventTarget['dispatchEvent'])(new Event('online'));
    expect(facts).toHaveLength(heard);
  });
});

function refuse(): never {
  throw new DOMException('The operation is insecure.', 'SecurityError');
}

function fill(bytes: Uint8Array<ArrayBuffer>): Uint8Array {
  return globalThis.crypto.getRandomValues(bytes);
}
