/** When it dials, waits, gives up and lets go: to the millisecond, over sockets moved by hand. */
import { describe, expect, test, vi } from 'vitest';
import { handMade } from './hand-socket.js';

/** Lets every attempt fail at once; how long each wait was. */
async function waits(hand: ReturnType<typeof handMade>, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let n = 0; n < count; n++) {
    (await hand.inner()).fails();
    const before = hand.clock.now();
    const dialed = hand.made.length;
    while (hand.made.length === dialed) await hand.clock.advance(1);
    times.push(hand.clock.now() - before);
  }
  return times;
}

describe('the wait between attempts', () => {
  test('grows by the factor up to the longest', async () => {
    const hand = handMade({
      reconnectionDelayGrowFactor: 2,
      maxReconnectionDelay: 5_000,
      environment: { random: () => 0 },
    });
    expect(await waits(hand, 4)).toEqual([2_000, 4_000, 5_000, 5_000]);
  });

  test('is left to chance after the cap, by one step of growth, and within both limits', async () => {
    const hand = handMade({
      reconnectionDelayGrowFactor: 2,
      maxReconnectionDelay: 5_000,
      environment: { random: () => 0.999_999 },
    });
    expect(await waits(hand, 4)).toEqual([1_001, 2_001, 2_501, 2_501]);
  });

  test('is exact where both limits are the same', async () => {
    const hand = handMade({ maxReconnectionDelay: 1_000, environment: { random: () => 0.7 } });
    expect(await waits(hand, 3)).toEqual([1_000, 1_000, 1_000]);
  });

  test('differs between sockets that were told nothing', async () => {
    const first = async (random: number) => {
      const options = { reconnectionDelayGrowFactor: 1, environment: { random: () => random } };
      const hand = handMade(options, 'ws://127.0.0.1/feed', {});
      return waits(hand, 1);
    };
    expect(await first(0)).toEqual([1_000]);
    expect(await first(0.5)).toEqual([3_000]);
  });

  test.each(['online', 'visible', 'resumed'] as const)(
    'ends at once when the device says %s',
    async (signal) => {
      const hand = handMade();
      (await hand.inner()).fails();
      hand.signal('offline');
      hand.signal('hidden');
      await hand.clock.advance(500);
      expect(hand.made).toHaveLength(1);
      hand.signal(signal);
      await hand.clock.settle();
      expect(hand.made).toHaveLength(2);
      // No second attempt when the wait would have been over, and none beside one that is on its way.
      hand.signal(signal);
      await hand.clock.advance(2_000);
      expect(hand.made).toHaveLength(2);
    },
  );

  test('never asks a timer for more than it takes', async () => {
    const hand = handMade({
      minReconnectionDelay: Number.POSITIVE_INFINITY,
      maxReconnectionDelay: Number.POSITIVE_INFINITY,
      connectionTimeout: Number.POSITIVE_INFINITY,
      minUptime: Number.POSITIVE_INFINITY,
    });
    (await hand.inner()).fails();
    await hand.clock.advance(2 ** 31 - 2);
    expect(hand.made).toHaveLength(1);
    await hand.clock.advance(1);
    (await hand.inner()).opens();
    expect(hand.made).toHaveLength(2);
    expect(hand.socket.readyState).toBe(1);
  });
});

