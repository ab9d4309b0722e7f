/** What a link presents, why it is hung up, on which terms it runs, and what is seen and counted of that. */
import { describe, expect, test } from 'vitest';
import { Session } from '../../src/machine/session.js';
import type { ConnectionState } from '../../src/machine/status.js';
import { PROTOCOL } from '../../src/protocol/frame.js';
import { sessionOptions } from './options.js';
import { failed, names, only, type Play, play } from './play.js';

const auth = { timeout: 10_000 };

describe('a hello', () => {
  test('names the protocol, the client, its link, and the rooms; the rest where there is any', () => {
    const session = play().greet();
    expect(session.hello).toStrictEqual({
      kind: 'hello',
      protocol: PROTOCOL,
      clientId: 'client',
      link: 1,
      rooms: [],
    });
    const known = play({ auth }).open({ session: 's7' });
    known.do({ fact: 'reconnectAsked' });
    known.credentials('fresh');
    known.greet();
    expect(known.hello).toStrictEqual({
      kind: 'hello',
      protocol: PROTOCOL,
      clientId: 'client',
      link: 2,
      auth: { token: 'fresh' },
      session: 's7',
      rooms: [],
    });
  });

  test('asks for a clientId once, and not before a link opens', () => {
    let asked = 0;
    const session = play({ clientId: () => `client-${++asked}` }).dial();
    expect(asked).toBe(0);
    session.greet().lose();
    session.wait(session.due);
    session.greet();
    expect(session.hello.clientId).toBe('client-1');
  });
});

describe('a link is hung up with 1000 and a reason', () => {
  test.each<[string, (session: Play) => unknown]>([
    ['reconnecting', (session) => session.do({ fact: 'reconnectAsked' })],
    ['disconnected', (session) => session.do({ fact: 'disconnectAsked' })],
    ['closed', (session) => session.do({ fact: 'closeAsked' })],
    ['page suspended', (session) => session.do({ fact: 'suspended' })],
    ['connect timeout', (session) => session.wait(15_000)],
    ['turned away', (session) => session.receive({ kind: 'goodbye', reason: 'draining' })],
    ['refused', (session) => session.receive({ kind: 'error', error: refusal })],
  ])('%s, while it is greeted', (reason, end) => {
    const session = play().greet();
    end(session);
    expect(session.all('hangUp')[0]).toEqual({ order: 'hangUp', link: 1, code: 1000, reason });
  });

  test.each<[string, (session: Play) => unknown]>([
    ['reconnecting', (session) => session.do({ fact: 'reconnectAsked' })],
    ['disconnected', (session) => session.do({ fact: 'disconnectAsked' })],
    ['closed', (session) => session.do({ fact: 'closeAsked' })],
    ['page suspended', (session) => session.do({ fact: 'suspended' })],
    ['no heartbeat', (session) => session.wait(30_000)],
    ['refused', (session) => session.receive({ kind: 'error', error: refusal })],
    ['moved to another link', (session) => move(session)],
  ])('%s, while it is in use', (reason, end) => {
    const session = play().open();
    end(session);
    expect(session.all('hangUp')).toEqual([{ order: 'hangUp', link: 1, code: 1000, reason }]);
  });
});

describe('an error frame', () => {
  test('about the client’s right to be there ends a link in use', () => {
    const session = play().open();
    const orders = session.receive({ kind: 'error', error: refusal });
    expect(names(orders)).toContain('hangUp');
    expect(session.state).toMatchObject({ status: 'closed', error: { code: 'UNAUTHORIZED' } });
  });

  test('of any other kind is reported as it is, and the link stays', () => {
    const session = play().open();
    const error = { code: 'SERVER_ERROR', message: 'oops', retryAfter: 7, details: { a: 1 } };
    expect(session.receive({ kind: 'error', error })).toMatchObject([{ order: 'report', error }]);
    expect(session.phase).toBe('open');
  });
});

