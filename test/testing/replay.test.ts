/** What a client went through, saved as text, is decided again: the same facts, the same orders. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type Client, createClient, HoldfastError, type TraceEntry } from 'holdfast';
import { memoryStorage, replayTrace, saveTrace, seededDice } from 'holdfast/testing';
import { webSocket } from 'holdfast/websocket';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Harness, type HarnessOptions, harness } from '../client/harness.js';

interface Traced extends Harness {
  readonly trace: TraceEntry[];
}

/** A client whose whole life is traced. */
function traced(options: HarnessOptions = {}): Traced {
  const story = harness(options);
  return { ...story, trace: heard(story.client) };
}

function heard(client: Client): TraceEntry[] {
  const trace: TraceEntry[] = [];
  client.onTrace((entry) => trace.push(entry));
  return trace;
}

/** Everything that a client can be asked and told, over a network that fails, in an order of chance. */
async function storm(seed: number, options: HarnessOptions = {}): Promise<Traced> {
  let tokens = 0;
  const story = traced({
    auto: true,
    seed,
    auth: () => ({ token: `token-${tokens++}` }),
    onGap: ({ room }) => (tokens % 3 === 0 ? Promise.reject(new Error('down')) : `${room}:1`),
    shouldReconnect: ({ code }) => (code === 'UNAUTHORIZED' ? { delay: 300 } : undefined),
    reconnect: { stableAfter: 500 },
    ...options,
  });
  const { client, clock, network, server, signal } = story;
  const dice = seededDice(seed + 1_000);
  const one = (name: string) => `${name} ${Math.floor(dice() * 5)}`;
  const abort = new AbortController();
  const deeds: (() => unknown)[] = [
    () => client.request('a:b', { text: 'in a request', number: dice() }, { room: 'r' }),
    () => client.request('a:b', [1, 2], { coalesceKey: 'k', ttl: 2_000, timeout: 500 }),
    () => client.request('a:b', null, { delivery: 'at-most-once', signal: abort.signal }),
    () => client.send('c:d', { text: 'in a message' }),
    () => client.room(one('room')).join(),
    () => client.room(one('room')).leave(),
    () => client.room('another').join({ since: 'unknown' }),
    () => server.publish(one('room'), 'e:f', { text: 'in an event' }),
    () => network.cut(),
    () => network.set({ refuse: 4401 }),
    () => network.set({ refuse: 4403, blackHole: 'both' }),
    () => network.heal(),
    () => network.heal(),
    () => server.link.send({ kind: 'goodbye', reason: 'deploy', spread: 100 }),
    () => server.link.send({ kind: 'auth', expiresIn: 1_000 }),
    () => server.link.sendRaw('noise'),
    () => client.reconnect(),
    () => signal('offline'),
    () => signal('visible'),
    () => signal('suspended'),
    () => signal('resumed'),
  ];
  void client.connect();
  await clock.advance(10);
  for (let deed = 0; deed < 200; deed++) {
    void deeds[Math.floor(dice() * deeds.length)]?.();
    await clock.advance(dice() < 0.2 ? 3_000 : dice() * 50);
  }
  abort.abort();
  network.heal();
  await clock.advance(20_000);
  return story;
}

