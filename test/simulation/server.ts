/** The server side of a story: hubs over one journal, which crash, leave, come back and forget. */
import {
  createHub,
  failure,
  forbidden,
  type Hub,
  type MemoryJournal,
  memoryJournal,
  type ServerWire,
  tokenExpired,
} from 'holdfast/server';
import { ids, seededDice } from 'holdfast/testing';
import { witnessed } from './journal-witness.js';
import type { AskPlan } from './schedule.js';
import type { World } from './world.js';

/** Bytes that a hub's connection may hold beyond its high-water mark: verdicts, answers, one event. */
const SLACK = 16_384;

/** Milliseconds that doubled frames stay in a buffer at most. */
const DOUBLED = 20_000;

const HANDLER_TIMEOUT = 5_000;

interface Life {
  isOver: boolean;
}

export class Server {
  readonly #world: World;
  readonly #random: () => number;
  readonly #id = ids('s');
  #journal: MemoryJournal;
  #running: { readonly hub: Hub; readonly life: Life }[] = [];
  readonly #wires = new Set<ServerWire>();

  constructor(world: World) {
    this.#world = world;
    this.#random = seededDice(world.seed * 17 + 3);
    this.#journal = this.#newJournal();
    this.start();
  }

  /** The hub that takes dials and publishes; undefined while there is none. */
  get hub(): Hub | undefined {
    return this.#running.at(-1)?.hub;
  }

  /** Hubs that have said goodbye and are still there. */
  get leaving(): number {
    return Math.max(0, this.#running.length - 1);
  }

  start(): void {
    const world = this.#world;
    const life: Life = { isOver: false };
    const { setup, clock, story } = world;
    const hub = createHub({
      journal: witnessed(this.#journal, {
        truth: world.truth,
        isOver: () => life.isOver,
        wrong: (message) => story.violate('journal', 'it contradicts itself', message),
      }),
      authenticate: ({ auth }) => this.#authenticate(auth),
      authorizeRoom: ({ user, action }) => world.authorizes(String(user), action),
      handlers: {
        run: (payload: unknown, context) => this.#handle(payload, context, life),
        rerun: {
          rerunnable: true,
          run: (payload: unknown, context) => this.#handle(payload, context, life),
        },
      },
      onMessage: { tell: (payload: unknown) => world.told(payload) },
      limits: {
        helloTimeout: 3_000,
        handlerTimeout: HANDLER_TIMEOUT,
        bufferedBytes: setup.bufferedBytes,
      },
      heartbeat: { interval: 4_000, timeout: 2_000 },
      retrySpread: setup.retrySpread,
      onError: () => {},
      environment: { clock, random: this.#random, id: this.#id },
    });
    this.#running.push({ hub, life });
    story.tell('server', 'a hub starts');
  }

  accept = (wire: ServerWire) => {
    const { hub } = this;
    if (hub === undefined) throw new Error('There is no hub.');
    this.#wires.add(wire);
    const events = hub.accept(wire);
    return {
      received: (frame: unknown) => events.received(frame),
      drained: () => events.drained(),
      progressed: () => events.progressed?.(),
      closed: () => {
        this.#wires.delete(wire);
        events.closed();
      },
    };
  };

  /** Every hub dies at this moment, with whatever it was about to do. */
  crash(journal: 'kept' | 'lost'): void {
    const { story, truth } = this.#world;
    story.tell('server', `crash, journal ${journal}`);
    this.#journal.fence();
    for (const { hub, life } of this.#running) {
      life.isOver = true;
      void hub.close();
    }
    this.#running = [];
    if (journal === 'kept') return;
    truth.lost();
    this.#journal = this.#newJournal();
  }

  /** A second hub over the same journal takes over; the first one drains. */
  handOver(over: number): void {
    const old = this.#running.at(-1);
    if (old === undefined) return;
    this.#world.story.tell('server', 'says goodbye');
    this.start();
    void old.hub.close({ drain: true, over }).then(() => {
      old.life.isOver = true;
      this.#running = this.#running.filter((one) => one !== old);
      this.#world.story.tell('server', 'the old hub is gone');
    });
  }

  async publish(room: string, payload: unknown): Promise<void> {
    const { hub } = this;
    if (hub === undefined) return;
    await hub.publish(room, 'note', payload).catch(() => {});
  }

  async publishToUser(user: string, payload: unknown): Promise<void> {
    await this.hub?.publishToUser(user, 'note', payload).catch(() => {});
  }

  /** A look now and then. */
  sample(): void {
    // What the wire doubles is in its buffer, and no hub can know.
    const copies = this.#world.now() - this.#world.doubledAt < DOUBLED ? 2 : 1;
    const most = copies * (this.#world.setup.bufferedBytes + SLACK);
    for (const wire of this.#wires) {
      if (wire.bufferedAmount <= most) continue;
      const message = `${wire.bufferedAmount} bytes for a connection, ${most} are the most`;
      this.#world.story.violate('server', 'unbounded hub', message);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#running.map(({ hub }) => hub.close()));
    this.#running = [];
  }

  #newJournal(): MemoryJournal {
    return memoryJournal({ ...this.#world.setup.journal, clock: this.#world.clock });
  }

  async #authenticate(auth: unknown) {
    const world = this.#world;
    const { user, token } = auth as { user: string; token: number };
    if (token < world.revoked) {
      world.story.reach('token expiry');
      throw tokenExpired();
    }
    const { expiresIn } = world.setup;
    return expiresIn === null ? { user } : { user, expiresIn };
  }

  async #handle(
    payload: unknown,
    context: { publish(room: string, type: string, payload: unknown): void; signal: AbortSignal },
    life: Life,
  ): Promise<{ n: number }> {
    const world = this.#world;
    const { n } = payload as { n: number };
    const plan = world.started(n);
    const step = plan.takes / 2;
    await world.wait(plan.handler === 'hanging' ? 2 * HANDLER_TIMEOUT : step);
    // A process that has crashed goes no further.
    if (life.isOver) return new Promise(() => {});
    if (context.signal.aborted) throw new Error('Nobody waits any more.');
    this.#refuse(plan);
    world.completed(n);
    await world.wait(step);
    if (life.isOver) return new Promise(() => {});
    if (plan.publishes) context.publish(plan.room ?? 'north', 'note', { by: n });
    return { n };
  }

  /** How a handler that has done nothing says so. */
  #refuse({ n, handler }: AskPlan): void {
    const world = this.#world;
    const asked = world.requests.get(n);
    if (handler === 'retryable' && asked !== undefined && asked.refusals < (n % 3 === 0 ? 2 : 1)) {
      asked.refusals++;
      world.story.reach('a retryable handler');
      throw failure('SERVER_ERROR', 'Not now.', { retryable: true });
    }
    if (handler !== 'failing') return;
    world.story.reach('a failing handler');
    throw n % 2 === 0 ? forbidden() : new Error('The handler fails.');
  }
}
