/** docs/edge-cases.md against the tests: each promise has one that can fail, and each one a promise. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { plants } from '../scripts/plants/index.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
const list = readFileSync(new URL('../docs/edge-cases.md', import.meta.url), 'utf8');

const rows = [...list.matchAll(/^- \*\*(E\d\d)\*\* (\*\(planned\)\* )?\S/gm)].map((match) => ({
  id: match[1] ?? '',
  planned: match[2] !== undefined,
}));
const tested = idsInTitles();

describe('the list of edge cases', () => {
  test('has a row for each id from E01 on, once, in order', () => {
    const expected = rows.map((_row, index) => `E${String(index + 1).padStart(2, '0')}`);
    expect(rows.map((row) => row.id)).toEqual(expected);
    expect(rows.length).toBeGreaterThanOrEqual(48);
  });

  test.each(rows.filter((row) => !row.planned))('$id has a test', ({ id }) => {
    expect(tested.get(id) ?? [], `no test title starts with "${id} "`).not.toEqual([]);
  });

  test.each(rows.filter((row) => !row.planned))(
    '$id has a plant: a break that its test notices',
    ({ id }) => {
      expect(
        plants.map((plant) => plant.id),
        `scripts/plants has none of ${id}`,
      ).toContain(id);
    },
  );

  test.each(rows.filter((row) => row.planned))('$id is planned and has no test yet', ({ id }) => {
    expect(tested.get(id) ?? [], `${id} has a test: remove the planned mark of its row`).toEqual(
      [],
    );
  });
});

test('every id in a test title has a row in the list', () => {
  const known = new Set(rows.map((row) => row.id));
  const strangers = [...tested].filter(([id]) => !known.has(id));
  expect(strangers).toEqual([]);
});

test('every plant is one of a row in the list, and of its tests', () => {
  const known = new Set(rows.map((row) => row.id));
  const strangers = plants.filter(
    ({ id, test: file }) => !known.has(id) || tested.get(id)?.includes(file.slice(5)) !== true,
  );
  expect(strangers).toEqual([]);
});

/**
 * Id → the files where a title starts with it. Any text that opens with an id is a title: it may stand
 * in a table of `test.each`. What is skipped does not count.
 */
function idsInTitles(): Map<string, string[]> {
  const title = /(\.(?:skip|todo)\(\s*)?['"`]((?:E\d\d[ ,]+)+)/g;
  const found = new Map<string, string[]>();
  for (const file of readdirSync(here, { recursive: true, encoding: 'utf8' })) {
    if (!/\.tsx?$/.test(file)) continue;
    for (const [, skipped, ids = ''] of readFileSync(join(here, file), 'utf8').matchAll(title)) {
      if (skipped !== undefined) continue;
      for (const id of ids.match(/E\d\d/g) ?? []) found.set(id, [...(found.get(id) ?? []), file]);
    }
  }
  return found;
}
