/** What a headless run came to, and whether it is good enough. */

export interface Report {
  readonly seed: number;
  readonly clients: number;
  /** Requests. */
  readonly sent: number;
  readonly answered: number;
  /** Settled with an error, by code. */
  readonly failed: Readonly<Record<string, number>>;
  readonly runs: number;
  /** Requests whose handler ran more than once. */
  readonly runTwice: number;
  /** Events, each counted once. */
  readonly published: number;
  /** Events, counted at each client. */
  readonly delivered: number;
  /** Events, counted at each client that got a gap notice in their place. */
  readonly toldAsGaps: number;
  readonly duplicatesDropped: number;
  readonly replayed: number;
  /** Published or acknowledged, not delivered, and no gap notice covers it. */
  readonly lost: number;
  readonly doubled: number;
  readonly outOfOrder: number;
  readonly unsettled: number;
  readonly gapNotices: number;
  /** Gap notices, although the journal was kept. */
  readonly gapsWithoutLoss: number;
  readonly reconnects: number;
  /** Milliseconds. */
  readonly slowestRecovery: number;
  /** Clients that were not up to date at the end. */
  readonly behind: number;
  /** Done, by kind. */
  readonly faults: Readonly<Record<string, number>>;
}

/** What is wrong, in words; nothing where all held. */
export function complaints(report: Report): string[] {
  const found: string[] = [];
  const mustBeNone = (count: number, what: string) => {
    if (count > 0) found.push(`${count} ${what}`);
  };
  mustBeNone(report.lost, 'lost: published, not delivered, and no gap notice said so');
  mustBeNone(report.doubled, 'delivered twice');
  mustBeNone(report.runTwice, 'run twice by the server');
  mustBeNone(report.outOfOrder, 'out of order');
  mustBeNone(report.unsettled, 'neither answered nor failed');
  mustBeNone(report.gapsWithoutLoss, 'gap notices although the journal was kept');
  mustBeNone(report.behind, 'clients not up to date at the end');
  if (report.answered === 0) found.push('no request was answered');
  if (report.delivered === 0) found.push('no event was delivered');
  if (sum(report.faults) === 0) found.push('no fault was done');
  return found;
}

export function table(report: Report): string {
  const failures = Object.entries(report.failed).map(([code, count]) => `${count} ${code}`);
  const faults = Object.entries(report.faults).map(([name, count]) => `${count} ${name}`);
  const rows: [string, string | number, string?][] = [
    ['requests sent', report.sent],
    ['  answered', report.answered],
    ['  failed, and said so', sum(report.failed), failures.join(', ')],
    ['  run on the server', report.runs],
    ['  unsettled', report.unsettled],
    ['events published', report.published],
    ['  delivered', report.delivered, `to ${report.clients} clients`],
    ['  told as gaps', report.toldAsGaps, accounted(report)],
    ['  replayed', report.replayed],
    ['  duplicates dropped', report.duplicatesDropped],
    ['  lost', report.lost],
    ['  doubled', report.doubled + report.runTwice, 'delivered or run twice'],
    ['  out of order', report.outOfOrder],
    ['gap notices', report.gapNotices, `${report.gapsWithoutLoss} of them with the journal kept`],
    ['reconnects', report.reconnects],
    ['slowest recovery', seconds(report.slowestRecovery), 'from losing the link to caught up'],
    ['faults', sum(report.faults), faults.join(', ')],
  ];
  return rows
    .map(([name, value, note = '']) =>
      `${name.padEnd(24)}${String(value).padStart(8)}   ${note}`.trimEnd(),
    )
    .join('\n');
}

/** Every event has to come to every client, as itself or as part of a gap. */
function accounted({ published, clients, delivered, toldAsGaps }: Report): string {
  return `with the delivered ${delivered + toldAsGaps} of ${published} × ${clients} = ${published * clients}`;
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`;
}
