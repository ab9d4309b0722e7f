/** Everything of one story in one place: time, networks, server, pages, and the models that watch them. */
import {
  type MemoryNetwork,
  type MemoryStorage,
  memoryNetwork,
  memoryStorage,
  seededDice,
  type VirtualClock,
  type VirtualDevice,
  virtualClock,
} from 'holdfast/testing';
import { Dice } from './dice.js';
import { Page } from './page.js';
import { type Outcome, RequestModel } from './request-model.js';
import { type AskPlan, rooms, type Schedule, type Setup } from './schedule.js';
import { Server } from './server.js';
import { Story } from './story.js';
import { placeOf, Truth } from './truth.js';

/** Where one page after another lives: a device on a network of its own. */
export interface Slot {
  readonly index: number;
  readonly network: MemoryNetwork;
  readonly device: VirtualDevice;
  readonly storage: MemoryStorage | null;
  page: Page;
  generation: number;
  /** Reasons for which its device is not in time. */
  hindrances: number;
}

export class World {
  readonly seed: number;
  readonly setup: Setup;
  readonly clock: VirtualClock = virtualClock();
  readonly now = (): number => this.clock.now();
  readonly story: Story;
  readonly truth: Truth;
  readonly requests = new RequestModel();
  /** Chance for whatever is not part of the schedule. */
  readonly dice: Dice;
  readonly server: Server;
  readonly slots: readonly Slot[];
  /** Tokens below this number are refused. */
  revoked = 0;
  /** When the wire last carried a frame twice. */
  doubledAt = Number.NEGATIVE_INFINITY;
  /** Journals that were lost. */
  losses = 0;
  readonly #told = new Map<string, number>();
  #tokens = 0;
  #said = 0;
  #deaths = 0;
  #isServing = true;
  #serving: (() => void)[] = [];

