/** When a session asks whether the server is there, and when it stops believing it. */
import { describe, expect, test } from 'vitest';
import { type Play, play } from './play.js';

const heartbeat = { interval: 10_000, timeout: 2_000 };

describe('heartbeats', () => {
  test('a ping goes out after interval of silence', () => {
    const session = play({ heartbeat }).open();
    session.wait(9_999);
    expect(session.written('ping')).toEqual([]);
    session.wait(1);
    expect(session.written('ping')).toHaveLength(1);
  });

  test('I23 E14 a black hole is given up within interval and timeout, and not before', () => {
    const session = play({ heartbeat }).open();
    session.wait(11_999);
    expect(session.phase).toBe('open');
    session.wait(1);
    expect(session.phase).toBe('waiting');
    expect(session.state.error?.code).toBe('HEARTBEAT_TIMEOUT');
    expect(session.all('hangUp').map(({ link }) => link)).toEqual([1]);
  });

  test.each(['pong', 'event', 'ping', 'garbled'] as const)('E13 %s proves life', (kind) => {
    const session = play({ heartbeat }).open();
    session.wait(11_000);
    session.do({ fact: 'received', link: 1, frame: frame(kind) });
    session.wait(9_000);
    expect(session.phase).toBe('open');
  });

  test('E13 a flood without a pong never reconnects', () => {
    const session = play({ heartbeat }).open();
    for (let count = 0; count < 100; count++) {
      session.wait(1_000);
      session.do({ fact: 'received', link: 1, frame: frame('event') });
    }
    expect(session.phase).toBe('open');
  });

  test('E13 a buffer that falls is life: a slow upload is not death', () => {
    const session = play({ heartbeat }).open();
    session.wait(10_000, 1_000_000);
    for (let buffered = 900_000; buffered >= 100_000; buffered -= 100_000) {
      session.wait(2_000, buffered);
      expect(session.phase).toBe('open');
    }
    session.wait(2_000, 100_000);
    expect(session.phase).toBe('waiting');
  });

  test('E12 a timer that was late by a sleep asks once more before it gives up, and only once', () => {
    const session = play({ heartbeat }).open();
    session.wait(10_000);
    late(session, 3_600_000);
    expect(session.phase).toBe('open');
    expect(session.written('ping')).toHaveLength(2);
    late(session, 3_600_000);
    expect(session.phase).toBe('waiting');
  });

  test('a ping of the server is answered', () => {
    const session = play({ heartbeat }).open();
    session.receive({ kind: 'ping' });
    session.tick();
    expect(session.written('pong')).toHaveLength(1);
  });

  test("the server's terms win, and with false there is no heartbeat", () => {
    const terms = { heartbeat: { interval: 1_000, timeout: 500 } };
    const session = play({ heartbeat }).open({ terms });
    expect(session.due).toBe(1_000);
    const mute = play({ heartbeat: null }).open({ terms });
    mute.wait(3_600_000);
    expect([mute.phase, mute.written('ping')]).toEqual(['open', []]);
  });

  test('the latency is smoothed, and starts with the round trip of the hello', () => {
    const session = play({ heartbeat }).greet();
    session.now += 80;
    session.open();
    expect(session.state.latency).toBe(80);
    session.wait(10_000);
    session.now += 160;
    session.receive({ kind: 'pong' });
    expect(session.state.latency).toBe(90);
  });
});

describe('the device', () => {
  test('offline is a hint: the server is asked, with two seconds to answer (E18)', () => {
    const session = play({ heartbeat: { interval: 25_000, timeout: 5_000 } }).open();
    session.do({ fact: 'wentOffline', buffered: 0 });
    session.tick();
    expect([session.written('ping').length, session.due]).toEqual([1, 2_000]);
    session.receive({ kind: 'pong' });
    session.wait(5_000);
    expect(session.phase).toBe('open');
  });

  test('woke asks a link that looks alive, and several signals make one ping (E18)', () => {
    const session = play({ heartbeat }).open();
    for (let count = 0; count < 3; count++) session.do({ fact: 'woke', buffered: 0 });
    session.tick();
    expect(session.written('ping')).toHaveLength(1);
  });

  test('woke ends a wait at once, and makes one attempt (E18)', () => {
    const session = play().open();
    session.lose();
    for (let count = 0; count < 3; count++) session.do({ fact: 'woke', buffered: 0 });
    expect(session.all('dial').map(({ link }) => link)).toEqual([1, 2]);
  });

  test('a page that is put aside hangs up, and comes back when the device does (E19)', () => {
    const session = play().open();
    session.do({ fact: 'suspended' });
    expect([session.phase, session.due]).toEqual(['waiting', Number.POSITIVE_INFINITY]);
    session.do({ fact: 'woke', buffered: 0 });
    expect(session.phase).toBe('dialing');
  });

  test('a hidden page is put aside after pauseAfter, unless an answer is still to come (E20)', () => {
    const session = play({ pauseAfter: 5_000 }).open();
    session.ask('q1', { timeout: 3_600_000 });
    session.tick();
    session.do({ fact: 'hid' });
    session.wait(6_000);
    expect(session.phase).toBe('open');
    session.respond('q1');
    session.wait(3_600_000);
    expect(session.phase).toBe('waiting');
    expect(session.all('dial')).toHaveLength(1);
  });

  test.each([0, 5_000])(
    'I22 hidden with pauseAfter %i and a request that waits, it looks now and then',
    (pauseAfter) => {
      const session = play({ pauseAfter, heartbeat: null }).open();
      session.ask('q1', { timeout: 3_600_000 });
      session.do({ fact: 'hid' });
      const looks = session.wait(60_000).length;
      expect(looks).toBeLessThan(100);
      expect(session.phase).toBe('open');
    },
  );

  test('without pauseAfter a hidden page stays connected (E20)', () => {
    const session = play().open();
    session.do({ fact: 'hid' });
    session.wait(9_000);
    expect(session.phase).toBe('open');
  });
});

/** The timer fires so much later than it should. */
function late(session: Play, ms: number): void {
  session.now += ms;
  session.do({ fact: 'timeUp', buffered: 0 });
  session.tick();
}

function frame(kind: 'pong' | 'event' | 'ping' | 'garbled') {
  if (kind === 'event') return { kind, eventId: 'e', type: 'a:b', timestamp: 0 } as const;
  return kind === 'garbled' ? ({ kind, why: 'noise' } as const) : ({ kind } as const);
}
