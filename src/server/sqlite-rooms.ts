/** The rooms and events of a journal's file: appended to, read, trimmed by count, bytes and age. */
import {
  type Draft,
  type Position,
  SLICE_BYTES,
  type Slice,
  type StoredEvent,
  storedEvent,
} from './journal.js';
import type { Bounds } from './journal-bounds.js';
import { type Database, int, packed, type Row, text } from './sqlite-database.js';

/** A room as it is stored. */
export interface Room {
  readonly id: number;
  readonly epoch: string;
  seq: number;
  /** The seq of the oldest event that is kept; above `seq` where there is none. */
  first: number;
  /** Of the encoded events that are kept. */
  bytes: number;
  readonly usedAt: number;
}

export interface RoomsSetup {
  readonly bounds: Bounds;
  readonly id: () => string;
  /** Unix milliseconds. */
  readonly now: () => number;
}

/** Events dropped at once at most: a bound that was lowered by much is reached step by step. */
const DROPPED_AT_ONCE = 512;

export class Rooms {
  readonly #database: Database;
  readonly #setup: RoomsSetup;
  /** Rooms that were read, which counts as use; told to the file now and then. */
  readonly #read = new Set<number>();

  constructor(database: Database, setup: RoomsSetup) {
    this.#database = database;
    this.#setup = setup;
  }

  /** Makes it where there is none: writes. */
  room(name: string): Room {
    return this.known(name) ?? this.#create(name);
  }

