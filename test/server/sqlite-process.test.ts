/** Real processes on one journal: killed in the middle of writes, stopped, started side by side. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import type {
  Claimed,
  JournalNode,
  Linked,
  Position,
  Recalled,
  Slice,
  WriteResult,
} from 'holdfast/server';
import { parseCursor } from 'holdfast/server';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Child, workshop } from '../lib/child.js';

// Starting a process takes its time on a busy machine.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });

const shop = workshop();
afterAll(shop.end);

/** A node that does what it is told by lines, and writes down what it answers and hears. */
const script = `
import { createInterface } from 'node:readline';
import { nodeEnvironment } from './src/server/environment.ts';
import { sqliteJournal } from './src/server/sqlite-journal.ts';

const say = (word, value) => process.stdout.write(word + ' ' + JSON.stringify(value ?? null) + '\\n');
const node = sqliteJournal({ path: process.argv[2] }).open({
  clock: nodeEnvironment.clock,
  id: nodeEnvironment.id,
  appended: (news) => {
    say('appended', news.events.map(({ seq }) => seq));
    say('tail', news.seq);
  },
  settled: (client, requestId) => say('settled', [client, requestId]),
  linked: (client, link) => say('linked', [client, link]),
  told: (text) => say('told', text),
});

/** Runs requests without end, one event each; says so of each that is acknowledged. */
async function work(client, run) {
  const linked = await node.link(client, run);
  say('session', linked.session);
  await node.claim({ client, requestId: 'held-' + run, link: run, rerunnable: false });
  for (let n = 0; ; n++) {
    const requestId = run + '-' + n;
    const claimed = await node.claim({ client, requestId, link: run, rerunnable: false });
    if (claimed.state !== 'claimed') throw new Error(claimed.state);
    say('claimed', requestId);
    const settle = { client, requestId, response: 'did ' + requestId };
    const [result] = await node.write([
      { events: [{ room: 'a', body: '"of":"' + requestId + '"}' }], settle },
    ]);
    say('done', [requestId, result.cursors[0]]);
  }
}

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { call, args, id } = JSON.parse(line);
  say('answer ' + id, call === 'work' ? await work(...args) : await node[call](...args));
});
say('ready');
`;

let start: (...args: string[]) => Child;
beforeAll(async () => {
  start = await shop.script(script);
});

let files = 0;
const freshFile = () => path.join(shop.folder, `journal-${++files}.db`);

/** A node in a process of its own. */
async function remote(file: string) {
  const child = start(file);
  await child.line((line) => line.startsWith('ready'));
  let asked = 0;
  const ask = async <T>(call: string, ...args: unknown[]): Promise<T> => {
    const id = ++asked;
    child.tell(JSON.stringify({ call, args, id }));
    const prefix = `answer ${id} `;
    const line = await child.line((said) => said.startsWith(prefix));
    return JSON.parse(line.slice(prefix.length)) as T;
  };
  const heard = (word: string) =>
    child.said
      .filter((line) => line.startsWith(`${word} `))
      .map((line) => JSON.parse(line.slice(word.length + 1)));
  return {
    child,
    heard,
    /** Resolves once it was heard. */
    hears: (word: string, value: unknown) =>
      child.line((line) => line === `${word} ${JSON.stringify(value)}`),
    follow: (...args: Parameters<JournalNode['follow']>) => ask<Position>('follow', ...args),
    read: (...args: Parameters<JournalNode['read']>) => ask<Slice>('read', ...args),
    write: (...args: Parameters<JournalNode['write']>) => ask<WriteResult[]>('write', ...args),
    link: (...args: Parameters<JournalNode['link']>) => ask<Linked>('link', ...args),
    claim: (...args: Parameters<JournalNode['claim']>) => ask<Claimed>('claim', ...args),
    recall: (...args: Parameters<JournalNode['recall']>) => ask<Recalled>('recall', ...args),
    tell: (text: string) => ask<null>('tell', text),
    close: () => ask<null>('close'),
    work: (client: string, run: number) => {
      child.tell(JSON.stringify({ call: 'work', args: [client, run], id: 0 }));
    },
  };
}

const claim = { client: 'c', requestId: 'r', link: 1, rerunnable: false };
const draft = (n: number) => ({ room: 'a', body: `"n":${n}}` });

test('E33 nothing that was acknowledged is lost when a process is killed in the middle of writes', async () => {
  const file = freshFile();
  const sessions = new Set<string>();
  const done: [string, string][] = [];
  const claimed: string[] = [];
  for (let run = 1; run <= 5; run++) {
    const worker = await remote(file);
    worker.work('c', run);
    const least = 20 + run * 7;
    await worker.child.line((line) => line.startsWith('done') && line.includes(`-${least}"`));
    await worker.child.kill();
    for (const session of worker.heard('session')) sessions.add(session);
    done.push(...worker.heard('done'));
    claimed.push(...worker.heard('claimed'));
  }

  const next = await remote(file);
  expect(sessions.size).toBe(1);
  expect(await next.link('c', 9)).toEqual({ accepted: true, session: [...sessions][0] });

  // The last write of each run may have been kept without a word; none has a hole before it.
  const { epoch, seq } = await next.follow('a');
  expect(seq).toBeGreaterThanOrEqual(done.length);
  expect(seq).toBeLessThanOrEqual(done.length + 5);
  const slice = await next.read('a', { epoch, seq: 0 }, 1_000);
  const events = (slice.gap === undefined ? slice.events : []).map(({ text }) => JSON.parse(text));
  expect(events.map((event) => event.seq)).toEqual(Array.from({ length: seq }, (_, n) => n + 1));
  expect(new Set(events.map(({ of }) => of)).size).toBe(seq);
  for (const [requestId, cursor] of done) {
    expect(parseCursor(cursor)?.epoch).toBe(epoch);
    expect(events[(parseCursor(cursor)?.seq ?? 0) - 1]).toMatchObject({ of: requestId });
  }

  const states = new Map<string, Claimed>();
  for (const requestId of claimed) {
    states.set(requestId, await next.claim({ ...claim, requestId, link: 9 }));
  }
  for (const [requestId] of done) {
    expect(states.get(requestId)).toEqual({ state: 'settled', response: `did ${requestId}` });
  }
  // Event and response are there together, or neither.
  for (const [requestId, { state }] of states) {
    const hasEvent = events.some(({ of }) => of === requestId);
    expect([requestId, state]).toEqual([requestId, hasEvent ? 'settled' : 'orphaned']);
  }
  for (let run = 1; run <= 5; run++) {
    const held = await next.claim({ ...claim, requestId: `held-${run}`, link: 9 });
    expect(held).toEqual({ state: 'orphaned' });
  }
  await next.close();
  expect(readdirSync(shop.folder).filter((name) => name.startsWith(path.basename(file)))).toEqual([
    path.basename(file),
  ]);
});

