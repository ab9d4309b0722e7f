import { memoryJournal } from 'holdfast/server';
import { describe, expect, test } from 'vitest';
import { FakeClient, hubOf, world } from './harness.js';

describe('closing at once', () => {
  test('closes every connection with 1001, aborts what runs, and leaves no timer', async () => {
    const w = world();
    let signal: AbortSignal | undefined;
    const hub = hubOf(w, {
      handlers: {
        'x:do': (_, context) => {
          signal = context.signal;
          return new Promise(() => {});
        },
      },
      authorizeRoom: ({ room }) => room !== 'slow' || new Promise<boolean>(() => {}),
    });
    const client = new FakeClient(hub, w);
    const silent = new FakeClient(hub, w);
    silent.answersClose = false;
    const greeting = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'slow' }] });
    await silent.hello({ clientId: 'c2' });
    await client.request('r1', 'x:do');

    const closing = hub.close();
    await w.clock.advance(2_000);
    await closing;

    expect(client.closed).toMatchObject({ code: 1001 });
    expect(greeting.closed).toMatchObject({ code: 1001 });
    expect(signal?.aborted).toBe(true);
    expect(client.response('r1')).toMatchObject({ error: { code: 'OUTCOME_UNKNOWN' } });
    expect(w.clock.pending).toBe(0);
    expect(hub.metrics()).toMatchObject({ connections: 0, rooms: 0 });
    await hub.close();
  });

  test('what was published before it is kept, what comes after it is refused', async () => {
    const w = world();
    const journal = memoryJournal();
    const hub = hubOf(w, { journal });
    const before = hub.publish('a', 'x:y', 1);
    const closing = hub.close();
    await expect(before).resolves.toHaveProperty('eventId');
    await closing;
    await expect(hub.publish('a', 'x:y', 2)).rejects.toMatchObject({ code: 'CONNECTION_FAILED' });
    const late = new FakeClient(hub, w);
    await w.clock.advance(100);
    expect(late.closed).toMatchObject({ code: 1001 });
    expect(w.clock.pending).toBe(0);
  });
});

describe('draining', () => {
  test('tells everybody to move, sends new ones away, and finishes requests', async () => {
    const w = world();
    let finish: () => void = () => {};
    const hub = hubOf(w, {
      retrySpread: 4_000,
      handlers: {
        'x:do': () =>
          new Promise<string>((resolve) => {
            finish = () => resolve('done');
          }),
      },
    });
    const busy = new FakeClient(hub, w);
    const idle = new FakeClient(hub, w);
    await busy.hello();
    await idle.hello({ clientId: 'c2' });
    await busy.request('r1', 'x:do');

    let isClosed = false;
    const closing = hub.close({ drain: true, over: 30_000 }).then(() => {
      isClosed = true;
    });
    await w.clock.settle();
    expect(busy.last('goodbye')).toMatchObject({ spread: 4_000 });
    expect(idle.last('goodbye')).toBeDefined();
    expect(idle.closed).toBeUndefined();

    const late = new FakeClient(hub, w);
    await late.hello({ clientId: 'c3' });
    expect(late.frames.map((frame) => frame.kind)).toEqual(['goodbye']);
    expect(late.closed).toMatchObject({ code: 1001 });

    await w.clock.advance(1_000);
    finish();
    await w.clock.settle();
    expect(busy.response('r1')).toMatchObject({ data: 'done' });
    expect(isClosed).toBe(false);

    idle.lose();
    busy.lose();
    await w.clock.advance(100);
    await closing;
    expect(w.clock.pending).toBe(0);
  });

  test('ends at its deadline, whoever is still there', async () => {
    const w = world();
    const hub = hubOf(w, { handlers: { 'x:do': () => new Promise(() => {}) } });
    const client = new FakeClient(hub, w);
    await client.hello();
    await client.request('r1', 'x:do');
    const closing = hub.close({ drain: true, over: 5_000 });
    await w.clock.advance(4_999);
    expect(client.closed).toBeUndefined();
    await w.clock.advance(2_000);
    await closing;
    expect(client.closed).toMatchObject({ code: 1001 });
    expect(w.clock.pending).toBe(0);
  });

  test('is cut short by a close that does not drain', async () => {
    const w = world();
    const hub = hubOf(w);
    const client = new FakeClient(hub, w);
    await client.hello();
    const closing = hub.close({ drain: true, over: 60_000 });
    await w.clock.settle();
    void hub.close();
    await w.clock.advance(10);
    await closing;
    expect(client.closed).toMatchObject({ code: 1001 });
  });

  test('a client that is being looked at when it begins is sent away', async () => {
    const w = world();
    let allow: () => void = () => {};
    const hub = hubOf(w, {
      authenticate: () =>
        new Promise<{ user: string }>((resolve) => {
          allow = () => resolve({ user: 'ada' });
        }),
    });
    const client = new FakeClient(hub, w);
    await client.hello();
    const closing = hub.close({ drain: true, over: 1_000 });
    await w.clock.settle();
    allow();
    await w.clock.advance(2_000);
    await closing;
    expect(client.frames.map((frame) => frame.kind)).toEqual(['goodbye']);
  });

  test('during a handover the old link is fenced after the heartbeat timeout, not at once', async () => {
    const w = world();
    const journal = memoryJournal();
    const old = hubOf(w, { journal });
    const next = hubOf(w, { journal });
    const first = new FakeClient(old, w);
    await first.hello({ link: 1 });
    void old.close({ drain: true, over: 60_000 });
    await w.clock.settle();

    const second = new FakeClient(next, w);
    await second.hello({ link: 2 });
    await w.clock.advance(4_000);
    expect(first.closed).toBeUndefined();
    await w.clock.advance(2_000);
    expect(first.closed).toMatchObject({ code: 4409 });
    expect(second.closed).toBeUndefined();
  });
});

test.each([Number.NaN, -1, Number.POSITIVE_INFINITY])('over: %d is refused', async (over) => {
  const w = world();
  const hub = hubOf(w);
  await expect(hub.close({ drain: true, over })).rejects.toThrow(/^over must be 0 or more/);
  // And changes nothing.
  const client = new FakeClient(hub, w);
  await client.hello();
  expect(client.last('welcome')).toBeDefined();
});

describe('a hub that is declared dead', () => {
  test('closes its clients with 1012, aborts what runs, and takes nobody in', async () => {
    const w = world();
    const journal = memoryJournal();
    const signals: AbortSignal[] = [];
    const hub = hubOf(w, {
      journal,
      handlers: {
        'x:wait': (_payload, { signal }) => {
          signals.push(signal);
          return new Promise(() => {});
        },
      },
    });
    const client = new FakeClient(hub, w);
    await client.hello({ rooms: [{ room: 'a' }] });
    await client.request('r', 'x:wait');
    journal.fence();
    await w.clock.settle();
    expect(client.closed).toMatchObject({ code: 1012 });
    expect(signals[0]?.aborted).toBe(true);
    const late = new FakeClient(hub, w);
    await late.hello({ clientId: 'c2' });
    expect(late.closed).toMatchObject({ code: 1012 });
    expect(late.last('welcome')).toBeUndefined();
    await w.clock.advance(10_000);
    expect(w.clock.pending).toBe(0);

    // The next one answers for it.
    const next = new FakeClient(hubOf(w, { journal, handlers: { 'x:wait': () => 1 } }), w);
    await next.hello({ link: 2, rooms: [{ room: 'a' }] });
    await next.request('r', 'x:wait');
    expect(next.response('r')).toMatchObject({ error: { code: 'OUTCOME_UNKNOWN' } });
    await hub.close();
  });
});
