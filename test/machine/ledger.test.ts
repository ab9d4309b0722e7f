/** The books of a storage by themselves: what one write holds, and what follows its success or failure. */
import { describe, expect, test } from 'vitest';
import { Ledger } from '../../src/machine/ledger.js';
import type { Changes, Order } from '../../src/machine/order.js';
import { Session } from '../../src/machine/session.js';
import { NEVER } from '../../src/machine/step.js';
import { sessionOptions } from './options.js';
import { failed, play, request } from './play.js';

const nothing: Changes = { puts: [], stamps: [], drops: [], cursors: [] };

describe('a storage', () => {
  test('is opened once, and ready when it has answered or been given up', () => {
    const books = new Books();
    expect([books.ledger.isReady, books.ledger.deadline]).toEqual([false, NEVER]);
    books.open(1_000);
    books.open(2_000);
    expect(books.orders).toEqual([{ order: 'restore' }]);
    expect([books.ledger.isReady, books.ledger.deadline]).toEqual([false, 6_000]);
    expect([books.ledger.overdue(5_999), books.ledger.overdue(6_000)]).toEqual([null, 'open']);
    expect([books.ledger.opened([], books.out), books.ledger.isReady]).toEqual([true, true]);
    expect([books.ledger.deadline, books.ledger.lose()]).toEqual([NEVER, false]);
    expect(books.ledger.opened([], books.out)).toBe(false);
    books.open(3_000);
    expect(books.orders).toHaveLength(1);
  });

  test('that was given up is not used, and what comes late is released', () => {
    const books = new Books();
    books.open(0);
    expect([books.ledger.lose(), books.ledger.lose(), books.ledger.isReady]).toEqual([
      true,
      false,
      true,
    ]);
    books.ask('q1');
    expect([books.save(10), books.allows('q1'), books.ledger.saving.size]).toEqual([null, true, 0]);
    expect([books.ledger.deadline, books.ledger.overdue(1e9)]).toEqual([NEVER, null]);
    expect(books.ledger.opened([], books.out)).toBe(false);
    expect(books.orders).toEqual([{ order: 'restore' }, { order: 'release' }]);
  });

  test('has a request as it is needed to go on with it', () => {
    const books = new Books().opened();
    books.ledger.put({ ...request('q1', { room: 'a', coalesceKey: 'k' }), session: null });
    expect(books.save(0)?.puts).toStrictEqual([
      {
        requestId: 'q1',
        type: 'x:y',
        room: 'a',
        wire: 'q1',
        delivery: 'exactly-once',
        timeout: 30_000,
        expiresAt: Number.POSITIVE_INFINITY,
        coalesceKey: 'k',
        session: null,
      },
    ]);
  });

  test.each([
    ['s1', null, 's1'],
    ['s1', 's0', 's0'],
  ])('on a link with session %s has one under %s with %s', (link, session, stored) => {
    const books = new Books().opened();
    books.ledger.linked(link, []);
    books.ledger.put({ ...request('q1'), session });
    expect(books.save(0)?.puts[0]?.session).toBe(stored);
  });
});

