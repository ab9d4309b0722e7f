/** A journal that is watched: whatever it takes is written down beside it. */
import type { Journal, JournalNode } from 'holdfast/server';
import { placeOf, type Truth } from './truth.js';

export interface Witness {
  readonly truth: Truth;
  /** The process has crashed: what its journal says is heard by nobody. */
  isOver(): boolean;
  /** Hears where the journal contradicts itself. */
  wrong(message: string): void;
}

export function witnessed(inner: Journal, { truth, isOver, wrong }: Witness): Journal {
  const tell = (message: string | null) => {
    if (message !== null) wrong(message);
  };
  return {
    replayWindow: inner.replayWindow,
    requestWindow: inner.requestWindow,
    open(user) {
      const node = inner.open(user);
      const watched: JournalNode = {
        async follow(room) {
          const tail = await node.follow(room);
          if (!isOver()) tell(truth.learned(room, tail));
          return tail;
        },
        async write(writes) {
          const results = await node.write(writes);
          results.forEach((result, index) => {
            if (!result.accepted) return;
            writes[index]?.events.forEach((draft, nth) => {
              const place = placeOf(result.cursors[nth] ?? '');
              tell(truth.committed(draft.room, place, payloadOf(draft.body)));
            });
          });
          return results;
        },
        unfollow: (room) => node.unfollow(room),
        tail: (room) => node.tail(room),
        read: (room, since, limit) => node.read(room, since, limit),
        link: (client, link) => node.link(client, link),
        unlink: (client, link) => node.unlink(client, link),
        claim: (claim) => node.claim(claim),
        known: (client) => node.known(client),
        recall: (client, requestId) => node.recall(client, requestId),
        forget: (client, requestIds) => node.forget(client, requestIds),
        tell: (text) => node.tell(text),
        close: () => node.close(),
      };
      return watched;
    },
  };
}

function payloadOf(body: string): string {
  const parsed: { payload: unknown } = JSON.parse(`{${body}`);
  return JSON.stringify(parsed.payload);
}
