/**
 * What the hub's processes did, in a file: written before it is done, and by one system call, so that
 * a SIGKILL in any moment leaves no deed without its line.
 */
import { openSync, readFileSync, writeSync } from 'node:fs';

/** The last numbers of one room, whoever has seen them. */
export interface RoomCounts {
  feed: number;
  readonly counts: Map<string, number>;
}

export interface Ledger {
  /** The number is about to be published in the room. */
  intends(room: string, number: number): void;
  /** The journal has it. */
  published(room: string, number: number): void;
  /** The handler of this request starts. */
  runs(request: Run): void;
  room(name: string): RoomCounts;
  /** Takes in what another process has written meanwhile. */
  reload(): void;
}

export interface Run {
  readonly requestId: string;
  readonly from: string;
  /** Undefined for a request that publishes nothing. */
  readonly room?: string | undefined;
  readonly number: number;
}

/** Goes on where the last process was killed. */
export function openLedger(path: string): Ledger {
  const file = openSync(path, 'a+');
  const rooms = new Map<string, RoomCounts>();
  const room = (name: string): RoomCounts => {
    const counts = rooms.get(name) ?? { feed: 0, counts: new Map() };
    rooms.set(name, counts);
    return counts;
  };
  const note = (line: Line) => {
    if (line.what === 'intends') room(line.room).feed = line.number;
    if (line.what === 'runs' && line.room !== undefined) {
      room(line.room).counts.set(line.from, line.number);
    }
  };
  const write = (line: Line) => {
    writeSync(file, `${JSON.stringify(line)}\n`);
    note(line);
  };
  const reload = () => {
    for (const line of readLines(path)) note(line);
  };
  reload();
  return {
    intends: (name, number) => write({ what: 'intends', room: name, number }),
    published: (name, number) => write({ what: 'published', room: name, number }),
    runs: (request) => write({ what: 'runs', ...request }),
    room,
    reload,
  };
}

/** The whole file, as the judge reads it. */
export interface Deeds {
  /** How often each request ran, by its id. */
  readonly runs: ReadonlyMap<string, number>;
  /** By room: the numbers that were to be published, and of those the ones nobody can vouch for. */
  readonly feeds: ReadonlyMap<string, { readonly last: number; readonly unsure: Set<number> }>;
}

export function readLedger(path: string): Deeds {
  const runs = new Map<string, number>();
  const feeds = new Map<string, { last: number; unsure: Set<number> }>();
  for (const line of readLines(path)) {
    if (line.what === 'runs') {
      runs.set(line.requestId, (runs.get(line.requestId) ?? 0) + 1);
      continue;
    }
    const feed = feeds.get(line.room) ?? { last: 0, unsure: new Set<number>() };
    feeds.set(line.room, feed);
    if (line.what === 'published') feed.unsure.delete(line.number);
    else {
      feed.last = line.number;
      feed.unsure.add(line.number);
    }
  }
  return { runs, feeds };
}

type Line =
  | { readonly what: 'intends' | 'published'; readonly room: string; readonly number: number }
  | ({ readonly what: 'runs' } & Run);

function readLines(path: string): Line[] {
  const text = readFileSync(path, 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}
