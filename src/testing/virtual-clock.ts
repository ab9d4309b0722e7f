/** Time that moves only when a test says so: the same story, to the millisecond, on every run. */
import { type Clock, LONGEST_TIMER } from '../lib/clock.js';
import { type Timer, timerQueue } from './timer-queue.js';

/** What `date()` says at first where the test names no date: 2026-01-01T00:00:00Z. */
export const VIRTUAL_EPOCH = 1_767_225_600_000;

/** A device on a virtual time line: what its user and its browser can do to its timers and date. */
export interface VirtualDevice extends Clock {
  /**
   * The device sleeps for `ms`. Nothing of it runs meanwhile, other devices go on. When it wakes, all
   * timers that fell due run late, at once, in the order they were due; then the frames that came
   * meanwhile arrive. That is the harder order of the two a real device may choose.
   * With `monotonic: 'stops'`, `now()` and the timers do not count the sleep, as on macOS and iOS.
   */
  sleep(ms: number, options?: { monotonic?: 'runs' | 'stops' }): Promise<void>;
  /**
   * The same without moving time: the device sleeps from here on, until the function that this
   * returns wakes it. For stories in which other things go on meanwhile. Harmless twice.
   */
  fallAsleep(options?: { monotonic?: 'runs' | 'stops' }): () => void;
  /**
   * Timers run only on whole multiples of `ms` of the time line, and never in the tick that set them,
   * as in a hidden tab: 1_000, or 60_000 after five minutes. 0 ends it.
   */
  throttle(ms: number): void;
  /** Sets the wall clock, Unix milliseconds, forwards or back. `now()` and timers do not notice. */
  setDate(date: number): void;
  /**
   * The same time for what reaches the device from outside, such as frames: it waits for a sleeping
   * device, but is never throttled. `memoryNetwork` uses it.
   */
  readonly wire: Clock;
  /** Timers that are set and have not run. 0 after `close()`, or something leaks. */
  readonly pending: number;
}

/** A virtual time line and, in one, its first device. */
export interface VirtualClock extends VirtualDevice {
  /**
   * Moves time forward by `ms`, running timers in due order, each at its own time. Before the first
   * and after each, whatever awaits gets to run. Rejects with what a timer throws; time then stands
   * at that timer.
   */
  advance(ms: number): Promise<void>;
  /** Lets promises settle. Time stands and no timer runs; `advance(0)` runs those due now. */
  settle(): Promise<void>;
  /** Another device on this time line, with a date, sleep and throttle of its own. */
  device(options?: { date?: number }): VirtualDevice;
  /** Timers on the whole time line, frames in flight on a memory network among them. */
  readonly pending: number;
}

/**
 * A clock for tests. `now()` starts at 0.
 *
 * ```ts
 * const clock = virtualClock();
 * clock.after(1_000, () => log('a second later'));
 * await clock.advance(1_000);
 * ```
 * @param options `date`: Unix milliseconds that `date()` starts with. @default {@link VIRTUAL_EPOCH}
 */
export function virtualClock(options: { date?: number } = {}): VirtualClock {
  const line = timeLine();
  const first = virtualDevice(line, options.date ?? VIRTUAL_EPOCH);
  return {
    now: first.now,
    date: first.date,
    after: first.after,
    sleep: first.sleep,
    fallAsleep: first.fallAsleep,
    throttle: first.throttle,
    setDate: first.setDate,
    wire: first.wire,
    advance: line.advance,
    settle: hop,
    device: ({ date } = {}) => virtualDevice(line, date ?? first.date()),
    get pending() {
      return line.queue.size;
    },
  };
}

type TimeLine = ReturnType<typeof timeLine>;

/** Timers that set each other this often without time moving are a loop, not a test. */
const LOOP = 10_000;

