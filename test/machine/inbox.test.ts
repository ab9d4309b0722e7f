/** What of all that arrives is given to the listeners, and when: duplicates, order, holes, gaps. */
import { describe, expect, test } from 'vitest';
import { ME } from '../../src/protocol/frame.js';
import type { Overrides } from './options.js';
import { failed, names, only, type Play, play } from './play.js';

/** In room "a" at `seq` of epoch 1, caught up. */
function joinedAt(seq: number, overrides: Overrides = {}): Play {
  const session = play(overrides);
  session.join('a');
  session.open();
  session.joined('a', '1', seq, 'new');
  session.caughtUp('a', '1', seq);
  return session;
}

describe('events', () => {
  test('I13 with a seq are given each once, in order', () => {
    const session = joinedAt(5);
    for (const seq of [6, 6, 7, 5, 6, 8]) session.event('a', '1', seq);
    expect(session.delivered).toEqual(['a|1|6', 'a|1|7', 'a|1|8']);
    expect(session.witness.session.metrics(0)).toMatchObject({ duplicates: 3, received: 6 });
  });

  test('I13 without a seq are told apart by their eventId', () => {
    const session = play({ inbox: { dedupWindow: 3 } }).open();
    const plain = (eventId: string) =>
      session.receive({ kind: 'event', eventId, type: 'a:b', timestamp: 0 });
    for (const id of ['e1', 'e2', 'e1', 'e3', 'e2', 'e4', 'e1']) plain(id);
    expect(session.delivered).toEqual(['e1', 'e2', 'e3', 'e4']);
  });

  test('of a room that is not joined, or was left, are nobody’s', () => {
    const session = joinedAt(5);
    session.event('b', '1', 1);
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.event('a', '1', 6);
    expect(session.delivered).toEqual([]);
    expect(session.witness.session.metrics(0).stray).toBe(2);
  });
});

describe('the cursor', () => {
  test('I15 E27 follows the listeners, in order, whatever the order they finish in', () => {
    const session = joinedAt(5).slowListeners();
    for (const seq of [6, 7, 8]) session.event('a', '1', seq);
    had(session, 7);
    expect(since(session)).toBe('a|1|5');
    had(session, 6);
    expect(since(session)).toBe('a|1|7');
  });

  test('E26 stands at the join’s place before a first event', () => {
    expect(since(joinedAt(5))).toBe('a|1|5');
  });

  test('I13 E25 what is replayed on the next link and was given already is dropped', () => {
    const session = joinedAt(5).slowListeners();
    for (const seq of [6, 7]) session.event('a', '1', seq);
    had(session, 6);
    session.lose();
    session.wait(session.due);
    session.open();
    session.joined('a', '1', 6);
    for (const seq of [7, 8]) session.event('a', '1', seq);
    expect(session.delivered).toEqual(['a|1|6', 'a|1|7', 'a|1|8']);
  });
});

describe('a hole', () => {
  test('E27 is filled by a second join from the cursor', () => {
    const session = joinedAt(5);
    session.event('a', '1', 6);
    session.event('a', '1', 8);
    expect(session.tick()).toEqual([{ kind: 'join', rooms: [{ room: 'a', since: 'a|1|6' }] }]);
    session.joined('a', '1', 6);
    for (const seq of [7, 8, 9]) session.event('a', '1', seq);
    expect(session.delivered).toEqual(['a|1|6', 'a|1|7', 'a|1|8', 'a|1|9']);
    expect(session.all('heal')).toEqual([]);
  });

  test('E27 that a second join does not fill is a gap, not a loop', () => {
    const session = joinedAt(5);
    session.event('a', '1', 7);
    session.tick();
    session.joined('a', '1', 5);
    session.event('a', '1', 7);
    expect(session.all('heal')).toMatchObject([{ room: 'a', reason: 'hole', cursor: 'a|1|5' }]);
    expect(session.tick()).toEqual([]);
    session.do({ fact: 'healed', room: 'a', run: 1 });
    expect(session.delivered).toEqual(['a|1|7']);
  });
});

