/** Writes MessagePack: any value as JSON would see it, and bytes as they are. */

import { DEEPEST, SHORT, TWO_32 } from './message-pack-reader.js';
import { byteLength } from './wire.js';

/** @throws TypeError for a BigInt, for a cycle, and for what is nested more than 1000 deep. */
export function pack(value: unknown): Uint8Array {
  const packer = new Packer();
  packer.put(asJson(value, ''), 0);
  return packer.done();
}

/** How a size is written: within the head up to `most`, then behind a head in 8, 16 or 32 bits. */
interface Heads {
  readonly most: number;
  readonly fixed: number;
  /** The head for 16 bits; the one for 32 comes next, the one for 8 before it. */
  readonly of16: number;
  readonly has8: boolean;
}

const texts: Heads = { most: 31, fixed: 0xa0, of16: 0xda, has8: true };
const binaries: Heads = { most: -1, fixed: 0, of16: 0xc5, has8: true };
const lists: Heads = { most: 15, fixed: 0x90, of16: 0xdc, has8: false };
const maps: Heads = { most: 15, fixed: 0x80, of16: 0xde, has8: false };

const NIL = 0xc0;

class Packer {
  #bytes = new Uint8Array(512);
  #view = new DataView(this.#bytes.buffer);
  #end = 0;

  done(): Uint8Array {
    return this.#bytes.slice(0, this.#end);
  }

  /** @param value after `asJson`. */
  put(value: unknown, depth: number): void {
    if (typeof value === 'string') this.#text(value);
    else if (typeof value === 'number') this.#number(value);
    else if (typeof value === 'boolean') this.#uint(value ? 0xc3 : 0xc2, 1);
    else if (typeof value === 'bigint') throw new TypeError('A payload cannot hold a BigInt.');
    else if (typeof value !== 'object' || value === null) this.#uint(NIL, 1);
    else if (value instanceof Uint8Array) {
      this.#size(value.length, binaries);
      const at = this.#take(value.length);
      this.#bytes.set(value, at);
    } else if (depth >= DEEPEST) {
      throw new TypeError(`A payload contains itself, or is nested more than ${DEEPEST} deep.`);
    } else if (Array.isArray(value)) this.#list(value, depth + 1);
    else this.#map(value, depth + 1);
  }

  #list(list: readonly unknown[], depth: number): void {
    this.#size(list.length, lists);
    for (let index = 0; index < list.length; index++) {
      this.put(asJson(list[index], `${index}`), depth);
    }
  }

  #map(map: object, depth: number): void {
    const entries: [string, unknown][] = [];
    for (const [key, given] of Object.entries(map)) {
      const value = asJson(given, key);
      if (value !== undefined && typeof value !== 'function' && typeof value !== 'symbol') {
        entries.push([key, value]);
      }
    }
    this.#size(entries.length, maps);
    for (const [key, value] of entries) {
      this.#text(key);
      this.put(value, depth);
    }
  }

  #text(text: string): void {
    if (text.length < SHORT && this.#ascii(text)) return;
    const size = byteLength(text);
    this.#size(size, texts);
    const at = this.#take(size);
    new TextEncoder().encodeInto(text, this.#bytes.subarray(at));
  }

  /** False, and nothing written, where it is not all ASCII. */
  #ascii(text: string): boolean {
    const start = this.#end;
    this.#size(text.length, texts);
    let at = this.#take(text.length);
    for (let index = 0; index < text.length; index++) {
      const unit = text.charCodeAt(index);
      if (unit > 0x7f) {
        this.#end = start;
        return false;
      }
      this.#bytes[at++] = unit;
    }
    return true;
  }

  #number(value: number): void {
    if (!Number.isFinite(value)) this.#uint(NIL, 1);
    else if (!Number.isSafeInteger(value)) {
      this.#uint(0xcb, 1);
      const at = this.#take(8);
      this.#view.setFloat64(at, value);
    } else if (value >= -0x20 && value < 0x80) this.#uint(value, 1);
    else {
      const reach = value < 0 ? -2 * (value + 1) : value;
      const power = reach < 0x100 ? 0 : reach < 0x1_0000 ? 1 : reach < TWO_32 ? 2 : 3;
      this.#uint((value < 0 ? 0xd0 : 0xcc) + power, 1);
      this.#uint(value, 1 << power);
    }
  }

  #size(size: number, { most, fixed, of16, has8 }: Heads): void {
    if (size <= most) this.#uint(fixed + size, 1);
    else {
      const power = has8 && size < 0x100 ? 0 : size < 0x1_0000 ? 1 : 2;
      this.#uint(of16 - 1 + power, 1);
      this.#uint(size, 1 << power);
    }
  }

  /** The lowest bytes of a whole number: negative ones come out in two's complement. */
  #uint(value: number, size: number): void {
    const at = this.#take(size);
    if (size === 1) this.#bytes[at] = value;
    else if (size === 2) this.#view.setUint16(at, value);
    else {
      if (size === 8) this.#view.setUint32(at, Math.floor(value / TWO_32));
      this.#view.setUint32(at + size - 4, value);
    }
  }

  /** Where the next so many bytes go. It may put new memory in place: look at that afterwards. */
  #take(size: number): number {
    const at = this.#end;
    this.#end += size;
    if (this.#end > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(this.#end, this.#bytes.length * 2));
      bytes.set(this.#bytes);
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
    }
    return at;
  }
}

/** What JSON would see of it; bytes are left as they are. */
function asJson(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  const seen = hasJson(value) ? value.toJSON(key) : value;
  const isBoxed = seen instanceof Number || seen instanceof String || seen instanceof Boolean;
  return isBoxed ? seen.valueOf() : seen;
}

function hasJson(value: object): value is { toJSON(key: string): unknown } {
  return 'toJSON' in value && typeof value.toJSON === 'function';
}
