/** The door for POSTs: who may come in, what is refused and how, and how it is shut. */
import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { failure, tokenExpired, unauthorized } from 'holdfast/server';
import { describe, expect, test, vi } from 'vitest';
import { hello, request, site } from './http-site.js';

const error = (code: string) => [{ kind: 'error', error: expect.objectContaining({ code }) }];

describe('a refusal has the status of its code:', () => {
  const authenticate = ({ auth }: { auth: unknown }) => {
    switch (auth) {
      case 'expired':
        throw tokenExpired();
      case 'wrong':
        throw unauthorized();
      case 'forbidden':
        throw failure('FORBIDDEN', 'no');
      case 'busy':
        throw failure('RATE_LIMITED', 'later', { retryAfter: 1_500 });
      case 'own':
        throw failure('BANNED', 'no');
      case 'own-retryable':
        throw failure('WARMING_UP', 'soon', { retryable: true, retryAfter: 20 });
      case 'broken':
        throw new Error('boom');
      default:
        return { user: String(auth) };
    }
  };

  test.each([
    { auth: 'expired', status: 401, code: 'TOKEN_EXPIRED' },
    { auth: 'wrong', status: 403, code: 'UNAUTHORIZED' },
    { auth: 'forbidden', status: 403, code: 'FORBIDDEN' },
    { auth: 'busy', status: 429, code: 'RATE_LIMITED', after: '2' },
    { auth: 'own', status: 403, code: 'BANNED' },
    { auth: 'own-retryable', status: 500, code: 'WARMING_UP', after: '1' },
    { auth: 'broken', status: 500, code: 'SERVER_ERROR' },
  ])('$code is $status ($auth)', async ({ auth, status, code, after = null }) => {
    const there = await site({ authenticate });
    const bodies = [
      hello({ auth }),
      { hello: hello({ auth }), wait: 0 },
      { hello: hello({ auth }), wait: 1_000 },
      { clientId: 'c1', link: 1, auth, frames: [] },
    ];
    for (const body of bodies) {
      const answer = await there.post(body);
      expect(answer.status).toBe(status);
      expect(answer.frames).toEqual(error(code));
      expect(answer.headers.get('retry-after')).toBe(after);
      expect(answer.headers.get('content-type')).toBe('application/json');
      expect(answer.headers.get('cache-control')).toBe('no-store, no-transform');
    }
    expect(there.hub.metrics().connections).toBe(0);
  });

  test('TOO_MANY_CONNECTIONS is 403, and a client that comes back is not one more', async () => {
    const there = await site({
      authenticate: () => ({ user: 'ada' }),
      limits: { connectionsPerUser: 1 },
    });
    const stream = (await there.stream()).read();
    await stream.heard('welcome');
    const other = await there.poll({ clientId: 'c2' });
    expect(other.status).toBe(403);
    expect(other.frames).toEqual(error('TOO_MANY_CONNECTIONS'));
    expect((await there.poll({ link: 2 })).status).toBe(200);
  });

  test('SUPERSEDED is 409', async () => {
    const there = await site();
    await there.poll({ link: 5 });
    for (const body of [hello({ link: 4 }), { hello: hello({ link: 4 }), wait: 9_000 }]) {
      const answer = await there.post(body);
      expect(answer.status).toBe(409);
      expect(answer.frames).toEqual(error('SUPERSEDED'));
    }
  });

  test('PROTOCOL_ERROR is 400, whatever is wrong with the body', async () => {
    const there = await site();
    const bodies = [
      'no json',
      '',
      '7',
      'null',
      '[]',
      '{}',
      JSON.stringify({ kind: 'join', rooms: [] }),
      JSON.stringify(hello({ protocol: 2 })),
      JSON.stringify(hello({ clientId: '' })),
      JSON.stringify({ hello: hello({ link: -1 }), wait: 0 }),
      JSON.stringify({ hello: 7, wait: 0 }),
      JSON.stringify({ hello: request('r', 'x:y'), wait: 0 }),
      JSON.stringify({ hello: hello(), wait: -1 }),
      JSON.stringify({ clientId: 'c1', link: 1, frames: 7 }),
      JSON.stringify({ clientId: '', link: 1, frames: [] }),
    ];
    for (const body of bodies) {
      const answer = await there.post(body);
      expect([body, answer.status, answer.frames]).toEqual([body, 400, error('PROTOCOL_ERROR')]);
    }
    const types = ['text/plain', 'application/jsonp', 'multipart/form-data'];
    for (const type of types) {
      const answer = await there.post(hello(), { headers: { 'content-type': type } });
      expect([answer.status, answer.frames]).toEqual([400, error('PROTOCOL_ERROR')]);
    }
    const charset = { 'content-type': 'application/json; charset=utf-8' };
    expect((await there.post({ hello: hello(), wait: 0 }, { headers: charset })).status).toBe(200);
  });

  test('MESSAGE_TOO_LARGE is 413, for the body and for the hello in it', async () => {
    const there = await site({ limits: { maxMessageSize: 1_000 } });
    const large = hello({ auth: 'x'.repeat(1_000) });
    for (const body of [large, { hello: large, wait: 0 }]) {
      const answer = await there.post(body);
      expect([answer.status, answer.frames]).toEqual([413, error('MESSAGE_TOO_LARGE')]);
    }
    // Told or not how large it is: nothing of it is kept.
    const huge = JSON.stringify({ frames: 'x'.repeat(3_000_000) });
    const stream = new Blob([huge]).stream();
    for (const body of [huge, stream]) {
      const init = { body, duplex: 'half' } as RequestInit;
      const answer = await there.post('', init);
      expect([answer.status, answer.frames]).toEqual([413, error('MESSAGE_TOO_LARGE')]);
    }
  });

  test('RATE_LIMITED is 429 for who opens far too many', async () => {
    const there = await site({ limits: { messagesPerSecond: 1 } });
    const statuses: number[] = [];
    for (let n = 0; n < 14; n++) statuses.push((await there.poll()).status);
    expect(statuses.slice(0, 12)).toEqual(Array.from({ length: 12 }, () => 200));
    expect(statuses.at(-1)).toBe(429);
    expect((await there.poll({ clientId: 'c2' })).status).toBe(200);
    await there.clock.advance(60_000);
    expect((await there.poll()).status).toBe(200);
  });
});

