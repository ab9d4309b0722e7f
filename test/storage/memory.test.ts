/** The storage for tests keeps the rules of storages, and its faults are what they say. */
import { memoryStorage, storageRules, virtualClock } from 'holdfast/testing';
import { describe, expect, test } from 'vitest';
import type { Slot } from '../../src/client/storage.js';
import type { Changes } from '../../src/machine/order.js';
import { changes, request, storageHost } from './host.js';

describe('a memory storage', () => {
  for (const { title, run } of storageRules(() => memoryStorage())) test(title, run);
});

describe('a memory storage with faults', () => {
  test('refuses to open while that fails', async () => {
    const storage = memoryStorage({ faults: { open: 'fails' } });
    await expect(storage.open(storageHost())).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
    storage.heal();
    expect((await storage.open(storageHost())).saved.clientId).toBe('id-1');
  });

  test('opens once it hangs no more', async () => {
    const storage = memoryStorage({ faults: { open: 'hangs' } });
    const opening = storage.open(storageHost());
    expect(await settled(opening)).toBe(false);
    storage.set({ open: 'works' });
    expect((await opening).saved.clientId).toBe('id-1');
  });

  test('changes nothing where a write fails, or needs more than its capacity', async () => {
    const storage = memoryStorage();
    const slot = await storage.open(storageHost());
    storage.set({ write: 'fails' });
    const failing = slot.write(changes({ puts: [request('a')] }));
    await expect(failing).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
    storage.set({ write: 'works', capacity: 1 });
    const full = slot.write(changes({ puts: [request('a'), request('b')], user: 'ann' }));
    await expect(full).rejects.toMatchObject({ name: 'QuotaExceededError' });
    expect(storage.slots).toMatchObject([{ requests: [], user: undefined }]);
    await slot.write(changes({ puts: [request('a')] }));
    await slot.write(changes({ puts: [request('b')], drops: ['a'] }));
    expect(storage.slots).toMatchObject([{ requests: [request('b')] }]);
  });

  test('keeps writes that hang, and their order', async () => {
    const storage = memoryStorage();
    const slot = await storage.open(storageHost());
    storage.set({ write: 'hangs' });
    const writes = ['1', '2'].map((cursor) => slot.write(changes({ cursors: [['r', cursor]] })));
    const closing = slot.close();
    expect(await settled(...writes, closing)).toBe(false);
    expect(storage.slots).toMatchObject([{ cursors: [], owned: true }]);
    storage.heal();
    await Promise.all([...writes, closing]);
    expect(storage.slots).toMatchObject([{ cursors: [['r', '2']], owned: false }]);
  });

  test('takes its time by the clock, one write after the other', async () => {
    const clock = virtualClock();
    const storage = memoryStorage({ clock });
    const slot = await storage.open(storageHost());
    storage.set({ delay: 100 });
    const [first, second] = ['1', '2'].map((cursor) =>
      slot.write(changes({ cursors: [['r', cursor]] })),
    );
    await clock.advance(100);
    expect([await settled(first), await settled(second)]).toEqual([true, false]);
    await clock.advance(100);
    expect(await settled(second)).toBe(true);
    expect(clock.pending).toBe(0);
  });

  test('wants a clock for a delay', () => {
    expect(() => memoryStorage({ faults: { delay: 1 } })).toThrow(TypeError);
  });
});

describe('a crash', () => {
  test('frees the slots, and loses what was not acknowledged', async () => {
    const { clock, storage, slot, write } = await writing();
    storage.crash();
    expect(storage.slots).toMatchObject([{ requests: [request('a')], owned: false }]);
    await clock.advance(1_000);
    expect(await settled(...write)).toBe(false);
    expect(clock.pending).toBe(0);
    expect(storage.slots).toMatchObject([{ requests: [request('a')] }]);
    const next = await opened(storage, clock);
    // A page that is gone closes nothing.
    await slot.close();
    expect(storage.slots).toMatchObject([{ owned: true }]);
    expect(next.saved.clientId).toBe(slot.saved.clientId);
  });

  test('may come between a write and the word of it', async () => {
    const { storage } = await writing();
    storage.crash({ landed: 1 });
    expect(storage.slots).toMatchObject([{ requests: [request('a'), request('b')] }]);
  });

  test('may hit one owner of several', async () => {
    const storage = memoryStorage();
    const host = storageHost();
    const [one] = [await storage.open(host), await storage.open(host)];
    storage.crash({ clientId: one.saved.clientId });
    expect(storage.slots.map(({ owned }) => owned)).toEqual([false, true]);
    expect((await storage.open(host)).saved.clientId).toBe(one.saved.clientId);
  });

  test('loses an open that is under way', async () => {
    const storage = memoryStorage({ faults: { open: 'hangs' } });
    const opening = storage.open(storageHost());
    storage.crash();
    storage.heal();
    expect(await settled(opening)).toBe(false);
    expect(storage.slots).toEqual([]);
  });

  /** A slot with one request that is stored, and two writes under way. */
  async function writing() {
    const clock = virtualClock();
    const storage = memoryStorage({ clock });
    const slot = await storage.open(storageHost());
    await slot.write(changes({ puts: [request('a')] }));
    storage.set({ delay: 100 });
    const write = ['b', 'c'].map((id) => slot.write(changes({ puts: [request(id)] })));
    return { clock, storage, slot, write };
  }

  async function opened(
    storage: ReturnType<typeof memoryStorage>,
    clock: ReturnType<typeof virtualClock>,
  ): Promise<Slot> {
    const opening = storage.open(storageHost());
    await clock.advance(100);
    return opening;
  }
});

/** Whether any of them has settled. */
async function settled(...promises: readonly (Promise<unknown> | undefined)[]): Promise<boolean> {
  const pending = Symbol('pending');
  await new Promise((done) => setImmediate(done));
  const first = await Promise.race([...promises, Promise.resolve(pending)].map(quiet));
  return first !== pending;

  async function quiet(promise: Promise<unknown> | undefined): Promise<unknown> {
    return promise?.catch(() => undefined);
  }
}

describe('the rules of storages', () => {
  type Loses = (changes: Changes) => Changes;
  test.each<[string, Loses, string]>([
    ['never deletes', (all) => ({ ...all, drops: [] }), 'puts, stamps, drops'],
    ['does not keep stamps', (all) => ({ ...all, stamps: [] }), 'puts, stamps, drops'],
    ['does not keep cursors', (all) => ({ ...all, cursors: [] }), 'what was written is there'],
    ['does not keep the user', ({ user: _, ...all }) => all, 'the user stays'],
  ])('find an adapter that %s', async (_, lose, rule) => {
    const rules = storageRules(() => {
      const storage = memoryStorage();
      return {
        name: 'lossy',
        async open(host) {
          const { saved, write, close } = bound(await storage.open(host));
          return { saved, write: (changes) => write(lose(changes)), close };
        },
      };
    });
    const found = rules.find(({ title }) => title.startsWith(rule));
    await expect(found?.run()).rejects.toThrow('breaks a rule');
  });

  function bound(slot: Slot): Slot {
    return {
      saved: slot.saved,
      write: (changes) => slot.write(changes),
      close: () => slot.close(),
    };
  }
});
