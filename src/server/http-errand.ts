/** An errand: requests and messages of a client, run and answered in one POST, beside its connection. */
import { HoldfastError } from '../protocol/errors.js';
import type { ClientFrame, Request } from '../protocol/frame.js';
import type { Core } from './core.js';
import { Abort } from './deadline.js';
import { decode, type GarbledFrame } from './decode.js';
import { errorBody } from './failure.js';
import type { Exchange } from './http-exchange.js';
import { type Identity, identify } from './identity.js';
import { takeIn } from './intake.js';
import { Messages } from './messages.js';
import type { RateMeter } from './rate.js';
import { Receipts } from './receipts.js';
import { failed } from './requests.js';
import { clientKey, type PendingRequest, type Reply, type Seat } from './seat.js';
import type { Seats } from './seats.js';

export interface Errand {
  readonly clientId: string;
  readonly link: number;
  readonly session?: string;
  readonly auth?: unknown;
  readonly frames: readonly unknown[];
}

export interface ErrandHost {
  readonly core: Core;
  readonly seats: Seats;
  readonly isClosed: () => boolean;
}

/** What runs of one errand. */
interface Trip {
  readonly exchange: Exchange;
  readonly errand: Errand;
  readonly rate: RateMeter;
  readonly identity: Identity;
  readonly seat: Seat;
  readonly messages: Messages;
  readonly connection: PendingRequest['connection'];
}

/** A frame of the errand, and what the rate says of it. */
interface Arrival {
  readonly value: unknown;
  /** In UTF-16 units. */
  readonly size: number;
  readonly frame: ClientFrame | GarbledFrame | HoldfastError;
  readonly wait: number | undefined;
}

interface Answer {
  readonly requestId: string;
  /** Undefined where it gets none. */
  readonly text: string | undefined;
}

const TRANSPORT = 'http';
const CONFLICT = 409;
const UNAVAILABLE = 503;

export class Errands {
  readonly #host: ErrandHost;
  readonly #receipts: Receipts;
  readonly #running = new Set<Abort>();

  constructor(host: ErrandHost) {
    this.#host = host;
    this.#receipts = new Receipts(host.core);
  }

  /** Waits for nothing any more. */
  stop(): void {
    for (const abort of this.#running) abort.abort(new Error('The server closes.'));
  }

  /** Resolves once it is answered; a client that goes away stops nothing that runs. Never rejects. */
  async run(exchange: Exchange, errand: Errand, rate: RateMeter): Promise<void> {
    const abort = new Abort();
    this.#running.add(abort);
    try {
      const identity = await this.#admit(exchange, errand, abort);
      if (identity === undefined || exchange.isAnswered) return;
      const arrivals = this.#arrivals(errand.frames, rate);
      const seat = this.#host.seats.of(identity.key, errand.clientId);
      const connection = { id: this.#host.core.settings.environment.id(), transport: TRANSPORT };
      const sender = { ...connection, user: identity.user };
      const messages = new Messages(this.#host.core, sender, abort);
      const trip = { exchange, errand, rate, identity, seat, messages, connection };
      const answers = await this.#handle(trip, arrivals);
      this.#host.seats.emptied(seat);
      this.#answer(trip, answers);
    } catch (error) {
      this.#refuse(exchange, error);
    } finally {
      this.#running.delete(abort);
    }
  }

  /** Who it is, where the errand is of this client's memory and of its newest link. */
  async #admit(
    exchange: Exchange,
    { clientId, auth, session, link }: Errand,
    abort: Abort,
  ): Promise<Identity | undefined> {
    const { core, seats, isClosed } = this.#host;
    let isAdmitted = false;
    exchange.onClose(() => {
      if (!isAdmitted) abort.abort(new Error('The client has gone away.'));
    });
    const kicks = seats.watchKicks();
    try {
      const { request } = exchange;
      const identity = await identify(core, { auth, clientId, request, abort });
      const known = await core.journal.known(clientKey(identity.key, clientId));
      isAdmitted = true;
      const kicked = kicks.of(identity.key);
      if (kicked !== undefined) throw kicked;
      if (isClosed()) exchange.refuse(closed(), UNAVAILABLE);
      else if (known === undefined || known.session !== session) {
        exchange.refuse(forgotten(), CONFLICT);
      } else if (link < known.link) exchange.answer([]);
      else return identity;
      return undefined;
    } finally {
      kicks.over();
    }
  }

  /** @throws HoldfastError where they are far too many. */
  #arrivals(frames: readonly unknown[], rate: RateMeter): Arrival[] {
    const { clock, settings } = this.#host.core;
    return frames.map((value) => {
      const wait = rate.take(clock.now());
      if (rate.isAbused) {
        const why = 'Far too many frames, for too long.';
        throw new HoldfastError('RATE_LIMITED', why, { retryAfter: wait });
      }
      return { value, wait, ...decoded(value, settings.limits.maxMessageSize) };
    });
  }

  /** In the order of the requests. */
  async #handle(trip: Trip, arrivals: readonly Arrival[]): Promise<Answer[]> {
    const asked = arrivals.map(({ value }) => requestIdOf(value));
    this.#receipts.heard(trip.seat.key, new Set(asked));
    const answers = arrivals.map((arrival) => this.#take(trip, arrival));
    await trip.messages.idle();
    return Promise.all(answers.filter((answer) => answer !== undefined));
  }

  /** Undefined where there is nothing to wait for. */
  #take(trip: Trip, arrival: Arrival): Promise<Answer> | undefined {
    const { core } = this.#host;
    const { frame, wait, size } = arrival;
    if (frame instanceof HoldfastError) return this.#refuseOne(requestIdOf(arrival.value), frame);
    switch (frame.kind) {
      case 'request':
        return this.#ask(trip, { frame, wait, size });
      case 'message':
        if (wait === undefined) trip.messages.take(frame, size);
        else core.counters.messagesDropped++;
        return undefined;
      case 'garbled':
        return this.#refuseOne(frame.requestId, new HoldfastError('INVALID_PAYLOAD', frame.why));
      default:
        return this.#refuseOne(undefined, undefined);
    }
  }

