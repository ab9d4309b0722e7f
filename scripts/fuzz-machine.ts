/** The session machine and its fuzz in one bundle, as it stands or with a plant, played on two threads. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { build, type Plugin } from 'esbuild';
import type { campaign, Outcome, Plan } from '../test/machine/fuzz/campaign.ts';

export type { Outcome } from '../test/machine/fuzz/campaign.ts';

/** A break of one file of src/machine: the text that stands there once, and what takes its place. */
export interface Plant {
  file: string;
  find: string;
  replace: string;
}

export interface Machine {
  run(plan: Omit<Plan, 'stride'>): Promise<Outcome>;
  close(): Promise<void>;
}

const root = path.resolve(import.meta.dirname, '..');
const threads = 2;

export async function openMachine(plant?: Plant): Promise<Machine> {
  const folder = await mkdtemp(path.join(tmpdir(), 'holdfast-fuzz-'));
  const outfile = path.join(folder, 'campaign.mjs');
  await build({
    entryPoints: [path.join(root, 'test/machine/fuzz/campaign.ts')],
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node22',
    outfile,
    plugins: plant === undefined ? [] : [planted(plant)],
  });
  const url = pathToFileURL(outfile).href;
  return {
    async run(plan) {
      const plans = Array.from({ length: threads }, (_, index) => ({
        ...plan,
        first: plan.first + index,
        stride: threads,
      }));
      return joined(await Promise.all(plans.map((one) => onThread(url, one))));
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Puts the plant where esbuild reads the file; nothing on the disk changes. */
function planted({ file, find, replace }: Plant): Plugin {
  const target = path.join(root, 'src/machine', file);
  return {
    name: 'plant',
    setup(bundler) {
      bundler.onLoad({ filter: /machine/ }, async (source) => {
        if (source.path !== target) return null;
        const text = await readFile(target, 'utf8');
        const found = text.split(find).length - 1;
        if (found !== 1) throw new Error(`${file} holds ${found} times: ${find}`);
        return { contents: text.replace(find, () => replace), loader: 'ts' };
      });
    },
  };
}

const program = `
const { parentPort, workerData } = require('node:worker_threads');
import(workerData.url).then(({ campaign }) => parentPort.postMessage(campaign(workerData.plan)));
`;

function onThread(url: string, plan: Plan): Promise<ReturnType<typeof campaign>> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(program, { eval: true, workerData: { url, plan } });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

function joined(outcomes: readonly Outcome[]): Outcome {
  const all: Outcome = { sequences: 0, facts: 0, cells: {}, failure: null };
  for (const { sequences, facts, cells, failure } of outcomes) {
    all.sequences += sequences;
    all.facts += facts;
    for (const [cell, count] of Object.entries(cells))
      all.cells[cell] = (all.cells[cell] ?? 0) + count;
    if (failure !== null && failure.sequence < (all.failure?.sequence ?? Infinity)) {
      all.failure = failure;
    }
  }
  return all;
}
