/** One connection of a scripted server: what the client sent over it, and phrases to answer with. */
import { fromText, toText } from '../protocol/bytes.js';
import type {
  ClientFrame,
  ErrorBody,
  Event,
  Hello,
  Request,
  RoomJoined,
  ServerFrame,
  Welcome,
} from '../protocol/frame.js';
import type { Wire } from '../protocol/wire.js';
import type { ServerWire } from '../server/wire.js';
import { type Arrivals, arrivalsOf } from './arrivals.js';

type FrameOf<K extends ClientFrame['kind']> = Extract<ClientFrame, { kind: K }>;

/** One connection of a client, as the script plays it. */
export interface ScriptedLink {
  /** Every frame received, oldest first. */
  readonly frames: readonly ClientFrame[];
  /** The frames of one kind, oldest first. */
  sent<K extends ClientFrame['kind']>(kind: K): FrameOf<K>[];
  /**
   * The next frame of a kind that no call of `next` has returned yet; waits for it where there is
   * none.
   */
  next<K extends ClientFrame['kind']>(kind: K): Promise<FrameOf<K>>;
  /** The last `hello`; undefined before the first. */
  readonly hello: Hello | undefined;
  /** The client has not closed it, nor has the script. */
  readonly open: boolean;
  send(...frames: ServerFrame[]): void;
  /** Anything at all, for malformed frames. */
  sendRaw(...wires: Wire[]): void;
  /** @param welcome what differs from connectionId 'connection-<n>', session 'session-1'. */
  welcome(welcome?: Partial<Omit<Welcome, 'kind'>>): void;
  /** @param verdict what differs from epoch 'epoch-1', seq 0, cursor '<room>:<seq>', recovered. */
  joined(room: string, verdict?: Partial<Omit<RoomJoined, 'kind' | 'room' | 'joined'>>): void;
  caughtUp(room: string, cursor?: string): void;
  /** @param event what differs from eventId '<room>:<seq>', payload null, timestamp 0. */
  event(type: string, event?: Partial<Omit<Event, 'kind' | 'type'>>): void;
  /** Answers a request with success. */
  respond(request: Request | string, data?: unknown): void;
  /** Answers a request with an error. */
  fail(request: Request | string, error: Partial<ErrorBody> & { code: string }): void;
  close(code?: number, reason?: string): void;
  /** Ends at once: the client hears 1006. */
  terminate(): void;
}

/** The same, as the server that accepted it holds it. */
export interface PlayedLink extends ScriptedLink {
  readonly rooms: Set<string>;
  /** Lets in what the wire carried, and returns it as a frame. */
  take(wire: unknown): ClientFrame;
  ended(): void;
}

/** @param number 1 for the first connection of the server. */
export function playedLink(wire: ServerWire, number: number): PlayedLink {
  const frames: ClientFrame[] = [];
  const arrivals = new Map<string, Arrivals<ClientFrame>>();
  let open = true;

  function arrivalsFor(kind: string) {
    const known = arrivals.get(kind) ?? arrivalsOf<ClientFrame>();
    arrivals.set(kind, known);
    return known;
  }

  async function next<K extends ClientFrame['kind']>(kind: K): Promise<FrameOf<K>> {
    const frame = await arrivalsFor(kind).next();
    if (isOf(frame, kind)) return frame;
    throw new Error(`A ${frame.kind} came where a ${kind} was due.`);
  }

  function sent<K extends ClientFrame['kind']>(kind: K): FrameOf<K>[] {
    return frames.filter((frame): frame is FrameOf<K> => isOf(frame, kind));
  }

  function send(...out: ServerFrame[]): void {
    wire.send(out.map((frame) => toText(frame)));
  }

  return {
    frames,
    rooms: new Set(),
    sent,
    next,
    send,
    ...phrases(send, number),
    get hello() {
      return sent('hello').at(-1);
    },
    get open() {
      return open;
    },
    sendRaw: (...wires) => wire.send(wires),
    close(code = 1000, reason = '') {
      open = false;
      wire.close(code, reason);
    },
    terminate() {
      open = false;
      wire.terminate();
    },
    take(one) {
      const frame = clientFrame(one);
      frames.push(frame);
      arrivalsFor(frame.kind).add(frame);
      return frame;
    },
    ended() {
      open = false;
    },
  };
}

type Phrase = 'welcome' | 'joined' | 'caughtUp' | 'event' | 'respond' | 'fail';

/** What a server says most, with everything that a test does not care about filled in. */
function phrases(send: (frame: ServerFrame) => void, number: number): Pick<ScriptedLink, Phrase> {
  const idOf = (request: Request | string) =>
    typeof request === 'string' ? request : request.requestId;
  return {
    welcome(welcome) {
      const connectionId = `connection-${number}`;
      send({ kind: 'welcome', connectionId, session: 'session-1', ...welcome });
    },
    joined(room, verdict = {}) {
      const { seq = 0, cursor = `${room}:${seq}` } = verdict;
      const place = { epoch: 'epoch-1', recovered: true, ...verdict, seq, cursor };
      send({ kind: 'room', room, joined: true, ...place });
    },
    caughtUp(room, cursor = `${room}:0`) {
      send({ kind: 'room', room, caughtUp: true, cursor });
    },
    event(type, event = {}) {
      const eventId = `${event.room ?? ''}:${event.seq ?? type}`;
      send({ kind: 'event', eventId, timestamp: 0, payload: null, ...event, type });
    },
    respond(request, data) {
      const requestId = idOf(request);
      const answer = { kind: 'response', requestId, success: true } as const;
      send(data === undefined ? answer : { ...answer, data });
    },
    fail(request, error) {
      const body = { message: 'Refused by the script.', ...error };
      send({ kind: 'response', requestId: idOf(request), success: false, error: body });
    },
  };
}

function isOf<K extends ClientFrame['kind']>(frame: ClientFrame, kind: K): frame is FrameOf<K> {
  return frame.kind === kind;
}

const kinds: Readonly<Record<ClientFrame['kind'], true>> = {
  hello: true,
  join: true,
  leave: true,
  request: true,
  message: true,
  ping: true,
  pong: true,
  auth: true,
};

/** A client under test sends frames; anything else is its bug, and fails the test. */
function clientFrame(wire: unknown): ClientFrame {
  const frame: unknown = typeof wire === 'string' ? fromText(wire) : wire;
  if (isClientFrame(frame)) return frame;
  throw new TypeError(`The client sent what is no frame: ${String(wire).slice(0, 200)}`);
}

function isClientFrame(value: unknown): value is ClientFrame {
  return (
    typeof value === 'object' &&
    value !== null &&
    'kind' in value &&
    typeof value.kind === 'string' &&
    Object.hasOwn(kinds, value.kind)
  );
}
