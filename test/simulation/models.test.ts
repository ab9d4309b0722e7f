/** The models see what they are there for: a model that cannot fail is worth nothing. */
import { describe, expect, test } from 'vitest';
import { ReaderModel } from './reader-model.js';
import { type Asked, type Outcome, RequestModel } from './request-model.js';
import type { AskPlan } from './schedule.js';
import { Truth } from './truth.js';

function reading(events = 5, retention = { maxEvents: 1_000, maxAge: 60_000 }) {
  let now = 0;
  const truth = new Truth(retention, () => now);
  truth.learned('room', { epoch: 'a', seq: 0 });
  const model = new ReaderModel('room', truth, 10);
  model.joined(null);
  model.caughtUp();
  const publish = (seq: number, epoch = 'a') =>
    truth.committed('room', { epoch, seq }, payload(seq));
  for (let seq = 1; seq <= events; seq++) publish(seq);
  const given = (seq: number, epoch = 'a') =>
    model.delivered({ epoch, seq, payload: payload(seq) })?.rule ?? null;
  const gap = (reason = 'expired', cursor: string | null = null) =>
    model.gap({ cursor, reason })?.rule ?? null;
  const pass = (ms: number) => {
    now += ms;
  };
  return { truth, model, publish, given, gap, pass };
}

function payload(seq: number): string {
  return JSON.stringify({ k: seq });
}

describe('a reader', () => {
  test('is content with every event once, in order', () => {
    const { model, given } = reading();
    expect([1, 2, 3, 4, 5].map((seq) => given(seq))).toEqual([null, null, null, null, null]);
    expect(model.atRest()).toBeNull();
  });

  test('sees a lost event, in the middle and at the end', () => {
    const { model, given } = reading();
    given(1);
    expect(given(3)).toBe('lost');
    given(4);
    expect(model.atRest()?.rule).toBe('lost');
  });

  test('sees a doubled and a reordered event', () => {
    const { given } = reading();
    given(1);
    given(2);
    expect(given(2)).toBe('doubled or out of order');
    given(4);
    expect(given(3)).toBe('doubled or out of order');
  });

  test('sees an event that was never published, or says something else', () => {
    const { given, model } = reading(1);
    expect(given(2)).toBe('invented');
    expect(model.delivered({ epoch: 'a', seq: 1, payload: '{}' })?.rule).toBe('changed');
  });

  test('sees an event of a room that was left', () => {
    const { given, model } = reading();
    model.left();
    expect(given(1)).toBe('not wanted');
  });

  test('sees another epoch of which no gap was told', () => {
    const { truth, given, publish } = reading(1);
    given(1);
    truth.lost();
    publish(1, 'b');
    expect(given(1, 'b')).toBe('lost');
  });

  test('sees a gap where the journal has everything', () => {
    const { given, gap } = reading();
    given(1);
    expect(gap()).toBe('a gap that is none');
  });

  test('takes a gap for what it is where the journal has forgotten, by number or by age', () => {
    const few = reading(5, { maxEvents: 3, maxAge: 60_000 });
    few.given(1);
    expect(few.gap('expired', 'a-1')).toBeNull();
    const old = reading(5, { maxEvents: 100, maxAge: 1_000 });
    old.given(1);
    expect(old.gap()).toBe('a gap that is none');
    old.pass(1_001);
    expect(old.gap('expired', 'a-1')).toBe('two runs of onGap at a time');
  });

  test('sees a gap that is told twice', () => {
    const { given, gap, model, truth } = reading(5, { maxEvents: 2, maxAge: 60_000 });
    given(1);
    expect(gap('expired', 'a-1')).toBeNull();
    model.healed('a-5');
    expect(truth.covers('room', { epoch: 'a', seq: 5 })).toBe(true);
    expect(gap('expired', 'a-5')).toBe('a gap that is none');
  });

  test('sees a gap that names another cursor than the last event', () => {
    const { given, gap } = reading(5, { maxEvents: 2, maxAge: 60_000 });
    given(1);
    expect(gap('expired', 'a-3')).toBe('a gap with a wrong cursor');
  });

  test('sees events given while a gap is open, and those that its state holds already', () => {
    const { given, gap, model } = reading(5, { maxEvents: 2, maxAge: 60_000 });
    given(1);
    gap('expired', 'a-1');
    expect(given(4)).toBe('past a gap');
    model.healed('a-5');
    expect(given(5)).toBe('doubled or out of order');
  });

  test('wants a lost frame to be lost twice before it is a hole', () => {
    const { given, gap, model } = reading();
    given(1);
    model.lostOnTheWay('a-2');
    expect(gap('hole', 'a-1')).toBe('a gap that is none');
    model.healed('a-1');
    model.lostOnTheWay('a-2');
    expect(gap('hole', 'a-1')).toBeNull();
  });

  test('is not at rest with a gap that nobody has healed', () => {
    const { given, gap, model } = reading(5, { maxEvents: 2, maxAge: 60_000 });
    given(1);
    gap('expired', 'a-1');
    model.healFailed();
    expect(model.atRest()?.rule).toBe('a gap stays open');
  });
});

