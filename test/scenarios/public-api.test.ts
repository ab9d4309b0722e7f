/** The client as its user sees it: what a page of code may count on, call by call. */
import { getEventListeners } from 'node:events';
import {
  type ConnectionState,
  createClient,
  defineContract,
  HoldfastError,
  type Status,
} from 'holdfast';
import { createHub, tokenExpired } from 'holdfast/server';
import { ids, memoryNetwork, seededDice, virtualClock } from 'holdfast/testing';
import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import { harness } from '../client/harness.js';
import { hubHarness } from './hub.js';

type Options = Parameters<typeof harness>[0];

/** A client in the room "r" of a server that answers by itself. */
async function connected(options: Options = {}) {
  const all = harness({ auto: true, ...options });
  const { client, clock } = all;
  void client.connect();
  const joined = client.room('r').join();
  await clock.advance(1);
  await joined;
  return all;
}

describe('a page of code', () => {
  const chat = defineContract({
    requests: {
      'message:send': {
        payload: z.object({ text: z.string().max(4_000) }),
        data: z.object({ id: z.string() }),
      },
    },
    events: {
      'message:received': z.object({ id: z.string(), from: z.string(), text: z.string() }),
    },
  });

  test('sends a message to a room, hears it, and comes back after an outage and after a gap', async () => {
    const clock = virtualClock();
    const random = seededDice(1);
    const network = memoryNetwork({ clock, random, latency: 10 });
    const stored: { id: string; text: string }[] = [];
    const hub = createHub<typeof chat, { name: string; id: string }, { token: string }>({
      contract: chat,
      environment: { clock, random, id: ids('server') },
      authenticate: ({ auth }) => {
        if (auth.token !== 'fresh') throw tokenExpired();
        return { user: { name: 'Ann', id: '1' } };
      },
      handlers: {
        'message:send': ({ text }, { publish, room, user }) => {
          const id = `m${stored.push({ id: '', text })}`;
          publish(room, 'message:received', { id, from: user.name, text });
          return { id };
        },
      },
    });
    network.serve(hub.accept.bind(hub));
    const asked: string[] = [];
    let token = 'stale';
    const rendered: unknown[] = [];
    const statuses: Status[] = [];
    const client = createClient({
      contract: chat,
      transport: network.transport(),
      auth: async ({ reason }) => {
        asked.push(reason);
        if (reason === 'expired') token = 'fresh';
        return { token };
      },
      onGap: async ({ room }) => {
        const lastEventId = await hub.cursor(room);
        rendered.push('the whole state');
        return lastEventId;
      },
      environment: { clock, random, id: ids('client'), lifecycle: () => () => {}, report() {} },
    });
    client.onState(({ status }) => statuses.push(status));
    void client.connect();
    const room = client.room('conversation:456');
    room.on('message:received', (message, event) => {
      rendered.push([message.from, message.text, event.room]);
    });
    const history = { lastEventId: await hub.cursor('conversation:456') };
    const early = { id: 'm0', from: 'Bob', text: 'before you came' };
    await hub.publish('conversation:456', 'message:received', early);
    const joined = room.join({ since: history.lastEventId });
    await clock.advance(1_000);
    await joined;
    expect(room.state).toBe('joined');
    expect(asked).toEqual(['connect', 'expired']);
    expect(rendered).toEqual([['Bob', 'before you came', 'conversation:456']]);

    const sent = client.request('message:send', { text: 'hi' }, { room: 'conversation:456' });
    await clock.advance(100);
    const { id } = await sent;
    expect(id).toBe('m1');
    expect(rendered.at(-1)).toEqual(['Ann', 'hi', 'conversation:456']);

    network.cut();
    const fromRoom = room.request('message:send', { text: 'in the tunnel' });
    await clock.advance(5_000);
    expect(await fromRoom).toEqual({ id: 'm2' });
    expect(rendered.at(-1)).toEqual(['Ann', 'in the tunnel', 'conversation:456']);

    network.set({ refuse: 'CONNECTION_FAILED' });
    network.cut();
    await clock.advance(200_000);
    const missed = { id: 'm3', from: 'Bob', text: 'long ago' };
    await hub.publish('conversation:456', 'message:received', missed);
    await clock.advance(200_000);
    network.set({ refuse: null });
    await clock.advance(60_000);
    expect(rendered.at(-1)).toBe('the whole state');
    client.close();
    await clock.advance(1_000);
    expect(statuses.at(-1)).toBe('closed');
    await Promise.all([hub.close(), clock.advance(5_000)]);
    expect(clock.pending).toBe(0);
  });

  test('is checked by the compiler', () => {
    const client = createClient({ contract: chat, transport: memoryTransport() });
    const answer: () => Promise<{ id: string }> = () =>
      client.request('message:send', { text: 'hi' });
    client.on('message:received', ({ text }) => text.length);
    // @ts-expect-error -- no such event in the contract
    client.on('message:lost', () => {});
    // @ts-expect-error -- the payload has no such field
    const wrong = () => client.request('message:send', { txt: 'hi' });
    // @ts-expect-error -- no such request in the contract
    const unknown = () => client.room('r').request('message:shout', { text: 'hi' });
    expect([answer, wrong, unknown]).toHaveLength(3);
  });
});

