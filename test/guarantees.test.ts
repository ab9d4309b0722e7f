/** docs/guarantees.md against the tests: every sentence names one that holds it. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const guide = readFileSync(new URL('../docs/guarantees.md', import.meta.url), 'utf8');
const promises = guide
  .split('\n')
  .filter((line) => line.startsWith('- '))
  .map((line) => ({
    sentence: line.slice(2).replace(/ \(\[.*$/, ''),
    tests: [...line.matchAll(/\[([^\]]+)\]\(\.\.\/(test\/[^)]+)\)/g)].map(
      ([, title = '', file = '']) => ({ title, file }),
    ),
  }));

test('there are promises, and limits to them', () => {
  expect(promises.length).toBeGreaterThan(30);
  expect(guide.match(/^Not guaranteed:$/gm)?.length).toBeGreaterThan(3);
});

test.each(promises)('$sentence', ({ tests }) => {
  expect(tests.length, 'it names no test').toBeGreaterThan(0);
  for (const { title, file } of tests) {
    const url = new URL(`../${file}`, import.meta.url);
    expect(existsSync(url), `${file} is not there`).toBe(true);
    expect(titlesOf(readFileSync(url, 'utf8')), `${file} has no test "${title}"`).toContain(title);
  }
});

/** What stands in quotes: titles are among it, as they are written, with their gaps where they have some. */
function titlesOf(text: string): string {
  return [...text.matchAll(/(['"`])((?:(?!\1).)+)\1/g)]
    .map(([, , quoted = '']) => quoted.replaceAll("\\'", "'"))
    .join('\n');
}
