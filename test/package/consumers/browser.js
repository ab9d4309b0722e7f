/** A page: asks the hub to shout. */
import { createClient } from 'holdfast';
import { indexedDbStorage } from 'holdfast/storage/indexed-db';
import { webSocket } from 'holdfast/websocket';

globalThis.shout = async (url, text) => {
  const client = createClient({
    transport: webSocket(url),
    outbox: { storage: indexedDbStorage({ name: 'consumer' }) },
  });
  client.connect();
  const answer = await client.request('text:shout', text);
  client.close();
  return answer;
};
