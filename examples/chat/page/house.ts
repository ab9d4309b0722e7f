/** The demo's own process, asked by plain HTTP: nothing of this goes through the proxy. */
import { HoldfastError } from 'holdfast';
import type { HarmName } from '../harm-list.ts';
import type { Home, Word } from '../site.ts';
import type { Issued } from '../tokens.ts';

export function fetchHome(signal?: AbortSignal): Promise<Home> {
  return ask<Home>('GET', '/home', { signal });
}

export function fetchWord(): Promise<Word> {
  return ask<Word>('GET', '/harm');
}

export function setHarm(name: HarmName, on: boolean): Promise<Word> {
  return ask<Word>('POST', '/harm', { body: { name, on } });
}

export function healAll(): Promise<Word> {
  return ask<Word>('POST', '/heal', { body: {} });
}

/** @throws HoldfastError `UNAUTHORIZED` where the house lets nobody in */
export function fetchToken(
  wish: { old?: string; signIn?: boolean },
  signal?: AbortSignal,
): Promise<Issued> {
  return ask<Issued>('POST', '/token', { body: wish, signal });
}

async function ask<T>(
  method: 'GET' | 'POST',
  path: string,
  { body, signal }: { body?: unknown; signal?: AbortSignal | undefined } = {},
): Promise<T> {
  const response = await fetch(path, {
    method,
    signal: signal ?? null,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
  });
  if (response.status === 403) {
    throw new HoldfastError('UNAUTHORIZED', 'The server refuses the token. Sign in again.');
  }
  if (!response.ok) throw new Error(`${path} answered ${response.status}.`);
  return (await response.json()) as T;
}
