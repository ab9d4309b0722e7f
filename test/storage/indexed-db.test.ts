/** The storage in IndexedDB keeps the rules of storages, whatever it meets in a database. */
import 'fake-indexeddb/auto';
import { storageRules, VIRTUAL_EPOCH } from 'holdfast/testing';
import { type IDBPDatabase, openDB } from 'idb';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { indexedDbStorage } from '../../src/storage/indexed-db.js';
import { changes, request, storageHost } from './host.js';
import { fakeLocks } from './web-locks.js';

let made = 0;
let name: string;
let locks: ReturnType<typeof fakeLocks>;

beforeEach(() => {
  name = `database-${++made}`;
  locks = fakeLocks();
  vi.stubGlobal('navigator', { locks });
});

afterEach(() => vi.unstubAllGlobals());

describe('a storage in IndexedDB', () => {
  const empty = () => indexedDbStorage({ name: `rules-${++made}` });
  for (const { title, run } of storageRules(empty)) test(title, run);

  test('is called holdfast where nobody says otherwise, and holds a lock until it is closed', async () => {
    const slot = await indexedDbStorage().open(storageHost());
    expect((await indexedDB.databases()).map((one) => one.name)).toContain('holdfast');
    expect([...locks.held]).toEqual(['holdfast/holdfast/id-1']);
    await slot.close();
    expect([...locks.held]).toEqual([]);
    await expect(slot.write(changes({}))).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
  });

  test('asks for the disk, not for the cache of the operating system', async () => {
    const slot = await indexedDbStorage({ name }).open(storageHost());
    const began = vi.spyOn(IDBDatabase.prototype, 'transaction');
    await slot.write(changes({ puts: [request('a')] }));
    expect(began.mock.calls.map(([, mode, options]) => [mode, options])).toEqual([
      ['readwrite', { durability: 'strict' }],
    ]);
    began.mockRestore();
    await slot.close();
  });

  test('keeps 2,000 cursors of a slot, the last written', async () => {
    const storage = indexedDbStorage({ name });
    const slot = await storage.open(storageHost());
    const cursors = Array.from({ length: 2_001 }, (_, index) => [`r${index}`, 'c'] as const);
    await slot.write(changes({ cursors }));
    await slot.write(
      changes({
        cursors: [
          ['r1', 'd'],
          ['new', 'c'],
        ],
      }),
    );
    await slot.close();
    const next = await storage.open(storageHost());
    const rooms = next.saved.cursors.map(([room]) => room);
    expect(rooms).toHaveLength(2_000);
    expect([rooms.includes('r0'), rooms.includes('r1'), rooms.includes('r2')]).toEqual([
      false,
      true,
      false,
    ]);
    await next.close();
  });

  test('changes nothing where a write fails, and says why as the browser said it', async () => {
    const storage = indexedDbStorage({ name });
    const slot = await storage.open(storageHost());
    await slot.write(changes({ puts: [request('a')] }));
    const put = vi.spyOn(IDBObjectStore.prototype, 'put').mockImplementation(() => {
      throw new DOMException('No room.', 'QuotaExceededError');
    });
    const failing = slot.write(changes({ puts: [request('b')], drops: ['a'], user: 'ann' }));
    await expect(failing).rejects.toMatchObject({ name: 'QuotaExceededError' });
    put.mockRestore();
    await slot.write(changes({ puts: [request('c')] }));
    await slot.close();
    const next = await storage.open(storageHost());
    expect(next.saved).toMatchObject({ requests: [request('a'), request('c')], user: undefined });
    await next.close();
  });

  test('is all or nothing where the browser refuses in the middle of a write', async () => {
    const storage = indexedDbStorage({ name });
    const slot = await storage.open(storageHost());
    const remove = vi.spyOn(IDBObjectStore.prototype, 'delete').mockImplementation(() => {
      throw new DOMException('No room.', 'QuotaExceededError');
    });
    const failing = slot.write(changes({ puts: [request('a')], cursors: [['r', null]] }));
    await expect(failing).rejects.toMatchObject({ name: 'QuotaExceededError' });
    remove.mockRestore();
    await slot.close();
    const next = await storage.open(storageHost());
    expect(next.saved.requests).toEqual([]);
    await next.close();
  });
});

