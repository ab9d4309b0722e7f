import { failure } from 'holdfast/server';
import { describe, expect, test } from 'vitest';
import { FakeClient, hubOf, world } from './harness.js';
import { journals } from './journal-table.js';

describe('joining', () => {
  test('a hello is answered with welcome, then with the verdicts of its own room and its rooms', async () => {
    const w = world();
    const client = new FakeClient(hubOf(w), w);

    await client.hello({ rooms: [{ room: 'a' }] });

    expect(client.frames.map((frame) => ('room' in frame ? frame.room : frame.kind))).toEqual([
      'welcome',
      '@me',
      '@me',
      'a',
      'a',
    ]);
    expect(client.verdicts('a')).toMatchObject([
      { joined: true, seq: 0, recovered: false, reason: 'new' },
    ]);
    expect(client.all('room').at(-1)).toMatchObject({ room: 'a', caughtUp: true });
  });

  test('welcome is sent before a slow authorization has answered, and no other room waits for it', async () => {
    const w = world();
    const answers = new Map<string, (allowed: boolean) => void>();
    const hub = hubOf(w, {
      authorizeRoom: ({ room }) =>
        room === 'slow' ? new Promise<boolean>((resolve) => answers.set(room, resolve)) : true,
    });
    const client = new FakeClient(hub, w);

    await client.hello({ rooms: [{ room: 'slow' }, { room: 'quick' }] });
    expect(client.last('welcome')).toBeDefined();
    expect(client.verdicts('quick')).toHaveLength(1);
    expect(client.verdicts('slow')).toHaveLength(0);

    answers.get('slow')?.(true);
    await w.clock.settle();
    expect(client.verdicts('slow')).toMatchObject([{ joined: true }]);
  });

  test('joins and leaves of one room are answered in the order they came', async () => {
    const w = world();
    const hub = hubOf(w, { authorizeRoom: async () => true });
    const client = new FakeClient(hub, w);
    await client.hello();

    await client.send(
      { kind: 'join', rooms: [{ room: 'a' }] },
      { kind: 'leave', rooms: ['a'] },
      { kind: 'join', rooms: [{ room: 'a' }] },
      { kind: 'leave', rooms: ['a'] },
    );

    const answers = client.verdicts('a').map((frame) => ('joined' in frame ? 'joined' : 'left'));
    expect(answers).toEqual(['joined', 'left', 'joined', 'left']);
    await hub.publish('a', 'x:y', 1);
    await w.clock.settle();
    expect(client.events('a')).toEqual([]);
    expect(hub.metrics().rooms).toBe(1);
  });

  test('a room that authorizeRoom refuses says why; the others go on', async () => {
    const w = world();
    const hub = hubOf(w, {
      authorizeRoom: ({ room }) => {
        if (room === 'gone') throw failure('ROOM_NOT_FOUND', 'No such conversation.');
        if (room === 'broken') throw new Error('secret database address');
        return room !== 'private';
      },
    });
    const client = new FakeClient(hub, w);

    await client.hello({
      rooms: [{ room: 'private' }, { room: 'gone' }, { room: 'broken' }, { room: 'open' }],
    });

    expect(client.verdicts('private')).toMatchObject([{ error: { code: 'FORBIDDEN' } }]);
    expect(client.verdicts('gone')).toMatchObject([
      { error: { code: 'ROOM_NOT_FOUND', message: 'No such conversation.' } },
    ]);
    expect(client.verdicts('broken')).toMatchObject([{ error: { code: 'SERVER_ERROR' } }]);
    expect(JSON.stringify(client.frames)).not.toContain('secret');
    expect(client.verdicts('open')).toMatchObject([{ joined: true }]);
    expect(w.errors).toHaveLength(1);
  });

  test('an authorization that hangs is refused at its deadline', async () => {
    const w = world();
    const hub = hubOf(w, {
      limits: { helloTimeout: 2_000 },
      authorizeRoom: () => new Promise<boolean>(() => {}),
    });
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'a' }] });

    await w.clock.advance(2_000);

    expect(client.verdicts('a')).toMatchObject([{ error: { code: 'SERVER_ERROR' } }]);
  });

  test('reserved names, too long names and one room too many are refused', async () => {
    const w = world();
    const hub = hubOf(w, { limits: { roomsPerConnection: 2 } });
    const client = new FakeClient(hub, w);
    const long = 'r'.repeat(600);

    await client.hello({
      rooms: ['@you', long, 'a', 'b', 'c', 'a'].map((room) => ({ room })),
    });

    expect(client.verdicts('@you')).toMatchObject([{ error: { code: 'FORBIDDEN' } }]);
    expect(client.verdicts(long)).toMatchObject([{ error: { code: 'FORBIDDEN' } }]);
    expect(client.verdicts('c')).toMatchObject([{ error: { code: 'FORBIDDEN' } }]);
    expect(client.verdicts('b')).toMatchObject([{ joined: true }]);

    await client.send({ kind: 'leave', rooms: ['b'] }, { kind: 'join', rooms: [{ room: 'c' }] });
    expect(client.verdicts('b').at(-1)).toMatchObject({ left: true });
    await client.send({ kind: 'join', rooms: [{ room: 'c' }] });
    expect(client.verdicts('c').at(-1)).toMatchObject({ joined: true });
  });

  test('leaving a room that was never joined is answered, and its own room cannot be left', async () => {
    const w = world();
    const hub = hubOf(w, { authenticate: () => ({ user: 'ada' }) });
    const client = new FakeClient(hub, w);
    await client.hello();

    await client.send({ kind: 'leave', rooms: ['nowhere', '@me'] });
    await hub.publishToUser('ada', 'x:y', 1);
    await w.clock.settle();

    expect(client.verdicts('nowhere')).toMatchObject([{ left: true }]);
    expect(client.events('@me')).toHaveLength(1);
  });

  test('1,000 rooms are joined by one hello', async () => {
    const w = world();
    const client = new FakeClient(hubOf(w), w);
    await client.hello({ rooms: Array.from({ length: 1_000 }, (_, n) => ({ room: `r${n}` })) });
    const joined = client.all('room').filter((frame) => 'joined' in frame);
    expect(joined).toHaveLength(1_001);
  });
});

