/** Watches rooms: each event once, in order, or a gap that says so; and what the server is told. */
import type { Order } from '../../src/machine/order.js';
import { STORED } from '../../src/machine/rooms.js';
import { type Event, ME, type RoomJoined, type RoomVerdict } from '../../src/protocol/frame.js';
import { must, type Place, placeOf, type Scene } from './scene.js';

interface Watched {
  wanted: number;
  readonly calls: Set<number>;
  /** The event that was given last, or where a verdict put us. Null: anything may come next. */
  stand: Place | null;
  /** Another one that would do as well. */
  or: Place | null;
  /** Since the gap was told, until a run has healed it. */
  gapped: boolean;
  /** The stand before the gap. */
  beforeGap: Place | null;
  run: { readonly id: number; readonly since: number } | null;
  /** Given to the listeners, who are not done with them. */
  readonly owed: Map<string, Place>;
  /** Of the live link: joins without a verdict, and whether the server serves the room. */
  answers: number;
  /** From where the last of them asked. */
  asked: string | undefined;
  served: boolean;
  retrying: boolean;
  /** Wanted from elsewhere than what the server was last asked for: its verdict on that is no news. */
  movedTo: string | null;
}

/** I13, I14, I15, I20 (joins), I25. */
export class RoomWatch {
  readonly #rooms = new Map<string, Watched>();
  readonly #seen = new Set<string>();
  #owner: string | null | undefined;
  #runs = 0;
  #saysSince = false;
  #isAnswer = false;

  constructor() {
    this.#room(ME).wanted = 1;
  }

  /** Runs of onGap that are under way. */
  get runs(): { room: string; run: number; stand: Place | null }[] {
    return [...this.#rooms].flatMap(([room, { run, stand }]) =>
      run === null ? [] : [{ room, run: run.id, stand }],
    );
  }

  get joins(): { room: string; call: number }[] {
    return [...this.#rooms].flatMap(([room, { calls }]) =>
      [...calls].map((call) => ({ room, call })),
    );
  }

  get owed(): { room: string; eventId: string }[] {
    return [...this.#rooms].flatMap(([room, { owed }]) =>
      [...owed.keys()].map((eventId) => ({ room, eventId })),
    );
  }

  /** What a link presents must not be ahead of the listeners, and must name what is wanted. */
  hello(wishes: readonly { room: string; since?: string }[]): void {
    const named = new Map(wishes.map(({ room, since }) => [room, since]));
    for (const [name, room] of this.#rooms) {
      if (name !== ME) {
        must(
          named.has(name) === room.wanted > 0 || (named.size === 1_000 && !named.has(name)),
          'I25',
          `hello and ${name}, wanted ${room.wanted}`,
        );
      }
      const since = named.get(name);
      if (since === undefined) continue;
      const { epoch, seq } = placeOf(since);
      for (const owed of room.owed.values()) {
        must(owed.epoch !== epoch || owed.seq > seq, 'I15', `${since} is ahead of a listener`);
      }
    }
  }