test('a body that does not arrive is given up', async () => {
  const there = await site();
  const socket = connect(Number(new URL(there.url).port), '127.0.0.1');
  let heard = '';
  socket.on('data', (chunk) => {
    heard += String(chunk);
  });
  socket.write(
    'POST /realtime HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{',
  );
  await vi.waitFor(() => expect(there.clock.pending).toBe(1));
  await there.clock.advance(19_999);
  expect(heard).toBe('');
  await there.clock.advance(1);
  await once(socket, 'close');
  expect(heard).toMatch(/^HTTP\/1\.1 408 /);
  expect(heard).toContain('PROTOCOL_ERROR');
  expect(there.clock.pending).toBe(0);
});

test('what is left of a body that is too large is not waited for', async () => {
  const there = await site();
  const socket = connect(Number(new URL(there.url).port), '127.0.0.1');
  let heard = '';
  socket.on('data', (chunk) => {
    heard += String(chunk);
  });
  const head = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
  socket.write(`${head}content-length: 50000000\r\n\r\n{`);
  await vi.waitFor(() => expect(heard).toMatch(/^HTTP\/1\.1 413 /));
  await there.clock.advance(20_000);
  await once(socket, 'close');
  expect(there.clock.pending).toBe(0);
});

test('a body that comes slowly is read', async () => {
  const there = await site();
  let bytes = 0;
  there.server.on('request', (incoming) => {
    incoming.on('data', (chunk) => {
      bytes += chunk.length;
    });
  });
  const body = JSON.stringify({ hello: hello(), wait: 0 });
  const sending = httpRequest(there.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-length': body.length },
  });
  const answered = once(sending, 'response');
  sending.write(body.slice(0, 5));
  await vi.waitFor(() => expect(bytes).toBe(5));
  await there.clock.advance(9_000);
  sending.write(body.slice(5, 10));
  await vi.waitFor(() => expect(bytes).toBe(10));
  await there.clock.advance(9_000);
  sending.end(body.slice(10));
  const [response] = await answered;
  expect(response.statusCode).toBe(200);
});

test('other methods are refused', async () => {
  const there = await site();
  for (const method of ['GET', 'PUT', 'DELETE', 'HEAD']) {
    const response = await fetch(there.url, { method });
    expect([method, response.status, response.headers.get('allow')]).toEqual([
      method,
      405,
      'POST, OPTIONS',
    ]);
    await response.text();
  }
});

