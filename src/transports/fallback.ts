/** Several wires as one: the best that works, the others behind it, and back up when it works again. */
import { platformEnvironment } from '../client/environment.js';
import type { Transport } from '../client/transport.js';
import type { Clock } from '../lib/clock.js';
import { checkKnown } from '../lib/known.js';
import { HoldfastError } from '../protocol/errors.js';
import type { Wire } from './fallback/attempt.js';
import { openLink, type Shared } from './fallback/link.js';
import { type FallbackStore, memoryOf, pageStore } from './fallback/memory.js';

export type { FallbackStore } from './fallback/memory.js';

export interface FallbackOptions {
  /**
   * Milliseconds that a wire is dialed alone before the next one starts beside it; 3,000 more once it
   * has proven itself. Keep it well below `reconnect.connectTimeout`, which bounds the whole dial.
   * @default 3_000: a handshake over a slow network takes less
   */
  headStart?: number;
  /**
   * Milliseconds that it counts which wires worked and which were given up. After it the best one is
   * tried first again. @default 3_600_000: people stay in one network for about so long
   */
  remember?: number;
  /**
   * Milliseconds between two looks whether a better wire works, while a lower one is in use.
   * @default 60_000: each look is a dial
   */
  probeInterval?: number;
  /**
   * Where that is kept from one page to the next. It holds the names of the wires and a few numbers.
   * @default localStorage where there is a page; `false`: this object alone remembers
   */
  store?: FallbackStore | false;
  /** For tests. @default the platform's */
  clock?: Clock;
}

/**
 * Dials the first of `transports` that works, best first. A wire that has no `welcome` after
 * `headStart` gets the next one beside it, and the first `welcome` wins. One that was useless three
 * times in a row (refused, silent, or lost within 5 s of its `welcome`) is tried last for `remember`;
 * where all of them fail, that was the server and counts against none. On a lower wire the better ones
 * are probed every `probeInterval`, and the client moves up without leaving `connected`.
 * @throws TypeError where there is no such option
 * @throws HoldfastError `INVALID_PAYLOAD` where there is no wire, their codecs differ, or a duration
 * is not above 0
 */
export function fallback(
  transports: readonly Transport[],
  options: FallbackOptions = {},
): Transport {
  checkKnown('fallback()', options, ['headStart', 'remember', 'probeInterval', 'store', 'clock']);
  if (typeof transports?.map !== 'function') throw bad('a list of transports');
  const { headStart = 3_000, remember = 3_600_000, probeInterval = 60_000 } = options;
  const { store = pageStore, clock = platformEnvironment.clock } = options;
  const codecs = new Map(transports.map((one) => [one.codec.name, one.codec]));
  const [codec] = codecs.values();
  if (codec === undefined || codecs.size > 1) {
    throw bad(`wires of one codec, not of ${[...codecs.keys()].join(' and ') || 'none'}`);
  }
  if (!(Math.min(headStart, remember, probeInterval) > 0)) throw bad('durations above 0');
  const wires = transports.map((transport, rank): Wire => {
    return { rank, transport, standing: [0, 0] };
  });
  const memory = memoryOf({ wires, clock, remember, store: store || undefined });
  const shared: Shared = { wires, memory, clock, headStart, probeInterval, beside: new Map() };
  const { beside } = shared;
  return {
    name: 'fallback',
    codec,
    dial(hello, on) {
      // Two clients may share a transport: each takes over what was welcomed for itself.
      const found = beside.size > 0 ? beside.get(hello().clientId)?.() : undefined;
      return openLink(shared, hello, on, found);
    },
    ...(transports.every(({ speak }) => speak) && {
      speak: (dialect) =>
        fallback(
          transports.flatMap((transport) => transport.speak?.(dialect) ?? []),
          options,
        ),
    }),
  };
}

function bad(wanted: string): HoldfastError {
  return new HoldfastError('INVALID_PAYLOAD', `fallback() takes ${wanted}.`);
}
