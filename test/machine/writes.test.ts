/** When a request is written, how long it waits for what, and what is counted of it. */
import { describe, expect, test } from 'vitest';
import type { Ask } from '../../src/machine/fact.js';
import { closeFault } from '../../src/protocol/errors.js';
import type { Overrides } from './options.js';
import { type Play, play } from './play.js';

describe('the buffer of a link', () => {
  test('E37 takes what fits under 64 KiB, and one more at most', () => {
    const session = play().open();
    for (const id of ['q1', 'q2', 'q3']) session.ask(id, { bytes: 32_768 });
    expect(session.tick()).toEqual(['q1', 'q2']);
    expect(session.due).toBe(5);
    session.wait(5, 65_536);
    expect(sent(session)).toEqual(['q1', 'q2']);
    expect(session.due).toBe(5);
    session.wait(5, 65_535);
    expect(sent(session)).toEqual(['q1', 'q2', 'q3']);
    expect(session.due).toBeGreaterThan(5);
  });

  test('E37 that is full keeps nothing of the link and the rooms back', () => {
    const session = play().open();
    session.ask('q1');
    session.join('a');
    session.receive({ kind: 'ping' });
    expect(session.tick(1e9)).toEqual([{ kind: 'pong' }, { kind: 'join', rooms: [{ room: 'a' }] }]);
  });

  test('E37 is of no concern once the link is gone', () => {
    const session = play({ heartbeat: null }).open();
    session.wait(10_000);
    session.ask('q1', { timeout: 60_000 });
    session.tick(65_536);
    session.do({ fact: 'disconnectAsked' });
    expect(session.due).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('what goes first', () => {
  test('is the link, then the rooms, then the outbox', () => {
    const session = play().open();
    session.ask('q1');
    session.join('a');
    session.join('b');
    session.tick();
    session.ask('q2');
    session.do({ fact: 'leaveAsked', room: 'a' });
    session.joined('a', '1', 0, 'new');
    session.join('c');
    session.receive({ kind: 'ping' });
    expect(session.tick()).toEqual([
      { kind: 'pong' },
      { kind: 'leave', rooms: ['a'] },
      { kind: 'join', rooms: [{ room: 'c' }] },
      'q2',
    ]);
  });

  test('a pong that an old link was owed is not given to the next one', () => {
    const session = play().open();
    session.receive({ kind: 'ping' });
    session.do({ fact: 'reconnectAsked' });
    session.greet();
    session.receive({ kind: 'welcome', connectionId: 'c2', session: 's1', user: 'ann' });
    expect(session.tick()).toEqual([]);
  });
});

describe('what was on another link before', () => {
  /** Two requests that were written, and one of them again on the next link. */
  function again(overrides: Overrides = {}, about: Partial<Ask> = {}): Play {
    const session = play(overrides).open();
    session.ask('q1');
    session.ask('q2', about);
    session.tick();
    session.do({ fact: 'reconnectAsked' });
    return session;
  }

  test('goes before a message that was told since', () => {
    const session = again();
    tell(session, 't1', 10);
    session.ask('q3');
    session.open();
    expect(session.all('transmit').at(-1)?.frames).toEqual(['q1', 'q2', 't1', 'q3']);
  });

  test('gives way to nothing while it waits: it may have run', () => {
    const session = again({
      limits: { messagesPerSecond: 2 },
      outbox: { maxMessages: 2, overflow: 'drop-oldest' },
    });
    session.open({ terms: { messagesPerSecond: 1 } });
    expect(session.all('transmit').at(-1)?.frames).toEqual(['q1']);
    session.ask('q3');
    expect([session.outcome('q2'), session.outcome('q3')]).toEqual([null, 'NOT_SENT overflow']);
  });

  test('is superseded by nothing while it waits', () => {
    const coalesceKey = 'key';
    const session = again({ limits: { messagesPerSecond: 2 } }, { coalesceKey });
    session.open({ terms: { messagesPerSecond: 1 } });
    session.ask('q3', { coalesceKey });
    expect(session.outcome('q2')).toBeNull();
  });

  test('is written once more after a limit, however often the server says so', () => {
    const session = again();
    session.open();
    session.respond('q1', 'RATE_LIMITED', { retryAfter: 1_000 });
    session.respond('q1', 'RATE_LIMITED', { retryAfter: 1_000 });
    session.tick();
    session.wait(1_000);
    expect(sent(session).filter((wire) => wire === 'q1')).toHaveLength(3);
  });

  test('I08 at most once, is not written again by a handover either', () => {
    const session = play().open();
    session.ask('q1', { delivery: 'at-most-once' });
    session.tick();
    session.receive({ kind: 'goodbye', reason: 'deploy' });
    session.wait(0);
    session.greet().open();
    expect([sent(session), session.outcome('q1')]).toEqual([['q1'], 'OUTCOME_UNKNOWN lost']);
  });
});

describe('the time of a request', () => {
  test('I12 that was answered without effect goes on from its first write', () => {
    const session = play({ heartbeat: null }).open();
    session.ask('q1', { timeout: 10_000 });
    session.tick();
    session.wait(4_000);
    session.respond('q1', 'SERVER_ERROR', { retryable: true });
    expect(session.tick()).toEqual(['q1']);
    session.wait(5_999);
    expect(session.outcome('q1')).toBeNull();
    session.wait(1);
    expect(session.outcome('q1')).toBe('OUTCOME_UNKNOWN timeout');
  });

  test('I12 is up while it waits out a limit: it fails with that limit', () => {
    const session = play({ heartbeat: null }).open();
    session.ask('q1', { timeout: 2_000 });
    session.tick();
    session.wait(500);
    session.respond('q1', 'RATE_LIMITED', { retryAfter: 60_000 });
    session.wait(1_499);
    expect(session.outcome('q1')).toBeNull();
    session.wait(1);
    expect(session.all('reject')).toMatchObject([
      { requestId: 'q1', error: { code: 'RATE_LIMITED', retryAfter: 60_000 } },
    ]);
  });

  test('I12 runs on the next link with what was left of it, a millisecond at least', () => {
    const session = play({ heartbeat: null, reconnect: { jitter: 'none' } }).open();
    session.ask('q1', { timeout: 10_000 });
    session.tick();
    session.now += 10_000;
    session.lose();
    session.wait(1_000);
    session.open();
    expect([sent(session), session.outcome('q1'), session.due]).toEqual([['q1', 'q1'], null, 1]);
    session.wait(1);
    expect(session.outcome('q1')).toBe('OUTCOME_UNKNOWN timeout');
  });

  test('I12 of several is kept for each', () => {
    const session = play({ heartbeat: null });
    session.ask('q1', { ttl: 3_000 });
    session.ask('q2', { ttl: 1_000 });
    session.ask('q3', { ttl: 2_000 });
    const ended = [1_000, 1_000, 1_000].map((ms) => {
      session.wait(ms);
      return session.all('reject').map(({ requestId }) => requestId);
    });
    expect(ended).toEqual([['q2'], ['q2', 'q3'], ['q2', 'q3', 'q1']]);
    expect(session.due).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('a limit', () => {
  test.each([
    [undefined, 1_000],
    [250, 250],
  ])('with retryAfter %s holds for %i ms', (retryAfter, ms) => {
    const session = play({ heartbeat: null }).open();
    session.ask('q1');
    session.tick();
    session.respond('q1', 'RATE_LIMITED', retryAfter === undefined ? {} : { retryAfter });
    session.tick();
    session.wait(ms - 1);
    expect(sent(session)).toEqual(['q1']);
    session.wait(1);
    expect(sent(session)).toEqual(['q1', 'q1']);
  });

  test('of more than a year holds for a year', () => {
    const session = play({ heartbeat: null }).open();
    session.wait(10_000);
    session.ask('q1', { timeout: Number.POSITIVE_INFINITY });
    session.tick();
    session.respond('q1', 'RATE_LIMITED', { retryAfter: 1e15 });
    session.tick();
    expect(session.due).toBe(31_536_000_000);
  });

  test('may be met again and again, unlike an error', () => {
    const session = play({ heartbeat: null }).open();
    session.ask('q1', { timeout: 60_000 });
    session.tick();
    for (let count = 0; count < 5; count++) {
      session.respond('q1', 'RATE_LIMITED', { retryAfter: 1_000 });
      session.tick();
      session.wait(1_000);
    }
    expect([sent(session).length, session.outcome('q1')]).toEqual([6, null]);
  });
});

describe('an error of the server', () => {
  test.each([
    ['SERVER_ERROR', false],
    ['OUT_OF_STOCK', undefined],
  ])('%s (retryable: %s) ends its request, with all that it said', (code, retryable) => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    const said = retryable === undefined ? {} : { retryable };
    const error = { code, message: 'none left', details: { sku: 7 }, ...said };
    session.receive({ kind: 'response', requestId: 'q1', success: false, error });
    expect(session.all('reject')).toMatchObject([{ requestId: 'q1', error: { ...error } }]);
    expect(session.tick()).toEqual([]);
  });

  test('about a request that was never written is none', () => {
    const session = play({ outbox: { maxInFlight: 1 } }).open();
    session.ask('q1');
    session.ask('q2');
    session.tick();
    session.respond('q2');
    session.respond('q2', 'OUT_OF_STOCK');
    expect(session.outcome('q2')).toBeNull();
  });
});

describe('room in the outbox', () => {
  test('is made by answers, by writes of messages, and by failures', () => {
    const session = play({ outbox: { maxMessages: 2, maxBytes: 100, overflow: 'reject' } });
    tell(session, 't1', 60);
    session.ask('q1', { bytes: 40, ttl: 1_000 });
    expect(queued(session)).toBe(100);
    session.ask('q2', { bytes: 1 });
    expect(session.outcome('q2')).toBe('NOT_SENT overflow');
    session.wait(1_000);
    expect(queued(session)).toBe(40 + 20);
    session.open();
    expect(queued(session)).toBe(0);
    for (const id of ['q3', 'q4']) session.ask(id, { bytes: 50 });
    session.tick();
    session.respond('q3');
    session.ask('q5', { bytes: 50 });
    expect([session.outcome('q4'), session.outcome('q5')]).toEqual([null, null]);
    session.ask('q6', { bytes: 1 });
    expect(session.outcome('q6')).toBe('NOT_SENT overflow');
  });

  test('is all there again for another user', () => {
    const session = play({ outbox: { maxMessages: 2, overflow: 'reject' } }).open();
    session.do({ fact: 'reconnectAsked' });
    session.ask('q1');
    tell(session, 't1', 10);
    session.open({ user: 'bob' });
    expect(sent(session)).toEqual([]);
    expect(queued(session)).toBe(0);
    session.ask('q2');
    tell(session, 't2', 10);
    expect(session.tick()).toEqual(['q2', 't2']);
  });

  test.each([
    ['drop-oldest', 't1', ['q2', 'q3']],
    ['drop-newest', 'q2', ['t1', 'q3']],
  ] as const)('with %s, %s gives way, and is told of', (overflow, victim, kept) => {
    const session = play({ outbox: { maxMessages: 2, overflow } });
    tell(session, 't1', 10);
    session.ask('q2');
    session.ask('q3');
    const [report] = session.all('report');
    expect(report?.error.details).toEqual(victim === 't1' ? { reason: 'overflow' } : undefined);
    expect(session.outcome('q2')).toBe(victim === 'q2' ? 'NOT_SENT overflow' : null);
    session.open();
    expect(sent(session)).toEqual(kept);
  });
});

describe('a full outbox', () => {
  test('drives out no more than has to go', () => {
    const session = play({ outbox: { maxBytes: 100, overflow: 'drop-oldest' } });
    for (const id of ['q1', 'q2', 'q3']) session.ask(id, { bytes: 50 });
    expect(['q1', 'q2', 'q3'].map((id) => session.outcome(id))).toEqual([
      'NOT_SENT overflow',
      null,
      null,
    ]);
  });

  test('of requests in flight keeps no message back', () => {
    const session = play({ outbox: { maxInFlight: 1 } }).open();
    session.ask('q1');
    tell(session, 't1', 10);
    expect(session.tick()).toEqual(['q1', 't1']);
  });
});

describe('a frame over the next server’s limit', () => {
  test('E34 is reported where it is a message, and the rest goes', () => {
    const session = play();
    tell(session, 't1', 101);
    tell(session, 't2', 100);
    session.ask('q1', { bytes: 101 });
    session.ask('q2', { bytes: 100 });
    session.open({ terms: { maxMessageSize: 100 } });
    expect(session.all('report').map(({ error }) => error.code)).toEqual(['MESSAGE_TOO_LARGE']);
    expect(session.outcome('q1')).toBe('MESSAGE_TOO_LARGE');
    expect(sent(session)).toEqual(['t2', 'q2']);
    expect(queued(session)).toBe(100);
  });
});

describe('a culprit', () => {
  test('E34 is looked for one at a time, however many were answered before', () => {
    const session = play().open();
    for (const id of ['q1', 'q2', 'q3']) {
      session.ask(id);
      session.tick();
      session.respond(id);
    }
    for (const id of ['q4', 'q5']) session.ask(id);
    session.tick();
    back(session);
    expect(session.all('transmit').at(-1)?.frames).toEqual(['q4']);
  });

  test('I00 E34 is nobody where nothing was on the link', () => {
    const session = accused([]);
    for (const id of ['q1', 'q2']) session.ask(id);
    expect(session.tick()).toEqual(['q1', 'q2']);
  });

  test('E34 is looked for without messages beside it', () => {
    const session = accused(['q1', 'q2']);
    tell(session, 't1', 10);
    expect(session.tick()).toEqual([]);
    session.respond('q1');
    expect(session.tick()).toEqual(['q2']);
    session.respond('q2');
    expect(session.tick()).toEqual(['t1']);
  });

  test('E34 is not one that was never on the link, nor one alone on its first', () => {
    const session = accused(['q1']);
    session.ask('q2');
    expect(session.outcome('q1')).toBeNull();
    expect(session.tick()).toEqual([]);
    back(session);
    expect(session.outcome('q1')).toBe('INVALID_PAYLOAD');
    expect(session.all('transmit').at(-1)?.frames).toEqual(['q2']);
  });

  test('E34 that is aborted ends the search', () => {
    const session = accused(['q1']);
    session.ask('q2');
    session.ask('q3');
    session.do({ fact: 'aborted', requestId: 'q1' });
    expect(session.tick()).toEqual(['q2', 'q3']);
  });
});

describe('the counts', () => {
  test('of what synced waits for are not disturbed by later requests', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.respond('q1');
    expect(session.state.synced).toBe(true);
  });

  test('of what was sent and how long it took', () => {
    const session = play({ heartbeat: null }).open();
    const { session: machine } = session.witness;
    for (const [id, ms] of [
      ['q1', 30],
      ['q2', 10],
    ] as const) {
      session.ask(id);
      tell(session, `t-${id}`, 10);
      session.tick();
      session.wait(ms);
      session.respond(id);
    }
    session.ask('q3');
    session.tick();
    session.respond('q3', 'OUT_OF_STOCK');
    expect(machine.metrics(session.now)).toMatchObject({
      requestsSent: 3,
      messagesSent: 2,
      queuedBytes: 0,
      responseTime: { p50: 10, p95: 30, p99: 30 },
    });
  });

  test('of what goes and comes a second', () => {
    const session = play({ heartbeat: null }).open();
    session.join('a');
    session.tick();
    session.joined('a', '1', 0, 'new');
    for (let seq = 1; seq <= 20; seq++) {
      session.event('a', '1', seq);
      if (seq <= 5) session.ask(`q${seq}`);
      if (seq <= 5) tell(session, `t${seq}`, 10);
    }
    session.tick();
    session.wait(10_000);
    const { receivedPerSecond, sentPerSecond } = session.witness.session.metrics(session.now);
    expect([receivedPerSecond, sentPerSecond]).toEqual([2, 1]);
  });

  test('of what synced waits for: requests that stood there at the welcome, and no later ones', () => {
    const session = play({ outbox: { maxInFlight: 1 } });
    session.ask('q1');
    session.ask('q2');
    session.open();
    session.ask('q3');
    const synced = ['q1', 'q2', 'q3'].map((id) => {
      const { synced } = session.state;
      session.tick();
      session.respond(id);
      return synced;
    });
    expect(synced).toEqual([false, false, true]);
  });
});

function tell(session: Play, wire: string, bytes: number): void {
  session.do({ fact: 'told', message: { wire, bytes } });
}

/** Requests and messages that were ever written, in order. */
function sent(session: Play): string[] {
  const frames = session.all('transmit').flatMap((order) => order.frames);
  return frames.filter((frame) => typeof frame === 'string');
}

function queued(session: Play): number {
  return session.witness.session.metrics(session.now).queuedBytes;
}

/** On a second link, after the first was closed for what these were. */
function accused(ids: readonly string[]): Play {
  const session = play().open();
  for (const id of ids) session.ask(id);
  session.tick();
  back(session);
  return session;
}

function back(session: Play): void {
  session.lose(closeFault(1007, ''));
  session.wait(session.due);
  session.open();
}