describe('construction', () => {
  test('touches nothing: no dial, timer, id, die or device', () => {
    const touched: string[] = [];
    const touch = <T>(what: string, answer: T): T => {
      touched.push(what);
      return answer;
    };
    const clock = virtualClock();
    const network = memoryNetwork({ clock, random: () => 0 });
    const client = createClient({
      transport: network.transport(),
      environment: {
        clock: {
          now: () => touch('clock', 0),
          date: () => touch('date', 0),
          after: () => touch('timer', () => {}),
        },
        random: () => touch('random', 0),
        id: () => touch('id', 'id'),
        lifecycle: () => touch('lifecycle', () => {}),
        report: () => touch('report', undefined),
      },
    });
    expect(touched).toEqual([]);
    client.room('r');
    client.onState(() => {});
    expect(client.state.status).toBe('disconnected');
    // Showing a state asks for the time, and for nothing else.
    expect(new Set(touched)).toEqual(new Set(['clock', 'date']));
    expect([network.dials, clock.pending]).toEqual([0, 0]);
  });

  const transport = memoryTransport();
  test.each([
    ['transport', { transport: undefined }, /transport is undefined\. It must be a transport/],
    ['transport', { transport: 'wss://chat.example.com' }, /transport is wss/],
    ['reconnect.maxDelay', { reconnect: { maxDelay: 0 } }, /from 1 on/],
    ['reconnect.initialDelay', { reconnect: { initialDelay: Number.NaN } }, /is NaN/],
    ['reconnect.maxAttempts', { reconnect: { maxAttempts: -1 } }, /is -1/],
    ['reconnect.jitter', { reconnect: { jitter: 'some' } }, /is some/],
    ['heartbeat.interval', { heartbeat: { interval: '25s' } }, /is 25s/],
    ['outbox.overflow', { outbox: { overflow: 'drop' } }, /drop-oldest/],
    ['outbox.maxMessages', { outbox: { maxMessages: 0 } }, /is 0/],
    ['inbox.maxHeld', { inbox: { maxHeld: null } }, /inbox\.maxHeld/],
    ['limits.maxMessageSize', { limits: { maxMessageSize: -5 } }, /is -5/],
    ['authTimeout', { authTimeout: 0 }, /is 0/],
    ['pauseWhenHidden.afterMs', { pauseWhenHidden: { afterMs: 'soon' } }, /is soon/],
  ])('refuses a wrong %s and names it, what it is and what it may be', (name, options, message) => {
    const create = () => createClient({ transport, ...options } as never);
    expect(create).toThrow(HoldfastError);
    expect(create).toThrow(expect.objectContaining({ code: 'INVALID_PAYLOAD' }));
    expect(create).toThrow(`The option ${name} is`);
    expect(create).toThrow(message);
  });

  test('takes every default where options are undefined', () => {
    const options = { auth: undefined, heartbeat: undefined, outbox: undefined } as never;
    expect(() => createClient({ transport, ...(options as object) })).not.toThrow();
  });
});