describe('events', () => {
  test('come to everybody in the room, encoded once, in order, each with the next seq', async () => {
    const w = world();
    const hub = hubOf(w);
    const clients = [1, 2, 3].map(() => new FakeClient(hub, w));
    for (const [index, client] of clients.entries()) {
      await client.hello({ clientId: `c${index}`, rooms: [{ room: 'a' }] });
    }

    const published = await Promise.all([1, 2, 3].map((n) => hub.publish('a', 'x:y', { n })));
    await w.clock.settle();

    for (const client of clients) {
      expect(client.seqs('a')).toEqual([1, 2, 3]);
      expect(client.events('a').map((event) => event.eventId)).toEqual(
        published.map((event) => event.eventId),
      );
    }
    expect(clients[0]?.events('a')[0]).toMatchObject({
      type: 'x:y',
      payload: { n: 1 },
      timestamp: w.clock.date(),
    });
    expect(await hub.cursor('a')).toBe(published[2]?.eventId);
  });

  test('of one tick share one write', async () => {
    const w = world();
    const hub = hubOf(w);
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'a' }, { room: 'b' }] });
    const before = client.writes;

    await Promise.all(
      Array.from({ length: 50 }, (_, n) => hub.publish(n % 2 ? 'a' : 'b', 'x:y', n)),
    );
    await w.clock.settle();

    expect(client.all('event')).toHaveLength(50);
    expect(client.writes - before).toBe(1);
  });

  test('for a user reach every client of that user and nobody else', async () => {
    const w = world();
    const hub = hubOf(w, { authenticate: ({ auth }) => ({ user: { id: String(auth) } }) });
    const [phone, laptop, other] = [1, 2, 3].map(() => new FakeClient(hub, w));
    await phone?.hello({ clientId: 'phone', auth: 'ada' });
    await laptop?.hello({ clientId: 'laptop', auth: 'ada' });
    await other?.hello({ clientId: 'other', auth: 'bob' });

    await hub.publishToUser('ada', 'x:y', 1);
    await hub.publishToUser({ id: 'ada' }, 'x:y', 2);
    await w.clock.settle();

    expect(phone?.seqs('@me')).toEqual([1, 2]);
    expect(laptop?.seqs('@me')).toEqual([1, 2]);
    expect(other?.events('@me')).toEqual([]);
    expect(phone?.last('welcome')?.user).toBe('ada');
  });

  test("of one's own room are replayed from its cursor, unasked", async () => {
    const w = world();
    const hub = hubOf(w, { authenticate: () => ({ user: 'ada' }) });
    const first = new FakeClient(hub, w);
    await first.hello();
    const since = await hub.publishToUser('ada', 'x:y', 1);
    first.lose();
    await hub.publishToUser('ada', 'x:y', 2);

    const second = new FakeClient(hub, w);
    await second.hello({ link: 2, rooms: [{ room: '@me', since: since.eventId }] });

    expect(second.verdicts('@me')).toMatchObject([{ joined: true, recovered: true, seq: 1 }]);
    expect(second.seqs('@me')).toEqual([2]);
  });

  test('of reserved rooms and types are refused', async () => {
    const w = world();
    const hub = hubOf(w);
    await expect(hub.publish('@me', 'x:y', 1)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(hub.publish('a', 'holdfast:x', 1)).rejects.toMatchObject({ code: 'UNKNOWN_TYPE' });
  });
});

