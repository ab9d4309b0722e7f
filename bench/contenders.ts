/**
 * Who takes part. `floor` is what the others are measured against. A new contender is a file in
 * contenders/ and a line here; one that does not speak holdfast/1 brings a server of its own, which
 * understands the same URLs.
 */
import type { Contender } from './bench.ts';

export interface Entry {
  /** Beside this file; started as a process. */
  readonly server: string;
  load(): Promise<{ contender: Contender }>;
}

export const contenders: Readonly<Record<string, Entry>> = {
  floor: { server: 'server.ts', load: () => import('./contenders/floor.ts') },
  holdfast: { server: 'server.ts', load: () => import('./contenders/holdfast.ts') },
};