describe('client.state', () => {
  test('is frozen, and the same object until something in it changes', async () => {
    const { client, clock } = await connected();
    const before = client.state;
    expect(Object.isFrozen(before)).toBe(true);
    await clock.advance(5_000);
    client.room('r').on('a:b', () => {});
    expect(client.state).toBe(before);
    void client.request('a:b', 1);
    const asked = client.state;
    expect(asked).not.toBe(before);
    expect(asked).toMatchObject({ queued: 1, lastConnected: before.lastConnected });
    expect(asked.lastConnected).toBe(before.lastConnected);
  });

  test('onState is called at once, then at most once a tick, until its unsubscribe, harmless twice', async () => {
    const { client, clock } = harness({ auto: true });
    const heard: ConnectionState[] = [];
    const off = client.onState((state) => heard.push(state));
    expect(heard).toEqual([client.state]);
    void client.connect();
    void client.request('a:b', 1);
    void client.request('a:b', 2);
    expect(heard).toHaveLength(1);
    await clock.settle();
    expect(heard.map(({ status, queued }) => [status, queued])).toEqual([
      ['disconnected', 0],
      ['connecting', 2],
    ]);
    off();
    off();
    await clock.advance(10);
    expect(heard).toHaveLength(2);
    expect(client.state.status).toBe('connected');
  });

  test('is a store: { subscribe: client.onState } needs no client around it', () => {
    const { client } = harness();
    const { subscribe } = { subscribe: client.onState };
    const heard: Status[] = [];
    subscribe(({ status }) => heard.push(status))();
    expect(heard).toEqual(['disconnected']);
  });

  test('tells of waits, losses and the way back', async () => {
    const { client, clock, network } = await connected({
      reconnect: { initialDelay: 4_000, jitter: 'none' },
    });
    const at = clock.date();
    network.cut();
    await clock.settle();
    expect(client.state).toMatchObject({
      status: 'reconnecting',
      synced: false,
      transport: null,
      reconnectAttempts: 1,
      nextRetryAt: new Date(at + 4_000),
      error: { code: 'CONNECTION_FAILED', details: { closeCode: 1006 } },
    });
    await clock.advance(4_100);
    expect(client.state).toMatchObject({
      status: 'connected',
      synced: true,
      transport: 'memory',
      nextRetryAt: null,
      reconnectAttempts: 1,
      error: null,
    });
    await clock.advance(60_000);
    expect(client.state.reconnectAttempts).toBe(0);
    expect(client.state.latency).toBe(0);
  });

  const arrows: Record<Status, readonly Status[]> = {
    disconnected: ['connecting', 'closed'],
    connecting: ['connected', 'reconnecting', 'disconnected', 'closed'],
    connected: ['reconnecting', 'disconnected', 'closed'],
    reconnecting: ['connected', 'disconnected', 'closed'],
    closed: ['connecting'],
  };

  test.each([1, 2, 3, 4])(
    'takes no arrow that is not in the table, whatever happens (seed %i)',
    async (seed) => {
      const { client, clock, network, server, seen, signal } = harness({
        seed,
        auto: true,
        reconnect: { failFast: seed % 2 === 0, maxAttempts: 6 },
      });
      const roll = seededDice(seed);
      const deeds = [
        () => client.connect(),
        () => client.connect(),
        () => client.disconnect(),
        () => client.reconnect(),
        () => network.cut(),
        () => network.close(1001),
        () => network.close(4403),
        () => network.set({ refuse: 'CONNECTION_FAILED' }),
        () => network.set({ refuse: null }),
        () => network.set({ silent: roll() < 0.5 }),
        () => signal('online'),
        () => signal('suspended'),
        () => {
          server.auto = true;
        },
      ];
      for (let turn = 0; turn < 400; turn++) {
        deeds[Math.floor(roll() * deeds.length)]?.();
        // One deed a tick: what happens within one is heard as its last state alone.
        await clock.settle();
        if (roll() < 0.8) await clock.advance(roll() * 20_000);
      }
      client.close();
      await clock.advance(10);
      const { statuses } = seen;
      expect(new Set(statuses).size).toBe(5);
      for (const [index, status] of statuses.entries()) {
        const next = statuses[index + 1];
        if (next !== undefined) expect(arrows[status as Status], `from ${status}`).toContain(next);
      }
      expect(statuses.at(-1)).toBe('closed');
    },
  );
});

