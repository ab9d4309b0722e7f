/** What a slot holds, and what a write changes in it: the same for every database. */
import { LINKS_PER_OWNER } from '../client/storage.js';
import type { Saved, SavedRequest } from '../machine/fact.js';
import type { Changes } from '../machine/order.js';
import type { CursorRecord, SlotRecord } from './shape.js';
import { MAX_CURSORS } from './slots.js';

/** What the new owner of a slot finds in it, before it raises the link. */
export interface Found {
  readonly clientId: string;
  readonly record: SlotRecord;
  /** In the order of their numbers. */
  readonly requests: readonly Row[];
  readonly cursors: readonly (readonly [room: string, record: CursorRecord])[];
}

/**
 * A request and its number, which is about the Unix time at which it was put. Numbers order the
 * requests of a slot, and tell which slot has waited longest.
 */
export interface Row {
  readonly number: number;
  readonly request: SavedRequest;
}

/** What one write puts and deletes; applied as a whole, or not at all. */
export interface Edit {
  readonly record: SlotRecord;
  /** By requestId. */
  readonly rows: ReadonlyMap<string, Row>;
  readonly goneRows: readonly Row[];
  readonly cursors: ReadonlyMap<string, CursorRecord>;
  readonly goneRooms: readonly string[];
}

/** The record of a slot as its next owner has to find it. */
export function raised(record: SlotRecord, date: number): SlotRecord {
  return { ...record, link: record.link + LINKS_PER_OWNER, used: Math.floor(date) };
}

/** The books of a slot's owner. Nobody else writes to the slot, so they are what is stored. */
export class SlotBook {
  readonly saved: Saved;
  #record: SlotRecord;
  readonly #rows = new Map<string, Row>();
  /** Rooms with a cursor, the one that was written longest ago first. */
  readonly #rooms: Set<string>;
  #last = 0;

  constructor({ clientId, record, requests, cursors }: Found, date: number) {
    this.#record = raised(record, date);
    for (const row of requests) {
      this.#last = row.number;
      this.#rows.set(row.request.requestId, row);
    }
    const reached = [...cursors].sort(([, one], [, other]) => one.at - other.at);
    this.#rooms = new Set(reached.map(([room]) => room));
    this.saved = {
      clientId,
      link: record.link,
      user: record.user,
      requests: requests.map(({ request }) => request),
      cursors: reached.map(([room, { cursor }]) => [room, cursor]),
    };
  }

  /** What a write has to do; whoever has stored it says so with {@link stored}. */
  edit(changes: Changes, unixMs: number): Edit {
    const { user = this.#record.user } = changes;
    // Clocks may tell fractions; numbers and their columns are whole.
    const date = Math.floor(unixMs);
    const rows = this.#changed(changes, date);
    for (const requestId of changes.drops) rows.delete(requestId);
    return {
      record: { ...this.#record, user, used: date },
      rows,
      goneRows: changes.drops.flatMap((requestId) => this.#rows.get(requestId) ?? []),
      ...this.#moved(changes, date),
    };
  }

  stored({ record, rows, goneRows }: Edit): void {
    this.#record = record;
    for (const [requestId, row] of rows) this.#rows.set(requestId, row);
    for (const { request } of goneRows) this.#rows.delete(request.requestId);
  }

  #changed({ puts, stamps }: Changes, date: number): Map<string, Row> {
    const rows = new Map<string, Row>();
    for (const request of puts) {
      const { requestId } = request;
      const number = (rows.get(requestId) ?? this.#rows.get(requestId))?.number;
      // Dates may jump back, numbers may not.
      if (number === undefined) this.#last = Math.max(date, this.#last + 1);
      rows.set(requestId, { number: number ?? this.#last, request });
    }
    for (const [requestId, session] of stamps) {
      const row = rows.get(requestId) ?? this.#rows.get(requestId);
      if (row !== undefined) rows.set(requestId, { ...row, request: { ...row.request, session } });
    }
    return rows;
  }

  /** The oldest cursors go where there are too many. */
  #moved({ cursors }: Changes, at: number): Pick<Edit, 'cursors' | 'goneRooms'> {
    const moved = new Map<string, CursorRecord>();
    const gone = new Set<string>();
    for (const [room, cursor] of cursors) {
      this.#rooms.delete(room);
      if (cursor === null) gone.add(room);
      else {
        moved.set(room, { cursor, at });
        this.#rooms.add(room);
      }
    }
    for (const room of this.#rooms) {
      if (this.#rooms.size <= MAX_CURSORS) break;
      this.#rooms.delete(room);
      moved.delete(room);
      gone.add(room);
    }
    return { cursors: moved, goneRooms: [...gone] };
  }
}
