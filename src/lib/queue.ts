/** A first-in, first-out line whose `shift` costs the same however long it is. */
export class Queue<T> {
  #items: T[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    const next = this.#items[++this.#head];
    if (next === undefined) {
      this.#empty();
      return item;
    }
    // What was shifted is not held any longer: a client has a queue for each of its rooms.
    this.#items[this.#head - 1] = next;
    // Amortised: the dead half is cut off only once it is as long as the living one.
    if (this.#head > 64 && this.#head * 2 > this.#items.length) this.#compact();
    return item;
  }

  /** Puts an item before the first one that `follows` it. */
  insert(item: T, follows: (other: T) => boolean): void {
    this.#compact();
    const index = this.#items.findIndex(follows);
    this.#items.splice(index === -1 ? this.#items.length : index, 0, item);
  }

  /** Takes an item out, wherever it stands; false where it is not there. */
  remove(item: T): boolean {
    this.#compact();
    const index = this.#items.indexOf(item);
    if (index !== -1) this.#items.splice(index, 1);
    return index !== -1;
  }

  /** All items in order, as an array of their own. */
  toArray(): T[] {
    return this.#items.slice(this.#head);
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }

  /** One by one: `length = 0` would give the array's memory back, and every push would ask for it anew. */
  #empty(): void {
    while (this.#items.length > 0) this.#items.pop();
    this.#head = 0;
  }

  #compact(): void {
    if (this.#head > 0) this.#items = this.#items.slice(this.#head);
    this.#head = 0;
  }
}
