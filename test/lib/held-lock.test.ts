import { existsSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { take } from '../../src/lib/held-lock.node.js';
import { workshop } from './child.js';

// Starting a process takes its time on a busy machine.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });

const shop = workshop();
afterAll(shop.end);

const file = (name: string) => path.join(shop.folder, name);

test('a lock has one holder at a time within a process', () => {
  const first = take(file('own'));
  expect(first).not.toBeNull();
  expect(take(file('own'))).toBeNull();
  const other = take(file('other'));
  expect(other).not.toBeNull();

  first?.release();
  first?.release();
  const next = take(file('own'));
  expect(next).not.toBeNull();
  expect(take(file('own'))).toBeNull();
  next?.release();
  other?.release();
});

test('a lock is dropped by the kernel when the process that holds it is killed', async () => {
  const start = await shop.script(`
    import { take } from './src/lib/held-lock.node.ts';
    const [, , path] = process.argv;
    console.log(take(path) === null ? 'refused' : 'held');
    process.stdin.resume();
  `);
  const holder = start(file('theirs'));
  await holder.line((line) => line === 'held');
  expect(take(file('theirs'))).toBeNull();
  const second = start(file('theirs'));
  await second.line((line) => line === 'refused');

  await holder.kill();
  const lock = take(file('theirs'));
  expect(lock).not.toBeNull();
  await start(file('theirs')).line((line) => line === 'refused');
  lock?.release();
});

test('a lock leaves one empty file that only its owner may read', () => {
  const lock = take(file('plain'));
  expect(statSync(file('plain')).mode & 0o777).toBe(0o600);
  expect(statSync(file('plain')).size).toBe(0);
  expect(existsSync(file('plain-journal'))).toBe(false);
  lock?.release();
});

test('a path that cannot be locked throws, and what is there stays', () => {
  expect(() => take(path.join(shop.folder, 'no-such-folder', 'lock'))).toThrow(/ENOENT/);
  const text = 'This is a letter and no lock. '.repeat(40);
  writeFileSync(file('letter'), text);
  expect(() => take(file('letter'))).toThrow(/not a database/);
  expect(statSync(file('letter')).size).toBe(text.length);
});
