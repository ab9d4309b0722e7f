/** What runs in the pages of storage.test.ts: one client over IndexedDB, that does what it is told. */
import { type Client, type Contract, createClient } from 'holdfast';
import { indexedDbStorage } from 'holdfast/storage/indexed-db';
import { webSocket } from 'holdfast/websocket';
import { storageRules } from '../../src/testing/storage-rules.js';

interface Stored {
  readonly client: Client;
  /** The numbers of the requests that the storage held. */
  readonly restored: Promise<number[]>;
  readonly answered: number[];
  readonly failed: unknown[];
  readonly reports: string[];
  /** Payloads of the room's events, and of the user's own. */
  readonly heard: unknown[];
  readonly own: unknown[];
  /** Asks in batches, as a page does that works. */
  ask(numbers: readonly number[], padding?: string): Promise<void>;
  /** Joins a room from where the storage left it. */
  join(): Promise<void>;
  /** Rooms whose cursors are stored. */
  storedRooms(): Promise<string[]>;
  /** The rules that a storage in this browser breaks. */
  brokenRules(): Promise<string[]>;
}

/** Hears of the highest number that the client counts as queued. */
declare function tellQueued(number: number): void;

const client = createClient<Contract>({
  transport: webSocket(`ws://${location.host}/realtime`),
  auth: () => 'ann',
  outbox: { maxMessages: 10_000, storage: indexedDbStorage() },
  limits: { messagesPerSecond: 100_000 },
  reconnect: { initialDelay: 50, maxDelay: 50, jitter: 'none' },
});
const [answered, failed, reports, heard, own]: [
  number[],
  unknown[],
  string[],
  unknown[],
  unknown[],
] = [[], [], [], [], []];
client.onError(({ code }) => reports.push(code));
client.room('room').on('feed:ticked', (payload) => heard.push(payload));
client.on('feed:own', (payload) => own.push(payload));

function follow(number: number, result: Promise<unknown>): void {
  result.then(
    () => answered.push(number),
    ({ code }: { code: string }) => failed.push([number, code]),
  );
}

async function restore(): Promise<number[]> {
  const pending = await client.restore();
  return pending.map(({ payload, result }) => {
    const { number } = payload as { number: number };
    follow(number, result);
    return number;
  });
}

let queued = -1;
function tell(): void {
  const numbers = client.pending().map(({ payload }) => (payload as { number: number }).number);
  const highest = Math.max(queued, ...numbers);
  if (highest > queued) tellQueued(highest);
  queued = highest;
}

async function ask(numbers: readonly number[], padding = ''): Promise<void> {
  for (const [index, number] of numbers.entries()) {
    follow(number, client.request('note:add', { number, padding }, { room: `room-${number % 5}` }));
    if (index % 4 === 3) await new Promise((done) => setTimeout(done, 0));
    tell();
  }
}

async function join(): Promise<void> {
  await client.room('room').join({ since: 'stored' });
}

function storedRooms(): Promise<string[]> {
  return new Promise((done, fail) => {
    const opening = indexedDB.open('holdfast');
    opening.onerror = () => fail(new Error('It cannot be opened.'));
    opening.onsuccess = () => {
      const keys = opening.result.transaction('cursors').objectStore('cursors').getAllKeys();
      keys.onsuccess = () => {
        opening.result.close();
        done(keys.result.map((key) => (key as [string, string])[1]));
      };
    };
  });
}

async function brokenRules(): Promise<string[]> {
  let made = 0;
  const rules = storageRules(() => indexedDbStorage({ name: `rules-${++made}` }));
  const broken: string[] = [];
  for (const { title, run } of rules)
    await run().catch((error) => broken.push(`${title}: ${error}`));
  if (rules.length < 10) broken.push('There are no rules.');
  return broken;
}

const restored = restore();
setInterval(tell, 2);

/** What the test takes hold of. */
export const stored: Stored = {
  client,
  restored,
  answered,
  failed,
  reports,
  heard,
  own,
  ask,
  join,
  storedRooms,
  brokenRules,
};
