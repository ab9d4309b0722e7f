/**
 * `npm test`: everything the tests need, then the tests. Arguments go to vitest:
 * `npm test -- test/machine`. With CI=true a skipped test fails the run.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { findChromium } from './chromium.ts';
import './fresh-build.ts';

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
}

const root = path.resolve(import.meta.dirname, '..');
const report = path.join(root, 'reports/vitest.json');
const ci = process.env.CI === 'true';

const chromium = findChromium();
if (chromium !== undefined) process.env.CHROMIUM_PATH = chromium;
else if (ci) process.exit(1);

rmSync(report, { force: true });
const { status } = spawnSync(
  process.execPath,
  [
    path.join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ],
  { cwd: root, stdio: 'inherit' },
);
const counted = JSON.parse(readFileSync(report, 'utf8')) as Report;
const skipped = counted.numPendingTests + counted.numTodoTests;
console.log(
  `${counted.numPassedTests} passed, ${counted.numFailedTests} failed, ${skipped} skipped`,
);
if (ci && skipped > 0) console.log('In CI no test may be skipped.');
process.exitCode = status !== 0 || (ci && skipped > 0) ? 1 : 0;