describe('a gap', () => {
  test.each(['expired', 'epoch'] as const)(
    'E28 (%s) runs onGap once, and holds what comes meanwhile',
    (reason) => {
      const session = gapped({}, reason);
      expect(session.all('heal')).toEqual([
        { order: 'heal', room: 'a', run: 1, cursor: 'a|1|5', reason },
      ]);
      for (const seq of [41, 42]) session.event('a', '2', seq);
      expect(session.delivered).toEqual([]);
      expect(session.state.synced).toBe(false);
      expect(only(session.do({ fact: 'healed', room: 'a', run: 1 }), 'deliver')).toHaveLength(2);
      session.event('a', '2', 43);
      expect(session.delivered).toEqual(['a|2|41', 'a|2|42', 'a|2|43']);
    },
  );

  test('in the middle of a connection is one as well: the epoch is new, and seq starts over', () => {
    const session = joinedAt(50);
    session.joined('a', '2', 0, 'epoch');
    session.do({ fact: 'healed', room: 'a', run: 1 });
    session.event('a', '2', 1);
    expect(session.delivered).toEqual(['a|2|1']);
  });

  test('E28 what the fetched state contains is not given again', () => {
    const session = gapped();
    for (const seq of [41, 42, 43]) session.event('a', '2', seq);
    session.do({ fact: 'healed', room: 'a', run: 1, eventId: 'a|2|42' });
    expect(session.delivered).toEqual(['a|2|43']);
  });

  test('a state that is current to somewhere else goes on from there', () => {
    const session = gapped();
    session.event('a', '2', 41);
    session.do({ fact: 'healed', room: 'a', run: 1, eventId: 'a|2|38' });
    expect(session.tick()).toEqual([{ kind: 'join', rooms: [{ room: 'a', since: 'a|2|38' }] }]);
    session.joined('a', '2', 38);
    for (const seq of [39, 40, 41]) session.event('a', '2', seq);
    expect(session.delivered).toEqual(['a|2|39', 'a|2|40', 'a|2|41']);
  });

  test('I14 E28 an onGap that throws is reported, and runs again after a growing pause', () => {
    const session = gapped();
    session.event('a', '2', 41);
    for (const [run, pause] of [
      [1, 725],
      [2, 1_450],
      [3, 2_900],
    ] as const) {
      const error = failed('CONNECTION_FAILED');
      expect(names(session.do({ fact: 'healFailed', room: 'a', run, error }))).toEqual(['report']);
      session.wait(pause - 1);
      expect(session.all('heal')).toHaveLength(run);
      session.wait(1);
      expect(session.all('heal')).toHaveLength(run + 1);
    }
    session.do({ fact: 'healed', room: 'a', run: 4 });
    expect(session.delivered).toEqual(['a|2|41']);
  });

  test('I14 E28 an onGap that hangs is stopped after 30 s, and its late answer means nothing', () => {
    const session = gapped({ heartbeat: null });
    expect(names(session.wait(30_000))).toEqual(['stopHealing', 'report']);
    expect(session.do({ fact: 'healed', room: 'a', run: 1 })).toEqual([]);
  });

  test('E28 history that is lost again while onGap runs makes it run once more', () => {
    const session = gapped();
    session.joined('a', '3', 7, 'epoch');
    session.event('a', '3', 8);
    expect(session.all('heal')).toHaveLength(1);
    session.do({ fact: 'healed', room: 'a', run: 1 });
    expect(session.all('heal').at(-1)).toMatchObject({ run: 2, reason: 'epoch' });
    session.event('a', '3', 9);
    session.do({ fact: 'healed', room: 'a', run: 2 });
    expect(session.delivered).toEqual(['a|3|9']);
  });

  test('above maxHeld onGap runs again, from the newest place', () => {
    const session = gapped({ inbox: { maxHeld: 2 } });
    for (const seq of [41, 42, 43, 44]) session.event('a', '2', seq);
    session.do({ fact: 'healed', room: 'a', run: 1 });
    expect(session.all('heal').at(-1)).toMatchObject({ run: 2, reason: 'overflow' });
    session.event('a', '2', 45);
    session.do({ fact: 'healed', room: 'a', run: 2 });
    expect(session.delivered).toEqual(['a|2|45']);
  });

  test('survives the loss of the link: what is held is given once', () => {
    const session = gapped();
    session.event('a', '2', 41);
    session.lose();
    session.wait(session.due);
    session.open();
    expect(session.hello.rooms).toContainEqual({ room: 'a', since: 'a|2|40' });
    session.joined('a', '2', 40);
    for (const seq of [41, 42]) session.event('a', '2', seq);
    session.do({ fact: 'healed', room: 'a', run: 1 });
    expect(session.delivered).toEqual(['a|2|41', 'a|2|42']);
  });

  test('of a room that is left stops its onGap', () => {
    const session = gapped();
    const orders = session.do({ fact: 'leaveAsked', room: 'a' });
    expect(names(orders)).toContain('stopHealing');
  });

  test.each(['a', ME])('that a close cuts off is told again after connect() (%s)', (room) => {
    const session = play().open();
    session.join('a');
    session.tick();
    session.joined(room, '1', 5, 'new');
    session.caughtUp(room, '1', 5);
    session.event(room, '1', 6);
    session.joined(room, '2', 40, 'epoch');
    session.event(room, '2', 41);
    session.lose(failed('UNAUTHORIZED'));
    session.do({ fact: 'connectAsked' });
    session.open();
    expect(session.hello.rooms).toContainEqual({ room, since: `${room}|1|6` });
    session.joined(room, '2', 41, 'epoch');
    expect(session.all('heal').at(-1)).toMatchObject({ run: 2, cursor: `${room}|1|6` });
  });

  test('without an onGap is reported once, and events go on', () => {
    const session = gapped({ inbox: { heals: false } });
    expect(session.all('report').map(({ error }) => error.details)).toEqual([
      { room: 'a', reason: 'epoch' },
    ]);
    session.event('a', '2', 41);
    expect(session.delivered).toEqual(['a|2|41']);
  });

  test('a first join without a cursor is none', () => {
    expect(joinedAt(5).all('heal')).toEqual([]);
  });
});

/** Was in room "a" at 5 of epoch 1; the next link finds it at 40 of epoch 2. */
function gapped(overrides: Overrides = {}, reason: 'expired' | 'epoch' = 'epoch'): Play {
  const session = joinedAt(5, overrides);
  session.lose();
  session.wait(session.due);
  session.open();
  session.joined('a', '2', 40, reason);
  session.caughtUp('a', '2', 40);
  return session;
}

function had(session: Play, seq: number): void {
  session.do({ fact: 'delivered', room: 'a', eventId: `a|1|${seq}` });
}

/** From where the next link would go on. */
function since(session: Play): string | undefined {
  return session.witness.session.hello(99).rooms.find(({ room }) => room === 'a')?.since;
}
