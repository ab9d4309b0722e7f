/** Polling by itself: when it asks, from where it goes on, and what ends it. */
import { afterEach, describe, expect, test } from 'vitest';
import type { Dialect, Heard } from '../../src/client/dialect.js';
import type { ClientFrame } from '../../src/protocol/frame.js';
import { type PollingOptions, polling } from '../../src/transports/polling.js';
import {
  type Asked,
  answer,
  aRoundTrip,
  dialed,
  error,
  event,
  eventually,
  expectFault,
  httpServer,
  joined,
  welcome,
} from './http-server.js';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const range = (count: number) => Array.from({ length: count }, (_, index) => index);

type Rooms = Parameters<typeof dialed>[1];

async function serving(say: (asked: Asked, before: number) => void) {
  const server = await httpServer(say);
  cleanups.push(server.close);
  return server;
}

function dial(url: string, rooms?: Rooms, options?: PollingOptions) {
  const told = dialed(polling(url, options), rooms);
  cleanups.push(() => told.link.close());
  return told;
}

/** A server that keeps what may wait, and answers the rest with the verdict on each room. */
function patiently({ response, body }: Asked): void {
  if (body?.hello === undefined) answer(response, []);
  else if (body.wait === 0) {
    const verdicts = body.hello.rooms.flatMap(
      ({ room, since = `${room}-0` }: { room: string; since?: string }) => joined(room, since),
    );
    answer(response, [welcome, ...verdicts]);
  }
}

/** The server has a poll in its hands that waits. */
async function waiting(rooms?: Rooms, options?: PollingOptions) {
  const server = await serving(patiently);
  const told = dial(server.url, rooms, options);
  await eventually(() => expect(server.asked).toHaveLength(2));
  return { server, told };
}

