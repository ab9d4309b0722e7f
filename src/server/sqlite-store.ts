/** The file of a journal, opened: shared by the nodes of this host, watched for what others write. */
import type { Clock } from '../lib/clock.js';
import type { JournalUser } from './journal.js';
import type { Bounds } from './journal-bounds.js';
import { Audience, type StoreNode } from './sqlite-audience.js';
import { Clients } from './sqlite-clients.js';
import { type After, Commits, type CommitsSetup } from './sqlite-commits.js';
import { type Database, int } from './sqlite-database.js';
import { explained, openFile } from './sqlite-file.js';
import { Hosts, type News } from './sqlite-hosts.js';
import { Requests } from './sqlite-requests.js';
import { Rooms } from './sqlite-rooms.js';
import { Sweep } from './sqlite-sweep.js';

export interface StoreSettings {
  /** Absolute. */
  readonly path: string;
  readonly bounds: Bounds;
  readonly batch: CommitsSetup['batch'];
  readonly durable: boolean;
  readonly pollInterval: number;
  readonly clock: Clock | undefined;
}

/** How often to look for others while there are none, in ms. */
const LONELY_POLL = 100;
/** How often to look whether the others are alive, in ms. */
const LIFE_INTERVAL = 500;
export class SqliteStore {
  readonly commits: Commits;
  readonly rooms: Rooms;
  readonly clients: Clients;
  readonly requests: Requests;
  readonly audience: Audience;
  readonly #database: Database;
  readonly #settings: StoreSettings;
  readonly #clock: Clock;
  readonly #hosts: Hosts;
  readonly #sweep: Sweep;
  #id: () => string;
  /** Changes when another connection has written. */
  #version = 0;
  #lookedAt = 0;
  #standing: 'alone' | 'among others' | 'dead' = 'among others';
  #cancelPoll = () => {};
  #isOpen = true;

