/** The door for POSTs of an HTTP server: who may come in, what it is, and what is still open. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import * as z from 'zod';
import { HoldfastError } from '../protocol/errors.js';
import type { Hello } from '../protocol/frame.js';
import { clientFrame } from '../protocol/schema.js';
import type { Core } from './core.js';
import { type Body, readBody } from './http-body.js';
import { Errands } from './http-errand.js';
import { Exchange } from './http-exchange.js';
import { HttpPoll } from './http-poll.js';
import { HttpStream } from './http-stream.js';
import { Meters } from './meters.js';
import { Pollers } from './pollers.js';
import type { Seats } from './seats.js';
import type { ServerWire, ServerWireEvents } from './wire.js';

/** What the door needs of its hub. */
export interface HttpHost {
  readonly core: Core;
  readonly seats: Seats;
  readonly accept: (wire: ServerWire) => ServerWireEvents;
  /** Nobody comes in any more. */
  readonly isClosed: () => boolean;
  /** Those who come are sent elsewhere. */
  readonly isLeaving: () => boolean;
  /** One is done. */
  readonly changed: () => void;
}

/** Bytes of a body beside a frame of the largest size: credentials, and the names of what is in it. */
const ENVELOPE = 65_536;

const METHODS = 'POST, OPTIONS';
const TIMEOUT = 408;
const FORBIDDEN = 403;
const NOT_ALLOWED = 405;
const UNAVAILABLE = 503;

const id = z.string().min(1).max(128);
const pollBody = z.object({ hello: z.unknown(), wait: z.number().min(0) });
const errandBody = z.object({
  clientId: id,
  link: z.int().min(0),
  session: z.exactOptional(z.string()),
  auth: z.exactOptional(z.unknown()),
  frames: z.array(z.unknown()),
});

export class HttpDoor {
  readonly pollers: Pollers;
  readonly #host: HttpHost;
  readonly #errands: Errands;
  readonly #meters: Meters;
  readonly #open = new Set<Exchange>();
  /** Those whose body is on its way. */
  readonly #reading = new Set<Exchange>();

  constructor(host: HttpHost) {
    this.#host = host;
    this.pollers = new Pollers(host.core);
    this.#errands = new Errands(host);
    this.#meters = new Meters(host.core);
  }

  get isIdle(): boolean {
    return this.#open.size === 0;
  }