describe('resuming', () => {
  test('goes on after the cursor, and says so', async () => {
    const w = world();
    const hub = hubOf(w);
    const [first] = await Promise.all([1, 2, 3].map((n) => hub.publish('a', 'x:y', n)));
    const client = new FakeClient(hub, w);

    await client.hello({ rooms: [{ room: 'a', since: first?.eventId }] });

    expect(client.verdicts('a')).toMatchObject([
      { joined: true, recovered: true, seq: 1, cursor: first?.eventId },
    ]);
    expect(client.seqs('a')).toEqual([2, 3]);
    const kinds = client.frames.filter((frame) => 'room' in frame && frame.room === 'a');
    expect(kinds[0]).toHaveProperty('joined');
    expect(kinds.at(-1)).toMatchObject({ caughtUp: true, cursor: await hub.cursor('a') });
  });

  test('an outage before the first event is covered by the cursor of the join', async () => {
    const w = world();
    const hub = hubOf(w);
    const first = new FakeClient(hub, w);
    await first.hello({ rooms: [{ room: 'a' }] });
    const [joined] = first.verdicts('a');
    const since = joined && 'joined' in joined ? joined.cursor : undefined;
    first.lose();
    await hub.publish('a', 'x:y', 1);

    const second = new FakeClient(hub, w);
    await second.hello({ link: 2, rooms: [{ room: 'a', since }] });

    expect(second.verdicts('a')).toMatchObject([{ recovered: true, seq: 0 }]);
    expect(second.seqs('a')).toEqual([1]);
  });

  test('a room that is published to all the while delivers each event once, in order', async () => {
    const w = world();
    const hub = hubOf(w, { authorizeRoom: async () => true });
    const first = await hub.publish('a', 'x:y', 0);
    for (let n = 0; n < 700; n++) void hub.publish('a', 'x:y', n);
    const client = new FakeClient(hub, w);

    const joining = client.hello({ rooms: [{ room: 'a', since: first.eventId }] });
    // Between every two steps of the join another event is published.
    for (let n = 0; n < 300; n++) {
      void hub.publish('a', 'x:y', n);
      await Promise.resolve();
    }
    await joining;
    await hub.publish('a', 'x:y', 'last');
    await w.clock.settle();

    expect(client.seqs('a')).toEqual(Array.from({ length: 1_001 }, (_, n) => n + 2));
    expect(client.verdicts('a')).toHaveLength(1);
  });

  test.each(journals)(
    'a cursor that fell out of the $name journal is a gap, at the tail',
    async ({ create }) => {
      const w = world();
      const hub = hubOf(w, { journal: create({ maxEvents: 10 }) });
      const first = await hub.publish('a', 'x:y', 0);
      for (let n = 1; n <= 20; n++) await hub.publish('a', 'x:y', n);
      const client = new FakeClient(hub, w);

      await client.hello({ rooms: [{ room: 'a', since: first.eventId }] });
      await hub.publish('a', 'x:y', 'next');
      await w.clock.settle();

      expect(client.verdicts('a')).toMatchObject([
        { joined: true, recovered: false, reason: 'expired', seq: 21, since: expect.any(String) },
      ]);
      expect(client.seqs('a')).toEqual([22]);
      expect(hub.metrics().gaps).toBe(1);
    },
  );

  test('a cursor of another epoch, of the future or of nowhere is a gap', async () => {
    const w = world();
    const hub = hubOf(w);
    const { eventId } = await hub.publish('a', 'x:y', 0);
    const epoch = eventId.slice(0, eventId.lastIndexOf('-'));

    for (const [index, since] of ['other-1', `${epoch}-99`, 'nonsense', '-1'].entries()) {
      const client = new FakeClient(hub, w);
      await client.hello({ clientId: `c${index}`, rooms: [{ room: 'a', since }] });
      expect(client.verdicts('a')).toMatchObject([{ recovered: false, reason: 'epoch', seq: 1 }]);
    }
  });

  test('a second join of a joined room goes back to its cursor', async () => {
    const w = world();
    const hub = hubOf(w);
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'a' }] });
    const first = await hub.publish('a', 'x:y', 1);
    await hub.publish('a', 'x:y', 2);
    await w.clock.settle();

    await client.send({ kind: 'join', rooms: [{ room: 'a', since: first.eventId }] });
    await hub.publish('a', 'x:y', 3);
    await w.clock.settle();

    expect(client.seqs('a')).toEqual([1, 2, 2, 3]);
    expect(client.verdicts('a')[1]).toMatchObject({ joined: true, recovered: true, seq: 1 });
  });

  test('every join is authorized, one that goes on from a cursor too', async () => {
    const w = world();
    const asked: string[] = [];
    let allowed = true;
    const hub = hubOf(w, {
      authorizeRoom: ({ room, action }) => {
        asked.push(`${action} ${room}`);
        return allowed;
      },
    });
    const { eventId } = await hub.publish('a', 'x:y', 'secret');
    const first = new FakeClient(hub, w);
    await first.hello({ rooms: [{ room: 'a' }] });
    first.lose();
    allowed = false;

    const second = new FakeClient(hub, w);
    await second.hello({ link: 2, rooms: [{ room: 'a', since: eventId.replace(/\d+$/, '0') }] });

    expect(asked).toEqual(['join a', 'join a']);
    expect(second.verdicts('a')).toMatchObject([{ error: { code: 'FORBIDDEN' } }]);
    expect(second.events('a')).toEqual([]);
  });
});

