/** Promises about what a client sends: it runs once, in order, and what is too large harms nothing else. */
import type { Transport } from '../../client/transport.js';
import { deferred } from '../../lib/deferred.js';
import { HoldfastError } from '../../protocol/errors.js';
import { byteLength } from '../../protocol/wire.js';
import { ROOM, range } from './numbers.js';
import { promised } from './rule.js';
import { holds, same } from './verdict.js';

/** What a hub reads at most, where it matters. */
const LARGEST = 4_096;

export const requests = {
  once: promised('a request runs once, across every cut, and is answered', async (scene) => {
    await scene.serve();
    const player = await scene.member();
    const { client } = player;
    const answer = client.request('echo:wait', 'waits');
    await scene.until('it runs', () => scene.runs.length === 1);
    await scene.lose(player);
    scene.gate.resolve();
    same(await scene.get(answer, 'it is answered'), 'waits', 'the response');
    const answers: Promise<unknown>[] = [];
    for (const round of range(0, 3)) {
      for (const each of range(1, 5)) answers.push(client.request('echo:say', round * 5 + each));
      await scene.wait(5 * round);
      scene.network.cut();
    }
    same(await scene.get(Promise.all(answers), 'all are answered'), range(1, 20), 'responses');
    same([...scene.runs].sort(byText), ['waits', ...range(1, 20)].sort(byText), 'runs');
  }),

  size: promised(
    'a frame of exactly maxMessageSize goes; one byte more is rejected, and nothing else is',
    async (scene) => {
      await scene.serve({ limits: { maxMessageSize: LARGEST } });
      const { client, seen, watch } = await scene.member();
      const text = (size: number) =>
        textOf(size, { transport: watch.transport, date: scene.clock.date() });
      const largest = client.request('echo:say', text(LARGEST), { requestId: 'sized' });
      await scene.get(largest, 'the largest is answered');
      const larger = client.request('echo:say', text(LARGEST + 1), { requestId: 'sized' });
      const after = client.request('echo:say', 'after');
      const fault = await scene.get(
        larger.catch((error: unknown) => error),
        'it is rejected',
      );
      same(codeOf(fault), 'MESSAGE_TOO_LARGE', 'what one byte more is rejected with');
      same(await scene.get(after, 'the next is answered'), 'after', 'the next response');
      same(seen.statuses, ['disconnected', 'connecting', 'connected'], 'statuses');
    },
  ),

  requestOrder: promised('100 requests run, and are answered, in order', async (scene) => {
    await scene.serve();
    const { client } = await scene.member();
    const answered: unknown[] = [];
    const all = range(1, 100).map(async (number) => {
      const answer = client.request('echo:say', number, { room: ROOM });
      answered.push(await answer);
    });
    await scene.get(Promise.all(all), 'all are answered');
    same(scene.runs, range(1, 100), 'runs');
    same(answered, range(1, 100), 'responses');
  }),

  abort: promised('a request that is aborted leaves the others alone', async (scene) => {
    await scene.serve();
    const { client, seen } = scene.client();
    const [early, late] = [new AbortController(), new AbortController()];
    const unsent = client.request('echo:say', 'unsent', { signal: early.signal });
    early.abort();
    same(codeOf(await caught(unsent)), 'NOT_SENT', 'aborted before it was written');
    await scene.get(client.connect(), 'it connects');
    const sent = client.request('echo:wait', 'sent', { signal: late.signal });
    await scene.until('it runs', () => scene.runs.length === 1);
    late.abort();
    same(codeOf(await caught(sent)), 'OUTCOME_UNKNOWN', 'aborted after it was written');
    const released = scene.gate;
    scene.gate = deferred();
    const others = range(1, 3).map((number) => client.request('echo:say', number));
    released.resolve();
    same(await scene.get(Promise.all(others), 'others are answered'), [1, 2, 3], 'responses');
    same(scene.runs, ['sent', 1, 2, 3], 'runs');
    same(seen.statuses, ['disconnected', 'connecting', 'connected'], 'statuses');
  }),

  messages: promised('messages arrive in order, each once', async (scene) => {
    await scene.serve();
    const { client } = await scene.member();
    for (const number of range(1, 50)) {
      client.send('note:sent', number);
      if (number % 10 === 0) await scene.wait(5);
    }
    await scene.until('the last one arrives', () => scene.messages.includes(50));
    await scene.wait(50);
    same(scene.messages, range(1, 50), 'messages');
  }),
};

/** A text with which the frame of a request has this size, whatever the codec makes of it. */
function textOf(size: number, { transport, date }: { transport: Transport; date: number }): string {
  const about = { requestId: 'sized', type: 'echo:say', timestamp: date, room: undefined };
  const sizeOf = (payload: string) =>
    byteLength(transport.codec.encode({ kind: 'request', ...about, payload }));
  let length = size;
  // A header that grows with the text takes a second look.
  for (let look = 0; look < 3; look++) length += size - sizeOf('x'.repeat(length));
  const text = 'x'.repeat(length);
  holds(sizeOf(text) === size, `a frame of ${size} bytes can be written`);
  return text;
}

function caught(promise: Promise<unknown>): Promise<unknown> {
  return promise.catch((error: unknown) => error);
}

function codeOf(error: unknown): string {
  return error instanceof HoldfastError ? error.code : `no error: ${String(error)}`;
}

function byText(one: unknown, other: unknown): number {
  return String(one) < String(other) ? -1 : 1;
}