  handle(incoming: IncomingMessage, response: ServerResponse): void {
    if (response.headersSent || response.destroyed) return;
    const exchange = new Exchange(incoming, response, this.#host.isLeaving);
    this.#open.add(exchange);
    exchange.onDone(() => {
      this.#open.delete(exchange);
      this.#host.changed();
    });
    this.#serve(exchange).catch((error: unknown) => {
      this.#host.core.report(error, 'an HTTP request');
      exchange.destroy();
    });
  }

  /** Whoever is not in yet does not come in any more. */
  shut(): void {
    for (const exchange of this.#reading) refuseClosed(exchange);
    this.#errands.stop();
  }

  terminate(): void {
    for (const exchange of this.#open) exchange.destroy();
  }

  async #serve(exchange: Exchange): Promise<void> {
    if (!this.#letIn(exchange)) return;
    const body = await this.#read(exchange);
    if (body === undefined || exchange.isAnswered) return;
    if (this.#host.isClosed()) refuseClosed(exchange);
    else await this.#route(exchange, body);
  }

  /** False where it is answered already. */
  #letIn(exchange: Exchange): boolean {
    const { method } = exchange.incoming;
    const { origins } = this.#host.core.settings.limits;
    const { origin } = exchange.request.headers;
    if (origins !== undefined) exchange.setHeader('Vary', 'Origin');
    if (typeof origin === 'string') {
      if (origins !== undefined && !origins.includes(origin)) {
        const why = 'This origin may not connect. Add it to limits.origins.';
        exchange.refuse(new HoldfastError('UNAUTHORIZED', why), FORBIDDEN);
        return false;
      }
      exchange.setHeader('Access-Control-Allow-Origin', origins === undefined ? '*' : origin);
      exchange.setHeader('Access-Control-Expose-Headers', 'Retry-After');
      // Cookies go to servers alone that say whom they trust.
      if (origins !== undefined) exchange.setHeader('Access-Control-Allow-Credentials', 'true');
    }
    if (method === 'POST') return this.#isOpen(exchange);
    exchange.setHeader('Allow', METHODS);
    if (method === 'OPTIONS') preflight(exchange);
    else exchange.refuse(fault('Realtime over HTTP takes POST alone.'), NOT_ALLOWED);
    return false;
  }

  #isOpen(exchange: Exchange): boolean {
    const type = exchange.request.headers['content-type'];
    if (this.#host.isClosed()) refuseClosed(exchange);
    else if (typeof type !== 'string' || !/^application\/json\s*(;|$)/i.test(type)) {
      exchange.refuse(fault('The body must be `application/json`.'));
    } else return true;
    return false;
  }

  /** The body as text; undefined where it is answered already, or nobody is there. */
  async #read(exchange: Exchange): Promise<string | undefined> {
    const { incoming } = exchange;
    const { clock, settings } = this.#host.core;
    const { maxMessageSize, helloTimeout } = settings.limits;
    if (incoming.readableEnded) return readAlready(exchange);
    const most = maxMessageSize + ENVELOPE;
    this.#reading.add(exchange);
    const body = await readBody(incoming, { most, clock, patience: helloTimeout });
    this.#reading.delete(exchange);
    return 'text' in body ? body.text : refuseBody(exchange, body.fault, most);
  }

  async #route(exchange: Exchange, text: string): Promise<void> {
    const value = parse(text);
    if (value === undefined) {
      exchange.refuse(fault('The body is not JSON.'));
      return;
    }
    const errand = errandBody.safeParse(value);
    const poll = pollBody.safeParse(value);
    if (errand.success) {
      await this.#errands.run(exchange, errand.data, this.#meters.of(errand.data.clientId));
    } else if (poll.success) this.#poll(exchange, poll.data);
    else if (isHello(value)) this.#welcome(exchange, new HttpStream(exchange), value);
    else exchange.refuse(fault('The body is no `hello`, no poll and no errand.'));
  }

  #poll(exchange: Exchange, { hello, wait }: z.infer<typeof pollBody>): void {
    const { clock, settings } = this.#host.core;
    const { limits, heartbeat } = settings;
    const { timeout } = heartbeat;
    const { rooms = [], clientId = '' } = helloOf(hello) ?? {};
    const bounds = { wait, enough: limits.bufferedBytes, timeout };
    const setup = { clock, rooms, clientId, pollers: this.pollers, ...bounds };
    this.#welcome(exchange, new HttpPoll(exchange, setup), hello);
  }

  #welcome(exchange: Exchange, wire: HttpStream | HttpPoll, hello: unknown): void {
    const text = textOf(hello);
    if (text === undefined) {
      exchange.refuse(fault('The `hello` is nested too deep.'));
      return;
    }
    const on = this.#host.accept(wire);
    wire.serve(on);
    const error = this.#tooMany(helloOf(hello)?.clientId);
    if (error === undefined) on.received(text);
    else exchange.refuse(error);
  }

  /** Each opens a connection, so what measures connections does not see that they are too many. */
  #tooMany(clientId: string | undefined): HoldfastError | undefined {
    if (clientId === undefined) return undefined;
    const meter = this.#meters.of(clientId);
    const retryAfter = meter.take(this.#host.core.clock.now());
    if (!meter.isAbused) return undefined;
    const why = 'Far too many connections, for too long.';
    return new HoldfastError('RATE_LIMITED', why, { retryAfter });
  }
}

function preflight(exchange: Exchange): void {
  exchange.setHeader('Access-Control-Allow-Methods', 'POST');
  // Those that a page adds are for what stands before us.
  const asked = exchange.incoming.headers['access-control-request-headers'];
  exchange.setHeader('Access-Control-Allow-Headers', asked ?? 'content-type');
  // A day; browsers take less.
  exchange.setHeader('Access-Control-Max-Age', '86400');
  exchange.empty(204);
}

function refuseClosed(exchange: Exchange): void {
  exchange.refuse(new HoldfastError('CONNECTION_FAILED', 'The server has closed.'), UNAVAILABLE);
}

function refuseBody(
  exchange: Exchange,
  why: Extract<Body, { fault: string }>['fault'],
  most: number,
): undefined {
  if (why === 'large') {
    exchange.refuse(new HoldfastError('MESSAGE_TOO_LARGE', `A body has at most ${most} bytes.`));
  } else if (why === 'slow') {
    exchange.setHeader('Connection', 'close');
    exchange.refuse(fault('The body did not arrive in time.'), TIMEOUT);
  }
}

/** A server that parses bodies itself leaves what it has read as `body`: the text, its bytes, or what it says. */
function readAlready(exchange: Exchange): string | undefined {
  const body: unknown = Reflect.get(exchange.incoming, 'body');
  if (typeof body === 'string') return body;
  if (body instanceof Uint8Array) return Buffer.from(body).toString();
  const text = typeof body === 'object' ? textOf(body) : undefined;
  if (text === undefined) {
    exchange.refuse(fault('The body was read already, and `request.body` does not have it.'));
  }
  return text;
}

/** Undefined where it cannot be written: JSON may be nested deeper than it can be written again. */
function textOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isHello(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'hello';
}

/** The hub looks at it more closely. */
function helloOf(value: unknown): Hello | undefined {
  const parsed = clientFrame.safeParse(value);
  return parsed.success && parsed.data.kind === 'hello' ? parsed.data : undefined;
}

function fault(message: string): HoldfastError {
  return new HoldfastError('PROTOCOL_ERROR', message);
}
