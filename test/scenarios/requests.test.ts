/** Requests through faults: each settles, runs once, and says what it knows where it cannot say more. */
import { getEventListeners } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Client, type ConnectionState, createClient, type HoldfastError } from 'holdfast';
import { createHub, failure, type Hub, type HubOptions, memoryJournal } from 'holdfast/server';
import { type Recorder, recorder, type ScriptedLink } from 'holdfast/testing';
import { webSocket } from 'holdfast/websocket';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { harness } from '../client/harness.js';
import { hubHarness } from './hub.js';

type Options = Parameters<typeof harness>[0];

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

/** What became of a promise: its value, or its error in short. */
function outcomes() {
  const settled: [string, unknown][] = [];
  return {
    settled,
    of: (name: string) => settled.find(([known]) => known === name)?.[1],
    watch(name: string, promise: Promise<unknown>) {
      return promise.then(
        (value) => settled.push([name, value]),
        (error: HoldfastError) => settled.push([name, inShort(error)]),
      );
    },
  };
}

function inShort({ code, details }: HoldfastError): string {
  return details.reason === undefined ? code : `${code} ${details.reason}`;
}

/** A client that a scripted server has welcomed. */
async function welcomed(options: Options = {}) {
  const all = harness({
    reconnect: { initialDelay: 100, maxDelay: 100, jitter: 'none' },
    ...options,
  });
  void all.client.connect();
  await all.clock.advance(1);
  all.server.link.welcome();
  await all.clock.advance(1);
  return { ...all, link: all.server.link };
}

/** Loses the link and waits for the next one, not welcomed yet. */
async function relinked({ clock, server }: ReturnType<typeof harness>): Promise<ScriptedLink> {
  server.link.terminate();
  await clock.advance(110);
  return server.link;
}

function idsOf(link: ScriptedLink): string[] {
  return link.sent('request').map(({ requestId }) => requestId);
}

