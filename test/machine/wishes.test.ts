/** How wishes for rooms become frames: how many fit, when they are repeated, and what overtakes what. */
import { describe, expect, test } from 'vitest';
import { closeFault } from '../../src/protocol/errors.js';
import { ME } from '../../src/protocol/frame.js';
import { failed, names, type Play, play } from './play.js';

const refused = { code: 'FORBIDDEN', message: 'no' };

describe('what fits into a frame', () => {
  test('is half of what a server takes; the rest is joined after the welcome', () => {
    const session = crowd(300, 8_192);
    session.open();
    expect(session.hello.rooms).toHaveLength(128);
    expect(joins(session)).toEqual([128, 44]);
    session.do({ fact: 'reconnectAsked' });
    session.open();
    expect(session.hello.rooms).toHaveLength(128);
    expect(joins(session)).toEqual([128, 44, 128, 44]);
  });

  test('is counted in bytes, not in characters', () => {
    const session = play({ limits: { messagesPerSecond: 100, maxMessageSize: 8_192 } });
    for (let count = 0; count < 128; count++) session.join(`${id(count)}é`.slice(1));
    session.greet();
    expect(session.hello.rooms.length).toBeLessThan(128);
  });

  test.each([
    [4_096, 64],
    [1_000_000, 128],
    [100, 32],
  ])('a server that takes %i gets %i in one', (maxMessageSize, most) => {
    const session = crowd(128 + most + 1, 8_192);
    session.open({ terms: { maxMessageSize } });
    expect(joins(session)).toEqual([most, 1]);
  });

  test.each([1007, 1009])('a hello that is answered with %i is halved, down to a floor', (code) => {
    const session = crowd(300, 8_192).greet();
    const sizes = [1, 2, 3, 4].map(() => {
      session.lose(closeFault(code, ''));
      session.wait(session.due);
      session.greet();
      return session.hello.rooms.length;
    });
    expect(sizes).toEqual([64, 32, 32, 32]);
  });

  test('many rooms are left in frames of the same size', () => {
    const session = crowd(100, 8_192).open({ terms: { maxMessageSize: 4_096 } });
    session.tick();
    for (let count = 0; count < 100; count++) {
      session.joined(id(count), '1', 0, 'new');
      session.do({ fact: 'leaveAsked', room: id(count) });
    }
    session.tick();
    // "room-…" with its quotes and a comma: 23 bytes.
    expect(session.written('leave').map(({ rooms }) => rooms.length)).toEqual([89, 11]);
  });
});

describe('the state of a room', () => {
  test('is told by what is wanted and what the link knows', () => {
    const session = play();
    const { session: machine } = session.witness;
    const states = [machine.roomState('a')];
    const look = (what: () => unknown) => {
      what();
      states.push(machine.roomState('a'));
    };
    look(() => session.join('a'));
    look(() => session.open());
    look(() => session.joined('a', '1', 0, 'new'));
    look(() => session.lose());
    look(() => session.wait(session.due));
    look(() => session.open());
    look(() => session.joined('a', '1', 0));
    look(() => session.do({ fact: 'leaveAsked', room: 'a' }));
    look(() => session.tick());
    look(() => session.join('a'));
    look(() => session.tick());
    look(() => session.receive({ kind: 'room', room: 'a', error: refused }));
    look(() => session.join('a'));
    look(() => session.do({ fact: 'leaveAsked', room: 'a' }));
    expect(states).toEqual([
      'idle',
      'joining',
      'joining',
      'joined',
      'joining',
      'joining',
      'joining',
      'joined',
      'idle',
      'idle',
      'joining',
      'joining',
      'refused',
      'joining',
      'idle',
    ]);
  });
});

describe('a second join of a room', () => {
  test('asks for nothing, while its verdict is awaited and after it, whatever its since', () => {
    const session = play().open();
    session.join('a', 'a|1|2');
    expect(session.tick()).toHaveLength(1);
    session.join('a');
    expect(session.tick()).toEqual([]);
    session.joined('a', '1', 2);
    session.join('a', 'a|1|1');
    expect(session.tick()).toEqual([]);
  });

  test('I20 waits with the first one, also when one of them is left', () => {
    const session = play().open();
    const calls = [session.join('a'), session.join('a')];
    session.tick();
    expect(session.do({ fact: 'leaveAsked', room: 'a' })).toEqual([]);
    session.joined('a', '1', 0, 'new');
    expect(session.caughtUp('a', '1', 0)).toEqual([{ order: 'answerJoins', calls, error: null }]);
    session.event('a', '1', 1);
    expect(session.delivered).toEqual(['a|1|1']);
  });
});