describe('long polling', () => {
  test('asks at once, then waits, from what has arrived', async () => {
    const server = await serving((asked, before) => {
      const { response } = asked;
      if (before === 0) answer(response, [welcome, ...joined('r', 'r1'), event('r2', 'r')]);
      if (before === 1) answer(response, [welcome, event('r3', 'r'), event('r4', 'r')]);
    });
    const told = dial(server.url, [{ room: 'r', since: 'r0' }]);
    await eventually(() => expect(server.asked).toHaveLength(3));
    expect(told.early).toEqual([]);
    expect(told.ids()).toEqual(['r2', 'r3', 'r4']);
    expect(told.kinds().filter((kind) => kind === 'welcome')).toHaveLength(1);
    expect(told.opened).toEqual([{ pings: false }]);
    expect(told.hello).toHaveBeenCalledOnce();
    expect(server.asked.map(({ body }) => body.wait)).toEqual([0, 25_000, 25_000]);
    expect(server.asked.map(({ body }) => body.hello.rooms[0].since)).toEqual(['r0', 'r2', 'r4']);
    expect(server.asked.map(({ body }) => body.hello.link)).toEqual([7, 7, 7]);
    expect(server.asked.map(({ body }) => body.hello.session)).toEqual([undefined, 's', 's']);
  });

  test('an answer without news is a sign of life', async () => {
    const server = await serving((asked, before) => {
      if (before < 2) answer(asked.response, before === 0 ? [welcome] : []);
    });
    const told = dial(server.url, [], { wait: 10 });
    await eventually(() => expect(server.asked).toHaveLength(3));
    expect(told.kinds()).toEqual(['opened', 'welcome', 'pong', 'pong']);
  });

  test.each<[string, Extract<ClientFrame, { kind: 'join' | 'leave' | 'ping' | 'auth' }>]>([
    ['a join', { kind: 'join', rooms: [{ room: 'q' }] }],
    ['a leave', { kind: 'leave', rooms: ['r'] }],
    ['a ping', { kind: 'ping' }],
    ['new credentials', { kind: 'auth', auth: 'new' }],
  ])('%s ends the wait, and is asked at once', async (_, frame) => {
    const { server, told } = await waiting([{ room: 'r' }]);
    told.link.send([frame]);
    await eventually(() => expect(server.asked).toHaveLength(4));
    expect(server.asked[1]?.isOver).toBe(true);
    expect(server.asked.map(({ body }) => body.wait)).toEqual([0, 25_000, 0, 25_000]);
    const rooms = { join: ['r', 'q'], leave: [] as string[], ping: ['r'], auth: ['r'] }[frame.kind];
    const { hello } = server.asked[2]?.body ?? {};
    expect(hello.rooms.map(({ room }: { room: string }) => room)).toEqual(rooms);
    expect(hello.auth).toBe(frame.kind === 'auth' ? 'new' : 'old');
    expect(told.kinds().includes('auth')).toBe(frame.kind === 'auth');
    expect(told.kinds().at(-1)).toBe('pong');
    expect(told.fault()).toBeUndefined();
  });

  test('what comes of a poll that was ended is not heard, and is asked for again', async () => {
    const { server, told } = await waiting([{ room: 'r' }]);
    const [, held] = server.asked;
    // Written, and not read yet, when the client turns away from it.
    if (held !== undefined) answer(held.response, [welcome, event('r1', 'r')]);
    told.link.send([{ kind: 'ping' }]);
    await eventually(() => expect(server.asked).toHaveLength(4));
    expect(told.ids()).toEqual([]);
    expect(server.asked[2]?.body.hello.rooms).toEqual([{ room: 'r', since: 'r-0' }]);
  });

  test('joins that come while the server is asked go with the next poll', async () => {
    const held: Asked[] = [];
    const server = await serving((asked, before) => {
      if (before === 1) held.push(asked);
      else patiently(asked);
    });
    const told = dial(server.url, [{ room: 'r' }], { wait: 60_000 });
    await eventually(() => expect(held).toHaveLength(1));
    told.link.send([{ kind: 'join', rooms: [{ room: 'a' }] }]);
    // Asked for, and not sent yet; then on its way.
    told.link.send([{ kind: 'join', rooms: [{ room: 'b' }] }]);
    await eventually(() => expect(server.asked.length).toBeGreaterThan(2));
    told.link.send([{ kind: 'join', rooms: [{ room: 'b' }] }]);
    const verdicts = (room: string) =>
      told.told.filter((one) => typeof one === 'object' && 'joined' in one && one.room === room);
    await eventually(() => expect(verdicts('b')).toHaveLength(2));
    expect(verdicts('a').length).toBeGreaterThanOrEqual(1);
  });

  test('a room that has not caught up is asked for, not waited for', async () => {
    const server = await serving((asked, before) => {
      const [verdict, caughtUp] = joined('slow', 'c');
      const frames = [[welcome], [welcome, verdict], [welcome, verdict, caughtUp]][before];
      if (frames !== undefined) answer(asked.response, frames as never);
    });
    const told = dial(server.url, [{ room: 'slow' }], { wait: 10 });
    await eventually(() => expect(server.asked).toHaveLength(4));
    expect(server.asked.map(({ body }) => body.wait)).toEqual([0, 0, 0, 10]);
    expect(told.kinds().filter((kind) => kind === 'room')).toHaveLength(3);
  });

  test('an empty answer that comes at once is not followed at once', async () => {
    const at: number[] = [];
    const server = await serving(({ response, body }, before) => {
      at.push(performance.now());
      if (before < 3) answer(response, body.wait === 0 ? [welcome, ...joined('@me', 'm')] : []);
    });
    dial(server.url, [], { wait: 300 });
    await eventually(() => expect(server.asked).toHaveLength(4));
    const [, first = 0, second = 0, third = 0] = at;
    expect(second - first).toBeGreaterThan(250);
    expect(third - second).toBeGreaterThan(250);
  });

  test('a server that has news at once, always, is asked ten times a second', async () => {
    const server = await serving(({ response }, before) => {
      answer(response, [welcome, event(`e${before}`)]);
    });
    const told = dial(server.url);
    await eventually(() => expect(server.asked.length).toBeGreaterThan(15));
    const from = performance.now();
    const before = server.asked.length;
    await eventually(() => expect(server.asked.length).toBeGreaterThanOrEqual(before + 5));
    expect(performance.now() - from).toBeGreaterThan(350);
    expect(told.ids().slice(0, 15)).toEqual(range(15).map((number) => `e${number}`));
  });

  test('the client is told how long it may be silent', async () => {
    const interval = async (options: PollingOptions, terms?: object) => {
      const server = await serving(({ response, body }) => {
        if (body.wait === 0) answer(response, [{ ...welcome, ...(terms && { terms }) }]);
      });
      const told = dial(server.url, [], options);
      await eventually(() => expect(told.kinds()).toContain('welcome'));
      const said = told.told.find((one) => typeof one === 'object' && 'connectionId' in one);
      told.link.close();
      return (said as { terms?: object }).terms;
    };
    expect(await interval({})).toEqual({ heartbeat: { interval: 30_000, timeout: 5_000 } });
    const heartbeat = { interval: 60_000, timeout: 1_000 };
    const terms = { heartbeat, maxRooms: 3 };
    expect(await interval({ wait: 10_000 }, terms)).toEqual(terms);
    expect(await interval({ interval: 90_000 }, terms)).toEqual({
      maxRooms: 3,
      heartbeat: { interval: 91_000, timeout: 1_000 },
    });
  });
});

