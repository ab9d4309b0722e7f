/** Finds Chromium for the tests that need a real browser; as root on Debian it installs it. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

/** Flags for a container, and against calls to outside hosts. */
export const chromiumFlags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
];

/** The path of Chromium, or undefined with a line on the console that says how to get it. */
export function findChromium(): string | undefined {
  const found = process.env.CHROMIUM_PATH ?? onPath(names);
  if (found !== undefined) return found;
  if (process.getuid?.() === 0 && onPath(['apt-get']) !== undefined) {
    console.log('Chromium is missing; installing the Debian package …');
    apt('update');
    apt('install', '-y', '--no-install-recommends', 'chromium');
    const installed = onPath(names);
    if (installed !== undefined) return installed;
  }
  console.log(
    'SKIPPED: tests in a real browser. Install Chromium (Debian: apt-get install chromium) or set CHROMIUM_PATH.',
  );
  return undefined;
}

const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];

function onPath(commands: string[]): string | undefined {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  return commands
    .flatMap((command) => folders.map((folder) => path.join(folder, command)))
    .find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function apt(...args: string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { status, stderr } = spawnSync('apt-get', ['-q', ...args], { env, encoding: 'utf8' });
  if (status !== 0) console.log(`apt-get ${args.join(' ')} failed:\n${stderr}`);
}
