/** A CommonJS application, and one copy of each class across its entries. */
const { createServer } = require('node:http');
const { createClient, HoldfastError } = require('holdfast');
const { createHub, failure } = require('holdfast/server');
const { sqliteJournal } = require('holdfast/server/sqlite');
const { defineStorage } = require('holdfast/storage');
const { sqliteStorage } = require('holdfast/storage/sqlite');
const testing = require('holdfast/testing');
const nodeTesting = require('holdfast/testing/node');
const { webSocket } = require('holdfast/websocket');

async function main() {
  const hub = createHub({
    authenticate: () => ({ user: 'ann' }),
    authorizeRoom: () => true,
    handlers: { 'text:shout': (text) => text.toUpperCase() },
  });
  const server = createServer();
  hub.attachWebSocket(server, { path: '/realtime' });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const client = createClient({
    transport: webSocket(`ws://127.0.0.1:${server.address().port}/realtime`),
  });
  client.connect();
  const answer = await client.request('text:shout', 'hi');
  client.close();
  await hub.close();
  server.close();

  if (answer !== 'HI') throw new Error(`got ${answer}`);
  if (!(failure('EMPTY', 'Say something.') instanceof HoldfastError)) {
    throw new Error('the server has a HoldfastError of its own');
  }
  for (const entry of [defineStorage, sqliteJournal, sqliteStorage]) {
    if (typeof entry !== 'function') throw new Error('an entry is empty');
  }
  if (Object.keys(testing).length === 0 || Object.keys(nodeTesting).length === 0) {
    throw new Error('the testing entries are empty');
  }
  console.log(`Node ${process.versions.node}`);
}

main();
