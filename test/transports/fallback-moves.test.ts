/** How a fallback moves between wires, on a virtual clock: probes, the way up, what is fenced meanwhile. */
import { type Client, createClient } from 'holdfast';
import { VIRTUAL_EPOCH } from 'holdfast/testing';
import { describe, expect, test, vi } from 'vitest';
import type { Link, LinkEvents, Transport } from '../../src/client/transport.js';
import { jsonCodec } from '../../src/protocol/codec.js';
import { closeFault } from '../../src/protocol/errors.js';
import type { Hello } from '../../src/protocol/frame.js';
import { fallback } from '../../src/transports/fallback.js';
import { type Place, type PlaceOptions, place } from './fallback-place.js';

const refused = { refuse: 'CONNECTION_FAILED' };
const mended = { refuse: null, silent: false, blackHole: 'none' } as const;
const PROBE = 2_000;

/** On SSE, because the WebSocket was refused; in a room. */
async function onSse(options: PlaceOptions = {}): Promise<Place> {
  const one = place({ ...options, fallback: { probeInterval: PROBE, ...options.fallback } });
  one.websocket.set(refused);
  await one.connected();
  void one.client.room('room').join();
  await one.clock.advance(200);
  expect(one.client.state).toMatchObject({ transport: 'sse', synced: true });
  return one;
}

/** Publishes 1, 2, 3 … every 10 ms, as long as the clock is advanced by it; returns how many. */
function feedOf({ clock, hub }: Place) {
  let number = 0;
  return {
    async advance(ms: number) {
      for (let passed = 0; passed < ms; passed += 10) {
        await hub.publish('room', 'feed:ticked', ++number);
        await clock.advance(10);
      }
    },
    async expectAll({ seen }: Place) {
      await clock.advance(500);
      expect(seen.payloads).toEqual(Array.from({ length: number }, (_, index) => index + 1));
      expect(seen.gaps).toEqual([]);
    },
  };
}

const steadily = ['disconnected', 'connecting', 'connected'];

