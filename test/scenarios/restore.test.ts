/** A reload as the application sees it: what the page before left goes on in the one after it. */
import { type Client, type ClientOptions, type Contract, createClient } from 'holdfast';
import { defineStorage, type Saved, type Slot } from 'holdfast/storage';
import { ids, type MemoryStorage, memoryStorage, recorder } from 'holdfast/testing';
import { describe, expect, test } from 'vitest';
import { type HubHarness, type HubHarnessOptions, hubHarness } from './hub.js';

interface Story extends HubHarness {
  readonly storage: MemoryStorage;
  /** What the handler ran, in order. */
  readonly ran: unknown[];
  /** Another page of the same browser. */
  page(name: string, options?: Partial<ClientOptions<Contract>>): Client;
  /** The first page is gone, without a word. */
  kill(): void;
}

function story(options: HubHarnessOptions = {}): Story {
  const storage = memoryStorage();
  const ran: unknown[] = [];
  const harness = hubHarness({
    ...options,
    hub: {
      handlers: {
        'n:run': (payload) => {
          ran.push(payload);
          return payload;
        },
      },
      ...options.hub,
    },
    client: { outbox: { storage }, ...options.client },
  });
  const page = (name: string, more: Partial<ClientOptions<Contract>> = {}) =>
    createClient({
      transport: harness.network.transport(),
      reconnect: { initialDelay: 100, maxDelay: 100, jitter: 'none' },
      outbox: { storage },
      ...more,
      environment: {
        clock: harness.clock,
        random: () => 0.5,
        id: ids(name),
        lifecycle: () => () => {},
        report() {},
      },
    }) as Client;
  return {
    ...harness,
    storage,
    ran,
    page,
    kill() {
      harness.network.cut();
      storage.crash();
    },
  };
}

/** As that user. The handler notes whom it runs for. */
function signedIn(as: string): Story & { readonly users: unknown[] } {
  const users: unknown[] = [];
  const all = story({
    hub: {
      authenticate: async ({ auth }) => ({ user: String(auth) }),
      handlers: { 'n:run': (_payload, { user }) => void users.push(user) },
    },
    client: { auth: () => as },
  });
  return { ...all, users };
}

