/** One client and the application around it, as one page lives: what it does, and what it is given. */
import { type Client, createClient, type EventInfo, HoldfastError } from 'holdfast';
import {
  ids,
  type MemoryNetwork,
  type MemoryStorage,
  seededDice,
  type VirtualDevice,
} from 'holdfast/testing';
import { Application } from './application.js';
import { ConnectionWatch } from './connection-watch.js';
import { type MortalClock, mortalClock } from './mortal-clock.js';
import { type Breach, ReaderModel } from './reader-model.js';
import type { AskPlan, Setup, Trouble } from './schedule.js';
import { placeOf } from './truth.js';
import type { World } from './world.js';

const reconnect = {
  initialDelay: 400,
  maxDelay: 4_000,
  factor: 2.2,
  stableAfter: 4_000,
  connectTimeout: 5_000,
} as const;

/** Milliseconds of silence in which a live link is asked and answers, by the hub's terms. */
const PATIENCE = 7_000;
const LONGEST_STEP = 11_000;

const ME = '@me';

export interface PageParts {
  readonly world: World;
  readonly index: number;
  /** Pages of this slot that were here before. */
  readonly generation: number;
  readonly network: MemoryNetwork;
  readonly device: VirtualDevice;
  /** Where its outbox outlives it, if anywhere. */
  readonly storage: MemoryStorage | null;
  readonly setup: Setup;
  /** Its device sleeps or is throttled: nobody expects it to be in time. */
  isHindered(): boolean;
}

export class Page {
  readonly who: string;
  readonly user: string;
  readonly client: Client;
  readonly watch: ConnectionWatch;
  /** Journals that were lost before its newest link was welcomed. */
  knownLosses = 0;
  readonly #parts: PageParts;
  readonly #clock: MortalClock;
  readonly #readers = new Map<string, ReaderModel>();
  /** The newest join of each room that is wanted. */
  readonly #joins = new Map<string, object>();
  readonly #troubles = new Map<Trouble, number>();
  #signal:
    | ((signal: 'online' | 'offline' | 'visible' | 'hidden' | 'suspended' | 'resumed') => void)
    | null = null;
  #isOver = false;
  /** Its storage could not be opened: it goes on in memory, and knows nothing of pages before it. */
  #isForgetful = false;

