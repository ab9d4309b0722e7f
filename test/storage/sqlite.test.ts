/** The storage in an SQLite file keeps the rules of storages, whatever it meets in the file. */
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { storageRules, VIRTUAL_EPOCH } from 'holdfast/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { sqliteStorage } from '../../src/storage/sqlite.js';
import { changes, request, storageHost } from './host.js';

let folder: string;
let made = 0;
let file: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'holdfast-sqlite-'));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeEach(() => {
  file = newFile();
});

function newFile(): string {
  return path.join(folder, `${++made}.db`);
}

describe('a storage in SQLite', () => {
  for (const { title, run } of storageRules(() => sqliteStorage({ path: newFile() })))
    test(title, run);

  test('keeps texts that are no UTF-8, and those with a zero in them', async () => {
    const storage = sqliteStorage({ path: file });
    const odd = request('\ud800 \0 "', {
      // Encoded, as every wire is.
      wire: JSON.stringify({ text: '\ud800 \0' }),
      room: '\udfff',
      coalesceKey: '\0',
      session: '\ud800',
    });
    const slot = await storage.open(storageHost());
    await slot.write(
      changes({
        puts: [odd],
        cursors: [
          ['\ud800', '1'],
          ['\udfff', '2'],
        ],
        user: '\ud800',
      }),
    );
    await slot.close();
    const next = await storage.open(storageHost());
    expect(next.saved.requests).toEqual([odd]);
    expect(new Map(next.saved.cursors)).toEqual(
      new Map([
        ['\ud800', '1'],
        ['\udfff', '2'],
      ]),
    );
    expect(next.saved.user).toBe('\ud800');
    await next.write(changes({ drops: [odd.requestId], cursors: [['\ud800', null]] }));
    await next.close();
    const last = await storage.open(storageHost());
    expect(last.saved).toMatchObject({ requests: [], cursors: [['\udfff', '2']] });
    await last.close();
  });

  test('makes files that nobody else may read', async () => {
    const slot = await sqliteStorage({ path: file }).open(storageHost());
    await slot.write(changes({ puts: [request('a')] }));
    const names = readdirSync(folder).filter((name) => name.startsWith(path.basename(file)));
    expect(names).toHaveLength(4);
    for (const name of names)
      expect(statSync(path.join(folder, name)).mode & 0o777, name).toBe(0o600);
    await slot.close();
  });

  test('writes through to the disk before it counts as written', async () => {
    const slot = await sqliteStorage({ path: file }).open(storageHost());
    await slot.write(changes({ puts: [request('a')] }));
    // Another connection sees what is committed, and only that.
    const reader = new DatabaseSync(file, { readOnly: true });
    expect(reader.prepare('SELECT count(*) AS count FROM requests').get()).toEqual({ count: 1 });
    expect(reader.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    reader.close();
    await slot.close();
  });

  test('keeps 2,000 cursors of a slot, the last written', async () => {
    const storage = sqliteStorage({ path: file });
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
    expect(rooms).not.toContain('r0');
    expect(rooms).not.toContain('r2');
    expect(rooms).toContain('r1');
    await next.close();
  });

  test('wants a path', () => {
    expect(() => sqliteStorage({ path: ':memory:' })).toThrow('needs the path of a file');
  });
});

describe('a file that is not as it should be', () => {
  test('is moved aside where it is no database, with a report, and a new one begun', async () => {
    writeFileSync(file, 'a letter to a friend, long enough for a header'.repeat(40));
    const host = storageHost();
    const slot = await sqliteStorage({ path: file }).open(host);
    expect(host.reports).toMatchObject([{ code: 'STORAGE_FAILED' }]);
    expect(host.reports[0]?.message).toContain(`${file}.corrupt-1`);
    expect(readFileSync(`${file}.corrupt-1`, 'utf8')).toContain('a letter to a friend');
    expect(slot.saved.requests).toEqual([]);
    await slot.write(changes({ puts: [request('a')] }));
    await slot.close();
  });

  test('is moved aside where it is damaged, the second time beside the first', async () => {
    writeFileSync(`${file}.corrupt-1`, 'from the last time');
    const storage = sqliteStorage({ path: file });
    const slot = await storage.open(storageHost());
    await slot.write(
      changes({ puts: Array.from({ length: 500 }, (_, index) => request(`q${index}`)) }),
    );
    await slot.close();
    const bytes = readFileSync(file);
    bytes.fill(0x5a, 8_192, bytes.length - 4_096);
    writeFileSync(file, bytes);
    const host = storageHost();
    const next = await storage.open(host);
    expect(host.reports.map(({ message }) => message)).toEqual([
      expect.stringContaining('.corrupt-2'),
    ]);
    expect(readFileSync(`${file}.corrupt-2`)).toEqual(bytes);
    expect(next.saved.requests).toEqual([]);
    await next.close();
  });

  test('is left alone where it is the database of something else', async () => {
    const other = new DatabaseSync(file);
    other.exec('CREATE TABLE letters (text TEXT)');
    other.close();
    const before = readFileSync(file);
    const opening = sqliteStorage({ path: file }).open(storageHost());
    await expect(opening).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining('something else'),
    });
    expect(readFileSync(file)).toEqual(before);
  });

  test('is left alone where a later version made it', async () => {
    const storage = sqliteStorage({ path: file });
    const slot = await storage.open(storageHost());
    await slot.write(changes({ puts: [request('a')] }));
    await slot.close();
    const later = new DatabaseSync(file);
    later.exec('PRAGMA user_version = 2');
    later.close();
    await expect(storage.open(storageHost())).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining('later version'),
    });
    const now = new DatabaseSync(file);
    expect(now.prepare('SELECT count(*) AS count FROM requests').get()).toEqual({ count: 1 });
    now.close();
  });

  test('says so where its folder is missing', async () => {
    const opening = sqliteStorage({ path: path.join(folder, 'nowhere', 'a.db') }).open(
      storageHost(),
    );
    await expect(opening).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining('folder'),
    });
  });
});

