/** The code of docs/recipes.md, as files that can be compiled and imported. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const root = path.resolve(import.meta.dirname, '..', '..');

export interface Recipes {
  /** Where they lie: inside the project, so that `holdfast` resolves; not under version control. */
  readonly folder: string;
  readonly names: readonly string[];
  /** Runs one, and gives what it exports. */
  load<T>(name: string): Promise<T>;
  remove(): void;
}

/** @param purpose a name of its own for each file of tests: they run side by side */
export function writtenRecipes(purpose: string): Recipes {
  const text = readFileSync(`${root}/docs/recipes.md`, 'utf8');
  const folder = `${root}/reports/recipes-${purpose}-${process.pid}`;
  const blocks = [...text.matchAll(/^```ts\n\/\/ example: ([\w-]+\.ts)\n([\s\S]*?)^```$/gm)];
  mkdirSync(folder, { recursive: true });
  for (const [, name = '', code = ''] of blocks) writeFileSync(`${folder}/${name}`, code);
  const config = { extends: `${root}/tsconfig.json`, include: ['*.ts'], exclude: [] };
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify(config));
  return {
    folder,
    names: blocks.map(([, name = '']) => name),
    load: (name) => import(/* @vite-ignore */ pathToFileURL(`${folder}/${name}`).href),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
