/** Server-sent events by themselves: the rules of the port, over real HTTP servers that say what they like. */
import { afterEach, describe, expect, test } from 'vitest';
import type { Dialect } from '../../src/client/dialect.js';
import type { HoldfastError } from '../../src/protocol/errors.js';
import { type SseOptions, sse } from '../../src/transports/sse.js';
import {
  type Asked,
  answer,
  aRoundTrip,
  dialed,
  error,
  event,
  eventually,
  expectFault,
  type HttpServer,
  httpServer,
  joined,
  stream,
  welcome,
} from './http-server.js';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Dial = ReturnType<typeof dialed>;

async function serving(say: (asked: Asked, before: number) => void): Promise<HttpServer> {
  const server = await httpServer(say);
  cleanups.push(server.close);
  return server;
}

function dial(url: string, rooms: Parameters<typeof dialed>[1] = [], options?: SseOptions): Dial {
  const told = dialed(sse(url, options), rooms);
  cleanups.push(() => told.link.close());
  return told;
}

/** A server whose every stream begins with a welcome and is kept. */
async function welcoming(rooms: Parameters<typeof dialed>[1] = [], options?: SseOptions) {
  const server = await serving(({ response, body, headers }) => {
    if (headers.accept === 'text/event-stream') stream(response, welcome);
    else answer(response, body === undefined ? [] : [{ kind: 'pong' }]);
  });
  const told = dial(server.url, rooms, options);
  await eventually(() => expect(told.kinds()).toEqual(['opened', 'welcome']));
  return { server, told };
}

/** The streams that were asked for. */
const streams = ({ asked }: HttpServer) =>
  asked.filter(({ headers }) => headers.accept === 'text/event-stream');

const request = (requestId: string, room?: string) =>
  JSON.stringify({ kind: 'request', requestId, type: 'a:b', timestamp: 1, room });

test('the URL of a WebSocket is refused at once: fetch would refuse it for ever', () => {
  expect(() => sse('ws://localhost/realtime')).toThrow(/http: or https:/);
});

describe('opening', () => {
  test('posts one hello, with the rooms of the moment, and tells what comes', async () => {
    const server = await serving(({ response }) => stream(response, welcome, event('e1')));
    const told = dial(server.url, [{ room: 'r', since: 'x' }, { room: 'q' }]);
    expect(told.hello).not.toHaveBeenCalled();
    await eventually(() => expect(told.kinds()).toEqual(['opened', 'welcome', 'event']));
    expect(told.early).toEqual([]);
    expect(told.opened).toEqual([{ pings: false }]);
    expect(told.hello).toHaveBeenCalledOnce();
    const [asked] = server.asked;
    expect(asked).toMatchObject({
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
      body: {
        kind: 'hello',
        protocol: 1,
        clientId: 'c',
        link: 7,
        auth: 'old',
        rooms: [{ room: 'r', since: 'x' }, { room: 'q' }],
      },
    });
    expect(asked?.body).not.toHaveProperty('session');
  });

  test.each<[string, Exclude<SseOptions['headers'], undefined>]>([
    ['an object', { Authorization: 'Bearer t', 'X-Own': '1' }],
    ['a function', () => ({ Authorization: 'Bearer t', 'X-Own': '1' })],
    ['a promise', async () => new Headers({ Authorization: 'Bearer t', 'X-Own': '1' })],
  ])('sends any header, given as %s, with every request', async (_, headers) => {
    const { server, told } = await welcoming([], { headers });
    told.link.send([request('q1')]);
    await eventually(() => expect(server.asked).toHaveLength(2));
    for (const asked of server.asked) {
      expect(asked.headers).toMatchObject({ authorization: 'Bearer t', 'x-own': '1' });
    }
  });

  test('uses the fetch it is given, with credentials where they are wanted', async () => {
    const calls: RequestInit[] = [];
    const own: typeof fetch = (input, init) => {
      calls.push(init ?? {});
      return fetch(input, init);
    };
    await welcoming([], { fetch: own, credentials: 'include' });
    expect(calls).toMatchObject([{ credentials: 'include', cache: 'no-store', method: 'POST' }]);
  });

  test('asks a function for the URL each time', async () => {
    const server = await serving(({ response }) => stream(response, welcome));
    const urls = [server.url, `${server.url}?again`];
    const told = dialed(sse(() => urls.shift() ?? ''));
    cleanups.push(() => told.link.close());
    await eventually(() => expect(told.kinds()).toContain('welcome'));
    told.link.send([{ kind: 'ping' }]);
    await eventually(() => expect(server.asked).toHaveLength(2));
  });

  test('refuses an option that there is not', () => {
    expect(() => sse('http://x', { header: {} } as never)).toThrow(
      /sse\(\) has no option "header"/,
    );
  });

  test('a URL that is none, and headers that throw, are faults that quote neither', async () => {
    const wrong = dial('http://[secret');
    const throwing = dial('http://127.0.0.1:1', [], {
      headers: () => {
        throw new TypeError('secret');
      },
    });
    for (const told of [wrong, throwing]) {
      await expectFault(told, { code: 'CONNECTION_FAILED', retryable: true });
      expect(told.fault()?.message).toContain('TypeError');
      expect(`${told.fault()?.message} ${String(told.fault()?.cause)}`).not.toContain('secret');
      expect(told.early).toEqual([]);
    }
  });

  test('a port that nobody listens on is told with its code', async () => {
    const server = await serving(() => {});
    await server.close();
    const told = dial(server.url);
    await expectFault(told, { code: 'CONNECTION_FAILED' });
    expect(told.fault()?.message).toContain('ECONNREFUSED');
    expect(told.kinds()).toEqual(['closed']);
  });
});

