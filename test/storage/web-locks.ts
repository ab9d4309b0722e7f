/** Web Locks in memory, as far as a storage takes them: where the runtime has none, and to look into. */

/** `navigator.locks` with `ifAvailable` alone. */
export function fakeLocks(): Pick<LockManager, 'request'> & { readonly held: ReadonlySet<string> } {
  const held = new Set<string>();
  async function request(
    name: string,
    options: LockOptions,
    run: (lock: Lock | null) => unknown,
  ): Promise<unknown> {
    if (options.ifAvailable !== true) throw new TypeError('Only ifAvailable is there.');
    await Promise.resolve();
    if (held.has(name)) return run(null);
    held.add(name);
    try {
      return await run({ name, mode: 'exclusive' });
    } finally {
      held.delete(name);
    }
  }
  return { held, request: request as LockManager['request'] };
}