  constructor({ seed, setup }: Schedule, keepsLines: boolean) {
    this.seed = seed;
    this.setup = setup;
    this.story = new Story(this.now, keepsLines);
    this.truth = new Truth(setup.journal, this.now);
    this.dice = new Dice(seed, 1);
    this.server = new Server(this);
    this.slots = Array.from({ length: setup.pages }, (_, index) => this.#slot(index));
    this.serve();
  }

  get pages(): Page[] {
    return this.slots.map(({ page }) => page).filter(({ isHere }) => isHere);
  }

  /** Resolves later, on the server's clock. */
  wait(ms: number): Promise<void> {
    return ms === 0 ? Promise.resolve() : new Promise((done) => this.clock.after(ms, done));
  }

  newToken(): number {
    return ++this.#tokens;
  }

  revoke(): void {
    this.revoked = this.#tokens + 1;
  }

  serve(): void {
    this.#isServing = true;
    this.#serving = this.slots.map(({ network }) => network.serve(this.server.accept));
  }

  crash(journal: 'kept' | 'lost', isSilent: boolean): void {
    this.#deaths++;
    if (journal === 'lost') this.losses++;
    this.server.crash(journal);
    for (const stop of this.#serving.splice(0)) stop();
    this.#isServing = false;
    for (const { network } of this.slots) {
      if (isSilent) network.halfOpen('server');
      else network.cut();
    }
  }

  /** Where it is down, the server comes back. */
  revive(): void {
    if (this.#isServing) return;
    this.server.start();
    this.serve();
  }

  handOver(over: number): void {
    if (!this.#isServing) return;
    this.#deaths++;
    this.server.handOver(over);
  }

  publish(room: string, pad: number): void {
    const payload = { k: ++this.#said, ...(pad === 0 ? {} : { pad: 'x'.repeat(pad) }) };
    this.story.counts.events++;
    void this.server.publish(room, payload);
  }

  publishToUser(user: string): void {
    this.story.counts.events++;
    void this.server.publishToUser(user, { k: ++this.#said });
  }

  /** The state of a room, as an application fetches it: the eventId that it is current to. */
  async stateOf(journalName: string): Promise<string> {
    await this.wait(this.dice.pick([0, 20, 400]));
    const { hub } = this.server;
    if (hub === undefined) throw new Error('The server is down.');
    const { epoch, seq } = this.truth.tail(journalName);
    if (epoch === '') throw new Error('The server has nothing of this room yet.');
    await this.wait(this.dice.pick([0, 20, 400]));
    return `${epoch}-${seq}`;
  }

  authorizes(user: string, action: string): boolean {
    const page = this.slots.find(({ index }) => `user-${index}` === user)?.page;
    if (action !== 'join' || page?.has('authorization fails') !== true) return true;
    this.story.reach('authorization fails');
    throw new Error('The authorization fails.');
  }

  /** A message of a client reaches its handler: at most once. */
  told(payload: unknown): void {
    const key = JSON.stringify(payload);
    const times = (this.#told.get(key) ?? 0) + 1;
    this.#told.set(key, times);
    if (times > 1) this.story.violate('server', 'a message twice', key);
  }

  asked(page: Page, plan: AskPlan): void {
    const { who } = page;
    this.story.counts.requests++;
    this.story.tell(who, `asks ${plan.n} (${plan.handler}) in ${plan.room ?? 'no room'}`);
    this.requests.ask({ plan, who, at: this.now(), since: this.#before(page) });
  }

  started(n: number): AskPlan {
    const breach = this.requests.started(n);
    if (breach !== null) this.story.violate('server', breach.rule, breach.message);
    const plan = this.requests.get(n)?.plan;
    if (plan === undefined) throw new Error(`Nobody asked ${n}.`);
    if (plan.handler === 'slow') this.story.reach('a slow handler');
    if (plan.handler === 'hanging') this.story.reach('a hanging handler');
    this.story.tell('server', `starts ${n}`);
    return plan;
  }

  completed(n: number): void {
    this.story.tell('server', `has run ${n}`);
    const breach = this.requests.completed(n);
    if (breach !== null) this.story.violate('server', breach.rule, breach.message);
  }

  settled(page: Page, n: number, outcome: Outcome): void {
    const { story } = this;
    story.counts.answered++;
    const shown = outcome.ok ? 'answered' : `fails: ${outcome.code} ${outcome.reason ?? ''}`;
    story.tell(page.who, `request ${n} ${shown}`);
    if (!outcome.ok) story.reach(`${outcome.code} ${outcome.reason ?? ''}`.trim());
    const breach = this.requests.settled(n, outcome, {
      deaths: this.#deaths,
      losses: this.losses,
      endings: page.watch.endings,
      at: this.now(),
    });
    if (breach !== null) story.violate(page.who, breach.rule, breach.message);
    else if (outcome.ok) this.#judgePublished(page, n);
  }

  /** Another page takes the slot, and goes on where the one before it stood. */
  async renew(slot: Slot): Promise<void> {
    const old = slot.page;
    slot.generation++;
    const page = this.#page(slot);
    slot.page = page;
    const restored = slot.storage === null ? null : page.restore();
    page.connect();
    await restored;
    if (!page.isHere) return;
    for (const room of rooms) {
      if (slot.storage !== null && this.dice.chance(0.5)) this.#joinStored(page, old, room);
      else page.join(room, old.cursor(room));
    }
  }

  /** What is stored must not be ahead of what was given to the page before. */
  #joinStored(page: Page, old: Page, room: string): void {
    const cursor = page.stored(room);
    const stood = old.cursor(room);
    page.join(room, cursor, { isStored: true });
    if (cursor === null || stood === null) return;
    const [stored, given] = [placeOf(cursor), placeOf(stood)];
    if (stored.epoch !== given.epoch || stored.seq <= given.seq) return;
    this.story.violate(page.who, 'a stored cursor ahead of its listeners', `${cursor}, ${stood}`);
  }

  /** What a handler published stands there with its answer: once. */
  #judgePublished({ who }: Page, n: number): void {
    const plan = this.requests.get(n)?.plan;
    if (plan?.publishes !== true || plan.delivery === 'at-least-once') return;
    const times = this.truth.count(JSON.stringify({ by: n }));
    if (times === 1 || this.losses > 0) return;
    this.story.violate(who, 'published and answered apart', `request ${n}: ${times} events`);
  }

  /** What a request that is asked now cannot blame its fate on. */
  #before({ knownLosses, watch }: Page) {
    // A hub that is leaving may still take a request with it.
    const deaths = this.#deaths - this.server.leaving;
    return { deaths, losses: knownLosses, endings: watch.endings };
  }

  #slot(index: number): Slot {
    const network = memoryNetwork({
      clock: this.clock,
      random: seededDice(this.seed * 13 + index),
      latency: this.setup.latency,
    });
    const device = this.clock.device();
    const { isStored, storageDelay: delay } = this.setup;
    const storage = isStored ? memoryStorage({ clock: this.clock, faults: { delay } }) : null;
    const place = { index, network, device, storage, generation: 0, hindrances: 0 };
    const slot: Slot = Object.assign(place, { page: this.#page(place) });
    return slot;
  }

  #page(place: Omit<Slot, 'page'>): Page {
    const { index, network, device, storage, generation } = place;
    const isHindered = () => place.hindrances > 0;
    const about = { world: this, index, generation, setup: this.setup, isHindered };
    return new Page({ ...about, network, device, storage });
  }
}
