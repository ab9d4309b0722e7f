/** The one timer of the wires over HTTP, looked up when it is set. */

/** Runs once after `ms`; returns how to prevent that. */
export function later(ms: number, run: () => void): () => void {
  // eslint-disable-next-line no-restricted-globals -- a transport is given no clock, and these wires must pause
  const timer = setTimeout(run, ms);
  // eslint-disable-next-line no-restricted-globals -- as above
  return () => clearTimeout(timer);
}
