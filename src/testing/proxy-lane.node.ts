/** One direction of a proxied TCP connection: reads one socket, writes the other, with faults. */
import type { Socket } from 'node:net';

/** What a lane asks about the wire, at every step: faults change while it runs. */
export interface LaneFaults {
  latency(): number;
  jitter(): number;
  /** Bytes per second. */
  bandwidth(): number;
  held(): boolean;
}

export interface ProxyLaneSetup extends LaneFaults {
  from: Socket;
  to: Socket;
  random: () => number;
  /** So many bytes have been written to `to`. */
  forwarded(bytes: number): void;
  /** All bytes that `truncateAfter` allowed have been written. */
  truncated(): void;
}

export interface ProxyLane {
  /** Carries on after faults have changed. */
  pump(): void;
  /** Passes on how `from` ended, after the bytes before it. */
  finish(how: 'end' | 'reset'): void;
  /** Lets so many bytes more through, then calls `truncated`. */
  truncateAfter(bytes: number): void;
  /** Reads all there is, however much: only a socket that is read tells that its peer has left. */
  readOn(): void;
  /** Nobody will read this any more: bytes are read and thrown away. */
  discard(): void;
  /** Bytes read and not yet written. */
  readonly queued: number;
}

type Load = { due: number; bytes: Buffer } | { due: number; finish: 'end' | 'reset' };

/** With so much in the queue the sender is no longer read, so that its own buffer grows. */
const QUEUE_LIMIT = 262_144;

/** Bandwidth is dealt out in slices of so many milliseconds. */
const SLICE = 20;

export function proxyLane(setup: ProxyLaneSetup): ProxyLane {
  const { from, to } = setup;
  let queue: Load[] = [];
  let queued = 0;
  let latest = 0;
  let freeAt = 0;
  let allowance = Number.POSITIVE_INFINITY;
  let limit = QUEUE_LIMIT;
  let discarding = false;
  let timer: NodeJS.Timeout | undefined;

  from.on('data', (bytes: Buffer) => {
    if (discarding) return;
    queued += bytes.length;
    if (queued > limit) from.pause();
    enqueue({ due: dueNow(), bytes });
  });
  to.on('drain', pump);

  function dueNow(): number {
    const due = performance.now() + setup.latency() + setup.random() * setup.jitter();
    latest = Math.max(latest, due);
    return latest;
  }

  function enqueue(load: Load): void {
    queue.push(load);
    pump();
  }

  function pump(): void {
    clearTimeout(timer);
    for (let head = queue[0]; head !== undefined; head = queue[0]) {
      if (setup.held() || setup.bandwidth() === 0 || allowance === 0) return;
      if (to.writableNeedDrain) return;
      const wait = Math.max(head.due, 'bytes' in head ? freeAt : 0) - performance.now();
      if (wait > 0) {
        timer = setTimeout(pump, Math.ceil(wait));
        return;
      }
      queue.shift();
      if ('bytes' in head) forward(head.due, head.bytes);
      else if (head.finish === 'end') to.end();
      else resetSocket(to);
    }
  }

  function forward(due: number, bytes: Buffer): void {
    const slice = bytes.subarray(0, Math.min(sliceSize(), allowance));
    const rest = bytes.subarray(slice.length);
    if (rest.length > 0) queue.unshift({ due, bytes: rest });
    allowance -= slice.length;
    queued -= slice.length;
    // A timer that runs late is made up for by the next slice.
    const start = Math.max(freeAt, performance.now() - SLICE);
    freeAt = start + (slice.length * 1_000) / setup.bandwidth();
    if (queued <= limit && from.isPaused()) from.resume();
    const done = allowance === 0 ? setup.truncated : undefined;
    if (to.writable) to.write(slice, done);
    setup.forwarded(slice.length);
  }

  function sliceSize(): number {
    return Math.max(1, Math.floor((setup.bandwidth() * SLICE) / 1_000));
  }

  function readOn(): void {
    limit = Number.POSITIVE_INFINITY;
    from.resume();
  }

  return {
    pump,
    finish(how) {
      if (!discarding) enqueue({ due: dueNow(), finish: how });
    },
    truncateAfter(bytes) {
      allowance = bytes;
      if (bytes === 0) setup.truncated();
      else pump();
    },
    readOn,
    discard() {
      discarding = true;
      clearTimeout(timer);
      queue = [];
      queued = 0;
      readOn();
    },
    get queued() {
      return queued;
    },
  };
}

/**
 * Ends a socket with RST. One that has said FIN already is destroyed instead: libuv refuses to reset
 * it, and Node would then keep its handle, and the process, for ever.
 */
export function resetSocket(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
