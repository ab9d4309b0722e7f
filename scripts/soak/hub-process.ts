/** The hub's process, as the soak holds it: started, killed without a word, replaced in good order. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import path from 'node:path';
import { json } from 'node:stream/consumers';
import type { HubMetrics } from 'holdfast/server';
import type { RoomState } from './contract.ts';
import type { Heap } from './memory.ts';

export type JournalKind = 'memory' | 'sqlite';

/** What a process of the hub is told as it starts. */
export interface HubPlan {
  /** Counts the processes from 1. */
  readonly run: number;
  readonly seed: number;
  readonly journal: JournalKind;
  /** Files that outlive it. */
  readonly database: string;
  readonly ledger: string;
  readonly heartbeat: { readonly interval: number; readonly timeout: number };
  /** `pace`: milliseconds from one number to the next, of all rooms together. */
  readonly feed: { readonly rooms: readonly string[]; readonly pace: number };
}

export type Asked = {
  readonly ask: 'start the feed' | 'stop the feed' | 'measure' | 'say when you write' | 'leave';
};

export type Told =
  | { readonly told: 'port'; readonly port: number }
  | { readonly told: 'writing' | 'rests' }
  | ({ readonly told: 'measure'; readonly metrics: HubMetrics } & Heap);

/** Milliseconds in which a process has to answer. */
const PATIENCE = 20_000;

export class HubProcess {
  readonly #plan: Omit<HubPlan, 'run'>;
  #process: ChildProcess | undefined;
  #port = 0;
  #run = 0;
  #crashes = 0;
  #isFeeding = false;

  constructor(plan: Omit<HubPlan, 'run'>) {
    this.#plan = plan;
  }

  /** Where it listens on 127.0.0.1; another port each time. */
  get port(): number {
    return this.#port;
  }

  /** How many there have been. */
  get run(): number {
    return this.#run;
  }

  /** How many ended without being killed. */
  get crashes(): number {
    return this.#crashes;
  }

  /** @throws Error where it does not start */
  async start(): Promise<void> {
    const plan: HubPlan = { ...this.#plan, run: ++this.#run };
    const child = fork(path.join(import.meta.dirname, 'hub.ts'), [JSON.stringify(plan)]);
    this.#process = child;
    child.on('exit', () => {
      if (this.#process === child) this.#crashes++;
    });
    const told = await heard(child, 'port');
    this.#port = told.port;
    if (this.#isFeeding) this.startFeed();
  }

  /** SIGKILL, as it writes: it gets to say nothing more. Resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null) return;
    if (this.#isFeeding) {
      this.#ask('say when you write');
      await heard(child, 'writing');
    }
    this.#process = undefined;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  /**
   * Starts the next process beside this one, on the same journal, and lets this one leave: clients
   * are to connect to the new port from `moved` on. Resolves when the old one is gone.
   */
  async replace(moved: () => void): Promise<void> {
    const old = this.#process;
    if (old === undefined) return;
    const rests = heard(old, 'rests');
    this.#ask('stop the feed');
    await rests;
    // Since it leaves on purpose, its end is no crash.
    this.#process = undefined;
    await this.start();
    moved();
    const gone = once(old, 'exit');
    old.send({ ask: 'leave' } satisfies Asked);
    await gone;
  }

  /** Each process after this one feeds the rooms, too. */
  startFeed(): void {
    this.#isFeeding = true;
    this.#ask('start the feed');
  }

  stopFeed(): void {
    this.#isFeeding = false;
    this.#ask('stop the feed');
  }

  /** Undefined where there is none, or it is killed meanwhile. */
  async measure(): Promise<Extract<Told, { told: 'measure' }> | undefined> {
    const child = this.#process;
    if (child === undefined) return undefined;
    this.#ask('measure');
    return heard(child, 'measure').catch(() => undefined);
  }

  /** @throws Error while there is none */
  async state(room: string, signal: AbortSignal): Promise<RoomState> {
    const about = { port: this.#port, path: `/state?room=${encodeURIComponent(room)}` };
    const request = get({ host: '127.0.0.1', agent: false, signal, ...about });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return (await json(response)) as RoomState;
  }

  #ask(ask: Asked['ask']): void {
    // A process that dies before it has read this is none that could answer.
    this.#process?.send({ ask }, () => {});
  }
}

function heard<T extends Told['told']>(child: ChildProcess, what: T) {
  return new Promise<Extract<Told, { told: T }>>((resolve, reject) => {
    const listen = (told: Told) => {
      if (told.told === what) done(() => resolve(told as Extract<Told, { told: T }>));
    };
    const fail = () => done(() => reject(new Error(`The hub's process did not say its ${what}.`)));
    const timer = setTimeout(fail, PATIENCE);
    const done = (settle: () => void) => {
      clearTimeout(timer);
      child.off('message', listen).off('exit', fail);
      settle();
    };
    child.on('message', listen).on('exit', fail);
  });
}
