/** What runs in the pages of device.test.ts: one client in one room, and a diary of what it all saw. */
import { type Client, createClient } from 'holdfast';
import { indexedDbStorage } from 'holdfast/storage/indexed-db';
import { webSocket } from 'holdfast/websocket';

interface Device {
  readonly client: Client;
  readonly diary: Diary;
  /** Listens and connects. */
  start(): void;
}

export interface Diary {
  /** Statuses without repeats. */
  readonly statuses: string[];
  /** The numbers that were published to the room. */
  readonly numbers: unknown[];
  /** What the browser told the page, such as `pageshow persisted`. */
  readonly signals: string[];
  /** Codes of what the client reported. */
  readonly errors: string[];
  /** Outcomes of requests, in the order they came. */
  readonly answers: unknown[];
  /** Kinds of frames that the client wrote, and the ones it received. */
  readonly sent: string[];
  readonly received: string[];
}

const diary: Diary = {
  ...{ statuses: [], numbers: [], signals: [], errors: [], answers: [] },
  ...{ sent: [], received: [] },
};

for (const type of ['pagehide', 'pageshow', 'online', 'offline']) {
  addEventListener(type, (event) => {
    const isPersisted = 'persisted' in event && event.persisted === true;
    diary.signals.push(isPersisted ? `${type} persisted` : type);
  });
}
for (const type of ['visibilitychange', 'freeze', 'resume']) {
  document.addEventListener(type, () => {
    diary.signals.push(type === 'visibilitychange' ? document.visibilityState : type);
  });
}

const query = new URLSearchParams(location.search);
const client = createClient({
  transport: webSocket(`ws://127.0.0.1:${query.get('port') ?? location.port}/realtime`),
  ...(query.has('stored') && { outbox: { storage: indexedDbStorage() } }),
  ...(JSON.parse(query.get('options') ?? '{}') as object),
});
client.onState(({ status }) => {
  if (diary.statuses.at(-1) !== status) diary.statuses.push(status);
});
client.onError((error) => diary.errors.push(error.code));
client.onTrace(({ fact, orders }) => {
  if (fact.fact === 'received') diary.received.push(fact.frame.kind);
  for (const order of orders) {
    if (order.order !== 'transmit') continue;
    for (const frame of order.frames) {
      diary.sent.push(typeof frame === 'object' && 'kind' in frame ? frame.kind : 'request');
    }
  }
});
const room = client.room('r');
room.on('n:next', (number) => diary.numbers.push(number));

function start(): void {
  void room.join();
  void client.connect();
}

/** What the test takes hold of. */
export function device(): Device {
  return { client, diary, start };
}

if (!query.has('wait')) start();
