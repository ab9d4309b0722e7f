/** A Socket.IO server that knows nothing of holdfast, and a client that keeps its promises with it all the same. */
import { faultProxy } from 'holdfast/testing/node';
import type { ServerOptions, Socket } from 'socket.io';
import { describe, expect, test } from 'vitest';
import { type OrdinaryOptions, ordinary, socketIo } from '../../src/transports/socket.io.js';
import { cleanups, clientOf, eventually, serving } from './socket-io-place.js';

interface Told {
  eventId: string;
  timestamp: number;
  type: string;
  payload: unknown;
  room?: string;
}

interface Position {
  lastEventId?: string;
  lastTimestamp?: number;
}

/** A chat server as many write it: rooms, an event log, acks. */
async function chat(options: Partial<ServerOptions> = {}) {
  const server = await serving(options);
  const { io, port } = server;
  const proxy = await faultProxy({ target: { port } });
  cleanups.push(proxy.close);
  const log: Told[] = [];
  const calls: unknown[][] = [];
  const place = {
    ...server,
    proxy,
    log,
    calls,
    sockets: [] as Socket[],
    /** What a sync answers, where that is not what was missed. */
    answer: undefined as unknown,
    url: `http://127.0.0.1:${proxy.port}`,
    names: () => calls.map(([name]) => name),
    publish(number: number, room?: string) {
      const eventId = `e${log.length}`;
      const told = { eventId, timestamp: Date.now(), type: 'feed:ticked', payload: number };
      log.push(room === undefined ? told : { ...told, room });
      (room === undefined ? io : io.to(room)).emit('feed:ticked', log.at(-1));
    },
  };
  const isMissed = (told: Told, { lastEventId, lastTimestamp = 0 }: Position) =>
    lastEventId === undefined
      ? told.timestamp >= lastTimestamp
      : log.indexOf(told) > log.findIndex(({ eventId }) => eventId === lastEventId);
  io.on('connection', (socket) => {
    place.sockets.push(socket);
    socket.onAny((...event: unknown[]) => void calls.push(event));
    socket.on('join-room', (room: string, ack: (answer: unknown) => void) => {
      if (room.startsWith('secret')) {
        ack({ success: false, error: { code: 'FORBIDDEN', message: 'Members only.' } });
        return;
      }
      void socket.join(room);
      ack({ success: true });
    });
    socket.on('rejoin-rooms', (rooms: string[], ack: (answer: unknown) => void) => {
      void socket.join(rooms);
      ack({ success: true });
    });
    socket.on('leave-room', (room: string) => socket.leave(room));
    socket.on('sync-events', (from: Position & { rooms: (Position & { room: string })[] }, ack) => {
      const missed = log.filter((told) => {
        const of =
          told.room === undefined ? from : from.rooms.find(({ room }) => room === told.room);
        return of !== undefined && isMissed(told, of);
      });
      ack(place.answer ?? { success: true, data: { events: missed } });
    });
    socket.on('echo:say', (payload: unknown, ack: (answer: unknown) => void) => ack(payload));
  });
  return place;
}

type Chat = Awaited<ReturnType<typeof chat>>;

function visitor({ url }: Chat, options: OrdinaryOptions = {}, transports = ['websocket']) {
  const transport = socketIo(url, { transports, server: ordinary(options) });
  return clientOf({ transport });
}

async function cut({ proxy }: Chat, { client }: ReturnType<typeof visitor>): Promise<void> {
  proxy.set({ accept: 'refuse' });
  proxy.reset();
  await eventually(() => expect(client.state.status).toBe('reconnecting'));
}

const range = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => from + index);

