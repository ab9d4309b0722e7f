/** What an EventTarget does, and on-handlers, without the platform's: React Native and bare contexts have none. */
import type { Clock } from '../lib/clock.js';
import type { ReconnectingWebSocketEventMap } from './events.js';

type Type = keyof ReconnectingWebSocketEventMap;
type EventFor<K extends Type> = ReconnectingWebSocketEventMap[K];

/** What `onopen` and its like are set to. */
type Handler<K extends Type> = ((this: WebSocket, event: EventFor<K>) => unknown) | null;

type ListenerFor<K extends Type> = Handler<K> | { handleEvent(event: EventFor<K>): unknown };

type Callback = (this: WebSocket, event: never) => unknown;
type Listener = Callback | { handleEvent(event: never): unknown };

interface Entry {
  type: string;
  listener: Listener;
  capture: boolean;
  once: boolean;
  /** Set by `onopen =` and its like: one for each type, in the place it had first. */
  isHandler: boolean;
}

/** A listener that throws stops no other. */
export class SocketTarget {
  #entries: readonly Entry[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get onopen(): WebSocket['onopen'] {
    return this.#handler('open');
  }

  set onopen(handler: Handler<'open'>) {
    this.#handle('open', handler);
  }

  get onmessage(): WebSocket['onmessage'] {
    return this.#handler('message');
  }

  set onmessage(handler: Handler<'message'>) {
    this.#handle('message', handler);
  }

  get onclose(): WebSocket['onclose'] {
    return this.#handler('close');
  }

  set onclose(handler: Handler<'close'>) {
    this.#handle('close', handler);
  }

  get onerror(): WebSocket['onerror'] {
    return this.#handler('error');
  }

  set onerror(handler: Handler<'error'>) {
    this.#handle('error', handler);
  }

  addEventListener<K extends Type>(
    type: K,
    listener: ListenerFor<K>,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: Listener | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    const { once = false, signal, capture } = spread(options);
    if (!listener || signal?.aborted || this.#find(type, listener, capture)) return;
    const entry = { type, listener, capture, once, isHandler: false };
    this.#entries = [...this.#entries, entry];
    signal?.addEventListener('abort', () => this.#drop(entry), { once: true });
  }

  removeEventListener<K extends Type>(
    type: K,
    listener: ListenerFor<K>,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: Listener | null,
    options?: boolean | EventListenerOptions,
  ): void {
    this.#drop(this.#find(type, listener, spread(options).capture));
  }

  dispatchEvent(event: Event): boolean {
    let isStopped = false;
    const own = (value: unknown) => ({ value, configurable: true });
    Object.defineProperties(event, {
      target: own(this),
      currentTarget: own(this),
      stopImmediatePropagation: own(() => {
        isStopped = true;
      }),
    });
    for (const entry of this.#entries) {
      if (isStopped) break;
      // One that was removed by a listener before it is not called any more.
      if (entry.type !== event.type || !this.#entries.includes(entry)) continue;
      if (entry.once) this.#drop(entry);
      this.#call(entry.listener, event);
    }
    return !event.defaultPrevented;
  }

  #call(listener: Listener, event: Event): void {
    try {
      // eslint-disable-next-line @typescript-eslint/consistent-type-assertions -- what listens to a type takes its events
      const heard = event as never;
      if (typeof listener === 'function') Reflect.apply(listener, this, [heard]);
      else listener.handleEvent(heard);
    } catch (thrown) {
      throwLater(this.#clock, thrown);
    }
  }

  #handler<H>(type: Type): H {
    const entry = this.#entries.find((one) => one.isHandler && one.type === type);
    // eslint-disable-next-line @typescript-eslint/consistent-type-assertions -- what `#handle` was given for this type
    return (entry?.listener ?? null) as H;
  }

  #handle(type: Type, handler: Callback | null): void {
    const entry = this.#entries.find((one) => one.isHandler && one.type === type);
    if (typeof handler !== 'function') this.#drop(entry);
    else if (entry) entry.listener = handler;
    else {
      const fresh = { type, listener: handler, capture: false, once: false, isHandler: true };
      this.#entries = [...this.#entries, fresh];
    }
  }

  #find(type: string, listener: Listener | null, capture: boolean): Entry | undefined {
    return this.#entries.find(
      (one) =>
        one.type === type && one.listener === listener && one.capture === capture && !one.isHandler,
    );
  }

  #drop(entry: Entry | undefined): void {
    this.#entries = this.#entries.filter((one) => one !== entry);
  }
}

/** As with a WebSocket, what a listener throws is for whoever hears of uncaught errors. */
export function throwLater(clock: Clock, thrown: unknown): void {
  clock.after(0, () => {
    throw thrown;
  });
}

/** `true` is short for `{ capture: true }`, which here serves only to tell listeners apart. */
function spread(options: boolean | AddEventListenerOptions | undefined) {
  const given: AddEventListenerOptions = typeof options === 'object' ? options : {};
  return { ...given, capture: options === true || given.capture === true };
}