describe('two processes on one file', () => {
  test('hear of each other: events, links, texts', async () => {
    const file = freshFile();
    const one = await remote(file);
    await one.follow('a');
    const two = await remote(file);
    await two.follow('a');
    await two.write([{ events: [draft(1)] }]);
    await one.hears('appended', [1]);
    await one.write([{ events: [draft(2), draft(3)] }]);
    await two.hears('appended', [2, 3]);
    await two.link('c', 4);
    await one.hears('linked', ['c', 4]);
    expect(await one.link('c', 3)).toEqual({ accepted: false, link: 4 });
    await one.tell('good day');
    await two.hears('told', 'good day');
  });

  test('a request that runs in one is running in the other until it is settled', async () => {
    const file = freshFile();
    const [one, two] = [await remote(file), await remote(file)];
    expect(await one.claim(claim)).toEqual({ state: 'claimed' });
    expect(await two.claim(claim)).toEqual({ state: 'running', isHere: false });
    expect(await two.recall('c', 'r')).toEqual({ state: 'running' });
    const settle = { client: 'c', requestId: 'r', response: 'yes' };
    expect(await two.write([{ events: [draft(1)], settle }])).toEqual([{ accepted: false }]);
    await one.write([{ events: [draft(1)], settle }]);
    await two.hears('settled', ['c', 'r']);
    expect(await two.claim(claim)).toEqual({ state: 'settled', response: 'yes' });
  });

  test('E33 or until its process is killed, which is told; what may run again does', async () => {
    const file = freshFile();
    const [one, two] = [await remote(file), await remote(file)];
    await one.claim(claim);
    await one.claim({ ...claim, requestId: 'again', rerunnable: true });
    await one.child.kill();
    await two.hears('settled', ['c', 'r']);
    expect(await two.claim(claim)).toEqual({ state: 'orphaned' });
    expect(await two.claim({ ...claim, requestId: 'again', rerunnable: true })).toEqual({
      state: 'claimed',
    });
  });

  test('a claim of a process that was killed a moment ago is an orphan at once', async () => {
    const file = freshFile();
    const [one, two] = [await remote(file), await remote(file)];
    await one.claim(claim);
    await one.child.kill();
    expect(await two.claim(claim)).toEqual({ state: 'orphaned' });
  });

  test('a process that stands still is alive, and hears what it missed', async () => {
    const file = freshFile();
    const [one, two] = [await remote(file), await remote(file)];
    await one.follow('a');
    await one.claim(claim);
    one.child.signal('SIGSTOP');
    await Promise.all(Array.from({ length: 300 }, (_, n) => two.write([{ events: [draft(n)] }])));
    expect(await two.claim(claim)).toEqual({ state: 'running', isHere: false });
    one.child.signal('SIGCONT');
    await one.hears('tail', 300);
    const settle = { client: 'c', requestId: 'r', response: 'late' };
    expect(await one.write([{ events: [], settle }])).toMatchObject([{ accepted: true }]);
    await two.hears('settled', ['c', 'r']);
  });

  test('that write at once leave no hole and no double', async () => {
    const file = freshFile();
    const nodes = await Promise.all([1, 2, 3].map(() => remote(file)));
    const [first] = nodes;
    if (first === undefined) throw new Error('There are three.');
    await first.follow('a');
    const writes = nodes.flatMap((node, of) =>
      Array.from({ length: 100 }, (_, n) => node.write([{ events: [draft(of * 100 + n)] }])),
    );
    const results = (await Promise.all(writes)).flat();
    const seqs = results.map(
      (result) => parseCursor((result.accepted && result.cursors[0]) || '')?.seq,
    );
    expect(seqs.toSorted((a = 0, b = 0) => a - b)).toEqual(
      Array.from({ length: 300 }, (_, n) => n + 1),
    );
    await first.hears('tail', 300);
    const told = new Set(first.heard('appended').flat());
    expect(told.size).toBe(300);
  });
});

test('processes that start at once on a new file all have it', async () => {
  for (let round = 0; round < 3; round++) {
    const file = freshFile();
    const nodes = await Promise.all([1, 2, 3, 4].map(() => remote(file)));
    const epochs = await Promise.all(nodes.map((node) => node.follow('a')));
    expect(new Set(epochs.map(({ epoch }) => epoch)).size).toBe(1);
    await Promise.all(nodes.map((node) => node.child.kill()));
  }
});
