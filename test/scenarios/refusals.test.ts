/** What each refusal means: the tables of docs/protocol.md, row by row, against servers that refuse. */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  type ClientOptions,
  type ConnectionState,
  type Contract,
  createClient,
  type HoldfastError,
} from 'holdfast';
import { failure } from 'holdfast/server';
import { recorder, virtualClock } from 'holdfast/testing';
import { webSocket } from 'holdfast/websocket';
import { afterEach, describe, expect, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { hubHarness } from './hub.js';
import { courtesy, realServer } from './real-server.js';

/** What a client does by itself: after its backoff, at once with fresh credentials, or never. */
type Next = 'dials again' | 'asks for a fresh token' | 'closes';
type Row = readonly [number: number, code: string, category: string, next: Next];

const closes: readonly Row[] = [
  [1000, 'CONNECTION_FAILED', 'connection', 'dials again'],
  [1001, 'CONNECTION_FAILED', 'connection', 'dials again'],
  [1002, 'PROTOCOL_ERROR', 'protocol', 'dials again'],
  [1003, 'PROTOCOL_ERROR', 'protocol', 'dials again'],
  [1005, 'CONNECTION_FAILED', 'connection', 'dials again'],
  [1006, 'CONNECTION_FAILED', 'connection', 'dials again'],
  [1007, 'INVALID_PAYLOAD', 'validation', 'dials again'],
  [1008, 'UNAUTHORIZED', 'authentication', 'closes'],
  [1009, 'MESSAGE_TOO_LARGE', 'validation', 'dials again'],
  [1011, 'CONNECTION_FAILED', 'connection', 'dials again'],
  [1012, 'CONNECTION_FAILED', 'connection', 'dials again'],
  [1013, 'RATE_LIMITED', 'rate-limit', 'dials again'],
  [4401, 'TOKEN_EXPIRED', 'authentication', 'asks for a fresh token'],
  [4403, 'UNAUTHORIZED', 'authentication', 'closes'],
  [4408, 'TOO_MANY_CONNECTIONS', 'authorization', 'closes'],
  [4409, 'SUPERSEDED', 'authorization', 'closes'],
  [4429, 'RATE_LIMITED', 'rate-limit', 'dials again'],
];
/** In no table: a lost connection. */
const otherCloses: readonly Row[] = [1014, 3000, 4000, 4999].map(
  (code) => [code, 'CONNECTION_FAILED', 'connection', 'dials again'] as const,
);

const statuses: readonly Row[] = [
  [400, 'INVALID_PAYLOAD', 'validation', 'dials again'],
  [401, 'TOKEN_EXPIRED', 'authentication', 'asks for a fresh token'],
  [403, 'UNAUTHORIZED', 'authentication', 'closes'],
  [404, 'ROOM_NOT_FOUND', 'authorization', 'dials again'],
  [413, 'MESSAGE_TOO_LARGE', 'validation', 'dials again'],
  [422, 'INVALID_PAYLOAD', 'validation', 'dials again'],
  [429, 'RATE_LIMITED', 'rate-limit', 'dials again'],
  [500, 'SERVER_ERROR', 'server', 'dials again'],
];
const otherStatuses: readonly Row[] = [200, 302, 410, 431, 502, 503, 504].map(
  (status) => [status, 'CONNECTION_FAILED', 'connection', 'dials again'] as const,
);

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** The first wait, in ms of a clock that stands still. */
const BACKOFF = 500;

/** A client with real sockets, whose time moves only when the test says so. */
function dialing(url: string, options: Partial<ClientOptions<Contract>> = {}) {
  const clock = virtualClock();
  const asked: string[] = [];
  const client = createClient({
    transport: webSocket(url),
    reconnect: { initialDelay: BACKOFF, factor: 2, jitter: 'none' },
    heartbeat: false,
    auth: ({ reason }) => ({ token: `${reason} ${asked.push(reason)}` }),
    environment: { clock, report() {} },
    ...options,
  });
  cleanups.push(() => client.close());
  const seen = recorder(client);
  const connected = client.connect();
  connected.catch(() => {});
  /** The first state that shows why there is no connection. */
  async function refused(): Promise<ConnectionState> {
    await seen.until(() => client.state.error !== null);
    return client.state;
  }
  const wait = () => {
    const at = client.state.nextRetryAt;
    return at === null ? null : at.getTime() - clock.date();
  };
  return { client, clock, seen, asked, connected, refused, wait };
}

type Dialing = ReturnType<typeof dialing>;

/** Whether and when it tries again, after a first refusal that the server will not repeat. */
async function expectNext(next: Next, dialed: Dialing, attempts: () => number): Promise<void> {
  const { client, clock, seen, asked, wait } = dialed;
  if (next === 'closes') {
    expect(client.state).toMatchObject({ status: 'closed', nextRetryAt: null });
    await clock.advance(600_000);
    expect(attempts()).toBe(1);
    expect(asked).toEqual(['connect']);
    return;
  }
  if (next === 'dials again') {
    expect(client.state).toMatchObject({ status: 'reconnecting', reconnectAttempts: 1 });
    expect(wait()).toBe(BACKOFF);
    await clock.advance(BACKOFF - 1);
    expect(attempts()).toBe(1);
    await clock.advance(1);
  }
  // With a fresh token: no time passes.
  await seen.until(({ statuses: all }) => all.at(-1) === 'connected' && attempts() === 2);
  expect(asked).toEqual(['connect', next === 'dials again' ? 'connect' : 'expired']);
  await clock.advance(600_000);
  expect(attempts()).toBe(2);
}

describe('a WebSocket that is closed', () => {
  function end(socket: WebSocket, code: number): void {
    if (code === 1006) socket.terminate();
    else if (code === 1005) socket.close();
    else socket.close(code, 'because');
  }

  describe.each(['before', 'after'])('%s its welcome', (when) => {
    test.each([...closes, ...otherCloses])(
      'with %i: %s, %s, and the client %s',
      async (number, code, category, next) => {
        const server = await realServer((frame, socket) => {
          const isFirst = server.handshakes.length === 1;
          if (!isFirst || when === 'after') courtesy(frame, socket);
          if (isFirst && frame.kind === 'hello') end(socket, number);
        });
        cleanups.push(server.close);
        const dialed = dialing(server.url);
        const { error } = await dialed.refused();
        expect(error).toMatchObject({ code, category, details: { closeCode: number } });
        if (when === 'after') await dialed.connected;
        else if (next === 'closes') await expect(dialed.connected).rejects.toBe(error);
        await expectNext(next, dialed, () => server.handshakes.length);
      },
    );
  });

  test('stands in the document as it stands here', () => {
    expect(documented('close code')).toEqual(closes.map(withoutCategory));
  });
});

describe('an upgrade that is refused', () => {
  test.each([...statuses, ...otherStatuses])(
    'with HTTP %i: %s, %s, and the client %s',
    async (status, code, category, next) => {
      const server = await refusing({ status });
      const dialed = dialing(server.url);
      const { error } = await dialed.refused();
      expect(error).toMatchObject({ code, category, details: { status } });
      expect(error?.message).toContain(String(status));
      expect(error?.retryable).toBe(next !== 'closes');
      if (next === 'closes') await expect(dialed.connected).rejects.toBe(error);
      await expectNext(next, dialed, () => server.attempts);
    },
  );

  test('stands in the document as it stands here', () => {
    expect(documented('HTTP status')).toEqual(statuses.map(withoutCategory));
  });

  const date = 'Wed, 21 Oct 2026 07:28:00 GMT';
  const later = 'Wed, 21 Oct 2026 07:29:30 GMT';
  test.each<[status: number, code: string, headers: Record<string, string>, wait: number]>([
    [429, 'RATE_LIMITED', { 'retry-after': '7' }, 7_000],
    [503, 'CONNECTION_FAILED', { 'retry-after': '30' }, 30_000],
    [500, 'SERVER_ERROR', { 'retry-after': '2' }, 2_000],
    // By the server's own clock: the device's may be wrong.
    [503, 'CONNECTION_FAILED', { 'retry-after': later, date }, 90_000],
    // What asks for less than the backoff, or for nothing that can be understood.
    [429, 'RATE_LIMITED', { 'retry-after': '0' }, BACKOFF],
    [503, 'CONNECTION_FAILED', { 'retry-after': date, date: later }, BACKOFF],
    [503, 'CONNECTION_FAILED', { 'retry-after': later }, BACKOFF],
    [429, 'RATE_LIMITED', { 'retry-after': 'soon' }, BACKOFF],
    [429, 'RATE_LIMITED', { 'retry-after': '-5' }, BACKOFF],
  ])(
    'with HTTP %i is %s, and %o makes the client wait %i ms',
    async (status, code, headers, wait) => {
      const server = await refusing({ status, headers });
      const dialed = dialing(server.url);
      expect((await dialed.refused()).error).toMatchObject({ code });
      expect(dialed.wait()).toBe(wait);
      await dialed.clock.advance(wait - 1);
      expect(server.attempts).toBe(1);
      await dialed.clock.advance(1);
      await dialed.connected;
    },
  );

  test.each([
    [401, 'CONNECTION_FAILED'],
    [403, 'CONNECTION_FAILED'],
    [404, 'CONNECTION_FAILED'],
    [429, 'RATE_LIMITED'],
  ])('with HTTP %i and a page for people is %s: it closes nothing', async (status, code) => {
    const headers = { 'content-type': 'text/html; charset=utf-8' };
    const server = await refusing({ status, headers });
    const dialed = dialing(server.url);
    expect((await dialed.refused()).error).toMatchObject({ code, details: { status } });
    await expectNext('dials again', dialed, () => server.attempts);
  });

  test('with HTTP 401 for the same token twice closes', async () => {
    const server = await refusing({ status: 401, times: 2 });
    const dialed = dialing(server.url, { auth: () => ({ token: 'the only one' }) });
    await expect(dialed.connected).rejects.toMatchObject({ code: 'TOKEN_EXPIRED' });
    expect(dialed.client.state.status).toBe('closed');
    expect(server.attempts).toBe(2);
  });

  test('again and again with HTTP 401 takes fresh tokens with backoff, but for the first', async () => {
    const server = await refusing({ status: 401, times: 3 });
    const { client, clock, seen, asked, wait } = dialing(server.url);
    const waits: (number | null)[] = [];
    for (const attempts of [2, 3]) {
      await seen.until(() => server.attempts === attempts && client.state.nextRetryAt !== null);
      waits.push(wait());
      await clock.advance(wait() ?? 0);
    }
    await seen.until(() => client.state.status === 'connected');
    expect(waits).toEqual([BACKOFF * 2, BACKOFF * 4]);
    expect(asked).toEqual(['connect', 'expired', 'expired', 'expired']);
    expect(server.attempts).toBe(4);
  });
});

describe('shouldReconnect', () => {
  const word = (overrule: ReturnType<NonNullable<ClientOptions<Contract>['shouldReconnect']>>) => {
    const heard: HoldfastError[] = [];
    const shouldReconnect = (error: HoldfastError) => {
      heard.push(error);
      return overrule;
    };
    return { heard, shouldReconnect };
  };

  test.each([
    [403, true, BACKOFF],
    [403, { delay: 42_000 }, 42_000],
    [503, { delay: 5 }, 5],
    [429, { delay: 5 }, 5],
  ])('overrules HTTP %i with %o: the client waits %i ms', async (status, overrule, wait) => {
    const { heard, shouldReconnect } = word(overrule);
    const server = await refusing({ status, headers: { 'retry-after': '60' } });
    const dialed = dialing(server.url, { shouldReconnect });
    await dialed.refused();
    expect(heard).toMatchObject([{ details: { status } }]);
    // Without a delay of its own the server's word counts.
    const expected = overrule === true ? 60_000 : wait;
    expect(dialed.wait()).toBe(expected);
    await dialed.clock.advance(expected);
    await dialed.connected;
  });

  test.each([503, 429, 500, 401])(
    'overrules HTTP %i with false: the client closes',
    async (status) => {
      const { shouldReconnect } = word(false);
      const server = await refusing({ status });
      const dialed = dialing(server.url, { shouldReconnect });
      await expect(dialed.connected).rejects.toMatchObject({ details: { status } });
      await expectNext('closes', dialed, () => server.attempts);
    },
  );

  test.each([
    [4403, true, 'dials again'],
    [4409, true, 'dials again'],
    [1006, false, 'closes'],
    [4401, false, 'closes'],
    [4403, undefined, 'closes'],
    [1006, undefined, 'dials again'],
  ] as const)('of a close with %i answers %s: the client %s', async (number, overrule, next) => {
    const { heard, shouldReconnect } = word(overrule);
    const server = await realServer((frame, socket) => {
      if (server.handshakes.length > 1) courtesy(frame, socket);
      else if (number === 1006) socket.terminate();
      else socket.close(number);
    });
    cleanups.push(server.close);
    const dialed = dialing(server.url, { shouldReconnect });
    await dialed.refused();
    expect(heard).toMatchObject([{ details: { closeCode: number } }]);
    await expectNext(next, dialed, () => server.handshakes.length);
  });
});

describe('a request that is refused', () => {
  /** A hub whose handler fails with the given errors, one after another, and then answers. */
  async function asking(...failures: (HoldfastError | undefined)[]) {
    const runs: number[] = [];
    const h = hubHarness({
      client: { auth: ({ reason }) => ({ token: reason }) },
      hub: {
        authenticate: () => ({ user: 'ada' }),
        onError() {},
        handlers: {
          'thing:do': () => {
            const error = failures[runs.push(h.clock.now()) - 1];
            if (error !== undefined) throw error;
            return 'done';
          },
          'thing:note': () => void noted.push(h.clock.now()),
        },
      },
    });
    const noted: number[] = [];
    await h.connected();
    const from = h.clock.now();
    const settled: unknown[] = [];
    const done = h.client.request('thing:do', {}).then(
      (data) => settled.push(data),
      ({ code, category }: HoldfastError) => settled.push(`${code} ${category}`),
    );
    // Behind it in the same line: what happens to the first says when this one is written.
    h.client.request('thing:note', {}).catch(() => {});
    await h.clock.advance(200);
    return { ...h, runs, noted, settled, done, from };
  }

  test.each<[code: string, facts: Parameters<typeof failure>[2], runs: number, outcome: string]>([
    ['UNAUTHORIZED', {}, 1, 'UNAUTHORIZED authentication'],
    ['FORBIDDEN', {}, 1, 'FORBIDDEN authorization'],
    ['ROOM_NOT_FOUND', {}, 1, 'ROOM_NOT_FOUND authorization'],
    ['INVALID_PAYLOAD', {}, 1, 'INVALID_PAYLOAD validation'],
    ['UNKNOWN_TYPE', {}, 1, 'UNKNOWN_TYPE validation'],
    ['MESSAGE_TOO_LARGE', {}, 1, 'MESSAGE_TOO_LARGE validation'],
    ['SERVER_ERROR', {}, 1, 'SERVER_ERROR server'],
    ['SERVER_ERROR', { retryable: true }, 2, 'SERVER_ERROR server'],
    ['OUT_OF_STOCK', {}, 1, 'OUT_OF_STOCK application'],
    ['OUT_OF_STOCK', { retryable: true }, 2, 'OUT_OF_STOCK application'],
    ['OUTCOME_UNKNOWN', {}, 1, 'OUTCOME_UNKNOWN delivery'],
  ])('with %s %o runs %i times and ends as %s', async (code, facts, runs, outcome) => {
    const error = failure(code, 'No.', facts);
    const asked = await asking(error, error, error);
    expect(asked.settled).toEqual([outcome]);
    expect(asked.runs).toHaveLength(runs);
    // It is that request's trouble alone.
    expect(asked.client.state.status).toBe('connected');
    expect(asked.noted).toHaveLength(1);
    expect(asked.client.metrics().attempts).toBe(1);
  });

  test('with an error that says it had no effect succeeds where the second run does', async () => {
    const { settled, runs } = await asking(failure('SERVER_ERROR', 'Busy.', { retryable: true }));
    expect(settled).toEqual(['done']);
    expect(runs).toHaveLength(2);
  });

  test('with RATE_LIMITED waits retryAfter, however often, and the outbox with it', async () => {
    const slow = failure('RATE_LIMITED', 'Slowly.', { retryAfter: 3_000 });
    const { client, clock, runs, settled, frames } = await asking(slow, slow, slow);
    expect(runs).toHaveLength(1);
    const asked = clock.now();
    const late = client.request('thing:note', {});
    await clock.advance(2_000);
    expect(frames('up', 'request', asked)).toEqual([]);
    await clock.advance(10_000);
    await late;
    expect(settled).toEqual(['done']);
    const pauses = runs.slice(1).map((at, index) => at - (runs[index] ?? 0));
    // 20 ms each way.
    expect(pauses).toEqual([3_040, 3_040, 3_040]);
  });

  test('with TOKEN_EXPIRED asks for a fresh token at once, once, and is sent again', async () => {
    const { settled, runs, frames, from } = await asking(failure('TOKEN_EXPIRED', 'Too old.'));
    expect(settled).toEqual(['done']);
    expect(runs).toHaveLength(2);
    expect(frames('up', 'auth', from)).toMatchObject([{ auth: { token: 'expired' } }]);
  });

  test('by silence is of unknown outcome after its timeout, and is not sent again', async () => {
    const h = hubHarness({ hub: { handlers: { 'thing:do': () => new Promise(() => {}) } } });
    await h.connected();
    const asked = h.client.request('thing:do', {}, { timeout: 1_000 });
    const ended = expect(asked).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      category: 'delivery',
      details: { reason: 'timeout' },
    });
    await h.clock.advance(60_000);
    await ended;
    expect(h.frames('up', 'request')).toHaveLength(1);
  });
});

