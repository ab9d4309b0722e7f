/** Links, handovers, identity, state: what the parts of a session do together. */
import { describe, expect, test } from 'vitest';
import { closeFault } from '../../src/protocol/errors.js';
import { failed, names, type Play, play } from './play.js';

describe('links', () => {
  test('I01 E01 what an old link says changes nothing', () => {
    const session = play().open();
    session.do({ fact: 'reconnectAsked' });
    for (const link of [1, 7]) {
      session.receive({ kind: 'welcome', connectionId: 'late' }, link);
      session.receive({ kind: 'goodbye', reason: 'late' }, link);
      session.lose(undefined, link);
      session.do({ fact: 'opened', link });
    }
    expect([session.phase, session.link, session.all('dial').length]).toEqual(['dialing', 2, 2]);
  });

  test.each(['disconnectAsked', 'closeAsked', 'reconnectAsked'] as const)(
    'I02 E02 %s wins at every await point',
    (fact) => {
      const points: ((session: Play) => unknown)[] = [
        (session) => session.do({ fact: 'connectAsked' }),
        (session) => session.dial(),
        (session) => session.greet(),
        (session) => session.open(),
        (session) => moving(session),
      ];
      for (const bring of points) {
        const session = play({ auth: { timeout: 10_000 } });
        bring(session);
        const { dialed, live } = session.witness.links;
        session.do({ fact });
        const ended = session.all('hangUp').map(({ link }) => link);
        for (const link of [dialed?.link, live]) if (link) expect(ended).toContain(link);
        const after = { disconnectAsked: 'idle', closeAsked: 'closed', reconnectAsked: 'asking' };
        expect(session.phase).toBe(after[fact]);
      }
    },
  );

  test('I03 E03 a link that opens and closes in one tick is a failed attempt', () => {
    const session = play().dial();
    session.greet();
    session.lose();
    expect([session.phase, session.state.reconnectAttempts]).toEqual(['waiting', 1]);
  });

  test('I03 E04 a dial that never answers is given up at its deadline', () => {
    const session = play({ reconnect: { connectTimeout: 5_000 } }).dial();
    session.wait(3_000);
    session.greet();
    expect(session.due).toBe(2_000);
    expect(names(session.wait(2_000))).toEqual(['hangUp']);
    expect(session.phase).toBe('waiting');
  });

  test('I05 E09 the first connect is retried like any other', () => {
    const session = play().dial();
    session.lose();
    expect(session.state.status).toBe('reconnecting');
    session.wait(session.due);
    session.open();
    expect(session.state.status).toBe('connected');
  });

  test.each([1000, 1001, 1005, 1006, 1011, 1012, 4000])(
    'E10 close code %i is a lost connection',
    (code) => {
      const session = play().open();
      session.lose(closeFault(code, ''));
      expect(session.phase).toBe('waiting');
    },
  );

  test.each([
    [1008, 'UNAUTHORIZED'],
    [4403, 'UNAUTHORIZED'],
    [4408, 'TOO_MANY_CONNECTIONS'],
    [4409, 'SUPERSEDED'],
  ])('close code %i closes, and says why', (code, error) => {
    const session = play().open();
    session.lose(closeFault(code, ''));
    expect(session.state).toMatchObject({ status: 'closed', error: { code: error } });
  });

  test('shouldReconnect overrules: false closes, true tries again', () => {
    const never = play({ shouldReconnect: () => false }).open();
    never.lose();
    expect(never.phase).toBe('closed');
    const always = play({ shouldReconnect: () => true }).open();
    always.lose(failed('UNAUTHORIZED'));
    expect(always.phase).toBe('waiting');
  });

  test('E06 connect() twice shares one attempt, and both get its answer', () => {
    const session = play();
    session.do({ fact: 'connectAsked' });
    session.do({ fact: 'connectAsked' });
    expect(session.all('dial')).toHaveLength(1);
    session.open();
    expect(session.all('answerConnects').map(({ error }) => error)).toEqual([null]);
  });
});

