/** The rules of the house are found broken when they are: one planted violation of each. */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

interface Planted {
  /** The rule that must name the file. */
  rule: string;
  file: string;
  code: string;
}

const imports: Planted[] = [
  ...[
    ['lib', 'protocol/errors'],
    ['protocol', 'client/transport'],
    ['machine', 'client/transport'],
    ['client', 'server/wire'],
    ['platform', 'lib/clock'],
    ['transports', 'server/wire'],
    ['storage', 'server/wire'],
    ['server', 'client/transport'],
    ['drop-in', 'server/wire'],
    ['react', 'server/wire'],
    ['elements', 'server/wire'],
    ['testing', 'react/planted'],
  ].map(([layer, below]) => ({
    rule: `layer-${layer}`,
    file: `src/${layer}/planted-layer.ts`,
    code: `export * from '../${below}.js';`,
  })),
  plant('layer-index', 'src/index.ts', `export * from './server/wire.js';`),
  plant('layer-unknown', 'src/helpers/planted.ts', `export * from '../lib/clock.js';`),
  plant('no-tests-in-src', 'src/lib/planted-test.ts', `export * from '../../test/planted.js';`),
  plant('no-cycles', 'src/lib/planted-cycle.ts', `export * from './planted-turn.js';`),
  plant('port-only', 'src/transports/planted-port.ts', `export * from '../client/planted.js';`),
  plant('no-sibling-transports', 'src/transports/planted-a.ts', `export * from './planted-b.js';`),
  plant(
    'platform-by-name',
    'src/transports/planted-platform.ts',
    `export * from '../platform/node.js';`,
  ),
  plant(
    'schema-on-the-server',
    'src/client/planted-schema.ts',
    `export * from '../protocol/schema.js';`,
  ),
  plant('zod-on-the-server', 'src/protocol/planted-zod.ts', `export * from 'zod';`),
  plant('ws-on-node', 'src/transports/planted-ws.ts', `export { WebSocket } from 'ws';`),
  plant('node-modules-on-node', 'src/client/planted-node.ts', `export { EOL } from 'node:os';`),
  plant('dependencies-only', 'src/lib/planted-dev.ts', `export { build } from 'esbuild';`),
  plant('resolvable', 'src/lib/planted-lost.ts', `export * from './nowhere.js';`),
];

const statements: Planted[] = [
  ...[
    'new Date()',
    'Date.now()',
    'Math.random()',
    'setTimeout(() => {}, 1)',
    'clearTimeout(1)',
    'setInterval(() => {}, 1)',
    'performance.now()',
    'window.name',
    'document.title',
    'navigator.onLine',
    'globalThis.name',
    'process.pid',
  ].map((code, index) => ({
    rule: code.includes('Date')
      ? 'no-restricted-syntax'
      : code.includes('Math')
        ? 'no-restricted-properties'
        : 'no-restricted-globals',
    file: `src/client/planted-ambient-${index}.ts`,
    code: `export const planted = (): unknown => ${code};`,
  })),
  plant('no-eval', 'src/lib/planted-eval.ts', `export const two: unknown = eval('1 + 1');`),
  plant(
    'no-new-func',
    'src/lib/planted-function.ts',
    `export const two: unknown = new Function('return 2');`,
  ),
  plant(
    '@typescript-eslint/no-implied-eval',
    'src/server/planted-implied.ts',
    `setTimeout('planted()', 1);`,
  ),
  plant(
    '@typescript-eslint/no-explicit-any',
    'src/lib/planted-any.ts',
    `export const planted: any = 1;`,
  ),
  plant(
    '@typescript-eslint/no-non-null-assertion',
    'src/lib/planted-bang.ts',
    `export const planted = (text?: string): string => text!;`,
  ),
  plant(
    '@typescript-eslint/consistent-type-assertions',
    'src/lib/planted-as.ts',
    `export const planted = (value: unknown): string => value as string;`,
  ),
  plant(
    '@typescript-eslint/no-floating-promises',
    'src/lib/planted-floating.ts',
    `export function planted(run: () => Promise<void>): void {\n  run();\n}`,
  ),
  plant(
    'house/reasons',
    'src/lib/planted-reason.ts',
    `// eslint-disable-next-line no-eval\nexport const two: unknown = eval('1 + 1');`,
  ),
];

const machine = plant(
  'TS2304',
  'src/machine/planted-global.ts',
  `export const planted = (): unknown => fetch;`,
);