describe('the way up', () => {
  test('E47 a better wire that works again is used within one probe interval: no gap, no double', async () => {
    const one = await onSse();
    const { client, dials, open, seen, websocket } = one;
    const feed = feedOf(one);
    await feed.advance(5_000);
    expect(client.state.transport).toBe('sse');
    websocket.set(mended);
    await feed.advance(PROBE);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
    await feed.advance(3 * PROBE);
    expect(open()).toEqual([1, 0, 0]);
    expect(dials()[1]).toBe(1);
    expect(seen.statuses).toEqual(steadily);
    await feed.expectAll(one);
  });

  test('E47 there is no gap and no double whichever wire is the slower one', async () => {
    for (const [up, down] of [
      [5, 150],
      [150, 5],
      [150, 150],
    ] as const) {
      const one = await onSse();
      const { client, seen, sse, websocket } = one;
      const feed = feedOf(one);
      websocket.set({ ...mended, latency: up });
      sse.set({ latency: down });
      await feed.advance(2 * PROBE);
      expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
      expect(seen.statuses).toEqual(steadily);
      await feed.expectAll(one);
    }
  });

  test('requests that are under way run once, and are answered', async () => {
    const runs: string[] = [];
    const one = await onSse({
      hub: {
        handlers: {
          'count:add': async (_, { requestId }) => {
            runs.push(requestId);
            await new Promise<void>((done) => one.clock.after(300, done));
            return requestId;
          },
        },
      },
    });
    const { client, clock, websocket } = one;
    websocket.set(mended);
    const answers: Promise<unknown>[] = [];
    for (let passed = 0; passed < 2 * PROBE; passed += 50) {
      const requestId = `r-${passed}`;
      answers.push(client.request('count:add', null, { room: requestId, requestId }));
      await clock.advance(50);
    }
    await clock.advance(2_000);
    expect(client.state.transport).toBe('websocket');
    expect(await Promise.all(answers)).toEqual([...runs].sort(byNumber));
    expect(new Set(runs).size).toBe(runs.length);
    expect(runs).toHaveLength(80);
  });

  test('rooms that are joined and left in the middle of it stand as they should', async () => {
    const one = await onSse();
    const { client, clock, hub, seen, websocket } = one;
    websocket.set({ ...mended, latency: 200 });
    await clock.advance(PROBE - 500);
    for (let number = 1; number <= 20; number++) {
      void client.room(`room-${number}`).join();
      if (number > 1) client.room(`room-${number - 1}`).leave();
      await clock.advance(100);
    }
    await clock.advance(PROBE);
    expect(client.state).toMatchObject({
      status: 'connected',
      transport: 'websocket',
      synced: true,
    });
    seen.clear();
    for (let number = 1; number <= 20; number++) await hub.publish(`room-${number}`, 'n', number);
    await clock.advance(500);
    expect(seen.payloads).toEqual([20]);
  });

  test('of several better wires the best that works is taken', async () => {
    const one = place({ fallback: { probeInterval: PROBE } });
    const { client, clock, connected, seen, sse, websocket } = one;
    websocket.set(refused);
    sse.set(refused);
    await connected();
    expect(client.state.transport).toBe('polling');
    sse.set(mended);
    await clock.advance(PROBE);
    expect(client.state.transport).toBe('sse');
    websocket.set(mended);
    await clock.advance(PROBE);
    expect(client.state.transport).toBe('websocket');
    await clock.advance(60_000);
    expect(client.state.transport).toBe('websocket');
    expect(seen.statuses).toEqual(steadily);
  });

  test('the latency of a wire that won is measured from its hello', async () => {
    const one = await onSse();
    expect(one.client.state.latency).toBe(40);
    one.websocket.set({ ...mended, latency: 35 });
    await one.clock.advance(2 * PROBE);
    expect(one.client.state).toMatchObject({ transport: 'websocket', latency: 70 });
  });

  test('a goodbye of the server on the lower wire ends the probe: the next dial is the only one', async () => {
    const one = await onSse({ hub: { retrySpread: 100 } });
    const { client, clock, hellos, hub, seen, websocket } = one;
    websocket.set({ refuse: null, silent: true });
    await clock.advance(PROBE);
    const probe = hellos.at(-1);
    expect(probe?.wire).toBe('websocket');
    const closing = hub.close({ drain: true, over: 10_000 });
    one.succeed();
    websocket.set(mended);
    await clock.advance(PROBE / 2);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
    await clock.advance(60_000);
    await closing;
    expect(seen.statuses).toEqual(steadily);
    expect(websocket.links).toHaveLength(1);
  });

  test('a goodbye of the server and a welcome of the probe at once: the client moves there', async () => {
    const one = await onSse();
    const { client, clock, hellos, hub, seen, websocket } = one;
    websocket.set({ ...mended, latency: { up: 200, down: 200 } });
    while (hellos.at(-1)?.wire !== 'websocket') await clock.advance(10);
    void hub.publish('room', 'n', 1);
    one.succeed();
    const closing = hub.close({ drain: true, over: 10_000 });
    await clock.advance(30_000);
    await closing;
    expect(client.state).toMatchObject({
      status: 'connected',
      transport: 'websocket',
      synced: true,
    });
    expect(seen.statuses.filter((status) => status === 'closed')).toEqual([]);
    expect(seen.payloads).toEqual([1]);
  });
});

const byNumber = (one: string, other: string) => Number(one.slice(2)) - Number(other.slice(2));

