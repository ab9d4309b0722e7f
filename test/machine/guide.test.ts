/** The guide's list of invariants against the watchers that check them and the tests that name them. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const guide = readFileSync(new URL('../../src/machine/README.md', import.meta.url), 'utf8');
const rows = [...guide.matchAll(/^\| (I\d\d) \| .* \| (.*) \|$/gm)].map(
  ([, id = '', tests = '']) => ({
    id,
    files: [...tests.matchAll(/machine\/(\w+\.test\.ts)/g)].map(([, file = '']) => file),
  }),
);

test('every invariant has a row, once, in order', () => {
  expect(rows.map(({ id }) => id)).toEqual(
    rows.map((_row, index) => `I${String(index).padStart(2, '0')}`),
  );
  expect(rows.length).toBe(28);
});

test.each(rows)('$id is watched in every step, and has a test of its own', ({ id, files }) => {
  expect(watched.has(id), `no watcher checks ${id}`).toBe(true);
  expect(files.length).toBeGreaterThan(0);
  for (const file of files) {
    const title = new RegExp(`['"\`](I\\d\\d )?${id} `);
    expect(title.test(text(file)), `no title in ${file} starts with ${id}`).toBe(true);
  }
});

test('no watcher checks what the guide does not promise', () => {
  expect([...watched].filter((id) => !rows.some((row) => row.id === id))).toEqual([]);
});

const watched = new Set(
  readdirSync(new URL('.', import.meta.url))
    .filter((file) => /^(watch-\w+|witness)\.ts$/.test(file))
    .flatMap((file) => [...text(file).matchAll(/'(I\d\d)'/g)].map(([, id = '']) => id)),
);

function text(file: string): string {
  return readFileSync(new URL(file, import.meta.url), 'utf8');
}
