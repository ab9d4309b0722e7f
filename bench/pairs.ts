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
  readonly size: number;
  /** How long pairs are measured, whatever the machine; at least `least` of them. */
  readonly seconds: number;
  readonly least: number;
  /** How many rounds' worth of work comes before the first one that counts. */
  readonly warmUp: number;
  /** How often both processes are started anew: each compiles a little differently. */
  readonly generations: number;
  /** A folder for CPU profiles of the contenders. */
  readonly profiles: string | undefined;
}

export async function compare(bench: Bench, contender: string, effort: Effort): Promise<Pairs> {
  const pairs: Pairs = { bench, contender, floor: [], values: [], ratios: [] };
  const started = performance.now();
  const elapsed = () => (performance.now() - started) / 1_000;
  const isDone = () => pairs.ratios.length >= effort.least && elapsed() >= effort.seconds;
  for (let generation = 1; !isDone(); generation++) {
    const [one, other] = await Promise.all([
      Lane.start('floor', bench, effort),
      Lane.start(contender, bench, effort),
    ]);
    const until = (effort.seconds * generation) / effort.generations;
    if (!bench.fresh) {
      await one.warmUp(effort.warmUp);
      await other.warmUp(effort.warmUp);
    }
    do {
      const floor = await one.measure();
      const value = await other.measure();
      pairs.floor.push(floor);
      pairs.values.push(value);
      pairs.ratios.push(value / floor);
    } while (!isDone() && !bench.fresh && (elapsed() < until || generation >= effort.generations));
    one.stop();
    other.stop();
  }
  return pairs;
}

/** No round takes so long: something hangs. */
const PATIENCE = 60_000;

/** A contender in a process of its own, and its server in another one. */
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
    const { server, port } = await serving(entry.server);
    const isProfiled = profiles !== undefined && name !== 'floor';
    const profile = isProfiled ? ['--cpu-prof', `--cpu-prof-dir=${profiles}`] : [];
    const runner = start('runner.ts', [name, bench.name], ['--expose-gc', ...profile]);
    await answer(runner);
    const base = `ws://127.0.0.1:${port}`;
    return new Lane(server, runner, { base, size, isFloor: name === 'floor', isWarmUp: false });
  }

  async warmUp(rounds: number): Promise<void> {
    await this.measure({ ...this.#round, size: this.#round.size * rounds, isWarmUp: true });
  }

  async measure(round = this.#round): Promise<number> {
    const outcome = answer(this.#runner, this.#server);
    this.#runner.send(round);
    return (await outcome).value ?? Number.NaN;
  }

  stop(): void {
    this.#runner.disconnect();
  }
}

const servers = new Map<string, Promise<{ server: ChildProcess; port: number }>>();

/** One process for each kind of server, for the whole run. */
function serving(file: string): Promise<{ server: ChildProcess; port: number }> {
  let known = servers.get(file);
  if (known === undefined) {
    const server = start(file, [], []);
    known = answer(server).then(({ port = 0 }) => ({ server, port }));
    servers.set(file, known);
  }
  return known;
}

/** Lets the process end. */
export async function stopServers(): Promise<void> {
  for (const known of servers.values()) (await known).server.disconnect();
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
