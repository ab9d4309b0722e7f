/** Importing and constructing touch no global: shown in contexts that have none, or only traps. */
import { createContext, runInContext, Script } from 'node:vm';
import { beforeAll, describe, expect, test } from 'vitest';
import { bundle } from './bundle.js';

const code = `
export { createClient, defineContract, defaults, HoldfastError } from 'holdfast';
export { webSocket } from 'holdfast/websocket';
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
});
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