interface Refusing {
  readonly status: number;
  readonly headers?: Record<string, string>;
  /** Upgrades that are refused before one is accepted. @default 1 */
  readonly times?: number;
}

/** An HTTP server that refuses upgrades at first, and is a good one afterwards. */
async function refusing({ status, headers = {}, times = 1 }: Refusing) {
  const sockets = new WebSocketServer({ noServer: true });
  sockets.on('connection', (socket) => {
    socket.on('message', (text) => courtesy(JSON.parse(String(text)), socket));
  });
  let attempts = 0;
  const server = createServer().on('upgrade', (request, socket, head) => {
    if (++attempts <= times) refuse(socket, { status, headers });
    else accept(sockets, { request, socket, head });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  cleanups.push(() => {
    for (const socket of sockets.clients) socket.terminate();
    server.close();
  });
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get attempts() {
      return attempts;
    },
  };
}

function refuse(socket: Duplex, { status, headers }: Required<Omit<Refusing, 'times'>>): void {
  const lines = Object.entries({ connection: 'close', 'content-length': '2', ...headers });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.on('error', () => {}).end(`HTTP/1.1 ${status} No\r\n${head}\r\nNo`);
}

function accept(
  sockets: WebSocketServer,
  { request, socket, head }: { request: IncomingMessage; socket: Duplex; head: Buffer },
): void {
  sockets.handleUpgrade(request, socket, head, (webSocket) => {
    sockets.emit('connection', webSocket, request);
  });
}

function withoutCategory([number, code, , next]: Row) {
  return [number, code, next];
}

/** A table of the document: number, code, and the first words of what the client does. */
function documented(heading: string) {
  const text = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');
  const [, ...rest] = text.split(`\n| ${heading} | code | what the client does |\n`);
  const lines = (rest[0] ?? '').split('\n');
  const rows = lines.slice(1, lines.indexOf(''));
  return rows.map((row) => {
    const [number, code, next = ''] = row
      .split('|')
      .slice(1)
      .map((cell) => cell.trim());
    return [Number(number), code?.replaceAll('`', ''), /^[^,]+?(?=,|:|$)/.exec(next)?.[0]];
  });
}
