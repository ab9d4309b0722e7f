/** Which rooms are wanted, and that the server's set becomes the same, with as few frames as can be. */
import { describe, expect, test } from 'vitest';
import { ME } from '../../src/protocol/frame.js';
import { failed, names, type Play, play } from './play.js';

describe('the wanted set', () => {
  test('I25 E23 stands in the hello, whatever was joined and left during the outage', () => {
    const session = play().open();
    join(session, 'a', 3);
    session.join('b');
    session.tick();
    session.joined('b', '1', 0, 'new');
    session.lose();
    session.do({ fact: 'leaveAsked', room: 'b' });
    session.join('c', 'c|1|9');
    session.wait(session.due);
    session.greet();
    expect(session.hello.rooms).toEqual([
      { room: 'a', since: 'a|1|3' },
      { room: 'c', since: 'c|1|9' },
    ]);
  });

  test('E23 of a thousand rooms takes one hello and no join', () => {
    const session = play();
    for (let count = 0; count < 1_000; count++) session.join(`room-${count}`);
    session.open();
    expect(session.hello.rooms).toHaveLength(1_000);
    expect(session.written('join')).toEqual([]);
  });

  test('what is joined in one tick goes in one frame, what is left in another', () => {
    const session = play().open();
    join(session, 'a', 0);
    session.join('b');
    session.join('c');
    session.do({ fact: 'leaveAsked', room: 'a' });
    expect(session.tick()).toEqual([
      { kind: 'leave', rooms: ['a'] },
      { kind: 'join', rooms: [{ room: 'b' }, { room: 'c' }] },
    ]);
  });

  test('counts: as many leaves as joins', () => {
    const session = play().open();
    join(session, 'a', 0);
    session.join('a');
    session.do({ fact: 'leaveAsked', room: 'a' });
    expect(session.tick()).toEqual([]);
    session.do({ fact: 'leaveAsked', room: 'a' });
    expect(session.tick()).toEqual([{ kind: 'leave', rooms: ['a'] }]);
    session.do({ fact: 'leaveAsked', room: 'a' });
    expect(session.tick()).toEqual([]);
  });

  test('E24 join, leave, join in one tick ends joined, with one join and no leave', () => {
    const session = play().open();
    session.join('a');
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.join('a');
    expect(session.tick()).toEqual([{ kind: 'join', rooms: [{ room: 'a' }] }]);
  });

  test('I25 E24 a leave during a join is sent after its answer', () => {
    const session = play().open();
    session.join('a');
    session.tick();
    session.do({ fact: 'leaveAsked', room: 'a' });
    expect(session.tick()).toEqual([]);
    session.joined('a', '1', 0, 'new');
    expect(session.tick()).toEqual([{ kind: 'leave', rooms: ['a'] }]);
  });

  test('I25 a room that is left and joined from elsewhere in one tick is asked for from there', () => {
    const session = play().open();
    join(session, 'a', 9);
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.join('a', 'a|1|2');
    expect(session.tick()).toEqual([{ kind: 'join', rooms: [{ room: 'a', since: 'a|1|2' }] }]);
    session.joined('a', '1', 2);
    session.event('a', '1', 3);
    expect(session.delivered).toEqual(['a|1|3']);
  });

  test('I25 and left again in the same tick it is left', () => {
    const session = play().open();
    join(session, 'a', 9);
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.join('a', 'a|1|2');
    session.do({ fact: 'leaveAsked', room: 'a' });
    expect(session.tick()).toEqual([{ kind: 'leave', rooms: ['a'] }]);
  });

  test('I25 a room that is left during a handover is left on the next link too', () => {
    const session = play().open();
    join(session, 'a', 0);
    session.receive({ kind: 'goodbye', reason: 'deploy' });
    session.wait(0);
    session.greet();
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.tick();
    session.open();
    session.joined('a', '1', 0);
    expect(session.tick()).toEqual([{ kind: 'leave', rooms: ['a'] }]);
  });

  test('I25 a room that was left before a new link and joined again stays joined', () => {
    const session = play().open();
    const call = session.join('a');
    session.do({ fact: 'joinAborted', room: 'a', call });
    session.do({ fact: 'reconnectAsked' });
    session.join('a');
    session.open();
    session.joined('a', '1', 0, 'new');
    session.tick();
    session.event('a', '1', 1);
    expect(session.delivered).toEqual(['a|1|1']);
  });
});

