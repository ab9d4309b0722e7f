/** A break on purpose that a test of an edge case has to notice. */
export interface Plant {
  /** The edge case, as docs/edge-cases.md numbers it. */
  id: string;
  /** What the client or the server does wrong now, in a few words. */
  breaks: string;
  file: string;
  /** Stands in `file` exactly once. */
  find: string;
  replace: string;
  /** The file of the test that notices it soonest. */
  test: string;
}
