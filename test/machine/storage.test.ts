/** A session with a storage: what is durable before it is written, and what a next owner goes on with. */
import { describe, expect, test } from 'vitest';
import type { Restored } from '../../src/machine/fact.js';
import { Ledger } from '../../src/machine/ledger.js';
import type { Changes, Order } from '../../src/machine/order.js';
import { failed, names, type Play, play, request } from './play.js';

const ledger = () => new Ledger();
type SavedOne = Restored['requests'][number];

/** As an earlier owner stored it. */
function saved(requestId: string, about: Partial<SavedOne> = {}): SavedOne {
  return { ...request(requestId), session: null, ...about };
}

function left(about: Partial<Restored>): Restored {
  return { clientId: 'saved', link: 0, user: undefined, requests: [], cursors: [], ...about };
}

/** The newest write that was ordered. */
function written(session: Play): Changes | undefined {
  return session.all('store').at(-1)?.changes;
}

/** Answers for the write under way. */
function answer(session: Play): void {
  session.do({ fact: 'stored', write: session.witness.storage.write });
}

function fail(session: Play): Order[] {
  const { write } = session.witness.storage;
  return session.do({ fact: 'storeFailed', write, error: failed('STORAGE_FAILED') });
}

describe('opening', () => {
  test('comes before the first question and the first dial', () => {
    const session = play({ ledger, auth: { timeout: 10_000 } }).slowStorage();
    expect(names(session.do({ fact: 'connectAsked' }))).toEqual(['restore']);
    expect(session.state.status).toBe('connecting');
    const orders = session.do({ fact: 'restored', saved: left({}), date: 0 });
    expect(names(orders)).toEqual(['askCredentials']);
  });

  test('starts with the first request, the first join from "stored", or when it is asked for', () => {
    for (const begin of [
      (session: Play) => session.ask('q1'),
      (session: Play) => session.join('a', 'stored'),
      (session: Play) => session.do({ fact: 'restoreAsked' }),
    ]) {
      const session = play({ ledger }).slowStorage();
      begin(session);
      begin(session);
      expect(session.all('restore')).toHaveLength(1);
    }
  });

  test('is given up after 5 s, and told once; what comes later is left to the next owner', () => {
    const session = play({ ledger }).slowStorage();
    session.do({ fact: 'connectAsked' });
    expect(names(session.wait(4_999))).toEqual([]);
    expect(names(session.wait(1))).toEqual(['report', 'dial']);
    expect(session.all('report')[0]?.error.code).toBe('STORAGE_FAILED');
    const late = left({ requests: [saved('q9')] });
    expect(names(session.do({ fact: 'restored', saved: late, date: 0 }))).toEqual(['release']);
    session.open();
    session.ask('q1');
    expect(session.tick()).toEqual(['q1']);
    expect(session.all('store')).toEqual([]);
  });

  test('that fails leaves everything in memory', () => {
    const session = play({ ledger }).slowStorage();
    session.ask('q1');
    session.do({ fact: 'connectAsked' });
    const orders = session.do({ fact: 'restoreFailed', error: failed('STORAGE_FAILED') });
    expect(names(orders)).toEqual(['report', 'dial']);
    session.open();
    expect(session.written('hello')).toEqual([]);
    expect(session.all('transmit').at(-1)?.frames).toEqual(['q1']);
  });

  test('presents the identity that was stored, above every link that was dialed', () => {
    const session = play({ ledger });
    session.saved = left({ clientId: 'ann-1', link: 67_108_864 });
    session.open();
    expect(session.hello).toMatchObject({ clientId: 'ann-1', link: 67_108_865 });
  });

  test('is not waited for by a client that is closed meanwhile', () => {
    const session = play({ ledger }).slowStorage();
    session.ask('q1');
    session.do({ fact: 'closeAsked' });
    expect(session.outcome('q1')).toBe('NOT_SENT closed');
    const orders = session.do({ fact: 'restored', saved: left({}), date: 0 });
    expect(names(orders)).toEqual(['store', 'release']);
    expect(written(session)).toMatchObject({ puts: [], drops: ['q1'] });
  });
});

