/** Does the harm of a schedule, one kind at a time for each client, and counts what has hit. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Harm } from './harm.ts';
import type { HubProcess } from './hub-process.ts';
import type { Visitor } from './visitor.ts';

export interface HarmingSetup {
  readonly hub: HubProcess;
  readonly visitors: readonly Visitor[];
  readonly random: () => number;
  readonly print: (line: string) => void;
}

/** Milliseconds after which a harm has no consequences any more. */
const CONVALESCENCE = 30_000;

/** How often somebody else is looked for where a client is in trouble already. */
const TRIES = 20;

export class Harming {
  /** What was done to an open connection, by kind. */
  readonly done = new Map<string, number>();
  kills = 0;
  replacements = 0;
  /** Clients that left `connected` while one process gave way to the next, and had no other trouble. */
  disturbed = 0;
  readonly #setup: HarmingSetup;
  /** When each was last harmed, in ms of the process. */
  readonly #harmed = new Map<Visitor, number>();
  readonly #healing = new Map<Visitor, { end(): void; timer: NodeJS.Timeout }>();

  constructor(setup: HarmingSetup) {
    this.#setup = setup;
  }

  get total(): number {
    return [...this.done.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Hits somebody who is connected and has no trouble; nobody where there is none. */
  strike(harm: Harm): void {
    const victim = this.#victim();
    if (victim === undefined) return;
    const { proxy } = victim;
    this.done.set(harm.name, (this.done.get(harm.name) ?? 0) + 1);
    this.#harmed.set(victim, performance.now());
    harm.begin(proxy, this.#setup.random);
    const end = () => {
      this.#healing.delete(victim);
      harm.end?.(proxy);
    };
    if (harm.lasts !== undefined) {
      this.#healing.set(victim, { end, timer: setTimeout(end, harm.lasts) });
    }
  }

  /** The hub dies without a word, stays away for so many ms, and comes back on another port. */
  async kill(away: number): Promise<void> {
    const { hub, visitors, print } = this.#setup;
    print(`SIGKILL of hub ${hub.run}; the next one in ${Math.round(away)} ms`);
    this.kills++;
    await hub.kill();
    await pause(away);
    await hub.start();
    for (const { proxy } of visitors) proxy.retarget({ port: hub.port });
  }

  /** One process takes over from the other: nobody should notice who is well. */
  async replace(): Promise<void> {
    const { hub, visitors, print } = this.#setup;
    print(`hub ${hub.run} gives way to the next one`);
    this.replacements++;
    const since = performance.now() - CONVALESCENCE;
    const isWell = (visitor: Visitor) => (this.#harmed.get(visitor) ?? 0) < since;
    const well = visitors.filter((one) => isWell(one) && one.client.state.status === 'connected');
    const before = new Map(well.map((one) => [one, one.losses]));
    await hub.replace(() => {
      for (const { proxy } of visitors) proxy.retarget({ port: hub.port });
    });
    for (const [one, losses] of before) if (isWell(one) && one.losses > losses) this.disturbed++;
  }

  /** Takes everything back that is not over yet. */
  heal(): void {
    for (const { end, timer } of [...this.#healing.values()]) {
      clearTimeout(timer);
      end();
    }
  }

  #victim(): Visitor | undefined {
    const { visitors, random } = this.#setup;
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const visitor = visitors[Math.floor(random() * visitors.length)];
      if (visitor === undefined || this.#healing.has(visitor)) continue;
      if (visitor.client.state.status !== 'connected') continue;
      if (visitor.proxy.connections.length > 0) return visitor;
    }
    return undefined;
  }
}