describe('the truth', () => {
  test('sees a journal that leaves a number out, or takes one twice', () => {
    const truth = new Truth({ maxEvents: 9, maxAge: 9 }, () => 0);
    expect(truth.committed('room', { epoch: 'a', seq: 1 }, '{}')).toBeNull();
    expect(truth.committed('room', { epoch: 'a', seq: 3 }, '{}')).toContain('a-3 as number 2');
    expect(truth.committed('room', { epoch: 'a', seq: 3 }, '{}')).toBeNull();
  });

  test('sees an epoch come back', () => {
    const truth = new Truth({ maxEvents: 9, maxAge: 9 }, () => 0);
    truth.learned('room', { epoch: 'a', seq: 0 });
    truth.lost();
    truth.learned('room', { epoch: 'b', seq: 0 });
    expect(truth.learned('room', { epoch: 'a', seq: 0 })).toContain('back in the epoch a');
  });
});

const calm = { deaths: 0, losses: 0, endings: 0 };
const ok: Outcome = { ok: true, data: { n: 1 } };
const failed = (code: string, reason: string | null = null): Outcome => ({
  ok: false,
  code,
  reason,
});

function asking(change: Partial<AskPlan> = {}) {
  const model = new RequestModel();
  const plan: AskPlan = {
    n: 1,
    room: 'room',
    handler: 'quick',
    takes: 0,
    publishes: false,
    delivery: 'exactly-once',
    abortAfter: null,
    timeout: null,
    ...change,
  };
  const asked = model.ask({ plan, at: 0, since: calm, who: 'page' });
  const settled = (outcome: Outcome, now: Partial<Asked['since']> & { at?: number } = {}) =>
    model.settled(plan.n, outcome, { ...calm, at: 100, ...now })?.rule ?? null;
  return { model, asked, settled, plan };
}

describe('a request', () => {
  test('that ran once and is answered once is as promised', () => {
    const { model, settled } = asking();
    expect(model.started(1)).toBeNull();
    expect(model.completed(1)).toBeNull();
    expect(settled(ok)).toBeNull();
    expect(model.atRest()).toBeNull();
  });

  test('that never settles, or settles twice, is seen', () => {
    const { model, settled } = asking();
    expect(model.atRest()?.rule).toBe('unsettled');
    model.completed(1);
    settled(ok);
    expect(settled(ok)).toBe('settled twice');
  });

  test('that runs twice is seen, unless the application allows it', () => {
    const { model } = asking();
    model.completed(1);
    expect(model.completed(1)?.rule).toBe('ran twice');
    const allowed = asking({ delivery: 'at-least-once' }).model;
    allowed.completed(1);
    expect(allowed.completed(1)).toBeNull();
  });

  test('that a later page runs again is seen, unless the storage failed while it was under way', () => {
    for (const isUnsaved of [false, true]) {
      const { model } = asking();
      if (isUnsaved) model.unsaved('page');
      model.completed(1);
      expect(model.adopt(1, 'page.1')).toBe(true);
      expect(model.completed(1)?.rule).toBe(isUnsaved ? undefined : 'ran twice');
    }
  });

  test('that is answered without having run, or with the answer of another, is seen', () => {
    expect(asking().settled(ok)).toBe('answered, and not run');
    const { model, settled } = asking();
    model.completed(1);
    expect(settled({ ok: true, data: { n: 2 } })).toBe('a wrong answer');
  });

  test('that fails as NOT_SENT and ran, before or after, is seen', () => {
    const before = asking();
    before.model.completed(1);
    expect(before.settled(failed('NOT_SENT', 'closed'))).toBe('NOT_SENT, and ran');
    const after = asking();
    after.settled(failed('NOT_SENT', 'overflow'));
    expect(after.model.started(1)?.rule).toBe('NOT_SENT, and ran');
  });

  test.each([
    ['timeout', {}, {}],
    ['forgotten', { losses: 1 }, {}],
    ['node-died', { deaths: 1 }, {}],
    ['lost', { endings: 1 }, { delivery: 'at-most-once' }],
    ['aborted', {}, { abortAfter: 1 }],
  ] as const)('of unknown outcome by %s wants its cause', (reason, cause, plan) => {
    const unknown = failed('OUTCOME_UNKNOWN', reason);
    expect(asking().settled(unknown)).toBe('an unknown outcome without a cause');
    const { asked, settled } = asking(plan);
    if (reason === 'timeout') asked.isMeddled = true;
    expect(settled(unknown, cause)).toBeNull();
  });

  test('that fails though its handler would not, or has run, is seen', () => {
    expect(asking().settled(failed('SERVER_ERROR'))).toBe('an error without a cause');
    const { model, settled } = asking({ handler: 'failing' });
    model.completed(1);
    expect(settled(failed('SERVER_ERROR'))).toBe('an error, and ran');
  });

  test('that overtakes another one of its room is seen', () => {
    const { model, plan } = asking();
    model.ask({ plan: { ...plan, n: 2 }, at: 5, since: calm, who: 'page' });
    model.started(2);
    expect(model.started(1)?.rule).toBe('requests out of order');
  });
});
