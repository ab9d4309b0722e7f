/** Messages of one connection: at most once, no answer, in order within a room. */
import { validate } from '../protocol/contract.js';
import { isReservedRoom, ME, type Message } from '../protocol/frame.js';
import { type Core, schemaOf } from './core.js';
import { Abort, DeadlinePassed, isThenable, within } from './deadline.js';
import { authorize } from './identity.js';
import { Line } from './line.js';

/** What may wait of one connection, in messages and in UTF-16 units; what comes beyond is dropped. */
const MOST_WAITING = 1_024;
const LARGEST_WAITING = 1_048_576;

interface Waiting {
  readonly message: Message;
  readonly size: number;
}

export interface Sender {
  readonly id: string;
  readonly transport: string;
  readonly user: unknown;
}

export class Messages {
  readonly #core: Core;
  readonly #sender: Sender;
  readonly #lines = new Map<string, Line<Waiting>>();
  readonly #abort: Abort;
  #waiting = 0;
  #idle: (() => void) | undefined;
  #size = 0;
  #ended = false;

  constructor(core: Core, sender: Sender, abort: Abort) {
    this.#core = core;
    this.#abort = abort;
    this.#sender = sender;
  }

  /** @param size of the frame, in UTF-16 units. */
  take(message: Message, size: number): void {
    const isTooLarge = this.#waiting > 0 && this.#size + size > LARGEST_WAITING;
    if (isTooLarge || this.#waiting >= MOST_WAITING) {
      this.#core.counters.messagesDropped++;
      return;
    }
    this.#waiting++;
    this.#size += size;
    this.#line(message.room ?? ME).add({ message, size });
  }

  /** Resolves once every message was heard, or dropped. For one that waits. */
  async idle(): Promise<void> {
    if (this.#waiting > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }

  /** Whatever still waits is dropped: its sender is gone. */
  end(): void {
    this.#ended = true;
  }

  #line(room: string): Line<Waiting> {
    let line = this.#lines.get(room);
    if (line === undefined) {
      const made = new Line<Waiting>(async ({ message, size }) => {
        if (this.#ended) this.#core.counters.messagesDropped++;
        else await this.#hear(room, message);
        this.#waiting--;
        this.#size -= size;
        if (made.length === 0) this.#lines.delete(room);
        if (this.#waiting === 0) this.#idle?.();
      });
      this.#lines.set(room, made);
      line = made;
    }
    return line;
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
      await this.#finish(
        handler(checked.value, { user, room, connection: { id, transport } }),
        type,
      );
    } catch (error) {
      this.#core.report(error, `onMessage["${type}"]`);
    }
  }

  /** The line waits for a handler only so long, and not once the sender is gone. */
  async #finish(answer: unknown, type: string): Promise<void> {
    if (!isThenable(answer)) return;
    const { clock, settings } = this.#core;
    const abort = new Abort();
    const forget = this.#abort.onAbort((reason) => abort.abort(reason));
    // Its own failure is told, however late it comes.
    answer.then(undefined, (error: unknown) => this.#core.report(error, `onMessage["${type}"]`));
    try {
      await within({ clock, ms: settings.limits.handlerTimeout, abort }, () => answer);
    } catch (error) {
      if (error instanceof DeadlinePassed) this.#core.report(error, `onMessage["${type}"]`);
    } finally {
      forget();
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