describe('E30 every request settles', () => {
  test('E30 by its response or its error', async () => {
    const { client, clock, link } = await welcomed();
    const { settled, watch } = outcomes();
    void watch('answered', client.request('a:b', 1, { requestId: 'answered' }));
    void watch('refused', client.request('a:b', 2, { requestId: 'refused' }));
    void watch('silent', client.request('a:b', 3, { requestId: 'silent' }));
    await clock.advance(1);
    link.respond('answered', { n: 1 });
    link.fail('refused', { code: 'SOLD_OUT' });
    link.respond('silent');
    await clock.advance(1);
    expect(settled).toEqual([
      ['answered', { n: 1 }],
      ['refused', 'SOLD_OUT'],
      ['silent', undefined],
    ]);
  });

  test('E30 by its timeout, which stands still while there is no link', async () => {
    const all = await welcomed();
    const { client, clock } = all;
    const { settled, watch } = outcomes();
    void watch('first', client.request('a:b', 1, { timeout: 1_000 }));
    await clock.advance(600);
    all.network.set({ refuse: 'CONNECTION_FAILED' });
    all.server.link.terminate();
    await clock.advance(60_000);
    expect(settled).toEqual([]);
    all.network.set({ refuse: null });
    await clock.advance(100);
    all.server.link.welcome();
    await clock.advance(300);
    expect(settled).toEqual([]);
    await clock.advance(200);
    expect(settled).toEqual([['first', 'OUTCOME_UNKNOWN timeout']]);
  });

  test('E30 by its ttl, its signal, an overflow, a newer one, and the close', async () => {
    const { client, clock } = harness({ outbox: { maxMessages: 4 } });
    const { of, watch } = outcomes();
    const abort = new AbortController();
    void watch('expired', client.request('a:b', 1, { ttl: 500 }));
    void watch('aborted', client.request('a:b', 1, { signal: abort.signal }));
    void watch('superseded', client.request('a:b', 1, { coalesceKey: 'key' }));
    void watch('closed', client.request('a:b', 1, { coalesceKey: 'key' }));
    void watch('also closed', client.request('a:b', 1));
    void watch('too many', client.request('a:b', 1));
    abort.abort();
    void client.connect();
    await clock.advance(600);
    client.close();
    void watch('late', client.request('a:b', 1));
    await clock.advance(1);
    expect({
      expired: of('expired'),
      aborted: of('aborted'),
      superseded: of('superseded'),
      closed: of('closed'),
      'also closed': of('also closed'),
      'too many': of('too many'),
      late: of('late'),
    }).toEqual({
      expired: 'NOT_SENT ttl',
      aborted: 'NOT_SENT aborted',
      superseded: 'NOT_SENT superseded',
      closed: 'NOT_SENT closed',
      'also closed': 'NOT_SENT closed',
      'too many': 'NOT_SENT overflow',
      late: 'NOT_SENT closed',
    });
    expect(client.pending()).toEqual([]);
    expect(client.state.queued).toBe(0);
  });

  test.each(range(1, 5))(
    'E30 through a storm of faults, and nothing is left behind (seed %i)',
    async (seed) => {
      const { clock, client, network, connected } = hubHarness({
        seed,
        hub: { handlers: { 'n:echo': (n) => n } },
      });
      const { settled, watch } = outcomes();
      await connected();
      const signals: AbortController[] = [];
      for (const number of range(1, 200)) {
        const abort = new AbortController();
        signals.push(abort);
        const options = {
          signal: abort.signal,
          timeout: 3_000,
          ttl: number % 3 === 0 ? 200 : 60_000,
        };
        void watch(String(number), client.request('n:echo', number, options));
        if (number % 17 === 0) network.cut();
        if (number % 23 === 0) network.set({ blackHole: 'down' });
        if (number % 23 === 5) network.set({ blackHole: 'none' });
        if (number % 5 === 0) signals[number - 3]?.abort();
        await clock.advance((number * seed) % 40);
      }
      network.set({ blackHole: 'none' });
      await clock.advance(5_000);
      client.close();
      await clock.advance(60_000);
      expect(settled).toHaveLength(200);
      expect(client.pending()).toEqual([]);
      expect(signals.flatMap(({ signal }) => getEventListeners(signal, 'abort'))).toEqual([]);
    },
  );
});

describe('E31 lost responses', () => {
  test('E31 with every second response lost, 500 requests have 500 effects and 500 results, in order', {
    timeout: 30_000,
  }, async () => {
    const effects: unknown[] = [];
    const { clock, client, network, connected } = hubHarness({
      latency: 5,
      client: {
        outbox: { maxInFlight: 16 },
        reconnect: { initialDelay: 20, maxDelay: 20, jitter: 'none' },
      },
      hub: { handlers: { 'n:store': (n) => effects.push(n) && { stored: n } } },
    });
    await connected();
    let responses = 0;
    let isDown = false;
    // What a link loses it loses with all that follows, and ends once what came before has arrived.
    network.drop((frame, direction) => {
      if (direction === 'up') return false;
      if (frame.kind === 'welcome') isDown = false;
      if (isDown || frame.kind !== 'response' || ++responses % 2 === 1) return isDown;
      isDown = true;
      clock.after(6, () => network.cut());
      return true;
    });
    const results: unknown[] = [];
    const all = range(1, 500).map((n) =>
      client.request('n:store', n, { timeout: 600_000 }).then((data) => results.push(data)),
    );
    await clock.advance(60_000);
    await Promise.all(all);
    expect(effects).toEqual(range(1, 500));
    expect(results).toEqual(range(1, 500).map((stored) => ({ stored })));
    expect(client.metrics().reconnects).toBeGreaterThan(200);
  });

  test('E31 a response that is lost on a link that goes on is answered from memory on the next one', async () => {
    let runs = 0;
    const { clock, client, hub, network, connected } = hubHarness({
      hub: { handlers: { 'n:store': () => ++runs } },
    });
    await connected();
    const end = network.drop((frame) => frame.kind === 'response');
    const result = client.request('n:store', null);
    await clock.advance(1_000);
    end();
    network.cut();
    await clock.advance(1_000);
    expect(await result).toBe(1);
    expect(runs).toBe(1);
    expect(hub.metrics()).toMatchObject({ requestsRun: 1, requestsReplayed: 1 });
  });
});

