/**
 * Back after an outage: a thousand events of a hundred rooms were missed. Time from the new link's
 * `hello` until the last of them was heard and every room is known to be complete.
 *
 * How it could mislead: the server has everything ready and writes it at once; reading a journal takes
 * a real one longer. The floor parses the same frames and counts them, no more. That it is one round
 * trip is checked by the server: a client that asks a second time ends the run.
 */
import { setTimeout } from 'node:timers/promises';
import { type Bench, collectGarbage, median } from '../bench.ts';

const missed = { rooms: 100, each: 10 };

export const catchUp: Bench[] = [
  {
    name: 'catch-up',
    title: 'catching up 1,000 events in 100 rooms',
    unit: 'µs',
    target: { ratio: 1.5 },
    size: 15,
    quickSize: 8,
    async measure(contender, { base, size }) {
      const client = await contender.returning(`${base}/catch-up`, missed);
      const times: number[] = [];
      await collectGarbage();
      for (let count = 0; count < size; count++) {
        times.push(await client.again());
        // The server makes the next thousand ready.
        await setTimeout(25);
      }
      client.close();
      return median(times) * 1_000;
    },
  },
];