function timeLine() {
  const queue = timerQueue();
  let elapsed = 0;
  let advancing = false;
  let depth = 0;

  async function advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError(`Time moves forward by 0 ms or more, not by ${ms}.`);
    if (advancing) throw new Error('Time is moving already. Await the last advance() or sleep().');
    advancing = true;
    try {
      await runUntil(elapsed + ms);
    } finally {
      advancing = false;
      depth = 0;
    }
  }

  async function runUntil(end: number): Promise<void> {
    await hop();
    for (let timer = queue.take(end); timer !== undefined; timer = queue.take(end)) {
      depth = timer.at > timer.set ? 0 : timer.depth + 1;
      if (depth > LOOP) throw new Error('A timer loop: timers set each other without time moving.');
      elapsed = Math.max(elapsed, timer.at);
      timer.run();
      await hop();
    }
    elapsed = end;
  }

  return { queue, advance, now: () => elapsed, depth: () => depth };
}

function virtualDevice(line: TimeLine, startDate: number): VirtualDevice {
  const timers = new Set<Timer>();
  let asleep = false;
  /** Where its monotonic clock stands still, on the time line. */
  let stoppedAt: number | null = null;
  let period = 0;
  let uncounted = 0;
  let dateOffset = startDate - line.now();

  function after(ms: number, run: () => void, throttled: boolean): () => void {
    if (!(ms <= LONGEST_TIMER)) {
      throw new RangeError(`A timer takes at most ${LONGEST_TIMER} ms, not ${ms}.`);
    }
    const set = line.now();
    const due = set + Math.max(0, ms);
    const timer: Timer = {
      at: 0,
      due,
      set,
      depth: line.depth(),
      throttled,
      run: () => timers.delete(timer) && run(),
    };
    timer.at = runsAt(timer);
    timers.add(timer);
    line.queue.add(timer);
    return () => {
      if (timers.delete(timer)) line.queue.remove(timer);
    };
  }

  function runsAt({ due, set, throttled }: Timer): number {
    if (asleep) return Number.POSITIVE_INFINITY;
    if (!throttled || period === 0) return due;
    return Math.max(Math.ceil(due / period), Math.floor(set / period) + 1) * period;
  }

  function reschedule(): void {
    for (const timer of timers) timer.at = runsAt(timer);
    line.queue.sort();
  }

  function fallAsleep(options: { monotonic?: 'runs' | 'stops' } = {}): () => void {
    if (asleep) return () => {};
    const since = line.now();
    let isOver = false;
    asleep = true;
    if (options.monotonic === 'stops') stoppedAt = since;
    reschedule();
    return () => {
      if (isOver) return;
      isOver = true;
      const woken = line.now();
      for (const timer of timers) {
        if (!timer.throttled) timer.due = Math.max(timer.due, woken);
        else if (stoppedAt !== null) timer.due += woken - Math.max(since, timer.set);
      }
      if (stoppedAt !== null) uncounted += woken - since;
      stoppedAt = null;
      asleep = false;
      reschedule();
    };
  }

  async function sleep(ms: number, options: { monotonic?: 'runs' | 'stops' } = {}): Promise<void> {
    const wake = fallAsleep(options);
    try {
      await line.advance(ms);
    } finally {
      wake();
    }
    await line.advance(0);
  }

  const now = () => (stoppedAt ?? line.now()) - uncounted;
  const date = () => line.now() + dateOffset;
  return {
    now,
    date,
    after: (ms, run) => after(ms, run, true),
    sleep,
    fallAsleep,
    throttle(ms) {
      period = ms;
      reschedule();
    },
    setDate(unixMs) {
      dateOffset = unixMs - line.now();
    },
    wire: { now, date, after: (ms, run) => after(ms, run, false) },
    get pending() {
      return timers.size;
    },
  };
}

/** One real macrotask: every promise that can settle has settled when it ends. */
function hop(): Promise<void> {
  return new Promise((done) => {
    if (typeof setImmediate === 'function') return void setImmediate(done);
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      // An open port would keep a Node process alive.
      port1.close();
      done();
    };
    port2.postMessage(null);
  });
}