describe('retries', () => {
  test('are counted until a connection stayed open for minUptime', async () => {
    const hand = handMade({ minUptime: 5_000, connectionTimeout: 60_000 });
    const counts: number[] = [];
    for (const uptime of [0, 4_999, 5_000]) {
      const inner = await hand.inner();
      inner.opens();
      await hand.clock.advance(uptime);
      counts.push(hand.socket.retryCount);
      inner.ends();
      await hand.clock.advance(10_000);
    }
    expect(counts).toEqual([0, 1, 0]);
    expect(hand.socket.retryCount).toBe(1);
  });

  test('end at maxRetries: the last close finds it CLOSED', async () => {
    const hand = handMade({ maxRetries: 2 });
    const states: number[] = [];
    hand.socket.onclose = () => states.push(hand.socket.readyState);
    for (let n = 0; n < 3; n++) {
      (await hand.inner()).fails();
      await hand.clock.advance(20_000);
    }
    expect(hand.made).toHaveLength(3);
    expect(states).toEqual([0, 0, 3]);
    expect(hand.socket).toMatchObject({ readyState: 3, shouldReconnect: false });
    expect([hand.clock.pending, hand.listening.size]).toEqual([0, 0]);
  });

  test('begin anew with reconnect()', async () => {
    const hand = handMade({ maxRetries: 1 });
    await waits(hand, 1);
    (await hand.inner()).fails();
    expect(hand.socket).toMatchObject({ readyState: 3, retryCount: 1 });
    hand.socket.reconnect();
    expect(hand.socket).toMatchObject({ readyState: 0, retryCount: 0 });
    await waits(hand, 1);
    (await hand.inner()).opens();
    expect(hand.made).toHaveLength(4);
    expect(hand.events.slice(-3)).toEqual(['error refused', 'close 1006 ', 'open']);
  });

  test('end where shouldReconnectOnClose says so, of connections and of attempts', async () => {
    const asked: number[] = [];
    const hand = handMade({
      shouldReconnectOnClose: ({ code }) => {
        asked.push(code);
        return code !== 4001;
      },
    });
    (await hand.inner()).fails();
    await hand.clock.advance(2_000);
    const inner = await hand.inner();
    inner.opens();
    inner.ends(4001, 'go away');
    expect(hand.socket.readyState).toBe(3);
    expect(asked).toEqual([1006, 4001]);
    expect(hand.clock.pending).toBe(0);
  });

  test('go on where shouldReconnectOnClose throws, and what it throws is not lost', async () => {
    const hand = handMade({
      shouldReconnectOnClose: () => {
        throw new Error('mine');
      },
    });
    (await hand.inner()).fails();
    await expect(hand.clock.advance(0)).rejects.toThrow('mine');
    await hand.clock.advance(2_000);
    expect(hand.made).toHaveLength(2);
  });

  test('end where shouldReconnectOnClose closes it and says yes', async () => {
    const hand = handMade({
      shouldReconnectOnClose: () => {
        hand.socket.close(4000, 'enough');
        return true;
      },
    });
    (await hand.inner()).opens();
    (await hand.inner()).ends();
    await hand.clock.advance(60_000);
    expect(hand.made).toHaveLength(1);
    expect(hand.events).toEqual(['open', 'close 4000 enough']);
    expect(hand.socket.readyState).toBe(3);
  });
});

describe('a failed attempt', () => {
  test.each<[string, () => string | Promise<string>, string]>([
    ['throws', () => fail('no token'), 'no token'],
    ['rejects', () => Promise.reject(new Error('no token')), 'no token'],
    ['gives nothing', () => '', 'There is no URL to dial.'],
    ['never answers', () => new Promise(() => {}), 'TIMEOUT'],
  ])('is a url function that %s', async (_name, url, why) => {
    const hand = handMade({ connectionTimeout: 4_000, minReconnectionDelay: 10_000 }, url);
    await hand.clock.advance(4_000);
    expect(hand.events).toEqual([`error ${why}`, 'close 1006 ']);
    expect(hand.made).toEqual([]);
    expect(hand.socket.retryCount).toBe(1);
  });

  test('is a constructor that throws', async () => {
    const Broken = class {
      constructor() {
        throw new SyntaxError('not a URL');
      }
    };
    const hand = handMade({ WebSocket: Broken });
    await hand.clock.settle();
    expect(hand.events).toEqual(['error not a URL', 'close 1006 ']);
    expect(hand.socket.readyState).toBe(0);
  });

  test('is a handshake without an answer; the url function has had time of its own', async () => {
    const hand = handMade({ connectionTimeout: 4_000 }, async () => {
      await new Promise<void>((done) => hand.clock.after(3_000, done));
      return 'ws://late';
    });
    await hand.clock.advance(6_999);
    expect(hand.events).toEqual([]);
    await hand.clock.advance(1);
    expect(hand.events).toEqual(['error TIMEOUT', 'close 1006 ']);
    expect(hand.made[0]?.closes).toHaveLength(1);
  });

  test('of its url alone is not remembered: the next one asks again', async () => {
    const url = vi.fn<() => string>().mockImplementationOnce(() => fail('once'));
    url.mockReturnValue('ws://second');
    const hand = handMade({}, url);
    await hand.clock.advance(2_000);
    (await hand.inner()).opens();
    expect(hand.socket.url).toBe('ws://second');
    expect(hand.made[0]?.given).toEqual(['ws://second']);
  });

  test('tells of one error and one close, whatever the platform tells', async () => {
    const hand = handMade();
    (await hand.inner()).ends();
    expect(hand.events).toEqual(['error ', 'close 1006 ']);
  });
});

