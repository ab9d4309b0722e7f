/** Runs a stranger's code: what it throws is reported, and stops nothing. */
export function shield<A extends readonly unknown[]>(
  report: (thrown: unknown) => void,
  run: (...args: A) => unknown,
  ...args: A
): void {
  try {
    const result = run(...args);
    // Promises are not awaited, but a rejection of theirs must not end the process.
    if (result instanceof Promise) result.catch(report);
  } catch (thrown) {
    report(thrown);
  }
}