  constructor(parts: PageParts) {
    const { world, index, generation, setup, device, network, storage } = parts;
    this.#parts = parts;
    this.who = generation === 0 ? `page ${index}` : `page ${index}.${generation}`;
    this.user = `user-${index}`;
    this.#clock = mortalClock(device);
    const limits = { ...reconnect, jitter: setup.jitter, patience: PATIENCE };
    const { maxMessages } = setup.outbox;
    this.watch = new ConnectionWatch(
      world.now,
      { ...limits, longestStep: LONGEST_STEP, maxMessages },
      {
        breach: (breach) => this.judge(breach),
        asked: (requestId) => this.#wrote(numberOf(requestId)),
        heard: (frame) => {
          if (frame.kind === 'welcome') this.knownLosses = world.losses;
          if (frame.kind !== 'room' || !('joined' in frame) || frame.recovered) return;
          this.reader(frame.room).unrecovered(frame.cursor);
        },
      },
    );
    if (storage === null) this.reader(ME).joined(null);
    else this.reader(ME).restored();
    const application = new Application(this, world);
    this.client = createClient({
      transport: this.watch.transport(network.transport({ clock: this.#clock })),
      auth: ({ signal }) => application.credentials(signal),
      authTimeout: 4_000,
      reconnect: { ...reconnect, jitter: setup.jitter },
      outbox: { ...setup.outbox, ...(storage === null ? {} : { storage }) },
      inbox: { maxHeld: setup.maxHeld },
      pauseWhenHidden: { afterMs: 1_500 },
      onGap: (gap) => application.heal(gap),
      environment: {
        clock: this.#clock,
        random: seededDice(world.seed * 31 + index * 7 + generation),
        id: ids(`c${index}.${generation}`),
        lifecycle: (listener) => {
          this.#signal = listener;
          return () => {
            this.#signal = null;
          };
        },
        report: (error) => this.#reported(error),
      },
    });
    this.#listen();
  }

  /** It is there, and neither closed by its application nor killed. */
  get isHere(): boolean {
    return !this.#isOver;
  }

  /** Its client still listens to the device. */
  get listens(): boolean {
    return this.#signal !== null;
  }

  has(trouble: Trouble): boolean {
    return (this.#troubles.get(trouble) ?? 0) > 0;
  }

  trouble(trouble: Trouble, by: 1 | -1): void {
    this.#troubles.set(trouble, (this.#troubles.get(trouble) ?? 0) + by);
  }

  connect(): void {
    this.watch.hurry();
    this.client.connect().catch(() => {});
  }

  /** Takes over what pages before it have left in the storage. Answers with their requests. */
  async restore(): Promise<void> {
    const { world } = this.#parts;
    this.watch.isRestoring = true;
    const pending = await this.client.restore();
    this.watch.isRestoring = false;
    if (!this.isAlive) return;
    for (const { requestId, result } of pending) {
      const n = numberOf(requestId);
      // What this page has asked itself meanwhile is watched already.
      if (!world.requests.adopt(n, this.who)) continue;
      world.story.reach('a restored request');
      world.story.tell(this.who, `goes on with ${n}`);
      this.#follow(n, result);
    }
  }

  /** The cursor that its place in the storage holds. */
  stored(room: string): string | null {
    if (this.#isForgetful) return null;
    const owned = this.#parts.storage?.slots.filter((slot) => slot.owned) ?? [];
    const cursors = owned.length === 1 ? owned[0]?.cursors : undefined;
    return cursors?.find(([name]) => name === room)?.[1] ?? null;
  }

  reconnect(): void {
    this.watch.hurry();
    this.watch.aside(false);
    this.client.reconnect();
  }

  disconnect(): void {
    this.client.disconnect();
  }

  signal(signal: 'online' | 'offline' | 'visible' | 'hidden' | 'suspended' | 'resumed'): boolean {
    if (this.#signal === null) return false;
    const isBack = signal === 'online' || signal === 'visible' || signal === 'resumed';
    if (isBack) this.watch.hurry();
    if (signal !== 'online' && signal !== 'offline') this.watch.aside(!isBack);
    this.#signal(signal);
    return true;
  }

  /** @param how `isStored`: the client is asked to find `since` in the storage itself. */
  join(
    room: string,
    since: string | null,
    { signal, isStored = false }: { signal?: AbortSignal; isStored?: boolean } = {},
  ): void {
    const token = {};
    if (!this.#joins.has(room)) this.reader(room).joined(since);
    this.#joins.set(room, token);
    const from = isStored ? 'stored' : since;
    const options = signal === undefined ? { since: from } : { since: from, signal };
    this.client
      .room(room)
      .join(options)
      .then(
        () => {
          if (this.#joins.get(room) === token) this.reader(room).caughtUp();
        },
        (error: unknown) => {
          this.#parts.world.story.tell(this.who, `join of ${room} fails: ${codeOf(error)}`);
          if (this.#joins.get(room) === token) this.#left(room);
        },
      );
  }

  leave(room: string): boolean {
    if (!this.#joins.has(room)) return false;
    this.client.room(room).leave();
    this.#left(room);
    return true;
  }

  wants(room: string): boolean {
    return this.#joins.has(room);
  }

  /** Where it stands, where that is certain. */
  cursor(room: string): string | null {
    return this.#readers.get(room)?.cursor ?? null;
  }

  ask(plan: AskPlan): void {
    const { world } = this.#parts;
    const { n, room, delivery, abortAfter, timeout } = plan;
    const abort = new AbortController();
    if (abortAfter !== null) {
      world.clock.after(abortAfter, () => {
        if (this.isAlive) abort.abort();
      });
    }
    world.asked(this, plan);
    if (this.has('storage fails')) world.requests.unsaved(this.who);
    this.watch.asked();
    const answer = this.client.request(
      plan.handler === 'rerunnable' ? 'rerun' : 'run',
      { n },
      {
        requestId: `q${n}`,
        delivery,
        ...(room === null ? {} : { room }),
        ...(abortAfter === null ? {} : { signal: abort.signal }),
        ...(timeout === null ? {} : { timeout }),
      },
    );
    this.#follow(n, answer);
  }

  #follow(n: number, answer: Promise<unknown>): void {
    answer.then(
      (data: unknown) => this.#settled(n, { ok: true, data }),
      (error: unknown) => {
        const { code, details } = asHoldfastError(error);
        const reason = typeof details.reason === 'string' ? details.reason : null;
        this.#settled(n, { ok: false, code, reason });
      },
    );
  }

  tell(n: number, offline: 'queue' | 'drop' | 'reject'): void {
    try {
      this.client.send('tell', { n: `${this.who} ${n}` }, { whileOffline: offline });
    } catch (error) {
      this.#parts.world.story.tell(this.who, `message ${n} is refused: ${codeOf(error)}`);
    }
  }

  /** The wire lost or doubled a frame on its way to here, or from here. */
  meddled(how: 'lost' | 'doubled', frame: Readonly<Record<string, unknown>>): void {
    const { eventId, room } = frame;
    if (how === 'lost' && typeof eventId === 'string' && typeof room === 'string') {
      this.#readers.get(room)?.lostOnTheWay(eventId);
    }
    const { requestId } = frame;
    if (typeof requestId !== 'string') return;
    const asked = this.#parts.world.requests.get(numberOf(requestId));
    if (asked !== undefined) asked.isMeddled = true;
  }

  /** A look now and then. */
  sample(): void {
    if (this.#isOver) return;
    if (this.#parts.isHindered()) this.watch.hindered();
    else this.watch.sample(this.client.state);
  }

  /** Connected, up to date, with nothing under way. Joins again what it has lost on the way. */
  isCalm(rooms: readonly string[]): boolean {
    for (const room of rooms) if (!this.wants(room)) this.join(room, this.cursor(room));
    const { status, synced, queued } = this.client.state;
    const isReading = [...this.#readers.values()].every(({ state }) => state === 'reading');
    const isJoined = rooms.every((room) => this.client.room(room).state === 'joined');
    return status === 'connected' && synced && queued === 0 && isReading && isJoined;
  }

  /** All is quiet: it has everything, and nothing waits. */
  atRest(): void {
    for (const reader of this.#readers.values()) {
      const breach = reader.atRest();
      if (breach !== null) this.judge(breach);
    }
  }

  /** The application closes its client: everything of it ends. */
  close(): void {
    this.#isOver = true;
    this.client.close();
  }

  /** The page is gone from one moment to the next, and nothing of it runs any more. */
  kill(): void {
    this.#isOver = true;
    this.#clock.die();
    this.watch.die();
  }

  /** It was not killed. */
  get isAlive(): boolean {
    return !this.#clock.isDead;
  }

  #listen(): void {
    const { client } = this;
    client.onState((state) => {
      if (!this.isAlive) return;
      this.#parts.world.story.tell(this.who, stateLine(state));
      this.watch.state(state);
      if (state.status === 'closed') {
        for (const reader of this.#readers.values()) reader.abandoned();
      }
    });
    // First, so that a listener that throws has the chance to do harm to those after it.
    client.onAny(() => {
      if (this.has('a listener throws')) throw new Error('A listener of the application throws.');
    });
    client.onAny((_type, payload, event) => this.#heard(payload, event));
    client.onError((error) => this.#reported(error));
  }

  #heard(payload: unknown, { eventId, room = '' }: EventInfo): void {
    const { story } = this.#parts.world;
    if (!this.isAlive) {
      story.violate(this.who, 'a dead page hears', eventId);
      return;
    }
    const said = JSON.stringify(payload);
    story.counts.delivered++;
    story.tell(this.who, `${room} ${eventId} ${said.slice(0, 40)}`);
    const breach = this.reader(room).delivered({ ...placeOf(eventId), payload: said });
    if (breach !== null) this.judge(breach);
  }

  #settled(
    n: number,
    outcome: { ok: true; data: unknown } | { ok: false; code: string; reason: string | null },
  ) {
    if (this.isAlive) this.#parts.world.settled(this, n, outcome);
    else this.#parts.world.story.violate(this.who, 'a dead page hears', `request ${n}`);
  }

  #wrote(n: number): void {
    const breach = this.#parts.world.requests.wrote(n);
    if (breach !== null) this.judge(breach);
  }

  #reported(error: unknown): void {
    if (!this.isAlive) return;
    const code = codeOf(error);
    if (code === 'LISTENER_FAILED' && this.has('a listener throws')) {
      this.#parts.world.story.reach('a listener throws');
    }
    if (code === 'STORAGE_FAILED') {
      this.#parts.world.story.reach('storage fails');
      this.#isForgetful ||= this.watch.isRestoring;
      this.#parts.world.requests.unsaved(this.who);
    }
    this.#parts.world.story.tell(this.who, `error ${code}`);
  }

  #left(room: string): void {
    this.#joins.delete(room);
    this.reader(room).left();
  }

  reader(room: string): ReaderModel {
    const known = this.#readers.get(room);
    if (known !== undefined) return known;
    const { world, setup } = this.#parts;
    const reader = new ReaderModel(this.journalName(room), world.truth, setup.maxHeld);
    this.#readers.set(room, reader);
    return reader;
  }

  /** What the journal calls a room. */
  journalName(room: string): string {
    return room === ME ? `${ME}:${this.user}` : room;
  }

  judge({ rule, message }: Breach): void {
    this.#parts.world.story.violate(this.who, rule, message);
  }
}

function stateLine({ status, synced, error, queued }: Client['state']): string {
  const why = error === null ? '' : ` (${error.code})`;
  return `${status}${synced ? ', synced' : ''}, ${queued} queued${why}`;
}

/** Requests are called `q1`, `q2`, … by their application. */
function numberOf(requestId: string): number {
  return Number(requestId.slice(1));
}

function codeOf(error: unknown): string {
  return asHoldfastError(error).code;
}

function asHoldfastError(error: unknown): HoldfastError {
  return error instanceof HoldfastError
    ? error
    : new HoldfastError('A_STRANGE_ERROR', String(error));
}
