/** The application's own code that a client calls: it answers late, throws and hangs. */
import type { GapNotice } from 'holdfast';
import type { Page } from './page.js';
import type { World } from './world.js';

export class Application {
  readonly #page: Page;
  readonly #world: World;

  constructor(page: Page, world: World) {
    this.#page = page;
    this.#world = world;
  }

  /** `auth` of the client. */
  async credentials(signal: AbortSignal): Promise<unknown> {
    const { user, watch } = this.#page;
    const end = watch.question();
    signal.addEventListener('abort', end, { once: true });
    try {
      await this.#suffer('provider throws', 'provider hangs', signal);
      await this.#world.wait(this.#world.dice.pick([0, 0, 10, 200]));
      await this.#unlessDead();
      return { user, token: this.#world.newToken() };
    } catch (error) {
      if (!signal.aborted) watch.unanswered();
      throw error;
    } finally {
      end();
    }
  }

  /** `onGap` of the client. */
  async heal({ room, cursor, reason, signal }: GapNotice): Promise<string | undefined> {
    const { story, dice } = this.#world;
    const page = this.#page;
    const reader = page.reader(room);
    story.counts.gaps++;
    story.reach(`a gap: ${reason}`);
    story.tell(page.who, `gap in ${room} after ${cursor}: ${reason}`);
    const breach = reader.gap({ cursor, reason });
    if (breach !== null) page.judge(breach);
    signal.addEventListener('abort', () => reader.healFailed(), { once: true });
    try {
      await this.#suffer('onGap throws', 'onGap hangs', signal);
      const current = await this.#world.stateOf(page.journalName(room));
      await this.#unlessDead();
      if (signal.aborted) throw new Error('Nobody waits any more.');
      const told = dice.chance(0.7) ? current : null;
      story.tell(page.who, `state of ${room} as of ${told ?? 'some time'}`);
      reader.healed(told);
      return told ?? undefined;
    } catch (error) {
      await this.#unlessDead();
      if (!signal.aborted) reader.healFailed();
      throw error;
    }
  }

  /** Code of a page that was killed goes no further. */
  #unlessDead(): Promise<void> {
    return this.#page.isAlive ? Promise.resolve() : new Promise(() => {});
  }

  async #suffer(
    throws: 'provider throws' | 'onGap throws',
    hangs: 'provider hangs' | 'onGap hangs',
    signal: AbortSignal,
  ): Promise<void> {
    const { story } = this.#world;
    if (this.#page.has(throws)) {
      story.reach(throws);
      throw new Error(`${throws}.`);
    }
    if (!this.#page.has(hangs)) return;
    story.reach(hangs);
    await new Promise<never>((_, reject) => {
      const over = () => reject(new Error('Nobody waits any more.'));
      signal.addEventListener('abort', over, { once: true });
    });
  }
}
