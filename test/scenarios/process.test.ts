/** A client in a Node process of its own: what keeps the process alive, and what does not. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { bundle } from './bundle.js';
import { courtesy, realServer } from './real-server.js';

/** What the child does; it tells each step by a line. */
const script = `
import { createClient } from 'holdfast';
import { webSocket } from 'holdfast/websocket';

const [url, plan] = process.argv.slice(2);
const client = createClient({
  transport: webSocket(url),
  heartbeat: { interval: 100, timeout: 3_600_000 },
  reconnect: { initialDelay: plan === 'far' ? 3_600_000 : 50, maxDelay: 3_600_000, jitter: 'none', connectTimeout: 3_600_000 },
  auth: plan === 'asking' ? () => new Promise(() => {}) : undefined,
  environment: { report() {} },
});
const say = (word) => process.stdout.write(word + '\\n');
const end = plan === 'disconnect' ? () => client.disconnect() : () => client.close();
const stop = () => { end(); say('ended'); };
client.onState(({ status }) => {
  say(status);
  if (status === 'connected' && (plan === 'close' || plan === 'disconnect')) stop();
  if (status === 'reconnecting' && plan === 'far') stop();
});
if (plan === 'unused') client.request('x:y', 1, { timeout: 3_600_000, ttl: 3_600_000 }).catch(() => {});
else client.connect().catch(() => {});
if (plan === 'unused' || plan === 'dialing' || plan === 'asking') setTimeout(stop, 100);
if (plan === 'pending') {
  client.request('x:never', 1, { timeout: 3_600_000 }).catch(({ code }) => say(code));
  setTimeout(stop, 300);
}
`;

let folder: string;
let file: string;
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'holdfast-process-'));
  file = path.join(folder, 'child.cjs');
  writeFileSync(file, await bundle('node', script));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Child {
  readonly process: ChildProcess;
  readonly said: string[];
  /** Exit code and milliseconds from "ended" to the exit. */
  readonly over: Promise<{ code: number | null; after: number; errors: string }>;
}

function start(url: string, plan: string): Child {
  const child = spawn(process.execPath, [file, url, plan], { stdio: ['ignore', 'pipe', 'pipe'] });
  cleanups.push(() => child.kill('SIGKILL'));
  const said: string[] = [];
  let endedAt = Number.NaN;
  let errors = '';
  child.stderr.on('data', (text) => {
    errors += String(text);
  });
  child.stdout.on('data', (text) => {
    said.push(...String(text).trim().split('\n'));
    if (said.includes('ended') && Number.isNaN(endedAt)) endedAt = performance.now();
  });
  const over = new Promise<Awaited<Child['over']>>((done) => {
    child.on('exit', (code) => done({ code, after: performance.now() - endedAt, errors }));
  });
  return { process: child, said, over };
}

async function serving(...about: Parameters<typeof realServer>) {
  const server = await realServer(...about);
  cleanups.push(server.close);
  return server;
}

/** Long enough for a process to wind down on a busy machine, far below any timer of the script. */
const AT_ONCE = 1_000;

describe('a closed client', () => {
  test.each(['close', 'disconnect'])('E17 after %s() the process exits at once', async (plan) => {
    const { url } = await serving();
    const child = start(url, plan);
    const { code, after, errors } = await child.over;
    expect({ code, errors }).toEqual({ code: 0, errors: '' });
    expect(child.said).toContain('connected');
    expect(after).toBeLessThan(AT_ONCE);
  });

  test('E17 so it does with a request unanswered, which settles first', async () => {
    const { url } = await serving((frame, socket) => {
      if (frame.kind !== 'request') courtesy(frame, socket);
    });
    const child = start(url, 'pending');
    const { code, after } = await child.over;
    expect(code).toBe(0);
    expect(child.said).toContain('OUTCOME_UNKNOWN');
    expect(after).toBeLessThan(AT_ONCE);
  });

  test('E17 so it does in the middle of a wait of an hour', async () => {
    const gone = await serving();
    await gone.close();
    const { code, after } = await start(gone.url, 'far').over;
    expect(code).toBe(0);
    expect(after).toBeLessThan(AT_ONCE);
  });

  test('E17 so it does in the middle of a dial that nobody answers', async () => {
    const silent = createServer((socket) => {
      socket.on('error', () => {}).resume();
      cleanups.push(() => socket.destroy());
    });
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
    cleanups.push(() => silent.close());
    const address = silent.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const { code, after } = await start(`ws://127.0.0.1:${port}`, 'dialing').over;
    expect(code).toBe(0);
    expect(after).toBeLessThan(AT_ONCE);
  });

  test('E17 so it does while credentials are asked for, and where it never connected', async () => {
    const { url } = await serving();
    for (const plan of ['asking', 'unused']) {
      const { code, after } = await start(url, plan).over;
      expect(code, plan).toBe(0);
      expect(after, plan).toBeLessThan(AT_ONCE);
    }
  });

  test('E17 a server that never answers the close keeps it for two seconds and no longer', async () => {
    const { url } = await serving((frame, socket, request) => {
      courtesy(frame, socket);
      // It reads no more: neither the close frame nor the end is seen.
      if (frame.kind === 'hello') request.socket.pause();
    });
    const { code, after } = await start(url, 'close').over;
    expect(code).toBe(0);
    expect(after).toBeLessThan(2_000 + AT_ONCE);
  });
});

describe('a client that is not closed', () => {
  test('E17 a connected client keeps the process alive, and its heartbeat going', async () => {
    const server = await serving();
    const child = start(server.url, 'stay');
    const pings = () => server.frames.filter(({ kind }) => kind === 'ping').length;
    await expect.poll(pings, { timeout: 5_000 }).toBeGreaterThanOrEqual(3);
    expect(child.process.exitCode).toBeNull();
    expect(child.said.at(-1)).toBe('connected');
  });

  test('E17 one that waits for its next attempt does too', async () => {
    const first = await serving();
    const child = start(first.url, 'stay');
    await expect.poll(() => child.said.at(-1), { timeout: 5_000 }).toBe('connected');
    await first.close();
    await expect.poll(() => child.said.at(-1), { timeout: 5_000 }).toBe('reconnecting');
    const second = await serving(courtesy, first.port);
    await expect.poll(() => second.frames.length, { timeout: 5_000 }).toBeGreaterThan(0);
    expect(child.process.exitCode).toBeNull();
  });
});
