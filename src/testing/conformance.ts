/** What every transport promises, as tests that need no test runner. */
import { connection } from './conformance/connection.js';
import { delivery } from './conformance/delivery.js';
import { port } from './conformance/port.js';
import { requests } from './conformance/requests.js';
import type { Promised } from './conformance/rule.js';
import { Scene } from './conformance/scene.js';
import type { TransportStage } from './conformance/stage.js';

const promises = { ...port, ...connection, ...delivery, ...requests };

/** The promises, by the names that `less` takes. */
export type PromiseName = keyof typeof promises;

/** One promise: `run` rejects where the transport breaks it. */
export interface TransportRule {
  readonly name: PromiseName;
  /** With the reason, where it is not kept on this wire. */
  readonly title: string;
  run(): Promise<void>;
}

export interface TransportRulesOptions {
  /**
   * What this wire cannot do, each with the reason. It is played all the same, and must fail: what a
   * wire can do after all is not to be listed. @default {}: everything
   */
  readonly less?: Readonly<Partial<Record<PromiseName, string>>> | undefined;
}

/**
 * T1 to T5, and what a client and a hub promise over any wire.
 *
 * ```ts
 * for (const { title, run } of transportRules(() => myStage())) test(title, run, 30_000);
 * ```
 * @param stage makes a place for one promise, with each call; no two of them share a thing
 */
export function transportRules(
  stage: () => TransportStage | Promise<TransportStage>,
  { less = {} }: TransportRulesOptions = {},
): readonly TransportRule[] {
  return Object.entries<Promised>(promises).map(([key, { title, play }]) => {
    const name = named(key);
    const why = less[name];
    const run = async () => played(await stage(), play);
    return why === undefined
      ? { name, title, run }
      : { name, title: `not on this wire: ${title} (${why})`, run: () => broken(name, run) };
  });
}

async function played(stage: TransportStage, play: Promised['play']): Promise<void> {
  const scene = new Scene(stage);
  try {
    await play(scene);
  } catch (error) {
    await scene.abandon();
    throw error;
  }
  await scene.end();
}

async function broken(name: PromiseName, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch {
    return;
  }
  throw new Error(`This wire keeps "${name}" after all: take it out of less.`);
}

function named(key: string): PromiseName {
  if (isName(key)) return key;
  throw new Error(`There is no promise "${key}".`);
}

function isName(key: string): key is PromiseName {
  return Object.hasOwn(promises, key);
}
