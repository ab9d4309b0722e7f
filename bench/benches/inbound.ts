/**
 * Events from the server: CPU of the client process for each.
 *
 * How it could mislead: `flood` is one long write, so that a read brings hundreds of events and the
 * price of reading is shared; that is a replay, not a chat. `paced` sends each by itself, 200 µs
 * apart, but a busy machine still lets some of them share a read, for floor and contender alike. The
 * garbage collector's threads count. The listener does nothing.
 */

import type { Contender } from '../bench.ts';
import { type Bench, collectGarbage, cpuOf, type Round } from '../bench.ts';

const RATE = 5_000;

export const inbound: Bench[] = [
  {
    name: 'inbound-flood',
    title: 'inbound flood, seq',
    unit: 'µs CPU per event',
    target: { ratio: 1.25 },
    size: 50_000,
    quickSize: 25_000,
    measure: (contender, round) => receive(contender, round, `/flood?seq=1&events=${round.size}`),
  },
  {
    name: 'inbound-flood-ids',
    title: 'inbound flood, eventIds only',
    unit: 'µs CPU per event',
    target: { ratio: 1.45 },
    size: 50_000,
    quickSize: 25_000,
    measure: (contender, round) => receive(contender, round, `/flood?events=${round.size}`),
  },
  {
    name: 'inbound-paced',
    title: 'inbound at 5,000/s, seq',
    unit: 'µs CPU per event',
    target: { ratio: 1.12 },
    size: 3_000,
    quickSize: 1_000,
    measure: (contender, round) =>
      receive(contender, round, `/paced?seq=1&rate=${rateOf(round)}&events=${round.size}`),
  },
  {
    name: 'inbound-paced-ids',
    title: 'inbound at 5,000/s, eventIds only',
    unit: 'µs CPU per event',
    target: { ratio: 1.12 },
    size: 3_000,
    quickSize: 1_000,
    measure: (contender, round) =>
      receive(contender, round, `/paced?rate=${rateOf(round)}&events=${round.size}`),
  },
  {
    // The floor runs the same schema: what is compared is what the contract adds to the validator.
    name: 'inbound-paced-zod',
    title: 'inbound at 5,000/s, seq, zod contract',
    unit: 'µs CPU per event',
    target: { ratio: 1.25 },
    size: 3_000,
    quickSize: 1_000,
    measure: (contender, round) =>
      receive(contender, round, `/paced?seq=1&rate=${rateOf(round)}&events=${round.size}`, true),
  },
];

/** What runs once for each write is compiled no sooner than it has run some thousand times. */
function rateOf({ isWarmUp }: Round): number {
  return isWarmUp ? 10 * RATE : RATE;
}

async function receive(
  contender: Contender,
  { base, size }: Round,
  path: string,
  checked = false,
): Promise<number> {
  const connection = await contender.connect(base + path, { checked });
  let count = 0;
  const all = new Promise<void>((resolve) => {
    connection.onEvent(() => {
      if (++count === size) resolve();
    });
  });
  await connection.join();
  await collectGarbage();
  const cpu = await cpuOf(() => all);
  connection.close();
  return cpu / size;
}
