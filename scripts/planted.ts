/**
 * `npm run test:planted [-- --only E07,E08]`: whether the tests notice when an edge case breaks. Each
 * plant is put into a copy of the project, and the tests of its id run there: one of them has to fail.
 * Before that they pass without a plant.
 */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { findChromium } from './chromium.ts';
import { copyProject, endRuns, hasId, plantInto, runTests, timesFound } from './planted-copy.ts';
import { plants } from './plants/index.ts';
import type { Plant } from './plants/plant.ts';

const { values } = parseArgs({ options: { only: { type: 'string' } } });
const only = values.only?.split(',');
const asked = plants.filter(({ id }) => only?.includes(id) ?? true);
const chromium = asked.some(isBrowsers) ? findChromium() : undefined;
if (chromium !== undefined) process.env.CHROMIUM_PATH = chromium;
const chosen = asked.filter((plant) => chromium !== undefined || !isBrowsers(plant));

const widths = [5, Math.max(20, ...chosen.map(({ breaks }) => breaks.length)) + 2, 92];
const home = realpathSync(mkdtempSync(path.join(tmpdir(), 'holdfast-planted-')));
const copies = ['a', 'b'].map((name) => path.join(home, name));
const started = performance.now();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, leave);
try {
  const [sound = home] = copies;
  for (const copy of copies) copyProject(path.resolve(import.meta.dirname, '..'), copy);
  const problems = strangers().concat(misplaced(sound));
  if (problems.length === 0) problems.push(...(await unsound(sound)));
  if (problems.length === 0) problems.push(...(await unnoticed()));
  if (problems.length > 0) fail(problems);
} finally {
  rmSync(home, { recursive: true, force: true });
}

/** Whether a real browser is to notice it. */
function isBrowsers({ test }: Plant): boolean {
  return test.startsWith('test/browser/');
}

function fail(problems: readonly string[]): void {
  console.error(`\n${problems.join('\n')}`);
  process.exitCode = 1;
}

function leave(): void {
  endRuns();
  rmSync(home, { recursive: true, force: true });
  process.exit(1);
}

/** Ids that were asked for and have no plant. */
function strangers(): string[] {
  const known = new Set(plants.map(({ id }) => id));
  return (only ?? []).filter((id) => !known.has(id)).map((id) => `${id} has no plant.`);
}

/** Plants that do not fit the source any more. */
function misplaced(copy: string): string[] {
  return chosen.flatMap((plant) => {
    const times = timesFound(copy, plant);
    if (times === 1) return [];
    return [`${plant.id}, ${plant.breaks}: ${plant.file} holds ${times} times: ${plant.find}`];
  });
}

/** Tests that fail without any plant, and plants without tests. */
async function unsound(copy: string): Promise<string[]> {
  const { tests, isGreen, trouble } = await runTests(copy, {
    files: [...new Set(chosen.map(({ test }) => test))],
    ids: chosen.map(({ id }) => id),
    limit: 180,
    args: ['--maxWorkers=2'],
  });
  console.log(`${tests.length} tests without a plant, ${seconds(started)} s\n`);
  const failed = tests.filter(({ passed }) => !passed);
  const untested = chosen.filter(
    ({ id, test }) => !tests.some(({ file, name }) => file === test && hasId(name, id)),
  );
  return [
    ...failed.map(({ file, name }) => `Fails without a plant: ${name} (${file})`),
    ...untested.map(({ id, test }) => `No test of ${id} ran in ${test}.`),
    ...(isGreen ? [] : [`Not green without a plant.\n${trouble}`]),
  ];
}

/** Plants that no test notices. Each copy takes the next one as soon as it is free. */
async function unnoticed(): Promise<string[]> {
  line('id', 'what was broken', 'the test that noticed', 'seconds');
  const waiting = [...chosen];
  const problems: string[] = [];
  await Promise.all(
    copies.map(async (copy) => {
      for (let plant = waiting.shift(); plant !== undefined; plant = waiting.shift()) {
        problems.push(...(await unnoticedBy(plant, copy)));
      }
    }),
  );
  const caught = chosen.length - problems.length;
  const ids = new Set(chosen.map(({ id }) => id)).size;
  console.log(
    `\n${caught} of ${chosen.length} plants of ${ids} ids noticed in ${seconds(started)} s`,
  );
  return problems;
}

async function unnoticedBy(plant: Plant, copy: string): Promise<string[]> {
  const began = performance.now();
  const mend = plantInto(copy, plant);
  const { tests, trouble } = await runTests(copy, {
    files: [plant.test],
    ids: [plant.id],
    limit: 60,
    args: ['--bail=1', '--maxWorkers=1'],
  });
  mend();
  const catcher = tests.find(({ passed }) => !passed);
  line(plant.id, plant.breaks, catcher?.title ?? 'NONE', seconds(began));
  if (catcher !== undefined) return [];
  return [`Not noticed: ${plant.id}, ${plant.breaks} (${plant.test})\n${trouble}`];
}

function line(...cells: string[]): void {
  const padded = cells.map((cell, index) => {
    const width = widths[index];
    if (width === undefined) return cell;
    return (cell.length < width ? cell : `${cell.slice(0, width - 3)}…`).padEnd(width);
  });
  console.log(padded.join(''));
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1_000).toFixed(1);
}