describe('requests', () => {
  test('asked offline go on after a reload, once each, under the same ids', async () => {
    const { client, clock, kill, page, ran } = story();
    for (const n of [1, 2, 3]) void client.request('n:run', n, { requestId: `q${n}` });
    await clock.settle();
    kill();
    const after = page('after');
    const left = await after.restore();
    expect(left).toMatchObject([
      { requestId: 'q1', type: 'n:run', payload: 1, state: 'queued' },
      { requestId: 'q2', payload: 2 },
      { requestId: 'q3', payload: 3 },
    ]);
    void after.connect();
    await clock.advance(500);
    expect(await Promise.all(left.map(({ result }) => result))).toEqual([1, 2, 3]);
    expect(ran).toEqual([1, 2, 3]);
    expect(after.pending()).toEqual([]);
  });

  test('that were written when the page died are answered from memory, not run again', async () => {
    const { client, clock, connected, kill, network, page, ran, storage } = story();
    await connected();
    network.drop((frame) => frame.kind === 'response');
    void client.request('n:run', 1);
    await clock.advance(200);
    expect(ran).toEqual([1]);
    kill();
    network.heal();
    const after = page('after');
    const [left] = await after.restore();
    void after.connect();
    await clock.advance(500);
    expect(await left?.result).toBe(1);
    expect(ran).toEqual([1]);
    expect(storage.slots).toMatchObject([{ requests: [] }]);
  });

  test('asked anew under their old ids are the same requests, and run once', async () => {
    const { client, clock, kill, page, ran } = story();
    void client.request('n:run', 1, { requestId: 'q1' });
    await clock.settle();
    kill();
    const after = page('after');
    const again = after.request('n:run', 1, { requestId: 'q1' });
    void after.connect();
    await clock.advance(500);
    expect(await again).toBe(1);
    expect(ran).toEqual([1]);
    expect(after.pending()).toEqual([]);
  });

  test('count as queued once they are durable, and are not written before', async () => {
    const { clock, connected, client, frames, storage } = story();
    await connected();
    storage.set({ write: 'hangs' });
    void client.request('n:run', 1);
    await clock.advance(1_000);
    expect(client.state.queued).toBe(0);
    expect(client.pending()).toEqual([]);
    expect(frames('up', 'request')).toEqual([]);
    storage.heal();
    await clock.advance(100);
    expect(frames('up', 'request')).toHaveLength(1);
  });

  test('of two pages at once stay with their pages', async () => {
    const { client, clock, connected, frames, page, ran, storage } = story();
    const other = page('other');
    void client.request('n:run', 'mine', { requestId: 'mine' });
    void other.request('n:run', 'other', { requestId: 'other' });
    await clock.settle();
    expect(storage.slots.map(({ requests }) => requests.map((one) => one.requestId))).toEqual([
      ['mine'],
      ['other'],
    ]);
    await connected();
    expect(ran).toEqual(['mine']);
    void other.connect();
    await clock.advance(500);
    expect(ran).toEqual(['mine', 'other']);
    const clientIds = frames('up', 'hello').map(({ clientId }) => clientId);
    expect(new Set(clientIds).size).toBe(2);
  });

  test('asked before the first welcome are sent for whoever is welcomed first, also after a reload', async () => {
    const { client, clock, kill, page, users } = signedIn('ann');
    void client.request('n:run', 1);
    await clock.settle();
    kill();
    void page('after', { auth: () => 'bob' }).connect();
    await clock.advance(500);
    expect(users).toEqual(['bob']);
  });

  test('of another user that was welcomed before are not sent', async () => {
    const { client, clock, connected, kill, page, users } = signedIn('ann');
    await connected();
    client.disconnect();
    void client.request('n:run', 1);
    await clock.advance(100);
    kill();
    const after = page('after', { auth: () => 'bob' });
    const [left] = await after.restore();
    void after.connect();
    await clock.advance(500);
    await expect(left?.result).rejects.toMatchObject({
      code: 'NOT_SENT',
      details: { reason: 'identity' },
    });
    expect(users).toEqual([]);
  });

  test('of a client that was closed are not left to anybody', async () => {
    const { client, clock, page } = story();
    const request = client.request('n:run', 1);
    await clock.settle();
    client.close();
    await expect(request).rejects.toMatchObject({ code: 'NOT_SENT' });
    expect(await page('after').restore()).toEqual([]);
    await clock.settle();
  });

  test('stay with a client that only disconnects', async () => {
    const { client, clock, connected, ran, storage } = story();
    void client.request('n:run', 1);
    client.disconnect();
    await clock.settle();
    expect(storage.slots).toMatchObject([{ owned: true, requests: [{ type: 'n:run' }] }]);
    await connected();
    expect(ran).toEqual([1]);
  });
});

