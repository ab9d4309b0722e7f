/** A journal that answers and tells late, as one across a network does: the promises stay the same. */
import type { Journal, JournalNode } from 'holdfast/server';
import { seededDice, type VirtualClock } from 'holdfast/testing';
import { describe, expect, test } from 'vitest';
import { FakeClient, hubOf, world } from './harness.js';
import { acrossObjects, journals } from './journal-table.js';

/** Answers after up to `lag` ms, in order; what it tells comes late too, and may leave events out. */
function laggy(inner: Journal, clock: VirtualClock, random: () => number, lag: number): Journal {
  return {
    replayWindow: inner.replayWindow,
    requestWindow: inner.requestWindow,
    open(user): JournalNode {
      const inOrder = () => {
        let last = 0;
        return (run: () => void) => {
          const at = Math.max(last, clock.now() + Math.floor(random() * lag));
          last = at;
          clock.after(at - clock.now(), run);
        };
      };
      const ask = inOrder();
      const answer = inOrder();
      const tell = inOrder();
      const late = <T>(run: () => Promise<T>) =>
        new Promise<T>((resolve, reject) => {
          ask(() => {
            const result = run();
            answer(() => void result.then(resolve, reject));
          });
        });
      const node = inner.open({
        ...user,
        id: () => user.id(),
        appended: (news) => {
          const events = random() < 0.3 ? [] : news.events;
          tell(() => user.appended({ ...news, events }));
        },
        settled: (client, requestId) => tell(() => user.settled(client, requestId)),
        linked: (client, link) => tell(() => user.linked(client, link)),
      });
      return {
        follow: (room) => late(() => node.follow(room)),
        unfollow: (room) => ask(() => node.unfollow(room)),
        tail: (room) => late(() => node.tail(room)),
        read: (room, since, limit) => late(() => node.read(room, since, limit)),
        write: (writes) => late(() => node.write(writes)),
        link: (client, link) => late(() => node.link(client, link)),
        unlink: (client, link) => ask(() => node.unlink(client, link)),
        known: (client) => late(() => node.known(client)),
        claim: (claim) => late(() => node.claim(claim)),
        recall: (client, requestId) => late(() => node.recall(client, requestId)),
        forget: (client, requestIds) => ask(() => node.forget(client, requestIds)),
        tell: (text) => late(() => node.tell(text)),
        close: () => late(() => node.close()),
      };
    },
  };
}

