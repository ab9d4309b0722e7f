/** A client with an SQLite storage in a Node process of its own, that may be killed at any time. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { deferred } from '../../src/lib/deferred.js';

/** To be bundled. Each line that it writes is one word: what was restored, queued, answered. */
export const clientScript = `
import { writeSync } from 'node:fs';
import { createClient } from 'holdfast';
import { webSocket } from 'holdfast/websocket';
import { sqliteStorage } from 'holdfast/storage/sqlite';

const { url, file, outbox, maxBytes } = JSON.parse(process.argv[2]);
// At once, not through a stream: what was said before a SIGKILL has arrived.
const say = (word) => writeSync(1, JSON.stringify(word) + '\\n');
const client = createClient({
  transport: webSocket(url),
  outbox: { maxMessages: 10_000, ...outbox, storage: sqliteStorage({ path: file, maxBytes }) },
  limits: { messagesPerSecond: 100_000 },
  reconnect: { initialDelay: 50, maxDelay: 50, jitter: 'none' },
});
client.onError(({ code, message }) => say({ report: code + ': ' + message }));

const follow = (number, result) => result.then(
  () => say({ answered: number }),
  ({ code }) => say({ failed: [number, code] }),
);
let queued = -1;
function tell() {
  const highest = Math.max(queued, ...client.pending().map(({ payload }) => payload.number));
  if (highest > queued) say({ queued: highest });
  queued = highest;
}
async function ask(numbers) {
  for (const [index, number] of numbers.entries()) {
    follow(number, client.request('note:add', { number }, { room: 'room-' + (number % 5) }));
    if (index % 10 === 9) await new Promise((done) => setImmediate(done));
    tell();
  }
}
setInterval(tell, 2).unref();
process.on('message', async (told) => {
  if (told.ask) ask(told.ask);
  if (told.connect) client.connect().catch(() => {});
  if (told.close) {
    await client.close();
    process.disconnect();
  }
});
client.restore().then((restored) => {
  for (const { payload, result } of restored) follow(payload.number, result);
  say({ restored: restored.map(({ payload }) => payload.number) });
});
`;

export interface ClientProcess {
  /** What its storage held when it started. */
  readonly restored: Promise<readonly number[]>;
  /** The highest number that the client has ever counted as queued. */
  readonly queued: number;
  readonly answered: readonly number[];
  readonly failed: readonly unknown[];
  readonly reports: readonly string[];
  connect(): void;
  ask(numbers: readonly number[]): void;
  /** Runs once more than so many are queued. */
  onQueued(count: number, run: () => void): void;
  /** SIGKILL; resolves when it is gone, and everything it said was heard. */
  kill(): Promise<void>;
  close(): Promise<void>;
}

export interface ClientProcessOptions {
  readonly url: string;
  readonly file: string;
  readonly maxBytes?: number;
  readonly outbox?: object;
}

/** @param script where the bundle of {@link clientScript} is */
export function clientProcess(script: string, options: ClientProcessOptions): ClientProcess {
  const child = spawn(process.execPath, [script, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const { stdout } = child;
  if (stdout === null) throw new Error('The child has no stdout.');
  const gone = once(child, 'close');
  const restored = deferred<readonly number[]>();
  const heard = {
    queued: -1,
    answered: [] as number[],
    failed: [] as unknown[],
    reports: [] as string[],
  };
  let watch = { count: Number.POSITIVE_INFINITY, run: () => {} };
  createInterface({ input: stdout }).on('line', (line) => {
    const word = JSON.parse(line) as Word;
    if (word.restored !== undefined) restored.resolve(word.restored);
    if (word.answered !== undefined) heard.answered.push(word.answered);
    if (word.failed !== undefined) heard.failed.push(word.failed);
    if (word.report !== undefined) heard.reports.push(word.report);
    if (word.queued !== undefined) heard.queued = word.queued;
    if (heard.queued >= watch.count) watch.run();
  });
  return {
    restored: restored.promise,
    get queued() {
      return heard.queued;
    },
    answered: heard.answered,
    failed: heard.failed,
    reports: heard.reports,
    connect: () => child.send({ connect: true }),
    ask: (numbers) => child.send({ ask: numbers }),
    onQueued(count, run) {
      watch = { count, run };
    },
    async kill() {
      child.kill('SIGKILL');
      await gone;
    },
    async close() {
      child.send({ close: true });
      await gone;
    },
  };
}

interface Word {
  readonly restored?: number[];
  readonly queued?: number;
  readonly answered?: number;
  readonly failed?: unknown;
  readonly report?: string;
}
