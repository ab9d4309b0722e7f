/** Reads MessagePack from a peer that nobody vouches for. */

/** Deeper than any payload that is meant, and far from the end of any stack. */
export const DEEPEST = 1_000;

export const TWO_32 = 2 ** 32;

/** Below it texts are faster unit by unit than by a call into the platform. */
export const SHORT = 32;

/**
 * Reads one value that fills the bytes. Every length is held against what is left of them, so that a
 * few bytes cannot ask for much memory.
 * @throws Error of any kind for what is no MessagePack, for keys that are not text, for extension
 * types, and for what is nested more than 1000 deep.
 */
export function unpack(wire: Uint8Array): unknown {
  return new Unpacker(wire).whole();
}

class Unpacker {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #depth = 0;

  constructor({ buffer, byteOffset, byteLength: size }: Uint8Array) {
    // A Buffer's own `slice` would share its memory.
    this.#bytes = new Uint8Array(buffer, byteOffset, size);
    this.#view = new DataView(buffer, byteOffset, size);
  }

  whole(): unknown {
    const value = this.#value();
    if (this.#at !== this.#bytes.length) throw new RangeError('There is more than one value.');
    return value;
  }

  #value(): unknown {
    const head = this.#uint(1);
    if (head < 0x80) return head;
    if (head < 0x90) return this.#map(head & 15);
    if (head < 0xa0) return this.#list(head & 15);
    if (head < 0xc0) return this.#text(head & 31);
    if (head >= 0xe0) return head - 0x100;
    switch (head) {
      case 0xc0:
        return null;
      case 0xc2:
      case 0xc3:
        return head === 0xc3;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#take(this.#uint(1 << (head - 0xc4))).slice();
      case 0xca:
        return this.#view.getFloat32(this.#move(4));
      case 0xcb:
        return this.#view.getFloat64(this.#move(8));
      case 0xcc:
      case 0xcd:
      case 0xce:
      case 0xcf:
        return this.#uint(1 << (head - 0xcc));
      case 0xd0:
      case 0xd1:
      case 0xd2:
      case 0xd3:
        return this.#int(1 << (head - 0xd0));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#uint(1 << (head - 0xd9)));
      case 0xdc:
      case 0xdd:
        return this.#list(this.#uint(2 << (head - 0xdc)));
      case 0xde:
      case 0xdf:
        return this.#map(this.#uint(2 << (head - 0xde)));
      default:
        throw new TypeError('An extension type, or nothing at all.');
    }
  }

  #list(size: number): unknown[] {
    this.#enter(size);
    const list: unknown[] = [];
    for (let index = 0; index < size; index++) list.push(this.#value());
    this.#depth--;
    return list;
  }

  #map(size: number): object {
    this.#enter(size * 2);
    const map: Record<string, unknown> = {};
    for (let index = 0; index < size; index++) {
      const key = this.#value();
      if (typeof key !== 'string') throw new TypeError('A key is text.');
      const value = this.#value();
      if (key !== '__proto__') map[key] = value;
      // As JSON.parse does it: an own key, and no prototype.
      else Object.defineProperty(map, key, { value, ...plain });
    }
    this.#depth--;
    return map;
  }

  /** @param least bytes that what follows must have. */
  #enter(least: number): void {
    if (least > this.#bytes.length - this.#at || ++this.#depth > DEEPEST) {
      throw new RangeError('Too short for what it says, or nested too deep.');
    }
  }

  #text(size: number): string {
    const start = this.#move(size);
    const bytes = this.#bytes;
    let text = '';
    for (let at = start; size < SHORT; at++) {
      if (at === this.#at) return text;
      const unit = bytes[at] ?? 0x80;
      if (unit > 0x7f) break;
      text += String.fromCharCode(unit);
    }
    decoder ??= new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    return decoder.decode(bytes.subarray(start, this.#at));
  }

  #take(size: number): Uint8Array {
    const at = this.#move(size);
    return this.#bytes.subarray(at, this.#at);
  }

  #uint(size: number): number {
    const at = this.#move(size);
    if (size === 1) return this.#view.getUint8(at);
    if (size === 2) return this.#view.getUint16(at);
    const low = this.#view.getUint32(at + size - 4);
    return size === 4 ? low : this.#view.getUint32(at) * TWO_32 + low;
  }

  #int(size: number): number {
    const at = this.#move(size);
    if (size === 1) return this.#view.getInt8(at);
    if (size === 2) return this.#view.getInt16(at);
    if (size === 4) return this.#view.getInt32(at);
    return this.#view.getInt32(at) * TWO_32 + this.#view.getUint32(at + 4);
  }

  #move(size: number): number {
    const at = this.#at;
    this.#at += size;
    if (this.#at > this.#bytes.length) throw new RangeError('It ends in the middle of a value.');
    return at;
  }
}

const plain = { enumerable: true, configurable: true, writable: true };

/** A mark at the start of a text belongs to the text; bytes that are no UTF-8 belong to no text. */
let decoder: TextDecoder | undefined;
