/** One connection on a memory network: a client's link at one end, a server's wire at the other. */
import type { Dialect } from '../client/dialect.js';
import type { Link, LinkEvents } from '../client/transport.js';
import type { Clock } from '../lib/clock.js';
import { closeFault, HoldfastError } from '../protocol/errors.js';
import type { Hello } from '../protocol/frame.js';
import { byteLength, type Codec, encoded, type Outgoing, type Wire } from '../protocol/wire.js';
import type { ServerWire, ServerWireEvents, WireRequest } from '../server/wire.js';
import { copiesOf, type Direction, type Faults, laneTerms, type Rule } from './memory-faults.js';
import { memoryLane } from './memory-lane.js';

/** What a server gives to be reached: `hub.accept`. */
export type Accept = (wire: ServerWire) => ServerWireEvents;

export interface PairSetup {
  transport: string;
  codec: Codec;
  /** Undefined for holdfast/1. */
  dialect: Dialect | undefined;
  request: WireRequest;
  clock: Clock;
  /** Times the client's end: its device may sleep. */
  clientClock: Clock;
  random: () => number;
  faults(): Faults;
  rules(): readonly Rule[];
  /** The server that takes the dial, if any. */
  server(): Accept | undefined;
  /** Both ends are closed. */
  ended(): void;
}

/** The pair of ends, as the network handles it. */
export interface Pair {
  readonly client: Link;
  /** The wire has opened and neither end has closed it. */
  readonly open: boolean;
  /** Takes note that faults have changed. */
  changed(): void;
  cut(): void;
  close(code: number, reason: string): void;
  halfOpen(gone: 'client' | 'server'): void;
}

type Parcel =
  | { kind: 'dial' | 'accepted' | 'reset' }
  | { kind: 'wire'; wire: Wire }
  | { kind: 'refused'; fault: HoldfastError }
  | { kind: 'close'; code: number; reason: string };

/** How long a server waits for the other half of a close handshake, as `ws` does. */
const CLOSE_TIMEOUT = 30_000;

