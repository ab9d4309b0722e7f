/** Which wire a fallback uses, on a virtual clock: order, head start, what counts against a wire, memory. */
import { HoldfastError } from 'holdfast';
import { unauthorized } from 'holdfast/server';
import { describe, expect, test, vi } from 'vitest';
import type { Dialect } from '../../src/client/dialect.js';
import type { LinkEvents, Transport } from '../../src/client/transport.js';
import { jsonCodec } from '../../src/protocol/codec.js';
import { type FallbackStore, fallback } from '../../src/transports/fallback.js';
import { type Place, place } from './fallback-place.js';

const HOUR = 3_600_000;
const refused = { refuse: 'CONNECTION_FAILED' };
const mended = { refuse: null, silent: false };

function storeOf(kept = new Map<string, string>()): FallbackStore & { kept: Map<string, string> } {
  return { kept, get: (key) => kept.get(key) ?? null, set: (key, value) => kept.set(key, value) };
}

/** In use over the best wire for long enough that this has proven itself. */
async function proven(one: Place): Promise<void> {
  await one.connected();
  await one.clock.advance(20_000);
  expect(one.client.state.transport).toBe('websocket');
}

describe('the order', () => {
  test('E47 a best wire that works is dialed alone', async () => {
    const { client, clock, connected, dials } = place();
    await connected();
    await clock.advance(300_000);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
    expect(dials()).toEqual([1, 0, 0]);
  });

  test('E47 one that refuses is followed by the next at once, in the same dial', async () => {
    const { client, clock, dials, open, sse, websocket } = place();
    websocket.set(refused);
    sse.set(refused);
    void client.connect();
    await clock.advance(250);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'polling', synced: true });
    expect(client.metrics().attempts).toBe(1);
    expect([dials(), open()]).toEqual([
      [1, 1, 1],
      [0, 0, 1],
    ]);
  });

  test('E47 one that is silent gets its head start, then the next starts beside it', async () => {
    const { client, clock, dials, open, websocket } = place({ fallback: { headStart: 2_000 } });
    websocket.set({ silent: true });
    void client.connect();
    await clock.advance(1_999);
    expect(dials()).toEqual([1, 0, 0]);
    await clock.advance(1);
    expect([dials(), open()]).toEqual([
      [1, 1, 0],
      [1, 1, 0],
    ]);
    await clock.advance(200);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'sse' });
    expect(open()).toEqual([0, 1, 0]);
  });

  test('one that fails after its head start takes nothing off the head start of the next', async () => {
    const { client, clock, dials, sse, websocket } = place();
    websocket.set({ silent: true });
    sse.set({ silent: true });
    void client.connect();
    await clock.advance(4_000);
    websocket.cut();
    await clock.advance(1_999);
    expect(dials()).toEqual([1, 1, 0]);
    await clock.advance(1);
    expect(dials()).toEqual([1, 1, 1]);
  });

  test('the first welcome wins, also where it is that of the slower start; the other wire is closed', async () => {
    const { client, clock, dials, open, sse, websocket } = place();
    websocket.set({ latency: 1_100 });
    sse.set({ latency: 2_000 });
    void client.connect();
    await clock.advance(20_000);
    expect(dials()).toEqual([1, 1, 0]);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
    expect(open()).toEqual([1, 0, 0]);
    expect(client.metrics()).toMatchObject({ attempts: 1, connects: 1 });
  });

  test('a transport that throws is a wire that refused', async () => {
    const { again, clock, member } = place();
    const broken: Transport = {
      name: 'broken',
      codec: jsonCodec,
      dial() {
        throw new SyntaxError('ws://user:secret@');
      },
    };
    const client = member({ transport: fallback([broken, again()], { clock, store: false }) });
    void client.connect();
    await clock.advance(200);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
    const alone = member({ transport: fallback([broken], { clock, store: false }) });
    alone.connect().catch(() => {});
    await clock.advance(200);
    expect(alone.state.error?.message).toContain('broken could not dial (SyntaxError)');
    expect(alone.state.error?.message).not.toContain('secret');
  });
});