describe('the terms of a link', () => {
  test('no server makes a client ping more often than every 50 ms', () => {
    const session = play().open({ terms: { heartbeat: { interval: 0, timeout: -1 } } });
    expect(session.due).toBe(50);
    expect(session.wait(100).map(({ order }) => order)).toContain('hangUp');
    const patient = play().open({ terms: { heartbeat: { interval: 60, timeout: 70 } } });
    expect(patient.due).toBe(60);
    patient.wait(60);
    expect(patient.due).toBe(70);
  });

  test.each([
    [500, 100, 100],
    [100, 500, 100],
  ])('of %i bytes and a server’s %i the smaller one holds', (ours, theirs, limit) => {
    const session = play({ limits: { maxMessageSize: ours } });
    session.open({ terms: { maxMessageSize: theirs } });
    session.ask('q1', { bytes: limit + 1 });
    session.ask('q2', { bytes: limit });
    expect([session.outcome('q1'), session.outcome('q2')]).toEqual(['MESSAGE_TOO_LARGE', null]);
  });

  test('that the next server does not repeat are the defaults again', () => {
    const session = play().open({ terms: { retrySpread: 20_000 } });
    session.do({ fact: 'reconnectAsked' });
    session.open();
    session.lose();
    expect(session.due).toBe(725);
  });
});

describe('a link that is dialed', () => {
  test('I01 is not opened by word of another one', () => {
    const session = play().dial();
    session.lose();
    session.wait(session.due);
    session.do({ fact: 'opened', link: 1 });
    session.now += 500;
    session.open();
    expect(session.state.latency).toBe(0);
  });
});

describe('a fault', () => {
  test.each([
    ['of the same code as the last error frame', 'RATE_LIMITED', 9_000],
    ['of another code', 'SERVER_ERROR', 725],
  ])('%s waits %s: %i ms', (_name, code, ms) => {
    const session = play({ heartbeat: null }).open();
    session.receive({
      kind: 'error',
      error: { code: 'RATE_LIMITED', message: 'no', retryAfter: 9_000 },
    });
    session.lose(failed(code));
    expect([session.due, session.state.error?.code]).toEqual([ms, code]);
    session.wait(ms);
    session.open();
    session.lose(failed('RATE_LIMITED'));
    expect(session.due).toBeLessThan(9_000);
  });
});

describe('a handover', () => {
  test('a second goodbye leaves the dial under way as it is', () => {
    const session = moving(play());
    session.receive({ kind: 'goodbye', reason: 'again' }, 1);
    session.greet().open();
    expect([session.phase, session.witness.links.live]).toEqual(['open', 2]);
  });

  test('whose dial failed leaves no error behind for a page that is put aside', () => {
    const session = moving(play());
    session.lose(undefined, 2);
    session.do({ fact: 'suspended' });
    expect(session.state).toMatchObject({ status: 'reconnecting', error: null });
  });

  test('I02 that is refused for good closes, once the old link is gone too', () => {
    const session = moving(play());
    session.lose(failed('UNAUTHORIZED'), 1);
    expect(session.state).toMatchObject({ status: 'closed', error: { code: 'UNAUTHORIZED' } });
  });

  test('whose dial is refused for good closes at once: the next server says the same', () => {
    const session = moving(play());
    session.lose(failed('UNAUTHORIZED'), 2);
    expect(session.state).toMatchObject({ status: 'closed', error: { code: 'UNAUTHORIZED' } });
  });

  test('whose dial fails shows no error while the old link works', () => {
    const session = moving(play());
    session.lose(undefined, 2);
    expect(session.state).toMatchObject({ status: 'connected', error: null, nextRetryAt: null });
  });

  test('asks for credentials anew, and its greeting has a deadline of its own', () => {
    const session = play({ auth, heartbeat: null, reconnect: { connectTimeout: 4_000 } }).open();
    session.wait(10_000);
    session.receive({ kind: 'goodbye', reason: 'deploy' });
    session.wait(0);
    session.credentials('next');
    session.greet();
    expect([session.hello.auth, session.due]).toEqual([{ token: 'next' }, 4_000]);
    expect(names(session.wait(4_000))).toEqual(['hangUp']);
    expect([session.phase, session.all('hangUp')[0]?.link]).toEqual(['moving', 2]);
  });
});

