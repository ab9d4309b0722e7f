/** Writes a story: facts as they might come, and as they should not, for a session to live through. */
import type { Ask, Fact, Restored } from '../../../src/machine/fact.js';
import { Ledger } from '../../../src/machine/ledger.js';
import type { Order } from '../../../src/machine/order.js';
import { closeFault, HoldfastError } from '../../../src/protocol/errors.js';
import { ME, type ServerFrame } from '../../../src/protocol/frame.js';
import { type Overrides, sessionOptions } from '../options.js';
import { type Kind, kinds } from '../table.js';
import { Witness } from '../witness.js';
import type { Dice } from './dice.js';
import { HostileServer } from './server.js';

/** One fact, when it came, and the roll that went with it. */
export interface Played {
  readonly fact: Fact;
  readonly now: number;
  readonly roll: number;
}

const rooms = ['a', 'b'];
export class Story {
  readonly witness: Witness;
  /** Called before each step. */
  readonly #write: (step: Played) => void;
  readonly #dice: Dice;
  readonly #server: HostileServer;
  #now = 1_000;
  #ids = 0;
  #isDirty = false;

  constructor(dice: Dice, write: (step: Played) => void) {
    this.#dice = dice;
    this.#write = write;
    this.#server = new HostileServer(dice);
    this.witness = new Witness(sessionOptions(chosenOptions(dice)));
  }

  /** Something happens. */
  next(): void {
    const dice = this.#dice;
    if (dice.chance(0.2)) this.#do(this.#fact(dice.of(kinds) ?? 'tickEnded'));
    else this.#likely();
    if (dice.chance(0.6)) this.#endTick();
  }

  /** The client is closed: nothing may be left, and nothing may happen any more. */
  end(): void {
    const dice = this.#dice;
    this.#do({ fact: 'closeAsked' });
    this.#endTick();
    for (let count = 0; count < 5; count++) this.#do(this.#fact(dice.of(kinds) ?? 'woke'));
    this.#endTick();
  }

