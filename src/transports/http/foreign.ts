/** A link over HTTP in another language: the answers to GETs are what the server says, POSTs what we say. */
import type { Conversation, Dialect, Heard } from '../../client/dialect.js';
import type { Link, LinkEvents } from '../../client/transport.js';
import type { Hello } from '../../protocol/frame.js';
import { byteLength, type Wire } from '../../protocol/wire.js';
import { type Call, failed, JSON_TYPE, refused, type Url } from './call.js';
import { patient } from './link.js';
import { turnsOf } from './turns.js';

export interface ForeignTurn {
  readonly signal: AbortSignal;
  opened(): void;
  heard(message: Heard): void;
  alive(): void;
}

export interface ForeignWire {
  readonly dialect: Dialect;
  readonly call: Call;
  readonly postUrl: Url | undefined;
  /** Resolves with the pause before the next turn, in ms. @throws the fault that ends the link */
  take(turn: ForeignTurn): Promise<number>;
  /** As in `HttpWire`. */
  readonly silence: number;
  /** A ping of the client's is a reason to ask. */
  readonly asksAgain: boolean;
}

export function foreignLink(wire: ForeignWire, present: () => Hello, on: LinkEvents): Link {
  const { call, dialect } = wire;
  let conversation: Conversation | undefined;
  let isWelcome = false;
  let isOpen = false;
  let waiting = 0;
  let line = Promise.resolve();

  const turns = turnsOf(on, async (signal) => {
    conversation ??= dialect.begin(present, {
      send,
      received(frame) {
        isWelcome ||= frame.kind === 'welcome';
        turns.tell(frame.kind === 'welcome' ? patient(frame, wire.silence) : frame);
      },
    });
    const pause = await wire.take({
      signal,
      opened() {
        turns.opened();
        if (!isOpen) conversation?.opened();
        isOpen = true;
      },
      heard: (message) => void (signal.aborted || conversation?.heard(message)),
      alive: () => void (isWelcome && !signal.aborted && turns.tell({ kind: 'pong' })),
    });
    if (!signal.aborted) turns.rest(pause, () => turns.next(false));
  });

  function send(data: Wire): void {
    const bytes = byteLength(data);
    waiting += bytes;
    line = line.then(() => {
      waiting -= bytes;
      return post(data).catch((thrown: unknown) => turns.end(failed(thrown)));
    });
  }

  async function post(data: Wire): Promise<void> {
    if (turns.signal.aborted) return;
    const isText = typeof data === 'string';
    const headers = isText ? JSON_TYPE : {};
    const body = isText ? data : new Uint8Array(data);
    const init = { method: 'POST', headers, body, signal: turns.signal };
    const response = await call(init, wire.postUrl);
    const text = await response.text();
    const { ok, status } = response;
    // What a server refuses in words is its answer; credentials, haste and failures concern the link.
    if (!ok && (text === '' || status > 499 || /401|403|429/.test(`${status}`)))
      throw refused(response);
    if (text !== '' && !turns.signal.aborted) conversation?.heard({ data: text });
  }

  return {
    send(frames) {
      for (const frame of frames) {
        if (typeof frame === 'string' || frame instanceof Uint8Array) send(frame);
        else {
          conversation?.say(frame);
          if (wire.asksAgain && frame.kind === 'ping') turns.next(true);
        }
      }
    },
    close: turns.close,
    get bufferedAmount() {
      return waiting;
    },
  };
}