describe('the status', () => {
  test.each<[string, (session: Play) => unknown]>([
    ['reconnectAsked', (session) => session.do({ fact: 'reconnectAsked' })],
    ['suspended', (session) => session.do({ fact: 'suspended' })],
    [
      'woke',
      (session) => {
        session.do({ fact: 'suspended' });
        session.do({ fact: 'woke', buffered: 0 });
      },
    ],
  ])(
    'stays "connecting" through %s before a first failure, "reconnecting" after it',
    (_name, act) => {
      const first = play().dial();
      act(first);
      expect(first.state.status).toBe('connecting');
      const second = play().dial();
      second.lose();
      act(second);
      expect(second.state.status).toBe('reconnecting');
    },
  );

  test('woke changes nothing while an attempt is under way', () => {
    const session = play().dial();
    expect(session.do({ fact: 'woke', buffered: 0 })).toEqual([]);
    expect([session.phase, session.link]).toEqual(['dialing', 1]);
  });

  test('with failFast the first failure is told, a later one is not the first', () => {
    const session = play({ reconnect: { failFast: true } }).dial();
    session.lose(failed('RATE_LIMITED'));
    expect(session.state).toMatchObject({
      status: 'disconnected',
      error: { code: 'RATE_LIMITED' },
    });
    session.open();
    session.lose();
    expect(session.state.status).toBe('reconnecting');
  });

  test('after disconnect() has no error, whatever came before', () => {
    const session = play().dial();
    session.lose(failed('RATE_LIMITED'));
    session.do({ fact: 'disconnectAsked' });
    expect(session.state.error).toBeNull();
    session.do({ fact: 'connectAsked' });
    expect(session.state.error).toBeNull();
  });
});

describe('the state', () => {
  test('of a client that never connected', () => {
    expect(play().state).toStrictEqual({
      status: 'disconnected',
      synced: false,
      lastConnected: null,
      reconnectAttempts: 0,
      nextRetryAt: null,
      latency: null,
      transport: null,
      queued: 0,
      error: null,
    });
  });

  test('of a connected one, and of the same one when it has lost its link', () => {
    const session = play();
    session.ask('q1');
    session.greet();
    session.now += 12.34;
    session.open();
    const lastConnected = new Date(session.now);
    const connected = {
      status: 'connected',
      synced: false,
      lastConnected,
      reconnectAttempts: 0,
      nextRetryAt: null,
      latency: 12.3,
      transport: 'memory',
      queued: 1,
      error: null,
    };
    expect(session.state).toEqual(connected);
    session.now += 1_000;
    session.lose(failed('RATE_LIMITED'));
    expect(session.state).toMatchObject({
      status: 'reconnecting',
      synced: false,
      lastConnected,
      reconnectAttempts: 1,
      nextRetryAt: new Date(session.now + 725),
      latency: null,
      transport: null,
      queued: 1,
      error: { code: 'RATE_LIMITED' },
    });
  });

  test('tells moments in Unix time', () => {
    const session = new Session(sessionOptions());
    const frame = { kind: 'welcome', connectionId: 'c' } as const;
    session.step({ fact: 'connectAsked' }, 1_000, 0);
    session.step({ fact: 'opened', link: 1 }, 1_000, 0);
    session.step({ fact: 'received', link: 1, frame }, 1_000, 0);
    expect(session.state(5_000_000).lastConnected).toEqual(new Date(5_001_000));
  });

  test('of a page that was put aside names no next attempt', () => {
    const session = play().open();
    session.do({ fact: 'suspended' });
    expect(session.state).toMatchObject({ status: 'reconnecting', nextRetryAt: null, error: null });
  });

  test('I21 changes with each thing in it', () => {
    const session = play();
    const { session: machine } = session.witness;
    const states = [machine.state(0)];
    const look = (what: () => unknown) => {
      what();
      states.push(machine.state(0));
    };
    look(() => session.ask('q1'));
    look(() => session.dial());
    look(() => session.lose());
    look(() => session.wait(session.due));
    look(() => session.open());
    look(() => session.respond('q1'));
    look(() => session.receive({ kind: 'ping' }));
    expect(new Set(states).size).toBe(states.length - 1);
    expect(states.at(-1)).toBe(states.at(-2));
  });
});

