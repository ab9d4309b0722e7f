/** One link to a server of another language: what it says becomes frames, and rooms get their verdicts. */
import { HoldfastError } from '../protocol/errors.js';
import type {
  ErrorBody,
  Event,
  Garbled,
  Hello,
  RoomJoined,
  RoomWish,
  ServerFrame,
} from '../protocol/frame.js';
import { serverFrame } from '../protocol/guard.js';
import type { Wire } from '../protocol/wire.js';
import type { Conversation, Talk } from './dialect.js';
import { platformEnvironment } from './environment.js';
import type { PlainAbout, PlainFrame, PlainOptions, PlainSaid } from './plain-options.js';

/** A room, as this link knows it. */
interface Place {
  /** From where the client wants it. */
  readonly since: string | undefined;
  /** The last position that is the server's own; "" where there was none. */
  last: string;
  /** Events that came before the answer to the join; undefined once that is there. */
  early: Event[] | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** Positions of our own making start so; the server's last one follows. */
const OURS = 'holdfast:';

/** A sign of life and no more: the pong that the client answers it with goes nowhere. */
const LIFE = { kind: 'ping' } as const;

/** A stranger's limits are not known: the client's own are the only ones. */
const LIMITS = { maxMessageSize: 2 ** 53, messagesPerSecond: 2 ** 53 };

/** None of it throws, whatever the application's functions do. */
export function conversation(
  { decode = eventOf, encode, ping, pong, onOpen, ready, joined }: PlainOptions,
  hello: () => Hello,
  { send, received }: Talk,
): Conversation {
  const rooms = new Map<unknown, Place>();
  /** Those of the hello, until the welcome. */
  let wishes: readonly RoomWish[] = [];

  const write = (data: unknown) => wires(data).forEach(send);

  const say = (frame: PlainFrame) => {
    const data = encode?.(frame) ?? null;
    write(data);
    return data;
  };

  /** What is thrown before the welcome refuses the attempt; after it the client reports it. */
  const attempt = (
    what: string,
    run: () => unknown,
    fail = (error: ErrorBody) => received({ kind: 'error', error }),
  ) => {
    const failed = (thrown: unknown) => fail(bodyOf(what, thrown));
    try {
      Promise.resolve(run()).catch(failed);
    } catch (thrown) {
      failed(thrown);
    }
  };

  const leave = (room: string) => {
    rooms.delete(room);
    attempt('encode', () => say({ kind: 'leave', room }));
  };

  const join = ({ room, since }: RoomWish) => {
    // A server may take a second join for a second subscription.
    if (rooms.has(room)) leave(room);
    rooms.set(room, { since, last: '', early: [] });
    const ask = () => {
      const data = say({ kind: 'join', room, since: positionOf(since) || undefined });
      if (data === null || !joined) hear(frameOf({ room, joined: true }));
    };
    attempt('encode', ask, (error) => hear({ kind: 'room', room, error }));
  };

  const answered = (said: RoomJoined) => {
    const place = rooms.get(said.room);
    const early = place?.early;
    // A room that is joined already may be told so again, in a list of them all.
    if (!place || (!early && said.reason === 'new')) {
      received(LIFE);
      return;
    }
    const from = early && said.recovered ? positionOf(place.since) : '';
    const { reason, ...verdict } = { ...said, cursor: from || said.cursor, recovered: from !== '' };
    const why = early && place.since === undefined ? 'new' : 'expired';
    place.early = undefined;
    place.last ||= positionOf(verdict.cursor);
    received(from ? verdict : { ...verdict, reason: why });
    received({ kind: 'room', room: said.room, caughtUp: true, cursor: verdict.cursor });
    early?.forEach(received);
  };

  const hear = (frame: ServerFrame | Garbled, data: string | Uint8Array = '') => {
    const early = frame.kind === 'event' ? rooms.get(frame.room)?.early : undefined;
    if (frame.kind === 'event' && early) early.push(frame);
    else if (frame.kind === 'room' && 'joined' in frame) answered(frame);
    else received(frame);
    if (frame.kind === 'room' && 'error' in frame) rooms.delete(frame.room);
    if (frame.kind === 'ping') attempt('pong', () => write(pong?.(data)));
    if (frame.kind === 'welcome') {
      const named = wishes;
      wishes = [];
      named.forEach(join);
    }
  };

  const frameOf = (said: unknown): ServerFrame | Garbled => {
    const fields: Fields = isFields(said) ? said : {};
    const { type, requestId, error } = fields;
    const room = fields.room ?? undefined;
    if (has(type)) return serverFrame(eventFrom(fields, rooms.get(room)));
    if (has(requestId)) {
      const success = !has(error);
      return serverFrame({ ...fields, kind: 'response', requestId: `${requestId}`, success });
    }
    if (has(room)) return serverFrame(verdictFrom(fields));
    const { user, session, expiresIn } = fields;
    const terms = { ...LIMITS, authExpiresIn: expiresIn };
    return serverFrame(
      fields.ready
        ? { kind: 'welcome', connectionId: 'plain', user, session, terms }
        : { kind: fields.ping ? 'ping' : fields.pong ? 'pong' : 'error', ...fields },
    );
  };

  return {
    opened() {
      const { auth, rooms: named } = hello();
      wishes = named;
      const about = { send: write, auth, rooms: named.map(({ room }) => room) };
      attempt('onOpen', () => onOpen?.(about));
      // Where that failed, the client has hung up: what is told or written now goes nowhere.
      if (!ready) hear(frameOf({ ready: true }));
    },
    heard({ data, ...about }) {
      let frames: (ServerFrame | Garbled)[];
      try {
        const said: unknown = decode(data, about);
        frames = [said ?? []].flat().map(frameOf);
      } catch (thrown) {
        // Not what it says: JSON.parse quotes its input.
        frames = [{ kind: 'garbled', why: `decode threw ${nameOf(thrown)}` }];
      }
      if (frames.length === 0) received(LIFE);
      for (const frame of frames) hear(frame, data);
    },
    say(frame) {
      if (frame.kind === 'join') frame.rooms.forEach(join);
      else if (frame.kind === 'leave') frame.rooms.forEach(leave);
      else if (frame.kind === 'auth') attempt('encode', () => say(frame));
      else if (frame.kind === 'ping' && ping) attempt('ping', () => write(ping()));
      else if (frame.kind === 'ping') received(LIFE);
    },
  };
}

/** @throws TypeError where it is nothing that a wire can carry */
export function wires(data: unknown): Wire[] {
  return [data ?? []].flat().map((one: unknown) => {
    if (typeof one === 'string' || one instanceof Uint8Array) return one;
    throw new TypeError('A wire carries text or bytes.');
  });
}

/** An event without an id gets one of ours, which holds the place in its room. */
function eventFrom(
  { type, payload, eventId, room, timestamp }: Fields,
  place: Place | undefined,
): Fields {
  const made = `${OURS}${platformEnvironment.id()}:${place?.last ?? ''}`;
  const id = textOf(eventId) || made;
  if (place) place.last = positionOf(id);
  return {
    kind: 'event',
    eventId: id,
    type,
    payload,
    room: room ?? undefined,
    timestamp: timestamp ?? platformEnvironment.clock.date(),
  };
}

/** The reason is "new" where nothing was said of missing history. */
function verdictFrom({ room, joined, left, error, recovered, cursor }: Fields): Fields {
  if (has(error)) return { kind: 'room', room, error };
  if (!joined) return { kind: 'room', room, left };
  return {
    kind: 'room',
    room,
    joined,
    epoch: 'plain',
    seq: 0,
    cursor: textOf(cursor) || OURS,
    recovered: recovered === true,
    reason: recovered === false ? 'expired' : 'new',
  };
}

/** What SSE says by itself, where there is no `decode`. */
function eventOf(data: string | Uint8Array, { event, id }: PlainAbout): PlainSaid {
  let payload: unknown = data;
  try {
    if (typeof data === 'string') payload = JSON.parse(data);
  } catch {
    // Text that is no JSON is its own payload.
  }
  return { type: event ?? 'message', payload, eventId: id };
}

/** The server's own part of a position. */
function positionOf(since = ''): string {
  return since.replace(/^holdfast:[^:]*:?/, '');
}

function textOf(value: unknown): string {
  return `${value ?? ''}`;
}

function has(value: unknown): boolean {
  return (value ?? null) !== null;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}

function bodyOf(what: string, thrown: unknown): ErrorBody {
  if (thrown instanceof HoldfastError) return { code: thrown.code, message: thrown.message };
  return { code: 'LISTENER_FAILED', message: `${what} of the protocol threw ${nameOf(thrown)}.` };
}

function nameOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.name : typeof thrown;
}
