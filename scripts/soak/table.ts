/** The report of a soak, to be read by people. */
import type { Verdict } from './judge.ts';
import { growth } from './memory.ts';
import type { Outcome } from './run.ts';
import type { Visitor } from './visitor.ts';

export function table(outcome: Outcome, verdict: Verdict): string {
  const { visitors, deeds, faults, kills, replacements, disturbed, quietAfter } = outcome;
  const total = (of: (visitor: Visitor) => number) =>
    visitors.reduce((sum, visitor) => sum + of(visitor), 0);
  const tallied = (
    of: (tally: Visitor['tallies'] extends Map<string, infer T> ? T : never) => number,
  ) => total(({ tallies }) => sum([...tallies.values()].map(of)));
  const failed = counted(visitors.flatMap((one) => [...one.failed.values()]));
  const rows: [string, string | number, string?][] = [
    ['requests sent', total((one) => one.sent)],
    ['  failed, and said so', total((one) => one.failed.size), listed(failed)],
    ['  run on the server', sum(deeds.runs.values())],
    ['  run twice', verdict.runTwice],
    ['  answered, never run', verdict.unrun],
    ['  unsettled', verdict.unsettled],
    [
      'numbers of the feeds',
      sum([...deeds.feeds.values()].map(({ last }) => last)),
      unsure(outcome),
    ],
    ['events delivered', tallied(({ delivered }) => delivered), `to ${visitors.length} clients`],
    ['  told as gaps', tallied(({ excused }) => excused.size)],
    ['  replayed', total((one) => one.client.metrics().replayed)],
    ['  duplicates dropped', total((one) => one.client.metrics().duplicates)],
    ['  lost', verdict.lost],
    ['  doubled', verdict.doubled],
    ['  out of order', verdict.outOfOrder],
    ['gap notices', total(({ gaps }) => sum(gaps.values())), `${verdict.gapsWithoutLoss} too many`],
    ['reconnects', total((one) => one.client.metrics().reconnects)],
    ['closed by a refusal', total(({ closed }) => sum(closed.values()))],
    ['slowest recovery', seconds(Math.max(...visitors.map((one) => one.slowestRecovery)))],
    [
      'up to date after',
      quietAfter === null ? 'never' : seconds(quietAfter),
      'when all was healed',
    ],
    ['SIGKILLs of the hub', kills],
    ['rolling restarts', replacements, `${disturbed} clients noticed`],
    ['faults', sum(faults.values()), listed(faults)],
    ...memory(outcome),
  ];
  return rows
    .map(([name, value, note = '']) =>
      `${name.padEnd(24)}${String(value).padStart(9)}   ${note}`.trimEnd(),
    )
    .join('\n');
}

function memory({ samples, command }: Outcome): [string, string, string][] {
  return growth(samples, command.minutes * 60).map(({ of, first, last }) => [
    `memory of the ${of}`,
    `${((last / first - 1) * 100).toFixed(1)} %`,
    `from ${first.toFixed(1)} MB after the first minute to ${last.toFixed(1)} MB at the end`,
  ]);
}

function unsure({ deeds }: Outcome): string {
  return `${sum([...deeds.feeds.values()].map(({ unsure: { size } }) => size))} of them cut off by a SIGKILL`;
}

function counted(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

function listed(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${count} ${name}`).join(', ');
}

function sum(counts: Iterable<number>): number {
  let total = 0;
  for (const count of counts) total += count;
  return total;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`;
}
