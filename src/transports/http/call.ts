/** One HTTP exchange: how it is made, and what its answer or its failure means. */
import { revived } from '../../protocol/bytes.js';
import { HoldfastError, statusFault } from '../../protocol/errors.js';
import type { ErrorBody, Garbled, ServerFrame } from '../../protocol/frame.js';
import { serverFrame } from '../../protocol/guard.js';

/** What every wire over HTTP can be told. */
export interface HttpOptions {
  /** Of every request; a function is asked before each. They win over ours. @default none */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>);
  /** Of every request, as `fetch` knows them. @default "same-origin", as in `fetch` */
  credentials?: RequestCredentials;
  /** In place of the platform's. @default the global `fetch`, looked up with each request */
  fetch?: typeof fetch;
}

/** A URL, or a function for one that changes: it is asked before each request. */
export type Url = string | (() => string);

export type Call = (init: RequestInit, url?: Url) => Promise<Response>;

export const httpOptions = ['headers', 'credentials', 'fetch'] as const;

export const JSON_TYPE = { 'content-type': 'application/json' };

/** @throws TypeError for the URL of a WebSocket, which `fetch` would refuse for ever. */
export function caller(url: Url, { headers, credentials, fetch: given }: HttpOptions): Call {
  if (typeof url === 'string' && /^wss?:/i.test(url))
    throw new TypeError('sse() and polling() take an http: or https: URL.');
  return async (init, to = url) => {
    const all = new Headers(init.headers);
    const own = new Headers(typeof headers === 'function' ? await headers() : headers);
    own.forEach((value, name) => void all.set(name, value));
    return (given ?? fetch)(typeof to === 'function' ? to() : to, {
      cache: 'no-store',
      ...(credentials && { credentials }),
      ...init,
      headers: all,
    });
  };
}

/** What a server of ours says in a body, and why it is not what was asked for. */
export interface Answer {
  /** All but `error`. */
  readonly frames: readonly (ServerFrame | Garbled)[];
  readonly error?: ErrorBody | undefined;
  readonly fault?: HoldfastError | undefined;
}

export async function answerOf(response: Response): Promise<Answer> {
  const all = framesOf(await response.text());
  const frames = [];
  for (const frame of all ?? []) {
    if (frame.kind !== 'error') frames.push(frame);
    else return { frames, error: frame.error, fault: HoldfastError.from(frame.error) };
  }
  return { frames, fault: response.ok && all !== undefined ? undefined : refused(response) };
}

function framesOf(text: string): (ServerFrame | Garbled)[] | undefined {
  try {
    const body: unknown = JSON.parse(text);
    if (isObject(body) && Array.isArray(body.frames)) {
      const { frames } = body;
      // JSON has no other way to write the character that bytes begin with.
      return (text.includes('\\u0000') ? frames.map(revived) : frames).map(serverFrame);
    }
  } catch {
    // A proxy's answer, or a portal's.
  }
  return undefined;
}

/** The fault of an answer that is none of ours. */
export function refused({ ok, status, headers }: Response): HoldfastError {
  const type = headers.get('content-type') ?? '';
  const isPage = type.includes('text/html');
  if (!ok) return statusFault({ status, retryAfter: retryAfterOf(headers), isPage });
  return new HoldfastError(
    isPage ? 'CONNECTION_FAILED' : 'PROTOCOL_ERROR',
    `The answer (${status}, ${type || 'without a type'}) is not what was asked for. Check the URL, and what answers there.`,
    { retryable: true, details: { status } },
  );
}

/** In ms. A date is compared with the server's own: a device's clock may be wrong. */
function retryAfterOf(headers: Headers): number | undefined {
  const said = headers.get('retry-after') ?? '';
  const ms = /^\d+$/.test(said)
    ? Number(said) * 1_000
    : new Date(said).getTime() - new Date(headers.get('date') ?? '').getTime();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

/** A request that failed without an answer. What platforms throw quotes the URL, so only its kind is told. */
export function failed(thrown: unknown, retryAfter?: number): HoldfastError {
  if (thrown instanceof HoldfastError) return thrown;
  const { name, cause } = thrown instanceof Error ? thrown : { name: typeof thrown };
  const code = isObject(cause) && typeof cause.code === 'string' ? `: ${cause.code}` : '';
  return lost(`HTTP failed (${name}${code}). Check the URL, the network, and CORS`, retryAfter);
}

export function lost(what: string, retryAfter?: number): HoldfastError {
  return new HoldfastError('CONNECTION_FAILED', `${what}.`, { retryAfter });
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
