/** What clients without a connection were answered, until it is certain that they have it. */
import type { Core } from './core.js';

/** Answers of one client that are watched; what is beyond stays in the journal. */
const MOST = 10_000;

interface Answers {
  /** When each went out, the oldest first. */
  readonly sentAt: Map<string, number>;
  lastAt: number;
}

export class Receipts {
  readonly #core: Core;
  /** Whoever was answered first comes first. */
  readonly #clients = new Map<string, Answers>();

  constructor(core: Core) {
    this.#core = core;
  }

  answered(client: string, requestIds: readonly string[]): void {
    const now = this.#core.clock.now();
    const answers = this.#clients.get(client) ?? { sentAt: new Map<string, number>(), lastAt: now };
    answers.lastAt = now;
    for (const requestId of requestIds) {
      answers.sentAt.delete(requestId);
      answers.sentAt.set(requestId, now);
      const [oldest] = answers.sentAt.keys();
      if (answers.sentAt.size > MOST && oldest !== undefined) answers.sentAt.delete(oldest);
    }
    this.#clients.delete(client);
    this.#clients.set(client, answers);
    this.#tidy(now);
  }

  /**
   * The client asks something: what it was answered long ago, and does not ask again, has arrived.
   * The journal need not keep it, and so need not change the client's session to make room.
   */
  heard(client: string, asked: ReadonlySet<string | undefined>): void {
    const sentAt = this.#clients.get(client)?.sentAt;
    if (sentAt === undefined) return;
    const { requestWindow } = this.#core.settings.journal;
    const before = this.#core.clock.now() - Math.min(requestWindow / 2, 300_000);
    const arrived: string[] = [];
    for (const [requestId, at] of sentAt) {
      if (at > before) break;
      sentAt.delete(requestId);
      if (!asked.has(requestId)) arrived.push(requestId);
    }
    if (arrived.length > 0) this.#core.journal.forget(client, arrived);
  }

  /** Clients that ask nothing any more: the journal forgets them by itself. */
  #tidy(now: number): void {
    for (const [client, { lastAt }] of this.#clients) {
      if (now - lastAt < this.#core.settings.journal.requestWindow) return;
      this.#clients.delete(client);
    }
  }
}
