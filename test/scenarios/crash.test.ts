/**
 * Clients in processes of their own, killed in the middle of their sends, over an SQLite storage.
 * `CRASHES=20 npm test -- test/scenarios/crash.test.ts` kills more of them.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { seededDice } from 'holdfast/testing';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { bundle } from './bundle.js';
import { type ClientProcess, clientProcess, clientScript } from './client-process.js';
import { type RealHub, realHub } from './real-hub.js';

const SENDS = 500;
const ROOMS = 5;
const CRASHES = Number(process.env.CRASHES ?? 3);

let folder: string;
let script: string;
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'holdfast-crash-'));
  script = path.join(folder, 'client.cjs');
  writeFileSync(script, await bundle('node', clientScript));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

describe('a client that is killed in the middle of 500 sends', () => {
  for (let seed = 1; seed <= CRASHES; seed++) {
    test(`goes on in its next process, and every request runs once, in order (seed ${seed})`, async () => {
      const dice = seededDice(seed);
      const count = Math.floor(dice() * SENDS);
      const server = await serving();
      const file = path.join(folder, `crash-${seed}.db`);
      const numbers = Array.from({ length: SENDS }, (_, index) => index);

      const first = start(server, file);
      const killed = new Promise<void>((done) => {
        const kill = () => void first.kill().then(done);
        // Half of them by what the server has run, half by what the client has stored.
        if (seed % 2 === 1) server.onRun(count, kill);
        else first.onQueued(count, kill);
      });
      await first.restored;
      first.connect();
      first.ask(numbers);
      await killed;

      const second = start(server, file);
      const restored = await second.restored;
      // What was neither stored nor written was never queued: the application asks again.
      const lost = numbers.filter((one) => !restored.includes(one) && !server.ran.includes(one));
      expect(Math.min(...lost), 'queued, and not stored').toBeGreaterThan(first.queued);
      second.connect();
      second.ask(lost);
      await expect
        .poll(() => second.answered.length, { timeout: 20_000 })
        .toBe(restored.length + lost.length);

      expect(second.failed).toEqual([]);
      expect([...server.ran].sort((one, other) => one - other)).toEqual(numbers);
      for (let room = 0; room < ROOMS; room++) {
        const inRoom = server.ran.filter((one) => one % ROOMS === room);
        expect(inRoom).toEqual([...inRoom].sort((one, other) => one - other));
      }
      await second.close();
      expect(requestsIn(file)).toEqual([]);
    }, 30_000);
  }
});

describe('two processes on one file', () => {
  test('E36 send their own requests alone, and the next one takes over from one that was killed', async () => {
    const file = path.join(folder, 'shared.db');
    const server = await serving();
    const [one, two] = [start(server, file), start(server, file)];
    await Promise.all([one.restored, two.restored]);
    one.ask([0, 1, 2, 3, 4]);
    two.ask([10, 11, 12, 13, 14]);
    await expect.poll(() => [one.queued, two.queued], { timeout: 5_000 }).toEqual([4, 14]);
    const third = start(server, file);
    expect(await third.restored).toEqual([]);
    third.connect();

    await one.kill();
    const fourth = start(server, file);
    expect(await fourth.restored).toEqual([0, 1, 2, 3, 4]);
    expect(server.ran).toEqual([]);
    fourth.connect();
    await expect.poll(() => fourth.answered, { timeout: 5_000 }).toEqual([0, 1, 2, 3, 4]);
    expect(server.ran).toEqual([0, 1, 2, 3, 4]);
    two.connect();
    await expect.poll(() => two.answered, { timeout: 5_000 }).toEqual([10, 11, 12, 13, 14]);
    expect(server.ran).toHaveLength(10);
    expect([...third.answered, ...one.answered]).toEqual([]);
  }, 20_000);
});

interface Server extends RealHub {
  readonly ran: readonly number[];
  onRun(count: number, run: () => void): void;
}

async function serving(): Promise<Server> {
  const ran: number[] = [];
  let on: { count: number; run: () => void } | undefined;
  const hub = await realHub({
    limits: { messagesPerSecond: 100_000 },
    handlers: {
      'note:add': async (payload: unknown) => {
        const { number } = payload as { number: number };
        ran.push(number);
        if (on !== undefined && ran.length > on.count) on.run();
        // So that some are running when it happens.
        await new Promise((done) => setImmediate(done));
        return { number };
      },
    },
  });
  cleanups.push(() => hub.close());
  return {
    ...hub,
    ran,
    onRun: (count, run) => {
      on = { count, run };
    },
  };
}

function start({ port }: { port: number }, file: string): ClientProcess {
  const client = clientProcess(script, { url: `ws://127.0.0.1:${port}/realtime`, file });
  cleanups.push(() => client.kill());
  return client;
}

function requestsIn(file: string): unknown[] {
  const database = new DatabaseSync(file);
  const rows = database.prepare('SELECT * FROM requests').all();
  database.close();
  return rows;
}
