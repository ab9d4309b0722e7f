/**
 * `npm run simulate:planted [-- --seeds 1000] [--only text]`: breaks client, machine or server in one
 * place at a time, and counts the seeds until the simulation notices. A plant that it does not notice
 * fails the run.
 */
import { parseArgs } from 'node:util';
import { openSimulation } from './simulation.ts';
import { plants } from './simulation-plants.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    only: { type: 'string', default: '' },
  },
});
const most = Number(values.seeds);
const chosen = plants.filter(({ name, file }) => `${file} ${name}`.includes(values.only));

const started = performance.now();
const missed: string[] = [];
console.log('  seeds  plant, and the promise that is seen to break');
for (const { name, ...plant } of chosen) {
  const { needed, rule } = await seedsUntil(plant);
  console.log(`${needed.padStart(7)}  ${plant.file}: ${name} → ${rule}`);
  if (rule === 'MISSED') missed.push(name);
}
const seconds = ((performance.now() - started) / 1_000).toFixed(0);
console.log(`${chosen.length - missed.length} of ${chosen.length} plants noticed in ${seconds} s`);
process.exitCode = missed.length === 0 ? 0 : 1;

async function seedsUntil(plant: Parameters<typeof openSimulation>[0]) {
  const simulation = await openSimulation(plant);
  try {
    const outcome = await simulation.run({ first: 0, end: most, shrinks: false });
    const { failure } = outcome;
    if (failure === null) return { needed: `${most}`, rule: 'MISSED' };
    return { needed: `${failure.seed + 1}`, rule: failure.rule };
  } finally {
    await simulation.close();
  }
}
