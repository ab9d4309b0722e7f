/** A real process that runs a script of ours, to be talked to by lines and to be killed. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { bundle } from '../scenarios/bundle.js';

export interface Child {
  /** Every line it wrote, in order. */
  readonly said: string[];
  /** What it wrote to stderr, warnings of Node aside. */
  readonly errors: string[];
  /** Resolves with the first line from the `from`th on that passes; rejects where it exits before. */
  line(passes: (line: string) => boolean, from?: number): Promise<string>;
  tell(line: string): void;
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
  /** SIGKILL. Resolves once the process is gone. */
  kill(): Promise<void>;
  readonly exited: Promise<number | null>;
}

/** A folder of its own, and children in it; `end` kills them and removes it. */
export function workshop() {
  const folder = mkdtempSync(path.join(tmpdir(), 'holdfast-'));
  const children = new Set<Child>();
  let scripts = 0;
  return {
    folder,
    /**
     * @param code TypeScript, its imports relative to the root of the project
     * @param flags for Node
     * @returns starts it, as often as it is called
     */
    async script(code: string, flags: string[] = []): Promise<(...args: string[]) => Child> {
      const file = path.join(folder, `child-${++scripts}.cjs`);
      writeFileSync(file, await bundle('node', code));
      return (...args) => {
        const child = started([...flags, file, ...args]);
        children.add(child);
        void child.exited.then(() => children.delete(child));
        return child;
      };
    },
    async end(): Promise<void> {
      for (const child of [...children]) await child.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function started(args: string[]): Child {
  const child = spawn(process.execPath, ['--no-warnings', ...args]);
  const said: string[] = [];
  const errors: string[] = [];
  const looks = new Set<() => void>();
  let rest = '';
  let isGone = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    said.push(...lines);
    for (const look of [...looks]) look();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => errors.push(text));
  // A pipe of a child that was killed.
  child.stdin.on('error', () => {});
  const exited = new Promise<number | null>((done) => {
    child.on('close', (code) => {
      isGone = true;
      for (const look of [...looks]) look();
      done(code);
    });
  });
  return {
    said,
    errors,
    exited,
    line: (passes, from = 0) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = said.slice(from).find(passes);
          if (found === undefined && !isGone) return;
          looks.delete(look);
          if (found !== undefined) resolve(found);
          else reject(new Error(`It ended without that line. ${errors.join('')}`));
        };
        looks.add(look);
        look();
      }),
    tell: (line) => void child.stdin.write(`${line}\n`),
    signal: (signal) => void child.kill(signal),
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
