/** Where a reader stands after holes, gaps and heals, and what is counted of them. */
import { describe, expect, test } from 'vitest';
import { Inbox } from '../../src/machine/inbox.js';
import { ME } from '../../src/protocol/frame.js';
import type { Overrides } from './options.js';
import { failed, names, type Play, play } from './play.js';

/** In room "a" at `seq` of epoch 1, caught up, and nothing left to write. */
function joinedAt(seq: number, overrides: Overrides = {}): Play {
  const session = play({ heartbeat: null, ...overrides });
  session.join('a');
  session.open();
  session.joined('a', '1', seq, 'new');
  session.caughtUp('a', '1', seq);
  session.tick();
  return session;
}

/** The same at 5, then told on the same link that it stands at 40: what is between is gone. */
function gapped(overrides: Overrides = {}): Play {
  const session = joinedAt(5, overrides);
  session.joined('a', '1', 40, 'expired');
  session.caughtUp('a', '1', 40);
  session.tick();
  return session;
}

describe('why a gap is one', () => {
  test.each([
    ['1', 'expired', 'expired'],
    ['1', 'epoch', 'epoch'],
    ['2', 'expired', 'expired'],
    ['2', 'epoch', 'epoch'],
    ['1', 'new', 'expired'],
    ['2', 'new', 'epoch'],
  ] as const)('the epoch was 1 and is %s, the server says %s: %s', (epoch, said, reason) => {
    const session = joinedAt(5);
    session.joined('a', epoch, 40, said);
    expect(session.all('heal')).toMatchObject([{ reason, cursor: 'a|1|5' }]);
  });

  test.each([
    ['expired', 'expired'],
    ['epoch', 'epoch'],
    ['new', 'expired'],
  ] as const)('a first join from a cursor, the server says %s: %s', (said, reason) => {
    const session = play();
    session.join('a', 'a|1|2');
    session.open();
    session.joined('a', '2', 40, said);
    expect(session.all('heal')).toMatchObject([{ reason, cursor: 'a|1|2' }]);
  });
});

describe('the cursor', () => {
  test('I15 E27 waits for the slowest listener, one event after another', () => {
    const session = joinedAt(5).slowListeners();
    for (const seq of [6, 7, 8, 9]) session.event('a', '1', seq);
    for (const [seq, cursor] of [
      [8, 'a|1|5'],
      [7, 'a|1|5'],
      [6, 'a|1|8'],
      [9, 'a|1|9'],
    ] as const) {
      had(session, '1', seq);
      expect(since(session)).toBe(cursor);
    }
  });

  test('I15 stays where a gap has put it when a listener of before is done', () => {
    const session = joinedAt(5).slowListeners();
    session.event('a', '1', 6);
    session.event('a', '1', 7);
    session.joined('a', '2', 40, 'epoch');
    had(session, '1', 6);
    had(session, '1', 7);
    expect(since(session)).toBe('a|2|40');
    session.do({ fact: 'healed', room: 'a', run: 1 });
    session.event('a', '2', 41);
    had(session, '2', 41);
    expect(since(session)).toBe('a|2|41');
  });

  test('stays at the gap when onGap names no event and nothing was held', () => {
    const session = gapped();
    session.do({ fact: 'healed', room: 'a', run: 1 });
    expect([since(session), session.tick(), session.delivered]).toEqual(['a|1|40', [], []]);
  });

  test('stays there too when onGap names just that event', () => {
    const session = gapped();
    session.event('a', '1', 41);
    session.do({ fact: 'healed', room: 'a', run: 1, eventId: 'a|1|40' });
    expect([session.delivered, session.tick()]).toEqual([['a|1|41'], []]);
  });

  test.each([41, 42, 43])('moves to the held event that the state contains (%i)', (seq) => {
    const session = gapped().slowListeners();
    for (const held of [41, 42, 43]) session.event('a', '1', held);
    session.do({ fact: 'healed', room: 'a', run: 1, eventId: `a|1|${seq}` });
    expect(since(session)).toBe(`a|1|${seq}`);
    expect(session.delivered).toEqual(['a|1|42', 'a|1|43'].slice(seq - 41));
  });

  test('follows what is dropped while onGap has to run again', () => {
    const session = gapped({ inbox: { maxHeld: 2 } });
    for (const seq of [41, 42, 43, 44]) session.event('a', '1', seq);
    session.do({ fact: 'healed', room: 'a', run: 1 });
    expect(since(session)).toBe('a|1|44');
    session.do({ fact: 'healed', room: 'a', run: 2 });
    expect([since(session), session.delivered]).toEqual(['a|1|44', []]);
  });

  test('is the newest place after a second gap in the first one', () => {
    const session = gapped();
    session.event('a', '1', 41);
    session.joined('a', '3', 7, 'epoch');
    session.do({ fact: 'healed', room: 'a', run: 1 });
    session.do({ fact: 'healed', room: 'a', run: 2 });
    expect([since(session), session.delivered]).toEqual(['a|3|7', []]);
  });

  test('goes back before a gap that a close cut off, and what the server can still give is given', () => {
    const session = gapped();
    session.event('a', '1', 41);
    session.lose(failed('UNAUTHORIZED'));
    session.do({ fact: 'connectAsked' });
    session.open();
    expect(since(session)).toBe('a|1|5');
    session.joined('a', '1', 5);
    for (const seq of [6, 7]) session.event('a', '1', seq);
    expect(session.delivered).toEqual(['a|1|6', 'a|1|7']);
  });
});