describe('E32 the order of what is sent again', () => {
  test('E32 unanswered requests come before new ones, in the order of first asking', async () => {
    const all = await welcomed({ outbox: { maxInFlight: 3 } });
    const { client, clock, link } = all;
    const ask = (...names: string[]) => {
      for (const requestId of names) void client.request('a:b', null, { requestId });
    };
    ask('1', '2', '3', '4');
    await clock.advance(1);
    expect(idsOf(link)).toEqual(['1', '2', '3']);
    link.respond('2');
    await clock.advance(1);
    expect(idsOf(link)).toEqual(['1', '2', '3', '4']);
    const next = await relinked(all);
    ask('5');
    next.welcome();
    ask('6');
    await clock.advance(1);
    expect(idsOf(next)).toEqual(['1', '3', '4']);
    for (const requestId of ['1', '3', '4', '5', '6']) {
      next.respond(requestId);
      await clock.advance(1);
    }
    expect(idsOf(next)).toEqual(['1', '3', '4', '5', '6']);
    expect(client.state.queued).toBe(0);
  });

  test('E32 what was reported as failed is never sent', async () => {
    const all = await welcomed();
    const { client, clock, link, server, network } = all;
    const { settled, watch } = outcomes();
    const abort = new AbortController();
    const { signal } = abort;
    const ask = (requestId: string, options: object = {}) =>
      watch(requestId, client.request('a:b', null, { requestId, ...options }));
    void ask('written, then timed out', { timeout: 50 });
    void ask('written, then aborted', { signal });
    void ask('written, at most once', { delivery: 'at-most-once' });
    void ask('kept');
    await clock.advance(100);
    abort.abort();
    network.set({ refuse: 'CONNECTION_FAILED' });
    link.terminate();
    await clock.advance(10);
    void ask('expired', { ttl: 100 });
    void ask('coalesced', { coalesceKey: 'key' });
    void ask('newer', { coalesceKey: 'key' });
    await clock.advance(1_000);
    network.set({ refuse: null });
    await clock.advance(200);
    server.link.welcome();
    await clock.advance(10);
    expect(settled.map(([name]) => name)).toEqual([
      'written, then timed out',
      'written, then aborted',
      'written, at most once',
      'coalesced',
      'expired',
    ]);
    expect(idsOf(server.link)).toEqual(['kept', 'newer']);
  });

  test('E32 what the server asks to try again later keeps its place before the rest', async () => {
    const { client, clock, link } = await welcomed({ outbox: { maxInFlight: 2 } });
    for (const requestId of ['1', '2', '3']) void client.request('a:b', null, { requestId });
    await clock.advance(1);
    link.fail('1', { code: 'RATE_LIMITED', retryable: true, retryAfter: 5_000 });
    link.respond('2');
    await clock.advance(4_990);
    expect(idsOf(link)).toEqual(['1', '2']);
    await clock.advance(20);
    expect(idsOf(link)).toEqual(['1', '2', '1', '3']);
  });

  test('E32 requests to one room run one after another, also when they are repeated', async () => {
    const story: string[] = [];
    const setup = hubHarness({
      hub: {
        handlers: {
          'n:slow': async (n) => {
            story.push(`start ${n}`);
            await new Promise<void>((done) => setup.clock.after(500, done));
            story.push(`end ${n}`);
            return n;
          },
        },
      },
    });
    const { clock, client, network, connected } = setup;
    await connected();
    const results: unknown[] = [];
    for (const n of [1, 2, 3]) {
      void client.request('n:slow', n, { room: 'r' }).then((value) => results.push(value));
    }
    await clock.advance(700);
    network.cut();
    await clock.advance(3_000);
    expect(results).toEqual([1, 2, 3]);
    expect(story).toEqual([1, 2, 3].flatMap((n) => [`start ${n}`, `end ${n}`]));
  });
});

