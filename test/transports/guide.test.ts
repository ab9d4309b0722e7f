/** docs/transports.md and the promises in docs/api.md say what the suite plays. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { transportRules } from 'holdfast/testing';
import { describe, expect, test } from 'vitest';
import { memoryStage } from '../testing/memory-stage.js';
import { wires } from './wires.js';

const read = (file: string) => readFileSync(new URL(`../../docs/${file}`, import.meta.url), 'utf8');
const guide = read('transports.md');

/** The cells of a table's rows, by its header. */
function rowsOf(markdown: string, header: string): string[][] {
  const [, after = ''] = markdown.split(`\n${header}`);
  const [, , ...lines] = after.split('\n');
  const end = lines.findIndex((line) => !line.startsWith('|'));
  return lines.slice(0, end === -1 ? undefined : end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

describe('docs/transports.md', () => {
  const rows = rowsOf(guide, '| wire | call | cannot |');
  // The wire of tests is none to choose.
  const played = wires.filter(({ name }) => name !== 'memory');

  test('has every wire that is played, and no other', () => {
    expect(rows.map(([wire]) => wire)).toEqual(played.map(({ name }) => name));
  });

  test.each(played)('says of $name what it cannot do', ({ name, less }) => {
    const [, , cannot = ''] = rows.find(([wire]) => wire === name) ?? [];
    const listed = [...cannot.matchAll(/`(\w+)`/g)].map(([, promise]) => promise);
    expect(listed).toEqual(Object.keys(less));
  });
});

test('the examples of docs/transports.md compile', { timeout: 60_000 }, () => {
  const root = path.resolve(import.meta.dirname, '../..');
  // Inside the project, so that `holdfast` resolves; not under version control.
  const folder = `${root}/reports/transports-${process.pid}`;
  const blocks = [...guide.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code = '']) => code);
  expect(blocks).not.toEqual([]);
  try {
    mkdirSync(folder, { recursive: true });
    blocks.forEach((code, index) => {
      writeFileSync(`${folder}/example-${index}.ts`, `${code}export {};\n`);
    });
    const options = { noUnusedLocals: false };
    const about = { extends: `${root}/tsconfig.json`, include: ['*.ts'], exclude: [] };
    writeFileSync(
      `${folder}/tsconfig.json`,
      JSON.stringify({ ...about, compilerOptions: options }),
    );
    const tsc = `${root}/node_modules/typescript7/bin/tsc`;
    execFileSync(process.execPath, [tsc, '--noEmit', '-p', folder], { stdio: 'pipe' });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('docs/api.md lists the promises by name', () => {
  const listed = rowsOf(read('api.md'), '| promise | what holds |').map(([name, title]) => [
    name,
    title,
  ]);
  const rules = transportRules(() => memoryStage());
  expect(listed).toEqual(rules.map(({ name, title }) => [`\`${name}\``, title]));
});
