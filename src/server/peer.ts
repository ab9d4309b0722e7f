/** One connection: from its first frame to its last, whoever it turns out to be. */
import { closeReason, HoldfastError } from '../protocol/errors.js';
import type { ErrorBody, Goodbye, Hello } from '../protocol/frame.js';
import { type Admitted, admit } from './admission.js';
import type { Core } from './core.js';
import { Abort } from './deadline.js';
import { decode, type GarbledFrame } from './decode.js';
import { errorBody, refusalCode } from './failure.js';
import { Liveness, Quiet } from './liveness.js';
import { Outlet } from './outlet.js';
import { RateMeter } from './rate.js';
import { failed } from './requests.js';
import type { Served } from './seat.js';
import type { Seats } from './seats.js';
import { type Arrival, Standing, superseded } from './standing.js';
import type { ServerWire, ServerWireEvents } from './wire.js';

/** What a peer needs of its hub. */
export interface PeerHost {
  readonly core: Core;
  readonly seats: Seats;
  /** Said to every hello once the hub leaves. */
  readonly goodbye: Goodbye | undefined;
  welcomed(): void;
  /** It was welcomed, and is served no longer; its wire may take a while to close. */
  ended(): void;
  /** Its wire is closed. */
  closed(peer: Peer): void;
}

type State =
  | { readonly name: 'greeting' }
  | { readonly name: 'admitting' }
  | { readonly name: 'open'; readonly standing: Standing }
  | { readonly name: 'closing'; readonly since: number }
  | { readonly name: 'closed' };

/** What may wait between `hello` and `welcome`, in frames and in UTF-16 units of them. */
const MOST_EARLY = 100;
const LARGEST_EARLY = 65_536;

/** RFC 6455's registry: for whoever is too much for the server now, and may come back. */
const TRY_AGAIN_LATER = 1013;

const PING = '{"kind":"ping"}';
const PONG = '{"kind":"pong"}';

export class Peer implements Served, ServerWireEvents {
  readonly #host: PeerHost;
  readonly #core: Core;
  readonly #wire: ServerWire;
  readonly #outlet: Outlet;
  readonly #liveness: Liveness;
  readonly #quiet: Quiet;
  readonly #rate: RateMeter;
  readonly #acceptedAt: number;
  readonly #abort = new Abort();
  #state: State = { name: 'greeting' };
  /** What arrived between `hello` and `welcome`. */
  #early: Arrival[] = [];
  #earlySize = 0;
  #saidGoodbye = false;

