/** The room without a page: some clients, a seeded schedule of harm, and a verdict. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Transport } from 'holdfast';
import { seededDice } from 'holdfast/testing';
import { harmKinds } from './harm-list.ts';
import type { Report } from './judge.ts';
import { type Stage, setStage } from './scene.ts';
import { type Planned, schedule } from './schedule.ts';
import { FEED, Visitor } from './visitor.ts';
import { type Doors, wire } from './wires.ts';

export interface HeadlessOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly print: (line: string) => void;
  /** @default 4 */
  readonly clients?: number;
  /** Ends the run early. */
  readonly signal?: AbortSignal;
  /** The wire of each client. @default WebSocket */
  readonly transport?: (doors: Doors) => Transport;
}

/** Milliseconds between two messages of one client. */
const SPEECH_PACE = 200;
/** Milliseconds that the end may take, once everything is healed. */
const QUIET_DEADLINE = 15_000;

/** @throws AbortError where the signal ended it */
export async function runHeadless(options: HeadlessOptions): Promise<Report> {
  const random = seededDice(options.seed);
  const plan = schedule(options.seconds, random);
  const stage = await setStage({ keeper: false, random });
  const watch = new Watch();
  const visitors = enlist(stage, options, watch);
  let talk: NodeJS.Timeout | undefined;
  try {
    await Promise.all(visitors.map((visitor) => visitor.enter()));
    stage.server.startFeed();
    talk = setInterval(() => {
      for (const visitor of visitors) visitor.speak();
    }, SPEECH_PACE);
    const faults = await perform(plan, stage, options, () => progress(visitors));
    clearInterval(talk);
    await stage.harms.heal();
    stage.server.stopFeed();
    options.print('healed; waiting until everybody is up to date …');
    const { number } = stage.server;
    const isQuiet = () => visitors.every((visitor) => visitor.isSettled(number));
    await watch.until(isQuiet, QUIET_DEADLINE);
    return report(visitors, stage, { seed: options.seed, faults });
  } finally {
    clearInterval(talk);
    for (const visitor of visitors) visitor.client.close();
    await stage.close();
  }
}

function enlist(stage: Stage, options: HeadlessOptions, watch: Watch): Visitor[] {
  const { clients = 4, transport = (doors) => wire('websocket', doors) } = options;
  const { server, tokens, doors } = stage;
  return Array.from({ length: clients }, (_, index) => {
    const changed = () => watch.look();
    const name = `client ${index + 1}`;
    return new Visitor({ name, transport: transport(doors), server, tokens, changed });
  });
}

/** Does the harm when its time comes; nothing waits for anybody to recover. */
async function perform(
  plan: readonly Planned[],
  { harms, proxies }: Stage,
  { seconds, signal, print }: HeadlessOptions,
  state: () => string,
): Promise<Record<string, number>> {
  const faults: Record<string, number> = {};
  const started = performance.now();
  const until = (at: number) =>
    pause(
      Math.max(0, started + at - performance.now()),
      undefined,
      signal === undefined ? {} : { signal },
    );
  for (const { at, name, lasts } of plan) {
    await until(at);
    const { label } = harmKinds[name];
    const links = proxies.sockets.connections.length + proxies.others.connections.length;
    const length = lasts === 0 ? '' : ` for ${(lasts / 1_000).toFixed(1)} s`;
    const when = `${((performance.now() - started) / 1_000).toFixed(1)} s`.padStart(7);
    print(`${when}  ${`${label}${length}`.padEnd(32)} ${links} links open; ${state()}`);
    // With no link there, a cut would be no fault at all.
    if (links > 0) faults[name] = (faults[name] ?? 0) + 1;
    await harms.begin(name, lasts);
  }
  await until(seconds * 1_000);
  return faults;
}

