/**
 * What one more idle client adds to a process: resident memory, and V8's heap alone.
 *
 * How it could mislead: the heap grows in steps. Depending on which clients one counts, the same build
 * takes 11 or 80 kB of RSS for each, and a change that saves a kilobyte can look like ten. The first
 * line is the one that clients are usually compared by, from about none to a thousand of them; read it
 * with its quartiles, which do NOT show that error. The second, `heapUsed` after a collection, is
 * exact to a few bytes and leaves out sockets' native parts and fragmentation: judge a change by it.
 * No room is joined, nothing was ever received.
 */
import {
  type Bench,
  type Connection,
  type Contender,
  collectGarbage,
  type Round,
} from '../bench.ts';

const WARM_UP = 100;

export const memory: Bench[] = [
  {
    name: 'memory',
    title: 'memory of an idle client',
    unit: 'kB RSS',
    target: { ratio: 1.5 },
    size: 1_000,
    quickSize: 1_000,
    fresh: true,
    measure: (contender, round) => added(contender, round, ({ rss }) => rss),
  },
  {
    name: 'memory-heap',
    title: 'heap of an idle client',
    unit: 'kB heapUsed',
    size: 1_000,
    quickSize: 1_000,
    fresh: true,
    measure: (contender, round) => added(contender, round, ({ heapUsed }) => heapUsed),
  },
];

async function added(
  contender: Contender,
  { base, size }: Round,
  read: (usage: NodeJS.MemoryUsage) => number,
): Promise<number> {
  const held = await open(contender, `${base}/idle`, WARM_UP);
  const before = read(await settledUsage());
  held.push(...(await open(contender, `${base}/idle`, size)));
  const after = read(await settledUsage());
  for (const connection of held) connection.close();
  return (after - before) / size / 1_000;
}

async function open(contender: Contender, url: string, count: number): Promise<Connection[]> {
  const connections: Connection[] = [];
  while (connections.length < count) {
    const some = Array.from({ length: 20 }, () => contender.connect(url));
    connections.push(...(await Promise.all(some)));
  }
  return connections;
}

async function settledUsage(): Promise<NodeJS.MemoryUsage> {
  await collectGarbage();
  await collectGarbage();
  return process.memoryUsage();
}
