/** The whole simulation in one bundle, as the project stands or with a plant, played on two threads. */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { build, type Plugin } from 'esbuild';
import type * as simulation from '../test/simulation/campaign.ts';

export type { Failure, Outcome } from '../test/simulation/campaign.ts';

/** A break of one file of the project: the text that stands there once, and what takes its place. */
export interface Plant {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Campaign {
  readonly first: number;
  readonly end: number;
  readonly threads?: number;
  /** Whether a failure is made short. @default true */
  readonly shrinks?: boolean;
  readonly progressed?: (seeds: number) => void;
}

export interface Simulation {
  run(campaign: Campaign): Promise<simulation.Outcome>;
  replay: typeof simulation.replay;
  close(): Promise<void>;
}

/** Milliseconds that one seed may take, and a failure to be made short: one that loops never ends. */
const LONGEST_SEED = 300_000;

const root = path.resolve(import.meta.dirname, '..');

export async function openSimulation(plant?: Plant): Promise<Simulation> {
  // Within the project, so that its packages are found.
  const cache = path.join(root, 'node_modules/.cache');
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(path.join(cache, 'simulation-'));
  const outfile = path.join(folder, 'campaign.mjs');
  await build({
    entryPoints: [path.join(root, 'test/simulation/campaign.ts')],
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node22',
    external: ['ws', 'zod', 'nanoid', 'eventemitter3'],
    tsconfig: path.join(root, 'tsconfig.json'),
    outfile,
    plugins: plant === undefined ? [] : [planted(plant)],
  });
  const url = pathToFileURL(outfile).href;
  return {
    async run({ first, end, threads = 2, shrinks = true, progressed = () => {} }) {
      const done = new Array<number>(threads).fill(0);
      const stop = new SharedArrayBuffer(4);
      const outcomes = await Promise.all(
        done.map((_, index) =>
          onThread(url, { first: first + index, stride: threads, end, shrinks, stop }, (seeds) => {
            done[index] = seeds;
            progressed(done.reduce((sum, one) => sum + one, 0));
          }),
        ),
      );
      return joined(outcomes);
    },
    async replay(seed) {
      const module = (await import(url)) as typeof simulation;
      return module.replay(seed);
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Puts the plant where esbuild reads the file; nothing on the disk changes. */
function planted({ file, find, replace }: Plant): Plugin {
  const target = path.join(root, file);
  return {
    name: 'plant',
    setup(bundler) {
      bundler.onLoad({ filter: /src/ }, async (source) => {
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
import(workerData.url).then(async ({ campaign }) => {
  const outcome = await campaign(workerData.plan, (seeds) => parentPort.postMessage({ seeds }));
  parentPort.postMessage({ outcome });
});
`;

type Message = { seeds: number } | { outcome: simulation.Outcome };

function onThread(
  url: string,
  plan: simulation.Plan,
  progressed: (seeds: number) => void,
): Promise<simulation.Outcome> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(program, { eval: true, workerData: { url, plan } });
    let played = 0;
    const watchdog = setTimeout(() => {
      const seed = plan.first + played * plan.stride;
      reject(new Error(`Seed ${seed} does not end.`));
      void worker.terminate();
    }, LONGEST_SEED);
    worker.on('message', (message: Message) => {
      watchdog.refresh();
      if ('seeds' in message) {
        played = message.seeds;
        progressed(played);
        return;
      }
      clearTimeout(watchdog);
      resolve(message.outcome);
    });
    worker.once('error', reject);
  });
}

/** Of two failures the one with the lower seed. */
function joined(outcomes: readonly simulation.Outcome[]): simulation.Outcome {
  const [head, ...rest] = outcomes;
  if (head === undefined) throw new Error('No thread has played anything.');
  return rest.reduce<simulation.Outcome>((all, one) => {
    const totals = { ...all.totals };
    for (const name of Object.keys(totals) as (keyof typeof totals)[]) {
      totals[name] += one.totals[name];
    }
    const kinds = { ...all.kinds };
    for (const [kind, times] of Object.entries(one.kinds)) kinds[kind] = (kinds[kind] ?? 0) + times;
    const failures = [all.failure, one.failure].filter((failure) => failure !== null);
    failures.sort((a, b) => a.seed - b.seed);
    return { totals, kinds, failure: failures[0] ?? null };
  }, head);
}