describe('a wire that has proven itself', () => {
  test('E47 is dialed alone after a loss, and after a dial that was refused', async () => {
    const one = place();
    await proven(one);
    const { client, clock, dials, websocket } = one;
    websocket.set(refused);
    websocket.cut();
    await clock.advance(2_800);
    expect(client.state.status).toBe('reconnecting');
    websocket.set(mended);
    await clock.advance(8_000);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
    expect(dials()).toEqual([expect.any(Number), 0, 0]);
  });

  test('E47 a server that restarts on all wires is no downgrade', async () => {
    const one = place();
    await proven(one);
    const { client, clock, dials, polling, sse, websocket } = one;
    for (let restart = 0; restart < 5; restart++) {
      const all = [websocket, sse, polling];
      for (const network of all) network.set(refused);
      websocket.cut();
      await clock.advance(2_000);
      for (const network of all) network.set(mended);
      await clock.advance(20_000);
      expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
    }
    expect(dials().slice(1)).toEqual([0, 0]);
  });

  test('E47 has proven itself from the end of its last link on, however long that was', async () => {
    const one = place();
    await proven(one);
    const { client, clock, dials, websocket } = one;
    await clock.advance(2 * HOUR);
    websocket.set(refused);
    websocket.cut();
    await clock.advance(900);
    websocket.set(mended);
    await clock.advance(20_000);
    expect(client.state.transport).toBe('websocket');
    expect(dials().slice(1)).toEqual([0, 0]);
  });

  test('E47 three refusals in a row are followed by the next wire within the third dial', async () => {
    const one = place();
    await proven(one);
    const { client, clock, dials, websocket } = one;
    const before = client.metrics().attempts;
    websocket.set(refused);
    websocket.cut();
    await clock.advance(10_000);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'sse', synced: true });
    expect(client.metrics().attempts - before).toBe(3);
    expect(dials()).toEqual([4, 1, 0]);
  });

  test('E47 has three seconds more than its head start where it is silent', async () => {
    const one = place();
    await proven(one);
    const { client, clock, dials, websocket } = one;
    websocket.set({ silent: true });
    websocket.cut();
    await clock.advance(750);
    expect(dials()).toEqual([2, 0, 0]);
    await clock.advance(5_250);
    expect(dials()).toEqual([2, 0, 0]);
    await clock.advance(1_000);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'sse', synced: true });
  });
});

