/**
 * The process in which one contender is measured: it has the contender, the bench and nothing else,
 * so that its CPU time and its memory are the contender's.
 */
import type { Round } from './bench.ts';
import { benches } from './benches.ts';
import { contenders } from './contenders.ts';

const [, , contenderName = '', benchName = ''] = process.argv;
const bench = benches.find(({ name }) => name === benchName);
const entry = contenders[contenderName];
if (bench === undefined || entry === undefined) {
  throw new Error(`Neither "${benchName}" nor "${contenderName}" may be unknown.`);
}
const { contender } = await entry.load();

process.on('message', (round: Round) => {
  bench.measure(contender, round).then(
    (value) => process.send?.({ value }),
    (error: unknown) => process.send?.({ problem: String(error) }),
  );
});
process.on('disconnect', () => process.exit());
process.send?.({ ready: true });
