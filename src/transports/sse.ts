/** Server-sent events over `fetch`: any header, real status codes; requests go up by POST. */
import { createParser, type EventSourceMessage, type ParserCallbacks } from 'eventsource-parser';
import type { Transport } from '../client/transport.js';
import { checkKnown } from '../lib/known.js';
import { jsonCodec } from '../protocol/codec.js';
import { HoldfastError } from '../protocol/errors.js';
import {
  answerOf,
  type Call,
  caller,
  failed,
  type HttpOptions,
  httpOptions,
  JSON_TYPE,
  lost,
  refused,
  type Url,
} from './http/call.js';
import { type ForeignTurn, foreignLink } from './http/foreign.js';
import { httpLink, type Turn } from './http/link.js';

export type { HttpOptions, Url } from './http/call.js';

export interface SseOptions extends HttpOptions {
  /** Opens the stream of a server that speaks another language. @default "GET" */
  method?: string;
  /** Where such a server takes what we say. @default the URL of the stream */
  postUrl?: Url;
}

/** In characters, and far more than any frame has: what never ends is not kept for ever. */
const LARGEST_BLOCK = 67_108_864;

const STREAM = { accept: 'text/event-stream' };

/**
 * Streams events from `url` (http:, https:, or a function for one that changes), and POSTs requests
 * to it. Every room of a client is named in one `hello`: all of them together must fit into a frame.
 * With `speak` it reads any event stream, and goes on after the last `id` it has heard.
 * @throws TypeError where there is no such option.
 */
export function sse(url: Url, options: SseOptions = {}): Transport {
  checkKnown('sse()', options, [...httpOptions, 'method', 'postUrl']);
  const call = caller(url, options);
  return {
    name: 'sse',
    codec: jsonCodec,
    dial: (present, on) =>
      httpLink({ call, silence: 0, take: (turn) => stream(call, turn) }, present, on),
    speak(dialect) {
      const { method = 'GET', postUrl } = options;
      /** Kept for the next link. */
      let lastId = '';
      const onId = (id: string) => {
        lastId = id;
      };
      const take = async ({ signal, opened, heard, alive }: ForeignTurn) => {
        const headers = { ...STREAM, ...(lastId && { 'last-event-id': bytes(lastId) }) };
        const response = await call({ method, headers, signal });
        if (!isStream(response)) throw refused(response);
        opened();
        throw await read(response, { alive, onEvent: heard, onId });
      };
      const wire = { dialect, call, postUrl, take, silence: 0, asksAgain: false };
      return {
        name: 'sse',
        codec: dialect.codec,
        dial: (present, on) => foreignLink(wire, present, on),
      };
    },
  };
}

/** One of ours. A stream has no end but by a loss. */
async function stream(call: Call, { hello, signal, opened, heard }: Turn): Promise<never> {
  const headers = { ...JSON_TYPE, ...STREAM };
  const response = await call({ method: 'POST', headers, body: JSON.stringify(hello), signal });
  if (!isStream(response)) {
    const { frames, fault } = await answerOf(response);
    if (frames.length > 0) opened();
    frames.forEach(heard);
    throw fault ?? refused(response);
  }
  opened();
  let complaint: HoldfastError | undefined;
  const fault = await read(response, {
    alive: () => heard({ kind: 'ping' }),
    onEvent({ data }) {
      const frame = jsonCodec.decode(data);
      complaint = frame.kind === 'error' ? HoldfastError.from(frame.error) : undefined;
      heard(frame);
    },
  });
  throw complaint ?? fault;
}

function isStream({ status, headers }: Response): boolean {
  if (status === 204)
    throw new HoldfastError(
      'FORBIDDEN',
      'The server answered 204: it asks not to be called again.',
    );
  return status === 200 && /^text\/event-stream\b/i.test(headers.get('content-type') ?? '');
}

interface Reading extends Pick<ParserCallbacks, 'onId'> {
  onEvent(message: EventSourceMessage): void;
  /** Bytes came that hold no event, or a part of one. */
  alive(): void;
}

/** Resolves at the end, with what that is. */
async function read({ body }: Response, reading: Reading): Promise<HoldfastError> {
  if (!body) {
    return new HoldfastError(
      'PROTOCOL_ERROR',
      'This fetch cannot stream. Pass another one as the option fetch, or use polling().',
      { retryable: false },
    );
  }
  let retryAfter: number | undefined;
  let isTold: boolean;
  const parser = createParser({
    ...reading,
    maxBufferSize: LARGEST_BLOCK,
    onEvent(message) {
      isTold = true;
      reading.onEvent(message);
    },
    onRetry(ms) {
      retryAfter = ms;
    },
  });
  const reader = body.getReader();
  // The parser removes the one byte order mark that may be there.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return lost('The stream ended', retryAfter);
      isTold = false;
      parser.feed(decoder.decode(value, { stream: true }));
      if (!isTold) reading.alive();
    }
  } catch (thrown) {
    return failed(thrown, retryAfter);
  }
}

/** A header takes bytes; an id is UTF-8. */
function bytes(id: string): string {
  return String.fromCharCode(...new TextEncoder().encode(id));
}
