/** One room as this hub sees it: where its tail is, and who reads it. */
import type { Appended, JournalNode, Position } from './journal.js';

/** Whoever stands in the room. */
export interface FeedReader {
  appended(news: Appended): void;
}

export class Feeds {
  readonly journal: JournalNode;
  readonly #feeds = new Map<string, Feed>();

  constructor(journal: JournalNode) {
    this.journal = journal;
  }

  get size(): number {
    return this.#feeds.size;
  }

  /** Follows the room as long as somebody holds it; each `hold` wants one `release`. */
  hold(room: string): Feed {
    let feed = this.#feeds.get(room);
    if (feed === undefined) {
      feed = new Feed(room, this.journal);
      this.#feeds.set(room, feed);
    }
    feed.holders++;
    return feed;
  }

  release(feed: Feed): void {
    feed.holders--;
    if (feed.holders > 0) return;
    this.#feeds.delete(feed.room);
    this.journal.unfollow(feed.room);
  }

  appended(news: Appended): void {
    this.#feeds.get(news.room)?.appended(news);
  }
}

export class Feed {
  readonly room: string;
  readonly journal: JournalNode;
  /** Resolves once the tail is known. */
  readonly ready: Promise<void>;
  readonly readers = new Set<FeedReader>();
  holders = 0;
  /** Undefined until the journal has answered. */
  tail: Position | undefined;
  /** What was told before the journal had answered. */
  #early: Position | undefined;

  constructor(room: string, journal: JournalNode) {
    this.room = room;
    this.journal = journal;
    this.ready = this.#follow();
    this.ready.catch(() => {});
  }

  appended(news: Appended): void {
    const tail = { epoch: news.epoch, seq: news.seq };
    if (this.tail === undefined) {
      this.#early = tail;
      return;
    }
    if (news.epoch === this.tail.epoch && news.seq <= this.tail.seq) return;
    this.tail = tail;
    for (const reader of this.readers) reader.appended(news);
  }

  async #follow(): Promise<void> {
    const tail = await this.journal.follow(this.room);
    const early = this.#early;
    const newer = early !== undefined && (early.epoch !== tail.epoch || early.seq > tail.seq);
    this.tail = newer ? early : tail;
  }
}
