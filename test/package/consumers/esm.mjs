/** An ES module application: a hub, a client, a request and the event it brings. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createClient, defineContract, HoldfastError } from 'holdfast';
import manifest from 'holdfast/package.json' with { type: 'json' };
import { createHub, failure } from 'holdfast/server';
import { sqliteJournal } from 'holdfast/server/sqlite';
import { sqliteStorage } from 'holdfast/storage/sqlite';
import * as testing from 'holdfast/testing';
import * as nodeTesting from 'holdfast/testing/node';
import { webSocket } from 'holdfast/websocket';
import { z } from 'zod';

const chat = defineContract({
  requests: { 'message:send': { payload: z.object({ text: z.string() }), data: z.string() } },
  events: { 'message:received': z.object({ text: z.string() }) },
});
const folder = mkdtempSync(path.join(tmpdir(), 'holdfast-esm-'));
const hub = createHub({
  contract: chat,
  journal: sqliteJournal({ path: path.join(folder, 'journal.db') }),
  authenticate: () => ({ user: 'ann' }),
  authorizeRoom: () => true,
  handlers: {
    'message:send': ({ text }, context) => {
      if (text === '') throw failure('EMPTY', 'Say something.');
      context.publish(context.room, 'message:received', { text });
      return text.toUpperCase();
    },
  },
});
const server = createServer();
hub.attachWebSocket(server, { path: '/realtime' });
await new Promise((done) => server.listen(0, '127.0.0.1', done));

const client = createClient({
  contract: chat,
  outbox: { storage: sqliteStorage({ path: path.join(folder, 'outbox.db') }) },
  transport: webSocket(`ws://127.0.0.1:${server.address().port}/realtime`),
});
client.connect();
const room = client.room('lobby');
const heard = new Promise((resolve) => room.on('message:received', resolve));
await room.join();
const answer = await room.request('message:send', { text: 'hi' });
const { text } = await heard;
const refused = await room.request('message:send', { text: '' }).catch((error) => error);
client.close();
await hub.close();
server.close();
rmSync(folder, { recursive: true });

if (answer !== 'HI' || text !== 'hi') throw new Error(`got ${answer}, ${text}`);
if (!(refused instanceof HoldfastError) || refused.code !== 'EMPTY') throw refused;
if (Object.keys(testing).length === 0 || Object.keys(nodeTesting).length === 0) {
  throw new Error('the testing entries are empty');
}
console.log(`Node ${process.versions.node}, holdfast ${manifest.version}`);
