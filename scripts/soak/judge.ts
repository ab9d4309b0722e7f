/** What a soak came to, and whether it is good enough. */
import { growth } from './memory.ts';
import type { Outcome } from './run.ts';
import { FEED, requestIdOf, seriesOf, type Visitor } from './visitor.ts';

export interface Verdict {
  /** Events that were published for certain, not delivered, and no gap notice covers them. */
  lost: number;
  doubled: number;
  outOfOrder: number;
  /** Requests without an outcome. */
  unsettled: number;
  runTwice: number;
  /** Answered, and never run. */
  unrun: number;
  /** Told that its hub had died in the middle, and yet what it published came: they are one write. */
  halfDone: number;
  /** What one client of a room got and another one did not, though nobody had a gap. */
  uneven: number;
  /** Gap notices more than there were journals lost. */
  gapsWithoutLoss: number;
  /** Events of a journal that had forgotten everything, with no gap notice before them. */
  unannounced: number;
  /** Answers that name no process that was there. */
  wrong: number;
  /** Failures for a reason that nothing in the run gives. */
  unexplained: number;
}

export function judge(outcome: Outcome): Verdict {
  const verdict: Verdict = { ...spotless };
  for (const visitor of outcome.visitors) {
    for (const { doubled, outOfOrder } of visitor.tallies.values()) {
      verdict.doubled += doubled;
      verdict.outOfOrder += outOfOrder;
    }
    verdict.unsettled += visitor.open;
    verdict.unannounced += outcome.command.journal === 'memory' ? visitor.unannounced : 0;
    verdict.wrong += visitor.wrong;
    verdict.unexplained += unexplained(visitor, outcome);
    verdict.gapsWithoutLoss += gapsWithoutLoss(visitor, outcome);
    judgeRequests(visitor, outcome, verdict);
    judgeRooms(visitor, outcome, verdict);
  }
  for (const count of outcome.deeds.runs.values()) if (count > 1) verdict.runTwice++;
  verdict.uneven = uneven(outcome);
  return verdict;
}

const spotless: Verdict = {
  lost: 0,
  doubled: 0,
  outOfOrder: 0,
  unsettled: 0,
  runTwice: 0,
  unrun: 0,
  halfDone: 0,
  uneven: 0,
  gapsWithoutLoss: 0,
  unannounced: 0,
  wrong: 0,
  unexplained: 0,
};

/** What is wrong, in words; nothing where all held. */
export function complaints(outcome: Outcome, verdict: Verdict): string[] {
  const { faults, kills, visitors, samples, command, crashes, disturbed, quietAfter } = outcome;
  const found = Object.entries(verdict)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${count} ${words[name as keyof Verdict]}`);
  if (quietAfter === null) found.push('not everybody was up to date in time');
  if (disturbed > 0) found.push(`${disturbed} disturbed by a hub that left in good order`);
  if (crashes > 0) found.push(`${crashes} processes of the hub ended by themselves`);
  if (visitors.every(({ sent, failed }) => sent === failed.size)) found.push('no answer came');
  if (faults.size === 0 || kills === 0) found.push('nothing was harmed');
  if (command.journal === 'memory' && visitors.every(({ gaps }) => gaps.size === 0)) {
    found.push('a hub forgot everything, and nobody was told of a gap');
  }
  for (const { of, first, last, isTooMuch } of growth(samples, command.minutes * 60)) {
    if (!isTooMuch) continue;
    found.push(
      `memory of the ${of}: ${first.toFixed(1)} MB at first, ${last.toFixed(1)} at the end`,
    );
  }
  return found;
}

const words: Readonly<Record<keyof Verdict, string>> = {
  lost: 'lost: published, not delivered, and no gap notice said so',
  doubled: 'delivered twice',
  outOfOrder: 'out of order',
  unsettled: 'neither answered nor failed',
  runTwice: 'run twice by the hub',
  unrun: 'answered and never run',
  halfDone: 'failed as node-died, though what they published came',
  uneven: 'delivered to some of a room and not to others',
  gapsWithoutLoss: 'gap notices although no journal was lost',
  unannounced: 'events of a forgetful hub without a gap notice before them',
  wrong: 'answered by a hub that never was',
  unexplained: 'failed for a reason that nothing gives',
};

/** Ran once where it was answered. */
function judgeRequests(visitor: Visitor, { deeds }: Outcome, verdict: Verdict): void {
  for (const [room, last] of visitor.counted) {
    for (let number = 1; number <= last; number++) {
      if (visitor.failed.has(seriesOf(room ?? '', String(number)))) continue;
      if (!deeds.runs.has(requestIdOf(visitor.name, room, number))) verdict.unrun++;
    }
  }
}

/** Everything that everybody in its rooms has certainly published. */
function judgeRooms(visitor: Visitor, { visitors, deeds, command }: Outcome, verdict: Verdict) {
  for (const room of visitor.rooms) {
    const { last = 0, unsure = new Set<number>() } = deeds.feeds.get(room) ?? {};
    const feed = visitor.tally(room, FEED);
    for (let number = 1; number <= last; number++) {
      if (!unsure.has(number) && isMissing(feed, number)) verdict.lost++;
    }
    for (const sender of visitors.filter(({ rooms }) => rooms.includes(room))) {
      const tally = visitor.tally(room, sender.name);
      for (let number = 1; number <= (sender.counted.get(room) ?? 0); number++) {
        const failure = sender.failed.get(seriesOf(room, String(number)));
        if (failure === undefined) verdict.lost += isMissing(tally, number) ? 1 : 0;
        else if (command.journal === 'sqlite' && failure.endsWith('node-died')) {
          verdict.halfDone += isMissing(tally, number) ? 0 : 1;
        }
      }
    }
  }
}

function isMissing({ last, missing }: { last: number; missing: Set<number> }, number: number) {
  return number > last || missing.has(number);
}

/** What the hub could not vouch for has come to all of a room or to none. */
function uneven({ visitors, deeds, command }: Outcome): number {
  if (command.journal === 'memory') return 0;
  let count = 0;
  for (const [room, { unsure }] of deeds.feeds) {
    const feeds = visitors.filter(({ rooms }) => rooms.includes(room));
    for (const number of unsure) {
      const without = feeds.filter((one) => isMissing(one.tally(room, FEED), number)).length;
      if (without > 0 && without < feeds.length) count++;
    }
  }
  return count;
}

function gapsWithoutLoss({ gaps }: Visitor, { command, kills }: Outcome): number {
  const lost = command.journal === 'memory' ? kills : 0;
  return [...gaps.values()].reduce((sum, count) => sum + Math.max(0, count - lost), 0);
}

/** A hub that died says so, or has forgotten; a client that was refused for good fails what waits. */
function unexplained({ failed, closed }: Visitor, { command }: Outcome): number {
  const died =
    command.journal === 'memory' ? 'OUTCOME_UNKNOWN forgotten' : 'OUTCOME_UNKNOWN node-died';
  const expected = [
    died,
    ...(closed.size > 0 ? ['OUTCOME_UNKNOWN closed', 'NOT_SENT closed'] : []),
  ];
  return [...failed.values()].filter((reason) => !expected.includes(reason)).length;
}
