/** Every phase against every fact: where it leads, and which orders it gives. The guide shows the same table. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Fact } from '../../src/machine/fact.js';
import { Ledger } from '../../src/machine/ledger.js';
import type { Order } from '../../src/machine/order.js';
import type { Garbled, ServerFrame } from '../../src/protocol/frame.js';
import { failed, type Play, play, request } from './play.js';
import { type Phase, phases } from './scene.js';
import { type FrameKind, frameKinds, frames, type Kind, kinds, table } from './table.js';

const guide = readFileSync(new URL('../../src/machine/README.md', import.meta.url), 'utf8');

describe('the table of phases and facts', () => {
  const cells = phases.flatMap((phase) =>
    kinds.map((fact) => ({ phase, fact, cell: table[phase][fact] })),
  );

  test('has every fact, once', () => {
    expect(Object.keys(table.idle)).toEqual(kinds);
    expect(Object.keys(frames)).toEqual(frameKinds);
  });

  test.each(cells)('$phase, $fact: $cell', ({ phase, fact, cell }) => {
    const session = bring(phase, fact);
    expect(session.phase).toBe(phase);
    expect(led(session, () => session.do(factOf(fact, session)))).toBe(cell);
  });

  test('stands in the guide as it stands here', () => {
    const rows = kinds.map(
      (fact) => `| \`${fact}\` | ${phases.map((phase) => table[phase][fact]).join(' | ')} |`,
    );
    expect(guide).toContain(rows.join('\n'));
  });
});

describe('the table of frames', () => {
  const cells = frameKinds.flatMap((kind) =>
    (['greeting', 'open', 'moving'] as const).map((phase) => ({
      phase,
      kind,
      cell: frames[kind][phase],
    })),
  );

  test.each(cells)('$phase, $kind: $cell', ({ phase, kind, cell }) => {
    const session = bring(phase, 'received');
    const { links } = session.witness;
    const link = (phase === 'greeting' ? links.dialed?.link : links.live) ?? 0;
    const frame = frameOf(kind);
    expect(led(session, () => session.do({ fact: 'received', link, frame }))).toBe(cell);
  });

  test('stands in the guide as it stands here', () => {
    const rows = Object.entries(frames).map(
      ([kind, row]) => `| \`${kind}\` | ${row.greeting} | ${row.open} | ${row.moving} |`,
    );
    expect(guide).toContain(rows.join('\n'));
  });
});

test('after close() even connectAsked and reconnectAsked are only answered', () => {
  const session = play().dial();
  session.do({ fact: 'closeAsked' });
  for (const fact of ['connectAsked', 'reconnectAsked'] as const) {
    expect(led(session, () => session.do({ fact }))).toBe('closed: answerConnects');
  }
});

test('waiting without a deadline, put aside with its page, only the device or the application go on', () => {
  for (const kind of kinds) {
    const session = play().open();
    session.do({ fact: 'suspended' });
    expect([session.phase, session.due]).toEqual(['waiting', Number.POSITIVE_INFINITY]);
    session.do(factOf(kind, session));
    const goesOn = kind === 'woke' || kind === 'reconnectAsked';
    const ends = kind === 'closeAsked' || kind === 'disconnectAsked';
    expect(session.phase === 'waiting', kind).toBe(!goesOn && !ends);
  }
});

/** What came of it, as a cell says it. */
function led(session: Play, step: () => readonly Order[]): string {
  const from = session.phase;
  const { state } = session;
  const orders = step().map(({ order }) => order);
  if (orders.length > 0) return `${session.phase}: ${orders.join(', ')}`;
  if (session.phase !== from) return session.phase;
  // `queued` and `latency` may change where nothing else does.
  expect(session.state.status).toBe(state.status);
  return 'nothing';
}