describe('browsers of other origins', () => {
  const preflight = (url: string, origin: string) =>
    fetch(url, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type, x-tenant',
      },
    });

  test('may come from anywhere where nobody says otherwise, without their cookies', async () => {
    const there = await site();
    const asked = await preflight(there.url, 'https://any.example');
    expect(asked.status).toBe(204);
    expect(asked.headers.get('access-control-allow-origin')).toBe('*');
    expect(asked.headers.get('access-control-allow-methods')).toBe('POST');
    expect(asked.headers.get('access-control-allow-headers')).toBe('content-type, x-tenant');
    expect(Number(asked.headers.get('access-control-max-age'))).toBeGreaterThan(600);
    expect(asked.headers.get('access-control-allow-credentials')).toBe(null);
    const headers = { origin: 'https://any.example' };
    const answer = await there.poll({}, 0, { headers });
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    expect(answer.headers.get('access-control-expose-headers')).toBe('Retry-After');
  });

  test('come from the list alone where there is one', async () => {
    const there = await site({ limits: { origins: ['https://mine.example'] } });
    const asked = await preflight(there.url, 'https://mine.example');
    expect(asked.status).toBe(204);
    expect(asked.headers.get('access-control-allow-origin')).toBe('https://mine.example');
    expect(asked.headers.get('access-control-allow-credentials')).toBe('true');
    expect(asked.headers.get('vary')).toBe('Origin');
    const mine = await there.poll({}, 0, { headers: { origin: 'https://mine.example' } });
    expect(mine.status).toBe(200);

    const refused = await preflight(there.url, 'https://theirs.example');
    expect(refused.status).toBe(403);
    expect(refused.headers.get('access-control-allow-origin')).toBe(null);
    const theirs = await there.poll({}, 0, { headers: { origin: 'https://theirs.example' } });
    expect(theirs.status).toBe(403);
    expect(theirs.frames).toEqual(error('UNAUTHORIZED'));
    expect(theirs.headers.get('access-control-allow-origin')).toBe(null);
    // What is no browser says no origin.
    expect((await there.poll()).status).toBe(200);
  });
});

describe('a server that has read the body already', () => {
  /** @param leave what it leaves as `body` */
  async function reading(leave: (text: string) => unknown) {
    const there = await site();
    const server = createServer((incoming, response) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        const body = leave(String(Buffer.concat(chunks)));
        setImmediate(() => there.hub.handleHttp(Object.assign(incoming, { body }), response));
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const response = await fetch(`http://127.0.0.1:${port}/`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ hello: hello(), wait: 0 }),
      signal: AbortSignal.timeout(5_000),
    });
    const answer: unknown = await response.json();
    server.closeAllConnections();
    server.close();
    expect(there.errors).toEqual([]);
    return { status: response.status, answer };
  }

  test.each<[string, (text: string) => unknown]>([
    ['what it says', JSON.parse],
    ['its text', (text) => text],
    ['its bytes', (text) => Buffer.from(text)],
  ])('hands over %s', async (_, leave) => {
    const { answer } = await reading(leave);
    expect(answer).toMatchObject({ frames: [{ kind: 'welcome' }, {}, {}] });
  });

  test.each([[undefined], [5]])('and kept it (%s) has an answer all the same', async (body) => {
    const { status, answer } = await reading(() => body);
    expect(status).toBe(400);
    expect(answer).toEqual({ frames: error('PROTOCOL_ERROR') });
  });
});

test('JSON that is nested too deep to be written again is refused, and no error of ours', async () => {
  const there = await site({ handlers: { 'a:b': () => 1 } });
  const deep = '['.repeat(100_000) + ']'.repeat(100_000);
  const withAuth = JSON.stringify(hello({ auth: 0 })).replace('"auth":0', `"auth":${deep}`);
  for (const body of [withAuth, `{"wait":0,"hello":${withAuth}}`]) {
    const answer = await there.post(body);
    expect(answer.status).toBe(400);
    expect(answer.frames).toEqual(error('PROTOCOL_ERROR'));
  }
  const session = await there.session();
  const frames = [request('r1', 'a:b', { payload: 0 }), request('r2', 'a:b')];
  const errand = JSON.stringify({ clientId: 'c1', link: 1, session, frames });
  const { frames: answers } = await there.post(errand.replace('"payload":0', `"payload":${deep}`));
  expect(answers).toMatchObject([
    { requestId: 'r1', success: false, error: { code: 'INVALID_PAYLOAD' } },
    { requestId: 'r2', success: true, data: 1 },
  ]);
  expect(there.errors).toEqual([]);
});

