/** The command line of the demo. */
import { parseArgs } from 'node:util';
import { isWireName, type WireName, wireNames } from './wires.ts';

export type Command =
  | { readonly run: 'help' }
  | { readonly run: 'page' }
  | {
      readonly run: 'headless';
      readonly seconds: number;
      readonly seed: number;
      readonly transport: WireName;
    };

export const help = `The holdfast demo: a live room whose connections you may break.

  npm run demo                                       serves the page; Ctrl-C ends it
  npm run demo -- --headless [--seconds N] [--seed N] [--transport NAME]
                                                     breaks it by itself, and judges what came of it

  --headless    no page: four clients against a seeded schedule of faults
  --seconds N   how long that goes on, 1 to 3600; default 20
  --seed N      which schedule, a whole number; default: a random one, which is printed
  --transport NAME
                over which wire: ${wireNames.join(', ')}; default websocket
  --help        this text

A headless run ends with 0 where nothing was lost, doubled, out of order or left unsettled, else
with 1; a wrong flag ends with 2.`;

/** @throws TypeError, RangeError that say what is wrong with a flag */
export function parseFlags(args: readonly string[]): Command {
  const values = valuesOf(args);
  if (values.help) return { run: 'help' };
  if (!values.headless) {
    const stray = (['seconds', 'seed', 'transport'] as const).find((flag) => flag in values);
    if (stray) throw new TypeError(`--${stray} belongs to --headless. Add that, or leave it out.`);
    return { run: 'page' };
  }
  return {
    run: 'headless',
    seconds: whole('--seconds', values.seconds ?? '20', { from: 1, to: 3_600 }),
    seed: whole('--seed', values.seed ?? String(Math.floor(Math.random() * 1e9)), {
      from: 0,
      to: 2 ** 32 - 1,
    }),
    transport: wireOf(values.transport ?? 'websocket'),
  };
}

function wireOf(name: string): WireName {
  if (isWireName(name)) return name;
  throw new RangeError(`--transport is "${name}". There are: ${wireNames.join(', ')}.`);
}

function valuesOf(args: readonly string[]) {
  const options = {
    headless: { type: 'boolean' },
    seconds: { type: 'string' },
    seed: { type: 'string' },
    transport: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  } as const;
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    // What Node advises after its first sentence is about words that are no flags: none are taken.
    const [what] = (error instanceof Error ? error.message : String(error)).split(/[.\n]+(?:\s|$)/);
    throw new TypeError(`${what}.`, { cause: error });
  }
}

function whole(flag: string, text: string, { from, to }: { from: number; to: number }): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= from && value <= to) return value;
  throw new RangeError(`${flag} is "${text}". It must be a whole number from ${from} to ${to}.`);
}