describe('what is abandoned', () => {
  test('is not heard when it comes late: an attempt that timed out', async () => {
    const hand = handMade({ connectionTimeout: 1_000 });
    const late = await hand.inner();
    await hand.clock.advance(1_000 + 2_000);
    const current = await hand.inner();
    expect(current).not.toBe(late);
    current.opens();
    late.opens();
    late.receives('ghost');
    late.fails();
    await hand.clock.advance(0);
    expect(hand.events).toEqual(['error TIMEOUT', 'close 1006 ', 'open']);
    expect(hand.socket.readyState).toBe(1);
    expect(late.closes.length).toBeGreaterThan(1);
  });

  test('is not heard when it comes late: a url that was asked before close()', async () => {
    let answer = (_url: string) => {};
    const url = () =>
      new Promise<string>((done) => {
        answer = done;
      });
    const hand = handMade({}, url);
    await hand.clock.settle();
    hand.socket.close();
    answer('ws://late');
    await hand.clock.advance(60_000);
    expect(hand.made).toEqual([]);
    expect(hand.events).toEqual(['close 1000 ']);
  });

  test('is not heard when it comes late: the connection before reconnect()', async () => {
    const hand = handMade();
    const old = await hand.inner();
    old.opens();
    hand.socket.reconnect(4000, 'fresh');
    expect(old.closes).toEqual([[4000, 'fresh']]);
    expect(hand.socket.readyState).toBe(0);
    const fresh = await hand.inner();
    fresh.opens();
    old.receives('ghost');
    old.ends(4000, 'fresh');
    expect(hand.events).toEqual(['open', 'close 4000 fresh', 'open']);
    expect(hand.made).toHaveLength(2);
  });

  test('is dialed no more: reconnect() in a wait dials at once, and only once', async () => {
    const hand = handMade();
    (await hand.inner()).fails();
    hand.socket.reconnect();
    await hand.clock.settle();
    expect(hand.made).toHaveLength(2);
    expect(hand.events).toEqual(['error refused', 'close 1006 ']);
    await hand.clock.advance(2_500);
    expect(hand.made).toHaveLength(2);
  });
});

