/** Old links never touch new ones, and what is asked for last is what happens. */
import { describe, expect, test, vi } from 'vitest';
import { HoldfastError } from '../../src/protocol/errors.js';
import { type HandLink, handTransport } from '../client/hand-transport.js';
import { harness } from '../client/harness.js';

type Options = Parameters<typeof harness>[0];

/** Ten milliseconds each time, so that a retry is near and its time is known. */
const steady = { initialDelay: 10, maxDelay: 10, jitter: 'none' } as const;

function stage(options: Options = {}) {
  const transport = handTransport();
  const told = harness({ reconnect: steady, ...options, transport });
  return { ...told, transport };
}

/** Brings the newest link all the way. */
async function greet({ transport, clock }: ReturnType<typeof stage>): Promise<HandLink> {
  const { link } = transport;
  link.open();
  link.welcome();
  await clock.settle();
  return link;
}

/** Everything a link can still say after it was given up. */
function speakUp(link: HandLink): void {
  link.open();
  link.welcome({ user: 'somebody else' });
  link.say(
    { kind: 'room', room: 'r', joined: true, epoch: 'e', cursor: 'r:7', seq: 7, recovered: true },
    { kind: 'room', room: 'r', caughtUp: true, cursor: 'r:7' },
    { kind: 'event', eventId: 'late', type: 'a:b', timestamp: 0, payload: 'late' },
    { kind: 'response', requestId: 'q', success: true, data: 'late' },
    { kind: 'auth', expiresIn: 1 },
    { kind: 'ping' },
    { kind: 'pong' },
    { kind: 'goodbye', reason: 'late' },
    { kind: 'error', error: { code: 'UNAUTHORIZED', message: 'late' } },
  );
  link.on.received({ kind: 'garbled', why: 'late' });
  link.end(4403);
}

describe('a link that was given up', () => {
  test('E01 an abandoned link changes nothing, whatever it still says', async () => {
    const story = stage();
    const { client, clock, transport, seen } = story;
    void client.connect();
    const old = await greet(story);
    const answer = client.request('x:y', 1, { requestId: 'q' });
    await clock.settle();
    client.reconnect();
    await clock.settle();
    const fresh = await greet(story);
    expect(old.hungUp).not.toBeNull();
    const before = { state: client.state, sightings: seen.sightings.length };
    const written = [old.sent.length, fresh.sent.length];

    speakUp(old);
    await clock.settle();

    expect(client.state).toBe(before.state);
    expect(seen.sightings).toHaveLength(before.sightings);
    expect([old.sent.length, fresh.sent.length]).toEqual(written);
    expect(client.metrics().ignored).toBeGreaterThan(0);
    fresh.say({ kind: 'response', requestId: 'q', success: true, data: 'new' });
    expect(await answer).toBe('new');
    expect(transport.links).toHaveLength(2);
    client.close();
  });

  test('E01 a dial that was given up cannot connect the client any more', async () => {
    const story = stage({ reconnect: { ...steady, connectTimeout: 1_000 } });
    const { client, clock, transport, seen } = story;
    void client.connect();
    await clock.advance(1_000);
    const [slow] = transport.links;
    expect(slow?.hungUp).not.toBeNull();
    if (slow !== undefined) speakUp(slow);
    await clock.advance(10);
    expect(transport.links).toHaveLength(2);
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'reconnecting']);
    // Nor while the next one waits for its own welcome.
    transport.link.open();
    slow?.welcome();
    await clock.settle();
    expect(client.state.status).toBe('reconnecting');
    expect(seen.events).toEqual([]);
    await greet(story);
    expect(client.state.status).toBe('connected');
    client.close();
  });

  test('E01 in a handover both links are heard, until the welcome of the new one', async () => {
    const story = stage();
    const { client, clock, transport, seen } = story;
    void client.connect();
    await clock.settle();
    const old = await greet(story);
    old.say({ kind: 'goodbye', reason: 'restart' });
    await clock.advance(0);
    const fresh = transport.link;
    expect(fresh).not.toBe(old);
    fresh.open();
    const say = (link: HandLink, eventId: string) =>
      link.say({ kind: 'event', eventId, type: 'a:b', timestamp: 0, payload: eventId });
    say(fresh, 'too early');
    say(old, 'still');
    expect(old.hungUp).toBeNull();
    fresh.welcome();
    say(old, 'no more');
    say(fresh, 'from now on');
    await clock.settle();
    expect(seen.payloads).toEqual(['still', 'from now on']);
    expect(old.hungUp).not.toBeNull();
    old.end(4409);
    await clock.advance(60);
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
    client.close();
  });

  test('E01 a client that is told of a newer link of its own closes; in a handover it goes on', async () => {
    const fenced = stage();
    void fenced.client.connect();
    (await greet(fenced)).end(4409);
    await fenced.clock.advance(60_000);
    expect(fenced.client.state).toMatchObject({ status: 'closed', error: { code: 'SUPERSEDED' } });
    expect(fenced.transport.links).toHaveLength(1);

    const moving = stage();
    void moving.client.connect();
    const old = await greet(moving);
    old.say({ kind: 'goodbye', reason: 'restart' });
    await moving.clock.advance(0);
    old.end(4409);
    await greet(moving);
    expect(moving.client.state.status).toBe('connected');
    expect(moving.transport.links).toHaveLength(2);
    moving.client.close();
  });

  test('E04 a close event that never comes is not awaited', async () => {
    const story = stage({ heartbeat: { interval: 1_000, timeout: 500 } });
    const { client, clock, transport } = story;
    void client.connect();
    const silent = await greet(story);
    await clock.advance(1_500);
    expect(silent.hungUp).toMatchObject({ code: 1000 });
    expect(client.state).toMatchObject({
      status: 'reconnecting',
      error: { code: 'HEARTBEAT_TIMEOUT' },
    });
    await clock.advance(10);
    expect(transport.links).toHaveLength(2);
    await greet(story);
    expect(client.state.status).toBe('connected');
    client.close();
  });

  test('E04 a dial that never opens is given up at its deadline, and the next one starts', async () => {
    const { client, clock, transport } = stage({ reconnect: { ...steady, connectTimeout: 2_000 } });
    void client.connect();
    await clock.advance(1_999);
    expect(transport.link.hungUp).toBeNull();
    await clock.advance(1);
    expect(transport.link.hungUp).not.toBeNull();
    await clock.advance(10);
    expect(transport.links).toHaveLength(2);
    // Open, and no welcome: the same deadline, from the dial.
    await clock.advance(1_000);
    transport.link.open();
    await clock.advance(1_010);
    expect(transport.links).toHaveLength(3);
    client.close();
  });
});