describe('a room that is left', () => {
  test('twice in one tick is left once: one join brings it back, unasked', () => {
    const session = joined('a', 5);
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.join('a');
    expect(session.tick()).toEqual([]);
    session.event('a', '1', 6);
    expect(session.delivered).toEqual(['a|1|6']);
  });

  test.each([
    ['on the link', (session: Play) => session.tick()],
    ['before the link is lost', (session: Play) => session.lose()],
  ])('%s is joined anew, from nowhere', (_name, end) => {
    const session = joined('a', 5);
    session.do({ fact: 'leaveAsked', room: 'a' });
    end(session);
    session.join('a');
    expect(asked(session)).toStrictEqual({ room: 'a' });
  });

  test('without a link is joined anew, from nowhere', () => {
    const session = joined('a', 5);
    session.lose();
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.join('a');
    expect(asked(session)).toStrictEqual({ room: 'a' });
  });

  test.each([undefined, 'a|1|2'])('before it was asked for (from %s) costs no frame', (since) => {
    const session = play().open();
    session.join('a', since);
    session.do({ fact: 'leaveAsked', room: 'a' });
    expect(session.tick()).toEqual([]);
  });

  test('before it is caught up leaves the others in sync', () => {
    const session = joined('a', 5);
    session.join('b');
    session.tick();
    session.joined('b', '1', 0, 'new');
    expect(session.state.synced).toBe(false);
    session.do({ fact: 'leaveAsked', room: 'b' });
    expect(session.state.synced).toBe(true);
  });

  test('by a refusal of the client is not asked for after the next connect()', () => {
    const session = play().open();
    session.join('a');
    session.tick();
    session.lose(failed('UNAUTHORIZED'));
    session.do({ fact: 'connectAsked' });
    session.open();
    expect([session.hello.rooms, session.tick()]).toEqual([[], []]);
    expect(session.written('leave')).toEqual([]);
  });
});

describe('between a hello and its welcome', () => {
  test('what is joined is asked for after it', () => {
    const session = play().greet();
    session.join('a');
    session.open();
    expect(session.written('join')).toEqual([{ kind: 'join', rooms: [{ room: 'a' }] }]);
  });

  test('what is wanted from elsewhere is asked for again, and only that answer counts', () => {
    const session = joined('a', 9);
    session.do({ fact: 'reconnectAsked' });
    session.greet();
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.join('a', 'a|1|2');
    session.open();
    expect(session.written('join').at(-1)).toEqual({
      kind: 'join',
      rooms: [{ room: 'a', since: 'a|1|2' }],
    });
    session.joined('a', '1', 9);
    session.joined('a', '1', 2);
    session.event('a', '1', 3);
    expect(session.delivered).toEqual(['a|1|3']);
  });
});

describe('a verdict', () => {
  test('E24 that comes in the tick of a join from elsewhere is not that one’s', () => {
    const session = play().open();
    session.join('a');
    session.tick();
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.join('a', 'a|1|2');
    session.joined('a', '1', 9, 'new');
    expect(session.tick()).toEqual([{ kind: 'join', rooms: [{ room: 'a', since: 'a|1|2' }] }]);
    session.joined('a', '1', 2);
    session.event('a', '1', 3);
    expect(session.delivered).toEqual(['a|1|3']);
  });

  test('E24 that nobody asked for is not taken for the next one', () => {
    const session = joined('a', 5);
    session.joined('a', '1', 5);
    for (const since of ['a|1|1', 'a|1|2']) {
      session.do({ fact: 'leaveAsked', room: 'a' });
      session.join('a', since);
      expect(session.tick()).toEqual([{ kind: 'join', rooms: [{ room: 'a', since }] }]);
    }
    session.joined('a', '1', 1);
    session.event('a', '1', 2);
    session.joined('a', '1', 2);
    session.event('a', '1', 3);
    expect(session.delivered).toEqual(['a|1|3']);
  });
});

