import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defaults } from 'holdfast';
import { afterAll, describe, expect, test } from 'vitest';
import { arrows, type Status } from '../src/machine/status.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const readme = readFileSync(`${root}/README.md`, 'utf8');
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill();
});

describe('the README', () => {
  const snippets = [...readme.matchAll(/<!-- file: (\S+) -->\n```ts\n([\s\S]*?)```/g)];

  test('shows the files of the quickstart as they are', () => {
    expect(snippets.map(([, file]) => file)).toEqual(
      ['contract', 'server', 'client'].map((name) => `examples/quickstart/${name}.ts`),
    );
    for (const [, file, text] of snippets)
      expect(text).toBe(readFileSync(`${root}/${file}`, 'utf8'));
  });

  test('shows what the quickstart prints', { timeout: 30_000 }, async () => {
    const server = run('examples/quickstart/server.ts', { PORT: '0' });
    const url = await firstLine(server);
    const client = run('examples/quickstart/client.ts', { URL: url });
    const printed = await everything(client);
    const shown = /<!-- output: \S+ -->\n```\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
    const withoutIds = (text: string) => text.replaceAll(/sent as \S+/g, 'sent as …');
    expect(withoutIds(printed)).toBe(withoutIds(shown));
  });

  test('has a row for every change of status, and no other', () => {
    const [, table = ''] =
      /\| from \| to \| when \|\n\| --- \| --- \| --- \|\n((?:\|.*\n)+)/.exec(readme) ?? [];
    const rows = table
      .trim()
      .split('\n')
      .map((row) =>
        row
          .split('|')
          .slice(1, 3)
          .map((cell) => cell.trim()),
      );
    const legal = Object.entries(arrows).flatMap(([from, tos]) => tos.map((to) => [from, to]));
    expect(rows.toSorted()).toEqual(legal.toSorted());
    expect(Object.keys(arrows) satisfies string[]).toEqual([
      ...new Set(rows.map(([from]) => from)),
    ] as Status[]);
  });

  test('names every option with its default', () => {
    const rows = new Map(
      [...readme.matchAll(/^\| `([\w.]+)` \| ([^|]+) \|/gm)].map(([, name = '', value = '']) => [
        name,
        value.trim(),
      ]),
    );
    for (const [name, value] of flat(defaults)) {
      const shown =
        typeof value === 'number'
          ? value.toLocaleString('en-US').replace('∞', 'Infinity')
          : (JSON.stringify(value) ?? 'none');
      expect(rows.get(name), name).toBe(shown);
    }
  });
});

describe('the docstrings of the options', () => {
  test('name the defaults that there are', () => {
    const source = readFileSync(`${root}/src/client/options.ts`, 'utf8');
    for (const [name, value] of flat(defaults)) {
      const field = name.split('.').at(-1) ?? name;
      const [, said] =
        new RegExp(
          `@default ("[a-z]+"|\\d[\\d_.]*|\\w+)(?:(?!\\*/)[\\s\\S])*\\*/\\s+${field}\\??:`,
        ).exec(source) ?? [];
      // A heartbeat's fields are the machine's, and documented there without a default.
      if (name.startsWith('heartbeat.')) continue;
      expect(said?.replaceAll('_', ''), name).toBe(
        JSON.stringify(value) === 'null' ? 'Infinity' : (JSON.stringify(value) ?? 'none'),
      );
    }
  });
});

function* flat(group: object, prefix = ''): Generator<[string, unknown]> {
  for (const [name, value] of Object.entries(group)) {
    if (typeof value === 'object' && value !== null) yield* flat(value, `${prefix}${name}.`);
    else yield [prefix + name, value];
  }
}

function run(file: string, env: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, [`${root}/${file}`], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return child;
}

async function firstLine(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of child.stdout ?? []) {
    text += String(chunk);
    if (text.includes('\n')) break;
  }
  return text.trim();
}

async function everything(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.on('data', (chunk) => {
    text += String(chunk);
  });
  await once(child, 'close');
  return text;
}