describe('connect, disconnect and close', () => {
  test('connect() need not be awaited: its rejection ends no process', async () => {
    const unhandled: unknown[] = [];
    const listen = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', listen);
    for (const end of ['close', 'disconnect'] as const) {
      const { client, clock } = harness();
      void client.connect();
      void client.connect({ signal: new AbortController().signal });
      client[end]();
      await clock.advance(10);
    }
    const { client, clock } = harness();
    void client.connect({ signal: AbortSignal.abort() });
    await clock.advance(10);
    process.off('unhandledRejection', listen);
    expect(unhandled).toEqual([]);
  });

  test('connect() resolves with the first success, for all who asked, and at once when connected', async () => {
    const { client, clock, network } = harness({ auto: true });
    network.set({ refuse: 'CONNECTION_FAILED' });
    const both = Promise.all([client.connect(), client.connect()]);
    await clock.advance(3_000);
    network.set({ refuse: null });
    await clock.advance(10_000);
    await both;
    await client.connect();
    expect(network.links).toHaveLength(1);
  });

  test('connect() with a signal that is aborted already starts nothing, connected or not', async () => {
    const { client, clock, network } = harness({ auto: true });
    const gone = { signal: AbortSignal.abort() };
    await expect(client.connect(gone)).rejects.toMatchObject({ code: 'NOT_SENT' });
    await clock.advance(1_000);
    expect(network.dials).toBe(0);
    void client.connect();
    await clock.advance(1_000);
    await expect(client.connect(gone)).rejects.toMatchObject({ code: 'NOT_SENT' });
    expect(client.state.status).toBe('connected');
  });

  test('the signal of connect() ends the wait and not the connecting', async () => {
    const { client, clock, network } = harness({ auto: true });
    network.set({ refuse: 'CONNECTION_FAILED' });
    const abort = new AbortController();
    const waiting = client.connect({ signal: abort.signal });
    await clock.advance(100);
    abort.abort('no patience');
    await expect(waiting).rejects.toMatchObject({
      details: { reason: 'aborted' },
      cause: 'no patience',
    });
    await clock.settle();
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
    const patient = new AbortController();
    const success = client.connect({ signal: patient.signal });
    expect(getEventListeners(patient.signal, 'abort')).toHaveLength(1);
    network.set({ refuse: null });
    await clock.advance(10_000);
    await success;
    expect(client.state.status).toBe('connected');
    expect(getEventListeners(patient.signal, 'abort')).toEqual([]);
  });

  test('disconnect() keeps the outbox and the cursors for the next connect()', async () => {
    const { client, clock, server, seen } = await connected();
    server.publish('r', 'a:b', 1);
    await clock.advance(1);
    client.disconnect();
    const answer = client.request('a:b', 'kept');
    server.publish('r', 'a:b', 2);
    await clock.advance(60_000);
    expect([client.state.status, client.state.queued, server.links.length]).toEqual([
      'disconnected',
      1,
      1,
    ]);
    void client.connect();
    await clock.advance(10);
    expect(await answer).toBe('kept');
    expect(seen.payloads).toEqual([1, 2]);
  });

  test('close() is final: every promise settles, nothing is left, and connect() says so', async () => {
    const { client, clock, network } = await connected();
    network.set({ blackHole: 'both' });
    const promises = [client.request('a:b', 1), client.room('late').join()];
    await clock.advance(10);
    client.close();
    for (const promise of promises) await expect(promise).rejects.toThrow(HoldfastError);
    await expect(client.connect()).rejects.toThrow('close() was called, which is final');
    await expect(client.room('r').join()).rejects.toThrow(HoldfastError);
    expect(() => client.send('a:b', 1)).toThrow(expect.objectContaining({ code: 'NOT_SENT' }));
    network.heal();
    await clock.advance(60_000);
    expect(clock.pending).toBe(0);
  });

  test('reconnect() skips a wait', async () => {
    const { client, clock, network, server } = await connected({
      reconnect: { initialDelay: 30_000, maxDelay: 30_000, jitter: 'none' },
    });
    network.cut();
    await clock.advance(1_000);
    client.reconnect();
    await clock.advance(10);
    expect([client.state.status, server.links.length]).toEqual(['connected', 2]);
  });
});

