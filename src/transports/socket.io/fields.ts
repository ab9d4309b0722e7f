/** A look into values that others made. */

type Fields = Readonly<Record<string, unknown>>;

/** Its fields, or none: an error's message is not among what a spread would copy. */
export function fieldsOf(value: unknown): Fields {
  return isObject(value) ? value : {};
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** Attachments are buffers of the platform's own kind; payloads hold `Uint8Array`. In place. */
export function viewed(value: unknown): unknown {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  if (isObject(value)) for (const key of Object.keys(value)) value[key] = viewed(value[key]);
  return value;
}