describe('refusals', () => {
  test.each<[number, string, Partial<HoldfastError>]>([
    [400, 'INVALID_PAYLOAD', { retryable: true }],
    [401, 'TOKEN_EXPIRED', { retryable: true }],
    [403, 'UNAUTHORIZED', { retryable: false }],
    [404, 'ROOM_NOT_FOUND', { retryable: true }],
    [413, 'MESSAGE_TOO_LARGE', { retryable: true }],
    [429, 'RATE_LIMITED', { retryable: true }],
    [500, 'SERVER_ERROR', { retryable: true }],
  ])('a bare %d is %s', async (status, code, facts) => {
    const server = await serving(({ response }) => response.writeHead(status).end());
    const told = dial(server.url);
    await expectFault(told, { code, details: { status }, ...facts });
    expect(told.kinds()).toEqual(['closed']);
  });

  test.each([500, 502, 503, 504])('E46 a %d is tried again', async (status) => {
    const server = await serving(({ response }) => response.writeHead(status).end('<oops>'));
    const told = dial(server.url);
    await expectFault(told, { retryable: true, details: { status } });
  });

  test.each([
    ['2', 2_000],
    ['Wed, 21 Oct 2015 07:28:05 GMT', 5_000],
    ['soon', undefined],
  ])('E46 Retry-After %s is obeyed', async (said, retryAfter) => {
    const server = await serving(({ response }) => {
      const date = 'Wed, 21 Oct 2015 07:28:00 GMT';
      response.writeHead(503, { 'retry-after': said, date }).end();
    });
    const told = dial(server.url);
    await expectFault(told, { code: 'CONNECTION_FAILED' });
    expect(told.fault()?.retryAfter).toBe(retryAfter);
  });

  test('E46 a 204 asks not to come back, and that is obeyed', async () => {
    const server = await serving(({ response }) => response.writeHead(204).end());
    const told = dial(server.url);
    await expectFault(told, { code: 'FORBIDDEN', category: 'authorization', retryable: false });
    expect(told.fault()?.message).toContain('204');
  });

  test('an error frame says more than its status', async () => {
    const server = await serving(({ response }) =>
      answer(response, [error('TOO_MANY_CONNECTIONS', 3_000)], 403),
    );
    const told = dial(server.url);
    await expectFault(told, { code: 'TOO_MANY_CONNECTIONS', retryAfter: 3_000, isRemote: true });
  });

  test('a goodbye is told before the link ends', async () => {
    const server = await serving(({ response }) =>
      answer(response, [{ kind: 'goodbye', reason: 'deploy' }], 503),
    );
    const told = dial(server.url);
    await eventually(() => expect(told.kinds()).toEqual(['opened', 'goodbye', 'closed']));
  });

  test('a page is a portal, and 403 of one is believed no more than 200', async () => {
    for (const status of [200, 403]) {
      const server = await serving(({ response }) =>
        response.writeHead(status, { 'content-type': 'text/html' }).end('<title>Wi-Fi</title>'),
      );
      await expectFault(dial(server.url), { code: 'CONNECTION_FAILED', retryable: true });
    }
  });

  test('an answer that is no stream is named', async () => {
    const server = await serving(({ response }) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"data":1}'),
    );
    const told = dial(server.url);
    await expectFault(told, { code: 'PROTOCOL_ERROR', retryable: true });
    expect(told.fault()?.message).toContain('application/json');
  });

  test('a fetch that cannot stream is named, and not tried again', async () => {
    const own = (async () => {
      const response = new Response(null, { headers: { 'content-type': 'text/event-stream' } });
      return Object.defineProperty(response, 'body', { value: undefined });
    }) as typeof fetch;
    const told = dial('http://x', [], { fetch: own });
    await expectFault(told, { code: 'PROTOCOL_ERROR', retryable: false });
    expect(told.fault()?.message).toContain('polling()');
  });
});

