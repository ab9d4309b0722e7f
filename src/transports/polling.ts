/** Polling over `fetch`, for where nothing else gets through: long, or every so often. */
import type { Transport } from '../client/transport.js';
import { checkKnown } from '../lib/known.js';
import { jsonCodec } from '../protocol/codec.js';
import {
  answerOf,
  type Call,
  caller,
  type HttpOptions,
  httpOptions,
  JSON_TYPE,
  refused,
  type Url,
} from './http/call.js';
import { type ForeignTurn, foreignLink } from './http/foreign.js';
import { later } from './http/later.js';
import { httpLink, SOON, type Turn } from './http/link.js';

export type { HttpOptions, Url } from './http/call.js';

export interface PollingOptions extends HttpOptions {
  /** How long the server may keep a poll that has no news, in ms. @default 25_000: proxies end what idles for 30 s */
  wait?: number;
  /** Instead of waiting: polls that are answered at once, with so many ms between them. @default none */
  interval?: number;
  /** Where a server that speaks another language takes what we say. @default the URL of the polls */
  postUrl?: Url;
}

/** So long, in ms, our servers let news gather: one that always has some at once gets no more polls than that. */
const GATHER = 100;

/** A backlog comes in a few large answers. */
const MOST_HASTY = 10;

/**
 * Polls `url` (http:, https:, or a function for one that changes), and POSTs requests to it. Every room of
 * a client is named in each poll: all of them together must fit into a frame. With `speak` it polls any
 * URL by GET; what is answered with an ETag and has not changed since is not heard again.
 * @throws TypeError where there is no such option, or `wait` and `interval` are both given.
 * @throws RangeError where one of them is no finite number of 1 or more.
 */
export function polling(url: Url, options: PollingOptions = {}): Transport {
  checkKnown('polling()', options, [...httpOptions, 'wait', 'interval', 'postUrl']);
  const { interval, wait = 25_000, postUrl } = options;
  if (interval !== undefined && options.wait !== undefined)
    throw new TypeError('polling() takes wait or interval, not both.');
  const pause = interval ?? wait;
  if (!(pause >= 1 && pause < Number.POSITIVE_INFINITY))
    throw new RangeError(`polling() cannot wait ${pause} ms: give a finite number of 1 or more.`);
  const call = caller(url, options);

  /** Answers in a row that came at once. */
  let hasty = 0;

  /** @returns the pause after the exchange, which says whether it brought news. */
  async function paced(hasNews: () => Promise<boolean>): Promise<number> {
    // An empty answer that comes too soon: that server does not wait.
    let rest = Math.min(SOON, pause);
    const stop = later(rest, () => {
      rest = 0;
    });
    hasty++;
    const stopHaste = later(GATHER, () => {
      hasty = 0;
    });
    try {
      const isNews = await hasNews();
      return interval ?? (isNews ? (hasty > MOST_HASTY ? GATHER : 0) : rest);
    } finally {
      stop();
      stopHaste();
    }
  }

  return {
    name: 'polling',
    codec: jsonCodec,
    dial(present, on) {
      const take = (turn: Turn) =>
        paced(() => poll(call, turn, turn.isUrgent ? 0 : interval === undefined ? wait : 0));
      return httpLink({ call, silence: pause, take }, present, on);
    },
    speak(dialect) {
      /** Kept for the next link. */
      let etag = '';
      async function get({ signal, opened, heard, alive }: ForeignTurn): Promise<boolean> {
        const headers = etag === '' ? {} : { 'if-none-match': etag };
        const response = await call({ headers, signal });
        const data = await response.text();
        const isSame = response.status === 304;
        if (!isSame && !response.ok) throw refused(response);
        opened();
        if (!isSame) etag = response.headers.get('etag') ?? '';
        if (data !== '') heard({ data });
        alive();
        return data !== '';
      }
      const take = (turn: ForeignTurn) => paced(() => get(turn));
      const wire = { dialect, call, postUrl, take, silence: pause, asksAgain: true };
      return {
        name: 'polling',
        codec: dialect.codec,
        dial: (present, on) => foreignLink(wire, present, on),
      };
    },
  };
}

/** One of ours: whether there was news. */
async function poll(call: Call, turn: Turn, wait: number): Promise<boolean> {
  const { hello, signal, opened, heard } = turn;
  const body = JSON.stringify({ hello, wait });
  const response = await call({ method: 'POST', headers: JSON_TYPE, body, signal });
  const { frames, fault } = await answerOf(response);
  if (frames.length > 0) opened();
  frames.forEach(heard);
  if (fault !== undefined) throw fault;
  return frames.some(({ kind }) => kind !== 'welcome');
}