describe('a request', () => {
  test('I26 is written once it is stored, with the session of the link', () => {
    const session = play({ ledger }).open().slowStorage();
    session.ask('q1');
    expect(session.tick()).toEqual([]);
    expect(written(session)?.puts).toEqual([
      expect.objectContaining({ requestId: 'q1', wire: 'q1', session: 's1' }),
    ]);
    expect(session.state.queued).toBe(0);
    answer(session);
    expect(session.state.queued).toBe(1);
    expect(session.tick()).toEqual(['q1']);
  });

  test('I26 asked without a link is stored as never written, and stamped before its first write', () => {
    const session = play({ ledger });
    session.ask('q1');
    session.tick();
    expect(written(session)?.puts[0]?.session).toBe(null);
    session.slowStorage().open();
    expect(session.all('transmit')).toEqual([]);
    expect(written(session)?.stamps).toEqual([['q1', 's1']]);
    answer(session);
    expect(session.tick()).toEqual(['q1']);
  });

  test('that was not written on a link that ended is stored as never written again', () => {
    const session = play({ ledger, outbox: { maxInFlight: 1 } }).open();
    session.ask('q1');
    session.ask('q2');
    session.tick();
    expect(session.tick()).toEqual(['q1']);
    session.lose();
    session.tick();
    expect(written(session)?.stamps).toEqual([['q2', null]]);
    expect(session.witness.storage.requests).toEqual(
      new Map([
        ['q1', 's1'],
        ['q2', null],
      ]),
    );
  });

  test('I27 that has ended is dropped, however it ended', () => {
    const session = play({ ledger }).open();
    session.ask('q1');
    session.ask('q2');
    session.ask('q3', { timeout: 1_000 });
    session.tick();
    session.tick();
    session.respond('q1');
    session.do({ fact: 'aborted', requestId: 'q2' });
    session.wait(1_000);
    session.tick();
    expect([...session.witness.storage.requests.keys()]).toEqual([]);
  });

  test('I27 one write is under way at a time, and the next one takes all that came meanwhile', () => {
    const session = play({ ledger }).open().slowStorage();
    for (const requestId of ['q1', 'q2', 'q3']) {
      session.ask(requestId);
      session.tick();
    }
    expect(written(session)?.puts.map(({ requestId }) => requestId)).toEqual(['q1']);
    answer(session);
    session.tick();
    expect(written(session)?.puts.map(({ requestId }) => requestId)).toEqual(['q2', 'q3']);
  });

  test('that ends before it was stored is never stored', () => {
    const session = play({ ledger }).open().slowStorage();
    session.ask('q1');
    session.tick();
    session.ask('q2');
    session.do({ fact: 'aborted', requestId: 'q2' });
    session.do({ fact: 'aborted', requestId: 'q1' });
    answer(session);
    session.tick();
    expect(written(session)).toMatchObject({ puts: [], drops: ['q1'] });
  });
});

describe('a storage that fails', () => {
  test('is told of once, and waited for no more; 5 s later it is tried again', () => {
    const session = play({ ledger }).open().slowStorage();
    session.ask('q1');
    session.tick();
    expect(names(fail(session))).toEqual(['report']);
    expect(session.tick()).toEqual(['q1']);
    expect(session.state.queued).toBe(1);
    session.ask('q2');
    expect(session.tick()).toEqual(['q2']);
    expect(names(session.wait(4_999))).toEqual([]);
    expect(names(session.wait(1))).toEqual(['store']);
    expect(written(session)?.puts.map(({ requestId }) => requestId)).toEqual(['q1', 'q2']);
    expect(names(fail(session))).toEqual([]);
    session.wait(5_000);
    answer(session);
    session.ask('q3');
    expect(session.tick()).toEqual([]);
    expect(names(fail(session))).toEqual(['report']);
  });

  test('that says nothing for 5 s has failed', () => {
    const session = play({ ledger }).open().slowStorage();
    session.ask('q1');
    session.tick();
    const { write } = session.witness.storage;
    expect(names(session.wait(4_999))).toEqual([]);
    expect(names(session.wait(1))).toEqual(['report', 'transmit']);
    expect(names(session.do({ fact: 'stored', write }))).toEqual([]);
  });

  test('is told of everything that ended meanwhile, once it works again', () => {
    const session = play({ ledger }).open().slowStorage();
    session.ask('q1');
    session.tick();
    fail(session);
    session.tick();
    session.respond('q1');
    session.wait(5_000);
    // The write that failed may have arrived all the same.
    expect(written(session)).toMatchObject({ puts: [], drops: ['q1'] });
  });
});