describe('a refusal', () => {
  test('that is only for now is not asked again before its time, whatever else is', () => {
    const session = play({ heartbeat: null }).open();
    for (const [room, retryAfter] of [
      ['a', 2_000],
      ['b', 5_000],
      ['c', undefined],
    ] as const) {
      session.join(room);
      session.tick();
      const error = { code: 'RATE_LIMITED', message: 'no', retryable: true, retryAfter };
      expect(session.receive({ kind: 'room', room, error })).toEqual([]);
      expect(session.tick()).toEqual([]);
    }
    const at: [number, string[]][] = [];
    const start = session.now;
    const count = session.written('join').length;
    for (let ms = 0; ms < 6_000; ms += 500) {
      const before = session.written('join').length;
      session.wait(500);
      const rooms = session
        .written('join')
        .slice(before)
        .flatMap((frame) => frame.rooms);
      if (rooms.length > 0) at.push([session.now - start, rooms.map(({ room }) => room)]);
    }
    expect(at).toEqual([
      [1_000, ['c']],
      [2_000, ['a']],
      [5_000, ['b']],
    ]);
    expect(session.written('join')).toHaveLength(count + 3);
  });

  test('that is only for now: left meanwhile, nothing is written', () => {
    const session = play().open();
    session.join('a');
    session.tick();
    const error = { code: 'RATE_LIMITED', message: 'no', retryAfter: 2_000 };
    session.receive({ kind: 'room', room: 'a', error });
    session.tick();
    session.do({ fact: 'leaveAsked', room: 'a' });
    expect(session.tick()).toEqual([]);
  });

  test('E29 leaves nothing of its room: a later join starts from nowhere', () => {
    const session = joined('a', 5);
    session.receive({ kind: 'room', room: 'a', error: refused });
    session.join('a');
    expect(session.tick()).toStrictEqual([{ kind: 'join', rooms: [{ room: 'a' }] }]);
  });

  test('E29 of @me is reported on each link, and named again with its cursor on the next', () => {
    const session = play().open();
    for (const link of [1, 2]) {
      session.joined(ME, '1', 4, link === 1 ? 'new' : undefined);
      const orders = session.receive({ kind: 'room', room: ME, error: refused });
      expect(names(orders)).toEqual(['report']);
      expect(session.tick()).toEqual([]);
      session.do({ fact: 'reconnectAsked' });
      session.open();
      expect(session.hello.rooms).toEqual([{ room: ME, since: `${ME}|1|4` }]);
    }
  });
});

test('synced waits for a room that stands at 0, too', () => {
  const session = play().open();
  session.join('a');
  session.tick();
  session.joined('a', '1', 0, 'new');
  expect(session.state.synced).toBe(false);
  session.caughtUp('a', '1', 0);
  expect(session.state.synced).toBe(true);
});

/** So many rooms, each of 32 bytes in a join, wanted by a client that takes frames of this size. */
function crowd(count: number, maxMessageSize: number): Play {
  const session = play({ limits: { maxMessageSize } });
  for (let number = 0; number < count; number++) session.join(id(number));
  return session;
}

/** 20 characters. */
function id(number: number): string {
  return `room-${String(number).padStart(15, '0')}`;
}

/** How many rooms each join frame named. */
function joins(session: Play): number[] {
  return session.written('join').map(({ rooms }) => rooms.length);
}

/** On a link, in this room at `seq` of epoch 1, caught up, and nothing left to write. */
function joined(room: string, seq: number): Play {
  const session = play().open();
  session.join(room);
  session.tick();
  session.joined(room, '1', seq, 'new');
  session.caughtUp(room, '1', seq);
  session.tick();
  return session;
}

/** How the room is asked for next: on this link, or in the hello of another one. */
function asked(session: Play): unknown {
  if (session.phase === 'open') {
    session.tick();
    return session.written('join').at(-1)?.rooms[0];
  }
  session.wait(session.due);
  session.greet();
  return session.hello.rooms[0];
}
