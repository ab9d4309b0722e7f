/** The transport of one's own that docs/api.md shows keeps every promise. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { transportRules } from 'holdfast/testing';
import { afterAll, describe, test } from 'vitest';
import { type PortWire, portStage } from './port-stage.js';

const root = path.resolve(import.meta.dirname, '../..');
const folder = `${root}/reports/port-${process.pid}`;
const file = `${folder}/port-transport.ts`;

const [, code = ''] =
  /^```ts\n(\/\/ example: port-transport\.ts\n[\s\S]*?)^```$/m.exec(
    readFileSync(`${root}/docs/api.md`, 'utf8'),
  ) ?? [];
mkdirSync(folder, { recursive: true });
writeFileSync(file, code);
const example: PortWire = await import(/* @vite-ignore */ pathToFileURL(file).href);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the transport of docs/api.md', () => {
  for (const { name, title, run } of transportRules(() => portStage(example)))
    (name === 'close' ? test : test.concurrent)(title, run, 60_000);
});
