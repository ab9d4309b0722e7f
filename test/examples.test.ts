/** The examples start as they stand, and the demo's judge can tell good from bad. */
import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';
import type { ConnectionState, Transport } from 'holdfast';
import { HoldfastError } from 'holdfast';
import { seededDice } from 'holdfast/testing';
import { beforeAll, describe, expect, test } from 'vitest';
import { parseFlags } from '../examples/chat/flags.ts';
import { runHeadless } from '../examples/chat/headless.ts';
import { complaints, type Report, table } from '../examples/chat/judge.ts';
import { words } from '../examples/chat/page/words.ts';
import { schedule } from '../examples/chat/schedule.ts';
import { Tally } from '../examples/chat/tally.ts';
import { wire, wireNames } from '../examples/chat/wires.ts';

const root = path.resolve(import.meta.dirname, '..');
const main = 'examples/chat/main.ts';

describe('npm run demo', () => {
  beforeAll(() => {
    const { status } = spawnSync(process.execPath, ['scripts/fresh-build.ts'], { cwd: root });
    expect(status).toBe(0);
  }, 60_000);

  test.each(wireNames)(
    '--headless breaks the room for six seconds and finds nothing wrong, over %s',
    async (name) => {
      const flags = ['--seconds', '6', '--seed', '7', '--transport', name];
      const { code, out, err } = await demo('--headless', ...flags);
      expect(err).toBe('');
      expect(out).toContain(`Four clients over ${name}, 6 s of faults`);
      expect(out).toContain('Nothing lost, nothing doubled, all in order.');
      for (const row of [
        'requests sent',
        'events published',
        'told as gaps',
        'lost',
        'doubled',
        'gap notices',
      ]) {
        expect(out).toMatch(new RegExp(`^ *${row} +\\d+`, 'm'));
      }
      expect(code).toBe(0);
    },
    60_000,
  );

  test('serves the page, and Ctrl-C ends it', async () => {
    const child = spawn(process.execPath, [main], { cwd: root });
    const url = await new Promise<string>((found) => {
      child.stdout.on('data', (data) => {
        const [address] = /http:\S+/.exec(String(data)) ?? [];
        if (address !== undefined) found(address);
      });
    });
    const response = await fetch(url);
    expect(await response.text()).toContain('<h1>holdfast</h1>');
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect((await fetch(`${url}harm`, { method: 'POST', body: '{}' })).status).toBe(415);
    const ended = new Promise((done) => child.once('exit', done));
    child.kill('SIGINT');
    expect(await ended).toBe(0);
  }, 60_000);

  test('a wrong flag is explained and ends with 2', async () => {
    const { code, err } = await demo('--headless', '--seconds', 'soon');
    expect(err).toContain('--seconds is "soon". It must be a whole number from 1 to 3600.');
    expect(code).toBe(2);
  });
});

describe('flags', () => {
  test.each([
    [['--help'], { run: 'help' }],
    [[], { run: 'page' }],
    [
      ['--headless', '--seed', '3'],
      { run: 'headless', seconds: 20, seed: 3, transport: 'websocket' },
    ],
    [
      ['--headless', '--seconds', '5', '--seed', '0', '--transport', 'sse'],
      { run: 'headless', seconds: 5, seed: 0, transport: 'sse' },
    ],
  ])('%j is understood', (args, command) => {
    expect(parseFlags(args)).toEqual(command);
  });

  test.each([
    [['--seconds', '5'], '--seconds belongs to --headless'],
    [['--headless', '--seconds', '0'], '--seconds is "0"'],
    [['--headless', '--seed', '-1'], /--seed/],
    [
      ['--headless', '--transport', 'pigeon'],
      '--transport is "pigeon". There are: websocket, socket.io,',
    ],
    [['--transport', 'sse'], '--transport belongs to --headless'],
    [['--fast'], /^Unknown option '--fast'\.$/],
    [['--headless', '--seconds'], /argument missing\.$/],
    [['page'], /^Unexpected argument 'page'\.$/],
  ])('%j is refused', (args, message) => {
    expect(() => parseFlags(args)).toThrow(message);
  });
});

describe('the schedule', () => {
  test('20 s hold at least 8 faults of 5 kinds, whatever the seed', () => {
    for (let seed = 0; seed < 100; seed++) {
      const plan = schedule(20, seededDice(seed));
      expect(plan.length).toBeGreaterThanOrEqual(8);
      expect(new Set(plan.map(({ name }) => name)).size).toBeGreaterThanOrEqual(5);
      for (const { at, lasts } of plan) expect(at + lasts).toBeLessThanOrEqual(20_000);
    }
  });

  test('the same seed gives the same schedule, another one another', () => {
    expect(schedule(20, seededDice(1))).toEqual(schedule(20, seededDice(1)));
    expect(schedule(20, seededDice(1))).not.toEqual(schedule(20, seededDice(2)));
  });
});