describe('rooms', () => {
  test('a handle sends nothing before join(), and two handles are one room', async () => {
    const { client, clock, server } = await connected();
    const [one, two] = [client.room('x'), client.room('x')];
    await clock.advance(1);
    expect([one.name, one.state]).toEqual(['x', 'idle']);
    expect(server.link.frames.map(({ kind }) => kind)).toEqual(['hello']);
    const both = [one.join(), two.join()];
    expect(one.state).toBe('joining');
    await clock.advance(1);
    await Promise.all(both);
    one.leave();
    await clock.advance(1);
    expect([one.state, two.state]).toEqual(['joined', 'joined']);
    two.leave();
    two.leave();
    await clock.advance(1);
    expect(two.state).toBe('idle');
    expect(server.link.sent('leave')).toEqual([{ kind: 'leave', rooms: ['x'] }]);
  });

  test('its listeners hear it alone, the client hears every room and the user', async () => {
    const {
      client,
      connected: join,
      hub,
      clock,
    } = hubHarness({
      hub: { authenticate: () => ({ user: 'ann' }) },
    });
    const heard: string[] = [];
    for (const name of ['a', 'b']) void client.room(name).join();
    client.room('a').on('n:e', (payload) => heard.push(`room a: ${payload}`));
    client.on('n:e', (payload, { room }) => heard.push(`client ${room}: ${payload}`));
    client.onAny((type, payload) => heard.push(`any ${type}: ${payload}`));
    await join();
    void hub.publish('a', 'n:e', 1);
    void hub.publish('b', 'n:e', 2);
    void hub.publishToUser('ann', 'n:e', 3);
    void hub.publish('b', 'n:other', 4);
    await clock.advance(100);
    expect(heard.sort()).toEqual(
      [
        'any n:e: 1',
        'client a: 1',
        'room a: 1',
        'any n:e: 2',
        'client b: 2',
        'any n:e: 3',
        'client @me: 3',
        'any n:other: 4',
      ].sort(),
    );
  });

  test('the last leave() forgets the cursor: joined again later, it starts from now', async () => {
    const { client, clock, network, server, seen } = await connected();
    const room = client.room('r');
    server.publish('r', 'a:b', 1);
    await clock.advance(1);
    room.leave();
    await clock.advance(10);
    server.publish('r', 'a:b', 2);
    void room.join();
    await clock.advance(10);
    server.publish('r', 'a:b', 3);
    await clock.advance(10);
    expect(seen.payloads).toEqual([1, 3]);

    network.cut();
    await clock.advance(1);
    room.leave();
    await clock.advance(1);
    server.publish('r', 'a:b', 4);
    const joined = room.join();
    await clock.advance(10_000);
    await joined;
    server.publish('r', 'a:b', 5);
    await clock.advance(10);
    expect(seen.payloads).toEqual([1, 3, 5]);
  });

  test('join({ signal }) takes the join back', async () => {
    const { client, clock, server } = harness({ auto: true });
    const abort = new AbortController();
    const joined = client.room('r').join({ signal: abort.signal });
    void client.room('s').join();
    abort.abort();
    await expect(joined).rejects.toMatchObject({ details: { reason: 'aborted' } });
    await expect(client.room('r').join({ signal: abort.signal })).rejects.toThrow(HoldfastError);
    void client.connect();
    await clock.advance(10);
    expect(server.link.hello?.rooms).toEqual([{ room: 's' }]);
    expect(server.link.sent('join')).toEqual([]);
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
  });

  test('reserved names and types are refused', async () => {
    const { client } = harness();
    for (const name of ['', '@me', '@x']) {
      expect(() => client.room(name)).toThrow(expect.objectContaining({ code: 'INVALID_PAYLOAD' }));
    }
    for (const type of ['connect', 'holdfast:hello', 'newListener']) {
      expect(() => client.send(type, 1)).toThrow(expect.objectContaining({ code: 'UNKNOWN_TYPE' }));
      await expect(client.request(type, 1)).rejects.toMatchObject({ code: 'UNKNOWN_TYPE' });
    }
  });
});

