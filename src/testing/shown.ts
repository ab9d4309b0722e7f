/** Values as text, for errors that say what was found and what was wanted. */

/** Every value: keys in order, and what JSON has no word for. */
export function shown(value: unknown): string {
  if (value instanceof Uint8Array) return `bytes(${[...value]})`;
  if (Array.isArray(value)) return `[${value.map(shown)}]`;
  if (value instanceof Error) return `${value}`;
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
    return `{${fields.map(([key, field]) => `${key}:${shown(field)}`)}}`;
  }
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