  known(name: string): Room | undefined {
    const row = this.#database.get(
      'SELECT id, epoch, seq, first, bytes, used_at FROM rooms WHERE name = ?',
      packed(name),
    );
    return row === undefined ? undefined : roomOf(row);
  }

  /** The event has its place once `save` was called with the room. */
  append(room: Room, draft: Draft): StoredEvent {
    room.seq++;
    const event = storedEvent({ epoch: room.epoch, seq: room.seq }, draft.body);
    this.#database.run(
      'INSERT INTO events (room, seq, at, bytes, body) VALUES (?, ?, ?, ?, ?)',
      ...[room.id, room.seq, this.#setup.now(), event.bytes, draft.body],
    );
    room.bytes += event.bytes;
    return event;
  }

  save(room: Room): void {
    this.#trim(room);
    this.#database.run(
      'UPDATE rooms SET seq = ?, first = ?, bytes = ? WHERE id = ?',
      ...[room.seq, room.first, room.bytes, room.id],
    );
    if (this.#isStale(room)) this.use(room.id);
  }

  read(room: Room, since: Position, limit: number): Slice {
    if (this.#isStale(room)) this.#read.add(room.id);
    const tail = { epoch: room.epoch, seq: room.seq };
    if (since.epoch !== room.epoch || since.seq > room.seq) return { gap: 'epoch', tail };
    if (since.seq === room.seq) return { events: [] };
    const { maxEvents, maxAge } = this.#setup.bounds;
    if (since.seq + maxEvents < room.seq) return { gap: 'expired', tail };
    const next = this.#database.get(
      'SELECT at FROM events WHERE room = ? AND seq = ?',
      ...[room.id, since.seq + 1],
    );
    const isKept = next !== undefined && this.#setup.now() - int(next.at) <= maxAge;
    if (!isKept) return { gap: 'expired', tail };
    // No column but the text: each costs as much as the rest of a row, and the seqs have no holes.
    const rows = this.#database.rows(
      'SELECT body FROM events WHERE room = ? AND seq > ? ORDER BY seq LIMIT ?',
      ...[room.id, since.seq, limit],
    );
    const { epoch } = room;
    const events: StoredEvent[] = [];
    let bytes = 0;
    for (const row of rows) {
      const seq = since.seq + 1 + events.length;
      const event = storedEvent({ epoch, seq }, text(row.body));
      events.push(event);
      bytes += event.bytes;
      if (bytes >= SLICE_BYTES) break;
    }
    return { events };
  }

  /** Drops what has become too old meanwhile. False where there may be more. */
  age(room: Room): boolean {
    const { first } = room;
    this.#trim(room);
    if (room.first === first) return true;
    this.#database.run(
      'UPDATE rooms SET first = ?, bytes = ? WHERE id = ?',
      ...[room.first, room.bytes, room.id],
    );
    return room.first - first < DROPPED_AT_ONCE;
  }

  follow(room: Room, node: number): void {
    this.#database.run('INSERT OR IGNORE INTO followers (room, node) VALUES (?, ?)', room.id, node);
    if (this.#isStale(room)) this.use(room.id);
  }

  unfollow(name: string, node: number): void {
    const room = this.known(name);
    if (room === undefined) return;
    this.#database.run('DELETE FROM followers WHERE room = ? AND node = ?', room.id, node);
    this.use(room.id);
  }

  /** The node follows nothing any more. */
  abandon(node: number): void {
    this.#database.run(
      'UPDATE rooms SET used_at = ? WHERE id IN (SELECT room FROM followers WHERE node = ?)',
      ...[this.#setup.now(), node],
    );
    this.#database.run('DELETE FROM followers WHERE node = ?', node);
  }

  use(id: number): void {
    this.#database.run('UPDATE rooms SET used_at = ? WHERE id = ?', this.#setup.now(), id);
  }

  /** What was read since the last call is as fresh as what was written. */
  useRead(): void {
    for (const id of this.#read) this.use(id);
    this.#read.clear();
  }

  /** Some that are kept or to be cleared, after the given id. */
  some(after: number, limit: number): { readonly room: Room; readonly isDiscarded: boolean }[] {
    const rows = this.#database.all(
      'SELECT id, name, epoch, seq, first, bytes, used_at FROM rooms WHERE id > ? ORDER BY id LIMIT ?',
      ...[after, limit],
    );
    return rows.map((row) => ({ room: roomOf(row), isDiscarded: row.name === null }));
  }

  isIdle(room: Room): boolean {
    if (this.#setup.now() - room.usedAt <= this.#setup.bounds.roomWindow) return false;
    return !this.#isFollowed(room.id);
  }

  /** Its name is free at once, for a room in a new epoch; its events go later. */
  discard(id: number): void {
    this.#database.run('UPDATE rooms SET name = NULL WHERE id = ?', id);
    this.#database.run("UPDATE meta SET value = value - 1 WHERE key = 'rooms'");
  }

  discardAll(): void {
    this.#database.run('UPDATE rooms SET name = NULL');
    this.#database.run("UPDATE meta SET value = 0 WHERE key = 'rooms'");
  }

  /** Drops events of a room that was discarded, at last the room. False where there is more. */
  clear(room: Room): boolean {
    const end = room.first + DROPPED_AT_ONCE;
    this.#database.run('DELETE FROM events WHERE room = ? AND seq < ?', room.id, end);
    if (end <= room.seq) {
      this.#database.run('UPDATE rooms SET first = ? WHERE id = ?', end, room.id);
      return false;
    }
    this.#database.run('DELETE FROM rooms WHERE id = ?', room.id);
    return true;
  }

  /** Drops what does not fit, not all at once where it is much. */
  #trim(room: Room): void {
    const { maxEvents, maxBytes, maxAge } = this.#setup.bounds;
    const oldest = this.#setup.now() - maxAge;
    const { first } = room;
    while (room.first <= room.seq && room.first - first < DROPPED_AT_ONCE) {
      const row = this.#database.get(
        'SELECT at, bytes FROM events WHERE room = ? AND seq = ?',
        ...[room.id, room.first],
      );
      const fits = room.seq - room.first < maxEvents && room.bytes <= maxBytes;
      if (row !== undefined && fits && int(row.at) >= oldest) break;
      room.bytes -= row === undefined ? 0 : int(row.bytes);
      room.first++;
    }
    if (room.first === first) return;
    this.#database.run('DELETE FROM events WHERE room = ? AND seq < ?', room.id, room.first);
  }

  #create(name: string): Room {
    const [epoch, usedAt] = [this.#setup.id(), this.#setup.now()];
    const id = this.#database.insert(
      'INSERT INTO rooms (name, epoch, seq, first, bytes, used_at) VALUES (?, ?, 0, 1, 0, ?)',
      ...[packed(name), epoch, usedAt],
    );
    this.#database.run("UPDATE meta SET value = value + 1 WHERE key = 'rooms'");
    const kept = this.#database.get("SELECT value FROM meta WHERE key = 'rooms'");
    if (int(kept?.value) > this.#setup.bounds.maxRooms) this.#evict(id);
    return { id, epoch, seq: 0, first: 1, bytes: 0, usedAt };
  }

  #evict(except: number): void {
    const oldest = this.#database.all(
      'SELECT id FROM rooms WHERE name IS NOT NULL AND id <> ? ORDER BY used_at LIMIT 32',
      except,
    );
    for (const row of oldest) {
      const id = int(row.id);
      // Somebody is in it, so it is used: it does not stand in the way next time.
      if (this.#isFollowed(id)) this.use(id);
      else {
        this.discard(id);
        return;
      }
    }
  }

  #isFollowed(id: number): boolean {
    return this.#database.get('SELECT 1 FROM followers WHERE room = ? LIMIT 1', id) !== undefined;
  }

  /** Not written down with each event: an index hangs on it. */
  #isStale(room: Room): boolean {
    const { roomWindow } = this.#setup.bounds;
    return this.#setup.now() - room.usedAt > Math.min(1_000, roomWindow / 10);
  }
}

function roomOf(row: Row): Room {
  return {
    id: int(row.id),
    epoch: text(row.epoch),
    seq: int(row.seq),
    first: int(row.first),
    bytes: int(row.bytes),
    usedAt: int(row.used_at),
  };
}
