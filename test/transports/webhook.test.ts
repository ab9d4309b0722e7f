/** Webhooks over a real HTTP server, signed by the package that senders use. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { inspect } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { defineContract, type HoldfastError } from 'holdfast';
import { virtualClock } from 'holdfast/testing';
import { Webhook } from 'standardwebhooks';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import * as z from 'zod';
import {
  type WebhookOptions,
  type WebhookStore,
  type Webhooks,
  webhooks,
} from '../../src/transports/webhook.js';

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

const secret = `whsec_${Buffer.from('a secret of twenty-four b').toString('base64')}`;
const other = `whsec_${Buffer.from('another secret of the same').toString('base64')}`;

interface Sent {
  readonly id?: string;
  readonly at?: Date;
  readonly with?: string;
  readonly headers?: Record<string, string | string[] | undefined>;
  /** In place of what was signed. */
  readonly body?: string;
  readonly method?: string;
}

const paid = { type: 'invoice.paid', timestamp: '2026-01-01T00:00:00.000Z', data: { id: 'i-1' } };

/** What a sender sends. */
function signed(body: unknown, { id = 'msg_1', at = new Date(), ...sent }: Sent = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': `${Math.floor(at.getTime() / 1_000)}`,
    'webhook-signature': new Webhook(sent.with ?? secret).sign(id, at, text),
    ...sent.headers,
  };
  return { headers, text: sent.body ?? text, method: sent.method ?? 'POST' };
}

type Route = (hooks: Webhooks, request: IncomingMessage, response: ServerResponse) => unknown;

