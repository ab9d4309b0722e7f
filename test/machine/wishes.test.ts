/** How wishes for rooms become frames: how many fit, when they are repeated, and what overtakes what. */
import { describe, expect, test } from 'vitest';
import type { Restored } from '../../src/machine/fact.js';
import { Ledger } from '../../src/machine/ledger.js';
import { Rooms, STORED } from '../../src/machine/rooms.js';
import { Session } from '../../src/machine/session.js';
import { closeFault } from '../../src/protocol/errors.js';
import { type ClientFrame, ME } from '../../src/protocol/frame.js';
import { sessionOptions } from './options.js';
import { failed, names, type Play, play } from './play.js';

const ledger = () => new Ledger();
const refused = { code: 'FORBIDDEN', message: 'no' };

describe('what fits into a frame', () => {
  test('is half of what a server takes; the rest is joined after the welcome, on every link', () => {
    const rooms = crowd(300, 8_192);
    for (let link = 1; link <= 2; link++) {
      expect(rooms.hello()).toHaveLength(128);
      rooms.named(rooms.hello());
      rooms.welcomed(1_000_000);
      expect(sizes(rooms.reconcile(0))).toEqual([128, 44]);
      rooms.unlinked();
    }
  });

  test('is counted in bytes, not in characters', () => {
    const rooms = crowd(0, 8_192);
    for (let count = 0; count < 128; count++) rooms.want(`é${id(count).slice(2)}`, undefined, 1);
    expect(rooms.hello()).toHaveLength(128);
    const longer = crowd(0, 8_192);
    for (let count = 0; count < 128; count++) longer.want(`é${id(count).slice(1)}`, undefined, 1);
    expect(longer.hello()).toHaveLength(124);
  });

  test.each([
    [4_096, 64],
    [1_000_000, 128],
    [100, 32],
  ])('of a server that takes %i is %i rooms', (maxMessageSize, most) => {
    const rooms = crowd(0, 8_192);
    rooms.named(rooms.hello());
    rooms.welcomed(maxMessageSize);
    fill(rooms, most + 1);
    expect(sizes(rooms.reconcile(0))).toEqual([most, 1]);
  });

  test('is the same for what is left', () => {
    const rooms = crowd(100, 8_192);
    rooms.named(rooms.hello());
    rooms.welcomed(4_096);
    for (let count = 0; count < 100; count++) {
      const room = rooms.get(id(count));
      if (room !== undefined) rooms.answered(room);
      rooms.unwant(id(count), false);
    }
    // 20 characters, their quotes and a comma.
    expect(sizes(rooms.reconcile(0))).toEqual([89, 11]);
  });

  test.each([1007, 1009])(
    'is halved where a hello is answered with %i, down to a floor',
    (code) => {
      const limits = { maxMessageSize: 8_192 };
      const session = new Session(sessionOptions({ limits, reconnect: { jitter: 'none' } }));
      for (let count = 0; count < 300; count++) {
        session.step({ fact: 'joinAsked', room: id(count), call: count }, 0, 0);
      }
      session.step({ fact: 'connectAsked' }, 0, 0);
      const named = [1, 2, 3, 4].map((link) => {
        const rooms = session.hello(link).rooms.length;
        session.step({ fact: 'opened', link }, session.deadline, 0);
        session.step({ fact: 'lost', link, fault: closeFault(code, '') }, session.deadline, 0);
        session.step({ fact: 'timeUp', buffered: 0 }, session.deadline, 0);
        return rooms;
      });
      expect(named).toEqual([128, 64, 32, 32]);
    },
  );

  test('stays as it is where a dial fails for another reason', () => {
    const session = play({ limits: { maxMessageSize: 8_192 } });
    for (let count = 0; count < 100; count++) session.join(id(count));
    session.dial();
    for (let count = 0; count < 3; count++) {
      session.greet();
      expect(session.hello.rooms).toHaveLength(100);
      session.lose();
      session.wait(session.due);
    }
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

describe('a verdict out of its turn', () => {
  test('of caughtUp before the room is joined says nothing', () => {
    const session = play().open();
    session.join('a');
    session.tick();
    expect(session.caughtUp('a', '1', 0)).toEqual([]);
    session.joined('a', '1', 0, 'new');
    expect(session.state.synced).toBe(false);
  });

  test('of a leave is not taken for that of the next join', () => {
    const session = joined('a', 5);
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.tick();
    session.join('a', 'a|1|2');
    session.tick();
    session.receive({ kind: 'room', room: 'a', left: true });
    session.joined('a', '1', 2);
    session.event('a', '1', 3);
    expect(session.delivered).toEqual(['a|1|3']);
  });

  test('of a room that was refused for now is not believed', () => {
    const session = play().open();
    session.join('a');
    session.tick();
    const error = { code: 'RATE_LIMITED', message: 'no', retryAfter: 60_000 };
    session.receive({ kind: 'room', room: 'a', error });
    session.joined('a', '1', 5, 'new');
    session.event('a', '1', 6);
    expect([session.delivered, session.witness.session.roomState('a')]).toEqual([[], 'joining']);
  });

  test('that tells of missing history where nobody wants the room any more heals nothing', () => {
    const session = play().open();
    session.join('a', 'a|1|2');
    session.tick();
    session.do({ fact: 'leaveAsked', room: 'a' });
    expect(session.joined('a', '1', 40, 'expired')).toEqual([]);
    expect(session.tick()).toEqual([{ kind: 'leave', rooms: ['a'] }]);
  });

  test('that refuses what was left meanwhile is nobody’s', () => {
    const session = play().open();
    session.join('a');
    session.tick();
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.tick();
    expect(session.receive({ kind: 'room', room: 'a', error: refused })).toEqual([]);
    expect(session.tick()).toEqual([]);
    expect(session.witness.session.roomState('a')).toBe('idle');
  });
});

describe('a call of a join', () => {
  test('I20 from elsewhere in a room that is current is not answered before its verdict', () => {
    const session = joined('a', 5);
    session.do({ fact: 'leaveAsked', room: 'a' });
    const call = session.join('a', 'a|1|2');
    expect(session.all('answerJoins').at(-1)?.calls).not.toEqual([call]);
    session.tick();
    session.joined('a', '1', 2);
    expect(session.caughtUp('a', '1', 5)).toMatchObject([{ calls: [call] }]);
  });

  test('that is aborted leaves the other one its answer', () => {
    const session = play().open();
    const [aborted, other] = [session.join('a'), session.join('a')];
    session.tick();
    session.do({ fact: 'joinAborted', room: 'a', call: aborted });
    session.do({ fact: 'joinAborted', room: 'a', call: aborted });
    session.joined('a', '1', 0, 'new');
    expect(session.caughtUp('a', '1', 0)).toMatchObject([{ calls: [other], error: null }]);
    session.do({ fact: 'leaveAsked', room: 'a' });
    expect(session.tick()).toEqual([{ kind: 'leave', rooms: ['a'] }]);
  });
});

describe('a refusal', () => {
  test('that is only for now is not asked again before its time, whatever else is', () => {
    const session = play({ heartbeat: null }).open();
    for (const [room, later] of [
      ['a', { retryAfter: 2_000 }],
      ['b', { retryAfter: 5_000 }],
      ['c', {}],
    ] as const) {
      session.join(room);
      session.tick();
      const error = { code: 'RATE_LIMITED', message: 'no', retryable: true, ...later };
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

describe('a join from where the storage left a room', () => {
  test('waits for the storage; one from anywhere else, or from nowhere, is not moved by it', () => {
    const session = play({ ledger }).slowStorage();
    session.join('a', STORED);
    session.join('b');
    session.join('c', 'c|1|9');
    session.do({ fact: 'connectAsked' });
    session.do({ fact: 'restored', saved: left(['a', 'b', 'c', 'd']), date: 0 });
    session.join('d', STORED);
    session.join('e', STORED);
    session.greet();
    expect(session.hello.rooms).toStrictEqual([
      { room: 'a', since: 'a|1|5' },
      { room: 'b' },
      { room: 'c', since: 'c|1|9' },
      { room: 'd', since: 'd|1|5' },
      { room: 'e' },
    ]);
  });

  test('starts from nowhere after a leave, before the storage has answered and after it', () => {
    const session = play({ ledger }).slowStorage();
    session.join('a', STORED);
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.join('a');
    session.do({ fact: 'connectAsked' });
    session.do({ fact: 'restored', saved: left(['a', 'b']), date: 0 });
    session.join('b', STORED);
    session.do({ fact: 'leaveAsked', room: 'b' });
    session.join('b', STORED);
    session.greet();
    expect(session.hello.rooms).toStrictEqual([{ room: 'a' }, { room: 'b' }]);
  });

  test('starts from nowhere after a leave that came before the storage was open', () => {
    const session = play({ ledger }).slowStorage();
    session.join('a', STORED);
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.do({ fact: 'restored', saved: left(['a']), date: 0 });
    session.join('a', STORED);
    session.greet();
    expect(session.hello.rooms).toStrictEqual([{ room: 'a' }]);
  });

  test.each<[string, (session: Play, call: number) => unknown]>([
    ['its abort', (session, call) => session.do({ fact: 'joinAborted', room: 'a', call })],
    ['a refusal of the client', (session) => session.lose(failed('UNAUTHORIZED'))],
  ])('is there for the next one after %s', (_name, end) => {
    const session = play({ ledger });
    session.saved = left(['a']);
    const call = session.join('a', STORED);
    session.open();
    end(session, call);
    session.do({ fact: 'disconnectAsked' });
    session.do({ fact: 'connectAsked' });
    session.join('a', STORED);
    session.greet();
    expect(session.hello.rooms).toStrictEqual([{ room: 'a', since: 'a|1|5' }]);
    session.tick();
    session.wait(300);
    expect(session.witness.storage.cursors.get('a')).toBe('a|1|5');
  });

  test('of a room that was left in the same tick asks for nothing: the leave forgot its place', () => {
    const session = play({ ledger }).open();
    session.join('a', STORED);
    session.tick();
    session.joined('a', '1', 5, 'new');
    session.tick();
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.join('a', STORED);
    expect(session.tick()).toEqual([]);
  });
});

describe('synced, before any verdict', () => {
  test.each([
    ['waits for a room from nowhere', (session: Play) => session.join('a'), false],
    ['waits for a room from a cursor', (session: Play) => session.join('a', 'a|1|5'), false],
    ['waits for no @me that nobody has heard of', () => undefined, true],
    ['waits for @me where the storage left it', stored, false],
  ])('%s', (_name, want, synced) => {
    const session = play({ ledger });
    want(session);
    session.open();
    expect(session.state.synced).toBe(synced);
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

function stored(session: Play): void {
  session.saved = left([ME]);
}

/** What a storage holds whose owner stood at 5 in each of these rooms. */
function left(rooms: readonly string[]): Restored {
  const cursors = rooms.map((room) => [room, `${room}|1|5`] as const);
  return { clientId: 'saved', link: 0, user: undefined, requests: [], cursors };
}

/** So many rooms, wanted by a client that takes frames of this size. */
function crowd(count: number, maxMessageSize: number): Rooms {
  const rooms = new Rooms(maxMessageSize);
  fill(rooms, count);
  return rooms;
}

/** Each is 32 bytes in a join, with its comma. */
function fill(rooms: Rooms, count: number): void {
  for (let number = 0; number < count; number++) rooms.want(id(number), undefined, 1);
}

/** 20 characters. */
function id(number: number): string {
  return `room-${String(number).padStart(15, '0')}`;
}

/** How many rooms each frame names. */
function sizes(frames: readonly ClientFrame[]): number[] {
  return frames.map((frame) => ('rooms' in frame ? frame.rooms.length : 0));
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

test('a hello names 1,000 rooms at most, and the rest is joined after the welcome, 1,000 at a time', () => {
  const session = play();
  for (let n = 0; n < 2_500; n++) session.join(`room-${n}`);
  session.open();
  expect(session.hello.rooms).toHaveLength(1_000);
  expect(session.written('join').map(({ rooms }) => rooms.length)).toEqual([1_000, 500]);
});
