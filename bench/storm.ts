/**
 * The storm after a server's restart, in pure numbers: 10,000 clients lose their server at 0 s, it is
 * back at 5 s and takes 500 connections a second; and, the other way round, how soon a single client
 * is back. The waits are those of src/machine/backoff.ts with the client's defaults, which come from
 * here.
 *
 * How it could mislead: every dial is refused or welcomed at once, all clients lose the server in the
 * same millisecond, and what the server cannot take is refused, not queued. A real listen queue
 * softens the first second; a real dial that hangs spreads the rest. The server may take the first
 * 500 of them at once.
 */
import { defaults } from 'holdfast';
import { seededDice } from 'holdfast/testing';
import { backoff, type Herd, nextSlot } from '../src/machine/backoff.ts';
import { median, quantile } from './bench.ts';

const CLIENTS = 10_000;
const BACK_AT = 5_000;
const PER_SECOND = 500;
/** What a hub of 10,000 clients that takes 500 a second asks for. */
const SPREAD = (CLIENTS / PER_SECOND) * 1_000;
/** Outages of a single client's server, in ms, and how soon it should be back after them. */
const restarts = [
  { away: 100, target: 1_000 },
  { away: 2_000, target: 600 },
  { away: 5_000, target: 1_800 },
  { away: 12_000, target: 2_800 },
];
/** So many that the medians are sure to about 2 ms, and the peak, over the seeds, to about 1 %. */
const TRIALS = 100_000;
const SEEDS = [1, 2, 3, 4, 5];

interface Policy {
  name: string;
  /** Milliseconds before attempt number `attempt`; 1 is the first retry. */
  wait(attempt: number, roll: number): number;
  /** The server's `retrySpread`, in ms. */
  spread?: number;
  targets?: { peak: number; back: number; attempts: number };
}

const hinted = { peak: 600, back: 21, attempts: 1.4 };
const quiet = { peak: 3_000, back: 27, attempts: 4.6 };

const ours = (attempt: number, roll: number) => backoff(attempt, roll, defaults.reconnect);

/** Others' policies, to see that the simulation gives the figures they are known for. */
const known: Policy[] = [
  {
    name: 'full jitter 1 s × 2, cap 30 s',
    wait: jittered({ first: 1_000, factor: 2, cap: 30_000, least: 0 }),
  },
  {
    name: '1, 2, 4 … 30 s + 0–500 ms',
    wait: (attempt, roll) => Math.min(30_000, 1_000 * 2 ** (attempt - 1)) + 500 * roll,
  },
];

/** `wide`: the neighbourhood of the defaults as well. */
export function storm({ wide }: { wide: boolean }): void {
  console.log(`\n${CLIENTS} clients lose a server; it is back at ${BACK_AT / 1_000} s and takes`);
  console.log(
    `${PER_SECOND} a second. At best 99 % are back after 18.8 s. Right: a single client,`,
  );
  console.log('median time from the return of its server to its own.');
  const away = restarts.map((restart) => `${restart.away / 1_000} s away`);
  print(['', 'peak/s', '99 % back', 'attempts', ...away]);
  const targets = restarts.map(({ target }) => `≤ ${target} ms`);
  print(['targets with a hint', '≤ 600', '≤ 21 s', '≤ 1.4', ...targets]);
  print(['targets without', '≤ 3000', '≤ 27 s', '≤ 4.6', ...targets]);
  report({ name: 'holdfast, retrySpread', wait: ours, spread: SPREAD, targets: hinted });
  report({ name: 'holdfast, no hint', wait: ours, targets: quiet });
  for (const policy of known) report(policy);
  if (wide) for (const policy of neighbours()) report(policy);
}

/** Ceilings that grow, and waits anywhere between the `least` share of a ceiling and all of it. */
interface Ceilings {
  first: number;
  factor: number;
  cap: number;
  least: number;
}

function jittered({ first, factor, cap, least }: Ceilings): Policy['wait'] {
  return (attempt, roll) => {
    const ceiling = Math.min(cap, first * factor ** (attempt - 1));
    return ceiling * (1 - (1 - least) * roll);
  };
}

function neighbours(): Policy[] {
  const growths = [
    { first: 500, factor: 2 },
    { first: 750, factor: 2.85 },
    { first: 1_000, factor: 2 },
    { first: 1_000, factor: 3 },
    { first: 1_300, factor: 2 },
  ];
  const policies: Policy[] = [];
  for (const least of [0, 0.25, 0.45]) {
    for (const { first, factor } of growths) {
      for (const cap of [5_000, 8_000, 10_000, 15_000, 30_000]) {
        const name = `${first} × ${factor}, cap ${cap / 1_000} s, least ${least}`;
        policies.push({ name, wait: jittered({ first, factor, cap, least }), targets: quiet });
      }
    }
  }
  return policies;
}

