/** Every recipe of docs/recipes.md compiles as it stands there, and each has a test that runs it. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { writtenRecipes } from './recipe.js';

const root = path.resolve(import.meta.dirname, '..', '..');
const recipes = writtenRecipes('compile');
afterAll(recipes.remove);

test('every recipe compiles', { timeout: 60_000 }, async () => {
  expect(recipes.names.length).toBeGreaterThan(9);
  expect(new Set(recipes.names).size).toBe(recipes.names.length);
  const tsc = `${root}/node_modules/typescript7/bin/tsc`;
  const run = promisify(execFile)(process.execPath, [tsc, '--noEmit', '-p', recipes.folder]);
  const said = await run.catch(({ stdout }: { stdout: string }) => ({ stdout }));
  expect(said.stdout).toBe('');
});

test('every recipe is run by a test, but for the lines that show its use', () => {
  const tests = readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => readFileSync(`${import.meta.dirname}/${name}`, 'utf8'))
    .join('\n');
  for (const name of recipes.names.filter((one) => !one.endsWith('-use.ts'))) {
    expect(tests).toContain(`('${name}')`);
  }
});