describe('events', () => {
  test.each([['websocket'], ['polling']])(
    'E25 over %s: 100 across 5 cuts, some published in the middle of a sync, come each once and in order',
    async (engine) => {
      const place = await chat();
      const one = visitor(place, {}, [engine]);
      await one.client.connect();
      await one.client.room('room').join();
      let number = 0;
      const publish = (count: number) => {
        for (let each = 0; each < count; each++) place.publish(number++, 'room');
      };
      for (let round = 0; round < 5; round++) {
        publish(7);
        await eventually(() => expect(one.seen.payloads).toHaveLength(number));
        await cut(place, one);
        publish(6);
        // Live events overtake the answer to the sync.
        place.io.once('connection', (socket) =>
          socket.once('sync-events', () => {
            publish(7);
            queueMicrotask(() => place.io.to('room').emit('feed:ticked', place.log.at(-1)));
          }),
        );
        place.proxy.heal();
        await eventually(() => expect(one.seen.payloads.length).toBeGreaterThanOrEqual(number));
      }
      expect(number).toBe(100);
      await eventually(() => expect(one.client.state.synced).toBe(true));
      expect(one.seen.payloads).toEqual(range(0, 100));
      expect(one.seen.gaps).toEqual([]);
      expect(one.client.metrics().duplicates).toBeGreaterThan(0);
    },
  );

  test('after each connection one rejoin and one sync ask for every room', async () => {
    const place = await chat();
    const one = visitor(place);
    await one.client.connect();
    await Promise.all(['a', 'b', 'c'].map((room) => one.client.room(room).join()));
    place.publish(1, 'a');
    place.publish(2);
    await eventually(() => expect(one.seen.payloads).toEqual([1, 2]));
    expect(place.names()).toEqual(['join-room', 'join-room', 'join-room']);
    one.client.room('c').leave();
    await eventually(() => expect(place.names()).toContain('leave-room'));
    place.calls.length = 0;
    await cut(place, one);
    place.proxy.heal();
    await eventually(() => expect(one.client.state.synced).toBe(true));
    const [first, second] = place.log;
    expect(place.calls).toEqual([
      ['rejoin-rooms', ['a', 'b'], expect.any(Function)],
      [
        'sync-events',
        {
          lastEventId: 'e1',
          lastTimestamp: second?.timestamp,
          rooms: [
            { room: 'a', lastEventId: 'e0', lastTimestamp: first?.timestamp },
            { room: 'b', lastTimestamp: expect.any(Number) },
          ],
        },
        expect.any(Function),
      ],
    ]);
  });

  test('E26 an outage before the first event of a room is recovered too', async () => {
    const place = await chat();
    const one = visitor(place);
    await one.client.connect();
    await one.client.room('room').join();
    await cut(place, one);
    place.publish(1, 'room');
    place.proxy.heal();
    await eventually(() => expect(one.seen.payloads).toEqual([1]));
    expect(one.seen.gaps).toEqual([]);
  });

  test.each([
    ['refuses', { success: false, error: 'No log here.' }],
    ['says that it cannot', { success: true, data: { recovered: false, events: [] } }],
    ['answers with something else', 'what?'],
  ])('E28 a server that %s to sync makes a gap', async (_what, answer) => {
    const place = await chat();
    const one = visitor(place);
    await one.client.connect();
    await one.client.room('room').join();
    place.publish(1, 'room');
    await eventually(() => expect(one.seen.payloads).toEqual([1]));
    place.answer = answer;
    await cut(place, one);
    place.publish(2, 'room');
    place.proxy.heal();
    await eventually(() => expect(one.client.state.synced).toBe(true));
    expect(one.seen.gaps).toEqual([{ room: 'room', reason: 'expired' }]);
    place.publish(3, 'room');
    await eventually(() => expect(one.seen.payloads).toEqual([1, 3]));
  });

  test('a server that never answers a sync makes a gap in time, and what came meanwhile is heard', async () => {
    const place = await chat();
    const one = visitor(place, { timeout: 100, sync: 'sync-nothing' });
    await one.client.connect();
    await one.client.room('room').join();
    await cut(place, one);
    place.io.once('connection', (socket) =>
      socket.once('sync-nothing', () => place.publish(1, 'room')),
    );
    place.proxy.heal();
    await eventually(() => expect(one.seen.gaps).toHaveLength(1));
    await eventually(() => expect(one.seen.payloads).toEqual([1]));
  });

  test('without sync whatever was missed is a gap; without rejoin each room is joined', async () => {
    const place = await chat();
    const one = visitor(place, { sync: false, rejoin: false });
    await one.client.connect();
    await one.client.room('a').join();
    await one.client.room('b').join();
    place.calls.length = 0;
    await cut(place, one);
    place.proxy.heal();
    await eventually(() => expect(one.seen.gaps).toHaveLength(2));
    expect(place.names()).toEqual(['join-room', 'join-room']);
  });

  test('a sync may answer with the list alone', async () => {
    const place = await chat();
    const one = visitor(place);
    await one.client.connect();
    await one.client.room('room').join();
    await cut(place, one);
    place.publish(1, 'room');
    place.answer = [...place.log, { eventId: 'x' }, null, 7];
    place.proxy.heal();
    await eventually(() => expect(one.seen.payloads).toEqual([1]));
  });

  test('without an envelope the name is the type and the arguments are the payload, every time', async () => {
    const place = await chat();
    const one = visitor(place);
    await one.client.connect();
    const [socket] = place.sockets;
    socket?.emit('a:b', 1);
    socket?.emit('a:b', 1);
    socket?.emit('a:b', { no: 'envelope' });
    socket?.emit('a:b', 1, 'two');
    socket?.emit('a:b');
    socket?.emit('a:b', 'asked', () => {});
    socket?.emit('a:b', Buffer.from([1, 2]));
    await eventually(() => expect(one.seen.events).toHaveLength(7));
    const bytes = new Uint8Array([1, 2]);
    const payloads = [1, 1, { no: 'envelope' }, [1, 'two'], undefined, 'asked', bytes];
    expect(one.seen.payloads).toEqual(payloads);
    expect(one.seen.events.map(({ type }) => type)).toEqual(Array(7).fill('a:b'));
  });

  test('an envelope names its type, its room and its time, and is delivered once', async () => {
    const place = await chat();
    const one = visitor(place);
    await one.client.connect();
    const room = one.client.room('room');
    await room.join();
    const heard: unknown[] = [];
    room.on('a:b', (payload, { timestamp }) => heard.push([payload, timestamp]));
    const told = {
      eventId: 7,
      type: 'a:b',
      timestamp: '2026-01-01T00:00:00Z',
      payload: 1,
      room: 'room',
    };
    for (let time = 0; time < 2; time++) place.sockets[0]?.emit('anything', told);
    place.sockets[0]?.emit('a:b', { ...told, eventId: 'eight', payload: 2 });
    await eventually(() => expect(heard).toHaveLength(2));
    expect(heard).toEqual([
      [1, Date.parse(told.timestamp)],
      [2, Date.parse(told.timestamp)],
    ]);
  });

  test('how events and requests look may be said', async () => {
    const place = await chat();
    const one = visitor(place, {
      event: (name, [id, payload]) =>
        name === 'noise' ? undefined : { eventId: id, type: `app:${name}`, payload },
      args: ({ requestId, payload }) => [{ id: requestId, body: payload }],
    });
    await one.client.connect();
    place.sockets[0]?.emit('noise', 1);
    place.sockets[0]?.emit('ticked', 'i1', 'tick');
    place.sockets[0]?.emit('ticked', 'i1', 'tick');
    place.sockets[0]?.emit('ticked', 'i2', 'tock');
    await eventually(() => expect(one.seen.payloads).toEqual(['tick', 'tock']));
    const echo = await one.client.request('echo:say', 'hi', { requestId: 'r1' });
    expect(echo).toEqual({ id: 'r1', body: 'hi' });
  });
});

