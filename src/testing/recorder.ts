/** Writes down what an application sees of its client, in order. */

/** The part of a client that is listened to; any client that has it will do. */
export interface Recordable<
  State extends { readonly status: string } = { readonly status: string },
> {
  onState(listener: (state: State) => void): () => void;
  onAny?(listener: (type: string, payload: unknown, event: RecordedMeta) => void): () => void;
  onError?(listener: (error: Error) => void): () => void;
}

/** What comes with an event beside its payload. */
export interface RecordedMeta {
  readonly eventId: string;
  readonly room?: string | undefined;
  readonly seq?: number | undefined;
}

/** What `onGap` of a client is told. */
export interface RecordedGap {
  readonly room: string;
  readonly cursor?: string | undefined;
  readonly reason?: string | undefined;
}

/** One thing seen. A gap and an error stand where they came between the events. */
export type Sighting =
  | { readonly kind: 'status'; readonly status: string }
  | {
      readonly kind: 'event';
      readonly type: string;
      readonly payload: unknown;
      readonly event: RecordedMeta;
    }
  | { readonly kind: 'error'; readonly error: Error }
  | { readonly kind: 'gap'; readonly gap: RecordedGap };

/** What was seen, by kind and in order. */
export interface Recorder<State extends { readonly status: string } = { readonly status: string }> {
  /** Everything, in the order it was seen. */
  readonly sightings: readonly Sighting[];
  /** Statuses without repeats: `['disconnected', 'connecting', 'connected']`. */
  readonly statuses: readonly string[];
  /** Every state heard, repeats of a status among them. */
  readonly states: readonly State[];
  readonly events: readonly Extract<Sighting, { kind: 'event' }>[];
  /** The payloads of the events. */
  readonly payloads: readonly unknown[];
  readonly errors: readonly Error[];
  readonly gaps: readonly RecordedGap[];
  /** Listens to a client from now on. Returns its end, harmless twice. */
  watch(client: Recordable<State>): () => void;
  /** To be given to a client as `onGap`, where the test has no state of its own to fetch. */
  readonly onGap: (gap: RecordedGap) => Promise<undefined>;
  /**
   * Resolves as soon as `check` holds, looking after every sighting: for tests over real sockets.
   * It has no deadline of its own: the test's applies.
   */
  until(check: (seen: Recorder<State>) => boolean): Promise<void>;
  /** Forgets what was seen and listens on. The next status counts even if it is the last one. */
  clear(): void;
  /** Stops listening to every client watched. */
  stop(): void;
}

/**
 * Records what a client tells its application.
 *
 * ```ts
 * const seen = recorder();
 * const client = createClient({ transport, onGap: seen.onGap });
 * seen.watch(client);
 * expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
 * ```
 * @param client watched at once, where it exists already.
 */
export function recorder<State extends { readonly status: string }>(
  client?: Recordable<State>,
): Recorder<State> {
  const sightings: Sighting[] = [];
  const states: State[] = [];
  const ends = new Set<() => void>();
  const waiting = new Set<() => void>();

  function see(sighting: Sighting): void {
    sightings.push(sighting);
    look();
  }

  function look(): void {
    for (const check of [...waiting]) check();
  }

  function watch(watched: Recordable<State>): () => void {
    const unlisten = [
      watched.onState((state) => {
        states.push(state);
        if (seen.statuses.at(-1) === state.status) look();
        else see({ kind: 'status', status: state.status });
      }),
      watched.onAny?.((type, payload, event) => see({ kind: 'event', type, payload, event })),
      watched.onError?.((error) => see({ kind: 'error', error })),
    ];
    const end = () => {
      ends.delete(end);
      for (const stop of unlisten.splice(0)) stop?.();
    };
    ends.add(end);
    return end;
  }

  function until(check: (seen: Recorder<State>) => boolean): Promise<void> {
    return new Promise((done) => {
      const tryIt = () => {
        if (!check(seen)) return;
        waiting.delete(tryIt);
        done();
      };
      waiting.add(tryIt);
      tryIt();
    });
  }

  function only<K extends Sighting['kind']>(kind: K) {
    return sightings.filter((one): one is Extract<Sighting, { kind: K }> => one.kind === kind);
  }

  const seen: Recorder<State> = {
    sightings,
    states,
    get statuses() {
      return only('status').map(({ status }) => status);
    },
    get events() {
      return only('event');
    },
    get payloads() {
      return only('event').map(({ payload }) => payload);
    },
    get errors() {
      return only('error').map(({ error }) => error);
    },
    get gaps() {
      return only('gap').map(({ gap }) => gap);
    },
    watch,
    async onGap(gap) {
      see({ kind: 'gap', gap });
      return undefined;
    },
    until,
    clear() {
      sightings.length = 0;
      states.length = 0;
    },
    stop() {
      for (const end of [...ends]) end();
    },
  };
  if (client !== undefined) watch(client);
  return seen;
}
