/** A full outbox: who gives way, by count and by bytes, and what whoever gives way is told. */
import { type ClientOptions, type Contract, HoldfastError, type RequestOptions } from 'holdfast';
import { memoryStorage } from 'holdfast/testing';
import { describe, expect, test } from 'vitest';
import { hubHarness } from './hub.js';

type Policy = 'reject' | 'drop-oldest' | 'drop-newest';
type Outbox = NonNullable<ClientOptions<Contract>['outbox']>;

interface AskOptions extends RequestOptions {
  type?: string;
  text?: string;
}

/** Of five that are asked for where three fit: which are turned away, in the order they are told. */
const givesWay: [Policy, number[], number[]][] = [
  ['reject', [4, 5], [1, 2, 3]],
  ['drop-oldest', [1, 2], [3, 4, 5]],
  ['drop-newest', [3, 4], [1, 2, 5]],
];

/** A frame with it has some 1,100 bytes. */
const kilobyte = 'x'.repeat(1_000);

/** A client that is not connected yet, and what its hub ran and its application was told. */
function offline(outbox: Outbox, client: Partial<ClientOptions<Contract>> = {}) {
  const ran: unknown[] = [];
  const turnedAway: unknown[] = [];
  const answered: unknown[] = [];
  let open = () => {};
  const held = new Promise<void>((done) => {
    open = done;
  });
  const story = hubHarness({
    hub: {
      handlers: {
        'n:run': (payload) => ran.push(numberOf(payload)),
        'n:held': (payload) => {
          ran.push(numberOf(payload));
          return held;
        },
      },
      onMessage: { 'n:tell': (payload) => void ran.push(numberOf(payload)) },
    },
    client: { outbox, ...client },
  });
  return {
    ...story,
    ran,
    turnedAway,
    answered,
    open,
    ask(n: unknown, { type = 'n:run', text = '', ...options }: AskOptions = {}) {
      story.client.request(type, { n, text }, { requestId: `${n}`, ...options }).then(
        () => answered.push(n),
        (error: HoldfastError) => turnedAway.push(isOverflow(error) ? n : error),
      );
    },
    /** The errors that the application heard, as whether they are overflows. */
    told: () => story.seen.errors.map(isOverflow),
  };
}

function numberOf(payload: unknown): unknown {
  return (payload as { n: unknown }).n;
}

function isOverflow(error: unknown): boolean {
  if (!(error instanceof HoldfastError)) return false;
  return error.code === 'NOT_SENT' && error.details.reason === 'overflow';
}

describe('E36 requests', () => {
  test.each(givesWay)(
    'E36 by count with `%s`: what gives way is never sent, the rest runs in order',
    async (overflow, dropped, kept) => {
      const { ask, answered, client, clock, connected, ran, turnedAway } = offline({
        maxMessages: 3,
        overflow,
      });
      for (const n of [1, 2, 3, 4, 5]) ask(n);
      await clock.settle();
      expect(turnedAway).toEqual(dropped);
      expect(client.state.queued).toBe(3);
      await connected();
      expect(ran).toEqual(kept);
      expect(answered).toEqual(kept);
      expect(client.pending()).toEqual([]);
      client.close();
    },
  );

  test.each(givesWay)(
    'E36 by bytes with `%s`: what gives way is never sent, the rest runs in order',
    async (overflow, dropped, kept) => {
      const { ask, answered, client, clock, connected, ran, turnedAway } = offline({
        maxBytes: 3_500,
        overflow,
      });
      for (const n of [1, 2, 3, 4, 5]) ask(n, { text: kilobyte });
      await clock.settle();
      expect(turnedAway).toEqual(dropped);
      await connected();
      expect(ran).toEqual(kept);
      expect(answered).toEqual(kept);
      client.close();
    },
  );

  test('E36 a large one drives out as many as it needs, and no more', async () => {
    const { ask, clock, connected, client, ran, turnedAway } = offline({
      maxBytes: 6_000,
      overflow: 'drop-oldest',
    });
    for (const n of [1, 2, 3, 4, 5]) ask(n, { text: kilobyte });
    ask('large', { text: kilobyte.repeat(3) });
    await clock.settle();
    expect(turnedAway).toEqual([1, 2, 3]);
    await connected();
    expect(ran).toEqual([4, 5, 'large']);
    client.close();
  });

  test.each<Policy>(['reject', 'drop-oldest', 'drop-newest'])(
    'E36 with `%s` one that is larger than the outbox drives nobody out',
    async (overflow) => {
      const { ask, clock, connected, client, ran, turnedAway } = offline({
        maxBytes: 3_500,
        overflow,
      });
      for (const n of [1, 2]) ask(n, { text: kilobyte });
      ask('huge', { text: kilobyte.repeat(4) });
      await clock.settle();
      expect(turnedAway).toEqual(['huge']);
      await connected();
      expect(ran).toEqual([1, 2]);
      client.close();
    },
  );

  test('E36 the error says what is full, and what to do', async () => {
    const { client } = offline({ maxMessages: 2, maxBytes: 5_000 });
    for (const n of [1, 2]) void client.request('n:run', { n }).catch(() => {});
    await expect(client.request('n:run', {})).rejects.toMatchObject({
      code: 'NOT_SENT',
      category: 'delivery',
      retryable: false,
      details: { reason: 'overflow' },
      message: expect.stringMatching(
        /^2 messages of \d+ bytes are waiting\. Raise outbox\.maxMessages \(now 2\) or outbox\.maxBytes \(now 5000\)/,
      ),
    });
    client.close();
  });

  test('E36 without a word from the application a thousand fit, and 1 MiB', async () => {
    const { ask, clock, client, turnedAway } = offline({});
    for (let n = 1; n <= 1_001; n++) ask(n);
    await clock.settle();
    expect(turnedAway).toEqual([1_001]);
    client.close();
    const large = offline({});
    for (const n of [1, 2, 3]) large.ask(n, { text: 'x'.repeat(2 ** 20 / 2 - 200) });
    await large.clock.settle();
    expect(large.turnedAway).toEqual([3]);
    large.client.close();
  });

  test('E36 what takes the place of one that waits needs no room of its own', async () => {
    const { clock, client, connected, ran, ask, turnedAway } = offline({
      maxMessages: 2,
      overflow: 'reject',
    });
    ask(1);
    const first = client.request('n:run', { n: 'old' }, { coalesceKey: 'key' });
    const old = expect(first).rejects.toMatchObject({ details: { reason: 'superseded' } });
    ask('new', { coalesceKey: 'key' });
    await clock.settle();
    await old;
    expect(turnedAway).toEqual([]);
    await connected();
    expect(ran).toEqual([1, 'new']);
    client.close();
  });
});

