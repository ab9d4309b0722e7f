/**
 * What one more idle client adds to the resident memory of a process.
 *
 * How it could mislead: RSS holds what V8 keeps for later beside what is in use, so each round has a
 * process of its own and ends with two collections; a few hundred kilobytes of chance remain, which is
 * why there are a thousand clients. Most of it is the socket's, not the client's. No room is joined,
 * nothing was ever received.
 */
import { setTimeout } from 'node:timers/promises';
import { type Bench, type Connection, type Contender, collectGarbage } from '../bench.ts';

const WARM_UP = 100;

export const memory: Bench[] = [
  {
    name: 'memory',
    title: 'memory of an idle client',
    unit: 'kB RSS',
    target: { ratio: 1.5 },
    size: 1_000,
    quickSize: 400,
    fresh: true,
    async measure(contender, { base, size }) {
      const held = await open(contender, `${base}/idle`, WARM_UP);
      const before = await resident();
      held.push(...(await open(contender, `${base}/idle`, size)));
      const after = await resident();
      for (const connection of held) connection.close();
      return (after - before) / size / 1_000;
    },
  },
];

async function open(contender: Contender, url: string, count: number): Promise<Connection[]> {
  const connections: Connection[] = [];
  while (connections.length < count) {
    const some = Array.from({ length: 20 }, () => contender.connect(url));
    connections.push(...(await Promise.all(some)));
  }
  return connections;
}

async function resident(): Promise<number> {
  await setTimeout(50);
  collectGarbage();
  await setTimeout(50);
  collectGarbage();
  return process.memoryUsage.rss();
}