describe('requests', () => {
  test.each<[string, unknown, unknown]>([
    ['success and data', { success: true, data: { id: 1 } }, { id: 1 }],
    ['success and the rest', { success: true, id: 1 }, { success: true, id: 1 }],
    ['a bare value', 'yes', 'yes'],
    ['a bare object', { id: 1 }, { id: 1 }],
    ['nothing', undefined, null],
    ['bytes', Buffer.from([1]), new Uint8Array([1])],
  ])('an ack with %s is a response', async (_what, answer, data) => {
    const place = await chat();
    place.io.on('connection', (socket) => socket.on('ack:try', (_payload, ack) => ack(answer)));
    const { client } = visitor(place);
    await client.connect();
    expect(await client.request('ack:try', {})).toEqual(data);
  });

  test.each<[string, unknown, object]>([
    [
      'a code',
      { code: 'NOT_A_MEMBER', message: 'Join first.', details: { room: 'x' } },
      { code: 'NOT_A_MEMBER', message: 'Join first.', category: 'application' },
    ],
    ['a text', 'Join first.', { code: 'SERVER_ERROR', message: 'Join first.' }],
    ['nothing', undefined, { code: 'SERVER_ERROR' }],
    ['nonsense', { code: 7, message: {} }, { code: 'SERVER_ERROR' }],
  ])('an ack that failed with %s rejects', async (_what, error, wanted) => {
    const place = await chat();
    place.io.on('connection', (socket) =>
      socket.on('ack:try', (_payload, ack) => ack({ success: false, error })),
    );
    const { client } = visitor(place);
    await client.connect();
    await expect(client.request('ack:try', {})).rejects.toMatchObject(wanted);
  });

  test('run at most once, unless they may run twice: such a server remembers nothing', async () => {
    const place = await chat();
    const acks: ((answer: unknown) => void)[] = [];
    const runs: unknown[] = [];
    place.io.on('connection', (socket) =>
      socket.on('slow:run', (payload, ack) => {
        runs.push(payload);
        acks.push(ack);
      }),
    );
    const one = visitor(place);
    await one.client.connect();
    const once = one.client.request('slow:run', 'once');
    const again = one.client.request('slow:run', 'again', { delivery: 'at-least-once' });
    await eventually(() => expect(runs).toEqual(['once', 'again']));
    const refused = expect(once).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      details: { reason: 'lost' },
    });
    await cut(place, one);
    place.proxy.heal();
    await refused;
    await eventually(() => expect(runs).toEqual(['once', 'again', 'again']));
    acks[2]?.('done');
    await expect(again).resolves.toBe('done');
  });

  test('one whose credentials are refused is asked again on a connection with fresh ones', async () => {
    const place = await chat();
    place.io.on('connection', (socket) =>
      socket.on('ack:try', (_payload, ack) => {
        const isOld = socket.handshake.auth.token === 'old';
        const error = { code: 'TOKEN_EXPIRED', message: 'Too old.' };
        ack(isOld ? { success: false, error } : { success: true, data: 'done' });
      }),
    );
    let token = 'old';
    const { client } = clientOf({
      transport: socketIo(place.url, { server: ordinary() }),
      auth({ reason }) {
        if (reason === 'expired') token = 'new';
        return token;
      },
    });
    await client.connect();
    await expect(client.request('ack:try', {})).resolves.toBe('done');
    expect(place.sockets.map(({ handshake }) => handshake.auth.token)).toEqual(['old', 'new']);
  });

  test('messages are emitted without an ack', async () => {
    const place = await chat();
    const { client } = visitor(place);
    await client.connect();
    client.send('typing:started', { in: 'room' });
    client.send('typing:ended', undefined);
    await eventually(() => expect(place.calls).toHaveLength(2));
    expect(place.calls).toEqual([['typing:started', { in: 'room' }], ['typing:ended']]);
  });
});

