/** Facts and orders as JSON: what JSON has no words for is told by `$`, and credentials are left out. */

import { type ErrorFacts, HoldfastError, isErrorCode } from '../protocol/errors.js';
import { byteLength } from '../protocol/wire.js';

const REDACTED = '[redacted]';

/** What the machine itself says in an error's details. */
const ownDetails = new Set(['reason', 'room', 'closeCode', 'status']);

type Pack = (value: unknown, name?: string) => unknown;

export class Packer {
  readonly #folds: boolean;
  /** Encoded frames that were folded: the same one has the same number wherever it stands. */
  readonly #wires = new Map<string, number>();

  /** @param folds whether payloads give way to their size */
  constructor(folds: boolean) {
    this.#folds = folds;
  }

  /** A fact, an order, or what stands in one under that name. */
  readonly pack: Pack = (value, name) => {
    if (name === 'payload' || name === 'data') return this.#payload(value);
    if (name === 'auth' || name === 'clientId') return value === null ? null : REDACTED;
    if (name === 'wire') return this.#wire(value);
    if (name === 'frames' && Array.isArray(value)) return value.map((frame) => this.#wire(frame));
    if (name === 'details' && this.#folds) return own(value);
    if (value instanceof HoldfastError)
      return { $: 'error', of: this.pack(bodyOf(value), 'error') };
    const isFolded = this.#folds && name === 'error' && isForeign(value);
    return this.plain(isFolded ? { ...value, message: '' } : withoutCopy(value), this.pack);
  };

  /** Anything else. */
  plain(value: unknown, inner: Pack = (one) => this.plain(one)): unknown {
    if (typeof value === 'bigint') return `${value}`;
    if (typeof value === 'number' && !Number.isFinite(value))
      return { $: 'number', of: `${value}` };
    if (typeof value !== 'object' || value === null) return value;
    if (value instanceof Uint8Array) return { $: 'bytes', of: base64(value) };
    if (Array.isArray(value)) return value.map((one) => inner(one));
    if (value instanceof Date) return value.toJSON();
    const entries = Object.entries(value).map(([key, one]) => [key, inner(one, key)] as const);
    return '$' in value ? { $: 'object', of: entries } : Object.fromEntries(entries);
  }

  #payload(value: unknown): unknown {
    if (value === undefined) return undefined;
    try {
      const packed = this.plain(value);
      return this.#folds ? { $: 'payload', of: byteLength(JSON.stringify(packed)) } : packed;
    } catch {
      // A codec of one's own may carry what no JSON holds.
      return { $: 'payload', of: 0 };
    }
  }

  #wire(value: unknown): unknown {
    const isEncoded = typeof value === 'string' || value instanceof Uint8Array;
    if (!this.#folds || !isEncoded) return this.pack(value);
    const content = typeof value === 'string' ? value : base64(value);
    const number = this.#wires.get(content) ?? this.#wires.size + 1;
    this.#wires.set(content, number);
    return { $: 'wire', of: number, bytes: byteLength(value) };
  }
}

/** For `JSON.parse`: what `$` tells becomes that again. */
export function unpacked(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('$' in value && 'of' in value)) return value;
  const { $: kind, of } = value;
  if (kind === 'number') return Number(of);
  if (kind === 'bytes') return Uint8Array.from(atob(`${of}`), (one) => one.charCodeAt(0));
  if (kind === 'payload') return `[${of} bytes]`;
  if (kind === 'wire') return stub(`[frame ${of}]`, 'bytes' in value ? Number(value.bytes) : 0);
  if (kind === 'object' && Array.isArray(of)) return Object.fromEntries(of);
  if (kind === 'error' && isBody(of)) return new HoldfastError(of.code, of.message, { ...of });
  return value;
}

/** The same text for the same things, whatever the order of their keys and the words of an error. */
export function comparable(value: unknown): string {
  return JSON.stringify(new Packer(false).pack(value), (_key, one: unknown) => {
    if (typeof one !== 'object' || one === null || Array.isArray(one)) return one;
    const said = isBody(one) ? { ...one, message: '' } : one;
    return Object.fromEntries(
      Object.entries<unknown>({ ...said }).sort(([key], [other]) => (key < other ? -1 : 1)),
    );
  });
}

interface Body extends ErrorFacts {
  readonly code: string;
  readonly message: string;
}

function isBody(value: unknown): value is Body {
  if (typeof value !== 'object' || value === null || !('code' in value && 'message' in value))
    return false;
  return typeof value.code === 'string' && typeof value.message === 'string';
}

/** The peer said it, or it has a code of the application's: its words are as private as a payload. */
function isForeign(value: unknown): value is Body {
  if (!isBody(value)) return false;
  return !isErrorCode(value.code) || ('isRemote' in value && value.isRemote === true);
}

function bodyOf({
  code,
  message,
  retryable,
  retryAfter,
  details,
  isRemote,
}: HoldfastError): object {
  return { code, message, retryable, retryAfter, details, ...(isRemote && { isRemote }) };
}

function own(details: unknown): unknown {
  const entries = Object.entries<unknown>(typeof details === 'object' ? { ...details } : {});
  return Object.fromEntries(entries.filter(([name]) => ownDetails.has(name)));
}

/** A request holds its payload twice; the encoded one is the one that counts. */
function withoutCopy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('wire' in value)) return value;
  return { ...value, payload: undefined };
}

/** As long as what it stands for: the machine counts bytes. */
function stub(name: string, bytes: number): string {
  return name.padEnd(bytes, '.').slice(0, Math.max(bytes, name.length));
}

function base64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (one) => String.fromCharCode(one)).join(''));
}
