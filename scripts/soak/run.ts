/** One soak: clients, faults, kills, and what came of it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { seededDice } from 'holdfast/testing';
import { roomNames, roomsOf } from './contract.ts';
import type { Command } from './flags.ts';
import { Harming } from './harming.ts';
import { HubProcess } from './hub-process.ts';
import { type Deeds, readLedger } from './ledger.ts';
import { heapNow, type Sample } from './memory.ts';
import { type Schedule, schedule } from './schedule.ts';
import { FEED, Visitor } from './visitor.ts';

/** What a run came to, before it is judged. */
export interface Outcome {
  readonly command: Command;
  readonly visitors: readonly Visitor[];
  readonly deeds: Deeds;
  readonly samples: readonly Sample[];
  /** Done to an open connection, by kind. */
  readonly faults: ReadonlyMap<string, number>;
  readonly kills: number;
  /** Processes that gave way to the next in good order, and clients that noticed. */
  readonly replacements: number;
  readonly disturbed: number;
  /** Processes of the hub that ended without being killed. */
  readonly crashes: number;
  /** Milliseconds until everybody was up to date after the last fault; null: not in time. */
  readonly quietAfter: number | null;
}

/** Milliseconds from one number to the next, of all rooms together; of one request to the next. */
const FEED_PACE = 100;
const REQUEST_PACE = 50;
const SAMPLE_PACE = 5_000;
/** Milliseconds in which everybody has to be up to date once all is healed. */
const QUIET_DEADLINE = 40_000;
const heartbeat = { interval: 2_000, timeout: 1_000 };

export async function soak(command: Command, print: (line: string) => void): Promise<Outcome> {
  const folder = mkdtempSync(path.join(tmpdir(), 'holdfast-soak-'));
  const rooms = roomNames(command.clients);
  const ledger = path.join(folder, 'ledger');
  const { seed, journal } = command;
  const feed = { rooms, pace: FEED_PACE };
  const database = path.join(folder, 'journal.sqlite');
  const hub = new HubProcess({ seed, journal, database, ledger, heartbeat, feed });
  const visitors: Visitor[] = [];
  try {
    await hub.start();
    const random = seededDice(seed);
    for (let index = 0; index < command.clients; index++) {
      const name = `client-${index + 1}`;
      visitors.push(await Visitor.create({ name, rooms: roomsOf(index, rooms), hub, random }));
    }
    await Promise.all(visitors.map((visitor) => visitor.enter()));
    hub.startFeed();
    const busy = await traffic({ command, hub, visitors, random, print });
    print('healed; waiting until everybody is up to date …');
    const quietAfter = await quiet(visitors, ledger);
    const deeds = readLedger(ledger);
    return { command, visitors, deeds, ...busy, crashes: hub.crashes, quietAfter };
  } finally {
    await Promise.all(visitors.map((visitor) => visitor.leave()));
    await hub.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Stage {
  readonly command: Command;
  readonly hub: HubProcess;
  readonly visitors: readonly Visitor[];
  readonly random: () => number;
  readonly print: (line: string) => void;
}

/** Everything that happens for so many minutes: requests, samples of memory, harm, ends of the hub. */
async function traffic(stage: Stage) {
  const { command, hub, visitors, random } = stage;
  const ms = command.minutes * 60_000;
  const plan = schedule({ ms, replaces: command.journal === 'sqlite', random });
  const harming = new Harming(stage);
  const started = performance.now();
  const until = (at: number) => pause(Math.max(0, started + at - performance.now()));
  const samples: Sample[] = [];
  let turn = 0;
  const timers = [
    setInterval(() => visitors[turn++ % visitors.length]?.ask(), REQUEST_PACE),
    setInterval(() => void sample(stage, { started, samples, harming }), SAMPLE_PACE),
  ];
  try {
    await Promise.all([strikes(plan, until, harming), ends(plan, until, harming)]);
    await until(ms);
  } finally {
    for (const timer of timers) clearInterval(timer);
    harming.heal();
  }
  hub.stopFeed();
  const { done: faults, kills, replacements, disturbed } = harming;
  return { samples, faults, kills, replacements, disturbed };
}

type Until = (at: number) => Promise<void>;

async function strikes({ blows }: Schedule, until: Until, harming: Harming): Promise<void> {
  for (const { at, harm } of blows) {
    await until(at);
    harming.strike(harm);
  }
}

async function ends({ ends }: Schedule, until: Until, harming: Harming): Promise<void> {
  for (const { at, away } of ends) {
    await until(at);
    if (away === 'never') await harming.replace();
    else await harming.kill(away);
  }
}

interface Watch {
  readonly started: number;
  readonly samples: Sample[];
  readonly harming: Harming;
}

async function sample({ hub, visitors, print }: Stage, watch: Watch): Promise<void> {
  const at = (performance.now() - watch.started) / 1_000;
  watch.samples.push({ at, clients: heapNow(), hub: (await hub.measure()) ?? null });
  if (watch.samples.length % 2 === 0) print(progress(at, visitors, watch));
}

/** Milliseconds it took; null where the deadline came first. */
async function quiet(visitors: readonly Visitor[], ledger: string): Promise<number | null> {
  const started = performance.now();
  while (performance.now() - started < QUIET_DEADLINE) {
    await pause(200);
    const { feeds } = readLedger(ledger);
    const lastOf = (room: string) => {
      const { last = 0, unsure = new Set<number>() } = feeds.get(room) ?? {};
      let sure = last;
      while (unsure.has(sure)) sure--;
      return sure;
    };
    if (visitors.every((visitor) => visitor.isSettled(lastOf))) return performance.now() - started;
  }
  return null;
}

function progress(at: number, visitors: readonly Visitor[], { samples, harming }: Watch): string {
  const total = (of: (visitor: Visitor) => number) =>
    visitors.reduce((sum, visitor) => sum + of(visitor), 0);
  const latest = samples.at(-1);
  const parts = [
    `${Math.round(at)} s`.padStart(6),
    `${total((one) => (one.client.state.status === 'connected' ? 1 : 0))} connected`,
    `${total((one) => one.sent)} sent, ${total((one) => one.open)} open`,
    `${total((one) => one.tally(one.rooms[0] ?? '', FEED).last)} fed`,
    `${harming.total} faults, ${harming.kills} kills`,
    `${latest?.clients.held.toFixed(1)} MB here, ${latest?.hub?.held.toFixed(1) ?? '–'} MB in the hub`,
  ];
  return parts.join('   ');
}
