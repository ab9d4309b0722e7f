/** A stranger's function that stops nothing: what it throws is reported. */
export function shielded<A extends readonly unknown[]>(
  run: (...args: A) => unknown,
  report: (thrown: unknown) => void,
): (...args: A) => void {
  return (...args) => {
    try {
      const result = run(...args);
      // Promises are not awaited, but a rejection of theirs must not end the process.
      if (result instanceof Promise) result.catch(report);
    } catch (thrown) {
      report(thrown);
    }
  };
}
