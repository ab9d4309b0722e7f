/**
 * What one more idle client adds to the resident memory of a process.
 *
 * How it could mislead: RSS holds what V8 keeps for later beside what is in use. So each round has a
 * process of its own, as many clients again before the first look, which make the heap grow to its
 * size, and two collections before each look. It is the price of the second thousand; one client
 * alone costs a process more. No room is joined, nothing was ever received.
 */
import { type Bench, type Connection, type Contender, collectGarbage } from '../bench.ts';

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
      const held = await open(contender, `${base}/idle`, size);
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
  await collectGarbage();
  await collectGarbage();
  return process.memoryUsage.rss();
}
