/**
 * The floor: `ws`, `JSON.parse` and `JSON.stringify`, and the same conversation by hand. It never
 * reconnects, drops no duplicate, keeps no order, checks nothing and has no timeouts.
 *
 * How it could mislead: nobody ships this. It is the least that any client on `ws` can cost, not an
 * alternative to one. Requests have a Map and a promise each, since without them there is no answer.
 */
import { setImmediate } from 'node:timers/promises';
import { WebSocket } from 'ws';
import * as z from 'zod';
import type { Connection, ConnectOptions, Contender, Returning } from '../bench.ts';
import { EVENT_TYPE, eventId, ROOM } from '../frames.ts';

interface Frame {
  kind: string;
  type?: string;
  requestId?: string;
  payload?: unknown;
  data?: unknown;
  caughtUp?: boolean;
}

const schema = z.object({ id: z.number(), from: z.string(), text: z.string() });

export const contender: Contender = { connect, returning };

async function connect(url: string, options: ConnectOptions = {}): Promise<Connection> {
  const { heartbeat, checked = false } = options;
  const socket = dial(heartbeat === undefined ? url : `${url}?heartbeat=${heartbeat}`);
  const responses = new Map<string, (data: unknown) => void>();
  let listener: (payload: unknown) => void = () => {};
  let requests = 0;
  let onVerdict: (() => void) | undefined;
  let welcomed: (() => void) | undefined;
  socket.on('message', (bytes: Buffer) => {
    const frame = JSON.parse(bytes.toString()) as Frame;
    switch (frame.kind) {
      case 'event':
        if (frame.type !== EVENT_TYPE) break;
        listener(checked ? schema.parse(frame.payload) : frame.payload);
        break;
      case 'response': {
        const requestId = frame.requestId ?? '';
        const resolve = responses.get(requestId);
        responses.delete(requestId);
        resolve?.(frame.data);
        break;
      }
      case 'room':
        if (frame.caughtUp) onVerdict?.();
        break;
      case 'welcome':
        welcomed?.();
        break;
    }
  });
  await new Promise<void>((resolve, reject) => {
    welcomed = resolve;
    socket.on('error', reject);
    socket.on('open', () => socket.send(hello([])));
  });
  const pulse = heartbeat === undefined ? undefined : setInterval(ping, heartbeat, socket);
  return {
    join: () =>
      new Promise((resolve) => {
        onVerdict = resolve;
        socket.send(JSON.stringify({ kind: 'join', rooms: [{ room: ROOM }] }));
      }),
    onEvent(hear) {
      listener = hear;
    },
    send(payload) {
      const timestamp = Date.now();
      socket.send(JSON.stringify({ kind: 'message', type: 'message:send', timestamp, payload }));
    },
    request(payload) {
      const requestId = `r${++requests}`;
      const timestamp = Date.now();
      const type = 'message:send';
      socket.send(JSON.stringify({ kind: 'request', requestId, type, timestamp, payload }));
      return new Promise((resolve) => responses.set(requestId, resolve));
    },
    async drained() {
      while (socket.bufferedAmount > 0) await setImmediate();
    },
    close() {
      clearInterval(pulse);
      socket.close();
    },
  };
}

/** Every time a new socket, the `hello` a client with these cursors would send, and each frame parsed. */
async function returning(
  url: string,
  { rooms, each }: { rooms: number; each: number },
): Promise<Returning> {
  const names = Array.from({ length: rooms }, (_, index) => roomName(index));
  let last = 0;
  let socket: WebSocket | undefined;
  return {
    again: () =>
      new Promise((resolve, reject) => {
        const next = dial(`${url}?rooms=${rooms}&each=${each}`);
        socket?.close();
        socket = next;
        let started = 0;
        let events = 0;
        let complete = 0;
        next.on('error', reject);
        next.on('open', () => {
          const wishes = names.map((room) => ({ room, since: eventId(room, last) }));
          started = performance.now();
          next.send(hello(wishes));
        });
        next.on('message', (bytes: Buffer) => {
          const frame = JSON.parse(bytes.toString()) as Frame;
          if (frame.kind === 'event') events++;
          else if (frame.caughtUp && ++complete === rooms && events === rooms * each) {
            last += each;
            resolve(performance.now() - started);
          }
        });
      }),
    close: () => socket?.close(),
  };
}

export function roomName(index: number): string {
  return `conversation:${1000 + index}`;
}

function dial(url: string): WebSocket {
  return new WebSocket(url, ['holdfast.1'], { perMessageDeflate: false });
}

function ping(socket: WebSocket): void {
  socket.send('{"kind":"ping"}');
}

function hello(rooms: { room: string; since?: string }[]): string {
  return JSON.stringify({ kind: 'hello', protocol: 1, clientId: 'floor', link: 1, rooms });
}
