/**
 * `npm run fuzz -- --sequences 100000 [--seed 1] [--first 0] [--facts 60]`: random stories against the
 * session machine, every invariant checked after every fact. On two threads; a failure is shrunk and
 * shown with the command that plays it again.
 */
import { parseArgs } from 'node:util';
import { cellTable } from '../test/machine/fuzz/cells.ts';
import { type Outcome, openMachine } from './fuzz-machine.ts';

const { values } = parseArgs({
  options: {
    sequences: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    first: { type: 'string', default: '0' },
    facts: { type: 'string', default: '60' },
  },
});
const [seed, first, facts] = [Number(values.seed), Number(values.first), Number(values.facts)];
const end = first + Number(values.sequences);

const started = performance.now();
const machine = await openMachine();
const outcome = await machine.run({ seed, first, end, facts });
await machine.close();

const { shown, missing } = cellTable(outcome.cells);
console.log(shown);
const seconds = ((performance.now() - started) / 1_000).toFixed(1);
const count = (number: number) => number.toLocaleString('en');
console.log(
  `${count(outcome.sequences)} sequences, ${count(outcome.facts)} facts in ${seconds} s, seed ${seed}`,
);
if (outcome.failure !== null) fail(outcome.failure);
else if (missing.length > 0) {
  console.error(`Never met: ${missing.join(', ')}. Play more sequences.`);
  process.exitCode = 1;
}

function fail({ sequence, message, length, shrunk }: NonNullable<Outcome['failure']>): void {
  console.error(`\nSequence ${sequence} breaks ${message}`);
  console.error(
    `npm run fuzz -- --seed ${seed} --first ${sequence} --sequences 1 --facts ${facts}`,
  );
  console.error(`${shrunk.length} of its ${length} facts are enough (time, roll, fact):`);
  for (const line of shrunk) console.error(`  ${line}`);
  process.exitCode = 1;
}
