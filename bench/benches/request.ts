/**
 * Requests and their responses: CPU of the client process with 64 in flight, time with one.
 *
 * How it could mislead: the server answers at once and without parsing. With one in flight most of the
 * time is the kernel's and the other process's: on a busy machine the ratio drifts towards 1, and
 * p50 hides whatever happens to the slower half.
 */
import { type Bench, collectGarbage, cpuOf, median } from '../bench.ts';

const payload = { from: 'Ada', text: '.'.repeat(100) };

export const request: Bench[] = [
  {
    name: 'request-64',
    title: 'request, 64 in flight',
    unit: 'µs CPU per request',
    target: { ratio: 1.35 },
    size: 10_000,
    quickSize: 4_000,
    async measure(contender, { base, size }) {
      const connection = await contender.connect(`${base}/echo`);
      let left = size;
      const line = async () => {
        while (left-- > 0) await connection.request(payload);
      };
      await collectGarbage();
      const cpu = await cpuOf(() => Promise.all(Array.from({ length: 64 }, line)));
      connection.close();
      return cpu / size;
    },
  },
  {
    name: 'request-1',
    title: 'request, 1 in flight, p50',
    unit: 'µs',
    target: { ratio: 1.2 },
    size: 2_000,
    quickSize: 1_000,
    async measure(contender, { base, size }) {
      const connection = await contender.connect(`${base}/echo`);
      const times: number[] = [];
      await collectGarbage();
      for (let count = 0; count < size; count++) {
        const started = performance.now();
        await connection.request(payload);
        times.push(performance.now() - started);
      }
      connection.close();
      return median(times) * 1_000;
    },
  },
];