/** Dials, at once. The first callback comes with a timer, never before this has returned. */
export function memoryPair(setup: PairSetup, hello: () => Hello, on: LinkEvents): Pair {
  let client: 'dialing' | 'open' | 'closed' = 'dialing';
  let server: 'undecided' | 'open' | 'closing' | 'terminating' | 'closed' = 'undecided';
  let serverEvents: ServerWireEvents | undefined;
  let cancelServer = () => {};

  const shared = { clock: setup.clock, random: setup.random };
  const up = memoryLane<Parcel>({
    ...shared,
    sender: setup.clientClock,
    receiver: setup.clock,
    terms: () => laneTerms(setup.faults(), 'up'),
    arrived: reachServer,
    fell: () => {},
  });
  const down = memoryLane<Parcel>({
    ...shared,
    sender: setup.clock,
    receiver: setup.clientClock,
    terms: () => laneTerms(setup.faults(), 'down'),
    arrived: reachClient,
    fell: () => {
      if (server === 'open') serverEvents?.drained();
    },
  });

  const link: Link = {
    send(frames) {
      if (client !== 'open') return;
      if (talk === undefined) carry('up', encoded(setup.codec, frames));
      else for (const frame of frames) speak(frame);
    },
    close(code = 1000, reason = '') {
      if (client === 'closed') return;
      client = 'closed';
      post('up', { kind: 'close', code, reason });
      endIfOver();
    },
    get bufferedAmount() {
      return up.buffered;
    },
  };

  const talk = setup.dialect?.begin(hello, {
    send(data) {
      if (client === 'open') carry('up', [data]);
    },
    received(frame) {
      if (client === 'open') on.received(frame);
    },
  });

  function speak(frame: Outgoing): void {
    if (typeof frame === 'string' || frame instanceof Uint8Array) carry('up', [frame]);
    else talk?.say(frame);
  }

  const wire: ServerWire = {
    transport: setup.transport,
    request: setup.request,
    send(wires) {
      if (server === 'open') carry('down', wires);
    },
    close(code, reason) {
      if (server !== 'open') return;
      server = 'closing';
      post('down', { kind: 'close', code, reason });
      cancelServer = setup.clock.after(CLOSE_TIMEOUT, closeServer);
    },
    terminate() {
      if (server === 'closed' || server === 'undecided') return;
      cancelServer();
      server = 'terminating';
      down.lose('unsent');
      post('down', { kind: 'reset' });
      cancelServer = setup.clock.after(0, closeServer);
    },
    get bufferedAmount() {
      return down.buffered;
    },
  };

  function reachServer(parcel: Parcel): void {
    if (parcel.kind === 'dial') takeDial();
    else if (parcel.kind !== 'wire') closeServer();
    // A server that has begun a close handshake still reads.
    else if (server === 'open' || server === 'closing') serverEvents?.received(parcel.wire);
  }

  function takeDial(): void {
    const { refuse, silent } = setup.faults();
    const accept = setup.server();
    if (typeof refuse === 'string') refuseDial(new HoldfastError(refuse, 'The dial was refused.'));
    else if (refuse === null && !silent && accept === undefined) refuseDial(nobodyServes());
    else acceptDial(silent || refuse !== null ? undefined : accept);
    if (typeof refuse === 'number') post('down', { kind: 'close', code: refuse, reason: '' });
  }

  function refuseDial(fault: HoldfastError): void {
    server = 'closed';
    post('down', { kind: 'refused', fault });
    endIfOver();
  }

  function acceptDial(accept: Accept | undefined): void {
    post('down', { kind: 'accepted' });
    server = accept === undefined ? 'closed' : 'open';
    serverEvents = accept?.(wire);
    endIfOver();
  }

  function reachClient(parcel: Parcel): void {
    if (client === 'closed') return;
    if (parcel.kind === 'accepted') openClient();
    else if (parcel.kind === 'wire') hear(parcel.wire);
    else if (parcel.kind === 'refused') closeClient(parcel.fault);
    else if (parcel.kind === 'close') {
      post('up', { ...parcel });
      closeClient(closeFault(parcel.code, parcel.reason));
    } else closeClient(closeFault(1006, ''));
  }

  function openClient(): void {
    client = 'open';
    if (talk === undefined) carry('up', [setup.codec.encode(hello())]);
    on.opened();
    talk?.opened();
  }

  function hear(data: Wire): void {
    if (talk === undefined) on.received(setup.codec.decode(data));
    else talk.heard({ data });
  }

  function closeClient(fault: HoldfastError): void {
    if (client === 'closed') return;
    client = 'closed';
    on.closed(fault);
    endIfOver();
  }

  function closeServer(): void {
    if (server === 'closed') return;
    cancelServer();
    server = 'closed';
    serverEvents?.closed();
    endIfOver();
  }

  function endIfOver(): void {
    if (client !== 'closed' || server !== 'closed') return;
    loseAll();
    setup.ended();
  }

  function carry(direction: Direction, wires: readonly Wire[]): void {
    for (const one of wires) {
      const copies = copiesOf(setup.rules(), one, direction);
      for (let copy = 0; copy < copies; copy++) post(direction, { kind: 'wire', wire: one });
    }
  }

  function post(direction: Direction, parcel: Parcel): void {
    const bytes = parcel.kind === 'wire' ? byteLength(parcel.wire) : 0;
    (direction === 'up' ? up : down).send(parcel, bytes);
  }

  function loseAll(): void {
    up.lose('everything');
    down.lose('everything');
  }

  post('up', { kind: 'dial' });
  return {
    client: link,
    get open() {
      return client === 'open' && server !== 'closing' && server !== 'terminating';
    },
    changed() {
      up.changed();
      down.changed();
    },
    cut() {
      loseAll();
      closeClient(closeFault(1006, ''));
      closeServer();
    },
    close: (code, reason) => wire.close(code, reason),
    halfOpen(gone) {
      loseAll();
      if (gone === 'client') closeClient(closeFault(1006, ''));
      else closeServer();
    },
  };
}

function nobodyServes(): HoldfastError {
  return new HoldfastError('CONNECTION_FAILED', 'Nobody serves this memory network. Call serve().');
}