function progress(visitors: readonly Visitor[]): string {
  const total = (of: (visitor: Visitor) => number) =>
    visitors.reduce((sum, visitor) => sum + of(visitor), 0);
  const delivered = total((one) => deliveredTo(one));
  return `${total((one) => one.sent)} sent, ${total((one) => one.open)} open, ${delivered} delivered`;
}

function report(
  visitors: readonly Visitor[],
  { server }: Stage,
  { seed, faults }: { seed: number; faults: Record<string, number> },
): Report {
  const total = (of: (visitor: Visitor) => number) =>
    visitors.reduce((sum, visitor) => sum + of(visitor), 0);
  const tallied = (of: 'doubled' | 'outOfOrder') =>
    total((one) => [...one.tallies.values()].reduce((sum, tally) => sum + tally[of], 0));
  return {
    seed,
    clients: visitors.length,
    sent: total((one) => one.sent),
    answered: total((one) => one.sent - one.open - failures(one)),
    failed: failedByCode(visitors),
    runs: [...server.runs.values()].reduce((sum, count) => sum + count, 0),
    runTwice: [...server.runs.values()].filter((count) => count > 1).length,
    published: server.published,
    delivered: total(deliveredTo),
    toldAsGaps: total((one) => toldTo(one, server.runs)),
    duplicatesDropped: total((one) => one.client.metrics().duplicates),
    replayed: total((one) => one.client.metrics().replayed),
    lost: total((one) => lostFor(one, visitors, server.number)) + unrun(visitors, server.runs),
    doubled: tallied('doubled'),
    outOfOrder: tallied('outOfOrder'),
    unsettled: total((one) => one.open),
    gapNotices: total((one) => one.gaps),
    gapsWithoutLoss: total((one) => one.gapsWithoutLoss),
    reconnects: total((one) => one.client.metrics().reconnects),
    slowestRecovery: Math.max(...visitors.map((one) => one.slowestRecovery)),
    behind: visitors.filter((one) => one.client.state.synced !== true).length,
    faults,
  };
}

function deliveredTo(visitor: Visitor): number {
  return [...visitor.tallies.values()].reduce((sum, { delivered }) => sum + delivered, 0);
}

/** A message that was never run was never published: no gap stands for it. */
function toldTo({ tallies }: Visitor, runs: ReadonlyMap<string, number>): number {
  let told = 0;
  for (const [series, { excused }] of tallies) {
    for (const number of excused) if (series === FEED || runs.has(`${series}-${number}`)) told++;
  }
  return told;
}

function failures(visitor: Visitor): number {
  return [...visitor.failed.values()].reduce((sum, count) => sum + count, 0);
}

function failedByCode(visitors: readonly Visitor[]): Record<string, number> {
  const byCode: Record<string, number> = {};
  for (const { failed } of visitors) {
    for (const [code, count] of failed) byCode[code] = (byCode[code] ?? 0) + count;
  }
  return byCode;
}

/** Of the feed every number counts; of the messages those whose sender was told that they are out. */
function lostFor(visitor: Visitor, senders: readonly Visitor[], published: number): number {
  const feed = visitor.tally(FEED);
  let lost = feed.missing.size + Math.max(0, published - feed.last);
  for (const sender of senders) {
    const { missing, last } = visitor.tally(sender.name);
    for (const number of sender.answered) if (number > last || missing.has(number)) lost++;
  }
  return lost;
}

/** Answered, and yet never run. */
function unrun(visitors: readonly Visitor[], runs: ReadonlyMap<string, number>): number {
  return visitors.flatMap((one) => one.answeredIds).filter((id) => !runs.has(id)).length;
}

/** Waits for a condition that is looked at whenever something has changed. */
class Watch {
  #look: (() => void) | undefined;

  look(): void {
    this.#look?.();
  }

  /** Resolves when it holds, or at the deadline. */
  until(condition: () => boolean, deadline: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#look = undefined;
        resolve();
      };
      const timer = setTimeout(done, deadline);
      this.#look = () => {
        if (condition()) done();
      };
      this.#look();
    });
  }
}
