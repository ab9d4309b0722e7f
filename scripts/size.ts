/** `npm run size`: what an application's bundle grows by, minified and gzipped, against its limits. */
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import './fresh-build.ts';

const root = path.resolve(import.meta.dirname, '..');

/** Bytes. The stretch is where we would like to be. */
const bundles = [
  {
    name: 'core + websocket, all exports',
    code: `export * from 'holdfast'; export * from 'holdfast/websocket';`,
    limit: 11_000,
    stretch: 9_000,
  },
  {
    name: 'createClient + webSocket',
    code: `export { createClient } from 'holdfast'; export { webSocket } from 'holdfast/websocket';`,
    limit: 11_000,
    stretch: 9_000,
  },
];

/** What a browser must never download, by the path of the module. */
const unwanted = /node_modules\/(zod|ws)\//;

let failed = false;
console.log(
  'bytes, minified, gzip -9'.padEnd(36),
  'size'.padStart(7),
  'limit'.padStart(7),
  'stretch'.padStart(8),
);
for (const { name, code, limit, stretch } of bundles) {
  const { size, modules } = await measure(code);
  const stray = modules.filter((module) => unwanted.test(module) || module.startsWith('src/'));
  const verdict = stray.length > 0 ? `holds ${stray[0]}` : size > limit ? 'TOO LARGE' : 'ok';
  failed ||= verdict !== 'ok';
  console.log(
    name.padEnd(36),
    ...[size.toLocaleString('en').padStart(7), limit.toLocaleString('en').padStart(7)],
    stretch.toLocaleString('en').padStart(8),
    verdict,
  );
}
process.exitCode = failed ? 1 : 0;

async function measure(code: string): Promise<{ size: number; modules: string[] }> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: code, resolveDir: root },
    absWorkingDir: root,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
    metafile: true,
    // tsconfig.json maps `holdfast` to src/; here its package exports count, as they do for an application.
    tsconfigRaw: '{}',
  });
  const [bundle] = outputFiles;
  if (bundle === undefined) throw new Error('esbuild wrote nothing');
  return {
    size: gzipSync(bundle.contents, { level: 9 }).byteLength,
    modules: Object.keys(metafile.inputs),
  };
}
