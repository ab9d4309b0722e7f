/** Rooms of servers without a journal: their events have no `seq`, and are told apart by eventId alone. */
import { describe, expect, test } from 'vitest';
import type { Overrides } from './options.js';
import { type Play, play } from './play.js';

/** In room "a", whose verdicts say 0, as those of a server that does not number its events do. */
function joined(overrides: Overrides = {}): Play {
  const session = play(overrides);
  session.join('a');
  session.open();
  verdict(session, false, 'new');
  return session;
}

/** The same on a second link, with what came between lost: `onGap` runs. */
function gapped(): Play {
  const session = joined({ inbox: { heals: true } });
  event(session, 'e1');
  session.lose();
  session.wait(session.due);
  session.open();
  verdict(session, false, 'expired');
  expect(session.all('heal')).toHaveLength(1);
  return session;
}

describe('events without a seq', () => {
  test('of a room that was left, or never joined, are nobody’s', () => {
    const session = joined();
    event(session, 'b1', 'b');
    session.do({ fact: 'leaveAsked', room: 'a' });
    event(session, 'e1');
    session.tick();
    event(session, 'e2');
    expect(session.delivered).toEqual([]);
    expect(session.witness.session.metrics(0).stray).toBe(3);
  });

  test('are told apart within their room: each may number its own', () => {
    const session = joined();
    session.join('b');
    session.tick();
    event(session, '1');
    event(session, '1', 'b');
    event(session, '1');
    session.receive({ kind: 'event', eventId: '1', type: 'a:b', timestamp: 0 });
    expect(session.delivered).toEqual(['1', '1', '1']);
    expect(session.witness.session.metrics(0).duplicates).toBe(1);
  });

  test('E28 that were held are given, where the fetched state is current to another event', () => {
    const session = gapped();
    for (const eventId of ['e5', 'e6']) event(session, eventId);
    session.do({ fact: 'healed', room: 'a', run: 1, eventId: 'a|x|4' });
    expect(session.delivered).toEqual(['e1', 'e5', 'e6']);
    // Such a server has no history: to ask it for some would be the next gap.
    expect(session.tick()).toEqual([]);
    expect(session.state.synced).toBe(true);
  });

  test('E28 that were held when the room was left may come again', () => {
    const session = gapped();
    event(session, 'e5');
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.tick();
    session.join('a', 'a|x|0');
    session.tick();
    verdict(session, true);
    event(session, 'e5');
    expect(session.delivered).toEqual(['e1', 'e5']);
  });
});

function verdict(session: Play, recovered: boolean, reason?: 'new' | 'expired'): void {
  const place = { room: 'a', epoch: 'x', cursor: 'start', seq: 0 };
  const why = reason === undefined ? {} : { reason };
  session.receive({ kind: 'room', joined: true, ...place, recovered, ...why });
  session.receive({ kind: 'room', room: 'a', caughtUp: true, cursor: 'start' });
}

function event(session: Play, eventId: string, room = 'a'): void {
  session.receive({ kind: 'event', eventId, type: 'a:b', timestamp: 0, room });
}
