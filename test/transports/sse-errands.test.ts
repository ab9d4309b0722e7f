/** Requests and messages over HTTP: line by line, several in one POST, and what its refusals mean. */
import { afterEach, describe, expect, test } from 'vitest';
import type { ServerFrame } from '../../src/protocol/frame.js';
import { sse } from '../../src/transports/sse.js';
import {
  type Asked,
  answer,
  aRoundTrip,
  dialed,
  error,
  eventually,
  expectFault,
  httpServer,
  stream,
  welcome,
} from './http-server.js';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const isErrand = ({ body }: Asked) => body?.frames !== undefined;

const idsOf = ({ body }: Asked): string[] =>
  body.frames.map((frame: { requestId?: string; type: string }) => frame.requestId ?? frame.type);

const succeeded = (requestId: string): ServerFrame => ({
  kind: 'response',
  requestId,
  success: true,
});

/** Answers every request. */
const kindly = ({ response, body }: Asked) =>
  answer(
    response,
    body.frames.flatMap((frame: { requestId?: string }) =>
      frame.requestId === undefined ? [] : [succeeded(frame.requestId)],
    ),
  );

const request = (requestId: string, room?: string, payload?: unknown) =>
  JSON.stringify({ kind: 'request', requestId, type: 'a:b', timestamp: 1, room, payload });

const message = (type: string) => JSON.stringify({ kind: 'message', type, timestamp: 1 });

/** A link that is welcomed, and a server that answers its errands as `say` does. */
async function welcomed(say: (asked: Asked) => void, terms = {}) {
  const server = await httpServer((asked) => {
    if (isErrand(asked)) say(asked);
    else if (asked.body === undefined) answer(asked.response, []);
    else stream(asked.response, { ...welcome, terms } as never);
  });
  cleanups.push(server.close);
  const told = dialed(sse(server.url));
  cleanups.push(() => told.link.close());
  await eventually(() => expect(told.kinds()).toEqual(['opened', 'welcome']));
  const errands = () => server.asked.filter(isErrand);
  const responses = () =>
    told.told.flatMap((one) =>
      typeof one === 'object' && 'requestId' in one
        ? [one.success ? one.requestId : `${one.requestId} ${one.error.code}`]
        : [],
    );
  return { server, told, link: told.link, errands, responses };
}