describe('E36 what was written', () => {
  test.each<Policy>(['reject', 'drop-oldest', 'drop-newest'])(
    'E36 with `%s` it never gives way, on its link or after it',
    async (overflow) => {
      // One frame a second: after a reconnect there is time in which they wait in line again.
      const story = offline({ maxMessages: 3, overflow }, { limits: { messagesPerSecond: 1 } });
      const { answered, ask, clock, client, connected, network, open, ran, turnedAway } = story;
      await connected();
      for (const n of [1, 2, 3]) ask(n, { type: 'n:held' });
      await clock.advance(3_000);
      expect(story.frames('up', 'request')).toHaveLength(3);
      ask('while written');
      network.set({ refuse: 'CONNECTION_FAILED' });
      network.cut();
      await clock.advance(1_000);
      ask('while there is no link');
      network.heal();
      await clock.advance(200);
      expect(client.state.status).toBe('connected');
      ask('while in line');
      await clock.settle();
      const late = ['while written', 'while there is no link', 'while in line'];
      expect(turnedAway).toEqual(late);
      open();
      await clock.advance(5_000);
      expect(answered.sort()).toEqual([1, 2, 3]);
      expect(ran).toEqual([1, 2, 3]);
      client.close();
    },
  );

  test('E36 what waits behind it does give way, and its bytes count too', async () => {
    const { answered, ask, clock, client, connected, open, ran, turnedAway } = offline({
      maxBytes: 3_500,
      maxInFlight: 1,
      overflow: 'drop-oldest',
    });
    await connected();
    ask(1, { type: 'n:held', text: kilobyte });
    await clock.advance(100);
    for (const n of [2, 3, 4]) ask(n, { text: kilobyte });
    await clock.advance(100);
    expect(ran).toEqual([1]);
    expect(turnedAway).toEqual([2]);
    open();
    await clock.advance(1_000);
    expect(answered).toEqual([1, 3, 4]);
    client.close();
  });

  test('E36 nobody is driven out in vain: what would not fit even then is the one to go', async () => {
    const { ask, clock, client, connected, ran, open, turnedAway } = offline({
      maxBytes: 3_500,
      maxInFlight: 1,
      overflow: 'drop-oldest',
    });
    await connected();
    ask('written', { type: 'n:held', text: kilobyte.repeat(2) });
    await clock.advance(100);
    ask('small', { type: 'n:held' });
    ask('too large beside it', { text: kilobyte.repeat(2) });
    await clock.settle();
    expect(turnedAway).toEqual(['too large beside it']);
    open();
    await clock.advance(1_000);
    expect(ran).toEqual(['written', 'small']);
    client.close();
  });

  test('E36 room that is given back is used again, and none is lost by the way', async () => {
    const { ask, answered, clock, client, connected, turnedAway } = offline({
      maxMessages: 10,
      maxBytes: 5_000,
    });
    await connected();
    for (let round = 0; round < 50; round++) {
      for (let n = 0; n < 20; n++) ask(`${round}.${n}`, { text: 'x'.repeat(n * 20) });
      await clock.advance(1_000);
      expect(client.state.queued).toBe(0);
    }
    // The same ten of every round, first to last.
    expect(answered).toHaveLength(500);
    expect(turnedAway).toHaveLength(500);
    client.close();
  });
});