describe('listeners and iterators', () => {
  test('once hears one event, off takes a listener off, and every removal is harmless twice', async () => {
    const { client, clock, server } = await connected();
    const heard: string[] = [];
    const room = client.room('r');
    const listener = (payload: unknown) => heard.push(`on ${payload}`);
    client.once('a:b', (payload) => heard.push(`client once ${payload}`));
    room.once('a:b', (payload) => heard.push(`room once ${payload}`));
    const removed = client.once('a:b', () => heard.push('removed'));
    removed();
    removed();
    client.on('a:b', listener);
    room.on('a:b', listener);
    const offAny = client.onAny((type, payload) => heard.push(`any ${type} ${payload}`));
    server.publish('r', 'a:b', 1);
    await clock.advance(1);
    client.off('a:b', listener);
    offAny();
    server.publish('r', 'a:b', 2);
    await clock.advance(1);
    room.off('a:b', listener);
    room.off('a:b', listener);
    server.publish('r', 'a:b', 3);
    await clock.advance(1);
    expect(heard).toEqual(['any a:b 1', 'client once 1', 'on 1', 'room once 1', 'on 1', 'on 2']);
  });

  test('an event that nobody listens to counts as delivered and is reported once for its type', async () => {
    const { client, clock, server, seen, network } = await connected();
    seen.stop();
    const errors: HoldfastError[] = [];
    client.onError((error) => errors.push(error));
    client.on('other:type', () => {});
    const iterator = client.events('other:type');
    for (const type of ['a:b', 'a:b', 'c:d']) server.publish('r', type, 1);
    await clock.advance(1);
    expect(errors.map(({ code, message }) => [code, message.includes('"a:b"')])).toEqual([
      ['UNKNOWN_TYPE', true],
      ['UNKNOWN_TYPE', false],
    ]);
    network.cut();
    await clock.advance(10_000);
    expect(server.link.hello?.rooms).toContainEqual({ room: 'r', since: 'r:3' });
    await iterator.return?.();
  });

  test('for await hears a room or the client, in order, and break takes it off', async () => {
    const { client, clock, server } = await connected();
    const heard: unknown[] = [];
    const loop = (async () => {
      for await (const { payload, event } of client.room('r').events('a:b')) {
        heard.push([payload, event.room]);
        if (payload === 3) break;
      }
    })();
    for (const payload of [1, 2, 3, 4]) server.publish('r', 'a:b', payload);
    await clock.advance(10);
    await loop;
    expect(heard).toEqual([
      [1, 'r'],
      [2, 'r'],
      [3, 'r'],
    ]);
    // Taken off: the cursor waits for nobody any more.
    server.publish('r', 'a:b', 5);
    await clock.advance(1);
    server.link.terminate();
    await clock.advance(10_000);
    expect(server.link.hello?.rooms).toContainEqual({ room: 'r', since: 'r:5' });
  });

  test('an iterator ends with its signal, and leaves no listener on it', async () => {
    const { client, clock, server } = await connected();
    const abort = new AbortController();
    const events = client.events('a:b', { signal: abort.signal });
    server.publish('r', 'a:b', 1);
    await clock.advance(1);
    expect(await events.next()).toMatchObject({ value: { payload: 1 }, done: false });
    const waiting = events.next();
    abort.abort();
    expect(await waiting).toEqual({ value: undefined, done: true });
    expect(await events.next()).toEqual({ value: undefined, done: true });
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
    const late = client.events('a:b', { signal: abort.signal });
    expect((await late.next()).done).toBe(true);
  });

  test('an iterator whose buffer overflows gives what it holds, then ends with an error', async () => {
    const { client, clock, server, network } = await connected();
    const events = client.events('a:b', { bufferSize: 2 });
    for (const payload of [1, 2, 3, 4]) server.publish('r', 'a:b', payload);
    await clock.advance(1);
    expect((await events.next()).value.payload).toBe(1);
    expect((await events.next()).value.payload).toBe(2);
    await expect(events.next()).rejects.toThrow('pass a larger bufferSize');
    expect((await events.next()).done).toBe(true);
    network.cut();
    await clock.advance(10_000);
    expect(server.link.hello?.rooms).toContainEqual({ room: 'r', since: 'r:4' });
  });

  test('two consumers of one event: the cursor waits for the slower one', async () => {
    const { client, clock, server, network } = await connected();
    const fast = client.events('a:b');
    const slow = client.room('r').events('a:b');
    for (const payload of [1, 2]) server.publish('r', 'a:b', payload);
    await clock.advance(1);
    for (let count = 0; count < 2; count++) await fast.next();
    void fast.next();
    await slow.next();
    await slow.next();
    network.cut();
    await clock.advance(10_000);
    expect(server.link.hello?.rooms).toContainEqual({ room: 'r', since: 'r:1' });
  });
});