describe('a wire that is useless', () => {
  test('E47 three times in a row is tried last, for as long as that is remembered', async () => {
    const { client, clock, dials, sse, websocket } = place({
      fallback: { probeInterval: 10 * HOUR },
    });
    websocket.set(refused);
    client.connect().catch(() => {});
    for (let dial = 1; dial <= 3; dial++) {
      await clock.advance(20_000);
      expect(client.state.transport).toBe('sse');
      expect(dials()).toEqual([dial, dial, 0]);
      sse.cut();
    }
    for (let dial = 4; dial <= 6; dial++) {
      await clock.advance(20_000);
      expect(client.state.transport).toBe('sse');
      expect(dials()).toEqual([3, dial, 0]);
      sse.cut();
    }
    websocket.set(mended);
    await clock.advance(20_000);
    expect(client.state.transport).toBe('sse');
    await clock.advance(HOUR);
    sse.cut();
    await clock.advance(20_000);
    expect(client.state.transport).toBe('websocket');
  });

  test('E47 is tried all the same where no other works', async () => {
    const one = place({ fallback: { probeInterval: 10 * HOUR } });
    const { client, clock, polling, sse, websocket } = one;
    websocket.set(refused);
    client.connect().catch(() => {});
    for (let dial = 1; dial <= 3; dial++) {
      await clock.advance(20_000);
      sse.cut();
    }
    await clock.advance(20_000);
    websocket.set(mended);
    sse.set(refused);
    polling.set(refused);
    sse.cut();
    await clock.advance(30_000);
    expect(client.state.transport).toBe('websocket');
  });

  test('E47 where all wires fail in a dial the server is down: that counts against none', async () => {
    const { client, clock, dials, polling, sse, websocket } = place();
    const all = [websocket, sse, polling];
    for (const network of all) network.set(refused);
    client.connect().catch(() => {});
    await clock.advance(120_000);
    const [first = 0, second = 0, third = 0] = dials();
    expect(first).toBeGreaterThan(10);
    expect([second, third]).toEqual([first, first]);
    for (const network of all) network.set(mended);
    await clock.advance(10_000);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
    expect(dials()).toEqual([first + 1, first, first]);
  });

  test('E47 nor does it count together with what comes after it', async () => {
    const one = place({ fallback: { probeInterval: 10 * HOUR } });
    const { client, clock, polling, sse, websocket } = one;
    const all = [websocket, sse, polling];
    for (const network of all) network.set(refused);
    client.connect().catch(() => {});
    await clock.advance(120_000);
    sse.set(mended);
    await clock.advance(20_000);
    expect(client.state.transport).toBe('sse');
    websocket.set(mended);
    sse.cut();
    await clock.advance(20_000);
    expect(client.state.transport).toBe('websocket');
  });

  test('E47 where all wires are silent until the dial ends, that counts against none either', async () => {
    const { client, clock, polling, sse, websocket } = place();
    const all = [websocket, sse, polling];
    for (const network of all) network.set({ silent: true });
    client.connect().catch(() => {});
    await clock.advance(120_000);
    for (const network of all) {
      network.set(mended);
      network.cut();
    }
    await clock.advance(30_000);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
  });

  test.each([0.001, 0.5, 0.999])(
    'E47 welcomed and lost after 300 ms three times: over the next wire in under 10 s (roll %d)',
    async (roll) => {
      const { clock, dials, kill, member, websocket } = place();
      kill(websocket, 300);
      const client = member({
        environment: {
          clock,
          random: () => roll,
          id: () => `one-${roll}`,
          lifecycle: () => () => {},
        },
      });
      void client.connect();
      let since = 0;
      while (client.state.transport !== 'sse' || !client.state.synced) {
        await clock.advance(50);
        since += 50;
        expect(since).toBeLessThan(5_000);
      }
      expect(dials()).toEqual([3, 1, 0]);
      await clock.advance(20_000);
      expect(client.state).toMatchObject({ status: 'connected', transport: 'sse' });
    },
  );

  test('E47 one that holds for 5 s in between starts to count anew', async () => {
    const { client, clock, connected, kill, dials, websocket } = place();
    let stop = kill(websocket, 300);
    await connected();
    await clock.advance(900);
    expect(dials()[0]).toBe(2);
    stop();
    await clock.advance(20_000);
    expect(client.state.transport).toBe('websocket');
    stop = kill(websocket, 300);
    websocket.cut();
    await clock.advance(1_000);
    stop();
    await clock.advance(20_000);
    expect(client.state.transport).toBe('websocket');
    expect(dials().slice(1)).toEqual([0, 0]);
  });

  test('E47 a server that welcomes and dies on all wires is down: none is given up', async () => {
    const { client, clock, kill, polling, sse, websocket, dials } = place();
    kill(websocket, 300);
    sse.set(refused);
    polling.set(refused);
    client.connect().catch(() => {});
    await clock.advance(60_000);
    const before = dials();
    expect(before[0]).toBeGreaterThan(6);
    for (const network of [sse, polling]) network.set(mended);
    // Not given up, it is the first of the next dial.
    await clock.advance(40_000);
    expect(dials()[0]).toBeGreaterThan(before[0] ?? 0);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'sse' });
  });
});

