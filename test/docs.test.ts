/** docs/api.md is true: its examples compile, the one that tests an app runs, its tables hold. */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { Client, createClient, type ErrorCode } from 'holdfast';
import { createHub, memoryJournal } from 'holdfast/server';
import { memoryNetwork, virtualClock } from 'holdfast/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { settle } from '../src/server/options.js';

const root = path.resolve(import.meta.dirname, '..');
const text = readFileSync(`${root}/docs/api.md`, 'utf8');
// Inside the project, so that `holdfast` and its dependencies resolve; not under version control.
const folder = `${root}/reports/docs-${process.pid}`;

const blocks = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code = '']) => code);
const examples = new Map(
  blocks.map((code) => [/^\/\/ example: ([\w-]+\.ts)\n/.exec(code)?.[1] ?? '', code]),
);

describe('the examples of docs/api.md', () => {
  beforeAll(() => {
    mkdirSync(folder, { recursive: true });
    for (const [name, code] of examples) writeFileSync(`${folder}/${name}`, code);
    const config = { extends: `${root}/tsconfig.json`, include: ['*.ts'], exclude: [] };
    writeFileSync(`${folder}/tsconfig.json`, JSON.stringify(config));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('each have a name of their own', () => {
    expect(examples.size).toBe(blocks.length);
    expect([...examples.keys()]).not.toContain('');
    expect([...examples.keys()]).toEqual(expect.arrayContaining(['testing.ts', 'replay.ts']));
  });

  test('compile', { timeout: 60_000 }, async () => {
    const tsc = `${root}/node_modules/typescript7/bin/tsc`;
    const run = promisify(execFile)(process.execPath, [tsc, '--noEmit', '-p', folder]);
    const said = await run.catch(({ stdout }: { stdout: string }) => ({ stdout }));
    expect(said.stdout).toBe('');
  });

  test.each(['testing.ts', 'replay.ts'])('run and hold: %s', async (name) => {
    await import(/* @vite-ignore */ pathToFileURL(`${folder}/${name}`).href);
  });
});

describe('the tables of docs/api.md', () => {
  test('name every error code', () => {
    const codes = {
      CONNECTION_FAILED: true,
      HEARTBEAT_TIMEOUT: true,
      TOKEN_EXPIRED: true,
      UNAUTHORIZED: true,
      TOO_MANY_CONNECTIONS: true,
      SUPERSEDED: true,
      FORBIDDEN: true,
      ROOM_NOT_FOUND: true,
      INVALID_PAYLOAD: true,
      UNKNOWN_TYPE: true,
      MESSAGE_TOO_LARGE: true,
      RATE_LIMITED: true,
      SERVER_ERROR: true,
      PROTOCOL_ERROR: true,
      STORAGE_FAILED: true,
      LISTENER_FAILED: true,
      NOT_SENT: true,
      OUTCOME_UNKNOWN: true,
    } satisfies Record<ErrorCode, true>;
    const table = section('Errors').split('`details.reason` says why')[0] ?? '';
    expect(firstColumn(table)).toEqual(Object.keys(codes));
  });

  test('name every reason of a delivery error', () => {
    const source = ['machine/outbox', 'server/requests', 'client/outgoing'].map((file) =>
      readFileSync(`${root}/src/${file}.ts`, 'utf8'),
    );
    const [outbox = '', requests = '', outgoing = ''] = source;
    const union = /type DeliveryReason =([^;]*);/.exec(outbox)?.[1] ?? '';
    const reasons = new Set([
      ...[...union.matchAll(/'([\w-]+)'/g)].map(([, reason]) => reason),
      ...[...requests.matchAll(/unknown\('([\w-]+)'\)/g)].map(([, reason]) => reason),
      ...[...outgoing.matchAll(/unsent\(type, status, '([\w-]+)'\)/g)].map(([, reason]) => reason),
      'overflow',
    ]);
    expect(reasons.size).toBeGreaterThan(10);
    const table = section('Errors').split('`details.reason` says why')[1] ?? '';
    expect(firstColumn(table).toSorted()).toEqual([...reasons].toSorted());
  });

  test('name every method of a client', () => {
    const own = Object.getOwnPropertyNames(Client.prototype);
    const inherited = Object.getOwnPropertyNames(Object.getPrototypeOf(Client.prototype));
    const methods = new Set([...own, ...inherited, 'onState']);
    // Protected, or nobody's business.
    for (const name of ['constructor', 'channel']) methods.delete(name);
    expect(firstColumn(section('Client')).toSorted()).toEqual(
      expect.arrayContaining([...methods].toSorted()),
    );
  });

  test('name every metric of a client', () => {
    const transport = memoryNetwork({ clock: virtualClock(), random: () => 0 }).transport();
    for (const name of Object.keys(createClient({ transport }).metrics()))
      expect(section('Metrics of a client', '###')).toContain(`\`${name}\``);
  });

  test('name every option and method of a hub', () => {
    const settings = settle({});
    const options = firstColumn(section('Options of a hub', '###'));
    expect(options.toSorted()).toEqual(Object.keys(settings).toSorted());
    const hub = createHub({});
    const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(hub));
    for (const name of firstColumn(section('Methods of a hub', '###')))
      expect([...methods, 'accept']).toContain(name);
    for (const name of Object.keys(hub.metrics()))
      expect(section('Metrics of a hub', '###')).toContain(`\`${name}\``);
  });

  test('give the limits of a hub their defaults', () => {
    const { limits } = settle({});
    expect(defaultsOf(section('Limits', '###'))).toEqual(
      Object.entries(limits).map(([name, value]) => [name, shown(value) ?? 'any']),
    );
  });

  test('give the options of the memory journal their defaults', () => {
    const source = readFileSync(`${root}/src/server/journal-bounds.ts`, 'utf8');
    const block = /const defaults: Bounds = Object\.freeze\(\{([^}]*)\}/.exec(source)?.[1] ?? '';
    const expected = [...block.matchAll(/(\w+): ([\d_]+)/g)].map(([, name, value = '']) => [
      name,
      shown(Number(value.replaceAll('_', ''))),
    ]);
    const rows = defaultsOf(section('Memory journal', '###'));
    expect(rows).toEqual([...expected, ['clock', "the hub's"]]);
    expect(memoryJournal().replayWindow.toLocaleString('en-US')).toBe(
      new Map(rows.map(([name = '', value]) => [name, value])).get('maxAge'),
    );
  });
});

test('what the README shows of a first state is part of the example', () => {
  const readme = readFileSync(`${root}/README.md`, 'utf8');
  const snippets = [...readme.matchAll(/(?<!-->\n)```ts\n([\s\S]*?)```/g)];
  expect(snippets).toHaveLength(1);
  expect(examples.get('first-state.ts')).toContain(snippets[0]?.[1]);
});

test('the links of docs/api.md lead somewhere', () => {
  const headings = (markdown: string) =>
    [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
      title
        .toLowerCase()
        .replaceAll(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    );
  for (const [, target = ''] of text.matchAll(/\]\(((?!https:)[^)]+)\)/g)) {
    const [file = '', anchor] = target.split('#');
    const page = readFileSync(file === '' ? `${root}/docs/api.md` : `${root}/docs/${file}`, 'utf8');
    if (anchor !== undefined) expect(headings(page), target).toContain(anchor);
  }
});

/** From a heading to the next one of its rank or above. */
function section(title: string, rank = '##'): string {
  const [, rest = ''] = text.split(`\n${rank} ${title}\n`);
  const end = rest.search(rank === '##' ? /^## /m : /^##+ /m);
  return end === -1 ? rest : rest.slice(0, end);
}

/** The first word in code of each row. */
function firstColumn(markdown: string): string[] {
  return [...markdown.matchAll(/^\| `([\w-]+)/gm)].map(([, name = '']) => name);
}

function defaultsOf(markdown: string): (string | undefined)[][] {
  return [...markdown.matchAll(/^\| `(\w+)` \| ([^|]+) \|/gm)].map(([, name, value]) => [
    name,
    value,
  ]);
}

function shown(value: unknown): string | undefined {
  return typeof value === 'number' ? value.toLocaleString('en-US') : undefined;
}
