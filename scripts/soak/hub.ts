/** The hub of the soak, in a process of its own that is killed and started again. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { createHub, type Journal, memoryJournal } from 'holdfast/server';
import { seededDice } from 'holdfast/testing';
import * as z from 'zod';
import { contract } from './contract.ts';
import type { Asked, HubPlan, Told } from './hub-process.ts';
import { openLedger } from './ledger.ts';
import { heapNow } from './memory.ts';

/** Milliseconds; clients move within half of them. */
const LEAVING = 16_000;

const plan = JSON.parse(process.argv[2] ?? '') as HubPlan;
const { run } = plan;
const dice = seededDice(plan.seed + run);
const ledger = openLedger(plan.ledger);
const hub = createHub({
  contract,
  journal: await openJournal(),
  credentials: z.object({ token: z.string() }),
  // A client's name, and how many tokens it has had.
  authenticate: ({ auth }) => ({ user: auth.token.slice(0, auth.token.lastIndexOf('.')) }),
  handlers: {
    'count:add': async ({ number }, { requestId, room, user, publish }) => {
      ledger.runs({ requestId, from: user, room, number });
      await work();
      publish(room, 'count:added', { from: user, number, run });
      return { run };
    },
    'echo:ask': async ({ number }, { requestId, user }) => {
      ledger.runs({ requestId, from: user, number });
      await work();
      return { run };
    },
  },
  heartbeat: plan.heartbeat,
  onError: (error, about) => console.error(`hub ${run}, ${about}:`, error),
});
let isFeeding = false;
let isWatched = false;
const http = createServer((request, response) => {
  answer(request, response).catch(() => response.destroy());
});
hub.attachWebSocket(http);

process.on('message', (asked: Asked) => {
  if (asked.ask === 'start the feed') void publish();
  else if (asked.ask === 'stop the feed') isFeeding = false;
  else if (asked.ask === 'leave') void leave();
  else if (asked.ask === 'say when you write') isWatched = true;
  else tell({ told: 'measure', ...heapNow(), metrics: hub.metrics() });
});
// Whoever started it is gone, and nobody would ever end it.
process.on('disconnect', () => process.exit());
http.listen(0, '127.0.0.1', () =>
  tell({ told: 'port', port: (http.address() as AddressInfo).port }),
);

/** A steady state within a minute, so that memory can be compared; far longer than any outage. */
async function openJournal(): Promise<Journal> {
  const bounds = { maxAge: 40_000, requestWindow: 40_000 };
  if (plan.journal === 'memory') return memoryJournal(bounds);
  const { sqliteJournal } = await import('holdfast/server/sqlite');
  return sqliteJournal({ ...bounds, path: plan.database });
}

/** Most are quick; a process that is killed dies in the middle of some. */
async function work(): Promise<void> {
  const luck = dice();
  if (luck < 0.3) await pause(200 + dice() * 800);
  else if (luck < 0.6) await pause(dice() * 30);
}

/** Numbers for one room after the other; the next of a room only when the journal has its last. */
async function publish(): Promise<void> {
  isFeeding = true;
  ledger.reload();
  while (isFeeding) {
    for (const room of plan.feed.rooms) {
      await pause(plan.feed.pace);
      if (!isFeeding) break;
      const number = ledger.room(room).feed + 1;
      ledger.intends(room, number);
      const published = hub.publish(room, 'feed:ticked', { number, run });
      // Whoever is told now kills this process about as the journal writes.
      if (isWatched) tell({ told: 'writing' });
      await published;
      ledger.published(room, number);
    }
  }
  tell({ told: 'rests' });
}

/** Everybody is asked to move, and what runs is finished. */
async function leave(): Promise<void> {
  await hub.close({ drain: true, over: LEAVING });
  process.exit();
}

/** The state of a room. Its cursor is taken first: the state holds at least what the cursor covers. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const room = new URL(request.url ?? '/', 'http://localhost').searchParams.get('room') ?? '';
  const eventId = await hub.cursor(room);
  const { feed, counts } = ledger.room(room);
  response.setHeader('Connection', 'close');
  response.end(JSON.stringify({ eventId, run, feed, counts: Object.fromEntries(counts) }));
}

function tell(told: Told): void {
  process.send?.(told);
}
