/** What a link is told to be as it opens, and what the state makes of it. */
import { expect, test } from 'vitest';
import { play } from './play.js';

const welcome = { kind: 'welcome', connectionId: 'c', session: 's1', user: 'ann' } as const;

test('a wire of several is named in the state while it is in use', () => {
  const session = play().dial();
  session.do({ fact: 'opened', link: session.link, transport: 'sse' });
  expect(session.state.transport).toBeNull();
  session.receive(welcome);
  expect(session.state.transport).toBe('sse');
  session.do({ fact: 'reconnectAsked' });
  session.open();
  expect(session.state.transport).toBe('memory');
});

test('an opening that is told late still counts from when it was', () => {
  const session = play().dial();
  session.do({ fact: 'opened', link: session.link, age: 80 });
  session.receive(welcome);
  expect(session.state.latency).toBe(80);
});

test('a busy wire is asked for its latency, but not one on which a ping is dear', () => {
  for (const pings of [true, false]) {
    const session = play({ heartbeat: { interval: 1_000, timeout: 500 } }).dial();
    session.do({ fact: 'opened', link: session.link, pings });
    session.receive(welcome);
    session.tick();
    for (let tick = 0; tick < 5; tick++) {
      session.wait(400);
      session.receive({ kind: 'event', eventId: `${tick}`, type: 'a:b', timestamp: 0 });
    }
    // The timer was set for the first deadline, and is not moved by every frame.
    session.do({ fact: 'timeUp', buffered: 0 });
    session.tick();
    expect(session.written('ping').length > 0).toBe(pings);
    // Silence is asked for its reason on any wire.
    session.wait(1_000);
    expect(session.written('ping').length).toBeGreaterThan(0);
  }
});

test('what its hello named is joined, and what came after it is joined once it serves', () => {
  const session = play().dial();
  session.join('early');
  session.join('late');
  session.do({ fact: 'opened', link: session.link, rooms: [{ room: 'early' }] });
  session.receive(welcome);
  expect(session.tick()).toEqual([{ kind: 'join', rooms: [{ room: 'late' }] }]);
});

test('a better link that waits is dialed at once, however soon after the last', () => {
  const session = play().open();
  for (const link of [2, 3, 4]) {
    session.receive({ kind: 'goodbye', reason: 'upgrade', reconnectAfter: -1 });
    session.wait(0);
    expect(session.link).toBe(link);
    session.do({ fact: 'opened', link });
    session.receive(welcome, link);
    expect(session.state.status).toBe('connected');
  }
});
