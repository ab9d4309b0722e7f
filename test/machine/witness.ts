/** Plays facts to a session and checks after each one that every invariant of the machine holds. */
import type { Fact } from '../../src/machine/fact.js';
import type { Order } from '../../src/machine/order.js';
import { Session, type SessionOptions } from '../../src/machine/session.js';
import type { ConnectionState } from '../../src/machine/status.js';
import type { Hello } from '../../src/protocol/frame.js';
import { Broken, must, type Phase, type Scene } from './scene.js';
import { LinkWatch } from './watch-links.js';
import { RequestWatch } from './watch-requests.js';
import { RoomWatch } from './watch-rooms.js';
import { StateWatch } from './watch-state.js';
import { StorageWatch } from './watch-storage.js';

/** Dates of the state are moments of the monotonic clock then. */
const UNIX = 0;

export class Witness {
  readonly options: SessionOptions;
  readonly session: Session;
  readonly links = new LinkWatch();
  readonly requests = new RequestWatch();
  readonly rooms = new RoomWatch();
  readonly storage = new StorageWatch();
  readonly #states = new StateWatch();
  #connects = 0;
  #state: ConnectionState;
  #deadline: number;
  phase: Phase = 'idle';
  /** What the newest link presented as it opened. */
  hello: Hello | null = null;

  constructor(options: SessionOptions) {
    this.options = options;
    this.session = new Session(options);
    this.#state = this.session.state(UNIX);
    this.#deadline = this.session.deadline;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get deadline(): number {
    return this.#deadline;
  }

  /** @throws Broken where an invariant does not hold, with its id */
  step(fact: Fact, now: number, roll: number): Order[] {
    const { links, session } = this;
    const isStale = links.isStale(fact);
    if (fact.fact === 'opened' && !isStale && links.dialed !== null) {
      this.hello = session.hello(fact.link);
      links.dialed.hello = this.hello;
      this.rooms.hello(this.hello.rooms);
    }
    const liveBefore = links.live;
    const phaseBefore = this.phase;
    const welcomed = links.begin(fact, isStale);
    const orders = played(() => session.step(fact, now, roll));
    for (const order of orders) {
      links.order(order, now, this.options.reconnect.connectTimeout, this.options.auth !== null);
    }
    links.settle(fact, welcomed !== null);
    const after = session.state(UNIX);
    must(session.state(UNIX) === after, 'I21', 'two looks at one state see two objects');
    const scene: Scene = {
      options: this.options,
      fact,
      now,
      roll,
      orders,
      before: this.#state,
      after,
      deadlineBefore: this.#deadline,
      deadline: session.deadline,
      phaseBefore,
      isStale,
      liveBefore,
      live: links.live,
      welcomed,
    };
    this.storage.step(scene);
    this.phase = links.phase(after, fact, this.storage.state === 'opening');
    this.#check(scene);
    return orders;
  }

  #check(scene: Scene): void {
    const { after, deadline } = scene;
    this.#stale(scene);
    this.#pending(scene);
    this.#states.step(scene);
    this.requests.step(scene, this.storage);
    if (scene.fact.fact === 'tickEnded') {
      this.storage.rest(this.requests.pending.map(({ requestId }) => requestId));
    }
    this.rooms.step(scene);
    this.#answers(scene);
    this.#state = after;
    this.#deadline = deadline;
  }

  #stale({ isStale, orders, fact, before, after, deadline, deadlineBefore }: Scene): void {
    if (!isStale) return;
    must(orders.length === 0, 'I01', `an old ${fact.fact} leads to ${orders[0]?.order}`);
    must(
      before === after && deadline === deadlineBefore,
      'I01',
      `an old ${fact.fact} changes the state`,
    );
  }

  /** What is pending while there is no connection has an end. */
  #pending({ deadline, after }: Scene): void {
    const { dialed, isSuspended } = this.links;
    if (dialed !== null) must(deadline <= dialed.until, 'I03', `dials beyond ${dialed.until}`);
    const isTrying = after.status === 'connecting' || after.status === 'reconnecting';
    if (!isTrying || isSuspended) return;
    must(deadline < Infinity, 'I03', `${this.phase} without a deadline`);
  }

  #answers({ fact, orders, after }: Scene): void {
    if (fact.fact === 'connectAsked') this.#connects++;
    const answered = orders.some(({ order }) => order === 'answerConnects');
    const { status } = after;
    if (answered) this.#connects = 0;
    const over = status !== 'connecting' && status !== 'reconnecting';
    must(!over || this.#connects === 0, 'I20', `${status}, and connect() has no answer`);
  }
}

function played(step: () => Order[]): Order[] {
  try {
    return step();
  } catch (thrown) {
    throw new Broken('I00', `the machine throws: ${thrown}`);
  }
}
