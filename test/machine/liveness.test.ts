/** When a session asks whether the server is there, and when it stops believing it. */
import { describe, expect, test } from 'vitest';
import { Liveness, type Pulse } from '../../src/machine/liveness.js';
import { NEVER } from '../../src/machine/step.js';
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

describe('the pulse of a link', () => {
  type Look = { at: number; buffered?: number; heard?: true; is: Pulse; due?: number };

  test.each<[string, Look[]]>([
    [
      'is asked after an interval of silence, and dead a timeout later',
      [
        { at: 9_999, is: 'quiet', due: 10_000 },
        { at: 10_000, is: 'ping', due: 12_000 },
        { at: 11_999, is: 'quiet', due: 12_000 },
        { at: 12_000, is: 'dead' },
      ],
    ],
    [
      'starts over with anything that is heard',
      [
        { at: 10_000, is: 'ping' },
        { at: 11_000, heard: true, is: 'quiet', due: 21_000 },
        { at: 21_000, is: 'ping', due: 23_000 },
      ],
    ],
    [
      'is asked once an interval on a busy link too, without a deadline',
      [
        { at: 9_999, heard: true, is: 'quiet' },
        { at: 10_000, is: 'ping', due: 19_999 },
        { at: 19_998, heard: true, is: 'quiet' },
        { at: 20_000, is: 'quiet', due: 29_998 },
      ],
    ],
    [
      'E13 is given a timeout more for every byte that leaves the buffer',
      [
        { at: 10_000, buffered: 100, is: 'ping' },
        { at: 12_000, buffered: 99, is: 'quiet', due: 14_000 },
        { at: 14_000, buffered: 99, is: 'dead' },
      ],
    ],
    [
      'E12 is asked again by a timer that is more than a second late, once',
      [
        { at: 10_000, is: 'ping' },
        { at: 13_001, is: 'ping', due: 15_001 },
        { at: 16_002, is: 'dead' },
      ],
    ],
    [
      'E12 and is no less dead for a second of delay',
      [
        { at: 10_000, is: 'ping' },
        { at: 13_000, is: 'dead' },
      ],
    ],
    [
      'E12 E13 the second chance outlives a buffer that falls',
      [
        { at: 10_000, buffered: 100, is: 'ping' },
        { at: 14_000, buffered: 100, is: 'ping', due: 16_000 },
        { at: 16_000, buffered: 50, is: 'quiet', due: 18_000 },
        { at: 60_000, buffered: 50, is: 'dead' },
      ],
    ],
    [
      'E12 the buffer counts from the second question on',
      [
        { at: 10_000, buffered: 0, is: 'ping' },
        { at: 14_000, buffered: 100, is: 'ping' },
        { at: 16_000, buffered: 90, is: 'quiet' },
      ],
    ],
  ])('%s', (_name, looks) => {
    const pulse = new Liveness(heartbeat, 0, { roundTrip: 80, measures: true });
    for (const { at, buffered = 0, heard, is, due } of looks) {
      if (heard) pulse.heard(at);
      expect(pulse.check(at, buffered), `at ${at}`).toBe(is);
      if (due !== undefined) expect(pulse.deadline, `after ${at}`).toBe(due);
    }
  });

  test('is always quiet without a heartbeat, and no probe asks', () => {
    const pulse = new Liveness(null, 0, { roundTrip: 80, measures: true });
    expect([pulse.check(1e9, 0), pulse.probe(1e9, 0), pulse.deadline]).toEqual([
      'quiet',
      false,
      NEVER,
    ]);
  });

  test('a probe is asked once at a time, with no more patience than the heartbeat has', () => {
    const pulse = new Liveness(heartbeat, 0, { roundTrip: 80, measures: true });
    expect([pulse.probe(100, 0, 5_000), pulse.deadline]).toEqual([true, 2_100]);
    expect([pulse.probe(200, 0, 2_000), pulse.deadline]).toEqual([false, 2_100]);
    expect([pulse.probe(300, 0, 1_000), pulse.deadline]).toEqual([false, 1_300]);
    pulse.heard(350);
    expect([pulse.probe(400, 0, 1_000), pulse.deadline]).toEqual([true, 1_400]);
  });

  test('its latency counts answers to our own questions, each once', () => {
    const pulse = new Liveness(heartbeat, 0, { roundTrip: 80, measures: true });
    pulse.ponged(5_000);
    expect(pulse.latency).toBe(80);
    pulse.check(10_000, 0);
    pulse.ponged(10_160);
    pulse.ponged(20_000);
    expect(pulse.latency).toBe(90);
    pulse.heard(10_160);
    pulse.heard(20_100);
    pulse.check(20_100, 0);
    pulse.ponged(20_190);
    expect(pulse.latency).toBe(90);
  });

  test('its latency runs from the last question', () => {
    const pulse = new Liveness(heartbeat, 0, { roundTrip: 80, measures: true });
    pulse.check(10_000, 0);
    pulse.check(20_000, 0);
    pulse.ponged(20_080);
    expect(pulse.latency).toBe(80);
  });
});

describe('the device', () => {
  test('E18 offline is a hint: the server is asked, with two seconds to answer', () => {
    const session = play({ heartbeat: { interval: 25_000, timeout: 5_000 } }).open();
    session.do({ fact: 'wentOffline', buffered: 0 });
    session.tick();
    expect([session.written('ping').length, session.due]).toEqual([1, 2_000]);
    session.receive({ kind: 'pong' });
    session.wait(5_000);
    expect(session.phase).toBe('open');
  });

  test('E18 woke asks a link that looks alive, and several signals make one ping', () => {
    const session = play({ heartbeat }).open();
    for (let count = 0; count < 3; count++) session.do({ fact: 'woke', buffered: 0 });
    session.tick();
    expect(session.written('ping')).toHaveLength(1);
  });

  test('without a heartbeat nothing is asked, whatever the device says', () => {
    const session = play({ heartbeat: null }).open();
    session.wait(10_000);
    session.do({ fact: 'woke', buffered: 0 });
    session.do({ fact: 'wentOffline', buffered: 0 });
    session.tick();
    expect([session.written('ping'), session.due]).toEqual([[], Number.POSITIVE_INFINITY]);
  });

  test('E18 woke ends a wait at once, and makes one attempt', () => {
    const session = play().open();
    session.lose();
    for (let count = 0; count < 3; count++) session.do({ fact: 'woke', buffered: 0 });
    expect(session.all('dial').map(({ link }) => link)).toEqual([1, 2]);
  });

  test('E19 a page that is put aside hangs up, and comes back when the device does', () => {
    const session = play().open();
    session.do({ fact: 'suspended' });
    expect([session.phase, session.due]).toEqual(['waiting', Number.POSITIVE_INFINITY]);
    session.do({ fact: 'woke', buffered: 0 });
    expect(session.phase).toBe('dialing');
  });

  test('E20 a hidden page is put aside after pauseAfter, unless an answer is still to come', () => {
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

  test('E20 without pauseAfter a hidden page stays connected', () => {
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