describe('the end', () => {
  test('the end of a stream is a lost connection, told once', async () => {
    const server = await serving(({ response }) => {
      stream(response, welcome);
      response.end();
    });
    const told = dial(server.url);
    await expectFault(told, { code: 'CONNECTION_FAILED' });
    told.link.send([request('q1'), { kind: 'ping' }]);
    await aRoundTrip(server);
    expect(told.kinds()).toEqual(['opened', 'welcome', 'closed']);
    expect(streams(server)).toHaveLength(1);
  });

  test('the error frame before it says why', async () => {
    const server = await serving(({ response }) => {
      stream(response, welcome, error('SERVER_ERROR', 50));
      response.end();
    });
    await expectFault(dial(server.url), { code: 'SERVER_ERROR', retryAfter: 50 });
  });

  test('E46 `retry:` is how long to wait after the next loss', async () => {
    for (const isReset of [false, true]) {
      const server = await serving(({ response }) => {
        stream(response, welcome);
        response.write('retry: 1234\n\n', () => (isReset ? response.destroy() : response.end()));
      });
      await expectFault(dial(server.url), { code: 'CONNECTION_FAILED', retryAfter: 1_234 });
    }
  });

  test('E46 no event after close(), whatever the chunk that is being read still holds', async () => {
    const server = await serving(({ response }) => {
      stream(response);
      const frames = [welcome, event('e1'), event('e2'), event('e3')];
      response.write(frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join(''));
    });
    const ids: string[] = [];
    const link = sse(server.url).dial(
      () => ({ kind: 'hello', protocol: 1, clientId: 'c', link: 1, rooms: [] }),
      {
        opened() {},
        received(frame) {
          if (frame.kind !== 'event') return;
          ids.push(frame.eventId);
          if (frame.eventId === 'e2') link.close();
        },
        closed: () => void ids.push('closed'),
      },
    );
    await eventually(() => expect(server.asked[0]?.isOver).toBe(true));
    expect(ids).toEqual(['e1', 'e2']);
    link.close();
  });

  test('E46 a stream whose first byte never comes is let go by close()', async () => {
    const server = await serving(() => {});
    const told = dial(server.url);
    await eventually(() => expect(server.asked).toHaveLength(1));
    told.link.close();
    await eventually(() => expect(server.asked[0]?.isOver).toBe(true));
    expect(told.told).toEqual([]);
  });

  test('close() at once asks nobody', async () => {
    const server = await serving(({ response }) => stream(response, welcome));
    const told = dial(server.url);
    told.link.close();
    await aRoundTrip(server);
    expect(streams(server)).toEqual([]);
    expect(told.hello).not.toHaveBeenCalled();
    expect(told.told).toEqual([]);
  });
});