describe('a probe that fails', () => {
  test.each([
    ['refused', refused],
    ['silent', { silent: true }],
    ['refused after it was opened', { refuse: 4403 }],
    ['held up', { blackHole: 'both' as const }],
  ])('changes nothing: %s', async (_, fault) => {
    const one = await onSse();
    const { client, clock, dials, open, seen, websocket } = one;
    websocket.set({ ...mended, ...fault });
    const feed = feedOf(one);
    await feed.advance(5 * PROBE);
    expect(dials()).toEqual([expect.any(Number), 1, 0]);
    expect(dials()[0]).toBeGreaterThanOrEqual(5);
    // A memory network counts a link until both ends know of its end.
    if (!('blackHole' in fault)) expect(open()[0]).toBeLessThanOrEqual(1);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'sse' });
    expect(seen.statuses).toEqual(steadily);
    await feed.expectAll(one);
    client.close();
    websocket.set(mended);
    await clock.advance(1_000);
    expect([open(), clock.pending]).toEqual([[0, 0, 0], 0]);
  });

  test('is given up after the head start of each wire, not kept until the next', async () => {
    const { clock, member, sse } = place();
    let opening = 0;
    const closed = vi.fn(() => opening--);
    const stuck: Transport = {
      ...{ name: 'stuck', codec: jsonCodec },
      dial() {
        opening++;
        return { send() {}, close: closed, bufferedAmount: 0 };
      },
    };
    const options = { clock, store: false, probeInterval: 60_000, headStart: 2_000 } as const;
    const wires = [stuck, stuck, sse.transport({ name: 'sse' })];
    const client = member({ transport: fallback(wires, options) });
    void client.connect();
    await clock.advance(5_000);
    expect([client.state.transport, opening]).toEqual(['sse', 0]);
    await clock.advance(60_000);
    expect(opening).toBe(1);
    await clock.advance(2_000);
    expect(opening).toBe(2);
    await clock.advance(2_000);
    expect(opening).toBe(0);
    expect(closed).toHaveBeenCalledTimes(4);
    client.close();
    await clock.advance(1_000);
    expect([clock.pending, opening]).toEqual([0, 0]);
  });

  test('may take longer once it has presented its hello: it would fence the link for nothing', async () => {
    let isSlow = false;
    const one = await onSse({
      fallback: { probeInterval: 60_000 },
      hub: {
        authenticate: async () => {
          if (isSlow) await new Promise<void>((done) => one.clock.after(5_000, done));
          return { user: 'ada' };
        },
      },
    });
    const { client, clock, seen, websocket } = one;
    isSlow = true;
    websocket.set(mended);
    await clock.advance(70_000);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
    expect(seen.statuses).toEqual(steadily);
  });

  test('does not count against the wire', async () => {
    const one = await onSse();
    const { client, clock, sse, websocket } = one;
    await clock.advance(10 * PROBE);
    websocket.set(mended);
    // No probe in between: the dial starts with the best, which is not given up.
    sse.cut();
    await clock.advance(1_000);
    expect(client.state.transport).toBe('websocket');
  });
});

describe('the lower wire is fenced by the probe', () => {
  /** Frames of a server on the better wire take longer than its 4409 on the lower one. */
  async function fenced(latency = 400): Promise<Place> {
    const one = await onSse();
    one.websocket.set({ ...mended, latency: { up: 10, down: latency } });
    await one.clock.advance(PROBE - 200 - 20);
    while (one.hellos.at(-1)?.wire !== 'websocket') await one.clock.advance(10);
    await one.clock.advance(100);
    expect(one.open()).toEqual([1, 0, 0]);
    return one;
  }

  test('E47 its 4409 is not told: the client stays connected until the welcome comes', async () => {
    const one = await fenced();
    const { client, clock, hub, seen } = one;
    expect(client.state).toMatchObject({ status: 'connected', transport: 'sse' });
    await hub.publish('room', 'feed:ticked', 1);
    await clock.advance(1_000);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
    expect(seen.statuses).toEqual(steadily);
    expect(seen.payloads).toEqual([1]);
    expect(seen.errors).toEqual([]);
  });

  test.each(['cut', 'held up'])(
    'E47 the probe is %s before its welcome: the link is lost, and the client comes back',
    async (how) => {
      const one = await fenced();
      const { client, clock, hub, seen, websocket } = one;
      await hub.publish('room', 'feed:ticked', 1);
      if (how === 'cut') websocket.cut();
      else websocket.set({ blackHole: 'both' });
      await clock.advance(3_500);
      const faults = seen.states.flatMap(({ error }) => (error === null ? [] : [error.code]));
      expect(new Set(faults)).toEqual(new Set(['CONNECTION_FAILED']));
      expect(seen.statuses).toContain('reconnecting');
      websocket.heal();
      await clock.advance(20_000);
      expect(client.state.status).toBe('connected');
      expect(seen.payloads).toEqual([1]);
    },
  );

  test('the lower wire is really lost meanwhile: that is told at once, and the probe ends', async () => {
    const one = await onSse();
    const { client, clock, open, seen, sse, websocket } = one;
    websocket.set({ refuse: null, silent: true });
    await clock.advance(PROBE);
    expect(open()).toEqual([1, 1, 0]);
    sse.cut();
    await clock.settle();
    expect(client.state.status).toBe('reconnecting');
    expect(open()).toEqual([0, 0, 0]);
    websocket.set(mended);
    await clock.advance(1_000);
    expect(seen.statuses).toEqual([...steadily, 'reconnecting', 'connected']);
  });
});

