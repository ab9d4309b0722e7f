/** The lists that say what the package offers agree: exports, build entries, source paths. */
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import tsconfig from '../../tsconfig.json' with { type: 'json' };
import tsup from '../../tsup.config.js';

const paths: Record<string, string[]> = tsconfig.compilerOptions.paths;
const entries = Object.entries(manifest.exports).filter(
  (entry): entry is [string, Exclude<(typeof entry)[1], string>] => typeof entry[1] !== 'string',
);

test.each(entries)('%s has code and types for import and for require', (_name, conditions) => {
  const file = conditions.import.default.replace(/\.js$/, '');
  expect(conditions).toMatchObject({
    import: { types: `${file}.d.ts`, default: `${file}.js` },
    require: { types: `${file}.d.cts`, default: `${file}.cjs` },
  });
});

test.each(entries)('%s is built from the source that the compiler takes', (name, conditions) => {
  const source = paths[`holdfast${name.slice(1)}`]?.[0]?.replace('./', '');
  const built = conditions.import.default.replace(/^\.\/dist\/(.*)\.js$/, '$1');
  expect(tsup).toMatchObject({ entry: { [built]: source } });
});

const nodeOnly = [
  './server',
  './server/sqlite',
  './storage/sqlite',
  './testing/node',
  './webhook',
] as const;

test.each(nodeOnly)('%s is closed to browsers first', (name) => {
  expect(Object.entries(manifest.exports[name])[0]).toEqual(['browser', null]);
});

test('no entry is left out of the exports', () => {
  const built = entries.map(([, { import: code }]) => code.default);
  const platform = Object.values(manifest.imports['#platform']).map((code) => code.import);
  const names = Object.keys('entry' in tsup && tsup.entry ? tsup.entry : {});
  expect(names.map((name) => `./dist/${name}.js`).sort()).toEqual(
    [...new Set([...built, ...platform])].sort(),
  );
});

test('every script that is a file is there', () => {
  const files = Object.values(manifest.scripts).flatMap((script) =>
    Array.from(script.matchAll(/node (\S+\.ts)/g), ([, file]) => file ?? ''),
  );
  expect(files.filter((file) => !existsSync(new URL(`../../${file}`, import.meta.url)))).toEqual(
    [],
  );
});