  step(scene: Scene): void {
    const { fact, live, liveBefore } = scene;
    if (live !== liveBefore) this.#linkChanged(scene);
    const verdict = this.#verdict(scene);
    switch (fact.fact) {
      case 'joinAsked':
        this.#joinAsked(fact.room, fact.since === STORED ? undefined : fact.since, fact.call);
        break;
      case 'leaveAsked':
        this.#leave(fact.room);
        break;
      case 'joinAborted':
        if (this.#room(fact.room).calls.delete(fact.call)) this.#leave(fact.room);
        break;
      case 'delivered':
        this.#room(fact.room).owed.delete(fact.eventId);
        break;
    }
    const healed = this.#healed(scene);
    for (const order of scene.orders) this.#order(order, scene, healed);
    if (verdict !== null) this.#joined(verdict, scene);
    this.#times(scene);
    if (scene.after.status === 'closed') this.#closed();
    if (fact.fact === 'tickEnded' && live !== null) this.#atRest();
  }

  #linkChanged({ welcomed }: Scene): void {
    for (const room of this.#rooms.values()) {
      room.answers = 0;
      room.served = false;
      room.retrying = false;
    }
    if (welcomed === null) return;
    const owner = welcomed.welcome.user ?? null;
    if (this.#owner !== undefined && this.#owner !== owner) this.#reset(this.#room(ME));
    this.#owner = owner;
    this.#asked(ME);
    for (const { room, since } of welcomed.hello.rooms) if (room !== ME) this.#asked(room, since);
  }

  /** The verdict that counts, of those that answer a join: only the last one does. */
  #verdict({ fact, live, orders }: Scene): RoomJoined | null {
    if (fact.fact !== 'received' || fact.link !== live || fact.frame.kind !== 'room') return null;
    const verdict: RoomVerdict = fact.frame;
    const room = this.#room(verdict.room);
    if ('caughtUp' in verdict || 'left' in verdict) return null;
    // Nobody asked for it on this link: an echo of what was left, or refused.
    if (room.answers === 0 && !room.served) return null;
    if ('joined' in verdict && this.#isUnasked(verdict, room)) return null;
    // Unasked, it may come when a hole has just been seen: then the next join's answer says the same.
    this.#isAnswer = room.answers > 0;
    if (room.answers > 0) room.answers--;
    room.served = 'joined' in verdict;
    if (room.answers > 0 || room.movedTo !== null) return null;
    if ('joined' in verdict) {
      room.retrying = false;
      return verdict;
    }
    const refused = orders.some(({ order }) => order === 'answerJoins' || order === 'report');
    if (!refused) room.retrying = true;
    else if (verdict.room !== ME) {
      room.wanted = 0;
      this.#reset(room);
    }
    return null;
  }

  /** A server that says what it answers has said that this is no answer: the one on its way counts. */
  #isUnasked({ recovered, since }: RoomJoined, room: Watched): boolean {
    this.#saysSince ||= since !== undefined;
    const isOurs = room.stand !== null || room.movedTo !== null;
    return room.answers > 0 && isOurs && this.#saysSince && !recovered && since === undefined;
  }