describe('the stream as it is written', () => {
  /** What a foreign stream gives, written in these chunks. */
  async function heard(...chunks: (string | Uint8Array)[]) {
    const messages: unknown[] = [];
    const server = await serving(({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream;charset=utf-8' });
      void (async () => {
        for (const chunk of chunks) {
          await new Promise<unknown>((done) => response.write(chunk, done));
          // So that each arrives by itself.
          await new Promise((done) => setImmediate(done));
        }
        response.end();
      })();
    });
    const told = dialed(sse(server.url).speak?.(ear(messages)) as never);
    await expectFault(told, { code: 'CONNECTION_FAILED' });
    return { messages, told };
  }

  const data = (text: string) => ({ data: text, event: undefined, id: undefined });

  test('E46 UTF-8 is read whole, wherever the chunks cut it', async () => {
    const bytes = new TextEncoder().encode('data: zwölf 🦆 €\n\n');
    const { messages } = await heard(...[...bytes].map((byte) => Uint8Array.of(byte)));
    expect(messages).toEqual([data('zwölf 🦆 €')]);
  });

  test.each([
    ['LF', '\n'],
    ['CR', '\r'],
    ['CRLF', '\r\n'],
  ])('E46 lines end with %s', async (_, end) => {
    const { messages } = await heard(
      `event: x${end}data: a${end}data:b${end}${end}data: c${end}${end}:${end}`,
    );
    expect(messages).toEqual([{ data: 'a\nb', event: 'x', id: undefined }, data('c')]);
  });

  test('E46 a CRLF that two chunks share is one end of a line', async () => {
    const { messages } = await heard('data: a\r', '\ndata: b\r', '\n\r', '\ndata: c\r\n', '\r\n');
    expect(messages).toEqual([data('a\nb'), data('c')]);
  });

  test('E46 one byte order mark is skipped, a second is not', async () => {
    const mark = Uint8Array.of(0xef, 0xbb, 0xbf);
    expect((await heard(mark, 'data: a\n\n')).messages).toEqual([data('a')]);
    const twice = await heard(mark, mark, 'data: a\n\ndata: b\n\n');
    expect(twice.messages).toEqual([data('b')]);
  });

  test('E46 a block with an id alone is no message, and moves the place', async () => {
    expect(await resumedAfter('id: 5\n\n')).toEqual({ messages: [], lastId: '5' });
    expect(await resumedAfter('id: 5\ndata: x\n\ndata: y\n\n')).toEqual({
      messages: [{ ...data('x'), id: '5' }, data('y')],
      lastId: '5',
    });
  });

  test('E46 an id with NUL is ignored, an empty one forgets the place', async () => {
    expect(await resumedAfter('id: 5\n\nid: 6\0\n\n')).toEqual({ messages: [], lastId: '5' });
    expect(await resumedAfter('id: 5\n\nid\n\n')).toEqual({ messages: [], lastId: undefined });
  });

  test('E46 an id goes back as the bytes that came', async () => {
    const { lastId = '' } = await resumedAfter('id: süß 🦆\n\n');
    expect(Buffer.from(String(lastId), 'latin1').toString()).toBe('süß 🦆');
  });

  test('E46 a line that never ends is not kept for ever', async () => {
    const line = Buffer.alloc(4_194_304, 'x');
    let bytes = 0;
    const server = await serving(({ response }) => {
      stream(response, welcome);
      const more = () => {
        if (response.destroyed || bytes > 200_000_000) return;
        bytes += line.length;
        response.write(line, more);
      };
      response.write('data: ', more);
    });
    await expectFault(dial(server.url), { code: 'CONNECTION_FAILED' });
    expect(bytes).toBeLessThan(120_000_000);
  });

  test('E46 what the end cuts off is no message', async () => {
    expect((await heard('data: a\n\ndata: b\n')).messages).toEqual([data('a')]);
  });

  /** What one link hears, and from where the next one of the same transport goes on. */
  async function resumedAfter(text: string) {
    const messages: unknown[] = [];
    const server = await serving(({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end(text);
    });
    const transport = sse(server.url).speak?.(ear(messages));
    if (transport === undefined) throw new Error('it speaks nothing else');
    await expectFault(dialed(transport), { code: 'CONNECTION_FAILED' });
    const first = [...messages];
    await expectFault(dialed(transport), { code: 'CONNECTION_FAILED' });
    expect(server.asked[0]?.headers).not.toHaveProperty('last-event-id');
    return { messages: first, lastId: server.asked[1]?.headers['last-event-id'] };
  }

  test('E46 a comment, and a part of a frame, are signs of life', async () => {
    const long = JSON.stringify(event('e1'));
    let write = (_text: string) => {};
    const server = await serving(({ response }) => {
      stream(response, welcome);
      write = (text) => void response.write(text);
    });
    const told = dial(server.url);
    await eventually(() => expect(told.kinds()).toEqual(['opened', 'welcome']));
    write(':\n\n');
    await eventually(() => expect(told.kinds().slice(2)).toEqual(['ping']));
    write(`data: ${long.slice(0, 9)}`);
    await eventually(() => expect(told.kinds().slice(2)).toEqual(['ping', 'ping']));
    write(`${long.slice(9)}\n\n`);
    await eventually(() => expect(told.kinds().slice(2)).toEqual(['ping', 'ping', 'event']));
  });

  test('what is no frame is told as such', async () => {
    const server = await serving(({ response }) => {
      stream(response, welcome);
      response.write('data: what?\n\ndata: {"kind":"new:kind"}\n\n');
    });
    const told = dial(server.url);
    await eventually(() => expect(told.kinds().slice(2)).toEqual(['garbled', 'garbled']));
  });
});

describe('opening anew', () => {
  test('joins and leaves of a tick do it once, with every room from what has arrived', async () => {
    const server = await serving(({ response }, before) => {
      stream(response, welcome);
      if (before === 0) {
        stream(response, ...joined('r', 'r1'), event('r2', 'r'), ...joined('gone', 'g1'));
        stream(response, ...joined('@me', 'm1'), event('m2', '@me'), event('n1'));
      } else stream(response, ...joined('r', 'r2'), ...joined('new', 'n9'));
    });
    const told = dial(server.url, [{ room: 'r', since: 'r0' }, { room: 'gone' }]);
    await eventually(() => expect(told.ids()).toEqual(['r2', 'm2', 'n1']));
    await settled(server, told);
    told.link.send([
      { kind: 'leave', rooms: ['gone'] },
      { kind: 'join', rooms: [{ room: 'new' }] },
    ]);
    told.link.send([{ kind: 'join', rooms: [{ room: 'old', since: 'o5' }] }]);
    await eventually(() => expect(server.asked).toHaveLength(3));
    expect(server.asked[2]?.body).toEqual({
      kind: 'hello',
      protocol: 1,
      clientId: 'c',
      link: 7,
      auth: 'old',
      session: 's',
      rooms: [
        { room: 'r', since: 'r2' },
        { room: '@me', since: 'm2' },
        { room: 'new' },
        { room: 'old', since: 'o5' },
      ],
    });
    expect(server.asked[1]?.isOver).toBe(true);
    await eventually(() => expect(told.kinds().filter((kind) => kind === 'pong')).toHaveLength(2));
    expect(told.kinds().filter((kind) => kind === 'welcome')).toHaveLength(1);
    expect(told.hello).toHaveBeenCalledOnce();
    expect(told.fault()).toBeUndefined();
  });

  /** The link has been young; a ping is answered at once, whatever its age. */
  async function settled(server: HttpServer, told: Dial): Promise<void> {
    const before = streams(server).length;
    told.link.send([{ kind: 'ping' }]);
    await eventually(() => {
      expect(streams(server)).toHaveLength(before + 1);
      expect(told.kinds()).toContain('pong');
    });
  }

  test('50 rooms that are joined one after the other take few streams, and each is answered', async () => {
    const server = await serving(({ response, body }) => {
      stream(response, welcome);
      for (const { room } of body.rooms) stream(response, ...joined(room, `${room}-1`));
    });
    const told = dial(server.url);
    await eventually(() => expect(told.kinds()).toContain('welcome'));
    for (let number = 1; number <= 50; number++) {
      told.link.send([{ kind: 'join', rooms: [{ room: `r${number}` }] }]);
      await Promise.resolve();
      await Promise.resolve();
    }
    const answered = () =>
      told.told.flatMap((one) => (typeof one === 'object' && 'joined' in one ? [one.room] : []));
    await eventually(() => expect(new Set(answered()).size).toBe(50));
    expect(server.asked.length).toBeLessThanOrEqual(3);
  });

  test('a join that comes twice is answered twice, by one verdict', async () => {
    const server = await serving(({ response, body }, before) => {
      stream(response, welcome);
      if (before > 0) for (const { room } of body.rooms) stream(response, ...joined(room, 'c'));
    });
    const told = dial(server.url, [{ room: 'r' }]);
    await eventually(() => expect(told.kinds()).toContain('welcome'));
    told.link.send([{ kind: 'join', rooms: [{ room: 'r', since: 'x' }] }]);
    told.link.send([{ kind: 'join', rooms: [{ room: 'r', since: 'y' }] }]);
    await eventually(() =>
      expect(told.kinds()).toEqual([
        ...['opened', 'welcome', 'pong'],
        ...['room', 'room', 'room', 'room'],
      ]),
    );
    expect(told.told.filter((one) => typeof one === 'object' && 'caughtUp' in one)).toHaveLength(1);
    expect(server.asked[1]?.body.rooms).toEqual([{ room: 'r', since: 'y' }]);
  });

  test('a young stream is left to speak, but not of a room that was joined anew', async () => {
    let old: Asked['response'] | undefined;
    const server = await serving(({ response }, before) => {
      if (before === 0) {
        old = response;
        stream(response, welcome);
      } else stream(response, welcome, ...joined('r', 'r9'), event('r10', 'r'));
    });
    const told = dialed(sse(server.url), [{ room: 'r', since: 'r1' }], (one, link) => {
      if (typeof one !== 'object' || !('connectionId' in one)) return;
      link.send([{ kind: 'join', rooms: [{ room: 'r', since: 'r8' }] }]);
      if (old !== undefined) stream(old, ...joined('r', 'r1'), event('r2', 'r'), event('free'));
    });
    cleanups.push(() => told.link.close());
    await eventually(() => expect(told.ids()).toEqual(['free', 'r10']));
    expect(server.asked[1]?.body.rooms).toEqual([{ room: 'r', since: 'r8' }]);
  });

  test('what a stream that was left still brings is not heard, also where fetch cannot abort', async () => {
    const server = await serving(({ response }, before) => {
      if (before === 0) stream(response, welcome);
      else stream(response, welcome, event('new'));
    });
    const deaf: typeof fetch = (input, { signal: _, ...init } = {}) => fetch(input, init);
    const told = dialed(sse(server.url, { fetch: deaf }), []);
    cleanups.push(() => told.link.close());
    await eventually(() => expect(told.kinds()).toContain('welcome'));
    told.link.send([{ kind: 'ping' }]);
    await eventually(() => expect(told.ids()).toEqual(['new']));
    const [old, fresh] = streams(server);
    if (old !== undefined) stream(old.response, event('old'));
    old?.response.end();
    if (fresh !== undefined) stream(fresh.response, event('newer'));
    await eventually(() => expect(told.ids()).toEqual(['new', 'newer']));
    await aRoundTrip(server);
    expect(told.ids()).toEqual(['new', 'newer']);
    expect(told.fault()).toBeUndefined();
  });

  test('a room that is refused, or ended, is not named again', async () => {
    const server = await serving(({ response }, before) => {
      stream(response, welcome);
      if (before > 0) return;
      const refused = { code: 'FORBIDDEN', message: 'No.' };
      stream(response, { kind: 'room', room: 'a', error: refused });
      stream(response, { kind: 'room', room: 'b', left: true }, ...joined('c', 'c1'));
    });
    const told = dial(server.url, [{ room: 'a' }, { room: 'b' }, { room: 'c' }]);
    await eventually(() => expect(told.kinds().filter((kind) => kind === 'room')).toHaveLength(4));
    told.link.send([{ kind: 'ping' }]);
    await eventually(() => expect(server.asked).toHaveLength(2));
    expect(server.asked[1]?.body.rooms).toEqual([{ room: 'c', since: 'c1' }]);
  });

  test('a ping does it at once, and the welcome is the pong', async () => {
    const { server, told } = await welcoming();
    told.link.send([{ kind: 'pong' }]);
    told.link.send([{ kind: 'ping' }]);
    await eventually(() => expect(told.kinds()).toEqual(['opened', 'welcome', 'pong']));
    expect(streams(server)).toHaveLength(2);
  });

  test('new credentials go up at once, and their verdict is told', async () => {
    const server = await serving(({ response }) =>
      stream(response, { ...welcome, terms: { authExpiresIn: 900 } } as never),
    );
    const told = dial(server.url);
    await eventually(() => expect(told.kinds()).toContain('welcome'));
    told.link.send([{ kind: 'auth', auth: 'new' }]);
    await eventually(() => expect(told.told.at(-1)).toEqual({ kind: 'auth', expiresIn: 900 }));
    expect(server.asked.map(({ body }) => body.auth)).toEqual(['old', 'new']);
    told.link.send([{ kind: 'ping' }]);
    await eventually(() => expect(server.asked).toHaveLength(3));
    expect(told.kinds().filter((kind) => kind === 'auth')).toHaveLength(1);
  });

  test.each([
    ['TOKEN_EXPIRED', 401, ['auth', 'closed']],
    ['UNAUTHORIZED', 403, ['auth', 'closed']],
    ['SERVER_ERROR', 500, ['closed']],
  ])('credentials that are refused with %s end the link', async (code, status, kinds) => {
    const server = await serving(({ response }, before) => {
      if (before === 0) stream(response, welcome);
      else answer(response, [error(code)], status);
    });
    const told = dial(server.url);
    await eventually(() => expect(told.kinds()).toContain('welcome'));
    told.link.send([{ kind: 'auth', auth: 'new' }]);
    await expectFault(told, { code });
    expect(told.kinds().slice(2)).toEqual(kinds);
  });

  test.each([
    ['session', { session: 'other' }],
    ['user', { user: 'other' }],
  ])('another %s than before ends the link, and is not told', async (_, other) => {
    const server = await serving(({ response }, before) =>
      stream(response, before === 0 ? welcome : { ...welcome, ...other }, event('e1')),
    );
    const told = dial(server.url);
    await eventually(() => expect(told.ids()).toEqual(['e1']));
    told.link.send([{ kind: 'ping' }]);
    await expectFault(told, { code: 'CONNECTION_FAILED' });
    expect(told.kinds()).toEqual(['opened', 'welcome', 'event', 'closed']);
  });

  test('after a goodbye a refusal is no loss: the client moves over by itself', async () => {
    const goodbye = { kind: 'goodbye', reason: 'deploy' } as const;
    const server = await serving(({ response }, before) => {
      if (before === 0) stream(response, welcome, goodbye);
      else answer(response, [goodbye], 503);
    });
    const told = dial(server.url);
    await eventually(() => expect(told.kinds()).toContain('goodbye'));
    told.link.send([{ kind: 'ping' }]);
    await eventually(() => expect(told.kinds()).toHaveLength(4));
    await aRoundTrip(server);
    expect(told.kinds()).toEqual(['opened', 'welcome', 'goodbye', 'goodbye']);
  });
});

/** A language in which everything that is heard is kept. */
function ear(messages: unknown[]): Dialect {
  return {
    name: 'ear',
    subprotocols: [],
    codec: {
      name: 'ear',
      encode: () => '',
      decode: () => ({ kind: 'pong' }),
      payload: () => undefined,
    },
    begin: () => ({
      opened() {},
      heard: (message) => void messages.push(message),
      say() {},
    }),
  };
}