describe('a join', () => {
  test('I20 is answered when the room is caught up, every call of it', () => {
    const session = play().open();
    const calls = [session.join('a'), session.join('a')];
    session.tick();
    expect(session.joined('a', '1', 0, 'new')).toEqual([]);
    expect(session.caughtUp('a', '1', 0)).toEqual([{ order: 'answerJoins', calls, error: null }]);
    const late = session.join('a');
    expect(session.all('answerJoins').at(-1)).toEqual({
      order: 'answerJoins',
      calls: [late],
      error: null,
    });
  });

  test('I20 behind a gap is answered when onGap has healed it', () => {
    const session = play();
    const call = session.join('a', 'a|1|2');
    session.open();
    session.joined('a', '2', 9, 'epoch');
    expect(session.caughtUp('a', '2', 9)).toEqual([]);
    const orders = session.do({ fact: 'healed', room: 'a', run: 1 });
    expect(orders).toEqual([{ order: 'answerJoins', calls: [call], error: null }]);
  });

  test('E24 the answer to one that another has overtaken is no answer', () => {
    const session = play().open();
    session.join('a');
    session.tick();
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.join('a', 'a|1|3');
    session.tick();
    session.joined('a', '1', 7, 'new');
    session.joined('a', '1', 3);
    session.event('a', '1', 4);
    expect(session.delivered).toEqual(['a|1|4']);
  });

  test('that is left fails; that is aborted is nobody’s to answer', () => {
    const session = play().open();
    const [left, aborted] = [session.join('a'), session.join('b')];
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.do({ fact: 'joinAborted', room: 'b', call: aborted });
    expect(session.all('answerJoins').map(({ calls }) => calls)).toEqual([[left]]);
    session.tick();
    expect(session.written('join')).toEqual([]);
  });

  test.each(['closeAsked', 'refused'] as const)(
    'I24 E30 %s: it fails, and so does one that comes later',
    (how) => {
      const session = play().open();
      const calls = [session.join('a')];
      if (how === 'closeAsked') session.do({ fact: how });
      else session.lose(failed('UNAUTHORIZED'));
      calls.push(session.join('b'));
      expect(session.all('answerJoins').flatMap((one) => one.calls)).toEqual(calls);
      expect(session.all('answerJoins').every(({ error }) => error !== null)).toBe(true);
    },
  );
});

describe('a refusal', () => {
  const refused = { code: 'FORBIDDEN', message: 'no' };

  test('E29 fails the join, is not repeated, and leaves the other rooms alone', () => {
    const session = play();
    const call = session.join('a');
    session.join('b');
    session.open();
    const [order] = session.receive({ kind: 'room', room: 'a', error: refused });
    expect(order).toMatchObject({
      order: 'answerJoins',
      calls: [call],
      error: { code: 'FORBIDDEN' },
    });
    expect(session.witness.session.roomState('a')).toBe('refused');
    session.joined('b', '1', 0, 'new');
    session.lose();
    session.wait(session.due);
    session.greet();
    expect(session.hello.rooms.map(({ room }) => room)).toEqual(['b']);
  });

  test('E29 of a room that was joined is reported, once', () => {
    const session = play().open();
    join(session, 'a', 0);
    expect(names(session.receive({ kind: 'room', room: 'a', error: refused }))).toEqual(['report']);
    expect(session.tick()).toEqual([]);
  });

  test('E29 of @me is not asked for again on this link', () => {
    const session = play().open();
    session.joined(ME, '1', 0, 'new');
    session.receive({ kind: 'room', room: ME, error: refused });
    expect(session.tick()).toEqual([]);
    expect(session.written('join')).toEqual([]);
  });

  test('that is only for now is asked again after retryAfter', () => {
    const session = play();
    session.join('a');
    session.open();
    const error = { ...refused, code: 'RATE_LIMITED', retryAfter: 2_000 };
    session.receive({ kind: 'room', room: 'a', error });
    session.wait(1_999);
    expect(session.written('join')).toEqual([]);
    session.wait(1);
    expect(session.written('join')).toEqual([{ kind: 'join', rooms: [{ room: 'a' }] }]);
  });

  test('I25 in the tick of a hole is overtaken by the join that the hole asks for', () => {
    const session = play().open();
    join(session, 'a', 0);
    session.event('a', '1', 2);
    session.receive({ kind: 'room', room: 'a', error: refused });
    expect(session.tick()).toEqual([{ kind: 'join', rooms: [{ room: 'a', since: 'a|1|0' }] }]);
    session.receive({ kind: 'room', room: 'a', error: refused });
    expect(session.tick()).toEqual([]);
    expect(session.witness.session.roomState('a')).toBe('refused');
  });
});

describe('@me', () => {
  test('is joined unasked, and named in a hello for its cursor', () => {
    const session = play().open();
    expect(session.hello.rooms).toEqual([]);
    session.joined(ME, '1', 4, 'new');
    session.event(ME, '1', 5);
    session.lose();
    session.wait(session.due);
    session.greet();
    expect(session.hello.rooms).toEqual([{ room: ME, since: `${ME}|1|5` }]);
  });

  test('E41 of another user starts new, without a gap', () => {
    const session = play().open({ user: 'ann' });
    session.joined(ME, '1', 4, 'new');
    session.lose();
    session.wait(session.due);
    session.greet();
    session.open({ user: 'bob' });
    session.joined(ME, '9', 0, 'epoch');
    session.event(ME, '9', 1);
    expect(session.all('heal')).toEqual([]);
    expect(session.written('join')).toEqual([]);
    expect(session.delivered).toEqual([`${ME}|9|1`]);
  });

  test('cannot be left', () => {
    const session = play().open();
    session.joined(ME, '1', 4, 'new');
    session.do({ fact: 'leaveAsked', room: ME });
    expect(session.tick()).toEqual([]);
  });
});

/** Joins a room on the live link, at `seq` of epoch 1. */
function join(session: Play, room: string, seq: number): void {
  session.join(room);
  session.tick();
  session.joined(room, '1', seq, 'new');
  session.caughtUp(room, '1', seq);
}