describe('E33 never sent and may have run are different', () => {
  test('E33 each failure says which of the two it is, and why', async () => {
    const all = await welcomed();
    const { client, clock, link } = all;
    const { of, watch } = outcomes();
    const abort = new AbortController();
    const options = { signal: abort.signal };
    void watch('written, aborted', client.request('a:b', 1, options));
    void watch('written, timed out', client.request('a:b', 2, { timeout: 100 }));
    void watch('written, lost', client.request('a:b', 3, { delivery: 'at-most-once' }));
    void watch('written, closed', client.request('a:b', 4));
    await clock.advance(10);
    void watch('unwritten, aborted', client.request('a:b', 5, options));
    abort.abort();
    await clock.advance(100);
    link.terminate();
    await clock.advance(10);
    void watch('unwritten, closed', client.request('a:b', 6));
    client.close();
    await clock.advance(1);
    expect(of('written, aborted')).toBe('OUTCOME_UNKNOWN aborted');
    expect(of('written, timed out')).toBe('OUTCOME_UNKNOWN timeout');
    expect(of('written, lost')).toBe('OUTCOME_UNKNOWN lost');
    expect(of('written, closed')).toBe('OUTCOME_UNKNOWN closed');
    expect(of('unwritten, aborted')).toBe('NOT_SENT aborted');
    expect(of('unwritten, closed')).toBe('NOT_SENT closed');
  });

  test('E33 what was written on an earlier link and waits for its turn on this one may have run', async () => {
    const all = await welcomed();
    const { client, clock } = all;
    const { settled, watch } = outcomes();
    const abort = new AbortController();
    void client.request('a:b', 1, { requestId: 'first' });
    void watch('second', client.request('a:b', 2, { requestId: 'second', signal: abort.signal }));
    await clock.advance(1);
    const next = await relinked(all);
    next.welcome({ terms: { messagesPerSecond: 1 } });
    await clock.advance(500);
    expect(idsOf(next)).toEqual(['first']);
    abort.abort();
    await clock.advance(5_000);
    expect(settled).toEqual([['second', 'OUTCOME_UNKNOWN aborted']]);
    expect(idsOf(next)).toEqual(['first']);
  });

  test('E33 another user on the same client: what was written may have run, the rest was not sent', async () => {
    const all = harness({ reconnect: { initialDelay: 100, maxDelay: 100, jitter: 'none' } });
    const { client, clock, server } = all;
    const { settled, watch } = outcomes();
    void client.connect();
    await clock.advance(1);
    server.link.welcome({ user: 'ann' });
    await clock.advance(1);
    void watch('written', client.request('a:b', 1));
    await clock.advance(1);
    const next = await relinked(all);
    void watch('unwritten', client.request('a:b', 2));
    next.welcome({ user: 'bob' });
    await clock.advance(1_000);
    expect(settled).toEqual([
      ['written', 'OUTCOME_UNKNOWN identity'],
      ['unwritten', 'NOT_SENT identity'],
    ]);
    expect(idsOf(next)).toEqual([]);
  });

  test('E33 a server that has lost its memory runs nothing twice, and what it never saw runs once', async () => {
    const effects: unknown[] = [];
    const setup = hubHarness({
      hub: { handlers: { 'n:store': (n) => effects.push(n) } },
    });
    const { clock, client, network, connected } = setup;
    const { settled, watch } = outcomes();
    await connected();
    network.drop((frame) => frame.kind === 'response' && effects.length < 2);
    void watch('written', client.request('n:store', 'written'));
    await clock.advance(1_000);
    network.cut();
    void watch('unwritten', client.request('n:store', 'unwritten'));
    setup.succeed({ journal: memoryJournal() });
    await clock.advance(1_000);
    expect(settled).toEqual([
      ['written', 'OUTCOME_UNKNOWN forgotten'],
      ['unwritten', 2],
    ]);
    expect(effects).toEqual(['written', 'unwritten']);
  });

  /** A handler that hangs on the node that runs it first. */
  async function diesInside(handler: 'once' | 'rerunnable') {
    const runs: string[] = [];
    const journal = memoryJournal();
    const run = (_payload: unknown, { requestId }: { requestId: string }) => {
      runs.push(requestId);
      return runs.length === 1 ? new Promise<never>(() => {}) : 'done';
    };
    const handlers: HubOptions['handlers'] = {
      'n:store': handler === 'once' ? run : { run, rerunnable: true },
    };
    const setup = hubHarness({ hub: { journal, handlers } });
    const { clock, client, connected, network } = setup;
    const { settled, watch } = outcomes();
    await connected();
    void watch('inside', client.request('n:store', 1, { requestId: 'inside' }));
    await clock.advance(100);
    void watch('waits', client.request('n:store', 2, { requestId: 'waits' }));
    await clock.advance(100);
    journal.fence();
    network.cut();
    setup.succeed();
    await clock.advance(1_000);
    return { runs, settled };
  }

  test('E33 a node that dies inside a handler leaves an unknown outcome, not a second run', async () => {
    const { runs, settled } = await diesInside('once');
    expect(settled).toEqual([
      ['inside', 'OUTCOME_UNKNOWN node-died'],
      ['waits', 'done'],
    ]);
    expect(runs).toEqual(['inside', 'waits']);
  });

  test('E33 a handler that is declared rerunnable runs again instead', async () => {
    const { runs, settled } = await diesInside('rerunnable');
    expect(settled).toEqual([
      ['inside', 'done'],
      ['waits', 'done'],
    ]);
    expect(runs).toEqual(['inside', 'inside', 'waits']);
  });

  test('E33 a repeat on another node waits for the one that still runs, and gets its answer', async () => {
    let finish = (_value: string) => {};
    let runs = 0;
    const setup = hubHarness({
      hub: {
        handlers: {
          'n:store': () => {
            runs++;
            return new Promise<string>((done) => {
              finish = done;
            });
          },
        },
      },
    });
    const { clock, client, connected, network } = setup;
    const { settled, watch } = outcomes();
    await connected();
    void watch('slow', client.request('n:store', 1));
    await clock.advance(100);
    setup.succeed();
    network.cut();
    await clock.advance(1_000);
    expect(settled).toEqual([]);
    finish('once');
    await clock.advance(1_000);
    expect(settled).toEqual([['slow', 'once']]);
    expect(runs).toBe(1);
  });

  test('E33 a server that remembers nothing is not asked twice, but for at-least-once', async () => {
    const all = harness({ reconnect: { initialDelay: 100, maxDelay: 100, jitter: 'none' } });
    const { client, clock, server } = all;
    const { settled, watch } = outcomes();
    void client.connect();
    await clock.advance(1);
    server.link.send({ kind: 'welcome', connectionId: 'c' });
    await clock.advance(1);
    void watch('exactly', client.request('a:b', 1, { requestId: 'exactly' }));
    void watch(
      'at least',
      client.request('a:b', 1, { requestId: 'at least', delivery: 'at-least-once' }),
    );
    await clock.advance(1);
    const next = await relinked(all);
    next.send({ kind: 'welcome', connectionId: 'd' });
    await clock.advance(1);
    expect(settled).toEqual([['exactly', 'OUTCOME_UNKNOWN lost']]);
    expect(idsOf(next)).toEqual(['at least']);
  });

  test('E33 an error that says nothing happened is tried again with the same id, and others are not', async () => {
    const runs: string[] = [];
    const { clock, client, connected } = hubHarness({
      hub: {
        handlers: {
          'n:busy': (_payload, { requestId }) => {
            runs.push(requestId);
            if (runs.length === 1) throw failure('BUSY', 'Try again.', { retryable: true });
            return 'done';
          },
          'n:broken': (_payload, { requestId }) => {
            runs.push(requestId);
            throw new Error('half done');
          },
        },
      },
    });
    const { settled, watch } = outcomes();
    await connected();
    void watch('busy', client.request('n:busy', 1, { requestId: 'busy' }));
    await clock.advance(1_000);
    void watch('broken', client.request('n:broken', 1, { requestId: 'broken' }));
    await clock.advance(1_000);
    expect(settled).toEqual([
      ['busy', 'done'],
      ['broken', 'SERVER_ERROR'],
    ]);
    expect(runs).toEqual(['busy', 'busy', 'broken']);
  });
});

