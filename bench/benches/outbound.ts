/**
 * Messages to the server, as fast as they go: CPU of the client process for each.
 *
 * How it could mislead: a hundred messages are sent in each turn of the event loop, which is where
 * one write for all of them wins; an application that sends one a second gains nothing from it. The
 * floor writes each by itself, as a loop around `socket.send` does. For requests the server is silent:
 * this is the way out alone, and the floor's messages carry no promise. `request-64` has both ways.
 */
import { setImmediate } from 'node:timers/promises';
import { type Bench, type Connection, collectGarbage, cpuOf } from '../bench.ts';

const TURN = 100;
const payload = { from: 'Ada', text: '.'.repeat(100) };

export const outbound: Bench[] = [
  {
    name: 'outbound-send',
    title: 'outbound flood, send',
    unit: 'µs CPU per message',
    target: { ratio: 0.8 },
    size: 10_000,
    quickSize: 5_000,
    async measure(contender, { base, size }) {
      const connection = await contender.connect(`${base}/sink?expect=${size}`);
      return flood(connection, size, () => connection.send(payload));
    },
  },
  {
    name: 'outbound-request',
    title: 'outbound flood, request',
    unit: 'µs CPU per message',
    target: { ratio: 1.5 },
    size: 10_000,
    quickSize: 5_000,
    async measure(contender, { base, size, isFloor }) {
      const url = `${base}/sink?expect=${size}`;
      const connection = await contender.connect(url, { maxRequests: size });
      if (isFloor) return flood(connection, size, () => connection.send(payload));
      return flood(connection, size, () => void connection.request(payload).catch(() => {}));
    },
  },
];

async function flood(connection: Connection, size: number, send: () => void): Promise<number> {
  await collectGarbage();
  const cpu = await cpuOf(async () => {
    for (let sent = 0; sent < size; sent++) {
      send();
      if (sent % TURN < TURN - 1) continue;
      await setImmediate();
      await connection.drained();
    }
  });
  // What is still in the socket's buffer goes out before the close.
  connection.close();
  return cpu / size;
}