describe('a row that cannot be read', () => {
  test('is set aside, and does not block the others', async () => {
    const storage = sqliteStorage({ path: file });
    await filled(storage, (database) =>
      database.exec(
        `UPDATE requests SET about = '{"requestId":7}' WHERE about LIKE '%"b"%'; UPDATE cursors SET room = 'no JSON'`,
      ),
    );
    const host = storageHost();
    const slot = await storage.open(host);
    expect(host.reports).toHaveLength(1);
    expect(host.reports[0]?.message).toContain('2 rows');
    expect(slot.saved.clientId).toBe('id-1');
    expect(slot.saved.requests.map(({ requestId }) => requestId)).toEqual(['a', 'c']);
    await slot.close();
    const again = storageHost();
    await (await storage.open(again)).close();
    expect(again.reports).toEqual([]);
    expect(asideOf(file)).toEqual(['requests', 'cursors']);
  });

  test('takes its requests along where it is the slot itself, and the next slot is a new one', async () => {
    const storage = sqliteStorage({ path: file });
    await filled(storage, (database) => database.exec(`UPDATE slots SET user = 'no JSON'`));
    const host = storageHost(() => 'fresh');
    const slot = await storage.open(host);
    expect(slot.saved).toMatchObject({ clientId: 'fresh', requests: [], cursors: [] });
    expect(host.reports).toHaveLength(1);
    expect(asideOf(file).sort()).toEqual(['cursors', 'requests', 'requests', 'requests', 'slots']);
    await slot.close();
  });

  async function filled(
    storage: ReturnType<typeof sqliteStorage>,
    spoil: (database: DatabaseSync) => void,
  ): Promise<void> {
    const slot = await storage.open(storageHost());
    const puts = ['a', 'b', 'c'].map((id) => request(id));
    await slot.write(changes({ puts, cursors: [['r', '1']] }));
    await slot.close();
    const database = new DatabaseSync(file);
    spoil(database);
    database.close();
  }

  function asideOf(name: string): unknown[] {
    const database = new DatabaseSync(name);
    const rows = database.prepare('SELECT kind FROM aside ORDER BY id').all();
    database.close();
    return rows.map(({ kind }) => kind);
  }
});

describe('a full disk', () => {
  test('fails the write as a whole, and takes the next one that fits', async () => {
    const storage = sqliteStorage({ path: file, maxBytes: 80_000 });
    const slot = await storage.open(storageHost());
    await slot.write(changes({ puts: [request('a')] }));
    const large = Array.from({ length: 50 }, (_, index) =>
      request(`q${index}`, { wire: 'x'.repeat(4_000) }),
    );
    await expect(slot.write(changes({ puts: large, drops: ['a'], user: 'ann' }))).rejects.toThrow(
      'full',
    );
    await slot.write(changes({ puts: [request('b')] }));
    await slot.close();
    const next = await storage.open(storageHost());
    expect(next.saved).toMatchObject({ requests: [request('a'), request('b')], user: undefined });
    await next.close();
  });
});

describe('a lock beside the file', () => {
  test('goes with the slot that is forgotten', async () => {
    const storage = sqliteStorage({ path: file });
    const [one, two] = [
      await storage.open(storageHost()),
      await storage.open(storageHost(() => 'two')),
    ];
    await one.close();
    await two.write(changes({ puts: [request('a')] }));
    await two.close();
    expect(existsSync(`${file}.slot-1`)).toBe(true);
    const later = { ...storageHost(), date: () => VIRTUAL_EPOCH + 31 * 86_400_000 };
    const slot = await storage.open(later);
    expect(slot.saved.clientId).toBe('two');
    expect(existsSync(`${file}.slot-1`)).toBe(false);
    expect(existsSync(`${file}.slot-2`)).toBe(true);
    await slot.close();
  });
});