  /** @throws Error where the file cannot be used. */
  constructor(settings: StoreSettings, user: JournalUser) {
    this.#settings = settings;
    this.#clock = settings.clock ?? user.clock;
    this.#id = () => user.id();
    const { path, bounds, batch, durable } = settings;
    this.#database = openFile(path);
    const setup = { bounds, id: () => this.#id(), now: () => this.now() };
    this.rooms = new Rooms(this.#database, setup);
    this.clients = new Clients(this.#database, setup);
    this.requests = new Requests(this.#database, setup, this.clients);
    this.audience = new Audience(this.rooms);
    this.#hosts = new Hosts(this.#database, path);
    this.#sweep = new Sweep(this.rooms, this.clients);
    this.commits = new Commits(this.#database, {
      batch,
      durable,
      explained: (error) => explained(path, error),
    });
    this.#enter();
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Unix milliseconds: the monotonic clock of one process says nothing to another. */
  now(): number {
    return Math.floor(this.#clock.date());
  }

  /** @param made gets the id of the new node */
  join<T extends StoreNode>(user: JournalUser, made: (id: number) => T): T {
    this.#id = () => user.id();
    try {
      const node = this.commits.now('light', () => made(this.#hosts.node()));
      this.audience.nodes.set(node.id, node);
      return node;
    } catch (error) {
      if (this.audience.nodes.size === 0) this.#close();
      throw error;
    }
  }

  /** The last one closes the file. */
  leave(node: StoreNode): void {
    if (!this.audience.nodes.has(node.id)) return;
    this.commits.flush();
    this.audience.leave(node);
    const isLast = this.audience.nodes.size === 0;
    try {
      this.commits.now('light', (after) => {
        this.#dropNode(node.id, after);
        if (isLast) this.#hosts.leave();
      });
    } catch {
      // The disk fails: without its lock this host is as dead as one that crashed.
    }
    if (isLast) this.#close();
  }

  /**
   * Whether somebody of another host must be told.
   * @throws Fenced where this host is no longer in the books.
   */
  isAmongOthers(): boolean {
    this.#standing = this.#hosts.standing();
    if (this.#standing === 'dead') throw new Fenced();
    return this.#standing === 'among others';
  }

  isAlive(node: number, after: After): boolean {
    if (this.audience.nodes.has(node)) return true;
    const host = this.#hosts.hostOf(node);
    if (host === undefined) return false;
    if (this.#hosts.isAlive(host)) return true;
    this.#bury(host, after);
    return false;
  }

  /** Tells every other node, here and elsewhere, once it is committed. */
  tell(news: News, { except, after }: { except: number; after: After }): void {
    if (this.isAmongOthers()) this.#hosts.tell(news);
    after(() => this.audience.deliver(news, except));
  }

  /** To other hosts, of a room that was written to. */
  tellAppended(room: string): void {
    if (this.isAmongOthers()) this.#hosts.tell({ kind: 'room', name: room, detail: '' });
  }

  /** What others wrote before comes first. */
  hearFirst(): void {
    if (this.#standing === 'among others') this.hear();
  }

  hear(): void {
    if (this.#isOpen) this.audience.hear(this.#hosts.hear());
  }

  /** Every node here is dead from now on. */
  fence(): void {
    for (const node of [...this.audience.nodes.values()]) {
      node.end();
      node.user.fenced?.();
    }
  }

  #enter(): void {
    try {
      this.commits.now('light', (after) => {
        this.#hosts.enter(!this.#settings.durable);
        for (const host of this.#hosts.dead()) this.#bury(host, after);
        this.#standing = this.#hosts.standing();
      });
    } catch (error) {
      this.#close();
      throw error;
    }
    this.#version = this.#readVersion();
    this.#lookedAt = this.#clock.now();
    this.#sweep.start(this.#lookedAt);
    this.#schedule();
  }

  #close(): void {
    this.#isOpen = false;
    this.#cancelPoll();
    this.#database.close();
    this.#hosts.release();
  }

  #bury(host: number, after: After): void {
    for (const node of this.#hosts.nodesOf(host)) this.#dropNode(node, after);
    if (!this.#hosts.bury(host)) return;
    this.rooms.discardAll();
    this.clients.renewSessions();
  }

  #dropNode(node: number, after: After): void {
    this.rooms.abandon(node);
    this.clients.abandon(node);
    this.#hosts.dropNode(node);
    for (const { client, requestId } of this.requests.of(node)) {
      this.tell({ kind: 'settled', name: client, detail: requestId }, { except: node, after });
    }
  }

  #schedule(): void {
    const wait = this.#standing === 'alone' ? LONELY_POLL : this.#settings.pollInterval;
    this.#cancelPoll = this.#clock.after(wait, () => {
      try {
        this.#poll();
      } catch {
        // The disk fails: whoever asks for something hears of it.
      }
      if (this.#isOpen) this.#schedule();
    });
  }

  #poll(): void {
    const version = this.#readVersion();
    if (version !== this.#version) {
      this.#standing = this.#hosts.standing();
      this.hear();
      this.#version = version;
    }
    const now = this.#clock.now();
    const looks = this.#standing !== 'alone' && now - this.#lookedAt >= LIFE_INTERVAL;
    if (looks) {
      this.#lookedAt = now;
      this.commits.now('light', (after) => {
        for (const host of this.#hosts.dead()) this.#bury(host, after);
        this.#standing = this.#hosts.standing();
      });
    }
    if (this.#standing === 'dead') this.fence();
    else if (this.#sweep.isDue(now)) {
      this.commits.now('light', () => {
        this.#hosts.tidy();
        this.#sweep.step(now);
      });
    }
  }

  #readVersion(): number {
    return int(this.#database.get('PRAGMA data_version')?.data_version);
  }
}

/** Another host took this one for dead, and what it claimed is no longer its own. */
export class Fenced extends Error {}
