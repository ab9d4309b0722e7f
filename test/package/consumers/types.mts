/** What a TypeScript application sees; compiled as ES module and as CommonJS. */
import { type ConnectionState, createClient, defineContract, HoldfastError } from 'holdfast';
import { ReconnectingWebSocket } from 'holdfast/drop-in';
import { fallback } from 'holdfast/fallback';
import { messagePack } from 'holdfast/message-pack';
import { polling } from 'holdfast/polling';
import { createHub } from 'holdfast/server';
import { sqliteJournal } from 'holdfast/server/sqlite';
import { socketIo } from 'holdfast/socket.io';
import { sse } from 'holdfast/sse';
import { indexedDbStorage } from 'holdfast/storage/indexed-db';
import { virtualClock } from 'holdfast/testing';
import { webhooks } from 'holdfast/webhook';
import { webSocket } from 'holdfast/websocket';
import * as z from 'zod';

const chat = defineContract({
  requests: {
    'message:send': {
      payload: z.object({ text: z.string() }),
      data: z.object({ id: z.string() }),
    },
  },
  events: { 'message:received': z.object({ text: z.string() }) },
});

const client = createClient({
  contract: chat,
  transport: webSocket('wss://chat.example.com'),
  outbox: { storage: indexedDbStorage() },
});
client.onState((state: ConnectionState) => state.status === 'connected');
client.on('message:received', (message) => message.text.trim());
// @ts-expect-error The contract has no such event.
client.on('message:lost', () => {});
// @ts-expect-error The text of a message is a string.
client.on('message:received', (message) => message.text.toFixed());

export const wires = [
  webSocket('wss://chat.example.com', { codec: messagePack() }),
  socketIo('https://chat.example.com', { transports: ['websocket'] }),
  fallback([
    sse('https://chat.example.com'),
    polling('https://chat.example.com', { wait: 20_000 }),
  ]),
];
export const socket: WebSocket = new ReconnectingWebSocket('wss://chat.example.com');
export const hooks = webhooks({ contract: chat, secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' });

export async function send(text: string): Promise<string> {
  // @ts-expect-error The contract has no such request.
  await client.request('message:burn', {});
  // @ts-expect-error A text is needed.
  await client.request('message:send', {});
  const { id } = await client.request('message:send', { text }, { room: 'lobby' });
  return id;
}

export const hub = createHub({
  contract: chat,
  journal: sqliteJournal({ path: '/var/lib/chat/journal.db' }),
  authenticate: () => ({ user: 'ann' }),
  authorizeRoom: () => true,
  handlers: { 'message:send': ({ text }) => ({ id: text.trim() }) },
});

export const rest: [string, unknown] = [new HoldfastError('EMPTY', '').code, virtualClock];
