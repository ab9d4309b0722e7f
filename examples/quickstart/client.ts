import { type Client, createClient } from 'holdfast';
import { webSocket } from 'holdfast/websocket';
import { chat } from './contract.ts';

// Typed by hand: as soon as onGap asks this very client, TypeScript cannot infer it (TS7022).
const client: Client<typeof chat> = createClient({
  contract: chat,
  transport: webSocket(process.env.URL ?? 'ws://127.0.0.1:8080/realtime'),
  // Yours: a token of the same user, a fresh one when the last has expired.
  auth: ({ reason }) => ({ token: `ada.${reason === 'expired' ? Date.now() : 'first'}` }),
  onGap: async ({ room, reason }) => {
    // The room's history is gone: fetch its state here. Return the eventId it is current to.
    console.log(`fetching the state of ${room}: ${reason}`);
  },
});

let badge = '';
client.onState(({ status, nextRetryAt }) => {
  const text =
    nextRetryAt === null ? status : `${status}, next try at ${nextRetryAt.toISOString()}`;
  if (text !== badge) console.log(text);
  badge = text;
});
client.connect(); // offline? it keeps trying

const room = client.room('conversation:456');
room.on('message:received', ({ from, text }) => console.log(`${from}: ${text}`));
await room.join(); // resolves joined and caught up

const { id } = await room.request('message:send', { text: 'hi' }); // runs once, through any fault
console.log(`sent as ${id}`);
client.close();