describe('requests and messages', () => {
  test('pending() names what waits and what was sent, with its result', async () => {
    const { client, clock } = harness();
    expect(client.pending()).toEqual([]);
    const answer = client.request('a:b', { n: 1 }, { room: 'r', requestId: 'one' });
    void client.request('c:d', 2, { requestId: 'two' });
    const [first, second] = client.pending();
    expect(first).toMatchObject({
      requestId: 'one',
      type: 'a:b',
      payload: { n: 1 },
      room: 'r',
      state: 'queued',
    });
    expect(second).toMatchObject({ requestId: 'two', room: undefined, state: 'queued' });
    void client.connect();
    await clock.advance(1);
    expect(first?.result).toBeInstanceOf(Promise);
    client.close();
    await expect(answer).rejects.toThrow(HoldfastError);
    await expect(first?.result).rejects.toThrow(HoldfastError);
  });

  test('pending() says when a request is on the wire', async () => {
    const { client, clock, server } = await connected();
    server.auto = false;
    const answer = client.request('a:b', 1, { requestId: 'one' });
    expect(client.pending()).toMatchObject([{ state: 'queued' }]);
    await clock.advance(1);
    const [pending] = client.pending();
    expect(pending?.state).toBe('sent');
    server.link.respond('one', 'done');
    await clock.advance(1);
    expect([await pending?.result, await answer]).toEqual(['done', 'done']);
    expect(client.pending()).toEqual([]);
  });

  test('a payload is taken as it is when it is asked with', async () => {
    const { client, clock } = harness({ auto: true });
    const payload = { text: 'as asked' };
    const answer = client.request('a:b', payload);
    payload.text = 'changed later';
    void client.connect();
    await clock.advance(10);
    expect(await answer).toEqual({ text: 'as asked' });
  });

  test('what cannot be encoded, and a requestId that is in use, are refused', async () => {
    const { client } = harness();
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    await expect(client.request('a:b', circle)).rejects.toMatchObject({ code: 'INVALID_PAYLOAD' });
    await expect(client.request('a:b', 1n)).rejects.toMatchObject({ code: 'INVALID_PAYLOAD' });
    expect(() => client.send('a:b', circle)).toThrow(HoldfastError);
    void client.request('a:b', 1, { requestId: 'used' });
    await expect(client.request('a:b', 1, { requestId: 'used' })).rejects.toMatchObject({
      code: 'INVALID_PAYLOAD',
    });
    expect(client.pending()).toHaveLength(1);
  });

  test('coalesceKey replaces what was not written, and only that', async () => {
    const { client, clock, server } = await connected();
    server.auto = false;
    const key = { coalesceKey: 'position' };
    const written = client.request('move:to', 1, key);
    await clock.advance(1);
    const replaced = client.request('move:to', 2, key);
    const last = client.request('move:to', 3, key);
    const other = client.request('move:to', 4, { coalesceKey: 'other' });
    await expect(replaced).rejects.toMatchObject({
      code: 'NOT_SENT',
      details: { reason: 'superseded' },
    });
    await clock.advance(1);
    const sent = server.link.sent('request');
    expect(sent.map(({ payload }) => payload)).toEqual([1, 3, 4]);
    for (const request of sent) server.link.respond(request, request.payload);
    await clock.advance(1);
    expect(await Promise.all([written, last, other])).toEqual([1, 3, 4]);
  });

  test('outbox.ttl is the ttl of every request, and a request may have its own', async () => {
    const { client, clock } = harness({ outbox: { ttl: 1_000 } });
    const settled: string[] = [];
    const note = (name: string, ttl?: number) =>
      client
        .request('a:b', 1, ttl === undefined ? {} : { ttl })
        .catch(({ details }: HoldfastError) => settled.push(`${name} ${details.reason}`));
    void note('default');
    void note('own', 3_000);
    void note('for ever', Number.POSITIVE_INFINITY);
    await clock.advance(1_010);
    expect(settled).toEqual(['default ttl']);
    await clock.advance(100_000);
    expect(settled).toEqual(['default ttl', 'own ttl']);
    client.close();
  });

  test('send() while offline: queued, dropped or refused, as asked', async () => {
    const { client, clock, server } = harness({ auto: true });
    client.send('a:b', 'queued');
    client.send('a:b', 'dropped', { whileOffline: 'drop' });
    expect(() => client.send('a:b', 'refused', { whileOffline: 'reject' })).toThrow(
      expect.objectContaining({ code: 'NOT_SENT', details: { reason: 'offline' } }),
    );
    void client.connect();
    await clock.advance(10);
    client.send('a:b', 'live', { whileOffline: 'drop' });
    client.room('r').send('a:b', 'to a room', { whileOffline: 'reject' });
    await clock.advance(10);
    expect(server.link.sent('message').map(({ payload, room }) => [payload, room])).toEqual([
      ['queued', undefined],
      ['live', undefined],
      ['to a room', 'r'],
    ]);
    server.link.terminate();
    await clock.advance(10_000);
    expect(server.link.sent('message')).toEqual([]);
  });

  test('drained() resolves when nothing waits to be written', async () => {
    const { client, clock, network } = await connected({ limits: { messagesPerSecond: 1_000 } });
    await client.drained();
    network.set({ bandwidth: { up: 10_000 }, socketBuffer: 0 });
    const filling = 'x'.repeat(10_000);
    for (let count = 0; count < 20; count++) client.send('a:b', filling);
    let isDrained = false;
    void client.drained().then(() => {
      isDrained = true;
    });
    await clock.advance(5_000);
    expect(isDrained).toBe(false);
    await clock.advance(15_000);
    expect(isDrained).toBe(true);
  });

  test('sends over the rate wait their turn, first in, first out', async () => {
    const { client, clock, server } = await connected({ limits: { messagesPerSecond: 10 } });
    for (let number = 1; number <= 30; number++) client.send('a:b', number);
    await clock.advance(10);
    expect(server.link.sent('message')).toHaveLength(10);
    await clock.advance(1_000);
    expect(server.link.sent('message')).toHaveLength(20);
    await clock.advance(1_000);
    expect(server.link.sent('message').map(({ payload }) => payload)).toEqual(
      Array.from({ length: 30 }, (_, index) => index + 1),
    );
  });
});