describe('a trace of a whole life', () => {
  test.each([1, 2, 3, 4, 5])('leads to the same orders and states: storm %i', async (seed) => {
    const { client, trace, seen } = await storm(seed);
    client.close();
    const replay = replayTrace(saveTrace(trace));
    expect(replay.difference).toBeNull();
    expect(replay.steps).toHaveLength(trace.length);
    expect(trace.length).toBeGreaterThan(500);
    expect(replay.states.at(-1)).toEqual(client.state);
    expect(seen.statuses.length).toBeGreaterThan(5);
    // The application heard of them once a tick; there may have been others within one.
    const replayed = replay.states.map((state) => JSON.stringify(state));
    for (const state of seen.states) expect(replayed).toContain(JSON.stringify(state));
  });

  test('is replayed with folded payloads too, and none of them is in the text', async () => {
    const { client, trace } = await storm(6);
    client.close();
    const text = saveTrace(trace, { payloads: 'folded' });
    expect(saveTrace(trace)).toMatch(/in a message.*in an event/s);
    expect(text).not.toMatch(/in an? |text/);
    const replay = replayTrace(text);
    expect(replay.difference).toBeNull();
    expect(replay.steps).toHaveLength(trace.length);
    expect(replay.states.at(-1)).toEqual(client.state);
  });

  test('of a client with a storage is replayed too, what it restored included', async () => {
    const storage = memoryStorage();
    const first = traced({ outbox: { storage } });
    void first.client.request('a:b', { text: 'before the crash' });
    await first.clock.advance(10);
    expect(storage.slots).toMatchObject([{ requests: [{ type: 'a:b' }] }]);
    storage.crash();
    const { client, clock, server, trace } = traced({ outbox: { storage }, auto: true, seed: 2 });
    void client.connect();
    await clock.advance(100);
    expect(server.link.sent('request')).toHaveLength(1);
    client.close();
    await clock.advance(100);
    for (const story of [first.trace, trace]) {
      for (const payloads of ['kept', 'folded'] as const) {
        const text = saveTrace(story, { payloads });
        expect(text).not.toContain(storage.slots[0]?.clientId);
        expect(JSON.stringify(story)).not.toContain(storage.slots[0]?.clientId);
        expect(replayTrace(text)).toMatchObject({ difference: null });
      }
    }
    expect(trace.map(({ fact }) => fact.fact)).toContain('restored');
  });

  test('of a client whose storage fails is replayed too', async () => {
    const facts = new Set<string>();
    for (const faults of [{ open: 'fails' }, { write: 'fails' }, { write: 'hangs' }] as const) {
      const storage = memoryStorage({ faults });
      const { client, clock, trace } = traced({ outbox: { storage }, auto: true });
      void client.connect();
      void client.request('a:b', 1);
      await clock.advance(60_000);
      storage.heal();
      await clock.advance(60_000);
      client.close();
      expect(replayTrace(saveTrace(trace))).toMatchObject({ difference: null });
      for (const { fact } of trace) facts.add(fact.fact);
    }
    expect([...facts]).toEqual(expect.arrayContaining(['restoreFailed', 'storeFailed', 'stored']));
  });

  test('keeps what JSON has no words for', async () => {
    const encoder = new TextEncoder();
    const { client, clock, network, server, trace } = traced({ auto: true });
    const bytes = createClient({
      transport: {
        ...network.transport(),
        codec: {
          ...network.transport().codec,
          encode: (frame) => encoder.encode(JSON.stringify(frame)),
        },
      },
      environment: { clock, random: () => 0.5 },
    });
    const encoded = heard(bytes);
    bytes.send('a:b', 'in bytes ✓');
    void client.room('r').join();
    void client.connect();
    await clock.advance(10);
    server.publish('r', 'a:b', { $: 'error', of: { code: 'NONE', message: '' } });
    server.publish('r', 'a:b', { deep: [{ $: 1 }] });
    await clock.advance(10);
    const { steps, difference } = replayTrace(saveTrace(trace));
    expect(difference).toBeNull();
    const payloads = steps.flatMap(({ replayed }) =>
      replayed.orders.flatMap((order) => (order.order === 'deliver' ? [order.event.payload] : [])),
    );
    expect(payloads).toEqual([
      { $: 'error', of: { code: 'NONE', message: '' } },
      { deep: [{ $: 1 }] },
    ]);
    const [told] = replayTrace(saveTrace(encoded)).steps;
    if (told?.fact.fact !== 'told') throw new Error('The message is not in the trace.');
    const { wire } = told.fact.message;
    expect(wire).toBeInstanceOf(Uint8Array);
    expect(new TextDecoder().decode(wire as Uint8Array)).toContain('in bytes ✓');
    expect(trace[0]?.origin?.options.reconnect.maxAttempts).toBe(Number.POSITIVE_INFINITY);
    expect(saveTrace(trace)).toContain('"maxAttempts":{"$":"number","of":"Infinity"}');
    client.close();
    bytes.close();
  });

  test('decides on refused credentials as it did: the same ones again, or fresh ones', async () => {
    const ends: string[] = [];
    for (const isFresh of [false, true]) {
      let calls = 0;
      const { client, clock, network, trace } = traced({
        auth: () => ({ token: isFresh ? `token-${++calls}` : 'token' }),
      });
      network.set({ refuse: 4401 });
      void client.connect();
      await clock.advance(5_000);
      const { difference, states } = replayTrace(saveTrace(trace));
      expect(difference).toBeNull();
      expect(states.at(-1)).toEqual(client.state);
      ends.push(client.state.status);
      client.close();
    }
    expect(ends).toEqual(['closed', 'reconnecting']);
  });

  test('takes the answers of shouldReconnect from the trace', async () => {
    const words: (boolean | { delay: number } | undefined)[] = [
      undefined,
      { delay: 7 },
      true,
      false,
    ];
    const { client, clock, network, trace } = traced({ shouldReconnect: () => words.shift() });
    network.set({ refuse: 1006 });
    void client.connect();
    await clock.advance(60_000);
    expect(client.state.status).toBe('closed');
    expect(trace.flatMap(({ answers }) => answers)).toEqual([null, { delay: 7 }, true, false]);
    const { difference, states } = replayTrace(saveTrace(trace));
    expect(difference).toBeNull();
    expect(states.at(-1)).toEqual(client.state);
    const asked = trace.findIndex(({ answers }) => answers.length > 0);
    const others = trace.map((entry, at) =>
      at === asked ? { ...entry, answers: [false] } : entry,
    );
    expect(replayTrace(saveTrace(others)).difference?.step).toBe(asked + 1);
  });
});

