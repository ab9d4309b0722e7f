/** What is written, how often, in which order, and how it ends. */
import { describe, expect, test } from 'vitest';
import { closeFault } from '../../src/protocol/errors.js';
import { type Play, play } from './play.js';

describe('a request', () => {
  test('I06 settles with its response, and with nothing else', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.respond('q2');
    session.respond('q1');
    expect(session.respond('q1')).toEqual([]);
    expect(session.all('settle')).toEqual([{ order: 'settle', requestId: 'q1', data: 'q1' }]);
  });

  test('E33 fails with what the server says', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.respond('q1', 'OUT_OF_STOCK');
    expect(session.outcome('q1')).toBe('OUT_OF_STOCK');
  });

  test('I17 is written with the end of the tick, all of one tick together', () => {
    const session = play().open();
    session.ask('q1');
    tell(session, 't1');
    session.ask('q2');
    expect(session.all('transmit')).toEqual([]);
    expect(session.tick()).toEqual(['q1', 't1', 'q2']);
    expect(session.tick()).toEqual([]);
  });

  test('I09 E32 on a new link goes before whatever is new, in first order', () => {
    const session = play().open();
    for (const id of ['q1', 'q2', 'q3']) session.ask(id);
    session.tick();
    session.respond('q2');
    session.lose();
    session.ask('q4');
    session.wait(session.due);
    session.greet();
    session.ask('q5');
    session.receive({ kind: 'welcome', connectionId: 'c2', session: 's1', user: 'ann' });
    expect(session.tick()).toEqual(['q1', 'q3', 'q4', 'q5']);
  });

  test('I08 is not written again on the link that has it', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.wait(20_000);
    expect(session.all('transmit').flatMap(({ frames }) => frames)).not.toContain(['q1', 'q1']);
    expect(writes(session, 'q1')).toBe(1);
  });

  test.each([
    ['exactly-once', 's1', 'again'],
    ['exactly-once', undefined, 'OUTCOME_UNKNOWN lost'],
    ['at-least-once', undefined, 'again'],
    ['at-most-once', 's1', 'OUTCOME_UNKNOWN lost'],
  ] as const)('I08 %s with session %s: %s', (delivery, memory, end) => {
    const session = play().greet();
    const named = memory === undefined ? {} : { session: memory };
    const welcome = { kind: 'welcome', connectionId: 'c', user: 'ann', ...named } as const;
    session.receive(welcome);
    session.ask('q1', { delivery });
    session.tick();
    session.lose();
    session.wait(session.due);
    session.greet();
    session.receive(welcome);
    session.tick();
    expect(session.outcome('q1') ?? 'again').toBe(end);
    expect(writes(session, 'q1')).toBe(end === 'again' ? 2 : 1);
  });

  test('E33 that was written under a memory which is gone is of unknown outcome; others are sent', () => {
    const session = play().open();
    session.ask('q1');
    session.ask('q2', { delivery: 'at-least-once' });
    session.tick();
    session.lose();
    session.ask('q3');
    session.wait(session.due);
    session.greet();
    session.open({ session: 's2' });
    expect(session.outcome('q1')).toBe('OUTCOME_UNKNOWN forgotten');
    expect(session.all('transmit').at(-1)?.frames).toEqual(['q2', 'q3']);
  });

  test('E41 of another user is never written: each ends as what it was', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.lose();
    session.ask('q2');
    session.wait(session.due);
    session.greet();
    session.open({ user: 'bob' });
    expect(session.outcome('q1')).toBe('OUTCOME_UNKNOWN identity');
    expect(session.outcome('q2')).toBe('NOT_SENT identity');
    expect(writes(session, 'q2')).toBe(0);
  });

  test('I10 E30 E33 ends with close(), as what it was', () => {
    const session = play({ outbox: { maxInFlight: 1 } }).open();
    session.ask('q1');
    session.ask('q2');
    session.tick();
    session.do({ fact: 'closeAsked' });
    expect(session.outcome('q1')).toBe('OUTCOME_UNKNOWN closed');
    expect(session.outcome('q2')).toBe('NOT_SENT closed');
    session.ask('q3');
    expect(session.outcome('q3')).toBe('NOT_SENT closed');
  });
});