describe('errands', () => {
  test('say who sends them, and hold the frames as they were encoded', async () => {
    const { link, errands, responses } = await welcomed(kindly);
    const odd = request('q1', undefined, { text: ' "\\ ü 🦆', deep: [1.0, { n: null }] });
    link.send([odd]);
    await eventually(() => expect(responses()).toEqual(['q1']));
    const [asked] = errands();
    expect(asked?.text).toBe(
      `{"clientId":"c","link":7,"session":"s","auth":"old","frames":[${odd}]}`,
    );
    expect(asked?.headers['content-type']).toBe('application/json');
  });

  test('take what comes in one call along, in order, with room for the answers', async () => {
    const { link, errands, responses } = await welcomed(kindly);
    link.send([request('q1'), message('m:1'), request('q2')]);
    await eventually(() => expect(responses()).toEqual(['q1', 'q2']));
    expect(errands().map(idsOf)).toEqual([['q1', 'm:1', 'q2']]);
  });

  test('go one after the other in a line; what waits goes together, and other lines go beside', async () => {
    const held: Asked[] = [];
    const { link, errands, responses } = await welcomed((asked) => {
      if (held.push(asked) > 3) kindly(asked);
    });
    link.send([request('q1'), request('a1', 'a'), request('b1', 'b')]);
    await eventually(() => expect(errands()).toHaveLength(3));
    link.send([request('q2')]);
    link.send([request('a2', 'a'), request('q3')]);
    const bytes = [request('q2'), request('a2', 'a'), request('q3')].join('').length;
    expect(link.bufferedAmount).toBe(bytes);
    expect(errands().map(idsOf)).toEqual([['q1'], ['a1'], ['b1']]);
    for (const asked of held.slice(0, 1)) kindly(asked);
    await eventually(() => expect(responses()).toEqual(['q1', 'q2', 'q3']));
    expect(link.bufferedAmount).toBe(request('a2', 'a').length);
    for (const asked of held.slice(1, 3)) kindly(asked);
    await eventually(() => expect(responses()).toHaveLength(6));
    expect(errands().map(idsOf)).toEqual([['q1'], ['a1'], ['b1'], ['q2', 'q3'], ['a2']]);
    expect(link.bufferedAmount).toBe(0);
  });

  test('hold no more bytes than the server takes in one frame, counted as UTF-8', async () => {
    const wires = ['q1', 'q2', 'q3', 'q4'].map((id) => request(id, undefined, 'ü'.repeat(40)));
    const [first = ''] = wires;
    const maxMessageSize = 2 * Buffer.byteLength(first);
    const { link, errands, responses } = await welcomed(kindly, { maxMessageSize });
    const large = request('q5', undefined, 'x'.repeat(maxMessageSize));
    link.send([...wires, large, message('m:1')]);
    await eventually(() => expect(errands()).toHaveLength(4));
    expect(responses()).toHaveLength(5);
    expect(errands().map(idsOf)).toEqual([['q1', 'q2'], ['q3', 'q4'], ['q5'], ['m:1']]);
  });

  test('one whose connection fell silent is asked again, without its messages, and holds up nothing', async () => {
    let isSilent = true;
    const heartbeat = { interval: 60_000, timeout: 50 };
    const { link, errands, responses, told } = await welcomed(
      (asked) => {
        if (!isSilent) kindly(asked);
        isSilent = false;
      },
      { heartbeat },
    );
    link.send([request('q1'), message('m:1'), request('q2')]);
    await eventually(() => expect(errands()).toHaveLength(1));
    link.send([request('q3')]);
    await eventually(() => expect(responses()).toEqual(['q1', 'q2', 'q3']));
    expect(errands().map(idsOf)).toEqual([
      ['q1', 'm:1', 'q2'],
      ['q1', 'q2', 'q3'],
    ]);
    expect(errands()[0]?.isOver).toBe(true);
    expect(told.fault()).toBe(undefined);
    expect(link.bufferedAmount).toBe(0);
  });

  test('present the newest credentials', async () => {
    const { link, errands } = await welcomed(kindly);
    link.send([{ kind: 'auth', auth: 'new' }, request('q1')]);
    await eventually(() => expect(errands()).toHaveLength(1));
    expect(errands()[0]?.body.auth).toBe('new');
  });

  test('bytes in an answer arrive as bytes', async () => {
    const { link, told } = await welcomed(({ response }) =>
      answer(response, [{ ...succeeded('q1'), data: { bytes: '\0bAP8=' } } as never]),
    );
    link.send([request('q1')]);
    await eventually(() =>
      expect(told.told.at(-1)).toMatchObject({ data: { bytes: Uint8Array.of(0, 255) } }),
    );
  });
});