describe('what waits for the next dial', () => {
  /** The client asks for credentials before it dials: from now on that takes for ever. */
  async function waiting(latency = 20) {
    let isSlow = false;
    let answer = () => {};
    const one = await onSse({
      client: {
        auth: () =>
          isSlow
            ? new Promise((done) => {
                answer = () => done({ token: 'one' });
              })
            : { token: 'one' },
        authTimeout: 1_000_000,
      },
    });
    isSlow = true;
    one.sse.set({ latency });
    one.websocket.set(mended);
    await one.clock.advance(PROBE);
    expect(one.hellos.at(-1)?.wire).toBe('websocket');
    expect(one.client.state).toMatchObject({ status: 'connected', transport: 'sse' });
    return { ...one, one, answer: () => answer() };
  }

  test.each([
    ['before', 5],
    ['after', 300],
  ])(
    'is taken over with all that it has said: the 4409 came %s its welcome',
    async (_, latency) => {
      const { answer, client, clock, hub, one, seen } = await waiting(latency);
      for (let number = 1; number <= 50; number++) await hub.publish('room', 'n', number);
      await clock.advance(5_000);
      expect(seen.payloads).toEqual([]);
      const before = one.hellos.length;
      answer();
      await clock.advance(100);
      expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
      expect(one.hellos).toHaveLength(before);
      expect(seen.payloads).toHaveLength(50);
      expect(seen.statuses).toEqual(steadily);
    },
  );

  test('is closed when the client closes', async () => {
    const { client, clock, open } = await waiting();
    client.close();
    await clock.advance(1_000);
    expect([open(), clock.pending]).toEqual([[0, 0, 0], 0]);
  });

  test('is closed when the client disconnects, and a new connection is a new dial', async () => {
    const { answer, client, clock, dials, open } = await waiting();
    client.disconnect();
    await clock.advance(1_000);
    expect(open()).toEqual([0, 0, 0]);
    const before = dials()[0] ?? 0;
    void client.connect();
    await clock.settle();
    answer();
    await clock.advance(1_000);
    expect(dials()[0]).toBe(before + 1);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
  });

  test('is lost: so is the link that it has fenced, and the client comes back', async () => {
    const { answer, client, clock, hub, seen, websocket } = await waiting();
    await hub.publish('room', 'n', 1);
    websocket.cut();
    await clock.advance(10);
    expect(client.state).toMatchObject({ status: 'reconnecting' });
    answer();
    await clock.advance(5_000);
    expect(client.state.status).toBe('connected');
    expect(seen.payloads).toEqual([1]);
  });

  test('is the own of each client, where two share a transport', async () => {
    const one = await onSse();
    const { client, clock, hub, member, websocket } = one;
    const heard: string[] = [];
    const other = member();
    for (const [name, each] of [
      ['one', client],
      ['other', other],
    ] as const) {
      each.on('mine:told', (payload) => heard.push(`${name} ${String(payload)}`));
    }
    void other.connect();
    await clock.advance(500);
    expect(other.state.transport).toBe('sse');
    void client.room('of one').join();
    void other.room('of the other').join();
    await clock.advance(500);
    websocket.set(mended);
    await clock.advance(2 * PROBE);
    expect([client.state.transport, other.state.transport]).toEqual(['websocket', 'websocket']);
    await hub.publish('of one', 'mine:told', 1);
    await hub.publish('of the other', 'mine:told', 2);
    await clock.advance(500);
    expect(heard).toEqual(['one 1', 'other 2']);
    expect(websocket.links).toHaveLength(2);
  });
});