describe('requests that end before the storage is open', () => {
  test.each(['aborted', 'expired', 'closed'])(
    '%s: what an earlier page left of them is not sent',
    async (how) => {
      const { client, clock, kill, page, ran, storage } = story();
      void client.request('n:run', 1, { requestId: 'q1' });
      await clock.settle();
      kill();
      storage.set({ open: 'hangs' });
      const after = page('after');
      const abort = new AbortController();
      const ttl = how === 'expired' ? 10 : 60_000;
      const again = after.request('n:run', 1, { requestId: 'q1', ttl, signal: abort.signal });
      const failure = again.catch((error: unknown) => error);
      void after.connect();
      if (how === 'aborted') abort.abort();
      if (how === 'expired') await clock.advance(20);
      if (how === 'closed') after.close();
      await clock.settle();
      storage.heal();
      expect(await failure).toMatchObject({ code: 'NOT_SENT' });
      await clock.advance(1_000);
      void page('third').connect();
      await clock.advance(1_000);
      expect(ran).toEqual([]);
      expect(storage.slots.flatMap(({ requests }) => requests)).toEqual([]);
    },
  );

  test('at most once and perhaps sent is shown, and fails once it is known that nobody will say', async () => {
    const { client, clock, connected, kill, network, page } = story();
    await connected();
    network.drop((frame) => frame.kind === 'response');
    void client.request('n:run', 1, { delivery: 'at-most-once' });
    await clock.advance(100);
    kill();
    network.heal();
    const after = page('after');
    const [left] = await after.restore();
    expect(left).toMatchObject({ state: 'sent' });
    void after.connect();
    await clock.advance(500);
    await expect(left?.result).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  test('asked before it is open they give way to those that were there', async () => {
    const { client, clock, kill, page, storage } = story({
      client: { outbox: { storage: undefined } },
    });
    client.close();
    for (const name of ['one', 'two', 'three']) {
      const next = page(name, { outbox: { storage, maxMessages: 3 } });
      for (let n = 0; n < 3; n++) next.request('n:run', n).catch(() => {});
      await clock.settle();
      expect(next.state.queued).toBe(3);
      kill();
    }
  });

  test('a newer one with its coalesceKey takes the place of what was left', async () => {
    const { client, clock, kill, page, ran } = story();
    void client.request('n:run', 'old', { coalesceKey: 'k' });
    await clock.settle();
    kill();
    const after = page('after');
    void after.request('n:run', 'new', { coalesceKey: 'k' });
    void after.connect();
    await clock.advance(500);
    expect(ran).toEqual(['new']);
  });
});

describe('cursors', () => {
  test('a room joined from "stored" goes on where the listeners of the page before stood', async () => {
    const { client, clock, connected, hub, kill, page } = story();
    void client.room('a').join();
    await connected();
    await hub.publish('a', 'n:told', 1);
    await clock.advance(1_000);
    kill();
    await hub.publish('a', 'n:told', 2);
    await hub.publish('a', 'n:told', 3);
    const after = page('after');
    const seen = recorder(after);
    void after.room('a').join({ since: 'stored' });
    void after.connect();
    await clock.advance(500);
    expect(seen.payloads).toEqual([2, 3]);
    expect(after.state.synced).toBe(true);
  });

  test('what was published to the user alone meanwhile arrives unasked', async () => {
    const { clock, connected, hub, kill, page } = story({
      hub: { authenticate: async () => ({ user: 'ann' }) },
    });
    await connected();
    await clock.advance(1_000);
    kill();
    await hub.publishToUser('ann', 'n:told', 1);
    const after = page('after');
    const seen = recorder(after);
    void after.connect();
    await clock.advance(500);
    expect(seen.payloads).toEqual([1]);
  });

  test('a room joined with the last eventId that the application kept gives nothing twice', async () => {
    const { client, clock, connected, hub, kill, page, storage } = story();
    const data: unknown[] = [];
    let kept: string | undefined;
    const keep = (one: Client) =>
      one.on('n:told', (payload, { eventId }) => {
        data.push(payload);
        kept = eventId;
      });
    keep(client);
    void client.room('a').join();
    await connected();
    await clock.advance(1_000);
    for (const n of [1, 2, 3]) {
      await hub.publish('a', 'n:told', n);
      await clock.advance(30);
    }
    kill();
    await clock.settle();
    expect(data).toEqual([1, 2, 3]);
    // The storage is behind: from "stored" the last ones would come again.
    expect(new Map(storage.slots[0]?.cursors).get('a')).not.toBe(kept);
    await hub.publish('a', 'n:told', 4);
    const after = page('after');
    keep(after);
    void after.room('a').join({ since: kept });
    void after.connect();
    await clock.advance(500);
    expect(data).toEqual([1, 2, 3, 4]);
  });

  test('without "stored" a room starts from now', async () => {
    const { client, clock, connected, hub, kill, page } = story();
    void client.room('a').join();
    await connected();
    await clock.advance(1_000);
    kill();
    await hub.publish('a', 'n:told', 1);
    const after = page('after');
    const seen = recorder(after);
    void after.room('a').join();
    void after.connect();
    await clock.advance(500);
    expect(seen.payloads).toEqual([]);
  });
});

describe('a join from the storage', () => {
  test('that is taken back leaves the cursor for the next one', async () => {
    const { client, clock, connected, hub, kill, page } = story();
    void client.room('a').join();
    await connected();
    await clock.advance(1_000);
    kill();
    await hub.publish('a', 'n:told', 1);
    const after = page('after');
    const seen = recorder(after);
    const abort = new AbortController();
    after
      .room('a')
      .join({ since: 'stored', signal: abort.signal })
      .catch(() => {});
    await clock.advance(500);
    abort.abort();
    void after.connect();
    void after.room('a').join({ since: 'stored' });
    await clock.advance(500);
    expect(seen.payloads).toEqual([1]);
  });

  test('after a refusal starts from now: nothing comes twice', async () => {
    const { client, clock, connected, hub, kill, page } = story({
      hub: { authenticate: async () => ({ user: 'ann' }) },
    });
    void client.room('a').join();
    await connected();
    await clock.advance(1_000);
    kill();
    await hub.publish('a', 'n:told', 1);
    const after = page('after');
    const seen = recorder(after);
    void after.room('a').join({ since: 'stored' });
    void after.connect();
    await clock.advance(500);
    await hub.kick({ user: 'ann', room: 'a' });
    await clock.advance(500);
    void after.room('a').join({ since: 'stored' });
    await clock.advance(500);
    expect(seen.payloads).toEqual([1]);
  });
});

describe('a storage of a stranger', () => {
  const good: Saved = { clientId: 'c', link: 0, user: undefined, requests: [], cursors: [] };
  const bad: [string, unknown][] = [
    ['no cursors', { ...good, cursors: undefined }],
    ['a cursor that is none', { ...good, cursors: [null] }],
    ['a request without a wire', { ...good, requests: [{ requestId: 'q1' }] }],
    ['no link', { ...good, link: undefined }],
    ['no name', { ...good, clientId: '' }],
  ];
  test.each(bad)('that gives %s is not used, and stops nobody', async (_what, saved) => {
    let closed = 0;
    const slot: Slot = {
      saved: saved as Saved,
      write: async () => {},
      close: async () => void closed++,
    };
    const storage = defineStorage({ name: 'odd', open: async () => slot });
    const { client, clock, ran, seen } = story({ client: { outbox: { storage } } });
    void client.connect();
    const request = client.request('n:run', 1);
    await clock.advance(500);
    expect(await request).toBe(1);
    expect(ran).toEqual([1]);
    expect(closed).toBe(1);
    expect(seen.errors).toMatchObject([{ code: 'STORAGE_FAILED' }]);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('odd');
      },
    ],
    ['gives no promise', () => undefined],
  ])('whose close() %s holds nothing up', async (_what, close) => {
    const slot = { saved: good, write: async () => {}, close: close as unknown as Slot['close'] };
    const storage = defineStorage({ name: 'odd', open: async () => slot });
    const { client, clock, connected } = story({ client: { outbox: { storage } } });
    await connected();
    client.close();
    await clock.settle();
    expect(client.state.status).toBe('closed');
    await expect(client.request('n:run', 1)).rejects.toMatchObject({ code: 'NOT_SENT' });
  });
});