describe('a field of the state that changes alone', () => {
  test.each<[keyof ConnectionState, (session: Play) => unknown, unknown]>([
    ['status', (session) => session.dial(), 'connecting'],
    ['queued', (session) => session.ask('q1'), 1],
    ['synced', (session) => behind(session.open()), false],
    ['reconnectAttempts', (session) => back(session).wait(10_000), 0],
    ['nextRetryAt', (session) => lost(session).do({ fact: 'suspended' }), null],
    ['latency', (session) => ponged(session.open()), 5],
    ['lastConnected', (session) => later(moving(session)), new Date(3_000)],
  ])('%s makes it another one', (field, change, value) => {
    const session = play();
    change(session);
    expect(session.state[field]).toEqual(value);
  });
});

describe('the counts', () => {
  test('of attempts, connects and reconnects', () => {
    const session = play().dial();
    session.lose();
    session.wait(session.due);
    session.open();
    expect(session.witness.session.metrics(0)).toMatchObject({
      attempts: 2,
      connects: 1,
      reconnects: 0,
    });
    session.do({ fact: 'reconnectAsked' });
    session.open();
    expect(session.witness.session.metrics(0)).toMatchObject({
      attempts: 3,
      connects: 2,
      reconnects: 1,
    });
  });

  test('of frames that nobody understood or wanted', () => {
    const session = play().greet();
    session.receive({ kind: 'ping' });
    session.open();
    session.do({ fact: 'received', link: 1, frame: { kind: 'garbled', why: 'noise' } });
    session.receive({ kind: 'welcome', connectionId: 'again' });
    session.receive({ kind: 'ping' }, 7);
    expect(session.witness.session.metrics(0)).toMatchObject({ garbled: 1, ignored: 3 });
  });

  test('of round trips take the greeting and every pong that was asked for', () => {
    const session = play({ heartbeat: { interval: 10_000, timeout: 2_000 } }).greet();
    session.now += 80;
    session.open();
    session.receive({ kind: 'pong' });
    session.wait(10_000);
    session.now += 40;
    session.receive({ kind: 'pong' });
    expect(session.witness.session.metrics(0).roundTrip).toEqual({ p50: 40, p95: 80, p99: 80 });
  });

  test('of the time connected leave out what was between', () => {
    const session = play();
    const connectedFor = () => session.witness.session.metrics(session.now).connectedFor;
    expect(connectedFor()).toBe(0);
    session.open().wait(3_000);
    expect(connectedFor()).toBe(3_000);
    session.do({ fact: 'disconnectAsked' });
    session.wait(5_000);
    expect(connectedFor()).toBe(3_000);
    session.open().wait(1_000);
    expect(connectedFor()).toBe(4_000);
  });
});

describe('who else is asked', () => {
  test('a listener hears what comes of rooms that are wanted, until close()', () => {
    const session = play().open();
    const { session: machine } = session.witness;
    session.join('a');
    const hears = () => ['a', 'b', undefined].map((room) => machine.hears(room));
    expect(hears()).toEqual([true, false, true]);
    session.lose(failed('UNAUTHORIZED'));
    session.do({ fact: 'joinAsked', room: 'b', call: 9 });
    expect(hears()).toEqual([false, false, true]);
    session.do({ fact: 'closeAsked' });
    expect(hears()).toEqual([false, false, false]);
  });

  test('a client is drained when nothing waits to be written', () => {
    const session = play();
    const { session: machine } = session.witness;
    expect([machine.isDrained, machine.isReady, machine.link]).toEqual([true, true, null]);
    session.ask('q1');
    expect([machine.isDrained, machine.pending()]).toMatchObject([false, [{ sent: false }]]);
    session.open();
    expect([machine.isDrained, machine.link]).toEqual([true, 1]);
    expect(machine.pending()).toMatchObject([{ requestId: 'q1', sent: true }]);
  });
});

