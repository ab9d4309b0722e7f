/** A server played by hand: it records what a client sends, and answers what the test says. */
import { type ClientFrame, type Event, ME, type RoomWish } from '../protocol/frame.js';
import { arrivalsOf } from './arrivals.js';
import type { MemoryNetwork } from './memory-network.js';
import { type PlayedLink, playedLink, type ScriptedLink } from './scripted-link.js';

export interface ScriptedServer {
  /** Every connection ever accepted, oldest first. */
  readonly links: readonly ScriptedLink[];
  /** The newest connection. @throws Error where there has been none. */
  readonly link: ScriptedLink;
  /** The next connection that no call of `next` has returned yet; waits where there is none. */
  next(): Promise<ScriptedLink>;
  /** Answers by itself from now on, or stops to. */
  auto: boolean;
  /**
   * An event for all open links in the room (`auto` only), with the next `seq` of the room, kept for
   * those that join later with a cursor. Returns it.
   */
  publish(room: string, type: string, payload?: unknown): Event;
  /** Accepts no more dials. Open links stay. */
  stop(): void;
}

/**
 * A server for tests of a client. By default it says nothing by itself; with `auto` it answers hello
 * with welcome, joins with joined and caughtUp, leaves with left, pings with pongs, renewals with
 * consent, and requests with their payload.
 *
 * ```ts
 * const server = scriptedServer(network);
 * client.connect();
 * await clock.advance(0);
 * server.link.welcome({ session: 'another' });
 * ```
 * @param options `auto` @default false
 */
export function scriptedServer(
  network: MemoryNetwork,
  options: { auto?: boolean } = {},
): ScriptedServer {
  const played: PlayedLink[] = [];
  const arrivals = arrivalsOf<ScriptedLink>();
  const rooms = new Map<string, Event[]>();
  const stop = network.serve((wire) => {
    const link = playedLink(wire, played.length + 1);
    played.push(link);
    arrivals.add(link);
    return {
      received(one) {
        const frame = link.take(one);
        if (server.auto) answer(link, frame, rooms);
      },
      drained() {},
      closed: () => link.ended(),
    };
  });

  const server: ScriptedServer = {
    links: played,
    auto: options.auto ?? false,
    get link() {
      const newest = played.at(-1);
      if (newest === undefined) throw new Error('No client has dialed yet. Advance the clock.');
      return newest;
    },
    next: arrivals.next,
    publish(room, type, payload = null) {
      const events = rooms.get(room) ?? [];
      rooms.set(room, events);
      const seq = events.length + 1;
      const eventId = `${room}:${seq}`;
      const event: Event = { kind: 'event', eventId, type, timestamp: 0, payload, room, seq };
      events.push(event);
      for (const link of played) if (link.open && link.rooms.has(room)) link.send(event);
      return event;
    },
    stop,
  };
  return server;
}

/** The answer of `auto`. */
function answer(link: PlayedLink, frame: ClientFrame, rooms: Map<string, Event[]>): void {
  switch (frame.kind) {
    case 'hello':
      link.welcome();
      join(link, withMe(frame.rooms), rooms);
      break;
    case 'join':
      join(link, frame.rooms, rooms);
      break;
    case 'leave':
      leave(link, frame.rooms);
      break;
    case 'request':
      link.respond(frame, frame.payload ?? null);
      break;
    case 'ping':
      link.send({ kind: 'pong' });
      break;
    case 'auth':
      link.send({ kind: 'auth' });
      break;
    case 'message':
    case 'pong':
      break;
    default:
      frame satisfies never;
  }
}

/** Every hello joins the room of its user, unasked. */
function withMe(wishes: RoomWish[]): RoomWish[] {
  return wishes.some(({ room }) => room === ME) ? wishes : [{ room: ME }, ...wishes];
}

function leave(link: PlayedLink, rooms: string[]): void {
  for (const room of rooms) {
    link.rooms.delete(room);
    link.send({ kind: 'room', room, left: true });
  }
}

function join(link: PlayedLink, wishes: RoomWish[], rooms: Map<string, Event[]>): void {
  for (const { room, since } of wishes) {
    const events = rooms.get(room) ?? [];
    const newest = events.length;
    const seq = since === undefined ? undefined : seqOf(room, since, newest);
    const reason = since === undefined ? 'new' : 'expired';
    link.rooms.add(room);
    if (seq === undefined) link.joined(room, { seq: newest, recovered: false, reason });
    else link.joined(room, { seq });
    link.send(...events.slice(seq ?? newest));
    link.caughtUp(room, `${room}:${newest}`);
  }
}

/** The place of a cursor that this server gave out; undefined for any other. */
function seqOf(room: string, cursor: string, newest: number): number | undefined {
  const seq = Number(cursor.slice(room.length + 1));
  const known = cursor === `${room}:${seq}` && seq >= 0 && seq <= newest;
  return known ? seq : undefined;
}
