/** A hub behind a real HTTP server on loopback, and clients that are nothing but `fetch`. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHub, type HubOptions, type Journal } from 'holdfast/server';
import { ids, seededDice, type VirtualClock, virtualClock } from 'holdfast/testing';
import { afterEach, vi } from 'vitest';
import type { AnyContract } from '../../src/protocol/contract.js';
import type { ServerFrame } from '../../src/protocol/frame.js';
import { serverFrame } from '../../src/protocol/schema.js';

type Kind<K extends ServerFrame['kind']> = Extract<ServerFrame, { kind: K }>;

const endings: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

export const hello = (fields: Record<string, unknown> = {}) => ({
  kind: 'hello',
  protocol: 1,
  clientId: 'c1',
  link: 1,
  rooms: [],
  ...fields,
});

export const request = (requestId: string, type: string, fields: Record<string, unknown> = {}) => ({
  ...{ kind: 'request', requestId, type, timestamp: 1 },
  ...fields,
});

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly frames: ServerFrame[];
  all<K extends ServerFrame['kind']>(kind: K): Kind<K>[];
}

export class Site {
  readonly hub: ReturnType<typeof createHub>;
  readonly clock: VirtualClock;
  readonly errors: unknown[] = [];
  readonly server = createServer((incoming, response) => this.hub.handleHttp(incoming, response));
  url = '';

  constructor(options: HubOptions<AnyContract, string> = {}) {
    const clock = virtualClock();
    this.clock = clock;
    this.hub = createHub<AnyContract, string>({
      onError: (error) => this.errors.push(error),
      environment: { clock, random: seededDice(7), id: ids('h') },
      ...options,
    });
  }

  async open(): Promise<this> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/realtime`;
    endings.push(async () => {
      const closed = this.hub.close();
      // Whatever waits for a grace period gets it.
      await this.clock.advance(10_000);
      await closed;
      this.server.closeAllConnections();
      await new Promise((done) => this.server.close(done));
    });
    return this;
  }

  fetch(body: unknown, init: RequestInit = {}): Promise<Response> {
    return fetch(this.url, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...init,
      headers: { 'content-type': 'application/json', ...init.headers },
    });
  }

  async post(body: unknown, init: RequestInit = {}): Promise<Answer> {
    const response = await this.fetch(body, init);
    const { frames } = (await response.json()) as { frames: unknown[] };
    return answerOf(response, frames.map(parsed));
  }

  poll(fields: Record<string, unknown> = {}, wait = 0, init: RequestInit = {}): Promise<Answer> {
    return this.post({ hello: hello(fields), wait }, init);
  }

  errand(
    session: string,
    frames: unknown[],
    fields: Record<string, unknown> = {},
    init?: RequestInit,
  ) {
    return this.post({ clientId: 'c1', link: 1, session, frames, ...fields }, init);
  }

  /** The session of a client that polled once. */
  async session(fields: Record<string, unknown> = {}): Promise<string> {
    const answer = await this.poll(fields);
    return answer.all('welcome')[0]?.session ?? 'none';
  }

  async stream(fields: Record<string, unknown> = {}): Promise<Stream> {
    const abort = new AbortController();
    endings.push(() => abort.abort());
    const response = await this.fetch(hello(fields), {
      headers: { accept: 'text/event-stream' },
      signal: abort.signal,
    });
    return new Stream(response, abort);
  }

  /** Lets time pass until the promise has settled, but not more than `most` ms. */
  async settled<T>(promise: Promise<T>, most = 10_000): Promise<T> {
    let isDone = false;
    const done = () => {
      isDone = true;
    };
    promise.then(done, done);
    for (let passed = 0; !isDone && passed < most; passed += 10) {
      await new Promise((resolve) => setImmediate(resolve));
      await this.clock.advance(10);
    }
    return promise;
  }
}

export function site(options: HubOptions<AnyContract, string> = {}): Promise<Site> {
  return new Site(options).open();
}

/** A stream, read as it comes unless it is paused. */
export class Stream {
  readonly response: Response;
  readonly frames: ServerFrame[] = [];
  readonly ids: string[] = [];
  text = '';
  comments = 0;
  isOver = false;
  readonly #abort: AbortController;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;

  constructor(response: Response, abort: AbortController) {
    this.response = response;
    this.#abort = abort;
    this.#reader = response.body?.getReader();
  }

  /** Reads on in the background. */
  read(): this {
    void this.#run().catch(() => {
      this.isOver = true;
    });
    return this;
  }

  abort(): void {
    this.#abort.abort();
  }

  all<K extends ServerFrame['kind']>(kind: K): Kind<K>[] {
    return this.frames.filter((frame): frame is Kind<K> => frame.kind === kind);
  }

  seqs(room: string): (number | undefined)[] {
    const events = this.all('event').filter((event) => event.room === room);
    return events.map(({ seq }) => seq);
  }

  heard<K extends ServerFrame['kind']>(kind: K, count = 1): Promise<Kind<K>[]> {
    return vi.waitFor(() => {
      const found = this.all(kind);
      if (found.length < count) throw new Error(`${found.length} of ${count} ${kind}`);
      return found;
    }, 10_000);
  }

  ended(): Promise<void> {
    return vi.waitFor(() => {
      if (!this.isOver) throw new Error('still open');
    }, 10_000);
  }

  async #run(): Promise<void> {
    const decoder = new TextDecoder();
    for (;;) {
      const next = await this.#reader?.read();
      if (next === undefined || next.done) break;
      this.text += decoder.decode(next.value, { stream: true });
      const blocks = this.text.split('\n\n');
      this.text = blocks.pop() ?? '';
      for (const block of blocks) this.#block(block.split('\n'));
    }
    this.isOver = true;
  }

  #block(lines: string[]): void {
    if (lines.length === 1 && lines[0] === ':') this.comments++;
    for (const line of lines) {
      if (line.startsWith('id: ')) this.ids.push(line.slice(4));
      if (line.startsWith('data: ')) this.frames.push(parsed(JSON.parse(line.slice(6))));
    }
  }
}

function answerOf({ status, headers }: Response, frames: ServerFrame[]): Answer {
  return {
    status,
    headers,
    frames,
    all: <K extends ServerFrame['kind']>(kind: K) =>
      frames.filter((frame): frame is Kind<K> => frame.kind === kind),
  };
}

/** Every frame a hub writes fits the schema. */
function parsed(frame: unknown): ServerFrame {
  return serverFrame.parse(frame) as ServerFrame;
}

/** The journal, with one of its methods in slow motion: each call waits to be let through. */
export function heldJournal(inner: Journal, method: 'link' | 'recall') {
  const held: (() => void)[] = [];
  let isHeld = false;
  const journal: Journal = {
    replayWindow: inner.replayWindow,
    requestWindow: inner.requestWindow,
    open: (user) =>
      new Proxy(inner.open(user), {
        get(node, key) {
          const own = Reflect.get(node, key).bind(node);
          if (key !== method) return own;
          return async (...args: unknown[]) => {
            if (isHeld) await new Promise<void>((resolve) => held.push(resolve));
            return own(...args);
          };
        },
      }),
  };
  return {
    journal,
    held,
    hold: () => {
      isHeld = true;
    },
    release: () => {
      isHeld = false;
      for (const go of held.splice(0)) go();
    },
  };
}
