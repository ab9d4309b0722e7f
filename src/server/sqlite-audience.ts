/** The nodes of this host: which rooms they follow, how far those were told, and what else they hear. */
import type { Appended, JournalUser, Position } from './journal.js';
import type { Heard, News } from './sqlite-hosts.js';
import type { Rooms } from './sqlite-rooms.js';

/** A hub that has the journal open here. */
export interface StoreNode {
  readonly id: number;
  readonly user: JournalUser;
  end(): void;
}

interface Followed {
  readonly nodes: Set<StoreNode>;
  /** The tail that they were told. */
  told: Position;
}

/** Events told at most; readers read the rest. */
const MOST_TOLD = 256;

export class Audience {
  readonly nodes = new Map<number, StoreNode>();
  readonly #rooms: Rooms;
  readonly #followed = new Map<string, Followed>();
  /** Rooms that others wrote to; one stays here where the disk fails, for the next time. */
  readonly #unheard = new Set<string>();

  constructor(rooms: Rooms) {
    this.#rooms = rooms;
  }

  leave(node: StoreNode): void {
    this.nodes.delete(node.id);
    for (const room of [...this.#followed.keys()]) this.unfollow(room, node);
  }

  follow(room: string, node: StoreNode, tail: Position): void {
    const followed = this.#followed.get(room);
    if (followed === undefined) this.#followed.set(room, { nodes: new Set([node]), told: tail });
    else followed.nodes.add(node);
  }

  unfollow(room: string, node: StoreNode): void {
    const followed = this.#followed.get(room);
    followed?.nodes.delete(node);
    if (followed?.nodes.size === 0) this.#followed.delete(room);
  }

  /** To every node here that follows the room. */
  appended(news: Appended): void {
    const followed = this.#followed.get(news.room);
    if (followed === undefined) return;
    followed.told = { epoch: news.epoch, seq: news.seq };
    for (const node of followed.nodes) node.user.appended(news);
  }

  /** What other hosts told. */
  hear({ news, missed }: Heard): void {
    for (const room of missed ? this.#followed.keys() : []) this.#unheard.add(room);
    for (const each of news) {
      if (each.kind === 'room') this.#unheard.add(each.name);
      else this.deliver(each, 0);
    }
    for (const room of this.#unheard) {
      this.#announce(room);
      this.#unheard.delete(room);
    }
  }

  /** To every node here but one. */
  deliver({ kind, name, detail }: News, except: number): void {
    for (const { id, user } of [...this.nodes.values()]) {
      if (id === except) continue;
      if (kind === 'settled') user.settled(name, detail);
      else if (kind === 'linked') user.linked(name, Number(detail));
      else if (kind === 'told') user.told(detail);
    }
  }

  #announce(name: string): void {
    const followed = this.#followed.get(name);
    const room = followed === undefined ? undefined : this.#rooms.known(name);
    if (followed === undefined || room === undefined) return;
    const { told } = followed;
    const { epoch, seq } = room;
    if (told.epoch === epoch && told.seq >= seq) return;
    const slice = this.#rooms.read(room, told, MOST_TOLD);
    this.appended({ room: name, epoch, seq, events: slice.gap === undefined ? slice.events : [] });
  }
}