/** A page with a storage that asks for three offline and is gone, and the page after it. */
async function reloaded(overflow: Policy) {
  const storage = memoryStorage();
  const before = offline({ maxMessages: 3, storage });
  for (const n of [1, 2, 3]) before.ask(n);
  await before.clock.settle();
  storage.crash();
  const after = offline({ maxMessages: 3, storage, overflow });
  const left = await after.client.restore();
  for (const { requestId, result } of left) {
    result.catch((error: unknown) => {
      after.turnedAway.push(isOverflow(error) ? Number(requestId) : error);
    });
  }
  return { ...after, storage, left: left.map(({ requestId }) => requestId) };
}

describe('E36 with a storage', () => {
  test.each(givesWay)(
    'E36 with `%s` what a reload left counts like what is new, and leaves the storage as it gives way',
    async (overflow, dropped, kept) => {
      const { ask, client, clock, connected, left, ran, storage, turnedAway } =
        await reloaded(overflow);
      expect(left).toEqual(['1', '2', '3']);
      for (const n of [4, 5]) ask(n);
      await clock.settle();
      expect(turnedAway).toEqual(dropped);
      await connected();
      expect(ran).toEqual(kept);
      expect(storage.slots.map(({ requests }) => requests)).toEqual([[]]);
      client.close();
    },
  );

  test('E36 one that gave way does not come back with the next reload', async () => {
    const { ask, client, clock, storage } = await reloaded('drop-oldest');
    ask(4);
    await clock.settle();
    storage.crash();
    const last = offline({ maxMessages: 3, storage });
    const ids = (await last.client.restore()).map(({ requestId }) => requestId);
    expect(ids).toEqual(['2', '3', '4']);
    await last.connected();
    expect(last.ran).toEqual([2, 3, 4]);
    last.client.close();
    client.close();
  });

  test('E36 two pages on one storage have an outbox each, and send what is their own', async () => {
    const storage = memoryStorage();
    const one = offline({ maxMessages: 2, storage });
    const other = offline({ maxMessages: 2, storage });
    for (const page of [one, other]) await page.client.restore();
    for (const n of [1, 2, 3]) one.ask(`one ${n}`);
    for (const n of [1, 2, 3]) other.ask(`other ${n}`);
    await one.clock.settle();
    expect([one.turnedAway, other.turnedAway]).toEqual([['one 3'], ['other 3']]);
    await one.connected();
    await other.connected();
    expect(one.ran).toEqual(['one 1', 'one 2']);
    expect(other.ran).toEqual(['other 1', 'other 2']);
    one.client.close();
    other.client.close();
  });
});

describe('E36 messages without an answer', () => {
  test.each(givesWay)(
    'E36 by count with `%s`: those that give way are reported',
    async (overflow, dropped, kept) => {
      const { client, clock, connected, ran, told } = offline({ maxMessages: 3, overflow });
      for (const n of [1, 2, 3, 4, 5]) client.send('n:tell', { n });
      await clock.settle();
      expect(told()).toEqual(dropped.map(() => true));
      await connected();
      expect(ran).toEqual(kept);
      client.close();
    },
  );

  test.each(givesWay)(
    'E36 by bytes with `%s`: those that give way are reported',
    async (overflow, dropped, kept) => {
      const { client, clock, connected, ran, told } = offline({ maxBytes: 3_500, overflow });
      for (const n of [1, 2, 3, 4, 5]) client.send('n:tell', { n, text: kilobyte });
      await clock.settle();
      expect(told()).toEqual(dropped.map(() => true));
      await connected();
      expect(ran).toEqual(kept);
      client.close();
    },
  );

  test.each(givesWay)(
    'E36 with `%s` they and requests give way to each other',
    async (overflow, dropped, kept) => {
      const { ask, client, clock, connected, ran, told, turnedAway } = offline({
        maxMessages: 3,
        overflow,
      });
      for (const n of [1, 2, 3, 4, 5]) {
        if (n % 2 === 0) ask(n);
        else client.send('n:tell', { n });
      }
      await clock.settle();
      expect(turnedAway).toEqual(dropped.filter((n) => n % 2 === 0));
      expect(told()).toEqual(dropped.filter((n) => n % 2 === 1).map(() => true));
      await connected();
      expect(ran).toEqual(kept);
      client.close();
    },
  );

  test('E36 once written they take no room', async () => {
    const { client, clock, connected, ran, told } = offline({ maxMessages: 3 });
    await connected();
    for (let round = 1; round <= 10; round++) {
      for (const n of [1, 2, 3]) client.send('n:tell', { n: `${round}.${n}` });
      await clock.advance(1_000);
    }
    expect(ran).toHaveLength(30);
    expect(told()).toEqual([]);
    client.close();
  });
});
