/** However a stream is cut into chunks, it says what the whole of it says. */
import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Dialect, Heard } from '../../src/client/dialect.js';
import type { HoldfastError } from '../../src/protocol/errors.js';
import { sse } from '../../src/transports/sse.js';

/** To go on where a run failed: its seed is in the report. */
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);

const word = fc.oneof(
  fc.constantFrom('', ' ', 'a', '1', ':', 'data', 'zwölf', '🦆', '€', '\u{feff}', '\0', '  x'),
  fc.string({ unit: 'grapheme', maxLength: 6 }),
);

const line = fc.oneof(
  fc.tuple(
    fc.constantFrom('data', 'data', 'data', 'id', 'event', 'retry', 'dat', 'Data', ' data', ''),
    fc.constantFrom(':', ': ', ':  ', ''),
    word,
  ),
  fc.constant(['', '', ''] as const),
);

const text = fc
  .tuple(
    fc.constantFrom('', '', '\u{feff}', '\u{feff}\u{feff}'),
    fc.array(fc.tuple(line, fc.constantFrom('\n', '\r', '\r\n')), { maxLength: 40 }),
  )
  .map(([mark, lines]) => mark + lines.map(([parts, end]) => parts.join('') + end).join(''));

/** What the parser makes of all of it at once. */
function whole(input: string) {
  const messages: Heard[] = [];
  let lastId = '';
  let retryAfter: number | undefined;
  createParser({
    onEvent: (message) => void messages.push(message),
    onId(id) {
      lastId = id;
    },
    onRetry(ms) {
      retryAfter = ms;
    },
  }).feed(input);
  return { messages, lastId, retryAfter };
}

/** What the transport makes of the chunks: its messages, and where its next link goes on. */
async function chunked(chunks: readonly Uint8Array[]) {
  const messages: Heard[] = [];
  const asked: (string | null)[] = [];
  const own = (async (_url, init) => {
    asked.push(new Headers(init?.headers).get('last-event-id'));
    const body = new ReadableStream({
      start(controller) {
        if (asked.length === 1) for (const chunk of chunks) controller.enqueue(chunk);
        controller.close();
      },
    });
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  }) as typeof fetch;
  const transport = sse('http://x', { fetch: own }).speak?.({
    name: 'ear',
    subprotocols: [],
    begin: () => ({
      opened() {},
      say() {},
      heard: (message: Heard) => void messages.push(message),
    }),
  } as unknown as Dialect);
  const dial = () =>
    new Promise<HoldfastError>((closed) => {
      transport?.dial(() => ({ kind: 'hello', protocol: 1, clientId: 'c', link: 1, rooms: [] }), {
        opened() {},
        received() {},
        closed,
      });
    });
  const { retryAfter } = await dial();
  await dial();
  const [, lastId] = asked;
  return {
    messages,
    lastId: lastId === null ? '' : Buffer.from(lastId ?? '', 'latin1').toString(),
    retryAfter,
  };
}

test(`E46 any stream, in any chunks, is heard as the whole of it (seed ${seed})`, async () => {
  const sized = fc.array(fc.integer({ min: 0, max: 7 }), { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(text, sized, async (input, sizes) => {
      const bytes = new TextEncoder().encode(input);
      const chunks: Uint8Array[] = [];
      let at = 0;
      for (let turn = 0; at < bytes.length; turn++) {
        const size = sizes[turn % sizes.length] ?? 1;
        chunks.push(bytes.subarray(at, at + size));
        at += size;
        if (turn > 400) break;
      }
      chunks.push(bytes.subarray(at));
      const { lastId, ...rest } = whole(input);
      // A header has no spaces at its ends.
      expect(await chunked(chunks)).toEqual({
        ...rest,
        lastId: lastId.replace(/^[ \t]+|[ \t]+$/g, ''),
      });
    }),
    { seed, numRuns: 500 },
  );
});