describe('the way down', () => {
  test('E47 a wire that came back and is killed again is left without leaving connected', async () => {
    const one = place({ fallback: { probeInterval: 30_000 } });
    const { client, clock, connected, kill, seen, websocket } = one;
    kill(websocket, 300);
    await connected();
    void client.room('room').join();
    await clock.advance(20_000);
    expect(client.state.transport).toBe('sse');
    seen.clear();
    const feed = feedOf(one);
    await feed.advance(70_000);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'sse' });
    expect(websocket.dials).toBeGreaterThanOrEqual(5);
    expect(new Set(seen.statuses)).toEqual(new Set(['connected']));
    await feed.expectAll(one);
  });

  test('a wire that has proven itself once is passed by like any other, where it fails there', async () => {
    const until = VIRTUAL_EPOCH + 3_600_000;
    let kept = `0,0,0,${until},0,0`;
    const store = {
      get: () => kept,
      set(_: string, text: string) {
        kept = text;
      },
    };
    const { client, clock, connected, dials, kill, sse, websocket } = place({
      fallback: { store },
    });
    kill(websocket, 300);
    sse.set(refused);
    await connected();
    await clock.advance(10_000);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'polling' });
    expect(dials()).toEqual([3, 1, 1]);
  });

  test('a wire that was killed proves nothing while the next one is sought', async () => {
    const one = place({ fallback: { headStart: 6_000, probeInterval: 3_600_000 } });
    const { client, clock, connected, dials, kill, polling, sse, websocket } = one;
    kill(websocket, 300);
    sse.set({ silent: true });
    await connected();
    await clock.advance(15_000);
    expect(client.state.transport).toBe('polling');
    sse.set(mended);
    polling.cut();
    await clock.advance(10_000);
    expect(client.state.transport).toBe('sse');
    expect(dials()[0]).toBe(3);
  });

  test('no other wire works either: the loss is told', async () => {
    const one = place();
    const { client, clock, connected, kill, open, polling, sse, websocket } = one;
    kill(websocket, 300);
    sse.set(refused);
    polling.set({ silent: true });
    await connected();
    await clock.advance(20_000);
    expect(one.seen.statuses).toEqual(
      Array.from(one.seen.statuses, (_, index) =>
        index < 2 ? steadily[index] : index % 2 === 0 ? 'connected' : 'reconnecting',
      ),
    );
    expect(websocket.dials).toBeGreaterThan(3);
    client.close();
    await clock.advance(1_000);
    expect([open(), clock.pending]).toEqual([[0, 0, 0], 0]);
  });
});

