/** Messages of one connection: at most once, no answer, in order within a room. */
import { validate } from '../protocol/contract.js';
import { isReservedRoom, ME, type Message } from '../protocol/frame.js';
import { type Core, schemaOf } from './core.js';
import type { Abort } from './deadline.js';
import { authorize } from './identity.js';
import { Line } from './line.js';

/** Messages of one room that wait for their handler; what comes beyond is dropped. */
const MOST_WAITING = 256;

export interface Sender {
  readonly id: string;
  readonly transport: string;
  readonly user: unknown;
}

export class Messages {
  readonly #core: Core;
  readonly #sender: Sender;
  readonly #lines = new Map<string, Line<Message>>();
  readonly #abort: Abort;

  constructor(core: Core, sender: Sender, abort: Abort) {
    this.#core = core;
    this.#abort = abort;
    this.#sender = sender;
  }

  take(message: Message): void {
    const room = message.room ?? ME;
    let line = this.#lines.get(room);
    if (line === undefined) {
      const made = new Line<Message>(async (next) => {
        await this.#hear(room, next);
        if (made.length === 0) this.#lines.delete(room);
      });
      this.#lines.set(room, made);
      line = made;
    }
    if (line.length >= MOST_WAITING) this.#core.counters.messagesDropped++;
    else line.add(message);
  }

  async #hear(room: string, { type, payload }: Message): Promise<void> {
    const { counters, settings } = this.#core;
    const handler = settings.onMessage.get(type);
    const { id, transport, user } = this.#sender;
    try {
      const schema = schemaOf(settings.contract?.messages, type);
      const isKnown = handler !== undefined && !(room !== ME && isReservedRoom(room));
      const checked = isKnown && schema ? validated(schema, payload, type) : { value: payload };
      const error =
        isKnown && checked && room !== ME
          ? await authorize(this.#core, this.#abort, { user, room, action: 'message', type })
          : undefined;
      if (!isKnown || checked === undefined || error !== undefined) {
        counters.messagesDropped++;
        return;
      }
      counters.messages++;
      await handler(checked.value, { user, room, connection: { id, transport } });
    } catch (error) {
      this.#core.report(error, `onMessage["${type}"]`);
    }
  }
}

/** Undefined where it does not fit: the sender gets no answer, so only the count tells. */
function validated(schema: Parameters<typeof validate>[0], payload: unknown, type: string) {
  try {
    return { value: validate(schema, payload, `message "${type}"`) };
  } catch {
    return undefined;
  }
}