describe('close()', () => {
  test('while dialing: no attempt follows, one close tells, nothing is left', async () => {
    const hand = handMade();
    const inner = await hand.inner();
    hand.socket.close(3000, 'enough');
    expect(hand.socket.readyState).toBe(2);
    expect(inner.closes).toEqual([[undefined, undefined]]);
    expect(hand.events).toEqual([]);
    await hand.clock.advance(60_000);
    expect(hand.events).toEqual(['close 3000 enough']);
    expect([hand.socket.readyState, hand.made.length]).toEqual([3, 1]);
    expect([hand.clock.pending, hand.listening.size]).toEqual([0, 0]);
  });

  test('before anything was dialed: nothing is', async () => {
    const hand = handMade();
    hand.socket.close();
    await hand.clock.advance(60_000);
    expect(hand.made).toEqual([]);
    expect(hand.events).toEqual(['close 1000 ']);
  });

  test('in a wait: the same', async () => {
    const hand = handMade();
    (await hand.inner()).fails();
    hand.socket.close();
    await hand.clock.advance(60_000);
    expect(hand.events).toEqual(['error refused', 'close 1006 ', 'close 1000 ']);
    expect([hand.made.length, hand.clock.pending, hand.listening.size]).toEqual([1, 0, 0]);
  });

  test('in onerror of an attempt, as is often written: one close, the last', async () => {
    const hand = handMade();
    hand.socket.onerror = () => hand.socket.close();
    (await hand.inner()).fails();
    await hand.clock.advance(60_000);
    expect(hand.events).toEqual(['error refused', 'close 1000 ']);
    expect(hand.made).toHaveLength(1);
  });

  test('while open waits for the handshake, hears what comes meanwhile, and says what it came to', async () => {
    const hand = handMade();
    const inner = await hand.inner();
    inner.opens();
    hand.socket.close(4000, 'bye');
    expect(hand.socket.readyState).toBe(2);
    inner.receives('last words');
    hand.socket.close(4001);
    expect(inner.closes).toEqual([[4000, 'bye']]);
    inner.ends(4000, 'bye');
    expect(hand.events).toEqual(['open', 'message last words', 'close 4000 bye']);
    expect([hand.socket.readyState, hand.clock.pending]).toEqual([3, 0]);
  });

  test('while open does not wait for ever', async () => {
    const hand = handMade({ connectionTimeout: 4_000 });
    const inner = await hand.inner();
    inner.opens();
    hand.socket.close();
    await hand.clock.advance(4_000);
    expect(hand.events).toEqual(['open', 'close 1006 ']);
    inner.ends(1000);
    await hand.clock.advance(60_000);
    expect(hand.events).toHaveLength(2);
    expect([hand.socket.readyState, hand.clock.pending]).toEqual([3, 0]);
  });

  test('can be followed by reconnect(), however soon', async () => {
    const hand = handMade();
    for (let n = 0; n < 3; n++) {
      hand.socket.close();
      hand.socket.reconnect();
    }
    (await hand.inner()).opens();
    expect(hand.made).toHaveLength(1);
    expect(hand.socket.readyState).toBe(1);
    await hand.clock.advance(60_000);
    expect(hand.made).toHaveLength(1);
  });
});

describe('untilOpen', () => {
  test('tells nothing of attempts that fail, and is final once it was open', async () => {
    const hand = handMade({ untilOpen: true });
    await waits(hand, 3);
    expect([hand.events, hand.socket.readyState]).toEqual([[], 0]);
    const inner = await hand.inner();
    inner.opens();
    inner.ends(1006);
    await hand.clock.advance(60_000);
    expect(hand.events).toEqual(['open', 'close 1006 ']);
    expect([hand.socket.readyState, hand.made.length]).toEqual([3, 4]);
    expect([hand.clock.pending, hand.listening.size]).toEqual([0, 0]);
  });

  test('tells of the last attempt where it gives up', async () => {
    const hand = handMade({ untilOpen: true, maxRetries: 1 });
    await waits(hand, 1);
    (await hand.inner()).fails('still down');
    expect(hand.events).toEqual(['error still down', 'close 1006 ']);
    expect(hand.socket.readyState).toBe(3);
  });
});

test('startClosed dials nothing, listens to nothing and sets no timer until reconnect()', async () => {
  const hand = handMade({ startClosed: true });
  hand.socket.send('kept');
  await hand.clock.advance(60_000);
  expect([hand.made.length, hand.listening.size, hand.clock.pending]).toEqual([0, 0, 0]);
  expect(hand.socket.readyState).toBe(3);
  hand.socket.reconnect();
  const inner = await hand.inner();
  inner.opens();
  expect(inner.sent).toEqual(['kept']);
});

test('debug prints to the logger that was given', async () => {
  const debugLogger = vi.fn<(...args: unknown[]) => void>();
  const hand = handMade({ debug: true, debugLogger });
  (await hand.inner()).fails();
  expect(debugLogger.mock.calls).toEqual([
    ['ReconnectingWebSocket dials, retry 0'],
    ['ReconnectingWebSocket closed, 1006 '],
    ['ReconnectingWebSocket waits 1300 ms'],
  ]);
});

function fail(message: string): never {
  throw new Error(message);
}