/** What the planted files lean on; not violations themselves. */
const supports: [file: string, code: string][] = [
  ['test/planted.ts', 'export const planted = 1;'],
  ['src/lib/planted-turn.ts', `export * from './planted-cycle.js';`],
  ['src/client/planted.ts', 'export const planted = 1;'],
  ['src/react/planted.ts', 'export const planted = 1;'],
  ['src/transports/planted-b.ts', 'export const planted = 1;'],
];

const allowed: [what: string, file: string, code: string][] = [
  ['a date made of a number', 'src/client/allowed-date.ts', 'export const date = new Date(0);'],
  ['as const', 'src/lib/allowed-const.ts', 'export const pair = [1, 2] as const;'],
  ['#platform', 'src/transports/allowed.ts', `export { openSocket } from '#platform';`],
  [
    'a clock at the edge',
    'src/client/environment.ts',
    'export const now = (): number => Date.now();',
  ],
];

const root = path.resolve(import.meta.dirname, '..');
let copy: string;
let found: Set<string>;

beforeAll(async () => {
  copy = await mkdtemp(path.join(tmpdir(), 'holdfast-layers-'));
  const configs = ['.dependency-cruiser.cjs', 'eslint.config.js', 'package.json'];
  for (const name of ['src', 'tsconfig.json', 'tsconfig.machine.json', ...configs]) {
    await cp(path.join(root, name), path.join(copy, name), { recursive: true });
  }
  await symlink(path.join(root, 'node_modules'), path.join(copy, 'node_modules'));
  const files = [...imports, ...statements, machine].map(({ file, code }) => [file, code] as const);
  for (const [file, code] of [...files, ...supports, ...allowed.map(([, ...rest]) => rest)]) {
    await mkdir(path.dirname(path.join(copy, file)), { recursive: true });
    await writeFile(path.join(copy, file), `${code}\n`);
  }
  found = new Set((await Promise.all([cruised(), linted(), compiled()])).flat());
}, 120_000);

afterAll(() => rm(copy, { recursive: true, force: true }));

describe('A broken rule is named with its file', () => {
  test.each([...imports, ...statements, machine])('$rule: $file', ({ rule, file }) => {
    expect([...found].filter((entry) => entry.endsWith(` ${file}`))).toContain(`${rule} ${file}`);
  });

  test('and every import rule has its violation here', async () => {
    const { default: config } = (await import(path.join(root, '.dependency-cruiser.cjs'))) as {
      default: { forbidden: { name: string }[] };
    };
    expect(new Set(imports.map(({ rule }) => rule))).toEqual(
      new Set(config.forbidden.map(({ name }) => name)),
    );
  });
});

describe('What is allowed is left alone', () => {
  test.each(allowed)('%s', (_what, file) => {
    expect([...found].filter((entry) => entry.endsWith(` ${file}`))).toEqual([]);
  });
});

function plant(rule: string, file: string, code: string): Planted {
  return { rule, file, code };
}

async function cruised(): Promise<string[]> {
  const { summary } = JSON.parse(await tool('depcruise', 'src', '--output-type', 'json')) as {
    summary: { violations: { rule: { name: string }; from: string }[] };
  };
  return summary.violations.map(({ rule, from }) => `${rule.name} ${from}`);
}

async function linted(): Promise<string[]> {
  const files = [...statements.map(({ file }) => file), ...allowed.map(([, file]) => file)];
  const results = JSON.parse(await tool('eslint', '--format', 'json', ...files)) as {
    filePath: string;
    messages: { ruleId: string }[];
  }[];
  return results.flatMap(({ filePath, messages }) =>
    messages.map(({ ruleId }) => `${ruleId} ${path.relative(copy, filePath)}`),
  );
}

async function compiled(): Promise<string[]> {
  const output = await tool('tsc', '-p', 'tsconfig.machine.json', '--pretty', 'false');
  return Array.from(
    output.matchAll(/^(\S+)\(\d+,\d+\): error (TS\d+)/gm),
    ([, file, code]) => `${code} ${file}`,
  );
}

/** What a tool prints; it exits with an error where it finds one, which is what we want. */
function tool(name: string, ...args: string[]): Promise<string> {
  const command = path.join(root, 'node_modules/.bin', name);
  return new Promise((resolve, reject) => {
    execFile(command, args, { cwd: copy, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      if (stdout === '') reject(new Error(`${name} printed nothing: ${stderr}`, { cause: error }));
      else resolve(stdout);
    });
  });
}
