/**
 * A client that has nothing to do but to notice when its server is gone: CPU for each second of it.
 *
 * How it could mislead: the heartbeat is 1 s here, and what a beat costs is divided by the 25 s that
 * lie between two of them in earnest. Two hundred clients in one process share some of its wake-ups.
 * The target is an absolute one, of another machine; the floor is a `setInterval` and a hand-written
 * ping, which proves nothing when no pong comes.
 */
import { setTimeout } from 'node:timers/promises';
import { type Bench, type Connection, collectGarbage, cpuOf } from '../bench.ts';

const HEARTBEAT = 1_000;
const HEARTBEAT_IN_EARNEST = 25;
const SECONDS = 2;

export const idle: Bench[] = [
  {
    name: 'idle',
    title: 'idle client, heartbeat of 25 s',
    unit: 'µs CPU per second',
    target: { value: 1.2 },
    size: 200,
    rounds: 6,
    async measure(contender, { base, size }) {
      const connections: Connection[] = [];
      // Their beats are spread over the interval, as those of real clients are.
      for (let count = 0; count < size; count++) {
        connections.push(await contender.connect(`${base}/idle`, { heartbeat: HEARTBEAT }));
        await setTimeout(HEARTBEAT / size - 1);
      }
      collectGarbage();
      const cpu = await cpuOf(() => setTimeout(SECONDS * HEARTBEAT));
      for (const connection of connections) connection.close();
      return cpu / (size * SECONDS) / HEARTBEAT_IN_EARNEST;
    },
  },
];
