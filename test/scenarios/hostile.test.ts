/** What a hostile server, or an application in a hurry, must not be able to do to a client. */
import { describe, expect, test } from 'vitest';
import { harness } from '../client/harness.js';

describe('shouldReconnect', () => {
  test.each(['close', 'disconnect'] as const)(
    'that calls %s() itself has the last word',
    async (end) => {
      const { client, clock, network } = harness({
        auto: true,
        shouldReconnect: () => {
          client[end]();
          return undefined;
        },
      });
      void client.connect();
      await clock.advance(100);
      network.cut();
      await clock.advance(60_000);
      expect(client.state.status).toBe(end === 'close' ? 'closed' : 'disconnected');
      expect(network.links).toHaveLength(0);
      expect(clock.pending).toBe(0);
    },
  );

  test.each([[null], [{}], [Promise.resolve(true)], [{ delay: Number.NaN }], [{ delay: '1' }]])(
    'that answers %o is reported, and has said nothing',
    async (word) => {
      const { client, clock, network, seen } = harness({
        auto: true,
        shouldReconnect: () => word as never,
      });
      void client.connect();
      await clock.advance(100);
      network.cut();
      await clock.advance(20_000);
      expect(client.state.status).toBe('connected');
      expect(seen.errors[0]).toMatchObject({ code: 'INVALID_PAYLOAD' });
    },
  );
});

describe('rooms that do not fit one frame', () => {
  test('are joined after the welcome, each once', async () => {
    const { client, clock, network, server } = harness({ auto: true });
    const names = Array.from(
      { length: 400 },
      (_, index) => `conversation:${'x'.repeat(100)}${index}`,
    );
    const terms = { maxMessageSize: 16_384 };
    server.auto = false;
    void client.connect();
    await clock.advance(10);
    server.link.welcome({ terms });
    server.auto = true;
    await clock.advance(10);
    const joins = names.map((name) => client.room(name).join());
    await clock.advance(100);
    await Promise.all(joins);
    network.cut();
    await clock.advance(20_000);
    const { link } = server;
    const asked = [link.hello?.rooms ?? [], ...link.sent('join').map((frame) => frame.rooms)];
    for (const frame of link.frames) expect(JSON.stringify(frame).length).toBeLessThan(16_384);
    expect(asked.length).toBeGreaterThan(2);
    const mine = asked.flat().filter(({ room }) => room !== '@me');
    expect(mine.map(({ room }) => room).sort()).toEqual([...names].sort());
    expect(client.state.synced).toBe(true);
  });
});

describe('a server without measure', () => {
  test('that says goodbye after every welcome is not dialed faster than one that is away', async () => {
    const { client, clock, network, server } = harness({ auto: true });
    void client.connect();
    for (let round = 0; round < 600; round++) {
      await clock.advance(100);
      if (network.links.length > 0) server.link.send({ kind: 'goodbye', reason: 'again' });
    }
    expect(network.dials).toBeLessThan(20);
  });

  test('whose retrySpread is 1e308 leaves dates that are dates', async () => {
    const { client, clock, network, server } = harness();
    void client.connect();
    await clock.advance(10);
    server.link.welcome({ terms: { retrySpread: 1e308 } });
    await clock.advance(10);
    network.cut();
    await clock.advance(10);
    expect(client.state.nextRetryAt?.toISOString()).toMatch(/^\d{4}-/);
  });
});

