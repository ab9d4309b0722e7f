/** Carries out one action of a schedule. */
import { type NetworkFault, startFault } from 'holdfast/testing';
import { type Action, FLOOD, type Signal, type Timed, type Trouble } from './schedule.js';
import type { Slot, World } from './world.js';

/** Faults that last, and what ends them: at their time, or all at once. */
export class Stage {
  readonly #world: World;
  readonly #ends = new Set<() => void>();
  #floods = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Everything is well again. */
  heal(): void {
    for (const end of [...this.#ends]) end();
    for (const { network } of this.#world.slots) network.heal();
    this.#world.revive();
  }

  perform(action: Timed): void {
    const world = this.#world;
    const slot = 'page' in action && action.page !== null ? world.slots[action.page] : undefined;
    switch (action.do) {
      case 'publish':
        for (let count = 0; count < action.count; count++) world.publish(action.room, action.pad);
        return;
      case 'publish to user':
        for (let count = 0; count < action.count; count++)
          world.publishToUser(`user-${action.page}`);
        return;
      case 'ask':
        if (slot?.page.isHere !== true) return;
        slot.page.ask(action.plan);
        if (action.plan.abortAfter !== null) world.story.reach('an aborted request');
        return;
      case 'tell':
        if (slot?.page.isHere === true) slot.page.tell(action.n, action.offline);
        return;
      default:
        world.story.counts.faults++;
        world.story.tell('fault', shown(action));
        this.#disturb(action, slot);
    }
  }

  #disturb(
    action: Exclude<Action, { do: 'publish' | 'publish to user' | 'ask' | 'tell' }>,
    slot: Slot | undefined,
  ): void {
    const world = this.#world;
    const { story } = world;
    switch (action.do) {
      case 'network': {
        const slots = slot === undefined ? world.slots : [slot];
        for (const one of slots) this.#break(one, action.fault, action.for);
        return;
      }
      case 'server crash':
        story.reach(`server crash, journal ${action.journal}`);
        if (action.isSilent) story.reach('silent server crash');
        world.crash(action.journal, action.isSilent);
        this.#until(action.for, () => world.revive());
        return;
      case 'goodbye':
        story.reach('goodbye');
        world.handOver(action.over);
        return;
      case 'token expiry':
        world.revoke();
        for (const { network } of world.slots) network.close(4401);
        return;
      default:
        if (slot?.page.isHere === true) this.#disturbPage(action, slot);
    }
  }

  #disturbPage(
    action: Extract<Action, { page: number }> & {
      do: Exclude<Action['do'], 'publish to user' | 'ask' | 'tell' | 'network'>;
    },
    slot: Slot,
  ): void {
    const { page, device, network } = slot;
    const { story } = this.#world;
    if (action.do !== 'trouble' && action.do !== 'signal') story.reach(action.do);
    switch (action.do) {
      case 'late frames':
        page.watch.late();
        return;
      case 'clock jump':
        device.setDate(device.date() + action.by);
        return;
      case 'sleep': {
        const wake = device.fallAsleep({ monotonic: action.monotonic });
        const end = hinder(slot);
        this.#until(action.for, () => {
          wake();
          end();
        });
        return;
      }
      case 'throttled timers': {
        const end = hinder(slot);
        device.throttle(action.ms);
        this.#until(action.for, () => {
          device.throttle(0);
          end();
        });
        return;
      }
      case 'banishment':
        network.close(action.code);
        this.#until(action.for, () => this.#return(slot));
        return;
      case 'trouble':
        this.#trouble(slot, action.with, action.for);
        return;
      case 'churn': {
        const since = page.cursor(action.room);
        if (!page.leave(action.room)) return;
        this.#until(action.for, () => {
          if (page.isHere && !page.wants(action.room))
            page.join(action.room, action.resumes ? since : null);
        });
        return;
      }
      case 'aborted join': {
        const since = page.cursor(action.room);
        if (!page.leave(action.room)) return;
        const abort = new AbortController();
        page.join(action.room, since, { signal: abort.signal });
        this.#until(action.for, () => abort.abort());
        return;
      }
      case 'flood':
        for (let count = 0; count < FLOOD; count++) page.ask(quick(100_000 + ++this.#floods));
        return;
      case 'reload':
        if (action.isKilled) this.#kill(slot);
        else page.close();
        this.#until(action.for, () => void this.#world.renew(slot));
        return;
      case 'signal':
        this.#signal(slot, action.signal, action.for);
        return;
      case 'reconnect':
        page.reconnect();
        return;
      case 'disconnect':
        page.disconnect();
        this.#until(action.for, () => this.#return(slot));
        return;
      default:
        action satisfies never;
    }
  }

  #break(slot: Slot, fault: NetworkFault, ms: number): void {
    const { story, setup } = this.#world;
    const { network } = slot;
    const { dials } = network;
    const isOpen = network.links.some(({ open }) => open);
    const end = startFault(network, fault, {
      usual: { latency: setup.latency },
      meddled: (how, frame) => {
        story.reach(`${how} frames`);
        if (how === 'doubled') this.#world.doubledAt = this.#world.now();
        slot.page.meddled(how, frame);
      },
    });
    const meetsDials = fault.kind === 'refused dials' || fault.kind === 'silent dials';
    const isCounted = fault.kind !== 'lost frames' && fault.kind !== 'doubled frames';
    if (isOpen && !meetsDials && isCounted) story.reach(nameOf(fault));
    this.#until(ms, () => {
      if (meetsDials && network.dials > dials) story.reach(fault.kind);
      end();
    });
  }

  #kill({ page, network, storage }: Slot): void {
    this.#world.story.reach('a killed page');
    for (const asked of this.#world.requests.all) {
      if (asked.who === page.who && asked.outcome === null) asked.isOrphan = true;
    }
    page.kill();
    storage?.crash({ landed: this.#world.dice.pick([0, 0, 1, 2]) });
    network.halfOpen('client');
  }

  #trouble({ page, storage }: Slot, trouble: Trouble, ms: number): void {
    page.trouble(trouble, 1);
    const how = this.#world.dice.pick(['fails', 'hangs']);
    if (trouble === 'storage fails') storage?.set({ open: how, write: how });
    this.#until(ms, () => {
      page.trouble(trouble, -1);
      if (trouble === 'storage fails') storage?.set({ open: 'works', write: 'works' });
    });
  }

  #signal({ page }: Slot, signal: Signal, ms: number): void {
    if (!page.signal(signal)) return;
    this.#world.story.reach(`signal ${signal}`);
    const back = { offline: 'online', hidden: 'visible', suspended: 'resumed' } as const;
    this.#until(ms, () => page.signal(back[signal]));
  }

  #return({ page }: Slot): void {
    if (page.isHere) page.connect();
  }

  #until(ms: number, end: () => void): void {
    const once = () => {
      cancel();
      this.#ends.delete(once);
      end();
    };
    const cancel = this.#world.clock.after(ms, once);
    this.#ends.add(once);
  }
}

function hinder(slot: Slot): () => void {
  slot.hindrances++;
  return () => {
    slot.hindrances--;
    slot.page.watch.hindered();
  };
}

function quick(n: number) {
  const how = { handler: 'quick', takes: 0, publishes: false, delivery: 'exactly-once' } as const;
  return { n, room: null, abortAfter: null, timeout: null, ...how };
}

function nameOf(fault: NetworkFault): string {
  if (fault.kind === 'black hole' && fault.direction !== 'both') return 'half-open direction';
  if (fault.kind === 'bandwidth' && fault.bytesPerSecond === 0) return 'a reader that stops';
  return fault.kind;
}

function shown(action: Action): string {
  const { do: what, ...about } = action;
  const text = JSON.stringify(about, (key, value: unknown) => (key === 'at' ? undefined : value));
  return `${what} ${text.replaceAll('"', '')}`;
}