describe('a write', () => {
  test('takes all there is, once; the next one waits for its end', () => {
    const books = new Books().opened();
    expect(books.save(0)).toBeNull();
    books.ask('q1');
    books.ledger.moved('a', 'a|1|5');
    books.ledger.moved('b', null);
    books.ledger.identify('ann');
    expect(books.save(0)).toEqual({
      ...nothing,
      puts: [expect.objectContaining({ requestId: 'q1' })],
      cursors: [
        ['a', 'a|1|5'],
        ['b', null],
      ],
      user: 'ann',
    });
    expect(books.ledger.deadline).toBe(5_000);
    books.ask('q2');
    expect([books.save(1_000), books.ledger.deadline]).toEqual([null, 5_000]);
    books.stored(1_100);
    expect(books.save(1_100)?.puts.map(({ requestId }) => requestId)).toEqual(['q2']);
    books.stored(1_200);
    expect([books.save(9_000), books.ledger.deadline]).toEqual([null, NEVER]);
  });

  test('of cursors alone waits 250 ms; anything else is urgent, and takes them along', () => {
    const urgent: ((books: Books) => unknown)[] = [
      (books) => books.ask('q2'),
      (books) => books.ledger.drop('q1'),
      (books) => books.ledger.identify(null),
      (books) => books.ledger.linked('s1', [books.entry('q1')]),
    ];
    for (const hurry of urgent) {
      const books = new Books().opened();
      books.ask('q1');
      books.save(0);
      books.stored(100);
      books.ledger.moved('a', 'a|1|5');
      expect([books.save(349), books.ledger.deadline]).toEqual([null, 350]);
      hurry(books);
      expect(books.save(101)?.cursors).toEqual([['a', 'a|1|5']]);
    }
    const books = new Books().opened();
    books.ledger.moved('a', 'a|1|5');
    expect(books.save(0)?.cursors).toEqual([['a', 'a|1|5']]);
    books.stored(100);
    books.ledger.moved('a', 'a|1|6');
    books.ledger.moved('a', 'a|1|7');
    expect(books.save(350)?.cursors).toEqual([['a', 'a|1|7']]);
  });

  test('says whom they belong to only where that has changed, also to nobody', () => {
    const books = new Books().opened();
    books.ask('q1');
    expect(books.save(0)).not.toHaveProperty('user');
    books.stored(0);
    books.ledger.identify(null);
    expect(books.save(0)).toStrictEqual({ ...nothing, user: null });
  });

  test('drops what ended; what the storage never had is not spoken of', () => {
    const books = new Books().opened();
    books.ask('q1');
    books.ask('q2');
    books.ledger.drop('q2');
    expect(books.save(0)?.puts).toHaveLength(1);
    books.ledger.linked('s1', [books.entry('q1')]);
    books.ledger.drop('q1');
    books.stored(10);
    expect(books.allows('q1')).toBe(false);
    expect(books.save(10)).toEqual({ ...nothing, drops: ['q1'] });
  });
});

describe('a request', () => {
  test('may be written once the storage has it with the session it is written under', () => {
    const books = new Books().opened();
    books.ledger.linked('s1', []);
    books.ask('q1');
    books.save(0);
    expect([books.allows('q1'), [...books.ledger.saving]]).toEqual([false, ['q1']]);
    books.stored(10);
    expect([books.allows('q1'), books.ledger.saving.size]).toEqual([true, 0]);
    expect([books.allows('q1', 's1'), books.allows('q1', 's0')]).toEqual([true, false]);
  });

  test('that was not written is stamped with each link, and with none between', () => {
    const books = new Books().opened();
    books.ask('q1');
    books.save(0);
    books.stored(0);
    for (const [session, link] of [
      ['s1', () => books.ledger.linked('s1', [books.entry('q1')])],
      [null, () => books.ledger.unlinked([books.entry('q1')])],
      ['s2', () => books.ledger.linked('s2', [books.entry('q1')])],
    ] as const) {
      link();
      expect(books.allows('q1')).toBe(false);
      expect(books.save(0)).toEqual({ ...nothing, stamps: [['q1', session]] });
      books.stored(0);
      expect(books.allows('q1')).toBe(true);
    }
  });

  test('that is not stored yet is stored with the stamp in it', () => {
    const books = new Books().opened();
    books.ask('q1');
    books.ledger.linked('s1', [books.entry('q1')]);
    const changes = books.save(0);
    expect([changes?.puts[0]?.session, changes?.stamps]).toEqual(['s1', []]);
  });

  test('that ended, was dropped, and is asked again under its id waits to be stored again', () => {
    const books = new Books().opened();
    books.ask('q1');
    books.save(0);
    books.stored(0);
    books.ledger.drop('q1');
    books.save(0);
    books.stored(0);
    books.ask('q1');
    expect(books.allows('q1')).toBe(false);
  });

  test('that ended and is asked again under its id is stored again, not dropped', () => {
    const books = new Books().opened();
    books.ask('q1');
    books.save(0);
    books.stored(0);
    books.ledger.drop('q1');
    books.ask('q1');
    expect(books.save(0)).toMatchObject({ puts: [{ requestId: 'q1' }], drops: [] });
    books.stored(0);
    books.ledger.drop('q1');
    books.save(0);
    books.ask('q1');
    books.failed(0);
    expect(books.save(5_000)).toMatchObject({ puts: [{ requestId: 'q1' }], drops: [] });
  });

  test('that is asked again under its id while its first self is being stored waits for the second', () => {
    const books = new Books().opened();
    books.ask('q1');
    books.save(0);
    books.ledger.drop('q1');
    books.ask('q1');
    books.stored(0);
    expect([books.allows('q1'), books.ledger.saving.size]).toEqual([false, 1]);
    expect(books.save(0)).toMatchObject({ puts: [{ requestId: 'q1' }], drops: [] });
    books.stored(0);
    expect([books.allows('q1'), books.ledger.saving.size]).toEqual([true, 0]);
  });

  test('that an earlier owner left may be written under its session at once', () => {
    const books = new Books();
    books.open(0);
    books.ledger.opened([{ ...request('q1'), session: 's1' }], books.out);
    books.ledger.linked('s1', []);
    expect([books.allows('q1', 's1'), books.save(0)]).toEqual([true, null]);
    books.ledger.linked('s2', []);
    expect(books.allows('q1')).toBe(false);
  });
});

