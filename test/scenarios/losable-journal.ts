/** A journal that can lose everything it holds while hubs go on using it. */
import { type Journal, type JournalNode, memoryJournal } from 'holdfast/server';

export interface LosableJournal extends Journal {
  /** All events, claims and sessions are gone; rooms go on in a new epoch. */
  lose(): void;
}

export function losableJournal(): LosableJournal {
  let behind = memoryJournal();
  const renewals = new Set<() => void>();
  return {
    replayWindow: behind.replayWindow,
    requestWindow: behind.requestWindow,
    lose() {
      behind = memoryJournal();
      for (const renew of renewals) renew();
    },
    open(user) {
      const followed = new Set<string>();
      let node = behind.open(user);
      renewals.add(() => {
        node = behind.open(user);
        for (const room of followed) void node.follow(room);
      });
      const facade: JournalNode = {
        follow(room) {
          followed.add(room);
          return node.follow(room);
        },
        unfollow(room) {
          followed.delete(room);
          node.unfollow(room);
        },
        tail: (room) => node.tail(room),
        read: (room, since, limit) => node.read(room, since, limit),
        write: (writes) => node.write(writes),
        link: (client, link) => node.link(client, link),
        unlink: (client, link) => node.unlink(client, link),
        known: (client) => node.known(client),
        claim: (claim) => node.claim(claim),
        recall: (client, requestId) => node.recall(client, requestId),
        forget: (client, requestIds) => node.forget(client, requestIds),
        tell: (text) => node.tell(text),
        close: () => node.close(),
      };
      return facade;
    },
  };
}
