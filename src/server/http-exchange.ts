/** One POST and the one answer it gets, as the kinds of HTTP wires write it. */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { HoldfastError } from '../protocol/errors.js';
import { serverFrame } from '../protocol/guard.js';
import { errorBody, refusalCode } from './failure.js';
import { bytesTaken } from './socket-flow.js';
import type { WireRequest } from './wire.js';

/** A refusal's HTTP status, by the close code that a WebSocket would be closed with. */
const statuses: Readonly<Record<number, number>> = {
  1002: 400,
  1007: 400,
  1009: 413,
  1011: 500,
  4401: 401,
  4403: 403,
  4408: 403,
  4409: 409,
  4429: 429,
};
const UNAVAILABLE = 503;

const always: OutgoingHttpHeaders = { 'Cache-Control': 'no-store, no-transform' };

export class Exchange {
  readonly request: WireRequest;
  readonly incoming: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #leaves: () => boolean;

  /** @param leaves the hub is on its way out: what comes next should come on another connection. */
  constructor(incoming: IncomingMessage, response: ServerResponse, leaves: () => boolean) {
    const { url = '/', headers, socket } = incoming;
    this.request = { url, headers, remoteAddress: socket.remoteAddress };
    this.incoming = incoming;
    this.#response = response;
    this.#leaves = leaves;
    // An error is followed by a close, and the close is what counts.
    incoming.on('error', () => {});
    response.on('error', () => {});
  }

  get isAnswered(): boolean {
    return this.#response.headersSent || this.isOver;
  }

  /** Nobody is left to write to. */
  get isOver(): boolean {
    return this.#response.destroyed || this.#response.closed;
  }

  /** The answer went out as a whole. */
  get isSent(): boolean {
    return this.#response.writableFinished;
  }

  get bufferedAmount(): number {
    return this.#response.writableLength;
  }

  get taken(): number | undefined {
    return bytesTaken(this.incoming.socket);
  }

  /** `run` is called once, when the answer is out or the client is gone. */
  onClose(run: () => void): void {
    this.#response.once('close', run);
  }

  /** The same, and nothing of a body is under way any more. */
  onDone(run: () => void): void {
    const look = () => {
      if (this.#response.closed && this.incoming.closed) run();
    };
    this.#response.once('close', look);
    this.incoming.once('close', look);
  }

  onDrain(run: () => void): void {
    this.#response.on('drain', run);
  }

  setHeader(name: string, value: string): void {
    this.#response.setHeader(name, value);
  }

  /** An answer without a body. */
  empty(status: number): void {
    this.#response.writeHead(status).end();
  }

  answer(frames: readonly string[], status = 200): void {
    if (this.isAnswered) return;
    const body = Buffer.from(`{"frames":[${frames.join(',')}]}`);
    this.#response.writeHead(status, {
      ...always,
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      ...(this.#leaves() ? { Connection: 'close' } : {}),
      ...retryAfter(status === 200 ? undefined : frames.at(-1)),
    });
    this.#response.end(body);
  }

  /** @param status where it is not the one that belongs to the error's code. */
  refuse(error: HoldfastError, status?: number): void {
    const frame = JSON.stringify({ kind: 'error', error: errorBody(error) });
    this.answer([frame], status ?? statuses[refusalCode(error)] ?? UNAVAILABLE);
  }

  /** The end of a wire that was not welcomed: what the hub had to say, or the reason of its close. */
  turnAway(frames: readonly string[], { code, reason }: { code: number; reason: string }): void {
    if (frames.length === 0)
      this.refuse(new HoldfastError('CONNECTION_FAILED', reason), UNAVAILABLE);
    else this.answer(frames, statuses[code] ?? UNAVAILABLE);
  }

  openStream(): void {
    this.#response.writeHead(200, {
      ...always,
      'Content-Type': 'text/event-stream',
      'X-Accel-Buffering': 'no',
    });
  }

  write(text: string, written?: () => void): void {
    this.#response.write(text, written);
  }

  end(): void {
    this.#response.end();
  }

  destroy(): void {
    this.#response.destroy();
    this.incoming.destroy();
  }
}

/** In whole seconds, where the frame is an error that says. */
function retryAfter(frame: string | undefined): OutgoingHttpHeaders {
  if (frame === undefined) return {};
  const said = serverFrame(JSON.parse(frame));
  const ms = said.kind === 'error' ? said.error.retryAfter : undefined;
  return ms === undefined ? {} : { 'Retry-After': Math.ceil(ms / 1_000) };
}