describe('a failure', () => {
  test('is news once; nothing is waited for, and 5 s later all is tried again', () => {
    const books = new Books().opened();
    books.ask('q1');
    books.save(0);
    expect([books.failed(100), books.ledger.deadline]).toEqual([true, 5_100]);
    expect([books.allows('q1'), books.ledger.saving.size]).toEqual([true, 0]);
    books.ask('q2');
    expect([books.save(5_099), books.ledger.deadline]).toEqual([null, 5_100]);
    expect(books.save(5_100)?.puts.map(({ requestId }) => requestId)).toEqual(['q1', 'q2']);
    expect(books.failed(5_200)).toBe(false);
    books.save(10_200);
    books.stored(10_300);
    expect([books.allows('q1'), books.allows('q3')]).toEqual([true, false]);
    books.ask('q3');
    books.save(10_300);
    expect(books.failed(10_300)).toBe(true);
  });

  test('of a write that is overdue counts like any other', () => {
    const books = new Books().opened();
    books.ask('q1');
    books.save(1_000);
    expect([books.ledger.overdue(5_999), books.ledger.overdue(6_000)]).toEqual([null, 1]);
  });

  test('or a success of another write than the one under way is no news', () => {
    const books = new Books().opened();
    books.ask('q1');
    books.save(0);
    expect(books.ledger.failed(7, 0)).toBe(false);
    books.ledger.stored(7, 0);
    expect([books.allows('q1'), books.ledger.deadline]).toEqual([false, 5_000]);
    books.stored(0);
    expect(books.failed(0)).toBe(false);
    expect(books.allows('q2')).toBe(false);
  });

  test('keeps what was to be written, and what came after it wins', () => {
    const books = new Books().opened();
    books.ask('q0');
    books.save(0);
    books.stored(0);
    for (const id of ['q1', 'q2']) books.ask(id);
    books.ledger.linked('s1', [books.entry('q0')]);
    books.ledger.moved('a', 'a|1|5');
    books.ledger.moved('b', 'b|1|5');
    books.ledger.identify('ann');
    books.save(0);
    books.ledger.drop('q1');
    books.ledger.drop('q0');
    books.ledger.moved('a', 'a|1|6');
    books.failed(0);
    books.ledger.drop('q2');
    books.ask('q3');
    expect(books.save(5_000)).toMatchObject({
      puts: [{ requestId: 'q3' }],
      stamps: [],
      cursors: [
        ['a', 'a|1|6'],
        ['b', 'b|1|5'],
      ],
      user: 'ann',
    });
    expect([...(books.last?.drops ?? [])].sort()).toEqual(['q0', 'q1', 'q2']);
    books.ledger.identify('bob');
    books.failed(5_000);
    expect(books.save(10_000)?.user).toBe('bob');
  });
});