describe('credentials that run out', () => {
  test('are nothing to a client without a provider', () => {
    const session = play({ heartbeat: null }).open({ terms: { authExpiresIn: 1_000 } });
    session.wait(3_600_000);
    expect(session.all('askCredentials')).toEqual([]);
  });

  test('while a page is put aside are renewed when it comes back, as for any attempt', () => {
    const session = play({ auth }).open({ terms: { authExpiresIn: 1_000 } });
    session.do({ fact: 'suspended' });
    session.wait(3_600_000);
    expect(session.all('askCredentials')).toHaveLength(1);
    session.do({ fact: 'woke', buffered: 0 });
    expect(session.all('askCredentials').map(({ reason }) => reason)).toEqual([
      'connect',
      'connect',
    ]);
  });
});

describe('a page that was hidden', () => {
  test('and put aside comes back for a request, and is put aside again after its answer', () => {
    const session = play({ pauseAfter: 5_000, heartbeat: null }).open();
    session.do({ fact: 'hid' });
    session.wait(5_000);
    expect(session.phase).toBe('waiting');
    session.ask('q1');
    expect(session.phase).toBe('dialing');
    session.open();
    session.respond('q1');
    session.wait(4_999);
    expect(session.phase).toBe('open');
    session.wait(1);
    expect(session.phase).toBe('waiting');
  });

  test('is put aside once: frozen by the device, a request does not bring it back', () => {
    const session = play({ pauseAfter: 5_000, heartbeat: null }).open();
    session.do({ fact: 'suspended' });
    session.ask('q1');
    expect(session.phase).toBe('waiting');
  });

  test('for less than pauseAfter is not put aside', () => {
    const session = play({ pauseAfter: 5_000, heartbeat: null }).open();
    session.wait(10_000);
    session.do({ fact: 'hid' });
    session.wait(4_999);
    session.do({ fact: 'woke', buffered: 0 });
    session.wait(3_600_000);
    expect(session.phase).toBe('open');
  });

  test('is looked at once a second while an answer is to come', () => {
    const session = play({ pauseAfter: 5_000, heartbeat: null }).open();
    session.ask('q1', { timeout: 3_600_000 });
    session.tick();
    session.do({ fact: 'hid' });
    session.wait(5_000);
    expect(session.due).toBe(1_000);
    session.respond('q1');
    expect(only(session.wait(1_000), 'hangUp')).toMatchObject([{ reason: 'page suspended' }]);
  });
});

/** In a room that is not caught up. */
function behind(session: Play): void {
  session.join('a');
  session.tick();
  session.joined('a', '1', 0, 'new');
}

function lost(session: Play): Play {
  session.open().lose();
  return session;
}

/** Connected again after a failure. */
function back(session: Play): Play {
  lost(session).wait(session.due);
  return session.open();
}

function ponged(session: Play): void {
  session.do({ fact: 'woke', buffered: 0 });
  session.now += 40;
  session.receive({ kind: 'pong' });
}

/** The next link takes over, two seconds after the start. */
function later(session: Play): void {
  session.greet();
  session.now = 3_000;
  session.open();
}

const refusal = { code: 'UNAUTHORIZED', message: 'no' };

/** Told goodbye, and dialing the next link. */
function moving(session: Play): Play {
  session.open();
  session.receive({ kind: 'goodbye', reason: 'deploy' });
  session.wait(0);
  return session;
}

function move(session: Play): void {
  session.receive({ kind: 'goodbye', reason: 'deploy' });
  session.wait(0);
  session.greet().open();
}
