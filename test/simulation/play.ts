/** Plays one schedule from its first millisecond to the last timer, and says whether anything broke. */
import { Stage } from './perform.js';
import { ACTIVE, rooms, type Schedule } from './schedule.js';
import type { Counts, Violation } from './story.js';
import { World } from './world.js';

export interface Played {
  readonly violation: Violation | null;
  readonly digest: string;
  readonly kinds: ReadonlyMap<string, number>;
  readonly counts: Counts;
  readonly lines: readonly string[];
  /** Milliseconds of virtual time until everything was closed. */
  readonly lasted: number;
}

/** Milliseconds between two looks at everybody. */
const LOOK = 250;

/** Milliseconds after the last fault in which every client has to be up to date. */
const RECOVERY = 75_000;

/** Milliseconds after everything is closed in which the last timer has run. */
const AFTERMATH = 40_000;

export async function play(
  schedule: Schedule,
  { keepsLines = false }: { keepsLines?: boolean } = {},
): Promise<Played> {
  const world = new World(schedule, keepsLines);
  const stage = new Stage(world);
  const { clock, story } = world;
  for (const { page } of world.slots) {
    if (schedule.setup.isStored) void page.restore();
    page.connect();
    for (const room of rooms) page.join(room, null);
  }
  for (const action of schedule.actions) clock.after(action.at, () => stage.perform(action));
  const stopLooking = look(world);
  try {
    await advance(world, ACTIVE);
    story.tell('fault', 'none from here on');
    stage.heal();
    await recover(world);
    stopLooking();
    if (story.violation === null) await end(world);
  } catch (thrown) {
    story.violate('all', 'something throws', String(thrown));
  }
  for (const { page } of world.slots) story.counts.dials += page.watch.dials;
  const { violation, digest, kinds, counts, lines } = story;
  return { violation, digest, kinds, counts, lines, lasted: clock.now() };
}

function look(world: World): () => void {
  let cancel = () => {};
  const again = () => {
    for (const page of world.pages) page.sample();
    world.server.sample();
    cancel = world.clock.after(LOOK, again);
  };
  again();
  return () => cancel();
}

/** A second at a time, not beyond a violation. */
async function advance(world: World, ms: number): Promise<void> {
  for (let left = ms; left > 0 && world.story.violation === null; left -= 1_000) {
    await world.clock.advance(Math.min(left, 1_000));
  }
}

async function recover(world: World): Promise<void> {
  const { story } = world;
  for (const page of world.pages) {
    page.connect();
    for (const signal of ['resumed', 'visible', 'online'] as const) page.signal(signal);
  }
  const until = world.clock.now() + RECOVERY;
  await calm(world, until);
  for (const room of rooms) world.publish(room, 0);
  for (const { user } of world.pages) world.publishToUser(user);
  await advance(world, 2_000);
  await calm(world, until);
  if (story.violation !== null) return;
  for (const page of world.pages) page.atRest();
  const breach = world.requests.atRest();
  if (breach !== null) story.violate('client', breach.rule, breach.message);
}

async function calm(world: World, until: number): Promise<void> {
  while (world.story.violation === null) {
    const restless = world.pages.filter((page) => !page.isCalm(rooms));
    if (restless.length === 0) return;
    if (world.clock.now() >= until) {
      for (const page of restless) {
        world.story.violate(
          page.who,
          'no sync after the faults',
          JSON.stringify(page.client.state),
        );
      }
      return;
    }
    await advance(world, 1_000);
  }
}

/** Everything is closed: no listener and no timer is left. */
async function end(world: World): Promise<void> {
  const { clock, story } = world;
  const pages = world.pages;
  for (const page of pages) page.close();
  await clock.advance(0);
  for (const page of pages) {
    if (page.listens) story.violate(page.who, 'a listener is left', 'to the device');
  }
  const closed = world.server.close();
  await clock.advance(AFTERMATH);
  await closed;
  if (clock.pending > 0) story.violate('all', 'timers are left', `${clock.pending}`);
}
