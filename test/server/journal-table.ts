/** Every journal we ship, for tests of what they have in common. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type MemoryJournal, type MemoryJournalOptions, memoryJournal } from 'holdfast/server';
import { afterAll } from 'vitest';
import { sqliteJournal } from '../../src/server/sqlite-journal.js';

export interface JournalKind {
  readonly name: string;
  /** A new one with nothing in it. */
  create(options?: MemoryJournalOptions): MemoryJournal;
}

let folder: string | undefined;
let files = 0;

/** A path in a folder that goes with the tests of this file. */
export function freshPath(): string {
  folder ??= mkdtempSync(path.join(tmpdir(), 'holdfast-journal-'));
  return path.join(folder, `journal-${++files}.db`);
}

afterAll(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  folder = undefined;
});

export const journals: readonly JournalKind[] = [
  { name: 'memory', create: memoryJournal },
  {
    name: 'sqlite',
    // On a virtual clock no turn of the event loop goes by; and nobody cuts the power.
    create: (options) =>
      sqliteJournal({ path: freshPath(), batch: 'tick', synchronous: 'normal', ...options }),
  },
];

/** One file, and for each hub a journal object of its own: as processes of one machine share it. */
export const acrossObjects: JournalKind = {
  name: 'sqlite, one object a hub',
  create(options) {
    const path = freshPath();
    const own = () => sqliteJournal({ path, batch: 'tick', synchronous: 'normal', ...options });
    const { replayWindow, requestWindow } = own();
    const opened: MemoryJournal[] = [];
    return {
      replayWindow,
      requestWindow,
      open(user) {
        const journal = own();
        opened.push(journal);
        return journal.open(user);
      },
      fence() {
        for (const journal of opened) journal.fence();
      },
    };
  },
};