test('a stamp that could not be written is written with the next try', () => {
  const books = new Books().opened();
  books.ask('q1');
  books.save(0);
  books.stored(0);
  books.ledger.linked('s1', [books.entry('q1')]);
  books.save(0);
  books.failed(0);
  expect(books.save(5_000)?.stamps).toEqual([['q1', 's1']]);
});

test('a stamp that could not be written is not that of a request asked again under its id', () => {
  const books = new Books().opened();
  books.ask('q1');
  books.save(0);
  books.stored(0);
  books.ledger.linked('s1', [books.entry('q1')]);
  books.save(0);
  books.ledger.drop('q1');
  books.ledger.unlinked([]);
  books.ask('q1');
  books.failed(0);
  const changes = books.save(5_000);
  expect([changes?.puts[0]?.session, changes?.stamps]).toEqual([null, []]);
});

describe('in a session', () => {
  const ledger = () => new Ledger();

  test('a message waits for no storage', () => {
    const session = play({ ledger }).open().slowStorage();
    session.do({ fact: 'told', message: { wire: 't1', bytes: 10 } });
    expect(session.tick()).toEqual(['t1']);
  });

  test('a request counts as pending once it is stored', () => {
    const session = play({ ledger }).open().slowStorage();
    session.ask('q1');
    session.tick();
    const { session: machine } = session.witness;
    expect(machine.pending()).toEqual([]);
    session.do({ fact: 'stored', write: session.witness.storage.write });
    expect(machine.pending()).toMatchObject([{ requestId: 'q1', sent: false }]);
  });

  test('a join that does not name the storage does not open it', () => {
    const session = play({ ledger }).slowStorage();
    session.join('a', 'a|1|5');
    session.do({ fact: 'leaveAsked', room: 'a' });
    expect(session.all('restore')).toEqual([]);
  });

  test('a closed client opens none, and one that was refused gives it back with close()', () => {
    const closed = play({ ledger });
    closed.do({ fact: 'closeAsked' });
    expect(closed.do({ fact: 'restoreAsked' })).toEqual([]);
    const refused = play({ ledger }).open();
    refused.lose(failed('UNAUTHORIZED'));
    expect(refused.all('release')).toEqual([]);
    for (let count = 0; count < 2; count++) refused.do({ fact: 'closeAsked' });
    expect(refused.all('release')).toHaveLength(1);
  });

  test('a failure to open that comes late is no news', () => {
    const session = play({ ledger }).open();
    expect(session.do({ fact: 'restoreFailed', error: failed('STORAGE_FAILED') })).toEqual([]);
  });

  test('the same user is not written down twice, another one is', () => {
    const session = play({ ledger }).open();
    for (const user of ['ann', 'bob']) {
      session.do({ fact: 'reconnectAsked' });
      session.open({ user });
      session.tick();
    }
    const users = session.all('store').flatMap(({ changes }) => changes.user ?? []);
    expect(users).toEqual(['ann', 'bob']);
  });

  test('what ended before the storage was open is not gone on with', () => {
    const session = new Session(sessionOptions({ ledger }));
    const requests = [{ ...request('q1'), session: null }];
    const saved = { clientId: 'saved', link: 0, user: undefined, requests, cursors: [] };
    session.step({ fact: 'asked', request: request('q1') }, 0, 0);
    session.step({ fact: 'aborted', requestId: 'q1' }, 0, 0);
    session.step({ fact: 'restored', saved, date: 0 }, 0, 0);
    expect(session.pending()).toEqual([]);
    const orders = session.step({ fact: 'tickEnded', buffered: 0 }, 0, 0);
    expect(orders).toMatchObject([{ order: 'store', changes: { puts: [], drops: ['q1'] } }]);
  });

  test('what onGap names is where the next owner goes on', () => {
    const session = play({ ledger });
    session.join('a', 'a|1|5');
    session.open();
    session.joined('a', '1', 40, 'expired');
    session.do({ fact: 'healed', room: 'a', run: 1, eventId: 'a|1|38' });
    session.wait(300);
    expect(session.witness.storage.cursors.get('a')).toBe('a|1|38');
  });

  test.each([
    ['s1', 'OUTCOME_UNKNOWN forgotten'],
    [null, null],
  ])(
    'asked anew before the storage is open (its session: %s), a promise of no effect is about the new write alone',
    (known, end) => {
      const session = play({ ledger });
      const one = { ...request('q1'), session: known };
      session.saved = { clientId: 'saved', link: 0, user: undefined, requests: [one], cursors: [] };
      session.ask('q1');
      session.open({ session: 's1' });
      session.tick();
      session.respond('q1', 'RATE_LIMITED', { retryAfter: 3_600_000 });
      session.do({ fact: 'reconnectAsked' });
      session.open({ session: 's2' });
      expect(session.outcome('q1')).toBe(end);
    },
  );
});