describe('the next owner', () => {
  test('sends what was left first, in its order, under the same ids', () => {
    const session = play({ ledger });
    session.saved = left({
      requests: [saved('q1', { session: 's1' }), saved('q2'), saved('q3')],
    });
    session.ask('q4');
    session.open({ session: 's1' });
    session.tick();
    const frames = session.all('transmit').flatMap((order) => order.frames);
    expect(frames).toEqual(['q1', 'q2', 'q3', 'q4']);
    expect(session.state.queued).toBe(4);
  });

  test('does not send what may have run under another memory, and says so', () => {
    const session = play({ ledger });
    session.saved = left({ requests: [saved('q1', { session: 's1' }), saved('q2')] });
    session.open({ session: 's2' });
    session.tick();
    expect(session.outcome('q1')).toBe('OUTCOME_UNKNOWN forgotten');
    expect(session.all('transmit').at(-1)?.frames).toEqual(['q2']);
  });

  test('does not send at most once what may have been sent', () => {
    const session = play({ ledger });
    const delivery = 'at-most-once';
    session.saved = left({
      requests: [saved('q1', { session: 's1', delivery }), saved('q2', { delivery })],
    });
    session.open();
    expect(session.outcome('q1')).toBe('OUTCOME_UNKNOWN lost');
    expect(session.outcome('q2')).toBe(null);
  });

  test('keeps a promise of no effect to the write that it is about', () => {
    const session = play({ ledger });
    session.saved = left({ requests: [saved('q1', { session: 's1' })] });
    session.open({ session: 's1' });
    session.respond('q1', 'SERVER_ERROR', { retryable: true });
    session.lose();
    session.wait(10_000);
    session.open({ session: 's2' });
    expect(session.outcome('q1')).toBe('OUTCOME_UNKNOWN forgotten');
  });

  test('goes on with the time that a request has left, by the date', () => {
    const session = play({ ledger }).slowStorage();
    session.do({ fact: 'restoreAsked' });
    const requests = [saved('q1', { expiresAt: 1_000_500 }), saved('q2', { expiresAt: 999_000 })];
    session.do({ fact: 'restored', saved: left({ requests }), date: 1_000_000 });
    session.wait(499);
    expect([session.outcome('q1'), session.outcome('q2')]).toEqual([null, 'NOT_SENT ttl']);
    session.wait(1);
    expect(session.outcome('q1')).toBe('NOT_SENT ttl');
  });

  test('gives nothing of another user away', () => {
    const session = play({ ledger });
    session.saved = left({ user: 'bob', requests: [saved('q1', { session: 's1' }), saved('q2')] });
    session.open({ session: 's1', user: 'ann' });
    session.tick();
    expect(session.outcome('q1')).toBe('OUTCOME_UNKNOWN identity');
    expect(session.outcome('q2')).toBe('NOT_SENT identity');
    expect([...session.witness.storage.requests]).toEqual([]);
    expect(session.all('store').map(({ changes }) => changes.user)).toContain('ann');
  });

  test('that asks the same request again goes on with it', () => {
    const session = play({ ledger });
    session.saved = left({ requests: [saved('q1', { session: 's1' })] });
    session.ask('q1');
    session.open({ session: 's1' });
    expect(session.all('transmit').flatMap((order) => order.frames)).toEqual(['q1']);
  });
});

