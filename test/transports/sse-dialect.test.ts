/** Event streams of servers that are not ours, and what is posted to them. */
import { createClient } from 'holdfast';
import { recorder } from 'holdfast/testing';
import { afterEach, describe, expect, test } from 'vitest';
import type { Dialect, Heard } from '../../src/client/dialect.js';
import { plain } from '../../src/client/plain.js';
import { type SseOptions, sse } from '../../src/transports/sse.js';
import {
  type Asked,
  aRoundTrip,
  dialed,
  eventually,
  expectFault,
  type HttpServer,
  httpServer,
} from './http-server.js';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serving(say: (asked: Asked, before: number) => void): Promise<HttpServer> {
  const server = await httpServer(say);
  cleanups.push(server.close);
  return server;
}

function open({ response }: Asked, ...blocks: string[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(`:\n\n${blocks.map((block) => `${block}\n\n`).join('')}`);
}

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
    begin: (_hello, talk) => ({
      opened: () => talk.received({ kind: 'welcome', connectionId: 'ear' }),
      heard: (message) => void heard.push(message),
      say: (frame) => talk.send(JSON.stringify(frame)),
    }),
  };
}

function speaking(url: string, options: SseOptions = {}) {
  const heard: Heard[] = [];
  const transport = sse(url, options).speak?.(ear(heard));
  if (transport === undefined) throw new Error('it speaks nothing else');
  const again = () => {
    const told = dialed(transport);
    cleanups.push(() => told.link.close());
    return told;
  };
  return { heard, again, told: again() };
}

describe('a stream of another server', () => {
  test('is read by GET, and each event is heard with its name and id', async () => {
    const server = await serving((asked) =>
      open(asked, 'data: a', 'event: tick\nid: 7\ndata: b\ndata: c'),
    );
    const { heard, told } = speaking(server.url, { headers: { authorization: 'Bearer t' } });
    await eventually(() =>
      expect(heard).toEqual([{ data: 'a' }, { event: 'tick', id: '7', data: 'b\nc' }]),
    );
    expect(told.kinds().slice(0, 2)).toEqual(['opened', 'welcome']);
    expect(server.asked).toMatchObject([
      {
        method: 'GET',
        text: '',
        headers: { accept: 'text/event-stream', authorization: 'Bearer t' },
      },
    ]);
  });

  test('is asked for by another method where one is given', async () => {
    const server = await serving((asked) => open(asked));
    speaking(server.url, { method: 'POST' });
    await eventually(() => expect(server.asked[0]?.method).toBe('POST'));
  });

  test('goes on after the last id that any link has heard', async () => {
    const server = await serving((asked, before) => {
      open(asked, `id: ${before}-1\ndata: x`, `id: ${before}-2`);
      asked.response.end();
    });
    const { told, again } = speaking(server.url);
    await expectFault(told, { code: 'CONNECTION_FAILED' });
    await expectFault(again(), { code: 'CONNECTION_FAILED' });
    await expectFault(again(), { code: 'CONNECTION_FAILED' });
    const ids = server.asked.map(({ headers }) => headers['last-event-id']);
    expect(ids).toEqual([undefined, '0-2', '1-2']);
  });

  test('E46 204 stops it, and a stream that is none is refused', async () => {
    const stopped = await serving(({ response }) => response.writeHead(204).end());
    await expectFault(speaking(stopped.url).told, { code: 'FORBIDDEN', retryable: false });
    const other = await serving(({ response }) => response.end('hello'));
    await expectFault(speaking(other.url).told, { code: 'PROTOCOL_ERROR' });
    const busy = await serving(({ response }) => response.writeHead(503).end());
    await expectFault(speaking(busy.url).told, { code: 'CONNECTION_FAILED', retryable: true });
  });

  test('posts what is said, one after the other, and hears the answers', async () => {
    const posted: Asked[] = [];
    const server = await serving((asked) => {
      if (asked.method === 'GET') open(asked);
      else posted.push(asked);
    });
    const { heard, told } = speaking(server.url, { postUrl: () => `${server.url}say` });
    await eventually(() => expect(told.kinds()).toContain('welcome'));
    told.link.send(['first', { kind: 'pong' }]);
    await eventually(() => expect(posted).toHaveLength(1));
    expect(told.link.bufferedAmount).toBe('{"kind":"pong"}'.length);
    expect(posted[0]).toMatchObject({ method: 'POST', text: 'first' });
    posted[0]?.response.end('one');
    await eventually(() => expect(posted).toHaveLength(2));
    posted[1]?.response.writeHead(422).end('{"wrong":1}');
    await eventually(() => expect(heard).toEqual([{ data: 'one' }, { data: '{"wrong":1}' }]));
    told.link.send(['last']);
    await eventually(() => expect(posted).toHaveLength(3));
    posted[2]?.response.writeHead(500).end('{}');
    await expectFault(told, { code: 'SERVER_ERROR' });
    await aRoundTrip(server);
    expect(told.kinds().filter((kind) => kind === 'closed')).toHaveLength(1);
  });

  test('an answer that comes after close() is not heard, also where fetch cannot abort', async () => {
    const posted: Asked[] = [];
    const server = await serving((asked) => {
      if (asked.method === 'GET') open(asked);
      else posted.push(asked);
    });
    const deaf: typeof fetch = (input, { signal: _, ...init } = {}) => fetch(input, init);
    const { heard, told } = speaking(server.url, { fetch: deaf });
    await eventually(() => expect(told.kinds()).toContain('welcome'));
    told.link.send(['first']);
    await eventually(() => expect(posted).toHaveLength(1));
    told.link.close();
    posted[0]?.response.end('late');
    await eventually(() => expect(posted[0]?.isOver).toBe(true));
    await fetch(server.url).then(({ body }) => body?.cancel());
    expect(heard).toEqual([]);
  });

  test('is spoken to by a client: types are the names of the events, none is lost in a cut', async () => {
    const all = Array.from({ length: 9 }, (_, index) => index + 1);
    const server = await serving((asked) => {
      const since = Number(asked.headers['last-event-id'] ?? 0);
      const next = all.slice(since, since + 3);
      open(asked, ...next.map((id) => `event: tick:came\nid: ${id}\ndata: ${id * 10}`));
      if (next.length > 0) setImmediate(() => asked.response.end());
    });
    const client = createClient({
      transport: sse(server.url),
      protocol: plain(),
      reconnect: { initialDelay: 1, maxDelay: 1 },
      environment: { report() {} },
    });
    cleanups.push(() => client.close());
    const seen = recorder(client as never);
    void client.connect();
    await eventually(() => expect(seen.payloads).toEqual(all.map((id) => id * 10)));
    expect(new Set(seen.events.map(({ type }) => type))).toEqual(new Set(['tick:came']));
    await eventually(() => expect(client.state.transport).toBe('sse'));
  });
});