describe('being removed', () => {
  test('a kick from a room ends it with a reason; other rooms and users go on', async () => {
    const w = world();
    const hub = hubOf(w, { authenticate: ({ auth }) => ({ user: String(auth) }) });
    const ada = new FakeClient(hub, w);
    const bob = new FakeClient(hub, w);
    await ada.hello({ clientId: 'ada', auth: 'ada', rooms: [{ room: 'a' }, { room: 'b' }] });
    await bob.hello({ clientId: 'bob', auth: 'bob', rooms: [{ room: 'a' }] });

    await hub.kick({ user: 'ada', room: 'a' }, { reason: 'You were removed.' });
    await hub.publish('a', 'x:y', 1);
    await hub.publish('b', 'x:y', 1);
    await w.clock.settle();

    expect(ada.verdicts('a').at(-1)).toMatchObject({
      error: { code: 'FORBIDDEN', message: 'You were removed.' },
    });
    expect(ada.events('a')).toEqual([]);
    expect(ada.events('b')).toHaveLength(1);
    expect(bob.events('a')).toHaveLength(1);
    expect(ada.closed).toBeUndefined();
  });

  test('a kick during a slow join comes after it', async () => {
    const w = world();
    let allow: (allowed: boolean) => void = () => {};
    const hub = hubOf(w, {
      authenticate: () => ({ user: 'ada' }),
      authorizeRoom: () =>
        new Promise<boolean>((resolve) => {
          allow = resolve;
        }),
    });
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'a' }] });

    await hub.kick({ user: 'ada', room: 'a' });
    allow(true);
    await hub.publish('a', 'x:y', 1);
    await w.clock.settle();

    expect(client.verdicts('a').at(-1)).toMatchObject({ error: { code: 'FORBIDDEN' } });
    expect(client.events('a')).toEqual([]);
  });

  test.each(journals)(
    'a kicked user is told and closed on every client, on every hub of the $name journal',
    async ({ create }) => {
      const w = world();
      const journal = create();
      const authenticate = ({ auth }: { auth: unknown }) => ({ user: String(auth) });
      const hubs = [hubOf(w, { journal, authenticate }), hubOf(w, { journal, authenticate })];
      const clients = hubs.map((hub) => new FakeClient(hub, w));
      const other = new FakeClient(hubs[0] ?? hubOf(w), w);
      for (const [index, client] of clients.entries()) {
        await client.hello({ clientId: `c${index}`, auth: 'ada' });
      }
      await other.hello({ clientId: 'other', auth: 'bob' });

      await hubs[0]?.kick({ user: 'ada' }, { reason: 'Signed out everywhere.' });
      await w.clock.settle();

      for (const client of clients) {
        expect(client.last('error')?.error.code).toBe('UNAUTHORIZED');
        expect(client.closed).toEqual({ code: 4403, reason: 'Signed out everywhere.' });
      }
      expect(other.closed).toBeUndefined();
    },
  );
});