describe.each([...journals, acrossObjects])('of the $name kind:', ({ create }) => {
  describe.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])('seed %i', (seed) => {
    test('each event comes once, in order, through joins, leaves, losses and slow links', async () => {
      const w = world();
      const random = seededDice(seed);
      const journal = laggy(create(), w.clock, random, 40);
      const hubs = [0, 1].map(() => hubOf(w, { journal, limits: { bufferedBytes: 2_000 } }));
      const seen = new Map<string, number[]>();
      let published = 0;

      const clients = await Promise.all(
        [0, 1, 2, 3].map(async (n) => {
          const state = {
            link: 0,
            cursor: '',
            client: undefined as FakeClient | undefined,
            heard: 0,
          };
          const seqs: number[] = [];
          seen.set(`c${n}`, seqs);
          const dial = async () => {
            state.client?.lose();
            const hub = hubs[Math.floor(random() * hubs.length)];
            if (hub === undefined) return;
            state.client = new FakeClient(hub, w);
            state.heard = 0;
            state.link++;
            const since = state.cursor === '' ? {} : { since: state.cursor };
            await state.client.hello({
              clientId: `c${n}`,
              link: state.link,
              rooms: [{ room: 'a', ...since }],
            });
          };
          const collect = () => {
            const frames = state.client?.frames ?? [];
            for (; state.heard < frames.length; state.heard++) {
              const frame = frames[state.heard];
              if (frame?.kind === 'room' && frame.room === 'a' && 'joined' in frame) {
                if (state.cursor === '') seqs.push(frame.seq);
                state.cursor = frame.cursor;
              }
              if (frame?.kind === 'event' && frame.room === 'a') {
                seqs.push(frame.seq ?? -1);
                state.cursor = frame.eventId;
              }
            }
          };
          await dial();
          return { state, dial, collect };
        }),
      );

      for (let step = 0; step < 300; step++) {
        const hub = hubs[step % 2];
        if (random() < 0.6) {
          void hub?.publish('a', 'x:y', 'x'.repeat(Math.floor(random() * 400)));
          published++;
        }
        const one = clients[Math.floor(random() * clients.length)];
        const client = one?.state.client;
        if (random() < 0.1 && one !== undefined) {
          one.collect();
          await one.dial();
        } else if (random() < 0.1 && client !== undefined) client.reads = !client.reads;
        else if (random() < 0.5) await client?.take(2);
        if (random() < 0.7) await w.clock.advance(Math.floor(random() * 30));
        for (const each of clients) each.collect();
      }

      for (const each of clients) if (each.state.client) each.state.client.reads = true;
      for (let n = 0; n < 40; n++) {
        for (const each of clients) await each.state.client?.take();
        await w.clock.advance(500);
        for (const each of clients) {
          await each.state.client?.send('{"kind":"pong"}');
          each.collect();
        }
      }

      for (const seqs of seen.values()) {
        const [first = 0] = seqs;
        expect(seqs).toEqual(Array.from({ length: published - first + 1 }, (_, n) => first + n));
      }
      expect(w.errors).toEqual([]);
    });
  });

  test('a request that is repeated across hubs all the while runs once', async () => {
    const w = world();
    const random = seededDice(99);
    const journal = laggy(create(), w.clock, random, 40);
    const runs = new Map<string, number>();
    const hubs = [0, 1].map(() =>
      hubOf(w, {
        journal,
        limits: { messagesPerSecond: 10_000 },
        handlers: {
          'x:do': (_, { requestId }) => {
            runs.set(requestId, (runs.get(requestId) ?? 0) + 1);
            return new Promise<string>((resolve) => {
              w.clock.after(Math.floor(random() * 60), () => resolve(`did ${requestId}`));
            });
          },
        },
      }),
    );
    const answers = new Map<string, unknown>();
    let link = 0;
    let client: FakeClient | undefined;
    const waiting = new Set(Array.from({ length: 60 }, (_, n) => `r${n}`));

    while (waiting.size > 0) {
      const hub = hubs[link % 2];
      if (hub === undefined) break;
      client?.lose();
      client = new FakeClient(hub, w);
      await client.hello({ link: ++link });
      await w.clock.advance(Math.floor(random() * 200));
      for (const requestId of [...waiting].slice(0, 8)) await client.request(requestId, 'x:do');
      await w.clock.advance(Math.floor(random() * 400));
      for (const response of client.all('response')) {
        waiting.delete(response.requestId);
        answers.set(response.requestId, response.success ? response.data : response.error);
      }
      if (link > 500) break;
    }

    expect(waiting).toEqual(new Set());
    expect([...runs.values()].filter((count) => count !== 1)).toEqual([]);
    for (const [requestId, answer] of answers) expect(answer).toBe(`did ${requestId}`);
  });

  describe('an answer of the journal that comes late', () => {
    /** Holds back the answers to `follow` of the room a, or to every `read`, until told. */
    function held(what: 'follow' | 'read') {
      const inner = create();
      const waiting: (() => void)[] = [];
      const hold = async <T>(answer: Promise<T>): Promise<T> => {
        await new Promise<void>((resolve) => waiting.push(resolve));
        return answer;
      };
      const journal: Journal = {
        replayWindow: inner.replayWindow,
        requestWindow: inner.requestWindow,
        open(user) {
          const node = inner.open(user);
          const follow = (room: string) =>
            what === 'follow' && room === 'a' ? hold(node.follow(room)) : node.follow(room);
          const read: JournalNode['read'] = (room, since, limit) =>
            what === 'read' ? hold(node.read(room, since, limit)) : node.read(room, since, limit);
          return {
            follow,
            read,
            unfollow: (room) => node.unfollow(room),
            tail: (room) => node.tail(room),
            write: (writes) => node.write(writes),
            link: (client, link) => node.link(client, link),
            unlink: (client, link) => node.unlink(client, link),
            known: (client) => node.known(client),
            claim: (claim) => node.claim(claim),
            recall: (client, requestId) => node.recall(client, requestId),
            forget: (client, requestIds) => node.forget(client, requestIds),
            tell: (text) => node.tell(text),
            close: () => node.close(),
          };
        },
      };
      return { journal, waiting };
    }

    test('does not lose what was published while the room began to be followed', async () => {
      const w = world();
      const { journal, waiting } = held('follow');
      const hub = hubOf(w, { journal });
      const { eventId } = await hub.publish('a', 'x:y', 1);
      const client = new FakeClient(hub, w);
      await client.hello({ rooms: [{ room: 'a', since: eventId }] });

      await hub.publish('a', 'x:y', 2);
      for (const go of waiting.splice(0)) go();
      await w.clock.settle();

      expect(client.seqs('a')).toEqual([2]);
    });

    test('is thrown away where the room was joined again meanwhile', async () => {
      const w = world();
      const { journal, waiting } = held('read');
      const hub = hubOf(w, { journal, limits: { bufferedBytes: 500 } });
      const client = new FakeClient(hub, w);
      await client.hello({ rooms: [{ room: 'a' }] });
      client.reads = false;
      for (let n = 1; n <= 20; n++) await hub.publish('a', 'x:y', 'x'.repeat(200));
      const written = client.bufferedAmount;
      client.reads = true;
      await client.take();
      expect(written).toBeGreaterThan(500);
      // The read that catches up is under way when the client asks to begin anew.
      expect(waiting).toHaveLength(1);
      const before = client.seqs('a').length;
      await client.send({ kind: 'join', rooms: [{ room: 'a' }] });
      for (const go of waiting.splice(0)) go();
      await w.clock.settle();

      expect(client.verdicts('a')).toHaveLength(2);
      expect(client.verdicts('a')[1]).toMatchObject({ reason: 'new', seq: 20 });
      expect(client.seqs('a')).toHaveLength(before);
      await hub.publish('a', 'x:y', 'next');
      await w.clock.settle();
      expect(client.seqs('a').at(-1)).toBe(21);
    });

    test('is thrown away where the room was left meanwhile', async () => {
      const w = world();
      const { journal, waiting } = held('read');
      const hub = hubOf(w, { journal, limits: { bufferedBytes: 500 } });
      const client = new FakeClient(hub, w);
      await client.hello({ rooms: [{ room: 'a' }] });
      client.reads = false;
      for (let n = 1; n <= 20; n++) await hub.publish('a', 'x:y', 'x'.repeat(200));
      client.reads = true;
      await client.take();
      await client.send({ kind: 'leave', rooms: ['a'] });
      for (const go of waiting.splice(0)) go();
      await w.clock.settle();

      expect(client.frames.at(-1)).toEqual({ kind: 'room', room: 'a', left: true });
    });

    test('is thrown away where the link was lost meanwhile', async () => {
      const w = world();
      const { journal, waiting } = held('read');
      const hub = hubOf(w, { journal });
      const { eventId } = await hub.publish('a', 'x:y', 1);
      await hub.publish('a', 'x:y', 2);
      const client = new FakeClient(hub, w);
      await client.hello({ rooms: [{ room: 'a', since: eventId }] });
      client.lose();
      for (const go of waiting.splice(0)) go();
      await w.clock.settle();

      expect(client.verdicts('a')).toEqual([]);
      expect(hub.metrics()).toMatchObject({ rooms: 0, eventsDelivered: 0 });
      expect(w.errors).toEqual([]);
    });
  });
});
