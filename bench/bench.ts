/** What a bench is, what a contender offers to it, and the two ways in which they are measured. */
import { setTimeout } from 'node:timers/promises';

export interface ConnectOptions {
  /** Milliseconds of silence before a heartbeat; the server's terms say the same. */
  heartbeat?: number;
  /** Checks every payload against a zod schema. */
  checked?: boolean;
  /** Requests that may be on the wire at a time, and wait. */
  maxRequests?: number;
}

/** One connection, as little of it as the benches need. */
export interface Connection {
  /** Joins the one room there is. What the URL asks of the server starts 80 ms after its verdict. */
  join(): Promise<void>;
  onEvent(listener: (payload: unknown) => void): void;
  /** Wants no answer. */
  send(payload: unknown): void;
  request(payload: unknown): Promise<unknown>;
  /** Resolves once all that was sent has been handed to the network. */
  drained(): Promise<void>;
  close(): void;
}

/** A client that loses its link again and again, and fetches what it missed. */
export interface Returning {
  /** Milliseconds from the `hello` of a new link to the last missed event, everything in order. */
  again(): Promise<number>;
  close(): void;
}

export interface Contender {
  /** Resolves once messages may be sent. */
  connect(url: string, options?: ConnectOptions): Promise<Connection>;
  returning(url: string, missed: { rooms: number; each: number }): Promise<Returning>;
}

export interface Bench {
  /** What `--only` looks for. */
  readonly name: string;
  /** Its line in the table. */
  readonly title: string;
  readonly unit: string;
  /** `ratio`: to the floor, measured right before it. `value`: in the unit itself. None: to be looked at. */
  readonly target?: { readonly ratio: number } | { readonly value: number };
  /** Events, messages, clients: how many in one round. */
  readonly size: number;
  readonly quickSize: number;
  /** A process for each round: for what a process does not give back, memory. */
  readonly fresh?: boolean;
  measure(contender: Contender, round: Round): Promise<number>;
}

export interface Round {
  /** `ws://127.0.0.1:port` */
  readonly base: string;
  readonly size: number;
  /** The floor keeps no promises; some benches must know. */
  readonly isFloor: boolean;
  /** Its figure is thrown away: it is there for the compiler, which works beside the first rounds. */
  readonly isWarmUp: boolean;
}

/** Microseconds of CPU, user and system, that this process spends until `work` is over. */
export async function cpuOf(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

/** What earlier rounds left behind is not to be collected in this one, nor swept beside it. */
export async function collectGarbage(): Promise<void> {
  globalThis.gc?.();
  await setTimeout(30);
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Between two values, the line between them. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return below + (above - below) * (place % 1);
}
