/** A WebSocket class whose other end is the test, on time that moves only when told. */
import { virtualClock } from 'holdfast/testing';
import { onTestFinished } from 'vitest';
import {
  ReconnectingWebSocket,
  type ReconnectingWebSocketOptions,
  type UrlProvider,
} from '../../src/drop-in/reconnecting-web-socket.js';

export class HandSocket {
  readyState = 0;
  bufferedAmount = 0;
  protocol = '';
  extensions = '';
  binaryType = '';
  onopen: ((event: object) => void) | null = null;
  onmessage: ((event: object) => void) | null = null;
  onerror: ((event: object) => void) | null = null;
  onclose: ((event: object) => void) | null = null;
  readonly sent: unknown[] = [];
  readonly closes: unknown[][] = [];
  readonly given: unknown[];

  constructor(...given: unknown[]) {
    this.given = given;
  }

  send(data: unknown): void {
    this.sent.push(data);
  }

  close(...how: unknown[]): void {
    this.closes.push(how);
    if (this.readyState < 2) this.readyState = 2;
  }

  opens(): void {
    this.readyState = 1;
    this.onopen?.({});
  }

  receives(data: unknown): void {
    this.onmessage?.({ data });
  }

  fails(message = 'refused'): void {
    this.readyState = 3;
    this.onerror?.({ message });
    this.onclose?.({ code: 1006, reason: '', wasClean: false });
  }

  ends(code = 1006, reason = ''): void {
    this.readyState = 3;
    this.onclose?.({ code, reason, wasClean: code !== 1006 });
  }
}

type Signals = ReconnectingWebSocketOptions['environment'] extends infer E
  ? E extends { lifecycle?: (listener: infer L) => unknown }
    ? L
    : never
  : never;

/** One ReconnectingWebSocket over hand sockets. `events` has every event, oldest first. */
export function handMade(
  options: ReconnectingWebSocketOptions = {},
  url: UrlProvider = 'ws://127.0.0.1/feed',
  defaults: ReconnectingWebSocketOptions = { minReconnectionDelay: 1_000 },
) {
  const clock = virtualClock();
  const made: HandSocket[] = [];
  const listening = new Set<Signals>();
  class Recorded extends HandSocket {
    constructor(...given: unknown[]) {
      super(...given);
      made.push(this);
    }
  }
  const { environment, ...others } = options;
  const socket = new ReconnectingWebSocket(url, undefined, {
    WebSocket: Recorded,
    ...defaults,
    environment: {
      clock,
      random: () => 0,
      lifecycle(listener) {
        listening.add(listener);
        return () => listening.delete(listener);
      },
      ...environment,
    },
    ...others,
  });
  const events: string[] = [];
  socket.addEventListener('open', () => events.push('open'));
  socket.addEventListener('message', ({ data }) => events.push(`message ${data}`));
  socket.addEventListener('error', ({ message }) => events.push(`error ${message}`));
  socket.addEventListener('close', ({ code, reason }) => events.push(`close ${code} ${reason}`));
  onTestFinished(() => socket.close());
  return {
    clock,
    socket,
    made,
    events,
    listening,
    signal: (signal: Parameters<Signals>[0]) => {
      for (const listener of [...listening]) listener(signal);
    },
    /** The newest socket underneath; dials by themselves come first. */
    async inner(): Promise<HandSocket> {
      await clock.settle();
      const last = made.at(-1);
      if (last === undefined) throw new Error('Nothing was dialed.');
      return last;
    },
  };
}