  /** What was not understood: counted, and answered where somebody waits for an answer. */
  #refuseOne(requestId: string | undefined, error: HoldfastError | undefined) {
    this.#host.core.counters.garbled++;
    if (requestId === undefined || error === undefined) return undefined;
    return Promise.resolve({ requestId, text: failed(requestId, errorBody(error)) });
  }

  #ask(trip: Trip, asked: Asked): Promise<Answer> {
    const { frame, wait, size } = asked;
    const { requestId, type, payload, room } = frame;
    const { seat, rate, connection, identity, errand, exchange } = trip;
    return new Promise((resolve) => {
      let isAnswered = false;
      const reply: Reply = (text) => {
        if (isAnswered) return true;
        resolve({ requestId, text });
        isAnswered = !exchange.isOver;
        return isAnswered;
      };
      const who = { connection, user: identity.user, link: errand.link };
      const said = { requestId, type, payload, room, size };
      const request = { ...said, ...who, byLink: false, replies: [reply] };
      const refuse = (text: string) => void reply(text);
      void takeIn(this.#host.core, { seat, rate, wait, refuse }, request).then(() => {
        // Neither answered nor in its line: it was fenced, or the hub closes.
        if (!seat.has(requestId)) reply();
      });
    });
  }

  #answer({ exchange, seat }: Trip, answers: readonly Answer[]): void {
    const frames = answers.map(({ text }) => text).filter((text) => text !== undefined);
    const isCut = this.#host.isClosed() && frames.length < answers.length;
    const error = JSON.stringify({ kind: 'error', error: errorBody(closed()) });
    if (isCut) exchange.answer([...frames, error], UNAVAILABLE);
    else exchange.answer(frames);
    exchange.onClose(() => {
      if (!exchange.isSent) return;
      const told = answers.filter(({ text }) => text !== undefined);
      this.#receipts.answered(
        seat.key,
        told.map(({ requestId }) => requestId),
      );
    });
  }

  #refuse(exchange: Exchange, error: unknown): void {
    if (error instanceof HoldfastError) {
      exchange.refuse(error);
      return;
    }
    this.#host.core.report(error, 'an errand');
    const why = 'The server failed. Come back.';
    exchange.refuse(new HoldfastError('SERVER_ERROR', why, { retryable: true }));
  }
}

interface Asked {
  readonly frame: Request;
  readonly wait: number | undefined;
  readonly size: number;
}

function decoded(value: unknown, maxMessageSize: number): Pick<Arrival, 'size' | 'frame'> {
  let size = 0;
  try {
    const text = JSON.stringify(value);
    size = text.length;
    return { size, frame: decode(text, maxMessageSize) };
  } catch (error) {
    if (error instanceof HoldfastError) return { size, frame: error };
    if (!(error instanceof RangeError)) throw error;
    // JSON may be nested deeper than it can be written again.
    const requestId = requestIdOf(value);
    const frame = { kind: 'garbled', why: 'The frame is nested too deep.' } as const;
    return { size, frame: requestId === undefined ? frame : { ...frame, requestId } };
  }
}

function requestIdOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('requestId' in value)) return undefined;
  return typeof value.requestId === 'string' ? value.requestId : undefined;
}

function closed(): HoldfastError {
  return new HoldfastError('CONNECTION_FAILED', 'The server has closed.');
}

function forgotten(): HoldfastError {
  const why = 'The server may have forgotten what it was asked. Say `hello` to see.';
  return new HoldfastError('CONNECTION_FAILED', why, { details: { reason: 'session' } });
}
