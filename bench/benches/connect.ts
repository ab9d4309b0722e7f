/**
 * From nothing to `welcome`: a client is made, dials and is greeted, one after another.
 *
 * How it could mislead: loopback has no round-trip time and no TLS. Over a network the handshake
 * itself is 20 to 200 ms, and this difference drowns in it. The floor sends the same `hello` and waits
 * for the same `welcome`; a bare open would save it one of the two round trips.
 */
import { setTimeout } from 'node:timers/promises';
import { type Bench, collectGarbage, median } from '../bench.ts';

export const connect: Bench[] = [
  {
    name: 'connect',
    title: 'connect to welcome, p50',
    unit: 'µs',
    target: { ratio: 1.5 },
    size: 60,
    quickSize: 40,
    async measure(contender, { base, size }) {
      const times: number[] = [];
      await collectGarbage();
      for (let count = 0; count < size; count++) {
        const started = performance.now();
        const connection = await contender.connect(`${base}/idle`);
        times.push(performance.now() - started);
        connection.close();
        // The end of the last one is not to fall into the beginning of the next.
        await setTimeout(2);
      }
      return median(times) * 1_000;
    },
  },
];
