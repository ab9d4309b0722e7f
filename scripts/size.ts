/**
 * `npm run size`: what an application's bundle grows by, minified and gzipped.
 * `npm run size -- --profile` adds where the bytes are, module by module.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import './fresh-build.ts';

const root = path.resolve(import.meta.dirname, '..');
const { values } = parseArgs({ options: { profile: { type: 'boolean', default: false } } });

const core = `export { createClient } from 'holdfast'; export { webSocket } from 'holdfast/websocket';`;

/** Bytes. `limit` fails the run, so that no change adds weight unseen; `target` is where we want to be. */
const bundles: {
  name: string;
  code: string;
  /** What is there without it, where it is an addition. */
  beside?: string;
  /** Packages that are left outside. */
  external?: string[];
  limit: number;
  target: number;
}[] = [
  {
    name: 'core + websocket, all exports',
    code: `export * from 'holdfast'; export * from 'holdfast/websocket';`,
    limit: 27_300,
    target: 11_000,
  },
  { name: 'createClient + webSocket', code: core, limit: 25_700, target: 11_000 },
  {
    name: 'drop-in ReconnectingWebSocket',
    code: `export { ReconnectingWebSocket } from 'holdfast/drop-in';`,
    limit: 4_000,
    target: 4_000,
  },
  added('sse', `export { sse } from 'holdfast/sse';`, { limit: 5_250, target: 3_000 }),
  added('polling', `export { polling } from 'holdfast/polling';`, { limit: 3_450, target: 1_500 }),
  {
    ...added('polling, beside sse', `export { polling } from 'holdfast/polling';`, {
      limit: 1_500,
      target: 1_500,
    }),
    beside: `${core} export { sse } from 'holdfast/sse';`,
    code: `${core} export { sse } from 'holdfast/sse'; export { polling } from 'holdfast/polling';`,
  },
  added('fallback', `export { fallback } from 'holdfast/fallback';`, {
    limit: 2_500,
    target: 1_500,
  }),
  {
    ...added('socket.io', `export { socketIo } from 'holdfast/socket.io';`, {
      limit: 2_500,
      target: 1_500,
    }),
    external: ['socket.io-client'],
  },
  added('message-pack', `export { messagePack } from 'holdfast/message-pack';`, {
    limit: 2_000,
    target: 2_000,
  }),
  added('plain', `export { plain } from 'holdfast';`, { limit: 1_600, target: 1_000 }),
  added('storage/indexed-db', `export { indexedDbStorage } from 'holdfast/storage/indexed-db';`, {
    limit: 5_000,
    target: 2_000,
  }),
];

function added(entry: string, code: string, bytes: { limit: number; target: number }) {
  return { name: `what ${entry} adds to it`, code: `${core} ${code}`, beside: core, ...bytes };
}

/** What a browser must never download, by the path of the module. */
const unwanted = /node_modules\/(zod|ws)\//;

let failed = false;
row('bytes, minified, gzip -9', 'size', 'limit', 'target');
for (const { name, code, beside, external, limit, target } of bundles) {
  const { size: whole, modules } = await measure(code, external);
  const size = beside === undefined ? whole : whole - (await measure(beside)).size;
  const stray = modules.filter((module) => unwanted.test(module) || module.startsWith('src/'));
  const over = ((size / target - 1) * 100).toFixed(0);
  const weight = size <= target ? 'ok' : `${over} % over the target`;
  const verdict = stray.length > 0 ? `HOLDS ${stray[0]}` : size > limit ? 'TOO LARGE' : weight;
  failed ||= stray.length > 0 || size > limit;
  row(name, ...[size, limit, target].map((bytes) => bytes.toLocaleString('en')), verdict);
}
if (values.profile) await profile();
process.exitCode = failed ? 1 : 0;

/** As an application bundles it: through the package's exports, from dist/. */
async function measure(
  code: string,
  external: string[] = [],
): Promise<{ size: number; modules: string[] }> {
  // tsconfig.json maps `holdfast` to src/; here its package exports count.
  const { bundle, inputs } = await bundled(code, { tsconfigRaw: '{}', external });
  return { size: gzipSync(bundle, { level: 9 }).byteLength, modules: Object.keys(inputs) };
}

/** From src/, whose modules have names; each with its part of the minified bundle. */
async function profile(): Promise<void> {
  const alias = { '#platform': path.join(root, 'src/platform/browser.ts') };
  const { bundle, inputs } = await bundled(bundles[1]?.code ?? '', { alias });
  const share = gzipSync(bundle, { level: 9 }).byteLength / bundle.byteLength;
  console.log();
  row('module', 'minified', '≈ gzip');
  for (const [name, bytes] of Object.entries(inputs).sort(([, one], [, other]) => other - one)) {
    if (bytes > 0) row(name, `${bytes}`, (bytes * share).toFixed(0));
  }
}

async function bundled(
  contents: string,
  options: { tsconfigRaw?: string; alias?: Record<string, string>; external?: string[] },
): Promise<{ bundle: Uint8Array; inputs: Record<string, number> }> {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: root },
    absWorkingDir: root,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
    metafile: true,
    // A chunk that is imported for nothing is said to be: dist/ alone has such, a package in node_modules is not told.
    logLevel: 'error',
    ...options,
  });
  const [bundle] = outputFiles;
  const [output] = Object.values(metafile.outputs);
  if (bundle === undefined || output === undefined) throw new Error('esbuild wrote nothing');
  const inputs: Record<string, number> = {};
  for (const [name, { bytesInOutput }] of Object.entries(output.inputs))
    inputs[name] = bytesInOutput;
  return { bundle: bundle.contents, inputs };
}

function row(name: string, ...cells: string[]): void {
  console.log(name.padEnd(36), ...cells.map((cell) => cell.padStart(8)));
}
