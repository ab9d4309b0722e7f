/** What the author of a transport brings: servers, the wire, and hands on what lies between. */
import type { Transport } from '../../client/transport.js';
import type { Hub } from '../../server/hub.js';
import type { createHub, failure, memoryJournal } from '../../server/index.js';
import type { VirtualClock } from '../virtual-clock.js';

/** One place to play one promise in. */
export interface TransportStage {
  /** `import * as server from 'holdfast/server'`: the hubs are made of it. */
  readonly server: HubParts;
  /** Where time is virtual: clients and hubs get it, and it is moved as they wait. @default real time */
  readonly clock?: VirtualClock | undefined;
  /** The transport under test. It reaches whichever hub is served when it dials. */
  transport(): Transport;
  /**
   * From here on new connections reach this hub; those that are open stay where they are.
   * @returns its end: nobody answers there any more, and what is open is cut.
   */
  serve(hub: Hub): Ending | Promise<Ending>;
  readonly network: StageNetwork;
  /**
   * What keeps the process busy, by name, as `process.getActiveResourcesInfo` says it. What is there
   * at the end of a client and was not at its beginning is left over. @default not looked at
   */
  resources?: (() => readonly string[]) | undefined;
  /** Called last, whatever happened. */
  end(): void | Promise<void>;
}

export type Ending = () => void | Promise<void>;

export interface HubParts {
  readonly createHub: typeof createHub;
  readonly memoryJournal: typeof memoryJournal;
  readonly failure: typeof failure;
}

/** Breaks what lies between client and server; `heal` ends what the others began. */
export interface StageNetwork {
  /** Every open connection is lost, and both ends hear of it at once. New ones pass. */
  cut(): void;
  /** New connections fail at once. */
  refuse(): void;
  /** Nothing passes, on open connections and on new ones, and nobody is told. */
  blackHole(): void;
  /** So many bytes a second pass in each direction of each connection. */
  slow(bytesPerSecond: number): void;
  heal(): void;
}