describe('rooms', () => {
  test('E29 one that is refused says so, and the others go on', async () => {
    const place = await chat();
    const { client } = visitor(place);
    await client.connect();
    const refused = expect(client.room('secret').join()).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
    await client.room('open').join();
    await refused;
    expect(client.room('secret').state).toBe('refused');
    expect(client.room('open').state).toBe('joined');
  });

  test('what a room says before its join is confirmed is heard after it', async () => {
    const place = await chat();
    place.io.on('connection', (socket) => {
      socket.removeAllListeners('join-room');
      socket.on('join-room', async (room: string, ack) => {
        await socket.join(room);
        place.publish(1, room);
        place.publish(2);
        socket.once('echo:say', () => ack());
      });
    });
    const one = visitor(place);
    await one.client.connect();
    const joined = one.client.room('room').join();
    await eventually(() => expect(one.seen.payloads).toEqual([2]));
    await one.client.request('echo:say', 'confirm');
    await joined;
    await eventually(() => expect(one.seen.payloads).toEqual([2, 1]));
    expect(one.client.metrics().stray).toBe(0);
  });

  test('a join that failed for the moment is asked again', async () => {
    const place = await chat();
    let failures = 1;
    place.io.on('connection', (socket) => {
      socket.removeAllListeners('join-room');
      socket.on('join-room', (_room, ack) =>
        ack(
          failures-- > 0 ? { success: false, error: 'The database is away.' } : { success: true },
        ),
      );
    });
    const { client } = visitor(place);
    await client.connect();
    await client.room('room').join();
    expect(place.names()).toEqual(['join-room', 'join-room']);
  });

  test('where joins are not confirmed they count at once, by the names of the server', async () => {
    const place = await chat();
    const one = visitor(place, {
      confirms: false,
      join: 'enter',
      leave: 'exit',
      rejoin: 'enter-all',
      sync: false,
    });
    await one.client.connect();
    await one.client.room('room').join();
    await one.client.room('other').join();
    one.client.room('other').leave();
    await eventually(() =>
      expect(place.calls).toEqual([
        ['enter', 'room'],
        ['enter', 'other'],
        ['exit', 'other'],
      ]),
    );
    await cut(place, one);
    place.proxy.heal();
    await eventually(() => expect(place.calls.at(-1)).toEqual(['enter-all', ['room']]));
  });

  test('what was joined and left during an outage is so after it', async () => {
    const place = await chat();
    const one = visitor(place);
    await one.client.connect();
    await one.client.room('old').join();
    await cut(place, one);
    one.client.room('old').leave();
    const joined = one.client.room('new').join();
    place.proxy.heal();
    await joined;
    const { rooms } = place.sockets[1] ?? {};
    expect([...(rooms ?? [])].toSorted()).toEqual([place.sockets[1]?.id, 'new'].toSorted());
  });
});