describe('a refusal of the client', () => {
  test.each([
    [4403, 'UNAUTHORIZED', 'closed'],
    [4408, 'TOO_MANY_CONNECTIONS', 'closed'],
    [4401, 'TOKEN_EXPIRED', 'closed'],
    [4429, 'RATE_LIMITED', 'reconnecting'],
  ])('E47 with %d is told at once, and counts against no wire', async (closeCode, code, status) => {
    const { client, clock, dials, websocket } = place();
    websocket.set({ refuse: closeCode });
    const refusal = client.connect().catch((error: unknown) => error);
    await clock.advance(100);
    expect(client.state.status).toBe(status);
    expect(client.state.error).toMatchObject({ code, details: { closeCode } });
    expect(dials().slice(1)).toEqual([0, 0]);
    if (status === 'closed') expect(await refusal).toBe(client.state.error);
    else {
      await clock.advance(60_000);
      websocket.set(mended);
      await clock.advance(30_000);
      expect(client.state.transport).toBe('websocket');
      expect(dials().slice(1)).toEqual([0, 0]);
    }
  });

  test('an error frame before the welcome is one too', async () => {
    const { client, clock, dials } = place({
      hub: { authenticate: () => Promise.reject(unauthorized('Locked.')) },
    });
    const refusal = client.connect().catch((error: unknown) => error);
    await clock.advance(200);
    expect(await refusal).toMatchObject({ code: 'UNAUTHORIZED', message: 'Locked.' });
    expect(dials()).toEqual([1, 0, 0]);
  });

  test('a goodbye before the welcome is the whole dial, and counts against no wire', async () => {
    const { clock, member, sse } = place();
    const dials = vi.fn();
    const leaving = scripted('websocket', (on) => {
      dials();
      on.opened();
      on.received({ kind: 'goodbye', reason: 'deploy' });
    });
    const transport = fallback([leaving, sse.transport()], { clock, store: false });
    const client = member({ transport });
    client.connect().catch(() => {});
    await clock.advance(60_000);
    expect(client.state.error?.message).toContain('The server is leaving');
    const before = dials.mock.calls.length;
    expect(before).toBeGreaterThan(5);
    while (dials.mock.calls.length === before) await clock.advance(10);
    expect(sse.dials).toBe(0);
    client.close();
    await clock.settle();
    expect(clock.pending).toBe(0);
  });

  test.each([
    [401, 'sse'],
    [403, 'sse'],
    [404, 'sse'],
    [426, 'sse'],
    [429, null],
  ])(
    'a bare HTTP status %d is told by what stands before the server: next %s',
    async (status, next) => {
      const { again, clock, member, sse } = place();
      const codes: Record<number, string> = {
        401: 'TOKEN_EXPIRED',
        403: 'UNAUTHORIZED',
        404: 'ROOM_NOT_FOUND',
        429: 'RATE_LIMITED',
      };
      const fault = new HoldfastError(codes[status] ?? 'CONNECTION_FAILED', 'No.', {
        details: { status },
      });
      const walled = scripted('websocket', (on) => on.closed(fault));
      const transport = fallback([walled, sse.transport({ name: 'sse' })], { clock, store: false });
      expect(again().name).toBe('fallback');
      const client = member({ transport });
      client.connect().catch(() => {});
      await clock.advance(200);
      expect(client.state.transport).toBe(next);
      if (next === null) expect(client.state.error).toBe(fault);
    },
  );

  test('of several faults the one that says most is told', async () => {
    const { clock, member } = place();
    const fault = (code: string) => new HoldfastError(code, `${code}.`, { details: { status: 1 } });
    const transports = ['CONNECTION_FAILED', 'SERVER_ERROR', 'CONNECTION_FAILED'].map((code) =>
      scripted(code, (on) => on.closed(fault(code))),
    );
    const client = member({ transport: fallback(transports, { clock, store: false }) });
    client.connect().catch(() => {});
    await clock.advance(50);
    expect(client.state.error).toMatchObject({ code: 'SERVER_ERROR' });
  });
});

describe('what a fallback remembers', () => {
  async function givenUp(store: FallbackStore): Promise<Place> {
    const one = place({ fallback: { store, probeInterval: 10 * HOUR } });
    one.websocket.set(refused);
    void one.client.connect();
    for (let dial = 1; dial <= 3; dial++) {
      await one.clock.advance(20_000);
      one.sse.cut();
    }
    await one.clock.advance(20_000);
    one.client.close();
    expect(one.dials()).toEqual([3, 4, 0]);
    return one;
  }

  test('the next page starts with what worked, until that is too old', async () => {
    const store = storeOf();
    const { again, clock, dials, member, websocket } = await givenUp(store);
    const [key = '', text = ''] = [...store.kept][0] ?? [];
    expect([...store.kept.keys()]).toEqual(['holdfast:fallback:websocket,sse,polling']);
    expect(`${key}${text}`).not.toMatch(/memory:|client|token/);
    const page = member({ transport: again() });
    void page.connect();
    await clock.advance(1_000);
    expect(page.state.transport).toBe('sse');
    expect(dials()).toEqual([3, 5, 0]);
    page.close();
    websocket.set(mended);
    await clock.advance(HOUR);
    const later = member({ transport: again() });
    void later.connect();
    await clock.advance(1_000);
    expect(later.state.transport).toBe('websocket');
  });

  test('without a store this object alone remembers', async () => {
    const { again, clock, dials, member, transport } = await givenUp({
      get: () => null,
      set() {},
    });
    const same = member({ transport });
    void same.connect();
    await clock.advance(1_000);
    expect(dials()).toEqual([3, 5, 0]);
    const page = member({ transport: again({ store: false }) });
    void page.connect();
    await clock.advance(1_000);
    expect(dials()).toEqual([4, 6, 0]);
  });

  test.each([
    '',
    'null',
    '7',
    '0,-9e15,0,0',
    '0,-9e15,0,0,0,0,0',
    '0,-9e15,0,0,0,x',
    '0,-9e15,0,0,0,Infinity',
  ])('what is no memory of ours is not taken for one: %s', async (text) => {
    const { client, clock, connected } = place({
      fallback: { store: { get: () => text, set() {} } },
    });
    await connected();
    await clock.advance(10_000);
    expect(client.state).toMatchObject({ status: 'connected', transport: 'websocket' });
  });

  test('a store that throws is done without', async () => {
    const broken = (): never => {
      throw new Error('denied');
    };
    const { client, clock, dials, websocket, sse } = place({
      fallback: { store: { get: broken, set: broken }, probeInterval: HOUR },
    });
    websocket.set(refused);
    void client.connect();
    for (let dial = 1; dial <= 4; dial++) {
      await clock.advance(20_000);
      expect(client.state.transport).toBe('sse');
      sse.cut();
    }
    expect(dials()).toEqual([3, 4, 0]);
  });

  test('a page keeps it in its localStorage, which is looked up when it is used', async () => {
    const store = storeOf();
    const localStorage = { getItem: vi.fn(store.get), setItem: vi.fn(store.set) };
    const { clock, member, polling, sse, websocket } = place();
    vi.stubGlobal('document', {});
    vi.stubGlobal('localStorage', localStorage);
    try {
      const transports = [websocket, sse, polling].map((network, index) =>
        network.transport({ name: ['websocket', 'sse', 'polling'][index] ?? '' }),
      );
      const client = member({ transport: fallback(transports, { clock }) });
      const key = 'holdfast:fallback:websocket,sse,polling';
      expect(localStorage.getItem).not.toHaveBeenCalled();
      void client.connect();
      await clock.advance(6_000);
      expect(localStorage.getItem).toHaveBeenCalledWith(key);
      expect(store.kept.get(key)).toMatch(/^0,\d{13},0,0,0,0$/);
      client.close();
    } finally {
      vi.unstubAllGlobals();
    }
  });
});