describe('abort, ttl and timeout', () => {
  test('I07 E35 what was aborted before its write is never written', () => {
    const session = play().open();
    session.ask('q1');
    session.do({ fact: 'aborted', requestId: 'q1' });
    expect(session.outcome('q1')).toBe('NOT_SENT aborted');
    expect(session.tick()).toEqual([]);
  });

  test('E35 the response to what was aborted after its write is ignored', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.do({ fact: 'aborted', requestId: 'q1' });
    expect(session.outcome('q1')).toBe('OUTCOME_UNKNOWN aborted');
    expect(session.respond('q1')).toEqual([]);
  });

  test('I07 what was aborted between two links is not written on the second', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.lose();
    session.do({ fact: 'aborted', requestId: 'q1' });
    session.wait(session.due);
    session.open();
    expect(session.outcome('q1')).toBe('OUTCOME_UNKNOWN aborted');
    expect(writes(session, 'q1')).toBe(1);
  });

  test('I12 the ttl bounds the wait for the first write, and nothing after it', () => {
    const session = play({ outbox: { maxInFlight: 1 }, heartbeat: null }).open();
    session.ask('q1', { ttl: 1_000 });
    session.ask('q2', { ttl: 1_000 });
    session.tick();
    session.wait(999);
    expect(session.outcome('q2')).toBeNull();
    session.wait(1);
    expect([session.outcome('q1'), session.outcome('q2')]).toEqual([null, 'NOT_SENT ttl']);
  });

  test('I12 the timeout runs from the write, and stands still while there is no link', () => {
    const session = play({ heartbeat: null }).open();
    session.ask('q1', { timeout: 10_000 });
    session.tick();
    session.wait(4_000);
    session.do({ fact: 'suspended' });
    session.wait(3_600_000);
    session.do({ fact: 'woke', buffered: 0 });
    session.open();
    session.wait(5_999);
    expect(session.outcome('q1')).toBeNull();
    session.wait(1);
    expect(session.outcome('q1')).toBe('OUTCOME_UNKNOWN timeout');
  });
});

describe('bounds', () => {
  test.each([
    ['reject', 'q3', ['q1', 'q2']],
    ['drop-oldest', 'q1', ['q2', 'q3']],
    ['drop-newest', 'q2', ['q1', 'q3']],
  ] as const)('I11 E36 with %s, %s gives way', (overflow, victim, kept) => {
    const session = play({ outbox: { maxMessages: 2, overflow } });
    for (const id of ['q1', 'q2', 'q3']) session.ask(id);
    expect(session.outcome(victim)).toBe('NOT_SENT overflow');
    session.open();
    expect(session.all('transmit').at(-1)?.frames).toEqual(kept);
  });

  test('I11 E36 bytes are bounded as well', () => {
    const session = play({ outbox: { maxBytes: 100, overflow: 'drop-oldest' } });
    session.ask('q1', { bytes: 50 });
    session.ask('q2', { bytes: 50 });
    session.ask('q3', { bytes: 60 });
    expect([session.outcome('q1'), session.outcome('q2')]).toEqual([
      'NOT_SENT overflow',
      'NOT_SENT overflow',
    ]);
    expect(session.state.queued).toBe(1);
  });

  test('what alone is over maxBytes drives nobody out', () => {
    const session = play({ outbox: { maxBytes: 100, overflow: 'drop-oldest' } });
    session.ask('q1', { bytes: 50 });
    session.ask('q2', { bytes: 101 });
    expect([session.outcome('q1'), session.outcome('q2')]).toEqual([null, 'NOT_SENT overflow']);
  });

  test('what was written may have run, so it never gives way', () => {
    const session = play({ outbox: { maxMessages: 2, overflow: 'drop-oldest' } }).open();
    session.ask('q1');
    session.ask('q2');
    session.tick();
    session.ask('q3');
    expect(session.outcome('q3')).toBe('NOT_SENT overflow');
  });

  test('I11 no more than maxInFlight are on the wire; an answer makes room', () => {
    const session = play({ outbox: { maxInFlight: 2 } }).open();
    for (let count = 1; count <= 5; count++) session.ask(`q${count}`);
    expect(session.tick()).toEqual(['q1', 'q2']);
    session.respond('q2');
    expect(session.tick()).toEqual(['q3']);
    session.do({ fact: 'aborted', requestId: 'q1' });
    expect(session.tick()).toEqual(['q4']);
  });

  test('I11 the rate holds sends back, first come first served', () => {
    const session = play({ limits: { messagesPerSecond: 10 } }).open();
    for (let count = 1; count <= 25; count++) session.ask(`q${count}`);
    expect(session.tick()).toHaveLength(10);
    session.wait(1_000);
    expect(session.all('transmit').flatMap(({ frames }) => frames)).toHaveLength(20);
    session.wait(500);
    expect(session.all('transmit').flatMap(({ frames }) => frames)).toHaveLength(25);
  });

  test.each([3, 7, 0.3])(
    'I22 a rate of %d, whose turns are no whole milliseconds, does not spin',
    (rate) => {
      const session = play({ limits: { messagesPerSecond: rate } }).open();
      for (let count = 1; count <= 30; count++) session.ask(`q${count}`);
      session.tick();
      expect(session.wait(8_000).length).toBeLessThan(200);
    },
  );

  test('I22 what the rate held back costs no timer once the link is gone', () => {
    const session = play({ limits: { messagesPerSecond: 1 } }).open();
    for (let count = 1; count <= 5; count++) session.ask(`q${count}`);
    session.tick();
    session.do({ fact: 'disconnectAsked' });
    expect(session.wait(60_000).length).toBeLessThan(5);
  });

  test('above 64 KiB in the buffer nothing is written; it goes on when there is room (E37)', () => {
    const session = play().open();
    session.ask('q1');
    expect(session.tick(65_536)).toEqual([]);
    session.wait(session.due, 65_536);
    expect(writes(session, 'q1')).toBe(0);
    session.wait(session.due, 1_000);
    expect(writes(session, 'q1')).toBe(1);
  });

  test('E34 what is over a limit is refused before it is written', () => {
    const session = play({ limits: { maxMessageSize: 1_000 } }).open({
      terms: { maxMessageSize: 100 },
    });
    session.ask('q1', { bytes: 101 });
    session.ask('q2', { bytes: 100 });
    expect([session.outcome('q1'), session.outcome('q2')]).toEqual(['MESSAGE_TOO_LARGE', null]);
  });

  test('E34 what waits and is over the limit of the next server is not written to it', () => {
    const session = play();
    session.ask('q1', { bytes: 101 });
    session.open({ terms: { maxMessageSize: 100 } });
    expect([session.outcome('q1'), writes(session, 'q1')]).toEqual(['MESSAGE_TOO_LARGE', 0]);
  });
});

