/** What of a platform it touches and when, and platforms that lack most of what it could use. */
import { createContext, runInContext } from 'node:vm';
import { beforeAll, describe, expect, test } from 'vitest';
import { bundle } from '../scenarios/bundle.js';

let script: string;

beforeAll(async () => {
  script = await bundle(
    'browser',
    "export { ReconnectingWebSocket } from './src/drop-in/reconnecting-web-socket.ts';",
  );
});

/** All that it cannot do without, and a socket that the context moves by hand. */
const stage = `
  var timers = [];
  var setTimeout = (run, ms) => timers.push(run);
  var clearTimeout = (id) => { timers[id - 1] = () => {}; };
  var made = [];
  class Hand {
    constructor() { this.readyState = 0; this.bufferedAmount = 0; made.push(this); }
    send() {}
    close() { this.readyState = 3; }
  }
  var told = [];
  var hear = (event) => told.push(event);`;

/** A life with every kind of event. */
const life = `
  var socket = new script.ReconnectingWebSocket('ws://x', null, { WebSocket: Hand, minUptime: 1 });
  for (const type of ['open', 'message', 'error', 'close']) socket.addEventListener(type, hear);
  socket.send('äb');
  (async () => {
    for (let n = 0; n < 9; n++) await null;
    const [first] = made;
    first.readyState = 1;
    first.onopen({});
    first.onmessage({ data: 'text' });
    first.onerror({ message: 'cut' });
    first.onclose({ code: 1006, reason: '' });
    let refused;
    try { socket.close(1); } catch (error) { refused = error.name; }
    socket.close();
    for (const run of [...timers]) run();
    return JSON.stringify([
      refused,
      socket.readyState,
      told.map(({ type, data, message, error, code, wasClean, target }) =>
        [type, data ?? message ?? code, error?.message ?? wasClean, target === socket]),
    ]);
  })()`;

const lived = [
  'InvalidAccessError',
  3,
  [
    ['open', null, null, true],
    ['message', 'text', null, true],
    ['error', 'cut', 'cut', true],
    ['close', 1006, false, true],
    ['close', 1000, true, true],
  ],
];

async function live(context: object): Promise<unknown> {
  runInContext(`${script};${stage}`, context);
  return JSON.parse((await runInContext(life, context)) as string);
}

describe('a bare context', () => {
  test('E21 imports it, and constructs one that starts closed, without touching a global', () => {
    const touched: string[] = [];
    const context = createContext(Object.create(null));
    const language = new Set(
      runInContext('Object.getOwnPropertyNames(globalThis)', context) as string[],
    );
    const elsewhere = ['window', 'self', 'document', 'navigator', 'location', 'addEventListener'];
    for (const name of [...Object.getOwnPropertyNames(globalThis), ...elsewhere]) {
      if (language.has(name)) continue;
      Object.defineProperty(context, name, {
        configurable: true,
        get() {
          touched.push(name);
          return undefined;
        },
      });
    }
    runInContext(script, context);
    const construct = `new script.ReconnectingWebSocket('ws://x', null, { startClosed: true })`;
    runInContext(`var socket = ${construct}; socket.onopen = () => {}; socket.send('x');`, context);
    expect(touched).toEqual([]);
    runInContext('try { socket.reconnect(); } catch {}', context);
    expect(touched).not.toEqual([]);
  });

  test('E22 has all its events with their fields, without one class of the DOM', async () => {
    expect(await live(createContext(Object.create(null)))).toEqual(lived);
  });

  test.each([
    ['Event alone', { Event }],
    ['Event and MessageEvent', { Event, MessageEvent }],
    ['all that Node has', { Event, MessageEvent, CloseEvent: globalThis.CloseEvent, DOMException }],
    ['classes that refuse', { Event: refuse, MessageEvent: refuse, DOMException: refuse }],
  ])('E22 the same with %s', async (_name, given) => {
    expect(await live(createContext({ ...given }))).toEqual(lived);
  });
});

test('E22 a socket that refuses a binaryType, as React Native without blobs does, is used all the same', async () => {
  const context = createContext(Object.create(null));
  runInContext(`${script};${stage}`, context);
  runInContext(
    `Object.defineProperty(Hand.prototype, 'binaryType', { set() { throw new Error('no blobs'); } })`,
    context,
  );
  expect(JSON.parse((await runInContext(life, context)) as string)).toEqual(lived);
});

function refuse(): never {
  throw new TypeError('Illegal constructor');
}