describe('our own later hello', () => {
  /** Two wires played by hand. */
  function played() {
    const wires = ['best', 'next'].map((name) => {
      const dials: { on: LinkEvents; hello: () => Hello; closed: boolean }[] = [];
      const transport: Transport = {
        name,
        codec: jsonCodec,
        dial(hello, on): Link {
          const dial = { on, hello, closed: false };
          dials.push(dial);
          return {
            send() {},
            close() {
              dial.closed = true;
            },
            bufferedAmount: 0,
          };
        },
      };
      return { dials, transport };
    });
    const [best, next] = wires;
    if (best === undefined || next === undefined) throw new Error();
    const { clock } = place();
    const options = { clock, store: false, probeInterval: 10_000 } as const;
    const transport = fallback([best.transport, next.transport], options);
    const client: Client = createClient({
      transport,
      environment: { clock, random: () => 0.5, lifecycle: () => () => {}, report() {} },
    });
    const open = (dials: typeof best.dials) => {
      const dial = dials.at(-1);
      if (dial === undefined) throw new Error('not dialed');
      const { link } = dial.hello();
      dial.on.opened();
      return { link, say: dial.on, dial };
    };
    return { best, next, client, clock, open };
  }
  const welcome = { kind: 'welcome', connectionId: 'c', session: 's' } as const;

  test('is not presented by a probe once the client dials by itself', async () => {
    const { best, client, clock, next, open } = played();
    void client.connect();
    await clock.settle();
    best.dials[0]?.on.closed(closeFault(1006, ''));
    const lower = open(next.dials);
    lower.say.received(welcome);
    await clock.advance(10_000);
    const [, probe] = best.dials;
    expect(probe?.closed).toBe(false);
    lower.say.received({ kind: 'goodbye', reason: 'deploy' });
    await clock.advance(0);
    expect(best.dials).toHaveLength(3);
    expect([probe?.closed, lower.dial.closed]).toEqual([true, false]);
    open(best.dials).say.received(welcome);
    await clock.settle();
    expect(lower.dial.closed).toBe(true);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'best' });
    client.close();
    await clock.settle();
    expect(clock.pending).toBe(0);
  });

  const fence = {
    kind: 'error',
    error: { code: 'SUPERSEDED', message: 'A newer link.' },
  } as const;

  test.each(['a close code', 'an error frame'])(
    'E47 that fences the wire which won makes it a lost link, not the end: %s',
    async (how) => {
      const { best, client, clock, next, open } = played();
      void client.connect();
      await clock.advance(3_000);
      const slow = open(best.dials);
      const second = open(next.dials);
      expect(second.link).toBeGreaterThan(slow.link);
      slow.say.received(welcome);
      expect(second.dial.closed).toBe(true);
      await clock.settle();
      expect(client.state).toMatchObject({ status: 'connected', transport: 'best' });
      if (how === 'an error frame') slow.say.received(fence);
      else slow.say.closed(closeFault(4409, ''));
      await clock.settle();
      expect(client.state).toMatchObject({
        status: 'reconnecting',
        error: { code: 'CONNECTION_FAILED' },
      });
      await clock.advance(1_000);
      expect([best.dials.length, next.dials.length]).toEqual([2, 1]);
      client.close();
    },
  );

  test.each(['a close code', 'an error frame'])(
    'that fences a wire which was not welcomed yet leaves the dial to the other: %s',
    async (how) => {
      const { best, client, clock, next, open } = played();
      void client.connect();
      await clock.advance(3_000);
      const slow = open(best.dials);
      const second = open(next.dials);
      if (how === 'an error frame') slow.say.received(fence);
      else slow.say.closed(closeFault(4409, ''));
      await clock.settle();
      expect(client.state.status).toBe('connecting');
      second.say.received(welcome);
      await clock.settle();
      expect(client.state).toMatchObject({ status: 'connected', transport: 'next' });
      client.close();
    },
  );

  test.each(['a close code', 'an error frame'])(
    "somebody else's ends the client: %s",
    async (how) => {
      const { best, client, clock, open } = played();
      void client.connect();
      await clock.settle();
      const only = open(best.dials);
      only.say.received(welcome);
      await clock.advance(10_000);
      if (how === 'an error frame') only.say.received(fence);
      else only.say.closed(closeFault(4409, ''));
      await clock.settle();
      expect(client.state).toMatchObject({ status: 'closed', error: { code: 'SUPERSEDED' } });
      expect(clock.pending).toBe(0);
    },
  );
});
