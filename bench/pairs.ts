/**
 * Contenders side by side: floor, contender, floor, contender …, and the ratio of each pair. What
 * slows the machine down for a while slows both halves of a pair.
 */
import { type ChildProcess, fork } from 'node:child_process';
import path from 'node:path';
import type { Bench, Round } from './bench.ts';
import { contenders } from './contenders.ts';

export interface Pairs {
  readonly bench: Bench;
  readonly contender: string;
  readonly floor: number[];
  readonly values: number[];
  readonly ratios: number[];
}

export interface Effort {
  readonly rounds: number;
  readonly size: number;
  /** Rounds whose figures are thrown away: code runs slower before it is compiled. */
  readonly warmUps: number;
  /** How often both processes are started anew: each compiles a little differently. */
  readonly generations: number;
  /** A folder for CPU profiles of the contenders. */
  readonly profiles: string | undefined;
}

export async function compare(bench: Bench, contender: string, effort: Effort): Promise<Pairs> {
  const pairs: Pairs = { bench, contender, floor: [], values: [], ratios: [] };
  const generations = bench.fresh ? effort.rounds : effort.generations;
  const rounds = bench.fresh ? 1 : Math.ceil(effort.rounds / effort.generations);
  const warmUps = bench.fresh ? 0 : effort.warmUps;
  for (let generation = 0; generation < generations; generation++) {
    const one = await Lane.start('floor', bench, effort);
    const other = await Lane.start(contender, bench, effort);
    for (let round = -warmUps; round < rounds; round++) {
      const floor = await one.measure();
      const value = await other.measure();
      if (round < 0) continue;
      pairs.floor.push(floor);
      pairs.values.push(value);
      pairs.ratios.push(value / floor);
    }
    one.stop();
    other.stop();
  }
  return pairs;
}

/** No round takes so long: something hangs. */
const PATIENCE = 60_000;

/** A contender and its server, each in a process of its own. */
class Lane {
  readonly #server: ChildProcess;
  readonly #runner: ChildProcess;
  readonly #round: Round;

  private constructor(server: ChildProcess, runner: ChildProcess, round: Round) {
    this.#server = server;
    this.#runner = runner;
    this.#round = round;
  }

  static async start(name: string, bench: Bench, { size, profiles }: Effort): Promise<Lane> {
    const entry = contenders[name];
    if (entry === undefined) throw new Error(`There is no contender "${name}".`);
    const server = start(entry.server, [], []);
    const { port } = await answer(server);
    const isProfiled = profiles !== undefined && name !== 'floor';
    const profile = isProfiled ? ['--cpu-prof', `--cpu-prof-dir=${profiles}`] : [];
    const runner = start('runner.ts', [name, bench.name], ['--expose-gc', ...profile]);
    await answer(runner);
    const base = `ws://127.0.0.1:${port}`;
    return new Lane(server, runner, { base, size, isFloor: name === 'floor' });
  }

  async measure(): Promise<number> {
    const outcome = answer(this.#runner, this.#server);
    this.#runner.send(this.#round);
    return (await outcome).value ?? Number.NaN;
  }

  stop(): void {
    this.#runner.disconnect();
    this.#server.disconnect();
  }
}

function start(file: string, args: string[], execArgv: string[]): ChildProcess {
  const child = fork(path.join(import.meta.dirname, file), args, { execArgv });
  // They end by themselves when the channel closes; a run that is interrupted closes it too.
  child.on('error', () => {});
  return child;
}

interface Answer {
  port?: number;
  value?: number;
  problem?: string;
}

/** The next word of a process; a problem of either one, or its end, is a failure. */
function answer(process: ChildProcess, other?: ChildProcess): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => end(new Error('A round hangs.')), PATIENCE);
    const hear = (said: Answer) => end(said.problem ? new Error(said.problem) : said);
    const exited = () => end(new Error('A process of the bench ended early.'));
    const end = (outcome: Answer | Error) => {
      clearTimeout(timer);
      for (const one of [process, other]) one?.off('message', hear).off('exit', exited);
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    };
    for (const one of [process, other]) one?.on('message', hear).on('exit', exited);
  });
}