describe('coalesceKey', () => {
  test('replaces what was never written, and only that', () => {
    const session = play().open();
    session.ask('q1', { coalesceKey: 'cursor' });
    session.tick();
    session.ask('q2', { coalesceKey: 'cursor' });
    session.ask('q3', { coalesceKey: 'cursor' });
    session.ask('q4', { coalesceKey: 'other' });
    expect(session.outcome('q1')).toBeNull();
    expect(session.outcome('q2')).toBe('NOT_SENT superseded');
    expect(session.tick()).toEqual(['q3', 'q4']);
  });
});

describe('an error that promises that nothing happened', () => {
  test('SERVER_ERROR: the request is written once more, then it fails', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.respond('q1', 'SERVER_ERROR', { retryable: true });
    expect(session.tick()).toEqual(['q1']);
    session.respond('q1', 'SERVER_ERROR', { retryable: true });
    expect(session.outcome('q1')).toBe('SERVER_ERROR');
  });

  test('I12 RATE_LIMITED: the whole outbox waits retryAfter, then goes on in order', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.ask('q2');
    session.respond('q1', 'RATE_LIMITED', { retryAfter: 3_000 });
    expect(session.tick()).toEqual([]);
    session.wait(2_999);
    expect(writes(session, 'q2')).toBe(0);
    session.wait(1);
    expect(session.all('transmit').at(-1)?.frames).toEqual(['q1', 'q2']);
  });

  test('I10 leaves it as never written: failing then, it is NOT_SENT', () => {
    const session = play().open();
    session.ask('q1');
    session.tick();
    session.respond('q1', 'RATE_LIMITED', { retryAfter: 3_000 });
    session.do({ fact: 'aborted', requestId: 'q1' });
    expect(session.outcome('q1')).toBe('NOT_SENT aborted');
  });
});

describe('a link closed for what it carried', () => {
  test.each([1007, 1009])(
    'I11 E34 %i: one at a time from then on, and the culprit fails alone',
    (code) => {
      const session = play().open();
      for (const id of ['q1', 'q2', 'q3']) session.ask(id);
      session.tick();
      back(session, code);
      expect(session.all('transmit').at(-1)?.frames).toEqual(['q1']);
      session.respond('q1');
      expect(session.tick()).toEqual(['q2']);
      back(session, code);
      expect(session.outcome('q2')).toBe(code === 1007 ? 'INVALID_PAYLOAD' : 'MESSAGE_TOO_LARGE');
      expect(session.all('transmit').at(-1)?.frames).toEqual(['q3']);
      session.respond('q3');
      session.ask('q4');
      session.ask('q5');
      expect(session.tick()).toEqual(['q4', 'q5']);
    },
  );
});

describe('a message', () => {
  test('I07 is written at most once', () => {
    const session = play();
    tell(session, 't1');
    session.open();
    session.lose();
    session.wait(session.due);
    session.open();
    expect(writes(session, 't1')).toBe(1);
  });

  test('counts for the bounds, and gives way like a request', () => {
    const session = play({ outbox: { maxMessages: 1, overflow: 'reject' } });
    tell(session, 't1');
    tell(session, 't2');
    expect(session.all('report').map(({ error }) => error.code)).toEqual(['NOT_SENT']);
    session.ask('q1');
    expect(session.outcome('q1')).toBe('NOT_SENT overflow');
  });
});

function tell(session: Play, wire: string): void {
  session.do({ fact: 'told', message: { wire, bytes: 10 } });
}

/** Loses the link with a close code, and gets another one. */
function back(session: Play, code: number): void {
  session.lose(closeFault(code, ''));
  session.wait(session.due);
  session.open();
}

function writes(session: Play, wire: string): number {
  return session
    .all('transmit')
    .flatMap(({ frames }) => frames)
    .filter((frame) => frame === wire).length;
}
