/** The listener's half of a client and of a room: typed, by event, with iterators beside. */
import type { Contract, EventPayload, EventType } from '../protocol/contract.js';
import type { Channel, Delivered, Listener, StreamOptions } from './audience.js';

export abstract class Listening<C extends Contract> {
  /** Where this one's listeners are kept; made when it is first needed. */
  protected abstract get channel(): Channel;

  /** Hears events of one type. Returns its removal, harmless twice. */
  on<T extends EventType<C>>(type: T, listener: Listener<EventPayload<C, T>>): () => void {
    return this.channel.listeners.on(type, listener);
  }

  /** Hears the next event of a type, and no more. */
  once<T extends EventType<C>>(type: T, listener: Listener<EventPayload<C, T>>): () => void {
    return this.channel.listeners.once(type, listener);
  }

  off<T extends EventType<C>>(type: T, listener: Listener<EventPayload<C, T>>): void {
    this.channel.listeners.off(type, listener);
  }

  /**
   * Events as an iterator. The cursor moves as the consumer asks for the next one; a consumer that
   * falls behind by more than `bufferSize` ends with an error.
   */
  events<T extends EventType<C>>(
    type: T,
    options: StreamOptions = {},
  ): AsyncIterableIterator<Delivered<EventPayload<C, T>>> {
    return this.channel.stream(type, options);
  }
}