describe('a goodbye', () => {
  test('dials the next link while the old one works, and moves over at its welcome', () => {
    const session = moving(play());
    session.ask('q1');
    session.join('a');
    expect(session.tick()).toHaveLength(2);
    expect(session.state.status).toBe('connected');
    session.greet();
    const orders = session.receive({
      kind: 'welcome',
      connectionId: 'c2',
      session: 's1',
      user: 'ann',
    });
    expect(names(orders)).toEqual(['hangUp', 'answerConnects']);
    expect(session.tick()).toContain('q1');
    expect(session.receive({ kind: 'response', requestId: 'q1', success: true }, 1)).toEqual([]);
    session.respond('q1');
    expect(session.outcome('q1')).toBe('settled');
    expect(session.state.status).toBe('connected');
  });

  test('waits for reconnectAfter and its share of spread', () => {
    const session = play({ heartbeat: null }).open();
    session.receive({ kind: 'goodbye', reason: 'deploy', reconnectAfter: 1_000, spread: 4_000 });
    expect(session.due).toBe(3_000);
  });

  test('a second one changes nothing', () => {
    const session = moving(play());
    session.receive({ kind: 'goodbye', reason: 'again' }, 1);
    expect(session.all('dial')).toHaveLength(2);
  });

  test('the old link lost meanwhile: reconnecting, and the dial under way is its attempt', () => {
    const session = moving(play());
    session.lose(undefined, 1);
    expect([session.phase, session.state.status]).toEqual(['dialing', 'reconnecting']);
    session.open();
    expect(session.all('dial')).toHaveLength(2);
  });

  test('the old link told 4409 meanwhile: it was our own next one, so it goes on', () => {
    const session = moving(play());
    session.lose(closeFault(4409, ''), 1);
    expect(session.phase).toBe('dialing');
  });

  test('I18 the next link lost meanwhile: another one after a wait, still connected', () => {
    const session = moving(play({ reconnect: { jitter: 'none' } }));
    session.lose();
    expect([session.phase, session.state.status]).toEqual(['moving', 'connected']);
    session.wait(999);
    expect(session.all('dial')).toHaveLength(2);
    session.wait(1);
    expect(session.all('dial')).toHaveLength(3);
  });

  test('before the welcome is a failed attempt: no loop', () => {
    const session = play().greet();
    expect(names(session.receive({ kind: 'goodbye', reason: 'draining' }))).toEqual(['hangUp']);
    expect([session.phase, session.state.reconnectAttempts]).toEqual(['waiting', 1]);
  });
});

describe('the state', () => {
  test('I21 is the same object while nothing in it changes, frozen, whatever the wall clock does', () => {
    const session = play().open();
    const { session: machine } = session.witness;
    const state = machine.state(0);
    session.receive({ kind: 'ping' });
    session.tick();
    expect(machine.state(0)).toBe(state);
    expect(machine.state(3_600_000)).toBe(state);
    expect(Object.isFrozen(state)).toBe(true);
  });

  test('says when the next attempt starts', () => {
    const session = play().open();
    session.lose();
    expect(session.state.nextRetryAt?.getTime()).toBe(session.now + session.due);
    session.wait(session.due);
    expect(session.state.nextRetryAt).toBeNull();
  });

  test('synced waits for the rooms and for what stood in the outbox at the welcome', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    expect(session.state.synced).toBe(true);
    session.lose();
    session.wait(session.due);
    session.open();
    expect(session.state.synced).toBe(false);
    session.respond('q1');
    expect(session.state.synced).toBe(true);
  });

  test('error says why there is no connection, and nothing while there is one', () => {
    const session = play().open();
    session.lose(failed('RATE_LIMITED'));
    expect(session.state.error?.code).toBe('RATE_LIMITED');
    session.wait(session.due);
    session.open();
    expect(session.state.error).toBeNull();
  });
});

describe('the end', () => {
  test('I04 E17 after close() there is no deadline, and no fact brings one back', () => {
    const session = play({ pauseAfter: 1_000 }).open();
    session.ask('q1');
    session.do({ fact: 'closeAsked' });
    session.do({ fact: 'hid' });
    session.do({ fact: 'woke', buffered: 0 });
    session.do({ fact: 'connectAsked' });
    expect([session.phase, session.due]).toEqual(['closed', Number.POSITIVE_INFINITY]);
  });

  test('I04 idle, nothing is pending but what the application waits for', () => {
    const session = play({ pauseAfter: 1_000 }).open();
    session.do({ fact: 'disconnectAsked' });
    session.do({ fact: 'hid' });
    expect(session.wait(10_000).length).toBeLessThan(3);
    expect(session.due).toBe(Number.POSITIVE_INFINITY);
  });

  test('I20 disconnect() answers a connect() that waits', () => {
    const session = play().dial();
    session.do({ fact: 'disconnectAsked' });
    expect(session.all('answerConnects').map(({ error }) => error?.code)).toEqual([
      'CONNECTION_FAILED',
    ]);
  });

  test('the count of attempts outlives disconnect(), and starts over after closed', () => {
    const session = play({ reconnect: { maxAttempts: 1 } }).dial();
    session.lose();
    session.do({ fact: 'disconnectAsked' });
    expect(session.state.reconnectAttempts).toBe(1);
    session.do({ fact: 'connectAsked' });
    session.lose();
    expect(session.phase).toBe('closed');
    session.do({ fact: 'connectAsked' });
    expect([session.phase, session.state.reconnectAttempts]).toEqual(['dialing', 0]);
  });

  test('I00 facts that concern nothing there is are no harm', () => {
    const session = play();
    session.do({ fact: 'delivered', room: 'none', eventId: 'none' });
    session.do({ fact: 'aborted', requestId: 'none' });
    session.do({ fact: 'healed', room: 'none', run: 3 });
    session.do({ fact: 'joinAborted', room: 'none', call: 3 });
    session.do({ fact: 'received', link: 3, frame: { kind: 'garbled', why: 'noise' } });
    expect(session.orders).toEqual([]);
  });
});

/** Told goodbye, and dialing the next link. */
function moving(session: Play): Play {
  session.open();
  session.receive({ kind: 'goodbye', reason: 'deploy' });
  session.wait(0);
  if (session.witness.links.ask !== null) session.credentials();
  return session;
}
