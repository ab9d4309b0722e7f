/** A client over an SQLite file on a disk that is full, damaged or not there: it goes on in memory. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { HoldfastError } from 'holdfast';
import { sqliteStorage } from 'holdfast/storage/sqlite';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { hubHarness } from './hub.js';

let folder: string;
let file: string;
let made = 0;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'holdfast-disk-'));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeEach(() => {
  file = path.join(folder, `${++made}.db`);
});

test('a full disk is told once; requests go on, and are stored again when there is room', async () => {
  const { ask, clock, connected, client, ran, reports } = clientOver({ maxBytes: 100_000 });
  await client.restore();
  for (let n = 0; n < 20; n++) ask(n, 'x'.repeat(20_000));
  await clock.settle();
  expect(reports).toMatchObject([{ code: 'STORAGE_FAILED' }]);
  expect(storedRequests()).toBe(0);
  await connected();
  expect(ran).toEqual(Array.from({ length: 20 }, (_, n) => n));
  // The next try comes after 5 s; by then they have ended.
  await clock.advance(5_000);
  client.disconnect();
  ask(20);
  await clock.settle();
  expect(storedRequests()).toBe(1);
  expect(reports).toHaveLength(1);
  client.close();
});

test.each([
  ['in a folder that is not there', () => path.join(folder, 'nowhere', 'a.db')],
  ['of something else', somebodyElses],
])('a file %s is told once, and requests go on', async (_, choose) => {
  file = choose();
  const { ask, connected, client, ran, reports } = clientOver({});
  for (let n = 0; n < 3; n++) ask(n);
  await connected();
  expect(ran).toEqual([0, 1, 2]);
  expect(reports).toMatchObject([{ code: 'STORAGE_FAILED' }]);
  expect(reports[0]?.message).toContain(file);
  client.close();
});

test('a file that is damaged is told once, and a new one stores what follows', async () => {
  writeFileSync(file, 'no database at all, whatever its name says'.repeat(100));
  const { ask, clock, client, reports } = clientOver({});
  for (let n = 0; n < 3; n++) ask(n);
  await clock.settle();
  expect(storedRequests()).toBe(3);
  expect(reports).toMatchObject([{ code: 'STORAGE_FAILED' }]);
  expect(reports[0]?.message).toContain(`${file}.corrupt-1`);
  client.close();
});

function somebodyElses(): string {
  const other = new DatabaseSync(file);
  other.exec('CREATE TABLE letters (text TEXT)');
  other.close();
  return file;
}

function storedRequests(): unknown {
  const database = new DatabaseSync(file, { readOnly: true });
  const row = database.prepare('SELECT count(*) AS count FROM requests').get();
  database.close();
  return row?.count;
}

/** Not connected yet. */
function clientOver(limits: { maxBytes?: number }) {
  const ran: number[] = [];
  const reports: HoldfastError[] = [];
  const harness = hubHarness({
    hub: {
      handlers: {
        'note:add': (payload: unknown) => {
          ran.push((payload as { n: number }).n);
          return null;
        },
      },
    },
    client: { outbox: { storage: sqliteStorage({ path: file, ...limits }) } },
  });
  harness.client.onError((error) => reports.push(error));
  function ask(n: number, padding = ''): void {
    harness.client.request('note:add', { n, padding }).catch(() => {});
  }
  return { ...harness, ask, ran, reports };
}
