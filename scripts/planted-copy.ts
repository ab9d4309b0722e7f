/** A copy of the project that may be broken, and vitest in it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Plant } from './plants/plant.ts';

/** What of a project its tests need. */
const parts = [
  ...['src', 'test', 'package.json', 'tsconfig.json', 'vitest.config.ts'],
  'scripts/chromium.ts',
];

export interface Results {
  /** Every test that ran, in the order of its file. */
  tests: { file: string; name: string; title: string; passed: boolean }[];
  /** Vitest found nothing wrong, outside the tests neither. */
  isGreen: boolean;
  /** What vitest said, where no test can speak for it: a file that did not load, a hang. */
  trouble: string;
}

interface Run {
  /** Of the tests, from the copy's root. */
  files: string[];
  /** Only tests with one of them in the title. */
  ids: string[];
  /** Seconds until a run that does not end is given up. */
  limit: number;
  /** More arguments for vitest. */
  args: string[];
}

interface Report {
  testResults: {
    name: string;
    message: string;
    assertionResults: { fullName: string; title: string; status: string }[];
  }[];
}

/** @param folder must not exist yet */
export function copyProject(from: string, folder: string): void {
  for (const part of parts) {
    cpSync(path.join(from, part), path.join(folder, part), { recursive: true });
  }
  symlinkSync(path.join(from, 'node_modules'), path.join(folder, 'node_modules'), 'dir');
}

/** How often a plant's text stands in its file. */
export function timesFound(folder: string, { file, find }: Plant): number {
  return readFileSync(path.join(folder, file), 'utf8').split(find).length - 1;
}

/** Breaks the copy, and gives what mends it. */
export function plantInto(folder: string, { file, find, replace }: Plant): () => void {
  const target = path.join(folder, file);
  const whole = readFileSync(target, 'utf8');
  writeFileSync(
    target,
    whole.replace(find, () => replace),
  );
  return () => writeFileSync(target, whole);
}

/** Whether a test's full name holds the id as a title does: `E07 ` or `E07, `. */
export function hasId(name: string, id: string): boolean {
  return new RegExp(pattern([id])).test(name);
}

export async function runTests(folder: string, { files, ids, limit, args }: Run): Promise<Results> {
  const outputFile = path.join(folder, 'report.json');
  rmSync(outputFile, { force: true });
  const { code, said } = await vitest(folder, limit, [
    ...[...files, '--testNamePattern', pattern(ids), ...args],
    ...['--pool=threads', '--reporter=json', `--outputFile=${outputFile}`, '--no-cache'],
  ]);
  try {
    const report = JSON.parse(readFileSync(outputFile, 'utf8')) as Report;
    const messages = report.testResults.map(({ message }) => message);
    return {
      tests: testsOf(report, folder),
      isGreen: code === 0,
      trouble: [...messages, said].join('\n'),
    };
  } catch {
    return { tests: [], isGreen: false, trouble: said };
  }
}

function testsOf({ testResults }: Report, folder: string): Results['tests'] {
  return testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'passed' || status === 'failed')
      .map(({ fullName, title, status }) => ({
        file: path.relative(folder, name),
        name: fullName,
        title,
        passed: status === 'passed',
      })),
  );
}

function pattern(ids: readonly string[]): string {
  return `(?:^|\\s)(?:${[...new Set(ids)].join('|')})[ ,]`;
}

const running = new Set<ChildProcess>();

/** Ends what still runs, with all that it started. */
export function endRuns(): void {
  for (const child of running) endGroup(child);
}

/** Ends with what vitest printed, or with what it did not do in time. */
function vitest(
  folder: string,
  limit: number,
  args: string[],
): Promise<{ code: number | null; said: string }> {
  const script = path.join(folder, 'node_modules/vitest/vitest.mjs');
  // A group of its own: on a hang its children end with it.
  const child = spawn(process.execPath, [script, 'run', ...args], {
    cwd: folder,
    detached: true,
    env: { ...process.env, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      said = `It did not end within ${limit} s.`;
      endGroup(child);
    }, limit * 1_000);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ code, said });
    });
  });
}

function endGroup({ pid }: ChildProcess): void {
  if (pid !== undefined) process.kill(-pid, 'SIGKILL');
}
