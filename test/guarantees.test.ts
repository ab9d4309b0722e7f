/** docs/guarantees.md against the tests: every sentence names one that holds it. */
import { existsSync, readFileSync } from 'node:fs';
import ts from 'typescript';
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
    const titles = titlesOf(file, readFileSync(url, 'utf8'));
    const isOne = titles.some((whole) => whole === title || isOpening(title, whole));
    expect(isOne, `${file} has no test "${title}"`).toBe(true);
  }
});

test('only titles of tests count, whole or by their first words', () => {
  const text = `
    describe('a group', () => {
      test('holds whatever happens to it', () => { call('a quoted string of five words'); });
      test.skip('holds nothing at all today', () => {});
      test.each([['a row of some table']])(
        'comes with %s in every row',
        () => {},
      );
    });`;
  const titles = titlesOf('some.test.ts', text);
  expect(titles).toEqual(['a group', 'holds whatever happens to it', 'comes with %s in every row']);
  expect(isOpening('holds whatever happens to', titles[1] ?? '')).toBe(true);
  expect(isOpening('holds whatever', titles[1] ?? '')).toBe(false);
  expect(isOpening('holds whatever happens t', titles[1] ?? '')).toBe(false);
});

/** Enough words to find it by: an id alone names many. */
function isOpening(title: string, whole: string): boolean {
  return (
    title.split(' ').length >= 4 && whole.startsWith(title) && /^\W/.test(whole.slice(title.length))
  );
}

/** The titles of tests and groups as they are written, with their gaps. What is skipped has none. */
function titlesOf(file: string, text: string): string[] {
  const titles: string[] = [];
  const visit = (node: ts.Node) => {
    if (ts.isCallExpression(node) && isTest(node.expression)) {
      const [title] = node.arguments;
      // An array or a function in that place: the call that makes `each` and its like.
      if (title !== undefined && isText(title)) titles.push(written(title));
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest));
  return titles;
}

/** `test`, `test.each(table)`, `describe.sequential` … */
function isTest(callee: ts.Expression): boolean {
  if (ts.isIdentifier(callee)) return ['test', 'it', 'describe'].includes(callee.text);
  if (ts.isCallExpression(callee)) return isTest(callee.expression);
  if (!ts.isPropertyAccessExpression(callee)) return false;
  return !['skip', 'todo'].includes(callee.name.text) && isTest(callee.expression);
}

function isText(node: ts.Node): node is ts.StringLiteral | ts.TemplateLiteral {
  return ts.isStringLiteralLike(node) || ts.isTemplateExpression(node);
}

function written(title: ts.StringLiteral | ts.TemplateLiteral): string {
  if (!ts.isTemplateExpression(title)) return title.text;
  return title.templateSpans.reduce(
    (text, { literal }) => `${text}…${literal.text}`,
    title.head.text,
  );
}