describe('plain polling', () => {
  test('asks every so often, and at once where something has changed', async () => {
    const server = await serving(patiently);
    const told = dial(server.url, [{ room: 'r' }], { interval: 5 });
    await eventually(() => expect(server.asked.length).toBeGreaterThan(4));
    expect(new Set(server.asked.map(({ body }) => body.wait))).toEqual(new Set([0]));
    told.link.close();

    const rare = dial(server.url, [], { interval: 1_000_000 });
    await eventually(() => expect(rare.kinds()).toContain('pong'));
    rare.link.send([{ kind: 'join', rooms: [{ room: 'q' }] }]);
    await eventually(() => expect(rare.kinds().filter((kind) => kind === 'room')).toHaveLength(2));
  });
});

describe('the end', () => {
  test.each([
    ['the end of the server', undefined, 'CONNECTION_FAILED'],
    ['a refusal', error('SUPERSEDED'), 'SUPERSEDED'],
  ])('%s is told once, and nobody is asked after it', async (_, said, code) => {
    const { server, told } = await waiting();
    const { response } = server.asked[1] ?? {};
    if (said === undefined) response?.destroy();
    else if (response !== undefined) answer(response, [said], 409);
    await expectFault(told, { code: code });
    told.link.send([{ kind: 'ping' }]);
    await aRoundTrip(server);
    expect(told.kinds()).toEqual(['opened', 'welcome', 'pong', 'closed']);
    expect(server.asked.filter(({ body }) => body !== undefined)).toHaveLength(2);
  });

  test('close() lets go of the poll that waits, and of the pause between two', async () => {
    const { server, told } = await waiting();
    told.link.close();
    await eventually(() => expect(server.asked[1]?.isOver).toBe(true));
    expect(told.kinds()).toEqual(['opened', 'welcome', 'pong']);

    const paused = dial(server.url, [], { interval: 1 });
    await eventually(() => expect(paused.kinds()).toContain('pong'));
    paused.link.close();
    const told2 = paused.told.length;
    await aRoundTrip(server);
    await aRoundTrip(server);
    expect(paused.told).toHaveLength(told2);
    expect(process.getActiveResourcesInfo()).not.toContain('Timeout');
  });

  test('a first answer without a welcome is no server of ours', async () => {
    const server = await serving(({ response }) => answer(response, []));
    const told = dial(server.url);
    await expectFault(told, { code: 'CONNECTION_FAILED' });
    expect(told.fault()?.message).toContain('no welcome');
  });

  test('another session than before ends the link', async () => {
    const server = await serving(({ response }, before) =>
      answer(response, [
        before === 0 ? welcome : ({ ...welcome, session: 'x' } as never),
        event('e'),
      ]),
    );
    const told = dial(server.url);
    await expectFault(told, { code: 'CONNECTION_FAILED' });
    expect(told.ids()).toEqual(['e']);
  });

  test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('a wait of %d is refused', (wait) => {
    expect(() => polling('http://x', { wait })).toThrow(RangeError);
    expect(() => polling('http://x', { interval: wait })).toThrow(RangeError);
  });

  test('options that there are not, or not together, are refused', () => {
    expect(() => polling('http://x', { every: 1 } as never)).toThrow(/no option "every"/);
    expect(() => polling('http://x', { wait: 1, interval: 1 })).toThrow(TypeError);
  });
});