describe('a fallback', () => {
  test('refuses wires with different codecs, no wires, and durations that are none', () => {
    const { sse, websocket } = place();
    const packed = websocket.transport({ name: 'ws', codec: { ...jsonCodec, name: 'packed' } });
    const plain = sse.transport({ name: 'sse' });
    for (const [transports, error] of [
      [[packed, plain], /wires of one codec, not of packed and json/],
      [[], /wires of one codec, not of none/],
    ] as const) {
      expect(() => fallback(transports)).toThrowError(error);
    }
    expect(() => fallback([plain], { headStart: 1, ...{ headstart: 1 } })).toThrowError(
      /no option "headstart"/,
    );
    expect(() => fallback(Object(plain))).toThrowError(/a list of transports/);
    for (const wrong of [0, -1, Number.NaN]) {
      expect(() => fallback([plain], { headStart: wrong })).toThrowError(/durations above 0/);
      expect(() => fallback([plain], { remember: wrong })).toThrowError(/durations above 0/);
      expect(() => fallback([plain], { probeInterval: wrong })).toThrowError(/durations above 0/);
    }
    expect(() => fallback([plain], { probeInterval: Number.POSITIVE_INFINITY })).not.toThrow();
  });

  test('speaks another language where all of its wires do', () => {
    const dialect = { name: 'plain' } as Dialect;
    const spoken = vi.fn(() => scripted('spoken', () => {}));
    const able = { ...scripted('able', () => {}), speak: spoken };
    const other = fallback([able, able]).speak?.(dialect);
    expect(other?.name).toBe('fallback');
    expect(spoken.mock.calls).toEqual([[dialect], [dialect]]);
    expect('speak' in fallback([able, scripted('unable', () => {})])).toBe(false);
  });

  test.each(['dialing', 'open', 'waiting for the next attempt'])(
    'leaves no timer and no wire when the client closes while it is %s',
    async (when) => {
      const { client, clock, open, websocket } = place();
      if (when === 'dialing') websocket.set({ silent: true });
      client.connect().catch(() => {});
      await clock.advance(3_005);
      if (when === 'dialing') expect(open()).toEqual([1, 1, 0]);
      if (when === 'open') expect(open()).toEqual([1, 0, 0]);
      if (when.startsWith('waiting')) websocket.cut();
      await clock.settle();
      client.close();
      websocket.heal();
      await clock.advance(1_000);
      expect(open()).toEqual([0, 0, 0]);
      expect(clock.pending).toBe(hubTimers);
    },
  );
});

/** Of a hub without clients. */
const hubTimers = 0;

/** A transport that plays one scene for each dial, at once after it. */
function scripted(name: string, scene: (on: LinkEvents) => void): Transport {
  return {
    name,
    codec: jsonCodec,
    dial(_hello, on) {
      queueMicrotask(() => scene(on));
      return { send() {}, close() {}, bufferedAmount: 0 };
    },
  };
}