describe('errands that are refused', () => {
  test.each([
    [400, 'INVALID_PAYLOAD'],
    [401, 'TOKEN_EXPIRED'],
    [403, 'UNAUTHORIZED'],
    [413, 'MESSAGE_TOO_LARGE'],
    [429, 'RATE_LIMITED'],
  ])('a bare %d fails its request with %s, and the link goes on', async (status, code) => {
    let refusals = 1;
    const { link, told, responses } = await welcomed((asked) => {
      if (refusals-- > 0) asked.response.writeHead(status, { 'retry-after': '1' }).end();
      else kindly(asked);
    });
    link.send([request('q1')]);
    await eventually(() => expect(responses()).toEqual([`q1 ${code}`]));
    expect(told.told.at(-1)).toMatchObject({ error: { retryAfter: 1_000 } });
    link.send([request('q2')]);
    await eventually(() => expect(responses()).toEqual([`q1 ${code}`, 'q2']));
    expect(told.fault()).toBeUndefined();
  });

  test.each([
    ['TOKEN_EXPIRED', 401],
    ['RATE_LIMITED', 429],
  ])('an error frame %s fails every request of the errand', async (code, status) => {
    const { link, told, responses } = await welcomed(({ response }) =>
      answer(response, [error(code, 70)], status),
    );
    link.send([request('q1'), message('m:1'), request('q2')]);
    await eventually(() => expect(responses()).toEqual([`q1 ${code}`, `q2 ${code}`]));
    expect(told.told.at(-1)).toMatchObject({ error: { message: 'No.', retryAfter: 70 } });
    expect(told.fault()).toBeUndefined();
  });

  test('of several that are too much together each goes alone, and the culprit fails', async () => {
    const { link, errands, responses } = await welcomed((asked) => {
      if (idsOf(asked).includes('q2')) asked.response.writeHead(413).end();
      else kindly(asked);
    });
    link.send([request('q1'), request('q2'), request('q3')]);
    await eventually(() => expect(responses()).toEqual(['q1', 'q2 MESSAGE_TOO_LARGE', 'q3']));
    expect(errands().map(idsOf)).toEqual([['q1', 'q2', 'q3'], ['q1'], ['q2'], ['q3']]);
    link.send([request('q4'), request('q5')]);
    await eventually(() => expect(responses()).toHaveLength(5));
    expect(errands().at(-1)?.body.frames).toHaveLength(2);
    expect(link.bufferedAmount).toBe(0);
  });

  test.each<[string, (asked: Asked) => void, string]>([
    ['a bare 500', ({ response }) => response.writeHead(500).end(), 'SERVER_ERROR'],
    ['a bare 503', ({ response }) => response.writeHead(503).end(), 'CONNECTION_FAILED'],
    ['a bare 404', ({ response }) => response.writeHead(404).end(), 'ROOM_NOT_FOUND'],
    [
      'a page',
      ({ response }) => response.writeHead(413, { 'content-type': 'text/html' }).end('<p>'),
      'CONNECTION_FAILED',
    ],
    ['what is no answer of ours', ({ response }) => response.end('ok'), 'PROTOCOL_ERROR'],
    ['a reset', ({ response }) => response.destroy(), 'CONNECTION_FAILED'],
    [
      'another session',
      ({ response }) => answer(response, [error('CONNECTION_FAILED')], 409),
      'CONNECTION_FAILED',
    ],
    [
      'a client that is not let in any more',
      ({ response }) => answer(response, [error('UNAUTHORIZED')], 403),
      'UNAUTHORIZED',
    ],
  ])('%s ends the link', async (_, say, code) => {
    const { link, told, responses } = await welcomed(say);
    link.send([request('q1')]);
    await expectFault(told, { code });
    expect(responses()).toEqual([]);
    expect(told.kinds()).toEqual(['opened', 'welcome', 'closed']);
  });

  test('responses that came with it count', async () => {
    const { link, told } = await welcomed(({ response }) =>
      answer(response, [succeeded('q1'), error('CONNECTION_FAILED')], 503),
    );
    link.send([request('q1'), request('q2')]);
    await expectFault(told, { code: 'CONNECTION_FAILED' });
    expect(told.kinds()).toEqual(['opened', 'welcome', 'response', 'closed']);
  });

  test('close() lets go of those under way, and of those that wait', async () => {
    const { link, told, errands, server } = await welcomed(() => {});
    link.send([request('q1')]);
    await eventually(() => expect(errands()).toHaveLength(1));
    link.send([request('q2')]);
    link.close();
    await eventually(() => expect(errands()[0]?.isOver).toBe(true));
    link.send([request('q3')]);
    await aRoundTrip(server);
    expect(errands()).toHaveLength(1);
    expect(told.kinds()).toEqual(['opened', 'welcome']);
  });
});