describe('E34 a request that is too large', () => {
  test('E34 above the limit the server named it fails before it is sent, and the others go on', async () => {
    const { client, clock, connected, frames } = hubHarness({
      hub: { limits: { maxMessageSize: 1_000 }, handlers: { 'n:size': () => 'ok' } },
    });
    const { settled, watch } = outcomes();
    void watch('asked before the limit was known', client.request('n:size', 'x'.repeat(2_000)));
    void watch('small', client.request('n:size', 'x'));
    await connected();
    void watch('asked after', client.request('n:size', 'x'.repeat(2_000)));
    void watch('small again', client.request('n:size', 'x'));
    await clock.advance(1_000);
    expect(settled).toEqual([
      ['asked before the limit was known', 'MESSAGE_TOO_LARGE'],
      ['small', 'ok'],
      ['asked after', 'MESSAGE_TOO_LARGE'],
      ['small again', 'ok'],
    ]);
    expect(frames('up', 'request')).toHaveLength(2);
    expect(client.metrics().reconnects).toBe(0);
  });

  test.each([1007, 1009])(
    'E34 after a close with %i the culprit is found by sending one at a time',
    async (code) => {
      const { client, clock, server } = await welcomed();
      const { of, settled, watch } = outcomes();
      const served = new Set<ScriptedLink>();
      const sent: string[][] = [];
      function serve(link: ScriptedLink) {
        if (served.has(link)) return;
        served.add(link);
        const here: string[] = [];
        sent.push(here);
        const answer = async () => {
          for (;;) {
            const request = await link.next('request');
            here.push(request.requestId);
            if (request.requestId === 'culprit') link.close(code);
            else if (link.open) link.respond(request, request.requestId);
          }
        };
        void answer();
      }
      const names = ['1', '2', 'culprit', '3', '4'];
      for (const requestId of names)
        void watch(requestId, client.request('a:b', null, { requestId }));
      for (let turn = 0; turn < 40; turn++) {
        if (!served.has(server.link) && server.link.hello !== undefined) {
          if (served.size > 0) server.link.welcome();
          serve(server.link);
        }
        await clock.advance(50);
      }
      expect(of('culprit')).toBe(code === 1007 ? 'INVALID_PAYLOAD' : 'MESSAGE_TOO_LARGE');
      expect(settled.map(([name]) => name).sort()).toEqual([...names].sort());
      expect(sent.flat().filter((requestId) => requestId === 'culprit')).toHaveLength(2);
      expect(sent).toHaveLength(3);
      expect(client.state).toMatchObject({ status: 'connected', queued: 0 });
    },
  );

  test('E34 a WebSocket server with a smaller maxPayload than its terms say costs two links, not a loop', {
    timeout: 30_000,
  }, async () => {
    const effects: unknown[] = [];
    const hub = createHub({
      handlers: { 'n:store': (n) => effects.push(typeof n === 'string' ? n.length : n) },
    });
    const { client, seen, links } = await overRealSockets(hub, { maxPayload: 4_096 });
    await client.connect();
    const { of, settled, watch } = outcomes();
    const asked = range(1, 10).map((n) =>
      watch(String(n), client.request('n:store', n === 5 ? 'x'.repeat(5_000) : n)),
    );
    await Promise.all(asked);
    expect(of('5')).toBe('MESSAGE_TOO_LARGE');
    expect(settled.filter(([, outcome]) => typeof outcome === 'number')).toHaveLength(9);
    expect(effects).toEqual([1, 2, 3, 4, 6, 7, 8, 9, 10]);
    await seen.until(() => client.state.status === 'connected');
    expect(links()).toBe(3);
  });
});