describe('in another language', () => {
  /** Welcomes at once, keeps what is heard, and says what a request says. */
  function ear(heard: Heard[]): Dialect {
    return {
      name: 'ear',
      subprotocols: [],
      codec: {
        name: 'ear',
        encode: () => '',
        decode: () => ({ kind: 'pong' }),
        payload: () => undefined,
      },
      begin: (hello, talk) => ({
        opened() {
          hello();
          talk.received({ kind: 'welcome', connectionId: 'ear' });
        },
        heard: (message) => void heard.push(message),
        say: (frame) => talk.send(JSON.stringify(frame)),
      }),
    };
  }

  function speaking(url: string, options: PollingOptions) {
    const heard: Heard[] = [];
    const transport = polling(url, options).speak?.(ear(heard));
    if (transport === undefined) throw new Error('it speaks nothing else');
    const again = () => {
      const told = dialed(transport);
      cleanups.push(() => told.link.close());
      return told;
    };
    return { heard, again, told: again() };
  }

  test('gets the URL every so often; what has not changed is a sign of life', async () => {
    let body = 'one';
    const server = await serving(({ response, headers, method }) => {
      expect(method).toBe('GET');
      const etag = `"${body}"`;
      if (headers['if-none-match'] === etag) response.writeHead(304).end();
      else response.writeHead(200, { etag }).end(body);
    });
    const { heard, told, again } = speaking(server.url, { interval: 5 });
    await eventually(() => expect(server.asked.length).toBeGreaterThan(3));
    expect(heard).toEqual([{ data: 'one' }]);
    expect(told.kinds().slice(0, 2)).toEqual(['opened', 'welcome']);
    expect(told.kinds().filter((kind) => kind === 'pong').length).toBeGreaterThan(1);
    body = 'two';
    await eventually(() => expect(heard).toEqual([{ data: 'one' }, { data: 'two' }]));
    told.link.close();
    // The next link knows what the last one had.
    const next = again();
    await eventually(() => expect(next.kinds()).toContain('pong'));
    expect(heard).toHaveLength(2);
  });

  test('asks again as soon as there was an answer, where the server waits', async () => {
    const held: Asked[] = [];
    const server = await serving((asked) => void held.push(asked));
    const { heard } = speaking(server.url, { wait: 500 });
    for (const text of ['a', 'b', 'c']) {
      await eventually(() => expect(held).toHaveLength(1));
      held.pop()?.response.end(text);
    }
    await eventually(() => expect(heard.map(({ data }) => data)).toEqual(['a', 'b', 'c']));
  });

  test('posts what is said, and hears the answer', async () => {
    const server = await serving(({ response, method, text }) =>
      response.end(method === 'POST' ? `got ${text}` : ''),
    );
    const { heard, told } = speaking(server.url, { interval: 1_000_000 });
    await eventually(() => expect(told.kinds()).toContain('pong'));
    told.link.send(['x', { kind: 'leave', rooms: ['r'] }, Uint8Array.of(121)]);
    await eventually(() =>
      expect(heard).toEqual([
        { data: 'got x' },
        { data: 'got {"kind":"leave","rooms":["r"]}' },
        { data: 'got y' },
      ]),
    );
    expect(told.link.bufferedAmount).toBe(0);
  });

  test.each([
    [401, 'TOKEN_EXPIRED'],
    [503, 'CONNECTION_FAILED'],
  ])('a %d ends the link', async (status, code) => {
    const server = await serving(({ response }) => response.writeHead(status).end('{}'));
    const { told } = speaking(server.url, { interval: 10 });
    await expectFault(told, { code });
    expect(told.kinds()).toEqual(['closed']);
  });
});
