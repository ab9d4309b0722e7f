/**
 * holdfast as it ships: the client of dist/ over its WebSocket transport, everything on that is on by
 * default. Only the limits that would slow a flood down (messages per second) are lifted.
 *
 * How it could mislead: one listener, no `onTrace`, no `onGap`, no `auth`, one room at a time.
 */
import { type Client, createClient, defineContract } from 'holdfast';
import { webSocket } from 'holdfast/websocket';
import * as z from 'zod';
import type { Connection, ConnectOptions, Contender, Returning } from '../bench.ts';
import { EVENT_TYPE, ROOM } from '../frames.ts';
import { roomName } from './floor.ts';

export const contender: Contender = { connect, returning };

const contract = defineContract({
  events: { [EVENT_TYPE]: z.object({ id: z.number(), from: z.string(), text: z.string() }) },
});
const limits = { messagesPerSecond: 1_000_000_000 };

async function connect(url: string, options: ConnectOptions = {}): Promise<Connection> {
  const { heartbeat, checked = false, maxRequests } = options;
  const transport = webSocket(heartbeat === undefined ? url : `${url}?heartbeat=${heartbeat}`);
  const outbox =
    maxRequests === undefined
      ? {}
      : { maxMessages: maxRequests, maxInFlight: maxRequests, maxBytes: maxRequests * 1_000 };
  const settings = { transport, limits, outbox };
  const client: Client = checked ? createClient({ ...settings, contract }) : createClient(settings);
  await client.connect();
  return {
    join: () => client.room(ROOM).join(),
    onEvent: (listener) => void client.on(EVENT_TYPE, listener),
    send: (payload) => client.send('message:send', payload),
    request: (payload) => client.request('message:send', payload),
    drained: () => client.drained(),
    close: () => client.close(),
  };
}

async function returning(
  url: string,
  { rooms, each }: { rooms: number; each: number },
): Promise<Returning> {
  const inner = webSocket(`${url}?rooms=${rooms}&each=${each}`);
  let started = 0;
  const client = createClient({
    transport: {
      ...inner,
      dial: (hello, on) =>
        inner.dial(() => {
          started = performance.now();
          return hello();
        }, on),
    },
  });
  let events = 0;
  let settle: (() => void) | undefined;
  client.on(EVENT_TYPE, () => {
    events++;
  });
  client.onState(({ synced }) => {
    if (synced && events === rooms * each) settle?.();
  });
  await client.connect();
  await Promise.all(
    Array.from({ length: rooms }, (_, index) => client.room(roomName(index)).join()),
  );
  return {
    again: () =>
      new Promise((resolve) => {
        events = 0;
        settle = () => resolve(performance.now() - started);
        client.reconnect();
      }),
    close: () => client.close(),
  };
}