describe('a hole', () => {
  test('E27 on the next link is filled by a second join, like the first one', () => {
    const session = joinedAt(5);
    session.do({ fact: 'reconnectAsked' });
    session.open();
    session.joined('a', '1', 5);
    session.event('a', '1', 7);
    expect(session.tick()).toEqual([{ kind: 'join', rooms: [{ room: 'a', since: 'a|1|5' }] }]);
    expect(session.all('heal')).toEqual([]);
  });

  test('E27 that became a gap is passed, and the next hole is asked for again', () => {
    const session = joinedAt(5);
    session.event('a', '1', 7);
    session.tick();
    session.joined('a', '1', 5);
    session.event('a', '1', 7);
    session.do({ fact: 'healed', room: 'a', run: 1 });
    expect(session.tick()).toEqual([]);
    session.event('a', '1', 9);
    expect(session.tick()).toEqual([{ kind: 'join', rooms: [{ room: 'a', since: 'a|1|7' }] }]);
    session.joined('a', '1', 7);
    for (const seq of [8, 9]) session.event('a', '1', seq);
    expect(session.delivered).toEqual(['a|1|7', 'a|1|8', 'a|1|9']);
    expect(session.all('heal')).toHaveLength(1);
  });

  test('E27 leaves its room behind until it is caught up again, for joins and for synced', () => {
    const session = joinedAt(5);
    const synced = () => session.state.synced;
    session.event('a', '1', 7);
    const states = [synced()];
    session.tick();
    states.push(synced());
    const call = session.join('a');
    session.joined('a', '1', 5);
    states.push(synced());
    const later = session.join('a');
    expect(session.all('answerJoins')).toHaveLength(1);
    session.caughtUp('a', '1', 7);
    states.push(synced());
    expect(session.all('answerJoins').at(-1)?.calls).toEqual([call, later]);
    expect(states).toEqual([false, false, false, true]);
  });
});

describe('an onGap', () => {
  test('of one room that ends leaves the timer of another one running', () => {
    const session = gapped();
    session.join('b', 'b|1|1');
    session.tick();
    session.joined('b', '2', 9, 'epoch');
    session.do({ fact: 'healed', room: 'a', run: 1 });
    expect(names(session.wait(30_000))).toEqual(['stopHealing', 'report']);
    expect(session.all('stopHealing')).toEqual([{ order: 'stopHealing', room: 'b', run: 2 }]);
  });

  test('I14 that leads from gap to gap runs after a growing pause, until one leads on', () => {
    const session = gapped();
    session.wait(10_000);
    const waits = [1, 2].map((run) => {
      heal(session, run, `x${run}`);
      session.joined('a', '1', 40 + run, 'expired');
      expect(session.all('heal')).toHaveLength(run);
      const { due } = session;
      session.wait(due);
      expect(session.all('heal')).toHaveLength(run + 1);
      return due;
    });
    expect(waits).toEqual([1_450, 5_800]);
    expect(session.all('report')).toHaveLength(2);
    heal(session, 3, 'a|1|39');
    session.joined('a', '1', 39);
    session.joined('a', '1', 50, 'expired');
    expect(session.all('heal')).toHaveLength(4);
    expect(session.all('report')).toHaveLength(2);
  });

  test('I01 that was stopped, or has failed, has nothing more to say', () => {
    for (const end of ['stop', 'fail'] as const) {
      const session = gapped();
      const error = failed('CONNECTION_FAILED');
      const fail = () => session.do({ fact: 'healFailed', room: 'a', run: 1, error });
      if (end === 'stop') session.wait(30_000);
      else fail();
      expect(session.all('report')).toHaveLength(1);
      expect([fail(), session.do({ fact: 'healed', room: 'a', run: 1 })]).toEqual([[], []]);
      session.wait(725);
      expect(session.all('heal').map(({ run }) => run)).toEqual([1, 2]);
    }
  });

  test('may be outrun by as many events as maxHeld', () => {
    const session = gapped({ inbox: { maxHeld: 2 } });
    for (const seq of [41, 42]) session.event('a', '1', seq);
    session.do({ fact: 'healed', room: 'a', run: 1 });
    expect(session.delivered).toEqual(['a|1|41', 'a|1|42']);
  });
});