async function receiving(options: Partial<WebhookOptions> = {}, route?: Route) {
  const hooks = webhooks({ secret, ...options });
  const errors: HoldfastError[] = [];
  hooks.onError((error) => errors.push(error));
  const server = createServer((req, res) => {
    if (route === undefined) void hooks.handle(req, res);
    else void route(hooks, req, res);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  const { port } = server.address() as AddressInfo;
  async function post(body: unknown, sent?: Sent) {
    const { headers, text, method } = signed(body, sent);
    const response = await fetch(`http://127.0.0.1:${port}/`, {
      method,
      headers: headers as Record<string, string>,
      ...(method === 'POST' && { body: text }),
    });
    return { status: response.status, said: await response.text(), headers: response.headers };
  }
  const status = async (body: unknown, sent?: Sent) => (await post(body, sent)).status;
  return { hooks, errors, port, post, status };
}

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe('a webhook', () => {
  test('that a sender signed reaches its listeners, and is answered after them', async () => {
    const { hooks, errors, post } = await receiving();
    const heard: unknown[] = [];
    let release = () => {};
    const released = new Promise<void>((done) => {
      release = done;
    });
    hooks.on('invoice.paid', (payload, event) => heard.push(payload, event));
    hooks.onAny(async (type, payload) => {
      await released;
      heard.push(type, payload);
    });
    hooks.on('invoice.void', () => heard.push('never'));
    let isAnswered = false;
    const answer = post(paid).then((got) => {
      isAnswered = true;
      return got;
    });
    await vi.waitFor(() => expect(heard).toHaveLength(2));
    expect(isAnswered).toBe(false);
    release();
    expect(await answer).toMatchObject({ status: 200, said: 'Received.' });
    const info = {
      eventId: 'msg_1',
      type: 'invoice.paid',
      timestamp: Date.parse(paid.timestamp),
      room: undefined,
      seq: undefined,
    };
    expect(heard).toEqual([{ id: 'i-1' }, info, 'invoice.paid', { id: 'i-1' }]);
    expect(errors).toEqual([]);
  });

  test('without a time of its own has that of its attempt, and may have no data', async () => {
    const { hooks, status } = await receiving();
    const heard: unknown[] = [];
    hooks.on('ping', (payload, { timestamp }) => heard.push([payload, timestamp]));
    const at = new Date(Math.floor(Date.now() / 1_000) * 1_000);
    expect(await status({ type: 'ping', timestamp: 'yesterday' }, { at })).toBe(200);
    expect(heard).toEqual([[undefined, at.getTime()]]);
  });

  test('whose text is more than ASCII, or begins with a byte order mark, is what was signed', async () => {
    const { hooks, status } = await receiving();
    const heard: unknown[] = [];
    hooks.on('é', (payload) => heard.push(payload));
    expect(await status({ type: 'é', data: '😀\ufeff' })).toBe(200);
    expect(await status('\ufeff{"type":"é"}', { id: 'msg_2' })).toBe(400);
    expect(heard).toEqual(['😀\ufeff']);
  });

  test('is no longer heard by a listener that was taken off', async () => {
    const { hooks, status } = await receiving();
    const heard = vi.fn();
    const off = hooks.on('invoice.paid', heard);
    hooks.onAny(() => {});
    off();
    off();
    expect(await status(paid)).toBe(200);
    expect(heard).not.toHaveBeenCalled();
  });

  test('signed with any of several secrets is taken, while one takes the place of another', async () => {
    const { hooks, status } = await receiving({ secret: [secret, other] });
    hooks.onAny(() => {});
    expect(await status(paid, { id: '1', with: secret })).toBe(200);
    expect(await status(paid, { id: '2', with: other })).toBe(200);
    expect(await status(paid, { id: '3', with: `whsec_${btoa('a third one')}` })).toBe(401);
  });

  test('with several signatures, one of them ours, is taken', async () => {
    const { hooks, status } = await receiving();
    hooks.onAny(() => {});
    const at = new Date();
    const signatures = [other, secret].map((one) =>
      new Webhook(one).sign('msg_1', at, JSON.stringify(paid)),
    );
    const headers = { 'webhook-signature': `v1a,nonsense ${signatures.join(' ')}` };
    expect(await status(paid, { at, headers })).toBe(200);
  });

  test('by a contract gives its listeners what the schema gives', async () => {
    const contract = defineContract({
      events: { 'invoice.paid': z.object({ id: z.string().transform((id) => id.length) }) },
    });
    const hooks = webhooks({ contract, secret });
    const errors: HoldfastError[] = [];
    hooks.onError((error) => errors.push(error));
    const ids: number[] = [];
    hooks.on('invoice.paid', ({ id }) => {
      ids.push(id);
    });
    const receive = (body: unknown, sent?: Sent) => {
      const { headers, text } = signed(body, sent);
      return hooks.receive({ headers, body: text });
    };
    expect(await receive(paid)).toEqual({ status: 200, body: 'Received.' });
    expect(ids).toEqual([3]);
    const misfit = { ...paid, data: { id: 7 } };
    expect((await receive(misfit, { id: 'msg_2' })).status).toBe(422);
    expect((await receive({ type: 'constructor' }, { id: 'msg_3' })).status).toBe(202);
    expect(errors.map(({ code }) => code)).toEqual(['INVALID_PAYLOAD', 'UNKNOWN_TYPE']);
  });

  test('of a type that nobody listens to is taken, and told once', async () => {
    const { errors, post } = await receiving();
    for (const id of ['1', '2', '3']) {
      expect(await post(paid, { id })).toMatchObject({ status: 202 });
    }
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({ code: 'UNKNOWN_TYPE' });
    expect(errors[0]?.message).toContain('hooks.on');
  });
});

describe('what nobody vouches for', () => {
  const now = () => Math.floor(Date.now() / 1_000);

  test.each<[string, number, () => Sent]>([
    ['another body', 401, () => ({ body: JSON.stringify({ ...paid, data: { id: 'i-2' } }) })],
    ['a body with one more space', 401, () => ({ body: `${JSON.stringify(paid)} ` })],
    ['no body', 401, () => ({ body: '' })],
    ['another id', 401, () => ({ headers: { 'webhook-id': 'msg_2' } })],
    ['another time', 401, () => ({ headers: { 'webhook-timestamp': `${now() - 2}` } })],
    ['another secret', 401, () => ({ with: other })],
    ['a signature cut off', 401, () => ({ headers: { 'webhook-signature': 'v1,abc' } })],
    ['a signature without a version', 401, () => ({ headers: { 'webhook-signature': 'abc' } })],
    ['an empty signature of version 1', 401, () => ({ headers: { 'webhook-signature': 'v1,' } })],
    ['version 1 alone', 401, () => ({ headers: { 'webhook-signature': 'v1' } })],
    ['a signature of another version', 401, () => asVersion('v2')],
    ['a signature of an asymmetric key', 401, () => asVersion('v1a')],
    ['a time more than five minutes ago', 401, () => ({ at: new Date(Date.now() - 302_000) })],
    ['a time more than five minutes ahead', 401, () => ({ at: new Date(Date.now() + 303_000) })],
    ['a time with more behind it', 400, () => ({ headers: { 'webhook-timestamp': `${now()}x` } })],
    ['a time that is none', 400, () => ({ headers: { 'webhook-timestamp': 'now' } })],
    ['a time below 0', 400, () => ({ headers: { 'webhook-timestamp': '-1' } })],
    ['no id', 400, () => ({ headers: { 'webhook-id': '' } })],
    ['no time', 400, () => ({ headers: { 'webhook-timestamp': '' } })],
    ['no signature', 400, () => ({ headers: { 'webhook-signature': '' } })],
  ])('%s is refused with %i, without a word of why', async (_what, status, sent) => {
    const { hooks, errors, post } = await receiving();
    const heard = vi.fn();
    hooks.onAny(heard);
    const got = await post(paid, sent());
    expect(got.status).toBe(status);
    expect(['This is no webhook.', 'The signature does not hold.']).toContain(got.said);
    expect(heard).not.toHaveBeenCalled();
    expect(errors.map(({ code }) => code)).toEqual([
      status === 401 ? 'UNAUTHORIZED' : 'PROTOCOL_ERROR',
    ]);
    // The same id still counts for the one who owns it.
    expect((await post(paid)).status).toBe(200);
  });

  test('up to five minutes of difference between clocks do not matter', async () => {
    const { hooks, status } = await receiving();
    hooks.onAny(() => {});
    for (const [index, off] of [-295_000, 295_000].entries()) {
      expect(await status(paid, { id: `${index}`, at: new Date(Date.now() + off) })).toBe(200);
    }
  });

  test.each([
    ['no JSON', 'hello'],
    ['a list', '[]'],
    ['null', 'null'],
    ['no type', '{"data":1}'],
    ['a type that is no text', '{"type":7}'],
    ['an empty type', '{"type":""}'],
  ])('a signed body of %s is refused', async (_what, body) => {
    const { hooks, errors, status } = await receiving();
    hooks.onAny(() => {});
    expect(await status(body)).toBe(400);
    expect(errors.map(({ code }) => code)).toEqual(['PROTOCOL_ERROR']);
  });

  test('is told once until one holds again, however many come', async () => {
    const { hooks, errors, status } = await receiving();
    hooks.onAny(() => {});
    for (let round = 0; round < 5; round++) await status(paid, { with: other });
    expect(errors).toHaveLength(1);
    await status(paid);
    await status(paid, { with: other });
    expect(errors).toHaveLength(2);
  });

  test('says no secret, wherever one looks', async () => {
    const printed = vi.spyOn(console, 'error').mockImplementation(() => {});
    const hooks = webhooks({ secret: [secret, other] });
    const { headers, text } = signed(paid, { with: `whsec_${btoa('not ours')}` });
    await hooks.receive({ headers, body: text });
    const key = secret.slice(6);
    const seen = [
      inspect(hooks, { depth: 9, showHidden: true }),
      JSON.stringify(hooks),
      inspect(printed.mock.calls, { depth: 9 }),
    ].join();
    expect(printed).toHaveBeenCalledOnce();
    expect(seen).toContain('was refused');
    expect(seen).not.toContain(key);
    for (const wrong of ['whsec_', '', 'whsec_not base64 at all!', [secret, '?']]) {
      expect(() => webhooks({ secret: wrong })).toThrow(TypeError);
      expect(() => webhooks({ secret: wrong })).not.toThrow(/not base64 at all|YSBz/);
    }
    expect(() => webhooks({ secret: [] })).toThrow(TypeError);
  });
});

describe('a webhook that comes again', () => {
  test('after it was heard is answered without its listeners', async () => {
    const { hooks, status } = await receiving();
    const heard = vi.fn();
    hooks.onAny(heard);
    expect(await status(paid)).toBe(200);
    // Another attempt: a later time, another signature, the same id.
    expect(await status(paid, { at: new Date(Date.now() + 60_000) })).toBe(200);
    expect(heard).toHaveBeenCalledOnce();
  });

  test('while it is being heard waits for the outcome', async () => {
    const { hooks, status } = await receiving();
    const releases: (() => void)[] = [];
    const heard = vi.fn(() => new Promise<void>((done) => releases.push(done)));
    hooks.onAny(heard);
    const answers: number[] = [];
    const first = status(paid).then((got) => answers.push(got));
    await vi.waitFor(() => expect(heard).toHaveBeenCalledOnce());
    const second = status(paid).then((got) => answers.push(got));
    const another = status(paid, { id: 'msg_2' });
    await vi.waitFor(() => expect(heard).toHaveBeenCalledTimes(2));
    expect(answers).toEqual([]);
    releases[1]?.();
    expect(await another).toBe(200);
    expect(answers).toEqual([]);
    releases[0]?.();
    await Promise.all([first, second]);
    expect(answers).toEqual([200, 200]);
    expect(heard).toHaveBeenCalledTimes(2);
  });

  test('after its listeners failed is heard again', async () => {
    const { hooks, errors, status } = await receiving();
    const outcomes = [
      () => {
        throw new Error('down');
      },
      () => Promise.reject(new Error('down')),
      () => 'up',
    ];
    const heard = vi.fn(() => outcomes.shift()?.());
    const beside = vi.fn();
    hooks.on('invoice.paid', heard);
    hooks.on('invoice.paid', beside);
    expect([
      await status(paid),
      await status(paid),
      await status(paid),
      await status(paid),
    ]).toEqual([500, 500, 200, 200]);
    expect(heard).toHaveBeenCalledTimes(3);
    expect(beside).toHaveBeenCalledTimes(3);
    expect(errors.map(({ code, cause }) => [code, (cause as Error).message])).toEqual([
      ['LISTENER_FAILED', 'down'],
      ['LISTENER_FAILED', 'down'],
    ]);
  });

  test('is not answered before every listener has ended, though one has failed', async () => {
    const { hooks, status } = await receiving();
    let isOver = false;
    hooks.onAny(() => Promise.reject(new Error('down')));
    hooks.onAny(async () => {
      await new Promise((done) => setImmediate(done));
      isOver = true;
    });
    expect(await status(paid)).toBe(500);
    expect(isOver).toBe(true);
  });

  test('is known for its time, and as long as there is room', async () => {
    const clock = virtualClock();
    const environment = { clock, report() {} };
    const hooks = webhooks({ secret, environment, remember: { ttl: 600_000, max: 3 } });
    const heard: string[] = [];
    hooks.onAny((_type, _payload, { eventId }) => heard.push(eventId));
    const receive = async (id: string) => {
      const { headers, text } = signed(paid, { id });
      expect((await hooks.receive({ headers, body: text })).status).toBe(200);
    };
    for (const id of ['a', 'b', 'c', 'a']) await receive(id);
    expect(heard).toEqual(['a', 'b', 'c']);
    await receive('d');
    await receive('b');
    await receive('a');
    expect(heard).toEqual(['a', 'b', 'c', 'd', 'a']);
    await clock.advance(599_999);
    await receive('a');
    expect(heard).toHaveLength(5);
    await clock.advance(1);
    await receive('a');
    expect(heard).toHaveLength(6);
  });

  test('at another process is known there too, by the store they share', async () => {
    const { store, ids } = sharedStore();
    const hubs = await Promise.all([
      receiving({ remember: { store, ttl: 700_000, lease: 1_000 } }),
      receiving({ remember: { store, ttl: 700_000, lease: 1_000 } }),
    ]);
    const heard = vi.fn();
    let outcome: Promise<unknown> = Promise.reject(new Error('down'));
    outcome.catch(() => {});
    for (const { hooks } of hubs) {
      hooks.onAny((...about) => {
        heard(...about);
        return outcome;
      });
    }
    const [one, two] = hubs;
    expect(await one?.status(paid)).toBe(500);
    expect(ids.size).toBe(0);
    let release = () => {};
    outcome = new Promise<void>((done) => {
      release = done;
    });
    const slow = one?.status(paid);
    await vi.waitFor(() => expect(heard).toHaveBeenCalledTimes(2));
    // Neither a yes, for it may fail there, nor a second run.
    const refused = await two?.post(paid);
    expect(refused?.status).toBe(503);
    expect(refused?.headers.get('retry-after')).toBe('5');
    release();
    expect(await slow).toBe(200);
    expect(await two?.status(paid)).toBe(200);
    expect(heard).toHaveBeenCalledTimes(2);
    expect(ids.get('msg_1')).toEqual({ state: 'done', ms: 700_000 });
  });

  test('is sent again where the store fails, but not once its listeners have returned', async () => {
    const { store } = sharedStore();
    const { hooks, errors, status } = await receiving({ remember: { store } });
    const heard = vi.fn();
    hooks.onAny(heard);
    vi.spyOn(store, 'add').mockRejectedValueOnce(new Error('no store'));
    expect(await status(paid)).toBe(500);
    expect(heard).not.toHaveBeenCalled();
    vi.spyOn(store, 'done').mockImplementationOnce(() => {
      throw new Error('no store');
    });
    expect(await status(paid)).toBe(200);
    expect(heard).toHaveBeenCalledOnce();
    expect(errors.map(({ cause }) => (cause as Error).message)).toEqual(['no store', 'no store']);
  });
});

describe('a request', () => {
  test('that is no POST is refused', async () => {
    const { post } = await receiving();
    const got = await post(paid, { method: 'GET' });
    expect(got.status).toBe(405);
    expect(got.headers.get('allow')).toBe('POST');
  });

  test('with a body of exactly as many bytes as may be is read, one more is not', async () => {
    const text = JSON.stringify({ type: 'a', data: 'é'.repeat(1_000) });
    const bytes = Buffer.byteLength(text);
    for (const [maxBytes, status] of [
      [bytes, 200],
      [bytes - 1, 413],
    ] as const) {
      const { hooks, port, status: post } = await receiving({ maxBytes });
      hooks.onAny(() => {});
      expect(await post(text)).toBe(status);
      // Without saying how long it is.
      const { headers } = signed(text, { id: 'msg_2' });
      const sent = request({ port, host: '127.0.0.1', method: 'POST', headers });
      const answered = once(sent, 'response');
      sent.write(text.slice(0, 500));
      sent.end(text.slice(500));
      const [response] = (await answered) as [IncomingMessage];
      response.resume();
      expect(response.statusCode).toBe(status);
      const direct = signed(text, { id: 'msg_3' });
      const body = Buffer.from(direct.text);
      expect((await hooks.receive({ headers: direct.headers, body })).status).toBe(status);
    }
  });

  test('that never ends its body is cut at the limit, without waiting for the rest', async () => {
    const { port } = await receiving({ maxBytes: 1_000 });
    const socket = connect(port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    let said = '';
    socket.on('data', (data) => {
      said += String(data);
    });
    socket.on('error', () => {});
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    socket.write(`800\r\n${'x'.repeat(2_048)}\r\n`);
    await once(socket, 'close');
    expect(said).toMatch(/^HTTP\/1\.1 413 /);
  });

  test('in chunks of a byte takes no more memory than its bytes', async () => {
    const { port } = await receiving({}, (own, req, res) => {
      void own.handle(req, res);
      req.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        kept.push(new WeakRef(chunk));
      });
    });
    let bytes = 0;
    const kept: WeakRef<Buffer>[] = [];
    const socket = connect(port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    for (let part = 0; part < 10; part++) socket.write('1\r\nx\r\n'.repeat(1_000));
    await vi.waitFor(() => expect(bytes).toBe(10_000));
    await vi.waitFor(() => {
      collect();
      expect(kept.filter((chunk) => chunk.deref() !== undefined).length).toBeLessThan(100);
    });
  });

  test('whose sender is gone before its end is nobody to answer', async () => {
    const handled = vi.fn();
    const { hooks, errors, port } = await receiving({}, async (own, req, res) => {
      await own.handle(req, res);
      handled();
    });
    const heard = vi.fn();
    hooks.onAny(heard);
    const socket = connect(port, '127.0.0.1');
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf');
    await once(socket, 'ready');
    socket.end();
    await vi.waitFor(() => expect(handled).toHaveBeenCalledOnce());
    expect(heard).not.toHaveBeenCalled();
    expect(errors).toEqual([]);
  });

  test('whose body a framework has read says what to do instead', async () => {
    const { hooks, errors, status } = await receiving({}, async (own, req, res) => {
      const chunks: Buffer[] = [];
      for await (const chunk of req) chunks.push(chunk as Buffer);
      Object.assign(req, { body: JSON.parse(String(Buffer.concat(chunks))) });
      await own.handle(req, res);
    });
    hooks.onAny(() => {});
    expect(await status(paid)).toBe(500);
    expect(errors.map(({ message }) => message).join()).toMatch(
      /express\.json\(\).*hooks\.receive/,
    );
  });

  test('whose body a framework has left as bytes is read from there', async () => {
    const { hooks, status } = await receiving({ maxBytes: 1_000 }, async (own, req, res) => {
      const chunks: Buffer[] = [];
      for await (const chunk of req) chunks.push(chunk as Buffer);
      await own.handle(Object.assign(req, { body: Buffer.concat(chunks) }), res);
    });
    hooks.onAny(() => {});
    expect(await status(paid)).toBe(200);
    expect(await status({ type: 'a', data: 'x'.repeat(1_000) }, { id: 'msg_2' })).toBe(413);
  });

  test('that something else has answered already is told, and ends nothing', async () => {
    const { hooks, errors, status } = await receiving({}, async (own, req, res) => {
      res.writeHead(204).end();
      await own.handle(req, res);
    });
    hooks.onAny(() => {});
    expect(await status(paid)).toBe(204);
    await vi.waitFor(() => expect(errors).toHaveLength(1));
  });

  test('of a framework with headers of fetch, or with names in another case, is the same', async () => {
    const hooks = webhooks({ secret });
    const heard = vi.fn();
    hooks.onAny(heard);
    hooks.onError(() => {});
    const { headers, text } = signed(paid);
    const big = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name.toUpperCase(), value]),
    );
    const { receive } = hooks;
    expect((await receive({ headers: new Headers(headers as never), body: text })).status).toBe(
      200,
    );
    expect((await receive({ headers: big, body: Buffer.from(text) })).status).toBe(200);
    const lists = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, [String(value)]]),
    );
    expect((await receive({ headers: lists, body: text })).status).toBe(200);
    const twice = { ...lists, 'webhook-id': ['msg_1', 'msg_1'] };
    expect((await receive({ headers: twice, body: text })).status).toBe(400);
    expect(heard).toHaveBeenCalledOnce();
  });

  test.each([[undefined], [null], [{ type: 'invoice.paid' }]])(
    'of a framework that gives %j as the body says what to do instead',
    async (body) => {
      const hooks = webhooks({ secret });
      const errors: string[] = [];
      hooks.onError(({ message }) => errors.push(message));
      const { headers } = signed(paid);
      expect((await hooks.receive({ headers, body: body as never })).status).toBe(500);
      expect(errors.join()).toMatch(/pass the raw body to hooks\.receive/);
    },
  );
});

