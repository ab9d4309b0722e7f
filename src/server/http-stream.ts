/** A stream: frames down as server-sent events, until one side ends it. There is no way up. */
import type { Wire } from '../protocol/wire.js';
import type { Exchange } from './http-exchange.js';
import type { ServerWire, ServerWireEvents } from './wire.js';

export class HttpStream implements ServerWire {
  readonly transport = 'sse';
  readonly request: ServerWire['request'];
  readonly #exchange: Exchange;
  #drained: () => void = () => {};
  /** What came before `welcome`: the status waits for what it turns out to be. */
  #early: string[] | undefined = [];

  constructor(exchange: Exchange) {
    this.request = exchange.request;
    this.#exchange = exchange;
  }

  /** Tells the hub from now on. */
  serve(on: ServerWireEvents): void {
    this.#drained = () => on.drained();
    this.#exchange.onDrain(this.#drained);
    this.#exchange.onClose(() => on.closed());
  }

  get bufferedAmount(): number {
    return this.#exchange.bufferedAmount;
  }

  get taken(): number | undefined {
    return this.#exchange.taken;
  }

  send(wires: readonly Wire[]): void {
    const texts = wires.map(String);
    if (this.#early !== undefined) {
      if (texts[0]?.startsWith('{"kind":"welcome"') !== true) {
        this.#early.push(...texts);
        return;
      }
      this.#early = undefined;
      this.#exchange.openStream();
    }
    // One write for all frames of the tick; `drain` alone comes only above the socket's own mark.
    this.#exchange.write(texts.map(block).join(''), this.#drained);
  }

  keepAlive(): void {
    this.#exchange.write(':\n\n');
  }

  close(code: number, reason: string): void {
    if (this.#early === undefined) this.#exchange.end();
    else this.#exchange.turnAway(this.#early, { code, reason });
  }

  terminate(): void {
    this.#exchange.destroy();
  }
}

/** A frame is JSON: no line break in it, and no control character in an id that needs no escape. */
function block(text: string): string {
  const [, id] = /^\{"kind":"event","eventId":"([^"\\]+)"/.exec(text) ?? [];
  return id === undefined ? `data: ${text}\n\n` : `id: ${id}\ndata: ${text}\n\n`;
}
