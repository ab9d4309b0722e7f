import {
  createHub,
  failure,
  type HubOptions,
  type Journal,
  memoryJournal,
  tokenExpired,
} from 'holdfast/server';
import { describe, expect, test, vi } from 'vitest';
import type { JournalNode } from '../../src/server/journal.js';
import { FakeClient, hubOf, type World, world } from './harness.js';

/** A journal whose `link` answers only once the test lets it. */
function holdingLinks(inner: Journal, release: Promise<void>[]): Journal {
  return {
    replayWindow: inner.replayWindow,
    requestWindow: inner.requestWindow,
    open(user) {
      const node = inner.open(user);
      const link: JournalNode['link'] = async (client, number) => {
        const linked = await node.link(client, number);
        await release.shift();
        return linked;
      };
      return new Proxy(node, {
        get: (target, key) => {
          if (key === 'link') return link;
          const value: unknown = Reflect.get(target, key);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    },
  };
}

function gate() {
  let open = () => {};
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

describe('a request that is known', () => {
  test('is answered, not told to come again, where its client is over the rate', async () => {
    const w = world();
    let runs = 0;
    const hub = hubOf(w, {
      limits: { messagesPerSecond: 10 },
      handlers: { 'x:do': () => ++runs },
    });
    const first = new FakeClient(hub, w);
    await first.hello();
    await first.request('r0', 'x:do');
    first.lose();
    const second = new FakeClient(hub, w);
    await second.hello({ link: 2 });
    for (let n = 1; n < 30; n++) await second.request(`r${n}`, 'x:do');
    expect(second.response('r29')).toMatchObject({ error: { code: 'RATE_LIMITED' } });
    await second.request('r0', 'x:do');
    expect(second.response('r0')).toMatchObject({ success: true, data: 1 });
    expect(second.all('response').filter(({ requestId }) => requestId === 'r0')).toHaveLength(1);
  });

  test('is answered where too many others of its client wait', async () => {
    const w = world();
    const hub = hubOf(w, {
      limits: { pendingRequests: 1 },
      handlers: { 'x:do': () => 'done', 'x:hang': () => new Promise(() => {}) },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    await client.request('r0', 'x:do');
    await client.request('hang', 'x:hang');
    client.frames.length = 0;
    await client.request('r0', 'x:do');
    expect(client.response('r0')).toMatchObject({ success: true, data: 'done' });
  });

  test('does not run twice, however late it is repeated, where its answer went to an older link', async () => {
    const w = world();
    let runs = 0;
    const hub = hubOf(w, { handlers: { 'x:do': () => ++runs } });
    const first = new FakeClient(hub, w);
    await first.hello();
    await first.request('r0', 'x:do');
    first.lose();
    const second = new FakeClient(hub, w);
    await second.hello({ link: 2 });
    for (let minute = 0; minute < 60; minute++) {
      for (let n = 0; n < 6; n++) {
        await w.clock.advance(10_000);
        await second.send({ kind: 'ping' });
      }
      await second.request(`other${minute}`, 'x:do');
    }
    await second.request('r0', 'x:do');
    expect(second.response('r0')).toMatchObject({ success: true, data: 1 });
    expect(runs).toBe(61);
    expect(second.last('welcome')?.session).toBe(first.last('welcome')?.session);
  });

  test('does not run twice where its answer still waits in the buffer', async () => {
    const w = world();
    let runs = 0;
    const hub = hubOf(w, { handlers: { 'x:do': () => ++runs } });
    const first = new FakeClient(hub, w);
    await first.hello();
    first.reads = false;
    await first.request('r0', 'x:do');
    for (let n = 0; n < 120; n++) {
      await w.clock.advance(4_000);
      await first.send({ kind: 'pong' }, { kind: 'join', rooms: [] });
    }
    expect(first.closed).toBeUndefined();
    first.lose();
    const second = new FakeClient(hub, w);
    await second.hello({ link: 2 });
    await second.request('r0', 'x:do');
    expect(runs).toBe(1);
    expect(second.response('r0')).toMatchObject({ success: true, data: 1 });
  });
});

describe('credentials', () => {
  test('that have expired are not kept alive by bad renewals', async () => {
    const w = world();
    const hub = hubOf(w, {
      authenticate: async ({ auth }) => {
        await new Promise<void>((resolve) => w.clock.after(300, resolve));
        if (auth !== 'good') throw tokenExpired();
        return { user: 'ada', expiresIn: 10_000 };
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello({ auth: 'good' });
    for (let n = 0; n < 130 && client.closed === undefined; n++) {
      await w.clock.advance(100);
      await client.send({ kind: 'auth', auth: 'bad' });
    }
    expect(client.closed).toMatchObject({ code: 4401 });
  });

  test('that were looked at before a kick do not count after it', async () => {
    const w = world();
    const hub = hubOf(w, {
      authenticate: async () => {
        await new Promise<void>((resolve) => w.clock.after(50, resolve));
        return { user: 'mallory' };
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    await hub.kick({ user: 'mallory' }, { reason: 'Banned.' });
    await w.clock.advance(50);
    expect(client.last('welcome')).toBeUndefined();
    expect(client.closed).toEqual({ code: 4403, reason: 'Banned.' });

    const again = new FakeClient(hub, w);
    await again.hello({ link: 2 });
    await w.clock.advance(50);
    expect(again.last('welcome')).toBeDefined();
  });

  test('that were looked at before a kick do not count while the journal takes its time', async () => {
    const w = world();
    const held = gate();
    const journal = holdingLinks(memoryJournal(), [held.promise]);
    const hub = hubOf(w, { journal, authenticate: () => ({ user: 'mallory' }) });
    const client = new FakeClient(hub, w);
    await client.hello();
    await hub.kick({ user: 'mallory' });
    held.open();
    await w.clock.settle();
    expect(client.closed).toMatchObject({ code: 4403 });
  });
});

test('a client whose old link ends while the new one is admitted stays known', async () => {
  const w = world();
  const held = gate();
  const journal = holdingLinks(memoryJournal(), [Promise.resolve(), held.promise]);
  const hub = hubOf(w, { journal, authenticate: () => ({ user: 'ada' }) });
  const old = new FakeClient(hub, w);
  await old.hello();
  const fresh = new FakeClient(hub, w);
  await fresh.hello({ link: 2 });
  old.lose();
  held.open();
  await w.clock.settle();
  expect(fresh.last('welcome')).toBeDefined();
  await hub.kick({ user: 'ada' });
  expect(fresh.closed).toMatchObject({ code: 4403 });
});

describe('what the application gets wrong', () => {
  test.each([
    ['undefined', () => undefined, /it returned undefined/],
    ['a string', () => 'ada', /it returned string/],
    ['an object without a user', () => ({ id: 1 }), /it returned an object without a user/],
    ['an infinite expiresIn', () => ({ user: 'a', expiresIn: Infinity }), /expiresIn .* Infinity/],
    ['expiresIn as text', () => ({ user: 'a', expiresIn: '1h' }), /expiresIn .* 1h/],
    ['an expiresIn of 0', () => ({ user: 'a', expiresIn: 0 }), /expiresIn .* 0/],
    ['a user of no characters', () => ({ user: { id: '' } }), /userKey/],
  ])('authenticate that returns %s is reported and refused', async (_, authenticate, why) => {
    const w = world();
    const options = { authenticate } as unknown as HubOptions;
    const client = new FakeClient(hubOf(w, options), w);
    await client.hello();
    expect(client.last('error')?.error).toMatchObject({ code: 'SERVER_ERROR' });
    expect(String(w.errors[0]?.error)).toMatch(why);
  });

  test('numbers that are not finite are refused as options', () => {
    expect(() => createHub({ limits: { helloTimeout: Infinity } })).toThrow(/limits.helloTimeout/);
    expect(() => createHub({ heartbeat: { interval: Number.NaN } })).toThrow(/heartbeat.interval/);
    expect(() => createHub({ retrySpread: Infinity })).toThrow(/retrySpread/);
  });

  test('an empty key of a user is refused', async () => {
    const w = world();
    const hub = hubOf(w, { authenticate: () => ({ user: 'ada' }), userKey: () => '' });
    const client = new FakeClient(hub, w);
    await client.hello();
    expect(String(w.errors[0]?.error)).toMatch(/userKey must return text/);
  });

  test('an event without a type is refused', async () => {
    await expect(hubOf(world()).publish('a', '', 1)).rejects.toMatchObject({
      code: 'UNKNOWN_TYPE',
    });
  });

  test.each([-1, Number.NaN, Infinity])(
    'a retryAfter of %d makes no malformed frame',
    async (n) => {
      const { client } = await failing({ retryAfter: n });
      const response = client.response('r1');
      expect(response).toMatchObject({ success: false, error: { code: 'MY_CODE' } });
    },
  );

  test('details that JSON cannot hold are left out', async () => {
    const cycle: Record<string, unknown> = {};
    cycle.itself = cycle;
    for (const details of [{ id: 12n }, cycle]) {
      const { client } = await failing({ details });
      const response = client.response('r1');
      expect(response).toMatchObject({ success: false, error: { code: 'MY_CODE' } });
      expect(response).not.toHaveProperty('error.details');
    }
  });

  test('an onError that rejects harms nobody', async () => {
    const unhandled = vi.fn();
    process.on('unhandledRejection', unhandled);
    const w = world();
    const onError = (): unknown => Promise.reject(new Error('the log is down'));
    const handlers = { 'x:do': () => Promise.reject(new Error('bug')) };
    const client = new FakeClient(hubOf(w, { onError, handlers }), w);
    await client.hello();
    await client.request('r1', 'x:do');
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });

  async function failing(facts: Parameters<typeof failure>[2]): Promise<{ client: FakeClient }> {
    const w = world();
    const handlers = {
      'x:do': () => {
        throw failure('MY_CODE', 'No.', facts);
      },
    };
    const client = new FakeClient(hubOf(w, { handlers }), w);
    await client.hello();
    await client.request('r1', 'x:do');
    return { client };
  }
});

describe('a client that wants too much', () => {
  test.each([
    ['many frames', 101, 'x'],
    ['large frames', 2, 'x'.repeat(40_000)],
  ])('%s before its welcome are refused', async (_, count, payload) => {
    const w = world();
    const hub = hubOf(w, { authenticate: () => new Promise<{ user: string }>(() => {}) });
    const client = new FakeClient(hub, w);
    await client.hello();
    for (let n = 0; n < count; n++) {
      expect(client.closed).toBeUndefined();
      await client.send({ kind: 'message', type: 'x:y', timestamp: 1, payload });
    }
    expect(client.closed).toMatchObject({ code: 4429 });
  });

  test('too many joins of one room are refused, some are not', async () => {
    const { client } = await joining();
    await client.send({ kind: 'join', rooms: Array.from({ length: 30 }, () => ({ room: 'a' })) });
    expect(client.closed).toBeUndefined();
    await client.send({ kind: 'join', rooms: Array.from({ length: 30 }, () => ({ room: 'a' })) });
    expect(client.closed).toMatchObject({ code: 4429 });
  });

  test('ids and names that are too long are not kept', async () => {
    const w = world();
    const ran = vi.fn();
    const hub = hubOf(w, { handlers: { 'x:do': ran } });
    const stranger = new FakeClient(hub, w);
    await stranger.hello({ clientId: 'c'.repeat(129) });
    expect(stranger.closed).toMatchObject({ code: 1002 });

    const client = new FakeClient(hub, w);
    await client.hello({ clientId: 'c'.repeat(128) });
    const id = 'r'.repeat(129);
    await client.request(id, 'x:do');
    await client.request('r1', 'x:do', { room: 'a'.repeat(513) });
    expect(client.response(id)).toMatchObject({ error: { code: 'INVALID_PAYLOAD' } });
    expect(client.response('r1')).toMatchObject({ error: { code: 'INVALID_PAYLOAD' } });
    expect(ran).not.toHaveBeenCalled();
    await client.request('r'.repeat(128), 'x:do', { room: 'a'.repeat(512) });
    expect(ran).toHaveBeenCalledTimes(1);
  });

  test('messages that wait are bounded over all rooms, and dropped with their connection', async () => {
    const { w, hub, client, heard } = await messaging();
    const payload = 'x'.repeat(400_000);
    for (let n = 0; n < 10; n++) await say(client, `r${n}`, payload);
    expect(heard).toHaveBeenCalledTimes(2);
    expect(hub.metrics().messagesDropped).toBe(8);
    await w.clock.advance(10_000);
    await say(client, 'r0', 1);
    await say(client, 'r0', 2);
    expect(heard).toHaveBeenCalledTimes(3);
    client.lose();
    await w.clock.advance(10_000);
    expect(heard).toHaveBeenCalledTimes(3);
    expect(hub.metrics().messagesDropped).toBe(9);
  });

  test('a message whose handler hangs lets the next one pass after the handler timeout', async () => {
    const { w, client, heard } = await messaging();
    await say(client, 'a', 1);
    await say(client, 'a', 2);
    expect(heard).toHaveBeenCalledTimes(1);
    await w.clock.advance(5_000);
    expect(heard).toHaveBeenCalledTimes(2);
    expect(w.errors).toMatchObject([{ about: 'onMessage["x:y"]' }]);
  });

  async function joining(w: World = world()) {
    const hub = hubOf(w, { authorizeRoom: () => new Promise<boolean>(() => {}) });
    const client = new FakeClient(hub, w);
    await client.hello();
    return { client };
  }

  async function messaging(w: World = world()) {
    const heard = vi.fn(() => new Promise<void>(() => {}));
    const hub = hubOf(w, { limits: { handlerTimeout: 5_000 }, onMessage: { 'x:y': heard } });
    const client = new FakeClient(hub, w);
    await client.hello();
    return { w, hub, client, heard };
  }

  function say(client: FakeClient, room: string, payload: unknown): Promise<void> {
    return client.send({ kind: 'message', type: 'x:y', timestamp: 1, room, payload });
  }
});