  #joined(verdict: RoomJoined, { orders }: Scene): void {
    const room = this.#room(verdict.room);
    if (room.wanted === 0) return;
    const place = { epoch: verdict.epoch, seq: verdict.seq };
    const told = orders.some((one) => tellsGap(one, verdict.room));
    if (told || room.gapped || room.stand === null) {
      const goesOn = !told && room.gapped && verdict.recovered;
      if (!goesOn) room.stand = place;
      if (told) room.owed.clear();
      return;
    }
    const same = verdict.epoch === room.stand.epoch;
    must(
      !this.#isAnswer ||
        (same && (verdict.recovered || verdict.seq <= room.stand.seq)) ||
        (!verdict.recovered && isPassed(room)),
      'I13',
      `a gap of ${verdict.room} that nobody is told of`,
    );
  }

  #joinAsked(name: string, since: string | undefined, call: number): void {
    const room = this.#room(name);
    if (room.wanted === 0) {
      const { or } = room;
      this.#reset(room);
      // Left and joined again before the server knew: it may go on where it was.
      room.or = since === undefined ? or : null;
      room.stand = since === undefined ? null : placeOf(since);
      room.movedTo = since ?? null;
    }
    room.wanted++;
    room.calls.add(call);
  }

  #leave(name: string): void {
    const room = this.#room(name);
    if (name === ME || room.wanted === 0) return;
    room.wanted--;
    if (room.wanted > 0) return;
    const { stand } = room;
    this.#reset(room);
    room.or = stand;
  }

  /** Returns the room that a run has just healed. */
  #healed({ fact, orders }: Scene): string | null {
    if (fact.fact !== 'healed' && fact.fact !== 'healFailed') return null;
    const room = this.#room(fact.room);
    if (room.run?.id !== fact.run) return null;
    room.run = null;
    if (fact.fact === 'healFailed') return null;
    // Run again: what came in between is in the next state.
    if (orders.some((one) => one.order === 'heal' && one.room === fact.room)) {
      room.stand = null;
      return null;
    }
    room.gapped = false;
    if (fact.eventId !== undefined) {
      room.or = room.stand;
      room.stand = placeOf(fact.eventId);
    }
    return fact.room;
  }

  #order(order: Order, scene: Scene, healed: string | null): void {
    switch (order.order) {
      case 'deliver':
        this.#deliver(order.event, scene, healed);
        break;
      case 'heal':
        this.#heal(order.room, order.run, scene);
        if (order.reason === 'overflow') this.#room(order.room).stand = null;
        break;
      case 'stopHealing':
        this.#stopHealing(order.room, order.run, scene);
        break;
      case 'report':
        this.#reported(order, scene);
        break;
      case 'answerJoins':
        for (const call of order.calls) this.#answerJoin(call, order.error !== null, scene);
        break;
      case 'transmit':
        for (const frame of order.frames) {
          if (typeof frame !== 'object' || !('kind' in frame)) continue;
          if (frame.kind === 'join') {
            for (const { room, since } of frame.rooms) this.#asked(room, since);
          }
          if (frame.kind === 'leave')
            for (const room of frame.rooms) this.#room(room).served = false;
        }
        break;
    }
  }

  #deliver(event: Event, scene: Scene, healed: string | null): void {
    const { eventId, seq } = event;
    if (seq === undefined || event.room === undefined) {
      // Without numbers each room gives the ids of its own; what is left and joined again may be read again.
      const key = `${event.room}|${eventId}`;
      must(!this.#seen.has(key), 'I13', `delivers ${eventId} twice`);
      if (event.room !== undefined) {
        must(
          this.#room(event.room).wanted > 0,
          'I13',
          `delivers ${eventId} of a room that was left`,
        );
      }
      this.#seen.add(key);
      return;
    }
    const room = this.#room(event.room);
    must(room.wanted > 0, 'I13', `delivers ${eventId} of a room that was left`);
    must(!room.gapped, 'I14', `delivers ${eventId} while the gap before it is open`);
    must(
      scene.fact.fact === 'received' || healed === event.room,
      'I14',
      `delivers at ${scene.fact.fact}`,
    );
    const place = placeOf(eventId);
    const follows = [room.stand, room.or].some(
      (stand) => stand !== null && stand.epoch === place.epoch && stand.seq + 1 === place.seq,
    );
    const stand = room.stand === null ? 'anything' : `${room.stand.epoch}|${room.stand.seq}`;
    must(follows || room.stand === null, 'I13', `delivers ${eventId} after ${stand}`);
    room.stand = place;
    room.or = null;
    room.owed.set(eventId, place);
  }

  #heal(name: string, run: number, { now, fact }: Scene): void {
    const room = this.#room(name);
    must(room.run === null, 'I14', `runs onGap of ${name} twice at a time`);
    must(run > this.#runs, 'I14', 'uses the id of a run again');
    this.#runs = run;
    if (!room.gapped) room.beforeGap = room.stand;
    room.run = { id: run, since: now };
    room.gapped = true;
    room.owed.clear();
    if (fact.fact === 'received') this.#hole(name, fact.frame);
  }

  /** A number that never came: the next event is the one that showed it. */
  #hole(name: string, frame: { kind: string }): void {
    if (!isEvent(frame) || frame.room !== name || frame.seq === undefined) return;
    this.#room(name).stand = { ...placeOf(frame.eventId), seq: frame.seq - 1 };
  }

  #stopHealing(name: string, id: number, { fact }: Scene): void {
    const room = this.#room(name);
    // A run that rests between two attempts is told to stop as well, harmlessly.
    must(room.run === null || room.run.id === id, 'I14', `stops run ${id} of ${name}`);
    room.run = null;
    if (fact.fact === 'timeUp' || !room.gapped) return;
    // Nobody has fetched what is missing: either it comes now, or the gap is told once more.
    room.gapped = false;
    room.stand = room.beforeGap;
  }

  #reported(order: Order & { order: 'report' }, { fact }: Scene): void {
    const { code, details } = order.error;
    if (code !== 'PROTOCOL_ERROR' || typeof details.room !== 'string') return;
    if (fact.fact === 'received') this.#hole(details.room, fact.frame);
  }

  #answerJoin(call: number, failed: boolean, scene: Scene): void {
    for (const [name, room] of this.#rooms) {
      if (!room.calls.delete(call)) continue;
      if (!failed) {
        must(
          scene.live !== null && room.served,
          'I20',
          `says that ${name} is joined, and it is not`,
        );
        must(!room.gapped, 'I20', `says that ${name} is joined before its gap is healed`);
      } else if (scene.after.status === 'closed') room.wanted = Math.max(0, room.wanted - 1);
      return;
    }
    must(false, 'I20', `answers join ${call}, which does not wait`);
  }

  #asked(name: string, since?: string): void {
    const room = this.#room(name);
    if (room.movedTo === since) room.movedTo = null;
    room.answers++;
    room.asked = since;
    room.served = true;
    room.retrying = false;
  }

  #times({ fact, now }: Scene): void {
    if (fact.fact !== 'timeUp') return;
    for (const [name, { run }] of this.#rooms) {
      must(run === null || now - run.since <= 30_000, 'I14', `onGap of ${name} runs for ever`);
    }
  }

  #closed(): void {
    for (const [name, room] of this.#rooms) {
      must(
        room.calls.size === 0,
        'I24',
        `closed with ${room.calls.size} joins of ${name} unanswered`,
      );
      must(room.run === null, 'I24', `closed while onGap of ${name} runs`);
    }
  }

  /** Every join has its verdict, so the server's set of rooms must be the wanted one. */
  #atRest(): void {
    for (const [name, room] of this.#rooms) {
      if (room.answers > 0 || room.retrying || name === ME) continue;
      must(
        room.served === room.wanted > 0,
        'I25',
        `${name}: wanted ${room.wanted}, served ${room.served}`,
      );
    }
  }

  /** Nothing is known of the room any more; whatever comes next may come. */
  #reset(room: Watched): void {
    room.stand = null;
    room.or = null;
    room.gapped = false;
    room.owed.clear();
  }

  #room(name: string): Watched {
    const known = this.#rooms.get(name);
    if (known !== undefined) return known;
    const room: Watched = {
      wanted: 0,
      calls: new Set(),
      stand: null,
      or: null,
      gapped: false,
      beforeGap: null,
      run: null,
      owed: new Map(),
      answers: 0,
      asked: undefined,
      served: false,
      retrying: false,
      movedTo: null,
    };
    this.#rooms.set(name, room);
    return room;
  }
}

function tellsGap(order: Order, room: string): boolean {
  if (order.order === 'heal') return order.room === room;
  return (
    order.order === 'report' &&
    order.error.details.room === room &&
    order.error.code === 'PROTOCOL_ERROR'
  );
}

function isEvent(frame: { kind: string }): frame is Event {
  return frame.kind === 'event';
}

/** The join was from nowhere, or from a place that the listeners have left behind. */
function isPassed({ asked, owed, stand }: Watched): boolean {
  if (stand === null) return false;
  if (asked === undefined) return true;
  const first = Math.min(...[...owed.values()].map(({ seq }) => seq), stand.seq + 1);
  const place = placeOf(asked);
  return place.epoch !== stand.epoch || place.seq < first - 1;
}