/** A client with credentials, one room whose join waits, and one request that is written and unanswered. */
function bring(phase: Phase, fact: Kind): Play {
  const hasStorage = phase === 'restoring' || isAboutStorage(fact);
  const ledger = hasStorage ? () => new Ledger() : null;
  const session = play({ auth: { timeout: 10_000 }, pauseAfter: 60_000, ledger });
  if (phase === 'restoring') session.slowStorage();
  session.join('a', 'a|1|5');
  session.ask('q1');
  if (phase === 'restoring') {
    session.do({ fact: 'connectAsked' });
    return session;
  }
  session.open({ terms: { authExpiresIn: 3_600_000 } });
  // Behind a gap for those who heal; caught up for nobody, so that the join still waits.
  if (fact === 'healed' || fact === 'healFailed') {
    session.joined('a', '2', 7, 'epoch');
    session.event('a', '2', 8);
  } else session.joined('a', '1', 5);
  if (fact === 'delivered') session.slowListeners().event('a', '1', 6);
  const steps: Record<Phase, () => unknown> = {
    idle: () => session.do({ fact: 'disconnectAsked' }),
    waiting: () => session.lose(),
    restoring: () => {},
    asking: () => {
      steps.waiting();
      while (session.phase === 'waiting') session.wait(session.due);
    },
    dialing: () => {
      steps.asking();
      session.credentials();
    },
    greeting: () => {
      steps.dialing();
      session.greet();
    },
    open: () => {},
    moving: () => {
      session.receive({ kind: 'goodbye', reason: 'deploy' });
      // As far as the facts of a dialed link need it.
      if (fact === 'timeUp') return;
      session.wait(0);
      if (!fact.startsWith('credentials')) session.credentials();
      if (fact === 'received') session.greet();
    },
    closed: () => session.lose(failed('UNAUTHORIZED')),
  };
  steps[phase]();
  if (fact === 'tickEnded') session.ask('q2');
  if (hasStorage) {
    session.slowStorage();
    if (phase !== 'closed') session.ask('q2');
    session.tick();
  }
  return session;
}

function isAboutStorage(fact: Kind): boolean {
  return fact.startsWith('restore') || fact.startsWith('store');
}

function factOf(kind: Kind, session: Play): Fact {
  const { now } = session;
  const room = 'a';
  switch (kind) {
    case 'received':
      return { fact: kind, link: session.link, frame: frameOf('welcome') };
    case 'delivered':
      return { fact: kind, room, eventId: 'a|1|6' };
    case 'asked':
      return { fact: kind, request: request('q3') };
    case 'told':
      return { fact: kind, message: { wire: 't1', bytes: 10 } };
    case 'aborted':
      return { fact: kind, requestId: 'q1' };
    case 'timeUp':
      // At its deadline, where it has one.
      if (Number.isFinite(session.due)) session.now = now + session.due;
      return { fact: kind, buffered: 0 };
    case 'tickEnded':
    case 'woke':
    case 'wentOffline':
      return { fact: kind, buffered: 0 };
    case 'credentialsGiven':
      return { fact: kind, ask: session.witness.links.asks, auth: { token: 'new' }, key: 'new' };
    case 'credentialsFailed':
      return { fact: kind, ask: session.witness.links.asks, error: failed('CONNECTION_FAILED') };
    case 'opened':
      return { fact: kind, link: session.link };
    case 'lost':
      return { fact: kind, link: session.link, fault: failed('CONNECTION_FAILED') };
    case 'joinAsked':
      return { fact: kind, room: 'b', call: 9 };
    case 'joinAborted':
      return { fact: kind, room, call: 1 };
    case 'leaveAsked':
      return { fact: kind, room };
    case 'healed':
      return { fact: kind, room, run: 1 };
    case 'healFailed':
      return { fact: kind, room, run: 1, error: failed('CONNECTION_FAILED') };
    case 'restored':
      return { fact: kind, saved: session.saved, date: 0 };
    case 'restoreFailed':
      return { fact: kind, error: failed('STORAGE_FAILED') };
    case 'stored':
      return { fact: kind, write: session.witness.storage.write };
    case 'storeFailed':
      return {
        fact: kind,
        write: session.witness.storage.write,
        error: failed('STORAGE_FAILED'),
      };
    default:
      return { fact: kind };
  }
}

function frameOf(kind: FrameKind): ServerFrame | Garbled {
  const error = { code: 'SERVER_ERROR', message: 'odd' };
  switch (kind) {
    case 'welcome':
      return { kind, connectionId: 'c2', session: 's1', user: 'ann' };
    case 'room':
      return { kind, room: 'a', caughtUp: true, cursor: 'a|1|5' };
    case 'event':
      return { kind, eventId: 'a|1|6', type: 'a:b', timestamp: 0, room: 'a', seq: 6 };
    case 'response':
      return { kind, requestId: 'q1', success: true };
    case 'error':
      return { kind, error };
    case 'goodbye':
      return { kind, reason: 'deploy' };
    case 'garbled':
      return { kind, why: 'not an object' };
    default:
      return { kind };
  }
}
