/** Builds dist/ where it is missing or older than what it is made of; says nothing otherwise. */
import { spawnSync } from 'node:child_process';
import { globSync, statSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const built = modified('dist/platform/node.cjs');
const sources = ['package.json', 'tsup.config.ts', ...globSync('src/**/*.ts', { cwd: root })];

if (sources.some((file) => modified(file) > built)) {
  console.log('Building dist/ from src/ …');
  const started = performance.now();
  // Types are for editors and publishing: `npm run build` writes them too.
  const tsup = path.join(root, 'node_modules/tsup/dist/cli-default.js');
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [tsup, '--no-dts', '--no-clean', '--silent'],
    { cwd: root, encoding: 'utf8' },
  );
  if (status !== 0) {
    console.error(stdout + stderr);
    process.exit(1);
  }
  console.log(`Built in ${((performance.now() - started) / 1000).toFixed(1)} s.`);
}

function modified(file: string): number {
  return statSync(path.join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
