/**
 * `npm run bench`: holdfast against the floor, in pairs, as a table with the targets. Takes a few
 * minutes. `--quick` takes less than 40 s, leaves the storm out and is unsure; `--only inbound` runs what has that in its
 * name; `--profile folder` writes CPU profiles of the contenders.
 *
 * How it could mislead: loopback, one machine, client and server on the same cores. Only the ratios
 * mean something, and only where the quartiles beside them are close together and a second run says
 * the same: on a busy machine two runs differ by more than their quartiles.
 */
import { parseArgs } from 'node:util';
import { type Bench, median, quantile } from './bench.ts';
import { benches } from './benches.ts';
import { contenders } from './contenders.ts';
import { compare, type Effort, type Pairs, stopServers } from './pairs.ts';
import { storm } from './storm.ts';

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    profile: { type: 'string' },
  },
});

const started = performance.now();
const chosen = benches.filter(({ name }) => name.includes(options.only));
// An empty `only` is part of every name; quick means quick.
const stormy = 'storm'.includes(options.only) && !(options.quick && options.only === '');
if (chosen.length === 0 && !stormy) {
  const names = [...benches.map(({ name }) => name), 'storm'];
  throw new Error(`Nothing is called "${options.only}". There are: ${names.join(', ')}.`);
}
const peers = Object.keys(contenders).filter((name) => name !== 'floor');
if (chosen.length > 0) printHeader();
for (const bench of chosen) {
  for (const peer of peers) printRow(await compare(bench, peer, effort(bench)));
}
await stopServers();
if (stormy) storm({ wide: options.only !== '' });
console.log(`\n${((performance.now() - started) / 1_000).toFixed(0)} s`);

function effort({ size, quickSize, fresh }: Bench): Effort {
  const profiles = options.profile;
  if (!options.quick) return { size, seconds: 11, least: 4, warmUp: 3, generations: 2, profiles };
  const least = fresh ? 1 : 2;
  return { size: quickSize, seconds: 0.5, least, warmUp: 1, generations: 1, profiles };
}

function printHeader(): void {
  const columns = ['', 'floor', '', '', 'ratio', 'quartiles', 'target'];
  print(columns);
}

function printRow({ bench, contender, floor, values, ratios }: Pairs): void {
  const { title, unit, target } = bench;
  const ratio = median(ratios);
  print([
    title,
    amount(median(floor)),
    amount(median(values)),
    `${unit}, ${contender}`,
    `${ratio.toFixed(2)}×`,
    `${quantile(ratios, 0.25).toFixed(2)}–${quantile(ratios, 0.75).toFixed(2)}`,
    ...verdict(target, ratio, median(values)),
  ]);
}

function verdict(target: Bench['target'], ratio: number, value: number): string[] {
  if (target === undefined) return [];
  const isRatio = 'ratio' in target;
  const isMet = isRatio ? ratio <= target.ratio : value <= target.value;
  return [isRatio ? `≤ ${target.ratio}×` : `≤ ${target.value}`, isMet ? 'met' : 'NOT MET'];
}

function print([title = '', floor = '', value = '', unit = '', ...rest]: string[]): void {
  const [ratio = '', quartiles = '', target = '', verdict = ''] = rest;
  console.log(
    title.padEnd(38),
    floor.padStart(7),
    value.padStart(7),
    unit.padEnd(28),
    ratio.padStart(6),
    quartiles.padStart(10),
    target.padStart(8),
    verdict,
  );
}

function amount(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}