describe('E35 requests that are aborted', () => {
  test('E35 before the write it is taken out of the outbox and never sent', async () => {
    const { client, clock, server } = harness({ auto: true });
    const abort = new AbortController();
    const { settled, watch } = outcomes();
    void watch('aborted', client.request('a:b', 1, { signal: abort.signal, requestId: 'aborted' }));
    void watch('kept', client.request('a:b', 2, { requestId: 'kept' }));
    abort.abort();
    expect(client.pending().map(({ requestId }) => requestId)).toEqual(['kept']);
    void client.connect();
    await clock.advance(10);
    expect(settled).toEqual([
      ['aborted', 'NOT_SENT aborted'],
      ['kept', 2],
    ]);
    expect(idsOf(server.link)).toEqual(['kept']);
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
  });

  test('E35 after the write its response is ignored', async () => {
    const { client, clock, link, seen } = await welcomed();
    const abort = new AbortController();
    const { settled, watch } = outcomes();
    void watch('aborted', client.request('a:b', 1, { signal: abort.signal, requestId: 'aborted' }));
    void watch('next', client.request('a:b', 2, { requestId: 'next' }));
    await clock.advance(1);
    abort.abort();
    link.respond('aborted', 'too late');
    link.respond('next', 'in time');
    await clock.advance(1);
    expect(settled).toEqual([
      ['aborted', 'OUTCOME_UNKNOWN aborted'],
      ['next', 'in time'],
    ]);
    expect(client.pending()).toEqual([]);
    expect(seen.errors).toEqual([]);
  });

  test('E35 with a signal that was aborted before nothing is sent and no listener stays', async () => {
    const { client, clock, link } = await welcomed();
    const signal = AbortSignal.abort('changed my mind');
    const failed = client.request('a:b', 1, { signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    await expect(failed).rejects.toMatchObject({
      code: 'NOT_SENT',
      cause: 'changed my mind',
      details: { reason: 'aborted' },
    });
    await clock.advance(1_000);
    expect(idsOf(link)).toEqual([]);
    expect(client.state.queued).toBe(0);
  });

  test('E35 a request that was answered leaves no listener on its signal', async () => {
    const { client, clock, link } = await welcomed();
    const { signal } = new AbortController();
    const answered = client.request('a:b', 1, { signal, requestId: 'answered' });
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    await clock.advance(1);
    link.respond('answered');
    await clock.advance(1);
    await answered;
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

/** A hub behind a WebSocket server of another maker, which has limits of its own. */
async function overRealSockets(
  hub: Hub,
  limits: { maxPayload: number },
): Promise<{ client: Client; seen: Recorder<ConnectionState>; links: () => number }> {
  const http = createServer();
  const sockets = new WebSocketServer({ server: http, ...limits });
  let links = 0;
  sockets.on('connection', (socket, request) => {
    links++;
    const { received, drained, closed } = bound(
      hub.accept({
        transport: 'websocket',
        request: { url: request.url ?? '/', headers: request.headers, remoteAddress: undefined },
        send(wires) {
          for (const wire of wires) socket.send(wire, drained);
        },
        close: (code, reason) => socket.close(code, reason),
        terminate: () => socket.terminate(),
        get bufferedAmount() {
          return socket.bufferedAmount;
        },
      }),
    );
    socket.on('message', (data, isBinary) => received(isBinary ? data : data.toString()));
    socket.on('error', () => {});
    socket.on('close', closed);
    function bound(events: ReturnType<Hub['accept']>) {
      return {
        received: (wire: unknown) => events.received(wire),
        drained: () => events.drained(),
        closed: () => events.closed(),
      };
    }
  });
  await new Promise<void>((done) => http.listen(0, '127.0.0.1', done));
  const { port } = http.address() as AddressInfo;
  const client = createClient({
    transport: webSocket(`ws://127.0.0.1:${port}/`),
    reconnect: { initialDelay: 20, maxDelay: 20, jitter: 'none' },
  });
  onTestFinished(async () => {
    client.close();
    await hub.close();
    for (const socket of sockets.clients) socket.terminate();
    sockets.close();
    await new Promise((done) => http.close(done));
  });
  return { client, seen: recorder(client), links: () => links };
}