describe('a browser that stores nothing', () => {
  test.each([
    ['no Web Locks', () => vi.stubGlobal('navigator', {}), 'https'],
    ['no navigator at all', () => vi.stubGlobal('navigator', undefined), 'https'],
    ['no IndexedDB', () => vi.stubGlobal('indexedDB', undefined), 'missing or blocked'],
  ])('has %s: open rejects, and says what to do', async (_, harm, word) => {
    harm();
    const opening = indexedDbStorage({ name }).open(storageHost());
    await expect(opening).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining(word),
    });
    expect([...locks.held]).toEqual([]);
  });

  test('is looked at only when a slot is opened', async () => {
    vi.stubGlobal('navigator', undefined);
    const storage = indexedDbStorage({ name });
    vi.stubGlobal('navigator', { locks });
    await (await storage.open(storageHost())).close();
  });
});

describe('a database that is not as it should be', () => {
  test('is left alone where a later version made it', async () => {
    const later = await openDB(name, 7, {
      upgrade: (created) => void created.createObjectStore('x'),
    });
    later.close();
    const opening = indexedDbStorage({ name }).open(storageHost());
    await expect(opening).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining('later version'),
    });
    const again = await openDB(name);
    expect([again.version, [...again.objectStoreNames]]).toEqual([7, ['x']]);
    again.close();
  });

  test('is left alone where it belongs to something else', async () => {
    const other = await openDB(name, 1, {
      upgrade: (created) => void created.createObjectStore('x'),
    });
    other.close();
    const opening = indexedDbStorage({ name }).open(storageHost());
    await expect(opening).rejects.toMatchObject({
      message: expect.stringContaining('something else'),
    });
  });

  test('is given up to a newer tab that upgrades it, but its slot is not', async () => {
    const storage = indexedDbStorage({ name });
    const slot = await storage.open(storageHost());
    const newer = await openDB(name, 2);
    const failing = slot.write(changes({ puts: [request('a')] }));
    await expect(failing).rejects.toMatchObject({
      message: expect.stringContaining('later version'),
    });
    expect(locks.held.size).toBe(1);
    newer.close();
    await slot.close();
    expect(locks.held.size).toBe(0);
  });

  test('is opened again after the browser has closed it', async () => {
    const storage = indexedDbStorage({ name });
    const slot = await storage.open(storageHost());
    const deleting = indexedDB.deleteDatabase(name);
    await new Promise((done) => deleting.addEventListener('success', done));
    await slot.write(changes({ puts: [request('a')] }));
    await slot.close();
    const next = await storage.open(storageHost());
    expect(next.saved).toMatchObject({ clientId: 'id-1', requests: [request('a')] });
    await next.close();
  });

  test('sets a record aside that it cannot read, and goes on with the others', async () => {
    await filled(async (database) => {
      await database.put('requests', { requestId: 'odd' }, ['id-1', VIRTUAL_EPOCH + 1]);
      await database.put('cursors', 7, ['id-1', 'r']);
    });
    const host = storageHost();
    const slot = await indexedDbStorage({ name }).open(host);
    expect(slot.saved.requests.map(({ requestId }) => requestId)).toEqual(['a', 'c']);
    expect(slot.saved.cursors).toEqual([]);
    expect(host.reports).toMatchObject([
      { code: 'STORAGE_FAILED', message: expect.stringContaining('2 records') },
    ]);
    await slot.close();
    const again = storageHost();
    await (await indexedDbStorage({ name }).open(again)).close();
    expect(again.reports).toEqual([]);
    expect(await aside()).toEqual(['requests', 'cursors']);
  });

  test('sets a slot aside that it cannot read, with its requests, and makes a new one', async () => {
    await filled((database) => database.put('slots', { link: 'far' }, 'id-1'));
    const host = storageHost(() => 'fresh');
    const slot = await indexedDbStorage({ name }).open(host);
    expect(slot.saved).toMatchObject({ clientId: 'fresh', requests: [], cursors: [] });
    expect(host.reports).toHaveLength(1);
    expect((await aside()).sort()).toEqual([
      'cursors',
      'requests',
      'requests',
      'requests',
      'slots',
    ]);
    await slot.close();
  });

  async function filled(spoil: (database: IDBPDatabase) => Promise<unknown>): Promise<void> {
    const slot = await indexedDbStorage({ name }).open(storageHost());
    const puts = ['a', 'b', 'c'].map((id) => request(id));
    await slot.write(changes({ puts, cursors: [['r', '1']] }));
    await slot.close();
    const database = await openDB(name);
    await spoil(database);
    database.close();
  }

  async function aside(): Promise<string[]> {
    const database = await openDB(name);
    const records: { store: string }[] = await database.getAll('aside');
    database.close();
    return records.map(({ store }) => store);
  }
});