describe('a request', () => {
  test('that is refused for its rate again and again ends with that, at its timeout', async () => {
    const { client, clock, server } = harness({ auto: true });
    void client.connect();
    await clock.advance(10);
    server.auto = false;
    const answer = client.request('a:b', 1, { timeout: 5_000 });
    const ended = expect(answer).rejects.toMatchObject({ code: 'RATE_LIMITED' });
    let answered = 0;
    for (let round = 0; round < 100; round++) {
      await clock.advance(100);
      const asked = server.link.sent('request');
      for (; answered < asked.length; answered++) {
        const { requestId } = asked[answered] ?? { requestId: '' };
        const error = { code: 'RATE_LIMITED', message: 'slow down', retryAfter: 1_000 };
        server.link.send({ kind: 'response', requestId, success: false, error });
      }
    }
    await ended;
    expect(answered).toBeLessThan(8);
  });

  test('that may have run on an earlier link is not called unsent by a refusal on this one', async () => {
    const { client, clock, network, server } = harness();
    void client.connect();
    await clock.advance(10);
    server.link.welcome({ session: 's' });
    const answer = client.request('a:b', 1);
    await clock.advance(10);
    network.cut();
    await clock.advance(2_000);
    server.link.welcome({ session: 's' });
    await clock.advance(10);
    const [again] = server.link.sent('request');
    server.link.send({
      kind: 'response',
      requestId: again?.requestId ?? '',
      success: false,
      error: { code: 'RATE_LIMITED', message: 'slow down', retryAfter: 60_000 },
    });
    await clock.advance(10);
    client.close();
    await expect(answer).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  test.each([
    [{ timeout: Number.NaN }],
    [{ timeout: '5s' }],
    [{ ttl: Number.NaN }],
    [{ delivery: 'once' }],
  ])('with the option %o is refused, and changes nothing', async (options) => {
    const { client, clock } = harness({ auto: true });
    void client.connect();
    await clock.advance(10);
    const refused = client.request('a:b', 1, options as never);
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_PAYLOAD' });
    const answer = client.request('a:b', 2);
    await clock.advance(10);
    expect(await answer).toBe(2);
  });
});

describe('iterators', () => {
  test('two calls of next() get two events', async () => {
    const { client, clock, server } = harness({ auto: true });
    const room = client.room('r');
    void client.connect();
    void room.join();
    await clock.advance(10);
    const events = room.events('a:b');
    const both = Promise.all([events.next(), events.next()]);
    server.publish('r', 'a:b', 1);
    server.publish('r', 'a:b', 2);
    await clock.advance(10);
    expect((await both).map(({ value }) => value?.payload)).toEqual([1, 2]);
  });

  test('one that was abandoned does not hold the cursor once its buffer is full', async () => {
    const { client, clock, network, server } = harness({ auto: true });
    const room = client.room('r');
    void client.connect();
    void room.join();
    await clock.advance(10);
    void room.events('a:b', { bufferSize: 3 }).next();
    for (let number = 1; number <= 9; number++) server.publish('r', 'a:b', number);
    await clock.advance(10);
    network.cut();
    await clock.advance(5_000);
    expect(server.link.hello?.rooms).toContainEqual({ room: 'r', since: 'r:9' });
  });
});

describe('listeners', () => {
  test('off() takes off what once() has put on', async () => {
    const { client, clock, server } = harness({ auto: true });
    const room = client.room('r');
    void client.connect();
    void room.join();
    await clock.advance(10);
    const heard: unknown[] = [];
    const listener = (payload: unknown) => heard.push(payload);
    room.once('a:b', listener);
    room.off('a:b', listener);
    server.publish('r', 'a:b', 1);
    await clock.advance(10);
    expect(heard).toEqual([]);
  });

  test('a join that was aborted before ends no process, and null is no cursor', async () => {
    const { client, clock } = harness({ auto: true });
    void client.connect();
    await clock.advance(10);
    await expect(client.room('r').join({ signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'NOT_SENT',
    });
    const joined = client.room('r').join({ since: null });
    await clock.advance(10);
    await joined;
    await expect(client.room('r').join({ since: 5 as never })).rejects.toMatchObject({
      code: 'INVALID_PAYLOAD',
    });
  });

  test('close() in a listener is the end: what came with the same frame is not heard', async () => {
    const { client, clock, server } = harness({ auto: true });
    const room = client.room('r');
    void client.connect();
    void room.join();
    await clock.advance(10);
    const heard: unknown[] = [];
    room.on('a:b', (payload) => {
      heard.push(payload);
      client.close();
    });
    server.publish('r', 'a:b', 1);
    server.publish('r', 'a:b', 2);
    await clock.advance(10);
    expect(heard).toEqual([1]);
  });
});