describe('options', () => {
  test.each<[string, object]>([
    ['a misspelt one', { secrets: [secret] }],
    ['a misspelt one of remember', { remember: { size: 1 } }],
    ['no bytes', { maxBytes: 0 }],
    ['no room', { remember: { max: 0 } }],
    ['a memory shorter than an attempt holds', { remember: { ttl: 599_999 } }],
    ['a lease of no time', { remember: { lease: Number.NaN } }],
  ])('that are wrong are refused: %s', (_what, options) => {
    expect(() => webhooks({ secret, ...options })).toThrow(/has no option|must be a finite number/);
  });

  test('without a listener for errors they go where the environment says', async () => {
    const report = vi.fn();
    const hooks = webhooks({ secret, environment: { clock: virtualClock(), report } });
    const { headers, text } = signed(paid);
    const receive = () => hooks.receive({ headers, body: text });
    await receive();
    expect(report).toHaveBeenCalledOnce();
    hooks.onAny(() => Promise.reject(new Error('down')));
    hooks.onError(() => {
      throw new Error('in onError');
    });
    hooks.onError(() => Promise.reject(new Error('in onError, later')));
    expect((await receive()).status).toBe(500);
    await vi.waitFor(() => expect(report).toHaveBeenCalledTimes(3));
    expect(report.mock.calls.flat().map((error: Error) => error.message)).toEqual([
      expect.stringContaining('was ignored'),
      'in onError',
      'in onError, later',
    ]);
  });
});

function asVersion(version: string): Sent {
  const at = new Date();
  const signature = new Webhook(secret).sign('msg_1', at, JSON.stringify(paid));
  return { at, headers: { 'webhook-signature': signature.replace('v1', version) } };
}

/** As a database would keep it. */
function sharedStore() {
  const ids = new Map<string, { state: 'running' | 'done'; ms: number }>();
  const store: WebhookStore = {
    async add(id, lease) {
      const known = ids.get(id);
      if (known === undefined) ids.set(id, { state: 'running', ms: lease });
      return known?.state ?? 'new';
    },
    async done(id, ttl) {
      ids.set(id, { state: 'done', ms: ttl });
    },
    async remove(id) {
      ids.delete(id);
    },
  };
  return { store, ids };
}