test('a client that a refusal has closed still tells its storage what has failed', async () => {
  const { client, clock, connected, network, page, ran, storage } = story();
  await connected();
  network.set({ blackHole: 'both' });
  void client.request('n:run', 1).catch(() => {});
  await clock.advance(100);
  storage.set({ write: 'fails' });
  network.close(4403, 'no');
  network.heal();
  network.close(4403, 'no');
  await clock.advance(100);
  expect(client.state.status).toBe('closed');
  storage.heal();
  await clock.advance(6_000);
  expect(storage.slots.flatMap(({ requests }) => requests)).toEqual([]);
  storage.crash();
  expect(await page('after').restore()).toEqual([]);
  expect(ran.length).toBeLessThan(2);
});

describe('a storage that does not work', () => {
  test.each([
    ['cannot be opened', { open: 'fails' } as const],
    ['does not open', { open: 'hangs' } as const],
    ['cannot be written', { write: 'fails' } as const],
    ['does not answer', { write: 'hangs' } as const],
  ])('%s: told once, and requests go on in memory', async (_what, faults) => {
    const { client, clock, ran, seen, storage } = story();
    storage.set(faults);
    const before = client.request('n:run', 1);
    void client.connect();
    await clock.advance(12_000);
    const later = client.request('n:run', 2);
    await clock.advance(1_000);
    expect(await Promise.all([before, later])).toEqual([1, 2]);
    expect(ran).toEqual([1, 2]);
    expect(seen.errors).toMatchObject([{ code: 'STORAGE_FAILED', category: 'storage' }]);
  });

  test('restore() settles all the same', async () => {
    const { client, clock, storage } = story();
    storage.set({ open: 'hangs' });
    const restored = client.restore();
    await clock.advance(5_000);
    expect(await restored).toEqual([]);
  });

  test('without one there is nothing to restore', async () => {
    const { client } = hubHarness();
    expect(await client.restore()).toEqual([]);
  });

  test('is refused where it is none', () => {
    const storage = Object.create(null);
    expect(() => hubHarness({ client: { outbox: { storage } } })).toThrow(/outbox\.storage/);
  });
});
