import type { Appended, JournalUser, MemoryJournalOptions } from 'holdfast/server';
import { ids, virtualClock } from 'holdfast/testing';
import { describe, expect, test } from 'vitest';
import { FakeClient, hubOf, world } from './harness.js';
import { journals } from './journal-table.js';

const draft = (room: string, n: number | string) => ({ room, body: `"n":${JSON.stringify(n)}}` });
const claim = { client: 'c', requestId: 'r', link: 1, rerunnable: false };

describe.each(journals)('of the $name journal,', ({ create }) => {
  /** A journal and nodes of it, with what they are told. */
  function opened(options: MemoryJournalOptions = {}) {
    const clock = virtualClock();
    const journal = create(options);
    const id = ids('x');
    const news: Appended[] = [];
    const told: string[] = [];
    const node = () => {
      const user: JournalUser = {
        clock,
        id,
        appended: (appended) => news.push(appended),
        settled: (client, requestId) => told.push(`settled ${client} ${requestId}`),
        linked: (client, link) => told.push(`linked ${client} ${link}`),
        told: (text) => told.push(text),
        fenced: () => told.push('fenced'),
      };
      return journal.open(user);
    };
    return { clock, journal, news, told, node };
  }

  describe('rooms', () => {
    test('keep what fits their count, bytes and age', async () => {
      const byCount = opened({ maxEvents: 3 });
      const counted = byCount.node();
      const start = await counted.tail('a');
      await counted.write([{ events: [1, 2, 3, 4].map((n) => draft('a', n)) }]);
      expect(await counted.read('a', start, 10)).toMatchObject({
        gap: 'expired',
        tail: { seq: 4 },
      });
      expect(await counted.read('a', { ...start, seq: 1 }, 10)).toMatchObject({
        events: [{ seq: 2 }, { seq: 3 }, { seq: 4 }],
      });
      expect(await counted.read('a', { ...start, seq: 1 }, 2)).toMatchObject({
        events: [{ seq: 2 }, { seq: 3 }],
      });

      const byBytes = opened({ maxBytes: 400 });
      const weighed = byBytes.node();
      const first = await weighed.tail('a');
      await weighed.write([{ events: [1, 2, 3].map(() => draft('a', 'x'.repeat(150))) }]);
      expect(await weighed.read('a', first, 10)).toMatchObject({ gap: 'expired' });
      expect(await weighed.read('a', { ...first, seq: 2 }, 10)).toMatchObject({
        events: [{ seq: 3 }],
      });

      const byAge = opened({ maxAge: 1_000 });
      const aged = byAge.node();
      const at = await aged.tail('a');
      await aged.write([{ events: [draft('a', 1)] }]);
      await byAge.clock.advance(1_001);
      expect(await aged.read('a', at, 10)).toMatchObject({ gap: 'expired' });
      expect(await aged.read('a', { ...at, seq: 1 }, 10)).toEqual({ events: [] });
    });

    test('are the same after thousands of events as after the first', async () => {
      const { node } = opened({ maxEvents: 100 });
      const one = node();
      const { epoch } = await one.tail('a');
      for (let n = 1; n <= 5_000; n++) await one.write([{ events: [draft('a', n)] }]);
      const slice = await one.read('a', { epoch, seq: 4_900 }, 1_000);
      expect(slice.gap ?? slice.events.map((event) => event.seq)).toEqual(
        Array.from({ length: 100 }, (_, n) => n + 4_901),
      );
    });

    test('that nobody uses are forgotten, and start a new epoch', async () => {
      const { clock, node } = opened({ roomWindow: 60_000 });
      const one = node();
      await one.write([{ events: [draft('a', 1), draft('b', 1)] }]);
      const idle = await one.tail('a');
      const followed = await one.follow('b');
      await clock.advance(80_000);
      await one.tail('other');
      await clock.advance(1);

      expect(await one.read('a', idle, 10)).toMatchObject({ gap: 'epoch', tail: { seq: 0 } });
      expect(await one.read('b', followed, 10)).toEqual({ events: [] });
    });

    test('that somebody reads are kept', async () => {
      const { clock, node } = opened({ roomWindow: 60_000 });
      const one = node();
      const start = await one.tail('a');
      for (let n = 0; n < 5; n++) {
        await clock.advance(40_000);
        expect(await one.read('a', start, 10)).toEqual({ events: [] });
      }
    });

    test('are bounded in number, those in use kept', async () => {
      const { clock, node } = opened({ maxRooms: 50 });
      const one = node();
      const used = await one.follow('used');
      const first = await one.tail('r0');
      for (let n = 1; n < 200; n++) {
        await clock.advance(1);
        await one.tail(`r${n}`);
      }
      expect((await one.tail('used')).epoch).toBe(used.epoch);
      expect((await one.tail('r0')).epoch).not.toBe(first.epoch);
    });

    test('tell their followers, and only theirs, in one go for each write call', async () => {
      const { news, node } = opened();
      const one = node();
      await one.follow('a');
      await one.write([{ events: [draft('a', 1), draft('b', 1)] }, { events: [draft('a', 2)] }]);
      one.unfollow('a');
      await one.write([{ events: [draft('a', 3)] }]);
      expect(news).toMatchObject([{ room: 'a', seq: 2, events: [{ seq: 1 }, { seq: 2 }] }]);
    });
  });

  test('what is told has reached every other node once `tell` resolves, and no closed node tells', async () => {
    const { node, told } = opened();
    const one = node();
    const two = node();
    node();
    await one.tell('news');
    expect(told).toEqual(['news', 'news']);
    await two.close();
    await expect(two.tell('more')).rejects.toThrow('closed its journal');
    expect(told).toHaveLength(2);
  });

  describe('requests', () => {
    test('are claimed once, settled once, and answered from then on', async () => {
      const { node, told } = opened();
      const one = node();
      const two = node();
      await one.link('c', 1);
      expect(await one.claim(claim)).toEqual({ state: 'claimed' });
      expect(await one.claim(claim)).toEqual({ state: 'running', isHere: true });
      expect(await two.claim(claim)).toEqual({ state: 'running', isHere: false });

      const settle = { client: 'c', requestId: 'r', response: 'yes' };
      expect(await two.write([{ events: [draft('a', 1)], settle }])).toEqual([{ accepted: false }]);
      expect((await two.tail('a')).seq).toBe(0);
      expect(await one.write([{ events: [draft('a', 1)], settle }])).toMatchObject([
        { accepted: true },
      ]);
      expect(await one.write([{ events: [], settle }])).toEqual([{ accepted: false }]);
      expect(await two.claim(claim)).toEqual({ state: 'settled', response: 'yes' });
      expect(told).toEqual(['linked c 1', 'settled c r']);
    });

    test('of a dead node are orphans, or run again where they may', async () => {
      const { journal, node, told } = opened();
      const one = node();
      await one.claim(claim);
      await one.claim({ ...claim, requestId: 'again' });
      journal.fence();
      expect(told).toEqual(['fenced']);
      const two = node();

      expect(await two.claim(claim)).toEqual({ state: 'orphaned' });
      expect(await two.claim({ ...claim, requestId: 'again', rerunnable: true })).toEqual({
        state: 'claimed',
      });
      const settle = { client: 'c', requestId: 'r', response: 'late' };
      expect(await one.write([{ events: [], settle }])).toEqual([{ accepted: false }]);
      expect(await one.claim({ ...claim, requestId: 'other' })).toEqual({ state: 'fenced' });
      expect(
        await two.write([{ events: [], settle: { ...settle, response: 'unknown' } }]),
      ).toMatchObject([{ accepted: true }]);
      expect(await two.claim(claim)).toEqual({ state: 'settled', response: 'unknown' });
    });

    test('that were asked again last are forgotten last', async () => {
      const { node } = opened({ maxRequests: 4 });
      const one = node();
      const settled = async (requestId: string) => {
        await one.claim({ ...claim, requestId });
        await one.write([{ events: [], settle: { client: 'c', requestId, response: 'yes' } }]);
      };
      for (const requestId of ['r1', 'r2', 'r3', 'r4']) await settled(requestId);
      expect(await one.recall('c', 'r1')).toEqual({ state: 'settled', response: 'yes' });
      await settled('r5');
      const states: string[] = [];
      for (const requestId of ['r1', 'r2', 'r3', 'r4', 'r5']) {
        states.push((await one.recall('c', requestId)).state);
      }
      expect(states).toEqual(['settled', 'unknown', 'unknown', 'unknown', 'settled']);
    });

    test('of a lower link are refused', async () => {
      const { node } = opened();
      const one = node();
      expect(await one.link('c', 3)).toMatchObject({ accepted: true });
      expect(await one.link('c', 2)).toEqual({ accepted: false, link: 3 });
      expect(await one.claim({ ...claim, link: 2 })).toEqual({ state: 'fenced' });
    });

    test('clients that left are forgotten after the request window, or when there are too many', async () => {
      const { clock, node } = opened({ requestWindow: 60_000, maxClients: 10 });
      const one = node();
      const session = async (client: string) => {
        const linked = await one.link(client, 1);
        return linked.accepted ? linked.session : undefined;
      };
      const first = await session('c0');
      one.unlink('c0', 1);
      for (let n = 1; n <= 10; n++) {
        await session(`c${n}`);
        one.unlink(`c${n}`, 1);
      }
      expect(await session('c0')).not.toBe(first);
      const kept = await session('c10');
      await clock.advance(200_000);
      expect(await session('c10')).toBe(kept);
    });

    test('options that are no numbers above 0 are refused', () => {
      expect(() => create({ maxEvents: 0 })).toThrow(/maxEvents must be a finite number above 0/);
      expect(() => create({ maxAge: Number.NaN })).toThrow(/maxAge/);
      expect(() => create({ maxAge: Number.POSITIVE_INFINITY })).toThrow(/maxAge/);
    });
  });

  describe('a journal that outlives its hub', () => {
    test('keeps rooms, epochs, responses and sessions', async () => {
      const w = world();
      const journal = create();
      let runs = 0;
      const options = { journal, handlers: { 'x:do': () => ++runs } };
      const first = hubOf(w, options);
      const before = new FakeClient(first, w);
      await before.hello({ rooms: [{ room: 'a' }] });
      const { eventId } = await first.publish('a', 'x:y', 1);
      await before.request('r1', 'x:do');
      const closing = first.close();
      await w.clock.advance(10);
      await closing;

      const second = hubOf(w, options);
      await second.publish('a', 'x:y', 2);
      const after = new FakeClient(second, w);
      await after.hello({ link: 2, rooms: [{ room: 'a', since: eventId }] });
      await after.request('r1', 'x:do');

      expect(after.last('welcome')?.session).toBe(before.last('welcome')?.session);
      expect(after.verdicts('a')).toMatchObject([{ recovered: true }]);
      expect(after.seqs('a')).toEqual([2]);
      expect(after.response('r1')).toMatchObject({ data: 1 });
      expect(runs).toBe(1);
    });

    test('E33 answers what ran when its hub crashed with OUTCOME_UNKNOWN, and runs nothing twice', async () => {
      const w = world();
      const journal = create();
      let runs = 0;
      let finish: (value: string) => void = () => {};
      const handlers = {
        'x:do': (
          _: unknown,
          context: { publish(room: string, type: string, payload: unknown): void },
        ) => {
          runs++;
          context.publish('a', 'x:y', 'from the dead');
          return new Promise<string>((resolve) => {
            finish = resolve;
          });
        },
      };
      const crashed = hubOf(w, { journal, handlers });
      const before = new FakeClient(crashed, w);
      await before.hello();
      await before.request('r1', 'x:do');
      journal.fence();
      before.lose();

      const next = hubOf(w, { journal, handlers });
      const after = new FakeClient(next, w);
      await after.hello({ link: 2, rooms: [{ room: 'a' }] });
      await after.request('r1', 'x:do');
      finish('too late');
      await w.clock.settle();
      await after.request('r1', 'x:do');

      expect(runs).toBe(1);
      expect(after.all('response')).toHaveLength(2);
      for (const answer of after.all('response')) {
        expect(answer).toMatchObject({
          error: { code: 'OUTCOME_UNKNOWN', details: { reason: 'node-died' } },
        });
      }
      expect(after.events('a')).toEqual([]);
      expect(after.last('welcome')?.session).toBe(before.last('welcome')?.session);
    });

    test('runs a rerunnable handler again, under the same requestKey', async () => {
      const w = world();
      const journal = create();
      const keys: string[] = [];
      const options = {
        journal,
        handlers: {
          'x:do': {
            rerunnable: true,
            run: (_: unknown, context: { requestKey: string }) => {
              keys.push(context.requestKey);
              return keys.length === 1 ? new Promise(() => {}) : 'done';
            },
          },
        },
      };
      const before = new FakeClient(hubOf(w, options), w);
      await before.hello();
      await before.request('r1', 'x:do');
      journal.fence();
      const after = new FakeClient(hubOf(w, options), w);
      await after.hello({ link: 2 });
      await after.request('r1', 'x:do');
      expect(after.response('r1')).toMatchObject({ data: 'done' });
      expect(keys).toHaveLength(2);
      expect(keys[0]).toBe(keys[1]);
    });
  });

  describe('two hubs of one journal', () => {
    test('carry events both ways', async () => {
      const w = world();
      const journal = create();
      const [one, two] = [hubOf(w, { journal }), hubOf(w, { journal })];
      const client = new FakeClient(two, w);
      await client.hello({ rooms: [{ room: 'a' }] });
      await one.publish('a', 'x:y', 1);
      await two.publish('a', 'x:y', 2);
      await w.clock.settle();
      expect(client.seqs('a')).toEqual([1, 2]);
    });

    test('a request that runs on one is waited for on the other', async () => {
      const w = world();
      const journal = create();
      let runs = 0;
      let finish: (value: string) => void = () => {};
      const options = {
        journal,
        handlers: {
          'x:do': () => {
            runs++;
            return new Promise<string>((resolve) => {
              finish = resolve;
            });
          },
        },
      };
      const [one, two] = [hubOf(w, options), hubOf(w, options)];
      const before = new FakeClient(one, w);
      await before.hello();
      await before.request('r1', 'x:do');
      const after = new FakeClient(two, w);
      await after.hello({ link: 2 });
      await after.request('r1', 'x:do');
      expect(before.closed).toMatchObject({ code: 4409 });
      expect(after.all('response')).toEqual([]);

      finish('once');
      await w.clock.settle();
      expect(runs).toBe(1);
      expect(after.response('r1')).toMatchObject({ data: 'once' });
    });

    test('a request whose hub dies while the other waits has an unknown outcome', async () => {
      const w = world();
      const journal = create();
      const options = { journal, handlers: { 'x:do': () => new Promise(() => {}) } };
      const [one, two] = [hubOf(w, options), hubOf(w, options)];
      const before = new FakeClient(one, w);
      await before.hello();
      await before.request('r1', 'x:do');
      const after = new FakeClient(two, w);
      await after.hello({ link: 2 });
      await after.request('r1', 'x:do');
      void one.close();
      await w.clock.advance(10);
      expect(after.response('r1')).toMatchObject({ error: { code: 'OUTCOME_UNKNOWN' } });
    });
  });

  describe('a journal that fails', () => {
    test('runs nothing it could not claim, and says that nothing happened', async () => {
      const w = world();
      const inner = create();
      let isDown = false;
      let runs = 0;
      const hub = hubOf(w, {
        journal: {
          ...{ replayWindow: inner.replayWindow, requestWindow: inner.requestWindow },
          open: (user) => {
            const node = inner.open(user);
            const orDown = <T>(run: () => Promise<T>) =>
              isDown ? Promise.reject(new Error('journal is down')) : run();
            return {
              follow: (room) => orDown(() => node.follow(room)),
              unfollow: (room) => node.unfollow(room),
              tail: (room) => orDown(() => node.tail(room)),
              read: (room, since, limit) => orDown(() => node.read(room, since, limit)),
              write: (writes) => orDown(() => node.write(writes)),
              link: (client, link) => orDown(() => node.link(client, link)),
              unlink: (client, link) => node.unlink(client, link),
              known: (client) => orDown(() => node.known(client)),
              claim: (asked) => orDown(() => node.claim(asked)),
              recall: (client, requestId) => orDown(() => node.recall(client, requestId)),
              forget: (client, requestIds) => node.forget(client, requestIds),
              tell: (text) => node.tell(text),
              close: () => node.close(),
            };
          },
        },
        handlers: {
          'x:do': () => {
            runs++;
          },
          'x:break': () => {
            isDown = true;
          },
        },
      });
      const client = new FakeClient(hub, w);
      await client.hello();
      isDown = true;
      await client.request('r1', 'x:do');
      expect(client.response('r1')).toMatchObject({
        error: { code: 'SERVER_ERROR', retryable: true },
      });
      expect(runs).toBe(0);
      await expect(hub.publish('a', 'x:y', 1)).rejects.toThrow('journal is down');

      isDown = false;
      await client.request('r2', 'x:break');
      expect(client.response('r2')).toMatchObject({
        error: { code: 'OUTCOME_UNKNOWN', details: { reason: 'journal' } },
      });
      isDown = false;
      await client.request('r2', 'x:break');
      expect(client.all('response').at(-1)).toMatchObject({ error: { code: 'OUTCOME_UNKNOWN' } });

      isDown = true;
      await client.send({ kind: 'join', rooms: [{ room: 'a' }] });
      expect(client.closed).toMatchObject({ code: 1011 });
      expect(JSON.stringify(client.frames)).not.toContain('journal is down');
    });
  });
});