describe('the judge', () => {
  test('accepts a run in which all held', () => {
    expect(complaints(good)).toEqual([]);
    expect(table(good)).toMatchInlineSnapshot(`
      "requests sent                 10
        answered                     9
        failed, and said so          1   1 OUTCOME_UNKNOWN
        run on the server            9
        unsettled                    0
      events published              20
        delivered                   37   to 2 clients
        told as gaps                 3   with the delivered 40 of 20 × 2 = 40
        replayed                     5
        duplicates dropped           0
        lost                         0
        doubled                      0   delivered or run twice
        out of order                 0
      gap notices                    2   0 of them with the journal kept
      reconnects                     4
      slowest recovery          1.23 s   from losing the link to caught up
      faults                         3   2 cut, 1 silence"
    `);
  });

  test.each<[keyof Report, string]>([
    ['lost', '1 lost: published, not delivered, and no gap notice said so'],
    ['doubled', '1 delivered twice'],
    ['runTwice', '1 run twice by the server'],
    ['outOfOrder', '1 out of order'],
    ['unsettled', '1 neither answered nor failed'],
    ['gapsWithoutLoss', '1 gap notices although the journal was kept'],
    ['behind', '1 clients not up to date at the end'],
  ])('refuses one with %s', (count, complaint) => {
    expect(complaints({ ...good, [count]: 1 })).toEqual([complaint]);
  });

  test('refuses one in which nothing happened', () => {
    const idle = { ...good, answered: 0, delivered: 0, faults: {} };
    expect(complaints(idle)).toHaveLength(3);
  });

  test('finds the events that a broken wire loses and doubles', async () => {
    const options = { seconds: 1, seed: 1, clients: 1, print: () => {} };
    const broken = await runHeadless({
      ...options,
      transport: (doors) => stutter(wire('websocket', doors)),
    });
    expect(broken.lost).toBeGreaterThan(0);
    expect(broken.doubled).toBeGreaterThan(0);
    expect(complaints(broken)).not.toEqual([]);
  }, 30_000);
});

describe('the tally', () => {
  test('counts what is missing until it arrives, and then as out of order', () => {
    const tally = new Tally();
    for (const number of [1, 2, 4, 5]) tally.take(number);
    expect([...tally.missing]).toEqual([3]);
    tally.take(3);
    expect(tally).toMatchObject({ outOfOrder: 1, doubled: 0, delivered: 5, last: 5 });
    expect(tally.missing.size).toBe(0);
    tally.take(3);
    expect(tally.doubled).toBe(1);
  });

  test('excuses what a gap notice covers, and takes it once if it comes all the same', () => {
    const tally = new Tally();
    tally.take(1);
    tally.excuse(3);
    tally.take(4);
    expect(tally).toMatchObject({ outOfOrder: 0, doubled: 0, excused: new Set([2, 3]), last: 4 });
    tally.take(3);
    expect(tally).toMatchObject({ doubled: 0, excused: new Set([2]) });
    tally.take(3);
    expect(tally.doubled).toBe(1);
  });

  test('does not excuse a hole that was there before the notice', () => {
    const tally = new Tally();
    tally.take(2);
    tally.excuse(5);
    expect([...tally.missing]).toEqual([1]);
  });
});

describe('the indicator', () => {
  const state: ConnectionState = {
    status: 'connected',
    synced: true,
    lastConnected: new Date(0),
    reconnectAttempts: 3,
    nextRetryAt: null,
    latency: 1,
    transport: 'websocket',
    queued: 0,
    error: null,
  };
  const lost = new HoldfastError('CONNECTION_FAILED', 'The link broke. Check the cable.');
  const refused = new HoldfastError('UNAUTHORIZED', 'Not you.');

  test.each<[string, Partial<ConnectionState>, object]>([
    ['connected', {}, { tone: 'ok', title: 'Connected', action: null }],
    ['not synced', { synced: false }, { tone: 'behind', title: 'Catching up…' }],
    [
      'waiting',
      { status: 'reconnecting', nextRetryAt: new Date(3_400), error: lost },
      {
        tone: 'wait',
        title: 'Connection lost',
        detail: 'Trying again in 2.4 s. The link broke.',
        action: 'retry',
      },
    ],
    [
      'trying',
      { status: 'reconnecting', error: lost },
      { tone: 'wait', title: 'Reconnecting…', detail: 'Attempt 3. The link broke.' },
    ],
    [
      'refused',
      { status: 'closed', error: refused },
      { tone: 'off', title: 'Signed out', detail: 'Not you.', action: 'sign-in' },
    ],
    [
      'refused from the start',
      { status: 'closed', error: refused, lastConnected: null },
      { tone: 'off', title: 'Not signed in', detail: 'Not you.', action: 'sign-in' },
    ],
    ['closed', { status: 'closed' }, { tone: 'off', title: 'Closed', action: 'retry' }],
  ])('has words for %s', (_name, change, expected) => {
    expect(words({ ...state, ...change }, 1_000)).toMatchObject(expected);
  });
});

const good: Report = {
  seed: 1,
  clients: 2,
  sent: 10,
  answered: 9,
  failed: { OUTCOME_UNKNOWN: 1 },
  runs: 9,
  runTwice: 0,
  published: 20,
  delivered: 37,
  toldAsGaps: 3,
  duplicatesDropped: 0,
  replayed: 5,
  lost: 0,
  doubled: 0,
  outOfOrder: 0,
  unsettled: 0,
  gapNotices: 2,
  gapsWithoutLoss: 0,
  reconnects: 4,
  slowestRecovery: 1_234,
  behind: 0,
  faults: { cut: 2, silence: 1 },
};

/** A wire that says every tenth number of the feed as the one before it. */
function stutter(transport: Transport): Transport {
  return {
    ...transport,
    dial: (hello, on) =>
      transport.dial(hello, {
        ...on,
        opened: () => on.opened(),
        closed: (fault) => on.closed(fault),
        received(frame) {
          const payload = frame.kind === 'event' ? frame.payload : undefined;
          if (isNumbered(payload) && payload.number % 10 === 0) payload.number--;
          on.received(frame);
        },
      }),
  };
}

function isNumbered(payload: unknown): payload is { number: number } {
  return typeof payload === 'object' && payload !== null && 'number' in payload;
}

function demo(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [main, ...args], { cwd: root });
  let out = '';
  let err = '';
  child.stdout.on('data', (data) => {
    out += String(data);
  });
  child.stderr.on('data', (data) => {
    err += String(data);
  });
  return new Promise((done) => child.on('close', (code) => done({ code, out, err })));
}
