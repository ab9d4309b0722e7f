/** The timers of a virtual time line, the next to run first; thousands of them stay quick. */

export interface Timer {
  /** When it runs, on the time line; Infinity while its device sleeps. */
  at: number;
  /** When it was asked to run: the order of those that run late together. */
  due: number;
  /** When it was set. */
  readonly set: number;
  /** How many timers in a row, each set by the one before, have run at the instant it was set. */
  readonly depth: number;
  readonly throttled: boolean;
  readonly run: () => void;
}

/** A binary heap. Removed timers stay in it until they surface or outnumber the others. */
export function timerQueue() {
  const order = new Map<Timer, number>();
  let heap: Timer[] = [];
  let next = 0;

  const rank = (timer: Timer) => order.get(timer) ?? 0;
  const compare = (a: Timer, b: Timer) => {
    if (a.at !== b.at) return a.at < b.at ? -1 : 1;
    return a.due - b.due || rank(a) - rank(b);
  };

  function add(timer: Timer): void {
    order.set(timer, next++);
    heap.push(timer);
    rise(heap, compare);
  }

  /** The first timer that runs at `end` or before, removed. */
  function take(end: number): Timer | undefined {
    for (let first = heap[0]; first !== undefined; first = heap[0]) {
      const waits = order.has(first);
      if (waits && first.at > end) return undefined;
      sink(heap, compare);
      order.delete(first);
      if (waits) return first;
    }
    return undefined;
  }

  function remove(timer: Timer): void {
    order.delete(timer);
    if (heap.length > 2 * order.size + 64) sort();
  }

  /** After `at` of some timers has changed. */
  function sort(): void {
    heap = [...order.keys()].sort(compare);
  }

  return {
    add,
    take,
    remove,
    sort,
    get size() {
      return order.size;
    },
  };
}

type Compare = (a: Timer, b: Timer) => number;

/** Moves the last timer up to its place. */
function rise(heap: Timer[], compare: Compare): void {
  let index = heap.length - 1;
  while (index > 0) {
    const above = (index - 1) >> 1;
    if (!swapped(heap, compare, [above, index])) return;
    index = above;
  }
}

/** Takes the first timer out: the last one takes its place and moves down. */
function sink(heap: Timer[], compare: Compare): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  heap[0] = last;
  let index = 0;
  while (true) {
    const left = 2 * index + 1;
    const [a, b] = [heap[left], heap[left + 1]];
    if (a === undefined) return;
    const below = b !== undefined && compare(b, a) < 0 ? left + 1 : left;
    if (!swapped(heap, compare, [index, below])) return;
    index = below;
  }
}

/** Swaps two timers of the heap where the lower one comes first. */
function swapped(heap: Timer[], compare: Compare, [above, below]: [number, number]): boolean {
  const [upper, lower] = [heap[above], heap[below]];
  if (upper === undefined || lower === undefined || compare(upper, lower) <= 0) return false;
  heap[above] = lower;
  heap[below] = upper;
  return true;
}