describe('what is asked for last', () => {
  /** Each brings a client to a point where something is awaited, and says how it would go on. */
  interface Point {
    story: ReturnType<typeof stage>;
    /** What was awaited, now that it is too late. */
    late(): void;
    /** What the attempt after it waits for. */
    next?(): void;
  }
  const points: Record<string, () => Promise<Point>> = {
    async credentials() {
      let give = (_token: unknown) => {};
      const auth = () => new Promise((done) => (give = done));
      const story = stage({ auth });
      void story.client.connect();
      await story.clock.settle();
      const late = give;
      return { story, late: () => late('late'), next: () => give('fresh') };
    },
    async dial() {
      const story = stage();
      void story.client.connect();
      await story.clock.settle();
      const { link } = story.transport;
      return { story, late: () => speakUp(link) };
    },
    async handshake() {
      const story = stage();
      void story.client.connect();
      await story.clock.settle();
      const { link } = story.transport;
      link.open();
      return { story, late: () => speakUp(link) };
    },
    async wait() {
      const story = stage();
      void story.client.connect();
      await story.clock.settle();
      const { link } = story.transport;
      link.end();
      await story.clock.settle();
      expect(story.client.state.nextRetryAt).not.toBeNull();
      return { story, late: () => speakUp(link) };
    },
    async replay() {
      const story = stage();
      void story.client.connect();
      story.client
        .room('r')
        .join({ since: 'r:1' })
        .catch(() => {});
      const link = await greet(story);
      link.say({
        kind: 'room',
        room: 'r',
        joined: true,
        epoch: 'e',
        cursor: 'r:1',
        seq: 1,
        recovered: true,
      });
      await story.clock.settle();
      return { story, late: () => speakUp(link) };
    },
    async flush() {
      const story = stage({ limits: { messagesPerSecond: 1 } });
      void story.client.connect();
      const link = await greet(story);
      for (const n of [1, 2, 3]) story.client.send('x:y', n);
      await story.clock.settle();
      expect(link.sent.filter(({ kind }) => kind === 'message')).toHaveLength(1);
      return { story, late: () => speakUp(link) };
    },
    async handover() {
      const story = stage();
      void story.client.connect();
      const link = await greet(story);
      link.say({ kind: 'goodbye', reason: 'restart' });
      await story.clock.advance(0);
      const next = story.transport.link;
      next.open();
      return {
        story,
        late() {
          speakUp(link);
          speakUp(next);
        },
      };
    },
  };

  for (const [point, reach] of Object.entries(points)) {
    test.each(['close', 'disconnect'] as const)(
      `E02 %s() during the ${point} wins`,
      async (end) => {
        const { story, late } = await reach();
        const { client, clock, transport } = story;
        const dialed = transport.links.length;
        const heard = story.seen.events.length;
        client[end]();
        await clock.settle();
        late();
        await clock.advance(300_000);
        expect(client.state.status).toBe(end === 'close' ? 'closed' : 'disconnected');
        expect(transport.links).toHaveLength(dialed);
        expect(transport.links.every(({ hungUp }) => hungUp !== null) || point === 'wait').toBe(
          true,
        );
        expect(story.seen.events).toHaveLength(heard);
        expect(clock.pending).toBe(0);
      },
    );

    test(`E02 reconnect() during the ${point} wins`, async () => {
      const { story, late, next } = await reach();
      const { client, clock, transport } = story;
      const before = [...transport.links];
      client.reconnect();
      await clock.settle();
      late();
      await clock.advance(5);
      expect(client.state.status).not.toBe('connected');
      next?.();
      await clock.settle();
      expect(transport.links).toHaveLength(before.length + 1);
      expect(before.every(({ hungUp }) => hungUp !== null) || point === 'wait').toBe(true);
      await greet(story);
      expect(client.state.status).toBe('connected');
      client.close();
    });
  }

  test('E06 two calls of connect() share one attempt', async () => {
    const story = stage();
    const both = Promise.all([story.client.connect(), story.client.connect()]);
    await story.clock.settle();
    const third = story.client.connect();
    await greet(story);
    await both;
    await third;
    await story.client.connect();
    expect(story.transport.links).toHaveLength(1);
    expect(story.seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
    story.client.close();
  });

  test.each([
    ['connecting', ['disconnect'], 'disconnected'],
    ['connecting', ['disconnect', 'connect'], 'connected'],
    ['connecting', ['close'], 'closed'],
    ['connected', ['disconnect'], 'disconnected'],
    ['connected', ['disconnect', 'connect'], 'connected'],
    ['connected', ['disconnect', 'connect', 'disconnect'], 'disconnected'],
    ['connected', ['close', 'connect'], 'closed'],
    ['connected', ['reconnect'], 'connected'],
    ['reconnecting', ['disconnect'], 'disconnected'],
    ['reconnecting', ['disconnect', 'connect'], 'connected'],
  ] as const)(
    'E06 a listener that hears "%s" and calls %j ends in "%s"',
    async (heard, calls, end) => {
      const { client, clock, network, server } = harness({ auto: true, reconnect: steady });
      let once = true;
      client.onState(({ status }) => {
        if (status !== heard || !once) return;
        once = false;
        for (const call of calls) void Promise.resolve(client[call]()).catch(() => {});
      });
      void client.connect().catch(() => {});
      await clock.advance(50);
      if (heard === 'reconnecting') network.cut();
      await clock.advance(1_000);
      expect(once).toBe(false);
      expect(client.state.status).toBe(end);
      const open = end === 'connected' ? 1 : 0;
      expect(server.links.filter((link) => link.open)).toHaveLength(open);
      client.close();
    },
  );
});

describe('attempts and their backoff', () => {
  /** Milliseconds from each loss to the next dial, over `turns` of `fail`. */
  async function waits(
    story: ReturnType<typeof stage>,
    turns: number,
    fail: (link: HandLink) => Promise<void> | void,
  ): Promise<number[]> {
    const { clock, transport } = story;
    const measured: number[] = [];
    for (let turn = 0; turn < turns; turn++) {
      const dialed = transport.links.length;
      await fail(transport.link);
      await clock.settle();
      const lost = clock.now();
      const retryAt = story.client.state.nextRetryAt?.getTime() ?? Number.NaN;
      await clock.advance(Math.max(0, retryAt - clock.date() - 1));
      expect(transport.links).toHaveLength(dialed);
      // Dates and timers are whole milliseconds: a wait of 1.5 is shown as 1 and ends after 2.
      await clock.advance(1);
      if (transport.links.length === dialed) await clock.advance(1);
      expect(transport.links).toHaveLength(dialed + 1);
      measured.push(clock.now() - lost);
    }
    return measured;
  }

  const plain = { initialDelay: 1_000, maxDelay: 10_000, factor: 2, jitter: 'none' } as const;

  test('E03 open and close in the same tick is a failed attempt', async () => {
    const story = stage();
    const { client, clock, transport, seen } = story;
    void client.connect();
    await clock.settle();
    transport.link.open();
    transport.link.end(1006);
    await clock.settle();
    expect(client.state).toMatchObject({
      status: 'reconnecting',
      reconnectAttempts: 1,
      error: { code: 'CONNECTION_FAILED' },
    });
    await clock.advance(10);
    expect(transport.links).toHaveLength(2);
    expect(seen.statuses).not.toContain('connected');
    client.close();
  });

  test('E03 a welcome and a close in the same tick are no connection either, and the backoff grows', async () => {
    const story = stage({ reconnect: plain });
    void story.client.connect();
    await story.clock.settle();
    const measured = await waits(story, 3, (link) => {
      link.open();
      link.welcome();
      link.end(1006);
    });
    expect(measured).toEqual([1_000, 2_000, 4_000]);
    expect(story.seen.statuses).not.toContain('connected');
    story.client.close();
  });

  test('E07 a bare open does not reset the backoff', async () => {
    const story = stage({ reconnect: plain });
    void story.client.connect();
    await story.clock.settle();
    const measured = await waits(story, 6, async (link) => {
      link.open();
      await story.clock.advance(12_000);
      link.end(1006);
    });
    expect(measured).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    story.client.close();
  });

  test('E07 a server that welcomes and then kills is asked ever more rarely', async () => {
    const story = stage({ reconnect: { ...plain, stableAfter: 10_000 } });
    void story.client.connect();
    await story.clock.settle();
    const short = async (link: HandLink) => {
      link.open();
      link.welcome();
      await story.clock.advance(9_999);
      expect(story.client.state.status).toBe('connected');
      link.end(1006);
    };
    expect(await waits(story, 4, short)).toEqual([1_000, 2_000, 4_000, 8_000]);
    // Once it has held for `stableAfter`, the count starts over.
    const long = async (link: HandLink) => {
      link.open();
      link.welcome();
      await story.clock.advance(10_000);
      expect(story.client.state.reconnectAttempts).toBe(0);
      link.end(1006);
    };
    expect(await waits(story, 1, long)).toEqual([1_000]);
    story.client.close();
  });

  test('E07 disconnect() and connect() do not reset the backoff of a server in trouble', async () => {
    const story = stage({ reconnect: plain });
    void story.client.connect();
    await story.clock.settle();
    await waits(story, 3, (link) => link.end());
    story.client.disconnect();
    void story.client.connect();
    await story.clock.settle();
    expect(await waits(story, 1, (link) => link.end())).toEqual([8_000]);
    story.client.close();
  });

  test('E08 the jitter comes after the cap, on every attempt', async () => {
    const story = stage({ reconnect: { ...plain, jitter: 500 } });
    void story.client.connect();
    await story.clock.settle();
    const measured = await waits(story, 12, (link) => link.end());
    const ceilings = measured.map((_wait, turn) => Math.min(10_000, 1_000 * 2 ** turn));
    for (const [turn, wait] of measured.entries()) {
      expect(wait).toBeGreaterThanOrEqual(ceilings[turn] ?? 0);
      expect(wait).toBeLessThanOrEqual((ceilings[turn] ?? 0) + 501);
    }
    // Clients that all reached the cap still differ.
    expect(new Set(measured.slice(4)).size).toBeGreaterThan(4);
    expect(Math.max(...measured)).toBeGreaterThan(10_000);
    story.client.close();
  });

  test.each([0, 0.5, 1 - 2 ** -53])('E08 no two waits in a row are 0 (roll %d)', async (roll) => {
    const story = stage({
      reconnect: { initialDelay: 1_000 },
      environment: { random: () => roll },
    });
    void story.client.connect();
    await story.clock.settle();
    const measured = await waits(story, 8, (link) => link.end());
    for (const wait of measured) expect(wait).toBeGreaterThanOrEqual(1);
    story.client.close();
  });

  test('E09 the first connect is retried like any other', async () => {
    const { client, clock, network, seen } = harness({ auto: true });
    network.set({ refuse: 'CONNECTION_FAILED' });
    const connected = vi.fn();
    client.connect().then(connected, connected);
    await clock.advance(60_000);
    expect(client.state.status).toBe('reconnecting');
    expect(client.state.reconnectAttempts).toBeGreaterThan(5);
    expect(connected).not.toHaveBeenCalled();
    network.heal();
    await clock.advance(10_000);
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'reconnecting', 'connected']);
    expect(connected).toHaveBeenCalledWith(undefined);
    client.close();
  });

  test('E09 only failFast gives up after the first', async () => {
    const { client, clock, network } = harness({ auto: true, reconnect: { failFast: true } });
    network.set({ refuse: 'CONNECTION_FAILED' });
    const failed = expect(client.connect()).rejects.toBeInstanceOf(HoldfastError);
    await clock.advance(60_000);
    await failed;
    expect(client.state).toMatchObject({
      status: 'disconnected',
      error: { code: 'CONNECTION_FAILED' },
    });
    expect(network.dials).toBe(1);
    client.close();
  });
});