describe('a hub that leaves', () => {
  test('says goodbye to newcomers, and wants them on another connection', async () => {
    const there = await site({ handlers: { 'x:do': () => new Promise(() => {}) } });
    const session = await there.session();
    void there.errand(session, [request('r1', 'x:do')]).catch(() => {});
    await vi.waitFor(() => expect(there.hub.metrics().requestsRun).toBe(1));
    const closed = there.hub.close({ drain: true, over: 5_000 });
    for (const body of [hello({ link: 2 }), { hello: hello({ link: 2 }), wait: 9_000 }]) {
      const answer = await there.post(body);
      expect(answer.status).toBe(503);
      expect(answer.frames).toMatchObject([{ kind: 'goodbye' }]);
      expect(answer.headers.get('connection')).toBe('close');
    }
    await there.settled(closed);
  });

  test('waits for clients between two polls, until they know and have moved', async () => {
    const there = await site();
    await there.poll({ clientId: 'c1' });
    await there.poll({ clientId: 'c2' });
    let isClosed = false;
    const closed = there.hub.close({ drain: true, over: 60_000 }).then(() => {
      isClosed = true;
    });
    await there.clock.advance(20_000);
    expect(await there.poll({ clientId: 'c1' })).toMatchObject({
      status: 503,
      frames: [{ kind: 'goodbye' }],
    });
    await there.clock.advance(4_000);
    expect((await there.poll({ clientId: 'c1' })).frames).toMatchObject([{ kind: 'goodbye' }]);
    await there.clock.advance(4_900);
    expect(isClosed).toBe(false);
    // The other one does not come any more, and those who were never here are not waited for.
    expect((await there.poll({ clientId: 'c3' })).frames).toMatchObject([{ kind: 'goodbye' }]);
    await there.clock.advance(2_000);
    expect(isClosed).toBe(true);
    await closed;
    expect(there.clock.pending).toBe(0);
  });

  test('does not wait for a client that was sent away', async () => {
    const there = await site({ authenticate: () => ({ user: 'ada' }) });
    await there.poll();
    const { status } = await there.poll({ link: 0 });
    expect(status).toBe(409);
    let isClosed = false;
    const closed = there.hub.close({ drain: true, over: 60_000 }).then(() => {
      isClosed = true;
    });
    await there.clock.advance(200);
    expect(isClosed).toBe(true);
    await closed;
  });

  test('that has closed refuses everything', async () => {
    const there = await site();
    await there.hub.close();
    const bodies = [
      hello(),
      { hello: hello(), wait: 0 },
      { clientId: 'c', link: 1, session: 's', frames: [] },
    ];
    for (const body of bodies) {
      const answer = await there.post(body);
      expect([answer.status, answer.frames]).toEqual([503, error('CONNECTION_FAILED')]);
    }
  });

  test('ends streams and answers polls: nothing is left when it has closed', async () => {
    const there = await site();
    const stream = (await there.stream({ rooms: [{ room: 'a' }] })).read();
    await stream.heard('room', 4);
    const { cursor = '' } = (await there.poll({ clientId: 'c2' })).all('room')[0] as {
      cursor?: string;
    };
    const rooms = [{ room: '@me', since: cursor }];
    const polled = there.poll({ clientId: 'c2', rooms }, 50_000);
    await vi.waitFor(() => expect(there.hub.metrics().connections).toBe(2));
    // A body that is on its way.
    const upload = connect(Number(new URL(there.url).port), '127.0.0.1');
    let heard = '';
    upload.on('data', (chunk) => {
      heard += String(chunk);
    });
    const head = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
    const came = once(there.server, 'request');
    upload.write(`${head}content-length: 50\r\n\r\n{`);
    await came;
    const closed = there.hub.close();
    expect((await polled).frames).toMatchObject([{ kind: 'welcome' }]);
    await stream.ended();
    await there.settled(closed);
    await vi.waitFor(() => expect(heard).toMatch(/^HTTP\/1\.1 503 /));
    expect(there.clock.pending).toBe(0);
    upload.destroy();
  });

  test('tells streams and polls to move, and lets errands finish', async () => {
    let finish: (value: string) => void = () => {};
    const there = await site({
      handlers: { 'x:do': () => new Promise((resolve) => (finish = resolve)) },
    });
    const stream = (await there.stream()).read();
    const { session = '' } = (await stream.heard('welcome'))[0] ?? {};
    await stream.heard('room', 2);
    const first = await there.poll({ clientId: 'c2' });
    const since = first.all('room').flatMap((v) => ('joined' in v ? [v.cursor] : []))[0];
    const polled = there.poll({ clientId: 'c2', rooms: [{ room: '@me', since }] }, 50_000);
    await vi.waitFor(() => expect(there.hub.metrics().connections).toBe(2));
    const ran = there.errand(session, [request('r1', 'x:do')]);
    await vi.waitFor(() => expect(there.hub.metrics().requestsRun).toBe(1));

    let isClosed = false;
    const closed = there.hub.close({ drain: true, over: 20_000 }).then(() => {
      isClosed = true;
    });
    await stream.heard('goodbye');
    await there.clock.advance(100);
    expect((await polled).frames).toMatchObject([{ kind: 'welcome' }, { kind: 'goodbye' }]);
    stream.abort();
    await vi.waitFor(() => expect(there.hub.metrics().connections).toBe(0));
    expect(isClosed).toBe(false);
    finish('done');
    expect((await ran).frames).toMatchObject([{ requestId: 'r1', success: true, data: 'done' }]);
    await there.settled(closed);
  });
});