describe('a difference', () => {
  test('is told with its step, and what was and is ordered', async () => {
    const { client, clock, trace } = traced({ auto: true });
    void client.connect();
    await clock.advance(10);
    client.close();
    const dialed = trace.findIndex(({ orders }) => orders.some(({ order }) => order === 'dial'));
    const text = saveTrace(trace).replace('"order":"dial","link":1', '"order":"dial","link":2');
    const { difference, steps } = replayTrace(text);
    expect(difference).toMatchObject({
      step: dialed + 1,
      recorded: { orders: [{ order: 'dial', link: 2 }] },
      replayed: { orders: [{ order: 'dial', link: 1 }] },
    });
    expect(steps.at(-1)).toBe(difference);
  });

  test('comes of another chance, and of another time', async () => {
    const { client, clock, network, trace } = traced({ auto: true });
    void client.connect();
    await clock.advance(10);
    network.cut();
    await clock.advance(30_000);
    client.close();
    const lost = trace.findIndex(({ fact }) => fact.fact === 'lost');
    const changed = (change: object) =>
      saveTrace(trace.map((entry, at) => (at === lost ? { ...entry, ...change } : entry)));
    const { at = 0 } = trace[lost] ?? {};
    expect(replayTrace(changed({})).difference).toBeNull();
    expect(replayTrace(changed({ roll: 0.001 })).difference?.step).toBe(lost + 1);
    expect(replayTrace(changed({ roll: 0.999 })).difference?.step).toBe(lost + 1);
    expect(replayTrace(changed({ at: at + 1 })).difference?.step).toBe(lost + 1);
  });

  test('is not in the words of an error', async () => {
    const { client, clock, network, trace } = traced();
    network.set({ refuse: 4403 });
    client.connect().catch(() => {});
    await clock.advance(10);
    const text = saveTrace(trace);
    const reworded = text.replaceAll('The connection was closed', 'Somebody hung up');
    expect(reworded).not.toBe(text);
    expect(replayTrace(reworded).difference).toBeNull();
    expect(
      replayTrace(text.replaceAll('"UNAUTHORIZED"', '"FORBIDDEN"')).states.at(-1),
    ).toMatchObject({ status: 'closed', error: { code: 'FORBIDDEN' } });
  });
});

