/** The command line of the soak. */
import { parseArgs } from 'node:util';
import type { JournalKind } from './hub-process.ts';

export interface Command {
  readonly minutes: number;
  readonly clients: number;
  readonly journal: JournalKind;
  readonly seed: number;
}

export const help = `npm run soak -- [--minutes 10] [--clients 200] [--journal sqlite] [--seed N]

Real clients over real WebSockets, each behind a fault proxy, against a hub in a process of its own
that is killed and started again; with a SQLite journal also replaced in good order.

  --minutes N   0.3 to 600; default 10. Memory is judged from 2.5 minutes on
  --clients N   2 to 2000; default 200
  --journal     sqlite: nothing may be lost. memory: gaps must be announced. Default sqlite
  --seed N      which schedule, a whole number; default: a random one, which is printed

Ends with 0 where nothing was lost, doubled, out of order, unsettled or run twice, and no process
grew; else with 1; a wrong flag ends with 2.`;

/** @throws TypeError, RangeError that say what is wrong with a flag; undefined asks for help */
export function parseFlags(args: readonly string[]): Command | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '10' },
      clients: { type: 'string', default: '200' },
      journal: { type: 'string', default: 'sqlite' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return undefined;
  const { journal } = values;
  if (journal !== 'sqlite' && journal !== 'memory') {
    throw new TypeError(`--journal is "${journal}". It must be sqlite or memory.`);
  }
  return {
    journal,
    minutes: within('--minutes', Number(values.minutes), { from: 0.3, to: 600 }),
    clients: whole('--clients', Number(values.clients), { from: 2, to: 2_000 }),
    seed: whole('--seed', Number(values.seed), { from: 0, to: 2 ** 32 - 1 }),
  };
}

interface Range {
  readonly from: number;
  readonly to: number;
}

function whole(flag: string, value: number, range: Range): number {
  if (Number.isInteger(value)) return within(flag, value, range);
  throw new RangeError(`${flag} must be a whole number.`);
}

function within(flag: string, value: number, { from, to }: Range): number {
  if (value >= from && value <= to) return value;
  throw new RangeError(`${flag} must be a number from ${from} to ${to}.`);
}