function report(policy: Policy): void {
  const storms = SEEDS.map((seed) => simulate(policy, seed));
  const peak = median(storms.map((one) => one.peak));
  const back = median(storms.map((one) => one.back));
  const attempts = median(storms.map((one) => one.attempts));
  // A hub of one client asks for the spread of one.
  const single =
    policy.spread === undefined ? policy : { ...policy, spread: policy.spread / CLIENTS };
  const waits = restarts.map(({ away }) => alone(single, away));
  const figures = [`${peak}`, `${back.toFixed(1)} s`, attempts.toFixed(2)];
  const { name, targets } = policy;
  const cells = [name, ...figures, ...waits.map((wait) => `${wait.toFixed(0)} ms`)];
  if (targets === undefined) {
    print(cells);
    return;
  }
  const { peak: most, back: latest, attempts: dials } = targets;
  const isCalm = peak <= most && back <= latest && attempts <= dials;
  const isQuick = restarts.every(({ target }, index) => (waits[index] ?? 0) <= target);
  print(cells, `herd ${isCalm ? 'met' : 'NOT MET'}, single ${isQuick ? 'met' : 'NOT MET'}`);
}

interface Storm {
  /** The most attempts in one second, once the server is back. */
  peak: number;
  /** Seconds from the server's return until 99 % of the clients are back. */
  back: number;
  /** For each client, until it is back. */
  attempts: number;
}

function simulate(policy: Policy, seed: number): Storm {
  const roll = seededDice(seed);
  const clients = Array.from({ length: CLIENTS }, () => new Member(policy));
  const agenda = new Agenda();
  for (const client of clients) agenda.add(client, client.failed(0, roll()));
  const perSecond: number[] = [];
  const returned: number[] = [];
  let tokens = PER_SECOND;
  let refilledAt = BACK_AT;
  for (let next = agenda.next(); next !== undefined; next = agenda.next()) {
    const { client, at } = next;
    client.attempts++;
    if (at >= BACK_AT) {
      const second = Math.floor((at - BACK_AT) / 1_000);
      perSecond[second] = (perSecond[second] ?? 0) + 1;
      tokens = Math.min(PER_SECOND, tokens + ((at - refilledAt) * PER_SECOND) / 1_000);
      refilledAt = at;
    }
    if (at < BACK_AT || tokens < 1) agenda.add(client, client.failed(at, roll()));
    else {
      tokens--;
      returned.push((at - BACK_AT) / 1_000);
    }
  }
  return {
    peak: Math.max(...Array.from(perSecond, (count) => count ?? 0)),
    back: quantile(returned, 0.99),
    attempts: clients.reduce((sum, client) => sum + client.attempts, 0) / CLIENTS,
  };
}

/** Median milliseconds between the server's return and the attempt that finds it. */
function alone(policy: Policy, away: number): number {
  const roll = seededDice(99);
  const waits = Array.from({ length: TRIALS }, () => {
    const client = new Member(policy);
    let at = client.failed(0, roll());
    while (at < away) at = client.failed(at, roll());
    return at - away;
  });
  return median(waits);
}

/** One client of the herd: waits as src/machine does. */
class Member {
  attempts = 0;
  #failures = 0;
  #herd: Herd | undefined;
  readonly #policy: Policy;

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  /** When it tries again. */
  failed(now: number, roll: number): number {
    const { spread } = this.#policy;
    const wait = this.#policy.wait(++this.#failures, roll);
    if (spread === undefined) return now + wait;
    this.#herd ??= { origin: now, share: roll, spread };
    return Math.max(now + wait, nextSlot(this.#herd, now));
  }
}

/** Who is next, to the millisecond. */
class Agenda {
  readonly #slots: { client: Member; at: number }[][] = [];
  #now = 0;

  add(client: Member, at: number): void {
    const slot = Math.max(this.#now, Math.floor(at));
    const entries = this.#slots[slot];
    if (entries === undefined) this.#slots[slot] = [{ client, at }];
    else entries.push({ client, at });
  }

  next(): { client: Member; at: number } | undefined {
    while (this.#now < this.#slots.length) {
      const first = this.#slots[this.#now]?.shift();
      if (first !== undefined) return first;
      this.#now++;
    }
    return undefined;
  }
}

function print([name = '', ...cells]: string[], verdict = ''): void {
  console.log(name.padEnd(36), ...cells.map((cell) => cell.padStart(10)), verdict);
}