describe('the end', () => {
  test('tells what is still to be told, and gives the slot back, once', () => {
    const books = new Books().opened();
    books.ask('q1');
    books.save(0);
    books.ledger.drop('q1');
    books.ledger.close(books.out);
    books.ledger.close(books.out);
    expect(books.orders.map(({ order }) => order)).toEqual([
      'restore',
      'store',
      'store',
      'release',
    ]);
    expect([books.last?.drops, books.ledger.deadline]).toEqual([['q1'], NEVER]);
  });

  test('tells again what is under way: it may fail, and nobody would try once more', () => {
    const books = new Books().opened();
    books.ask('q1');
    books.save(0);
    books.ledger.close(books.out);
    expect(books.last?.puts.map(({ requestId }) => requestId)).toEqual(['q1']);
  });

  test('with nothing to tell only gives the slot back', () => {
    const books = new Books().opened();
    books.ledger.close(books.out);
    expect(books.orders.map(({ order }) => order)).toEqual(['restore', 'release']);
  });

  test('of one that fails is a last try', () => {
    const books = new Books().opened();
    books.ask('q1');
    books.save(0);
    books.failed(0);
    books.ledger.close(books.out);
    expect(books.orders.map(({ order }) => order).slice(-2)).toEqual(['store', 'release']);
  });
});

/** A ledger, and its orders so far. */
class Books {
  readonly ledger = new Ledger();
  readonly orders: Order[] = [];

  get out(): Order[] {
    return this.orders;
  }

  /** What the newest write holds. */
  get last(): Changes | undefined {
    return this.orders.findLast((order) => order.order === 'store')?.changes;
  }

  open(now: number): void {
    this.ledger.open({ now, roll: 0, out: this.orders });
  }

  /** With nothing in it. */
  opened(): this {
    this.open(0);
    this.ledger.opened([], this.orders);
    return this;
  }

  entry(requestId: string) {
    return { ...request(requestId), session: null };
  }

  ask(requestId: string): void {
    this.ledger.put(this.entry(requestId));
  }

  allows(requestId: string, session: string | null = null): boolean {
    return this.ledger.allows({ ...request(requestId), session });
  }

  /** The end of a tick: what is to be written, null where nothing is. */
  save(now: number): Changes | null {
    const before = this.orders.length;
    this.ledger.flush({ now, roll: 0, out: this.orders });
    return this.orders.length === before ? null : (this.last ?? null);
  }

  stored(now: number): void {
    this.ledger.stored(this.#write, now);
  }

  failed(now: number): boolean {
    return this.ledger.failed(this.#write, now);
  }

  get #write(): number {
    return this.orders.filter(({ order }) => order === 'store').length;
  }
}
