/**
 * The other side, in a process of its own: speaks as much of holdfast/1 as the benches need, by hand,
 * with frames that were made before. What it does for a connection stands in the URL:
 * `/flood?events=n&seq=1`, `/paced?events=n&rate=n`, `/echo`, `/sink?expect=n`, `/catch-up?rooms=n&each=n`.
 *
 * How it could mislead: it costs next to nothing and never makes a client wait, as real servers do.
 * A flood is one write, so that a client always reads full chunks. Answers to all that came in one
 * read leave in one write.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { caughtUp, eventFrames, eventId, frame, joined, numberOf } from './frames.ts';

/** Between the verdict of a join and what follows it: the client has time to get ready. */
const HEAD_START = 80;
const pong = frame({ kind: 'pong' });

const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
const server = createServer();
server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
  sockets.handleUpgrade(request, socket, head, (webSocket) => {
    webSocket.on('error', () => {});
    serve(webSocket, socket, new URL(request.url ?? '/', 'ws://localhost'));
  });
});
server.listen(0, '127.0.0.1', () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
process.on('disconnect', () => process.exit());

interface Asked {
  kind: string;
  rooms?: { room: string; since?: string }[];
}

function serve(webSocket: WebSocket, socket: Duplex, url: URL): void {
  const number = (name: string) => Number(url.searchParams.get(name) ?? 0);
  const welcome = welcomeFrame(number('heartbeat') || 25_000);
  let received = 0;
  let resumed = false;
  let corked = false;
  const answer = (bytes: Buffer) => {
    if (!corked) {
      corked = true;
      socket.cork();
      setImmediate(() => {
        corked = false;
        socket.uncork();
      });
    }
    socket.write(bytes);
  };
  const hello = (rooms: { room: string; since?: string }[]) => {
    const since = rooms[0]?.since;
    resumed = since !== undefined;
    if (since === undefined) socket.write(welcome);
    else replay(socket, { welcome, rooms, since, each: number('each') });
  };
  const join = (rooms: { room: string }[]) => {
    if (resumed) complain('A second round trip: the client asked again for what its hello named.');
    for (const { room } of rooms) answer(joined(room, 0, false));
    for (const { room } of rooms) answer(caughtUp(room, 0));
    if (url.pathname === '/catch-up') missed(rooms, 1, number('each'));
    else if (number('events') > 0) prepared(number('events'), number('seq') === 1);
    if (url.pathname === '/flood') setTimeout(() => flood(socket, url), HEAD_START);
    if (url.pathname === '/paced') setTimeout(() => pace(socket, url), HEAD_START);
  };
  webSocket.on('message', (data: Buffer) => {
    const text = data.toString();
    if (text.startsWith('{"kind":"message"')) received++;
    else if (text.startsWith('{"kind":"request"')) {
      received++;
      if (url.pathname === '/echo') answer(responseTo(text));
    } else {
      const asked = JSON.parse(text) as Asked;
      if (asked.kind === 'hello') hello(asked.rooms ?? []);
      else if (asked.kind === 'join') join(asked.rooms ?? []);
      else if (asked.kind === 'ping') socket.write(pong);
    }
  });
  webSocket.on('close', () => {
    const expected = number('expect');
    if (received < expected) complain(`Of ${expected} messages only ${received} came.`);
  });
}

function welcomeFrame(interval: number): Buffer {
  return frame({
    kind: 'welcome',
    connectionId: 'c1',
    session: 's1',
    user: 'ada',
    terms: {
      heartbeat: { interval, timeout: 5_000 },
      messagesPerSecond: 1_000_000_000,
      maxMessageSize: 1_048_576,
      maxRooms: 1_000,
      replayWindow: 120_000,
      requestWindow: 600_000,
      retrySpread: 0,
    },
  });
}

/** Without parsing: what the server spends here is time that a client with one request waits. */
function responseTo(request: string): Buffer {
  const start = request.indexOf('"requestId":"') + 13;
  const requestId = request.slice(start, request.indexOf('"', start));
  return frame({ kind: 'response', requestId, success: true, data: { id: '0123456789' } });
}

function flood(socket: Duplex, url: URL): void {
  socket.write(prepared(eventsOf(url), url.searchParams.get('seq') === '1').all);
}

/** One write for each event. Spins: a timer would gather several of them in each millisecond. */
function pace(socket: Duplex, url: URL): void {
  const { each } = prepared(eventsOf(url), url.searchParams.get('seq') === '1');
  const perMs = Number(url.searchParams.get('rate')) / 1_000;
  const started = performance.now();
  let sent = 0;
  const go = () => {
    if (socket.destroyed) return;
    const due = Math.min(each.length, Math.floor((performance.now() - started) * perMs));
    for (const event of each.slice(sent, due)) socket.write(event);
    sent = due;
    if (sent < each.length) setImmediate(go);
  };
  go();
}

function eventsOf(url: URL): number {
  return Number(url.searchParams.get('events'));
}

const floods = new Map<string, { each: Buffer[]; all: Buffer }>();

function prepared(events: number, seq: boolean): { each: Buffer[]; all: Buffer } {
  const key = `${events} ${seq}`;
  let known = floods.get(key);
  if (known === undefined) {
    const each = eventFrames(events, { seq });
    known = { each, all: Buffer.concat(each) };
    floods.set(key, known);
  }
  return known;
}

const replays = new Map<string, Buffer>();

interface Replay {
  welcome: Buffer;
  rooms: { room: string; since?: string }[];
  since: string;
  each: number;
}

/** Everything that was missed, room by room, in one write; then gets the next time ready. */
function replay(socket: Duplex, { welcome, rooms, since, each }: Replay): void {
  const first = numberOf(since) + 1;
  const astray = rooms.find(({ room, since: own }) => own !== eventId(room, first - 1));
  if (astray !== undefined) complain(`"${astray.room}" goes on from ${astray.since}.`);
  socket.write(Buffer.concat([welcome, missed(rooms, first, each)]));
  setTimeout(() => missed(rooms, first + each, each), 5);
}

function missed(rooms: readonly { room: string }[], first: number, each: number): Buffer {
  const key = `${rooms.length} ${each} ${first}`;
  const known = replays.get(key);
  if (known !== undefined) return known;
  const last = first + each - 1;
  const bytes = Buffer.concat(
    rooms.flatMap(({ room }) => [
      joined(room, first - 1, true),
      ...eventFrames(each, { first, room }),
      caughtUp(room, last),
    ]),
  );
  replays.set(key, bytes);
  return bytes;
}

/** The bench that rests on it is worth nothing: the whole run ends. */
function complain(problem: string): void {
  process.send?.({ problem });
}
