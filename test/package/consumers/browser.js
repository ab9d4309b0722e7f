/** A page: asks the hub to shout, over the first wire that works, or over one alone. */
import { createClient } from 'holdfast';
import { ReconnectingWebSocket } from 'holdfast/drop-in';
import { fallback } from 'holdfast/fallback';
import { messagePack } from 'holdfast/message-pack';
import { polling } from 'holdfast/polling';
import { sse } from 'holdfast/sse';
import { indexedDbStorage } from 'holdfast/storage/indexed-db';
import { webSocket } from 'holdfast/websocket';

const wires = {
  binary: (url) => webSocket(url, { codec: messagePack() }),
  sse: (url) => sse(url.replace('ws:', 'http:')),
  polling: (url) => polling(url.replace('ws:', 'http:')),
  fallback: (url) => fallback([webSocket(url), wires.sse(url), wires.polling(url)]),
};

globalThis.wires = Object.keys(wires);
globalThis.isDropIn =
  new ReconnectingWebSocket('ws://unused', [], { startClosed: true }).CLOSED === 3;

globalThis.shout = async (url, text, wire) => {
  const client = createClient({
    transport: wires[wire](url),
    outbox: { storage: indexedDbStorage({ name: 'consumer' }) },
  });
  client.connect();
  const answer = await client.request('text:shout', text);
  client.close();
  return answer;
};
