/**
 * `npm run simulate -- --seeds 10000 [--first 0]`: whole systems (clients, network, hubs, journal) on
 * virtual time, every promise watched; on two threads, with a histogram of the faults at the end. A
 * failure is shrunk and shown with the command that plays it again.
 *
 * `npm run simulate -- --seed 42`: one seed, told from beginning to end.
 */
import { parseArgs } from 'node:util';
import { kinds } from '../test/simulation/kinds.ts';
import { type Failure, type Outcome, openSimulation } from './simulation.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '10000' },
    first: { type: 'string', default: '0' },
    seed: { type: 'string' },
    threads: { type: 'string', default: '2' },
  },
});

const simulation = await openSimulation();
if (values.seed === undefined) await playMany(Number(values.first), Number(values.seeds));
else await playOne(Number(values.seed));
await simulation.close();

async function playOne(seed: number): Promise<void> {
  const { lines, digest, violation, counts, lasted } = await simulation.replay(seed);
  for (const line of lines) console.log(line);
  console.log(`\nseed ${seed}, ${lasted / 1_000} virtual seconds, digest ${digest}`);
  console.log(JSON.stringify(counts));
  if (violation === null) return;
  console.error(`${violation.rule}: ${violation.message}`);
  process.exitCode = 1;
}

async function playMany(first: number, seeds: number): Promise<void> {
  const started = performance.now();
  let shown = started;
  const outcome = await simulation.run({
    first,
    end: first + seeds,
    threads: Number(values.threads),
    progressed(played) {
      if (performance.now() - shown < 5_000) return;
      shown = performance.now();
      console.log(`${count(played)} of ${count(seeds)} seeds, ${seconds(started)} s`);
    },
  });
  report(outcome, started);
  const missing = kinds.filter((kind) => (outcome.kinds[kind] ?? 0) === 0);
  if (outcome.failure !== null) fail(outcome.failure);
  else if (missing.length > 0) {
    console.error(`Never met: ${missing.join(', ')}. Play more seeds.`);
    process.exitCode = 1;
  }
}

function report({ kinds: met, totals }: Outcome, started: number): void {
  const sorted = Object.entries(met).sort(([, one], [, other]) => other - one);
  const most = sorted[0]?.[1] ?? 1;
  console.log('\nfaults, and what came of them');
  for (const [kind, times] of sorted) {
    const bar = '█'.repeat(
      Math.max(1, Math.round((30 * Math.log(times + 1)) / Math.log(most + 1))),
    );
    console.log(`${kind.padEnd(30)} ${count(times).padStart(10)}  ${bar}`);
  }
  const { seeds, lasted, faults, dials, events, delivered, gaps, requests, answered } = totals;
  const cpu = process.cpuUsage();
  const each = (cpu.user + cpu.system) / 1_000 / seeds;
  console.log(
    `\n${count(seeds)} seeds, ${count(Math.round(lasted / 3_600_000))} virtual hours, ${count(faults)} faults, ${count(dials)} dials`,
  );
  console.log(
    `${count(events)} events, ${count(delivered)} delivered, ${count(gaps)} runs of onGap; ${count(requests)} requests, ${count(answered)} settled`,
  );
  console.log(`in ${seconds(started)} s, ${each.toFixed(0)} ms of CPU for a seed`);
}

function fail({ seed, rule, message, length, shrunk, timeline }: Failure): void {
  console.error(`\nSeed ${seed} breaks a promise. ${rule}: ${message}`);
  console.error(`npm run simulate -- --seed ${seed}`);
  console.error(`${shrunk} of its ${length} actions are enough:`);
  for (const line of timeline) console.error(`  ${line}`);
  process.exitCode = 1;
}

function count(number: number): string {
  return number.toLocaleString('en');
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1_000).toFixed(1);
}