  constructor(host: PeerHost, wire: ServerWire) {
    const { limits, heartbeat } = host.core.settings;
    const now = host.core.clock.now();
    this.#host = host;
    this.#core = host.core;
    this.#wire = wire;
    this.#outlet = new Outlet(wire, host.core, {
      highWater: limits.bufferedBytes,
      overfull: () => this.#cut('stalled'),
    });
    this.#liveness = new Liveness(heartbeat, now);
    this.#quiet = new Quiet(heartbeat, now);
    this.#rate = new RateMeter(limits.messagesPerSecond, now);
    this.#acceptedAt = now;
  }

  write(text: string): void {
    this.#outlet.write(text);
  }

  answered(requestId: string): void {
    if (this.#state.name === 'open') this.#state.standing.answered(requestId);
  }

  received(wire: unknown): void {
    this.#liveness.heard();
    if (this.#isOver || wire === PONG) return;
    const wait = this.#rate.take(this.#core.clock.now());
    if (wait !== undefined && this.#rate.isAbused) {
      const why = 'Far too many frames, for too long.';
      this.refuse(new HoldfastError('RATE_LIMITED', why, { retryAfter: wait }));
      return;
    }
    if (wire === PING) {
      this.write(PONG);
      return;
    }
    try {
      const frame = decode(wire, this.#core.settings.limits.maxMessageSize);
      if (frame.kind === 'garbled') this.#garbled(frame);
      else
        this.#handle({
          frame,
          wait,
          size: wire instanceof Uint8Array ? wire.length : String(wire).length,
        });
    } catch (error) {
      this.#failed(error, 'a frame');
    }
  }

  progressed(): void {
    this.#liveness.heard();
  }

  drained(): void {
    this.#outlet.drained();
  }

  closed(): void {
    if (this.#state.name === 'closed') return;
    this.#end({ name: 'closed' });
    this.#outlet.end();
    this.#host.closed(this);
  }

  tick(now: number): void {
    const { limits, heartbeat } = this.#core.settings;
    switch (this.#state.name) {
      case 'greeting':
        if (now - this.#acceptedAt < limits.helloTimeout) return;
        this.refuse(
          new HoldfastError('PROTOCOL_ERROR', `No \`hello\` within ${limits.helloTimeout} ms.`),
        );
        return;
      case 'open':
        this.#tickOpen(now, this.#state.standing);
        return;
      case 'closing':
        // Whoever does not answer a close is not waited for.
        if (now - this.#state.since >= heartbeat.timeout) this.#wire.terminate();
        return;
      case 'admitting':
      case 'closed':
        return;
      default:
        this.#state satisfies never;
    }
  }

  supersede(link: number): void {
    if (this.#state.name !== 'open') return;
    const isReopened = this.#wire.keepAlive !== undefined && this.#state.standing.link === link;
    if (isReopened) this.close(1000, 'This wire was opened anew.');
    else if (!this.#saidGoodbye) this.refuse(superseded());
    else this.#state.standing.fence(this.#core.clock.now() + this.#core.settings.heartbeat.timeout);
  }

  supersededBy(link: number): void {
    if (this.#state.name !== 'open' || this.#state.standing.link > link) return;
    this.#state.standing.seat.leave(this);
    this.supersede(link);
  }

  /** Asks a welcomed client to move, and sends one away that is not welcomed yet. */
  sayGoodbye(goodbye: Goodbye): void {
    if (this.#state.name !== 'open' && this.#state.name !== 'admitting') return;
    this.#saidGoodbye = true;
    this.write(JSON.stringify(goodbye));
    if (this.#state.name === 'admitting') this.close(1001, goodbye.reason);
  }

  removeFrom(room: string, error: ErrorBody): void {
    if (this.#state.name === 'open') this.#state.standing.removeFrom(room, error);
  }

  refuse(error: HoldfastError): void {
    if (this.#isOver) return;
    const { refused } = this.#core.counters;
    if (this.#state.name !== 'open') refused[error.code] = (refused[error.code] ?? 0) + 1;
    this.write(JSON.stringify({ kind: 'error', error: errorBody(error) }));
    this.close(refusalCode(error), error.message);
  }

  close(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#end({ name: 'closing', since: this.#core.clock.now() });
    this.#outlet.close(code, closeReason(reason));
  }

  terminate(): void {
    if (this.#state.name === 'closed') return;
    this.#end({ name: 'closing', since: this.#core.clock.now() });
    this.#outlet.terminate();
  }

  get #maxRooms(): number {
    const { roomsPerConnection } = this.#core.settings.limits;
    return Math.min(roomsPerConnection, this.#wire.maxRooms ?? roomsPerConnection);
  }

  get #isOver(): boolean {
    return this.#state.name === 'closing' || this.#state.name === 'closed';
  }

  #end(next: State): void {
    const state = this.#state;
    this.#state = next;
    this.#early = [];
    this.#abort.abort(new Error('The connection has ended.'));
    if (state.name !== 'open') return;
    const { standing } = state;
    standing.end();
    standing.seat.leave(this);
    // A newer link on this hub has taken the seat, and its place in the journal.
    if (standing.seat.peer === undefined) {
      this.#core.journal.unlink(standing.seat.key, standing.link);
    }
    this.#host.ended();
  }

  /** What was not understood: counted, and answered where somebody waits for an answer. */
  #garbled({ why, requestId }: GarbledFrame): void {
    this.#core.counters.garbled++;
    if (this.#state.name === 'greeting') {
      this.refuse(new HoldfastError('PROTOCOL_ERROR', why));
    } else if (requestId !== undefined) {
      this.write(failed(requestId, { code: 'INVALID_PAYLOAD', message: why, retryable: false }));
    }
  }

  #handle(arrival: Arrival): void {
    const { frame } = arrival;
    if (this.#state.name === 'open') {
      this.#state.standing.handle(arrival);
    } else if (frame.kind === 'hello' && this.#state.name === 'greeting') {
      this.#greet(frame);
    } else if (frame.kind !== 'hello' && this.#state.name === 'admitting') {
      this.#wait(arrival);
    } else {
      const what =
        frame.kind === 'hello' ? 'A second `hello`' : `\`${frame.kind}\` before \`hello\``;
      this.refuse(new HoldfastError('PROTOCOL_ERROR', `${what} on one connection.`));
    }
  }

  #wait(arrival: Arrival): void {
    this.#earlySize += arrival.size;
    if (this.#early.push(arrival) <= MOST_EARLY && this.#earlySize <= LARGEST_EARLY) return;
    this.refuse(new HoldfastError('RATE_LIMITED', 'Too much before `welcome`. Wait for it.'));
  }

  #greet(hello: Hello): void {
    this.#state = { name: 'admitting' };
    if (this.#host.goodbye !== undefined) {
      this.sayGoodbye(this.#host.goodbye);
      return;
    }
    this.#admit(hello).catch((error: unknown) => this.#failed(error, 'admitting a client'));
  }

  async #admit(hello: Hello): Promise<void> {
    await admit(this.#core, this.#host.seats, {
      hello,
      request: this.#wire.request,
      maxRooms: this.#maxRooms,
      abort: this.#abort,
      isOver: () => this.#state.name !== 'admitting',
      enter: (admitted) => this.#open({ hello, ...admitted }),
    });
  }

  #open(admitted: Admitted & { readonly hello: Hello }): void {
    const { welcome, seat, hello } = admitted;
    const standing = new Standing(
      this.#core,
      {
        id: welcome.connectionId,
        transport: this.#wire.transport,
        request: this.#wire.request,
        maxRooms: this.#maxRooms,
        outlet: this.#outlet,
        rate: this.#rate,
        abort: this.#abort,
        refuse: (error) => this.refuse(error),
        broken: (error, about) => this.#failed(error, about),
      },
      admitted,
    );
    this.#state = { name: 'open', standing };
    this.#core.counters.connectionsAccepted++;
    this.#host.welcomed();
    this.write(JSON.stringify(welcome));
    seat.take(this, hello.link);
    standing.join(hello);
    for (const arrival of this.#early.splice(0)) this.#handle(arrival);
  }

  #tickOpen(now: number, standing: Standing): void {
    const { stalledTimeout } = this.#core.settings.limits;
    const { progressed, stalledFor, wrote } = this.#outlet.look(now);
    const life = this.#liveness.look(now, progressed);
    const isSilent = this.#wire.keepAlive !== undefined;
    const why = standing.tick(now, this.#liveness.heardAt);
    if (why !== undefined) {
      this.refuse(why);
    } else if (life === 'dead' && !isSilent) {
      this.#cut('timedOut');
    } else if (this.#outlet.isOverfull) {
      this.#cut('stalled');
    } else if (stalledFor >= stalledTimeout) {
      this.#core.counters.stalled++;
      this.close(TRY_AGAIN_LATER, `Nothing was read for ${stalledTimeout} ms. Come back.`);
    } else {
      if (isSilent && this.#quiet.look(now, wrote)) this.#wire.keepAlive?.();
      if (life === 'ask' && !isSilent) this.write(PING);
      this.#outlet.turns.beat();
    }
  }

  #cut(why: 'timedOut' | 'stalled'): void {
    this.#core.counters[why]++;
    this.terminate();
  }

  #failed(error: unknown, about: string): void {
    if (error instanceof HoldfastError) {
      this.refuse(error);
      return;
    }
    this.#core.report(error, about);
    const why = 'The server failed. Come back.';
    this.refuse(new HoldfastError('SERVER_ERROR', why, { retryable: true }));
  }
}
