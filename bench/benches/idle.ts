/**
 * A client that has nothing to do but to notice when its server is gone: CPU for each second of it.
 *
 * How it could mislead: the heartbeat is 0.5 s here, and what a beat costs is divided by the 25 s that
 * lie between two of them in earnest. A hundred clients in one process share some of its wake-ups.
 * The target is an absolute one, of another machine; the floor is a `setInterval` and a hand-written
 * ping, which proves nothing when no pong comes.
 */
import { setTimeout } from 'node:timers/promises';
import { type Bench, type Connection, collectGarbage, cpuOf } from '../bench.ts';

const HEARTBEAT = 500;
const HEARTBEAT_IN_EARNEST = 25;
const BEATS = 3;

export const idle: Bench[] = [
  {
    name: 'idle',
    title: 'idle client, heartbeat of 25 s',
    unit: 'µs CPU per second',
    target: { value: 1.2 },
    size: 100,
    quickSize: 100,
    async measure(contender, { base, size }) {
      const connections: Connection[] = [];
      // Their beats are spread over the interval, as those of real clients are.
      for (let count = 0; count < size; count++) {
        connections.push(await contender.connect(`${base}/idle`, { heartbeat: HEARTBEAT }));
        await setTimeout(HEARTBEAT / size - 1);
      }
      await collectGarbage();
      const cpu = await cpuOf(() => setTimeout(BEATS * HEARTBEAT));
      for (const connection of connections) connection.close();
      return cpu / (size * BEATS) / HEARTBEAT_IN_EARNEST;
    },
  },
];
