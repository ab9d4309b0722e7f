/** Verdicts on a place that the listeners have left behind, and news that is no answer. */
import { expect, test } from 'vitest';
import { type Play, play } from './play.js';

/** A room caught up to event 5, its next link welcomed, which was opened from there; event 6 came meanwhile. */
function moving(): Play {
  const session = play();
  session.join('a', 'a|1|5');
  session.open();
  session.joined('a', '1', 5);
  const old = session.link;
  session.receive({ kind: 'goodbye', reason: 'deploy' });
  session.wait(0);
  session.do({ fact: 'opened', link: session.link });
  const next = session.link;
  session.receive(
    { kind: 'event', eventId: 'a|1|6', type: 'a:b', timestamp: 0, room: 'a', seq: 6 },
    old,
  );
  session.receive({ kind: 'welcome', connectionId: 'c2', session: 's1', user: 'ann' }, next);
  session.tick();
  return session;
}

function expired(session: Play, since: string | undefined): void {
  const about = since === undefined ? {} : { since };
  session.receive({
    kind: 'room',
    room: 'a',
    joined: true,
    epoch: '1',
    cursor: 'a|1|9',
    seq: 9,
    recovered: false,
    reason: 'expired',
    ...about,
  });
}

test('history that is missing where the link was opened is asked for from where the listeners are', () => {
  const session = moving();
  expired(session, 'a|1|5');
  session.tick();
  expect(session.all('heal')).toEqual([]);
  expect(session.written('join').at(-1)?.rooms).toEqual([{ room: 'a', since: 'a|1|6' }]);
  session.joined('a', '1', 6);
  session.event('a', '1', 7);
  expect(session.delivered).toEqual(['a|1|6', 'a|1|7']);
});

test('a server that names another place again is believed: not a loop, a gap', () => {
  const session = moving();
  expired(session, 'a|1|5');
  session.tick();
  expired(session, 'a|1|5');
  expect(session.all('heal')).toHaveLength(1);
});

test('a server that does not say what it answers is asked once more too, and then believed', () => {
  const session = moving();
  expired(session, undefined);
  session.tick();
  expect(session.written('join').at(-1)?.rooms).toEqual([{ room: 'a', since: 'a|1|6' }]);
  expect(session.all('heal')).toEqual([]);
  expired(session, undefined);
  expect(session.all('heal')).toHaveLength(1);
});

test('a join from nowhere says nothing of a room that stands somewhere by the time of its answer', () => {
  const session = play();
  session.open();
  const old = session.link;
  session.receive({ kind: 'goodbye', reason: 'deploy' });
  session.join('a');
  session.tick();
  session.wait(0);
  session.do({ fact: 'opened', link: session.link });
  const next = session.link;
  expect(session.hello.rooms).toContainEqual({ room: 'a' });
  session.receive(
    { kind: 'room', room: 'a', joined: true, epoch: '1', cursor: 'a|1|5', seq: 5, recovered: true },
    old,
  );
  session.receive(
    { kind: 'event', eventId: 'a|1|6', type: 'a:b', timestamp: 0, room: 'a', seq: 6 },
    old,
  );
  session.receive({ kind: 'welcome', connectionId: 'c2', session: 's1', user: 'ann' }, next);
  session.joined('a', '1', 8, 'new');
  expect(session.tick()).toEqual([{ kind: 'join', rooms: [{ room: 'a', since: 'a|1|6' }] }]);
  session.joined('a', '1', 6);
  for (const seq of [7, 8]) session.event('a', '1', seq);
  expect(session.all('heal')).toEqual([]);
  expect(session.delivered).toEqual(['a|1|6', 'a|1|7', 'a|1|8']);
});

test('news of a gap is no answer to a join that is under way, where the server says what it answers', () => {
  const session = moving();
  expired(session, 'a|1|5');
  session.tick();
  // The old reader fell out of the journal; the answer to the join comes after it.
  expired(session, undefined);
  expect(session.all('heal')).toEqual([]);
  session.joined('a', '1', 6);
  session.event('a', '1', 7);
  expect(session.delivered.at(-1)).toBe('a|1|7');
  // With no join under way it is what it says.
  expired(session, undefined);
  expect(session.all('heal')).toHaveLength(1);
});

test('a reader that starts anew where the listeners are already has lost nothing of theirs', () => {
  const session = moving();
  session.joined('a', '1', 5);
  session.event('a', '1', 6);
  session.receive({
    kind: 'room',
    room: 'a',
    joined: true,
    epoch: '1',
    cursor: 'a|1|6',
    seq: 6,
    recovered: false,
    reason: 'expired',
  });
  session.event('a', '1', 7);
  expect(session.all('heal')).toEqual([]);
  expect(session.delivered).toEqual(['a|1|6', 'a|1|7']);
});
