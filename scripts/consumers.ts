/**
 * `npm run test:consumers`: packs the package, installs the tarball in a fresh project and uses it as
 * applications do: as ES module, as CommonJS, in TypeScript (two compilers, three resolutions), and
 * bundled by esbuild, Vite and webpack for Chromium, against a real hub.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { chromiumFlags, findChromium } from './chromium.ts';
import { bundlers } from './consumer-bundlers.ts';

const root = path.resolve(import.meta.dirname, '..');
const project = mkdtempSync(path.join(tmpdir(), 'holdfast-consumers-'));
const checks: { name: string; ok: boolean }[] = [];

try {
  install();
  await check('ES module', () => run(process.execPath, 'esm.mjs'));
  await check('CommonJS', () => run(process.execPath, 'cjs.cjs'));
  // nanoid is an ES module alone: CommonJS needs a Node that can require one.
  await check('CommonJS, oldest Node', () =>
    run('npx', '-y', '-p', 'node@22.12', 'node', 'cjs.cjs'),
  );
  await checkTypes();
  await checkBundles();
} finally {
  rmSync(project, { recursive: true, force: true });
}
const failed = checks.filter(({ ok }) => !ok).length;
console.log(`${checks.length - failed} consumers work, ${failed} fail`);
process.exitCode = failed === 0 ? 0 : 1;

function install(): void {
  const packed = execFileSync(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--loglevel=error', '--pack-destination', project],
    { cwd: root, encoding: 'utf8' },
  );
  const [tarball] = JSON.parse(packed) as { filename: string }[];
  cpSync(path.join(root, 'test/package/consumers'), project, { recursive: true });
  cpSync(path.join(project, 'types.mts'), path.join(project, 'types.cts'));
  const dependencies = { holdfast: `file:./${tarball?.filename}`, '@types/node': '^24' };
  writeFileSync(
    path.join(project, 'package.json'),
    JSON.stringify({ private: true, type: 'module', dependencies }),
  );
  run('npm', 'install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error');
}

async function checkTypes(): Promise<void> {
  for (const compiler of ['typescript', 'typescript7']) {
    for (const resolution of ['bundler', 'node16', 'nodenext']) {
      const bundler = resolution === 'bundler';
      if (bundler) {
        await check(`${compiler} in a page`, () =>
          run(
            process.execPath,
            path.join(root, 'node_modules', compiler, 'bin/tsc'),
            ...['--ignoreConfig', '--noEmit', '--strict', '--target', 'es2022'],
            ...['--lib', 'es2022,dom,dom.iterable', '--exactOptionalPropertyTypes'],
            ...['--module', 'esnext', '--moduleResolution', 'bundler', 'page.mts'],
          ),
        );
      }
      await check(`${compiler} ${resolution}`, () =>
        run(
          process.execPath,
          path.join(root, 'node_modules', compiler, 'bin/tsc'),
          ...['--ignoreConfig', '--noEmit', '--strict', '--target', 'es2022', '--types', 'node'],
          ...['--lib', 'es2023,dom', '--exactOptionalPropertyTypes'],
          ...['--module', bundler ? 'esnext' : resolution, '--moduleResolution', resolution],
          ...['types.mts', ...(bundler ? [] : ['types.cts'])],
        ),
      );
    }
  }
}

async function checkBundles(): Promise<void> {
  const hub = await startHub();
  const page = await servePage();
  const executablePath = findChromium();
  if (executablePath === undefined && process.env.CI === 'true') process.exit(1);
  const browser =
    executablePath && (await chromium.launch({ executablePath, args: chromiumFlags }));
  for (const [name, bundle] of Object.entries(bundlers)) {
    await check(name, async () => {
      const { code, warnings } = await bundle(project, 'browser.js');
      if (warnings.length > 0) throw new Error(`It warns: ${warnings.join('\n')}`);
      assertPortable(code);
      if (!browser) return `${code.length} bytes`;
      page.script = code;
      const tab = await browser.newPage();
      await tab.goto(page.url);
      for (const wire of await tab.evaluate<string[]>('globalThis.wires')) {
        const asked = [hub.url, 'hi', wire].map((one) => JSON.stringify(one)).join();
        const answer = await tab.evaluate(`globalThis.shout(${asked})`);
        if (answer !== 'HI') throw new Error(`The page got ${String(answer)} over ${wire}`);
      }
      if (!(await tab.evaluate('globalThis.isDropIn'))) throw new Error('The drop-in is none');
      await tab.close();
      return `${code.length} bytes`;
    });
  }
  if (browser) await browser.close();
  await page.close();
  await hub.close();
}

/** Nothing of Node or the server, and nothing that a strict Content-Security-Policy forbids. */
function assertPortable(code: string): void {
  for (const [what, pattern] of [
    ['ws', /permessage-deflate|ws does not work in the browser/i],
    ['zod', /invalid_type|ZodError/],
    ['a Node module', /\bnode:(net|tls|http|crypto|events)\b/],
    ['eval', /\beval\(|\bnew Function\b|\bFunction\(["'`]/],
  ] as const) {
    if (pattern.test(code)) throw new Error(`The bundle holds ${what}`);
  }
}

interface Endpoint {
  url: string;
  close(): Promise<void>;
}

async function startHub(): Promise<Endpoint> {
  const entry = path.join(project, 'node_modules/holdfast/dist/server.js');
  const { createHub } = (await import(entry)) as typeof import('../src/server/index.js');
  const hub = createHub({
    authenticate: () => ({ user: 'ann' }),
    authorizeRoom: () => true,
    handlers: { 'text:shout': (text) => String(text).toUpperCase() },
  });
  const server = createServer((request, response) => void hub.handleHttp(request, response));
  hub.attachWebSocket(server, { path: '/realtime' });
  const port = await listen(server);
  return {
    url: `ws://127.0.0.1:${port}/realtime`,
    async close() {
      await hub.close();
      server.close();
      server.closeAllConnections();
    },
  };
}

async function servePage(): Promise<Endpoint & { script: string }> {
  const server = createServer((request, response) => {
    const script = request.url === '/page.js';
    response.writeHead(200, {
      'content-type': script ? 'text/javascript' : 'text/html',
      'content-security-policy': "script-src 'self'",
    });
    response.end(script ? page.script : '<script src="/page.js" type="module"></script>');
  });
  const port = await listen(server);
  const page = {
    script: '',
    url: `http://127.0.0.1:${port}/`,
    async close() {
      server.close();
      server.closeAllConnections();
    },
  };
  return page;
}

async function listen(server: ReturnType<typeof createServer>): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}

async function check(name: string, run: () => string | Promise<string>): Promise<void> {
  try {
    console.log(`ok    ${name}  ${(await run()).trim()}`);
    checks.push({ name, ok: true });
  } catch (error) {
    console.log(`FAIL  ${name}  ${String(error)}`);
    checks.push({ name, ok: false });
  }
}

/** Runs a command in the project. @throws Error with what it printed where it fails. */
function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: project,
    encoding: 'utf8',
    timeout: 120_000,
  });
  if (status !== 0)
    throw new Error(`${command} ${args[0]} failed\n${stdout}${stderr}`, { cause: error });
  return stdout;
}