describe('cursors', () => {
  test('a room is joined from where the storage left it, where that is asked for', () => {
    const session = play({ ledger });
    session.saved = left({
      cursors: [
        ['a', 'a|1|5'],
        ['b', 'b|1|7'],
        ['@me', '@me|1|3'],
      ],
    });
    session.join('a', 'stored');
    session.join('b');
    session.join('c', 'stored');
    session.open();
    expect(session.hello.rooms).toEqual([
      { room: '@me', since: '@me|1|3' },
      { room: 'a', since: 'a|1|5' },
      { room: 'b' },
      { room: 'c' },
    ]);
  });

  test('follow the listeners, at most four times a second', () => {
    const session = play({ ledger });
    session.join('a');
    session.open();
    session.joined('a', '1', 5, 'new');
    session.wait(250);
    expect(session.witness.storage.cursors.get('a')).toBe('a|1|5');
    const before = session.all('store').length;
    session.wait(250);
    for (const seq of [6, 7, 8]) {
      session.event('a', '1', seq);
      session.tick();
    }
    expect(session.witness.storage.cursors.get('a')).toBe('a|1|6');
    session.wait(250);
    expect(session.witness.storage.cursors.get('a')).toBe('a|1|8');
    expect(session.all('store').length - before).toBe(2);
  });

  test('stay before a gap until onGap has done its work', () => {
    const session = play({ ledger });
    session.join('a', 'a|1|5');
    session.open();
    session.joined('a', '1', 5);
    session.event('a', '1', 6);
    session.tick();
    session.wait(300);
    session.joined('a', '2', 9, 'epoch');
    session.event('a', '2', 10);
    session.wait(300);
    expect(session.witness.storage.cursors.get('a')).toBe('a|1|6');
    session.do({ fact: 'healed', room: 'a', run: 1 });
    session.tick();
    session.wait(300);
    expect(session.witness.storage.cursors.get('a')).toBe('a|2|10');
  });

  test('of a room that is left, or refused, are forgotten', () => {
    const session = play({ ledger });
    session.saved = left({
      cursors: [
        ['a', 'a|1|5'],
        ['b', 'b|1|5'],
      ],
    });
    session.join('a', 'stored');
    session.join('b', 'stored');
    session.open();
    session.joined('a', '1', 5);
    session.do({ fact: 'leaveAsked', room: 'a' });
    const error = { code: 'FORBIDDEN', message: 'no' };
    session.receive({ kind: 'room', room: 'b', error });
    session.tick();
    session.wait(300);
    expect([...session.witness.storage.cursors.keys()]).not.toContain('a');
    expect([...session.witness.storage.cursors.keys()]).not.toContain('b');
  });
});

test('close() drops what it rejects, and gives the slot back', () => {
  const session = play({ ledger }).open().slowStorage();
  session.ask('q1');
  session.tick();
  answer(session);
  session.tick();
  const orders = session.do({ fact: 'closeAsked' });
  expect(names(orders)).toEqual(['hangUp', 'reject', 'store', 'release', 'answerConnects']);
  expect(written(session)?.drops).toEqual(['q1']);
});

test('disconnect() keeps what is stored', () => {
  const session = play({ ledger }).open();
  session.ask('q1');
  session.tick();
  session.do({ fact: 'disconnectAsked' });
  session.tick();
  expect([...session.witness.storage.requests.keys()]).toEqual(['q1']);
  expect(session.all('release')).toEqual([]);
});

test('close() says again what a write under way was to say: it may fail', () => {
  const session = play({ ledger }).open();
  session.ask('q1');
  session.tick();
  session.tick();
  session.slowStorage();
  session.do({ fact: 'aborted', requestId: 'q1' });
  session.tick();
  session.do({ fact: 'closeAsked' });
  expect(written(session)?.drops).toEqual(['q1']);
});

test('the books of a storage that keeps failing do not grow with what has ended', () => {
  const session = play({ ledger }).open().slowStorage();
  for (let n = 0; n < 50; n++) {
    session.ask(`q${n}`);
    session.tick();
    fail(session);
    session.tick();
    session.respond(`q${n}`);
    session.tick();
  }
  session.wait(5_000);
  // One was in the write that failed first; the others were never tried.
  expect(written(session)?.drops.length).toBeLessThan(3);
  expect(written(session)?.puts).toEqual([]);
});

test('a listener that leaves its room in the middle of an event leaves no cursor behind', () => {
  const session = play({ ledger }).slowListeners();
  session.join('a', 'a|1|5');
  session.open();
  session.joined('a', '1', 5);
  session.event('a', '1', 6);
  session.do({ fact: 'leaveAsked', room: 'a' });
  session.do({ fact: 'delivered', room: 'a', eventId: 'a|1|6' });
  session.wait(1_000);
  expect(session.witness.storage.cursors.get('a')).toBe(undefined);
});