  #likely(): void {
    const dice = this.#dice;
    switch (this.witness.phase) {
      case 'idle':
      case 'closed':
        this.#do(this.#fact(dice.chance(0.5) ? 'connectAsked' : this.#errand()));
        break;
      case 'open':
        this.#use();
        break;
      case 'moving':
        if (dice.chance(0.5)) this.#use();
        else this.#goOn();
        break;
      default:
        if (dice.chance(0.2)) this.#do(this.#fact(this.#errand()));
        else this.#goOn();
    }
  }

  /** The attempt under way takes its next step, or fails. */
  #goOn(): void {
    const { dialed, ask } = this.witness.links;
    const dice = this.#dice;
    if (this.witness.phase === 'restoring' && dice.chance(0.8)) {
      this.#do(this.#fact(dice.chance(0.8) ? 'restored' : 'restoreFailed'));
    } else if (dialed !== null && dialed.hello === null) {
      this.#do(this.#fact(dice.chance(0.85) ? 'opened' : 'lost'));
    } else if (dialed !== null) {
      const frame = this.#server.next(dialed.link);
      if (frame === null || dice.chance(0.1)) this.#pass();
      else this.#do({ fact: 'received', link: dialed.link, frame });
    } else if (ask !== null && dice.chance(0.8)) {
      this.#do(this.#fact(dice.chance(0.8) ? 'credentialsGiven' : 'credentialsFailed'));
    } else this.#pass();
  }

  #use(): void {
    const dice = this.#dice;
    const { live } = this.witness.links;
    const luck = dice.roll();
    if (this.witness.storage.write > 0 && dice.chance(0.3)) {
      this.#do(this.#fact(dice.chance(0.9) ? 'stored' : 'storeFailed'));
    } else if (luck < 0.45 && live !== null) {
      const frame = this.#server.next(live);
      if (frame !== null) this.#do({ fact: 'received', link: live, frame });
      else this.#server.publish(dice.pick('a', 'b', ME));
    } else if (luck < 0.6) this.#server.publish(dice.pick('a', 'b', ME));
    else if (luck < 0.61) this.#server.restart(dice.pick('a', 'b', ME));
    else if (luck < 0.66 && live !== null) this.#server.say(live);
    else if (luck < 0.68) this.#do(this.#fact('lost'));
    else if (luck < 0.7) this.#waver(dice.pick('a', 'b'));
    else if (luck < 0.74) {
      for (let count = 0; count < 3; count++) this.#do(this.#fact('asked'));
    } else if (luck < 0.84) this.#do(this.#fact(this.#errand()));
    else this.#pass();
  }

  /** A room that is wanted, and not, and wanted, faster than the server answers. */
  #waver(room: string): void {
    const dice = this.#dice;
    for (let count = 2 + dice.below(4); count > 0; count--) {
      if (dice.chance(0.5)) this.#do({ fact: 'leaveAsked', room });
      else this.#do({ fact: 'joinAsked', room, call: ++this.#ids, ...this.#since(room) });
      if (dice.chance(0.5)) this.#endTick();
    }
  }

  /** What an application does whenever it likes. */
  #errand(): Kind {
    const dice = this.#dice;
    const [{ runs }, { owed }] = [this.witness.rooms, this.witness.rooms];
    if (runs.length > 0 && dice.chance(0.5)) return dice.chance(0.7) ? 'healed' : 'healFailed';
    if (owed.length > 0 && dice.chance(0.5)) return 'delivered';
    return dice.pick<Kind>(
      'asked',
      'asked',
      'asked',
      'told',
      'joinAsked',
      'joinAsked',
      'leaveAsked',
    );
  }

  #pass(): void {
    const dice = this.#dice;
    const { deadline } = this.witness;
    this.#endTick();
    const luck = dice.roll();
    const isDue = Number.isFinite(deadline);
    // A timer rounds up to whole milliseconds, and this clock does not always stand on one.
    if (luck < 0.6 && isDue)
      this.#now = Math.max(this.#now, this.#now + Math.ceil(deadline - this.#now));
    else if (luck < 0.75) this.#now += dice.below(40);
    else if (luck < 0.85) this.#now += dice.roll() * 100;
    else if (luck < 0.95) this.#now += dice.below(4_000);
    else this.#now += dice.below(90_000);
    if (deadline <= this.#now && dice.chance(0.9)) this.#wake();
  }

  /** The timer fires, until there is nothing more to do at this moment. */
  #wake(): void {
    for (let count = 0; count < 5 && this.witness.deadline <= this.#now; count++) {
      this.#do(this.#fact('timeUp'));
      this.#endTick();
    }
  }

  #endTick(): void {
    if (this.#isDirty) this.#do(this.#fact('tickEnded'));
    this.#isDirty = false;
  }

  #do(fact: Fact): void {
    this.#isDirty = true;
    const step = { fact, now: this.#now, roll: this.#dice.roll() };
    const { links } = this.witness;
    const opens = fact.fact === 'opened' && !links.isStale(fact);
    this.#write(step);
    const orders = this.witness.step(step.fact, step.now, step.roll);
    const { hello } = this.witness;
    if (opens && hello !== null) this.#server.hello(fact.link, hello);
    for (const order of orders) this.#carryOut(order);
  }

  #carryOut(order: Order): void {
    if (order.order === 'transmit') this.#server.take(order.link, order.frames);
    if (order.order !== 'deliver') return;
    const { eventId, room } = order.event;
    // The others have a listener that takes its time.
    if (room !== undefined && this.#dice.chance(0.8))
      this.#do({ fact: 'delivered', room, eventId });
  }

  #fact(kind: Kind): Fact {
    const dice = this.#dice;
    const { witness } = this;
    const buffered = dice.chance(0.9) ? 0 : dice.below(100_000);
    const room = dice.pick('a', 'b');
    switch (kind) {
      case 'received':
        return this.#received();
      case 'delivered':
        return { fact: kind, ...(dice.of(witness.rooms.owed) ?? { room, eventId: 'none' }) };
      case 'asked':
        return { fact: kind, request: this.#ask() };
      case 'told':
        return { fact: kind, message: { wire: `t${++this.#ids}`, bytes: 10 } };
      case 'aborted':
        return { fact: kind, requestId: dice.of(witness.requests.pending)?.requestId ?? 'none' };
      case 'tickEnded':
      case 'timeUp':
      case 'woke':
      case 'wentOffline':
        return { fact: kind, buffered };
      case 'credentialsGiven':
        return { fact: kind, ask: this.#question(), ...this.#credentials() };
      case 'credentialsFailed':
        return { fact: kind, ask: this.#question(), error: this.#fault() };
      case 'opened':
        return { fact: kind, link: this.#link() };
      case 'lost':
        return { fact: kind, link: this.#link(), fault: this.#fault() };
      case 'joinAsked':
        return { fact: kind, room, call: ++this.#ids, ...this.#since(room) };
      case 'joinAborted':
        return { fact: kind, ...(dice.of(witness.rooms.joins) ?? { room, call: 0 }) };
      case 'leaveAsked':
        return { fact: kind, room };
      case 'healed':
        return { fact: kind, ...this.#run(room), ...this.#current() };
      case 'healFailed':
        return { fact: kind, ...this.#run(room), error: this.#fault() };
      case 'restored':
        return { fact: kind, saved: this.#saved(), date: 0 };
      case 'restoreFailed':
        return { fact: kind, error: storageFault };
      case 'stored':
        return { fact: kind, write: this.#storing() };
      case 'storeFailed':
        return { fact: kind, write: this.#storing(), error: storageFault };
      default:
        return { fact: kind };
    }
  }

  #received(): Fact {
    const dice = this.#dice;
    const link = dice.of(this.#server.talking) ?? this.#link();
    const odd = dice.pick<ServerFrame | { kind: 'garbled'; why: string }>(
      { kind: 'garbled', why: 'odd' },
      { kind: 'pong' },
      { kind: 'response', requestId: `q${dice.below(this.#ids + 1)}`, success: true },
      { kind: 'room', room: dice.of(rooms) ?? 'a', left: true },
      { kind: 'welcome', connectionId: 'odd' },
    );
    return { fact: 'received', link, frame: this.#server.next(link) ?? odd };
  }

  #ask(): Ask {
    const dice = this.#dice;
    const requestId = `q${++this.#ids}`;
    return {
      requestId,
      type: 'x:y',
      payload: null,
      room: undefined,
      wire: requestId,
      bytes: dice.pick(10, 10, 10, 50, 70, 300),
      delivery: dice.pick('exactly-once', 'exactly-once', 'at-least-once', 'at-most-once'),
      timeout: dice.pick(30_000, 1_000),
      ttl: dice.pick(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 2_000),
      expiresAt: Number.POSITIVE_INFINITY,
      coalesceKey: dice.chance(0.2) ? 'key' : undefined,
    };
  }

  /** Mostly one there is; else one that is gone. */
  #link(): number {
    const { live, dialed, links } = this.witness.links;
    const old = this.#dice.below(links + 1);
    return this.#dice.chance(0.2)
      ? old
      : this.#dice.pick(dialed?.link ?? live ?? old, live ?? dialed?.link ?? old);
  }

  #question(): number {
    const { ask, asks } = this.witness.links;
    return this.#dice.chance(0.1) ? this.#dice.below(asks + 1) : (ask ?? asks);
  }

  #credentials(): { auth: unknown; key: string } {
    if (this.#dice.chance(0.04)) return { auth: null, key: 'null' };
    const key = this.#dice.chance(0.2) ? 'same' : `k${++this.#ids}`;
    return { auth: { token: key }, key };
  }

  #fault(): HoldfastError {
    const dice = this.#dice;
    const code = dice.pick(1000, 1006, 1006, 1006, 1007, 1009, 1013, 4401, 4401, 4409, 4403);
    if (dice.chance(0.7)) return closeFault(1006, '');
    if (dice.chance(0.8)) return closeFault(code, '');
    return new HoldfastError('CONNECTION_FAILED', 'busy', { retryAfter: dice.below(5_000) });
  }

  #since(room: string): { since?: string } {
    return this.#dice.chance(0.4) ? { since: this.#server.somewhere(room) } : {};
  }

  /** What an earlier owner of the storage left. */
  #saved(): Restored {
    const dice = this.#dice;
    const requests = Array.from({ length: dice.below(4) }, () => ({
      ...this.#ask(),
      expiresAt: dice.pick(Number.POSITIVE_INFINITY, 2_000),
      coalesceKey: undefined,
      session: dice.pick(null, null, 's1', 's2'),
    }));
    const user = dice.pick(undefined, null, 'ann');
    return { clientId: 'saved', link: dice.pick(0, 1_000), user, requests, cursors: [] };
  }

  #storing(): number {
    const { write } = this.witness.storage;
    return this.#dice.chance(0.9) ? write : this.#dice.below(write + 2);
  }

  #run(room: string): { room: string; run: number } {
    const running = this.#dice.of(this.witness.rooms.runs);
    if (running === null || this.#dice.chance(0.1)) return { room, run: this.#dice.below(5) };
    return { room: running.room, run: running.run };
  }

  /** The eventId that the state is current to: of the room that is being healed. */
  #current(): { eventId?: string } {
    const running = this.witness.rooms.runs[0];
    if (running === undefined || this.#dice.chance(0.5)) return {};
    return { eventId: this.#server.somewhere(running.room) };
  }
}

const storageFault = new HoldfastError('STORAGE_FAILED', 'full');

function chosenOptions(dice: Dice): Overrides {
  return {
    ledger: dice.chance(0.4) ? () => new Ledger() : null,
    auth: dice.chance(0.5) ? { timeout: 5_000 } : null,
    heartbeat: dice.chance(0.85) ? { interval: 10_000, timeout: dice.pick(1_000, 5_000) } : null,
    pauseAfter: dice.chance(0.3) ? dice.pick(0, 3_000) : null,
    reconnect: {
      jitter: dice.pick<'full' | 'none' | number>('full', 'full', 'none', 500),
      initialDelay: dice.pick(1_000, 100),
      maxAttempts: dice.chance(0.1) ? 3 : Number.POSITIVE_INFINITY,
      stableAfter: dice.pick(10_000, 1_000),
      failFast: dice.chance(0.1),
      connectTimeout: dice.pick(15_000, 2_000),
    },
    outbox: {
      maxMessages: dice.pick(1_000, 4),
      maxBytes: dice.pick(1_000_000, 100),
      overflow: dice.pick('reject', 'drop-oldest', 'drop-newest'),
      maxInFlight: dice.pick(64, 2, 1),
    },
    inbox: { maxHeld: dice.pick(1_000, 3), heals: dice.chance(0.75) },
    limits: { messagesPerSecond: dice.pick(100, 3), maxMessageSize: dice.pick(1_000_000, 200) },
  };
}
