/** What an application sends: checked against the contract, encoded once, then the machine's. */
import type { Delivery } from '../machine/fact.js';
import type { Status } from '../machine/status.js';
import { type Contract, entryOf, validate } from '../protocol/contract.js';
import { HoldfastError } from '../protocol/errors.js';
import { isReservedType, type Message, type Request } from '../protocol/frame.js';
import { byteLength, type Wire } from '../protocol/wire.js';
import type { Driver } from './driver.js';
import type { Environment } from './environment.js';
import { checkChoice, checkNumber, REQUEST_TIMEOUT } from './options.js';
import type { Transport } from './transport.js';

export interface RequestOptions {
  /** The room it belongs to: requests to one room run one after another. */
  room?: string | undefined;
  /** Milliseconds from the write to `OUTCOME_UNKNOWN`; they stand still while there is no link. @default 30_000 */
  timeout?: number;
  /** Milliseconds it may wait for its first write. @default outbox.ttl */
  ttl?: number;
  /** Before the write: it is never sent. After it: the response is ignored. */
  signal?: AbortSignal;
  /** @default "exactly-once" */
  delivery?: Delivery;
  /** Takes the place of what waits with the same key and was never written. */
  coalesceKey?: string;
  /** @default a nanoid */
  requestId?: string;
}

export interface SendOptions {
  room?: string | undefined;
  /** What happens to it while there is no connection. @default "queue" */
  whileOffline?: 'queue' | 'drop' | 'reject';
}

export interface OutgoingParts {
  contract: Contract;
  transport: Transport;
  environment: Environment;
  driver: Driver;
  /** `outbox.ttl` */
  ttl: number;
}

export class Outgoing {
  readonly #parts: OutgoingParts;

  constructor(parts: OutgoingParts) {
    this.#parts = parts;
  }

  /** Rejects, never throws. What the payload becomes after this call does not matter: it is encoded. */
  async request(type: string, payload: unknown, options: RequestOptions): Promise<unknown> {
    const { contract, driver, environment } = this.#parts;
    const { room, signal, requestId = environment.id() } = options;
    const { timeout = REQUEST_TIMEOUT, delivery = 'exactly-once' } = options;
    const ttl = options.ttl ?? this.#parts.ttl;
    checkNumber('timeout', timeout, 1);
    checkNumber('ttl', ttl, 0);
    checkChoice('delivery', delivery, ['exactly-once', 'at-least-once', 'at-most-once']);
    if (signal?.aborted) throw aborted(`The request "${type}"`, signal);
    if (driver.response(requestId) !== undefined) throw repeated(requestId);
    const schemas = entryOf(contract.requests, type);
    check(contract.requests, schemas?.payload, { what: 'request', type, payload });
    const timestamp = environment.clock.date();
    const wire = this.#encode({ kind: 'request', requestId, type, timestamp, payload, room });
    const response = driver.request({
      requestId,
      type,
      payload,
      room,
      wire,
      bytes: byteLength(wire),
      delivery,
      timeout,
      ttl,
      expiresAt: timestamp + ttl,
      coalesceKey: options.coalesceKey,
    });
    onAbort(signal, response, () => driver.dispatch({ fact: 'aborted', requestId }));
    const data = await response;
    return schemas === undefined ? data : validate(schemas.data, data, `response "${type}"`);
  }

  send(type: string, payload: unknown, options: SendOptions, status: Status): void {
    const { contract, driver, environment } = this.#parts;
    const { room, whileOffline = 'queue' } = options;
    checkChoice('whileOffline', whileOffline, ['queue', 'drop', 'reject']);
    if (status === 'closed') throw unsent(type, status, 'closed');
    if (status !== 'connected' && whileOffline === 'reject') throw unsent(type, status, 'offline');
    if (status !== 'connected' && whileOffline === 'drop') return;
    const { messages } = contract;
    check(messages, entryOf(messages, type), { what: 'message', type, payload });
    const timestamp = environment.clock.date();
    const wire = this.#encode({ kind: 'message', type, timestamp, payload, room });
    driver.dispatch({ fact: 'told', message: { wire, bytes: byteLength(wire) } });
  }

  #encode(frame: Request | Message): Wire {
    try {
      return this.#parts.transport.codec.encode(frame);
    } catch (cause) {
      if (cause instanceof HoldfastError) throw cause;
      throw new HoldfastError(
        'INVALID_PAYLOAD',
        `The payload of "${frame.type}" cannot be encoded.`,
        { cause },
      );
    }
  }
}

/** Calls `abort` when the signal says so, until `promise` has settled; leaves no listener behind. */
export function onAbort(
  signal: AbortSignal | undefined,
  promise: Promise<unknown>,
  abort: (by: AbortSignal) => void,
): void {
  if (signal === undefined) return;
  const hear = () => abort(signal);
  signal.addEventListener('abort', hear, { once: true });
  const off = () => signal.removeEventListener('abort', hear);
  promise.then(off, off);
}

export function aborted(what: string, signal: AbortSignal): HoldfastError {
  return new HoldfastError('NOT_SENT', `${what} was aborted by its signal.`, {
    cause: signal.reason,
    details: { reason: 'aborted' },
  });
}

function check(
  part: Readonly<Record<string, unknown>> | undefined,
  schema: Parameters<typeof validate>[0] | undefined,
  { what, type, payload }: { what: string; type: string; payload: unknown },
): void {
  if (schema !== undefined) {
    validate(schema, payload, `${what} "${type}"`);
    return;
  }
  if (part === undefined && !isReservedType(type)) return;
  throw new HoldfastError(
    'UNKNOWN_TYPE',
    part === undefined
      ? `The type "${type}" is reserved. Name it "resource:action".`
      : `The contract has no ${what} "${type}". Add it there.`,
  );
}

function repeated(requestId: string): HoldfastError {
  return new HoldfastError(
    'INVALID_PAYLOAD',
    `A request with the requestId "${requestId}" already waits for its response.`,
  );
}

function unsent(type: string, status: Status, reason: string): HoldfastError {
  return new HoldfastError('NOT_SENT', `The message "${type}" was not sent: ${status}.`, {
    details: { reason },
  });
}