describe('what is no whole trace', () => {
  test('one that starts in the middle, or misses steps, says so and is not replayed', async () => {
    const { client, clock } = harness({ auto: true });
    void client.connect();
    await clock.advance(10);
    const late = heard(client);
    client.reconnect();
    await clock.advance(1_000);
    expect(saveTrace(late)).toMatch(/^{"holdfastTrace":1,"whole":false,/);
    expect(() => replayTrace(saveTrace(late))).toThrow('does not hold every step');
    client.close();

    const { trace } = await storm(7);
    expect(saveTrace(trace)).toMatch(/^{"holdfastTrace":1,"whole":true,/);
    expect(() => replayTrace(saveTrace(trace.toSpliced(10, 1)))).toThrow('every step');
    expect(() => replayTrace(saveTrace([]))).toThrow('every step');
  });

  test('text of somebody else or of a later version is refused with the reason', () => {
    expect(() => replayTrace('')).toThrow('This is no trace');
    expect(() => replayTrace('{"name":"holdfast"}')).toThrow('This is no trace');
    expect(() => replayTrace('{"holdfastTrace":2,"whole":true}')).toThrow(
      'This trace is of version 2, and only 1 is known here.',
    );
  });
});

describe('what is not in a saved trace', () => {
  test('E41 tokens, the clientId, what a provider threw and the query of a URL', async () => {
    let calls = 0;
    const canary = 'canary';
    const ids = [canary, 'request 1', 'request 2'];
    const { client, clock, network, server, trace } = traced({
      environment: { id: () => ids.shift() ?? 'another' },
      auth: () => {
        if (++calls === 2) throw new Error(`GET /token?secret=${canary} failed`);
        if (calls === 3) throw new HoldfastError('CONNECTION_FAILED', 'Down.', { cause: canary });
        return calls === 4 ? canary : { token: `${canary}-${calls}`, deep: [{ refresh: canary }] };
      },
    });
    void client.connect();
    await clock.advance(10);
    server.link.welcome({ terms: { authExpiresIn: 60_000 } });
    server.auto = true;
    await clock.advance(200_000);
    network.cut();
    await clock.advance(60_000);
    expect(server.link.hello).toMatchObject({ clientId: canary });
    expect(JSON.stringify(server.links.map(({ hello }) => hello?.auth))).toContain(canary);
    expect(server.links.flatMap((link) => link.sent('auth')).length).toBeGreaterThan(0);
    client.close();
    const text = saveTrace(trace);
    expect(text).toContain('"fact":"credentialsFailed"');
    expect(text).toContain('"key":"credentials 2"');
    expect(text).not.toContain(canary);
    expect(JSON.stringify(trace)).not.toContain(canary);
    expect(replayTrace(text).difference).toBeNull();
  });

  test('the query of a URL that cannot be dialed, or is refused by a real server', async () => {
    const server = createServer((socket) => socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { port } = server.address() as { port: number };
    const urls = [
      `ws://127.0.0.1:${port}/?token=canary`,
      'ws://127.0.0.1:1/?token=canary',
      ':canary',
    ];
    for (const url of urls) {
      const client = createClient({ transport: webSocket(url), reconnect: { maxAttempts: 0 } });
      const trace = heard(client);
      await client.connect().catch(() => {});
      const text = saveTrace(trace);
      expect(text).toContain('"fact":"lost"');
      expect(text).not.toContain('canary');
      expect(replayTrace(text).difference).toBeNull();
    }
  });

  test("payloads, data and the words of the application's errors, where they are folded", async () => {
    const { client, clock, server, trace } = traced({ auto: true });
    void client.connect();
    void client.room('r').join();
    await clock.advance(10);
    server.publish('r', 'a:b', 'canary');
    client.send('a:b', 'canary');
    void client.request('a:b', { deep: 'canary' });
    await clock.advance(10);
    server.auto = false;
    const failed = client.request('a:b', 'canary').catch((thrown: Error) => thrown);
    await clock.advance(10);
    const error = {
      code: 'TAKEN',
      message: 'canary',
      details: { name: 'canary', reason: 'known' },
    };
    server.link.fail(server.link.sent('request').at(-1) ?? '', error);
    await clock.advance(10);
    expect(await failed).toMatchObject({ message: 'canary' });
    client.close();
    await clock.advance(10);
    expect(saveTrace(trace).match(/canary/g)?.length).toBeGreaterThan(8);
    const text = saveTrace(trace, { payloads: 'folded' });
    expect(text).not.toContain('canary');
    expect(text).toContain('"payload":{"$":"payload","of":8}');
    expect(text).toContain('"details":{"reason":"known"}');
    const { difference, steps } = replayTrace(text);
    expect(difference).toBeNull();
    // An encoded frame is told from others, and is as long as it was.
    const asked = steps.flatMap(({ fact }) => (fact.fact === 'asked' ? [fact.request] : []));
    expect(asked.map(({ wire }) => wire.length)).toEqual(asked.map(({ bytes }) => bytes));
    const written = steps.flatMap(({ recorded }) =>
      recorded.orders.flatMap((order) => (order.order === 'transmit' ? order.frames : [])),
    );
    expect(new Set(asked.map(({ wire }) => wire)).size).toBe(2);
    expect(written).toEqual(expect.arrayContaining(asked.map(({ wire }) => wire)));
  });
});