describe('an onGap is stopped', () => {
  test.each<[string, (session: Play) => unknown]>([
    ['a leave', (session) => session.do({ fact: 'leaveAsked', room: 'a' })],
    ['a close', (session) => session.do({ fact: 'closeAsked' })],
    [
      'a refusal of the room',
      (session) =>
        session.receive({ kind: 'room', room: 'a', error: { code: 'FORBIDDEN', message: 'no' } }),
    ],
  ])('by %s, and its answer means nothing', (_name, end) => {
    const session = gapped();
    end(session);
    expect(session.all('stopHealing')).toEqual([{ order: 'stopHealing', room: 'a', run: 1 }]);
    const { length } = session.orders;
    session.do({ fact: 'healed', room: 'a', run: 1 });
    expect(session.orders).toHaveLength(length);
  });

  test('E41 for @me when another user signs in', () => {
    const session = play().open();
    session.joined(ME, '1', 4, 'new');
    session.joined(ME, '1', 9, 'expired');
    session.do({ fact: 'reconnectAsked' });
    session.open({ user: 'bob' });
    expect(session.all('stopHealing')).toEqual([{ order: 'stopHealing', room: ME, run: 1 }]);
  });

  test('not by the loss of the link; what it names then is where the next one starts, or nowhere after a leave', () => {
    const session = gapped();
    session.lose();
    session.do({ fact: 'healed', room: 'a', run: 1, eventId: 'a|1|30' });
    expect(since(session)).toBe('a|1|30');
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.join('a');
    expect(since(session)).toBeUndefined();
  });
});

describe('the counts', () => {
  test('of gaps tell each one, also those while onGap runs', () => {
    const session = gapped({ inbox: { maxHeld: 1 } });
    expect(session.witness.session.metrics(0).gaps).toBe(1);
    for (const seq of [41, 42]) session.event('a', '1', seq);
    expect(session.witness.session.metrics(0).gaps).toBe(2);
  });

  test('of what was replayed tell events between a join and its caughtUp, and no others', () => {
    const session = joinedAt(5);
    session.event('a', '1', 6);
    session.do({ fact: 'reconnectAsked' });
    session.open();
    plain(session, 'e1');
    session.join('b');
    plain(session, 'e2', 'b');
    session.joined('a', '1', 6);
    for (const seq of [7, 8, 9]) session.event('a', '1', seq);
    session.caughtUp('a', '1', 9);
    session.event('a', '1', 10);
    expect(session.delivered).toHaveLength(7);
    expect(session.witness.session.metrics(0).replayed).toBe(3);
  });

  test('of strays tell events of a room whose verdict is still on its way, which is not asked for again', () => {
    const session = play().open();
    session.join('a');
    session.tick();
    session.event('a', '1', 3);
    expect([session.tick(), session.delivered]).toEqual([[], []]);
    expect(session.witness.session.metrics(0).stray).toBe(1);
  });

  test('of duplicates tell both kinds, and none is a hole', () => {
    const session = joinedAt(5);
    for (const seq of [6, 6, 4]) session.event('a', '1', seq);
    plain(session, 'e1', 'a');
    plain(session, 'e1', 'a');
    expect(session.tick()).toEqual([]);
    expect(session.witness.session.metrics(0)).toMatchObject({ duplicates: 3, received: 5 });
  });
});

test('I13 eventIds are remembered for at least dedupWindow events, and for less than twice as many', () => {
  const inbox = new Inbox({ dedupWindow: 3, maxHeld: 0, heals: false });
  const step = { now: 0, roll: 0, out: [] };
  const receive = (eventId: string) => {
    inbox.receive({ kind: 'event', eventId, type: 'a:b', timestamp: 0 }, undefined, step);
    return step.out.length;
  };
  expect(['e1', 'e2', 'e3', 'e4', 'e2', 'e5', 'e6', 'e7'].map(receive).at(-1)).toBe(7);
  expect(['e4', 'e1'].map(receive)).toEqual([7, 8]);
});

function heal(session: Play, run: number, eventId: string): void {
  session.do({ fact: 'healed', room: 'a', run, eventId });
  session.tick();
}

/** An event without a number. */
function plain(session: Play, eventId: string, room?: string): void {
  const where = room === undefined ? {} : { room };
  session.receive({ kind: 'event', eventId, type: 'a:b', timestamp: 0, ...where });
}

function had(session: Play, epoch: string, seq: number): void {
  session.do({ fact: 'delivered', room: 'a', eventId: `a|${epoch}|${seq}` });
}

/** From where the next link would go on. */
function since(session: Play): string | undefined {
  return session.witness.session.hello(99).rooms.find(({ room }) => room === 'a')?.since;
}
