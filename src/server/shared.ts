/** Makes something of a text once for everybody it is sent to in the same tick. */
export class Shared<T> {
  readonly #made = new Map<string, T>();
  readonly #make: (text: string) => T;

  constructor(make: (text: string) => T) {
    this.#make = make;
  }

  of(text: string): T {
    const known = this.#made.get(text);
    if (known !== undefined) return known;
    const made = this.#make(text);
    if (this.#made.size === 0) queueMicrotask(() => this.#made.clear());
    this.#made.set(text, made);
    return made;
  }
}
