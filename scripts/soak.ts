/**
 * `npm run soak -- --minutes 10 --clients 200 [--journal sqlite|memory] [--seed N]`: real clients, real
 * faults, a hub that is killed again and again, and a verdict.
 */
import { type Command, help, parseFlags } from './soak/flags.ts';
import { complaints, judge } from './soak/judge.ts';
import { series } from './soak/memory.ts';
import { soak } from './soak/run.ts';
import { table } from './soak/table.ts';

const command = commandLine();
if (command !== undefined) await main(command);

function commandLine(): Command | undefined {
  try {
    const parsed = parseFlags(process.argv.slice(2));
    if (parsed === undefined) console.log(help);
    return parsed;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${help}`);
    process.exitCode = 2;
    return undefined;
  }
}

async function main({ minutes, clients, journal, seed }: Command): Promise<void> {
  const again = `npm run soak -- --minutes ${minutes} --clients ${clients} --journal ${journal} --seed ${seed}`;
  console.log(again);
  const outcome = await soak({ minutes, clients, journal, seed }, (line) => console.log(line));
  const verdict = judge(outcome);
  const found = complaints(outcome, verdict);
  console.log(`\n${series(outcome.samples)}\n\n${table(outcome, verdict)}\n`);
  for (const complaint of found) console.error(`FAILED: ${complaint}`);
  if (found.length === 0) console.log('Nothing lost, nothing doubled, all in order.');
  else console.error(`Again: ${again}`);
  process.exitCode = found.length === 0 ? 0 : 1;
}
