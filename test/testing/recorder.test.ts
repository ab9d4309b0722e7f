import { describe, expect, it } from 'vitest';
import { type Recordable, type RecordedMeta, recorder } from '../../src/testing/recorder.js';

interface State {
  readonly status: string;
  readonly queued: number;
}

/** A client as far as a recorder can see. */
function fakeClient() {
  const states = new Set<(state: State) => void>();
  const events = new Set<(type: string, payload: unknown, event: RecordedMeta) => void>();
  const errors = new Set<(error: Error) => void>();
  const listen =
    <L>(listeners: Set<L>) =>
    (listener: L) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    };
  const client: Recordable<State> = {
    onState(listener) {
      listener({ status: 'disconnected', queued: 0 });
      return listen(states)(listener);
    },
    onAny: listen(events),
    onError: listen(errors),
  };
  return {
    client,
    state: (status: string, queued = 0) => states.forEach((tell) => void tell({ status, queued })),
    event: (type: string, payload: unknown) =>
      events.forEach((tell) => void tell(type, payload, { eventId: type })),
    error: (message: string) => errors.forEach((tell) => void tell(new Error(message))),
    listeners: () => states.size + events.size + errors.size,
  };
}

describe('recorder', () => {
  it('keeps statuses without repeats, and every state', () => {
    const { client, state } = fakeClient();
    const seen = recorder(client);
    state('connecting');
    state('connecting', 1);
    state('connected');
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
    expect(seen.states.map(({ queued }) => queued)).toEqual([0, 0, 1, 0]);
  });

  it('keeps events, errors and gaps in the order they came', async () => {
    const { client, event, error } = fakeClient();
    const seen = recorder<State>();
    seen.watch(client);
    event('a:b', 1);
    await seen.onGap({ room: 'a', reason: 'expired' });
    error('lost');
    event('a:b', 2);
    expect(seen.sightings.map(({ kind }) => kind)).toEqual([
      'status',
      'event',
      'gap',
      'error',
      'event',
    ]);
    expect(seen.payloads).toEqual([1, 2]);
    expect(seen.events[0]).toEqual({
      kind: 'event',
      type: 'a:b',
      payload: 1,
      event: { eventId: 'a:b' },
    });
    expect(seen.errors.map(({ message }) => message)).toEqual(['lost']);
    expect(seen.gaps).toEqual([{ room: 'a', reason: 'expired' }]);
  });

  it('waits for what is to come, and not for what has come', async () => {
    const { client, state } = fakeClient();
    const seen = recorder(client);
    await seen.until(() => true);
    const queued = seen.until(({ states }) => states.at(-1)?.queued === 2);
    let settled = false;
    void queued.then(() => {
      settled = true;
    });
    state('disconnected', 1);
    await Promise.resolve();
    expect(settled).toBe(false);
    state('disconnected', 2);
    await queued;
  });

  it('forgets on clear, and stops listening when told to', () => {
    const { client, state, event, listeners } = fakeClient();
    const seen = recorder(client);
    seen.clear();
    state('disconnected');
    expect(seen.statuses).toEqual(['disconnected']);
    seen.stop();
    seen.stop();
    event('a:b', 1);
    expect([seen.events, listeners()]).toEqual([[], 0]);
  });

  it('makes do with a client that tells its state alone', () => {
    const seen = recorder({
      onState(listener: (state: { status: string }) => void) {
        listener({ status: 'closed' });
        return () => {};
      },
    });
    expect(seen.statuses).toEqual(['closed']);
  });
});