describe('seeing what happens', () => {
  test('metrics() counts attempts, connects, events, replays and what waits', async () => {
    const { client, clock, server, network } = await connected();
    client.on('a:b', () => {});
    server.publish('r', 'a:b', 1);
    await clock.advance(1);
    network.cut();
    server.publish('r', 'a:b', 2);
    await clock.advance(10_000);
    server.auto = false;
    server.link.sendRaw('noise');
    void client.request('a:b', 1);
    await clock.advance(1);
    expect(client.metrics()).toMatchObject({
      attempts: 2,
      connects: 2,
      reconnects: 1,
      received: 2,
      replayed: 1,
      duplicates: 0,
      gaps: 0,
      garbled: 1,
      queued: 1,
    });
  });

  test('onTrace tells every fact and decision without a credential, and stops when nobody listens', async () => {
    const secret = 'a-very-secret-token';
    let calls = 0;
    const { client, clock, server } = harness({
      auto: true,
      auth: () => ({ token: `${secret}-${++calls}` }),
    });
    const trace: string[] = [];
    const off = client.onTrace((entry) => trace.push(JSON.stringify(entry)));
    void client.connect();
    await clock.advance(1);
    const { clientId } = server.link.hello ?? { clientId: 'none' };
    server.link.send({ kind: 'auth', expiresIn: 60_000 });
    await clock.advance(60_000);
    expect(server.link.sent('auth').length).toBeGreaterThan(0);
    server.link.terminate();
    await clock.advance(10_000);
    const told = trace.join('\n');
    expect(told).toContain('"fact":"credentialsGiven"');
    expect(told).toContain('"order":"transmit"');
    expect(told).not.toContain(secret);
    expect(told).not.toContain(clientId);
    off();
    const before = trace.length;
    client.reconnect();
    await clock.advance(10);
    expect(trace).toHaveLength(before);
  });

  test('no error names a token, a payload or the query of a URL', async () => {
    const secret = 'a-very-secret-token';
    const seen: unknown[] = [];
    const { client, clock, network } = harness({
      auth: () => ({ token: secret }),
      outbox: { maxMessages: 1 },
      limits: { maxMessageSize: 200 },
    });
    client.onError((error) => seen.push(error));
    client.onState(({ error }) => seen.push(error));
    const failed = [
      client.request('a:b', { text: secret.repeat(20) }),
      client.request('a:b', { text: secret }),
      client.request('a:b', { text: secret }),
    ].map((promise) => promise.catch((error) => seen.push(error)));
    void client.connect();
    network.set({ refuse: 4401 });
    await clock.advance(10_000);
    client.close();
    await Promise.all(failed);
    const shown = seen.map((error) =>
      error instanceof HoldfastError
        ? `${error.stack} ${JSON.stringify([error, error.message, error.details])}`
        : '',
    );
    expect(shown.join('\n')).toContain('MESSAGE_TOO_LARGE');
    expect(shown.join('\n')).not.toContain(secret);
  });

  test('errors that nobody hears go to the report of the environment', async () => {
    const reported: unknown[] = [];
    const { client, clock, server, seen } = await connected({
      environment: { report: (error) => reported.push(error) },
    });
    seen.stop();
    client.on('a:b', () => {
      throw new Error('a bug of the application');
    });
    server.publish('r', 'a:b', 1);
    await clock.advance(1);
    expect(reported).toMatchObject([
      { code: 'LISTENER_FAILED', cause: { message: 'a bug of the application' } },
    ]);
    const off = client.onError(() => {});
    server.publish('r', 'a:b', 2);
    await clock.advance(1);
    expect(reported).toHaveLength(1);
    off();
  });
});

describe('signing out', () => {
  test('auth that returns null disconnects and keeps nothing of the old credentials', async () => {
    let token: string | null = 'token';
    const { client, clock, server, seen, network } = harness({
      auto: true,
      auth: () => (token === null ? null : { token }),
    });
    void client.connect();
    await clock.advance(10);
    token = null;
    network.cut();
    await clock.advance(10_000);
    expect(seen.statuses).toEqual([
      'disconnected',
      'connecting',
      'connected',
      'reconnecting',
      'disconnected',
    ]);
    token = 'another';
    void client.connect();
    await clock.advance(10);
    expect(server.link.hello?.auth).toEqual({ token: 'another' });
  });
});

/** A transport that nobody answers. */
function memoryTransport() {
  return memoryNetwork({ clock: virtualClock(), random: () => 0 }).transport();
}