describe('connections', () => {
  test('a middleware that says TOKEN_EXPIRED gets a fresh token', async () => {
    const place = await chat();
    place.io.use((socket, next) => {
      const data = { code: 'TOKEN_EXPIRED', message: 'Too old.' };
      if (socket.handshake.auth.token === 'new') next();
      else next(Object.assign(new Error('unauthorized'), { data }));
    });
    const reasons: string[] = [];
    const { client } = clientOf({
      transport: socketIo(place.url, { server: ordinary() }),
      auth({ reason }) {
        reasons.push(reason);
        return { token: reason === 'expired' ? 'new' : 'old' };
      },
    });
    await client.connect();
    expect(reasons).toEqual(['connect', 'expired']);
  });

  test('the heartbeat is the engine’s: a client that asks is answered without a frame, or by an event', async () => {
    const place = await chat();
    const quick = { heartbeat: { interval: 50, timeout: 3_000 } };
    const trusting = socketIo(place.url, { server: ordinary() });
    const { client, seen } = clientOf({ transport: trusting, ...quick });
    await client.connect();
    place.io.on('connection', (socket) => socket.on('are-you-there', (ack) => ack()));
    const asking = socketIo(place.url, { server: ordinary({ ping: 'are-you-there' }) });
    const other = clientOf({ transport: asking, ...quick });
    await other.client.connect();
    await eventually(() => expect(place.names().length).toBeGreaterThan(3));
    expect(new Set(place.names())).toEqual(new Set(['are-you-there']));
    for (const { statuses } of [seen, other.seen]) {
      expect(statuses).toEqual(['disconnected', 'connecting', 'connected']);
    }
  });

  describe('that Socket.IO recovers itself', () => {
    const recovering = { connectionStateRecovery: {} };

    test('bring what was missed, and ask for nothing', async () => {
      const place = await chat(recovering);
      const one = visitor(place);
      await one.client.connect();
      await one.client.room('room').join();
      place.publish(0, 'room');
      await eventually(() => expect(one.seen.payloads).toEqual([0]));
      place.calls.length = 0;
      for (let round = 0; round < 3; round++) {
        await cut(place, one);
        for (const number of range(1, 11)) place.publish(round * 10 + number, 'room');
        place.proxy.heal();
        await eventually(() => expect(one.seen.payloads).toEqual(range(0, round * 10 + 11)));
      }
      expect(place.sockets.map(({ recovered }) => recovered)).toEqual([false, true, true, true]);
      expect(place.calls).toEqual([]);
      expect(one.client.state.synced).toBe(true);
      expect(one.client.metrics().duplicates).toBe(0);
    });

    test('join and leave what was wished for meanwhile', async () => {
      const place = await chat(recovering);
      const one = visitor(place);
      await one.client.connect();
      await one.client.room('old').join();
      place.publish(0, 'old');
      await eventually(() => expect(one.seen.payloads).toEqual([0]));
      await cut(place, one);
      one.client.room('old').leave();
      const joined = one.client.room('new').join();
      place.proxy.heal();
      await joined;
      const socket = place.sockets[1];
      expect(socket?.recovered).toBe(true);
      expect([...(socket?.rooms ?? [])].toSorted()).toEqual([socket?.id, 'new'].toSorted());
    });

    test('once more, where it could not, by a sync', async () => {
      const place = await chat({ connectionStateRecovery: { maxDisconnectionDuration: 1 } });
      const one = visitor(place);
      await one.client.connect();
      await one.client.room('room').join();
      place.publish(0, 'room');
      await eventually(() => expect(one.seen.payloads).toEqual([0]));
      await cut(place, one);
      place.publish(1, 'room');
      await eventually(() => expect(place.io.sockets.sockets.size).toBe(0));
      place.proxy.heal();
      await eventually(() => expect(one.seen.payloads).toEqual([0, 1]));
      expect(place.sockets[1]?.recovered).toBe(false);
      expect(place.names()).toContain('sync-events');
    });

    test('are left to a sync where something was held back as the connection was lost', async () => {
      const place = await chat(recovering);
      const one = visitor(place);
      await one.client.connect();
      await one.client.room('room').join();
      place.publish(0, 'room');
      await eventually(() => expect(one.seen.payloads).toEqual([0]));
      await cut(place, one);
      one.client
        .room('late')
        .join({ since: 'e0' })
        .catch(() => {});
      let isAsked = false;
      place.io.once('connection', (socket) => {
        socket.removeAllListeners('sync-events');
        socket.on('sync-events', () => {
          isAsked = true;
          place.publish(1, 'room');
        });
      });
      place.proxy.heal();
      await eventually(() => expect(isAsked).toBe(true));
      // The answer to a ping comes after the event that is held.
      await one.client.request('echo:say', 'after it');
      await cut(place, one);
      place.publish(2, 'room');
      place.proxy.heal();
      await eventually(() => expect(one.seen.payloads).toEqual([0, 1, 2]));
      expect(place.sockets.map(({ recovered }) => recovered)).toEqual([false, true, false]);
      expect(one.seen.gaps).toEqual([]);
    });

    test('E41 are for those alone who present the same credentials', async () => {
      const place = await chat(recovering);
      let token = 'ann';
      const { client, seen } = clientOf({
        transport: socketIo(place.url, { transports: ['websocket'], server: ordinary() }),
        auth: () => ({ token }),
      });
      await client.connect();
      await client.room('room').join();
      place.publish(0, 'room');
      await eventually(() => expect(seen.payloads).toEqual([0]));
      token = 'bob';
      await cut(place, { client, seen });
      place.publish(1, 'room');
      place.proxy.heal();
      await eventually(() => expect(seen.payloads).toEqual([0, 1]));
      expect(place.sockets[1]).toMatchObject({ recovered: false, handshake: { auth: { token } } });
    });
  });
});
