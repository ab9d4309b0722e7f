/** What the journal has taken, written down beside it: the truth that clients are measured by. */

export interface Place {
  readonly epoch: string;
  readonly seq: number;
}

export interface Fact extends Place {
  readonly at: number;
  /** What the event says, as JSON. */
  readonly payload: string;
}

export interface Retention {
  readonly maxEvents: number;
  readonly maxAge: number;
}

interface RoomTruth {
  epoch: string;
  /** The fact with `seq` n stands at n - 1. */
  facts: Fact[];
  /** Those of epochs that were lost. */
  readonly past: Map<string, Fact[]>;
}

export class Truth {
  readonly #rooms = new Map<string, RoomTruth>();
  readonly #retention: Retention;
  readonly #now: () => number;

  constructor(retention: Retention, now: () => number) {
    this.#retention = retention;
    this.#now = now;
  }

  get now(): number {
    return this.#now();
  }

  /** The journal says where a room's tail is. Returns what is wrong with that. */
  learned(name: string, tail: Place): string | null {
    const room = this.#rooms.get(name);
    if (room?.epoch === tail.epoch) {
      if (tail.seq >= room.facts.length) return null;
      return `the tail of ${name} fell from ${room.facts.length} to ${tail.seq}`;
    }
    if (room?.past.has(tail.epoch)) return `${name} is back in the epoch ${tail.epoch}`;
    this.#begin(name, tail.epoch);
    return tail.seq === 0 ? null : `${name} begins an epoch at ${tail.seq}`;
  }

  /** The journal has taken an event. Returns what is wrong with its place. */
  committed(name: string, place: Place, payload: string): string | null {
    const wrong = this.learned(name, { epoch: place.epoch, seq: Number.MAX_SAFE_INTEGER });
    const { facts } = this.#rooms.get(name) ?? this.#begin(name, place.epoch);
    const fits = place.seq === facts.length + 1;
    facts.push({ ...place, at: this.#now(), payload });
    if (!fits) return `${name} took ${shown(place)} as number ${facts.length}`;
    return wrong?.includes('is back') === true ? wrong : null;
  }

  /** The journal is gone: what was not delivered is lost, and has to be told as a gap. */
  lost(): void {
    for (const room of this.#rooms.values()) {
      room.past.set(room.epoch, room.facts);
      room.epoch = '';
      room.facts = [];
    }
  }

  /** The epoch is empty where nobody has asked for the room since the journal was lost. */
  tail(name: string): Place {
    const room = this.#rooms.get(name);
    return { epoch: room?.epoch ?? '', seq: room?.facts.length ?? 0 };
  }

  find(name: string, { epoch, seq }: Place): Fact | undefined {
    const room = this.#rooms.get(name);
    const facts = room?.epoch === epoch ? room.facts : room?.past.get(epoch);
    return facts?.[seq - 1];
  }

  /** Whether the journal still has everything after this place. */
  covers(name: string, { epoch, seq }: Place): boolean {
    const { epoch: current, seq: newest } = this.tail(name);
    if (epoch !== current || seq > newest) return false;
    if (seq === newest) return true;
    const { maxEvents, maxAge } = this.#retention;
    const oldest = this.find(name, { epoch, seq: seq + 1 });
    const isYoung = oldest !== undefined && this.#now() - oldest.at <= maxAge;
    return newest - seq <= maxEvents && isYoung;
  }

  /** How many events say this. */
  count(payload: string): number {
    let count = 0;
    for (const { facts, past } of this.#rooms.values()) {
      for (const some of [facts, ...past.values()]) {
        for (const fact of some) if (fact.payload === payload) count++;
      }
    }
    return count;
  }

  #begin(name: string, epoch: string): RoomTruth {
    const past = this.#rooms.get(name)?.past ?? new Map<string, Fact[]>();
    const old = this.#rooms.get(name);
    if (old !== undefined && old.epoch !== '') past.set(old.epoch, old.facts);
    const room = { epoch, facts: [], past };
    this.#rooms.set(name, room);
    return room;
  }
}

export function placeOf(eventId: string): Place {
  const cut = eventId.lastIndexOf('-');
  return { epoch: eventId.slice(0, cut), seq: Number(eventId.slice(cut + 1)) };
}

export function cursorOf({ epoch, seq }: Place): string {
  return `${epoch}-${seq}`;
}

export function shown(place: Place | null): string {
  return place === null ? 'anywhere' : cursorOf(place);
}
