/** What a page in TypeScript sees, without Node's types and with every declaration checked. */
import { createClient, HoldfastError, plain } from 'holdfast';
import { ReconnectingWebSocket } from 'holdfast/drop-in';
import { fallback } from 'holdfast/fallback';
import { messagePack } from 'holdfast/message-pack';
import { polling } from 'holdfast/polling';
import { sse } from 'holdfast/sse';
import { indexedDbStorage } from 'holdfast/storage/indexed-db';
import { webSocket } from 'holdfast/websocket';

export const client = createClient({
  transport: fallback([webSocket('/realtime'), sse('/realtime'), polling('/realtime')]),
  outbox: { storage: indexedDbStorage() },
});
client.onError((error) => error instanceof HoldfastError && error.code);

export const binary = webSocket('/realtime', { codec: messagePack() });
export const foreign = createClient({ transport: webSocket('/feed'), protocol: plain({}) });
export const socket: EventTarget = new ReconnectingWebSocket('/realtime');
