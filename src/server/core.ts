/** What the parts of one hub share. */

import type { Clock } from '../lib/clock.js';
import { toText } from '../protocol/bytes.js';
import { validate } from '../protocol/contract.js';
import { HoldfastError } from '../protocol/errors.js';
import { isReservedRoom, isReservedType, ME } from '../protocol/frame.js';
import { Feeds } from './feed.js';
import type { Draft, JournalNode, JournalUser } from './journal.js';
import { type Counters, newCounters } from './metrics.js';
import type { Settings } from './options.js';
import { Flusher } from './outlet.js';
import { Breath } from './turns.js';
import { Writer } from './writer.js';

/** What the journal tells that is for the hub's clients rather than for its rooms. */
export type JournalNews = Required<Pick<JournalUser, 'settled' | 'linked' | 'told' | 'fenced'>>;

export class Core {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly journal: JournalNode;
  readonly writer: Writer;
  readonly feeds: Feeds;
  readonly flusher = new Flusher();
  readonly breath: Breath;
  readonly counters: Counters = newCounters();

  constructor(settings: Settings, news: JournalNews) {
    const { environment } = settings;
    this.settings = settings;
    this.clock = environment.clock;
    this.breath = new Breath(this.clock);
    this.journal = settings.journal.open({
      clock: this.clock,
      id: () => environment.id(),
      appended: (appended) => this.feeds.appended(appended),
      ...news,
    });
    this.writer = new Writer(this.journal);
    this.feeds = new Feeds(this.journal);
  }

  /** Tells the application, whatever its listener does. */
  report(error: unknown, about: string): void {
    const unheard = () => {
      // An error listener that throws, or rejects, has nobody left to tell.
    };
    try {
      Promise.resolve(this.settings.onError(error, about)).catch(unheard);
    } catch {
      unheard();
    }
  }

  /**
   * An event, checked and encoded, on its way to the journal.
   * @param room the wire's name; `@me` belongs to `user`.
   */
  draft(room: RoomName, type: string, payload: unknown): Draft {
    if (type === '') throw new HoldfastError('UNKNOWN_TYPE', 'An event needs a type.');
    if (isReservedType(type)) {
      throw new HoldfastError('UNKNOWN_TYPE', `The type "${type}" is reserved.`);
    }
    const events = this.settings.contract?.events;
    if (this.settings.contract !== undefined) {
      const schema = schemaOf(events, type);
      if (schema === undefined) {
        throw new HoldfastError('UNKNOWN_TYPE', `The contract has no event "${type}".`);
      }
      validate(schema, payload, `event "${type}"`);
    }
    const fields = { room: room.wire, type, timestamp: this.clock.date(), payload };
    return { room: room.journal, body: toText(fields).slice(1) };
  }
}

/** A room as the wire and as the journal call it: they differ for `@me` alone. */
export interface RoomName {
  readonly wire: string;
  readonly journal: string;
}

/** A room that anybody may be in. */
export function sharedRoom(room: string): RoomName {
  if (room === '' || isReservedRoom(room)) {
    throw new HoldfastError(
      'FORBIDDEN',
      `The room "${room}" is reserved. Use another name, or publishToUser for a user's own room.`,
    );
  }
  return { wire: room, journal: room };
}

/** The room of one user. */
export function ownRoom(userKey: string): RoomName {
  return { wire: ME, journal: `${ME}:${userKey}` };
}

export function schemaOf<S>(part: Readonly<Record<string, S>> | undefined, type: string) {
  return part !== undefined && Object.hasOwn(part, type) ? part[type] : undefined;
}
