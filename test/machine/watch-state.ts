/** Watches status, state and time: arrows, counts, waits, deadlines, heartbeats. */
import { arrows, type ConnectionState } from '../../src/machine/status.js';
import type { HoldfastError } from '../../src/protocol/errors.js';
import { defaultTerms } from '../../src/protocol/frame.js';
import { must, type Scene } from './scene.js';

/** Dates lose the fraction of a millisecond. */
const GRAIN = 1.001;

/** I05, I18, I19, I21, I22, I23, I24. */
export class StateWatch {
  #welcomedAt = 0;
  #heardAt = 0;
  #pingedAt: number | null = null;
  #patience = 0;
  #spread = 0;
  /** Vain looks at the clock in a row, without a millisecond passing. */
  #vain = 0;
  #vainAt = Number.NaN;
  #closedForGood = false;

  step(scene: Scene): void {
    this.#status(scene);
    this.#attempts(scene);
    this.#waits(scene);
    this.#deadline(scene);
    this.#closed(scene);
    this.#silence(scene);
    this.#learn(scene);
  }

  #status({ before, after }: Scene): void {
    if (before === after) return;
    must(Object.isFrozen(after), 'I21', 'the state is not frozen');
    must(!isEqual(before, after), 'I21', 'another state object, and nothing in it changed');
    const legal = before.status === after.status || arrows[before.status].includes(after.status);
    must(legal, 'I05', `${before.status} → ${after.status}`);
  }

  #attempts({ before, after, fact, now, options }: Scene): void {
    if (after.reconnectAttempts >= before.reconnectAttempts) return;
    const revived = before.status === 'closed' && after.status === 'connecting';
    const stable = now - this.#welcomedAt >= options.reconnect.stableAfter;
    // A timer that was late may find the link dead, and the dial beside it, in the same moment.
    const most = revived ? 0 : 2;
    must(after.reconnectAttempts <= most, 'I19', 'the count of attempts falls, and not to 0');
    must(
      revived || (fact.fact === 'timeUp' && before.status === 'connected' && stable),
      'I19',
      `the count of attempts starts over after ${now - this.#welcomedAt} ms of uptime`,
    );
  }

  #waits(scene: Scene): void {
    const { after, before, fact, now, options, orders, phaseBefore } = scene;
    const starts = orders.some(({ order }) => order === 'dial' || order === 'askCredentials');
    const planned = before.nextRetryAt;
    if (starts && planned !== null && phaseBefore === 'waiting') {
      const told = fact.fact === 'woke' || fact.fact === 'reconnectAsked';
      const due = fact.fact === 'timeUp' && now + GRAIN >= planned.getTime();
      must(
        told || due,
        'I18',
        `starts at ${now} after ${fact.fact}, but ${planned.getTime()} was planned`,
      );
    }
    const next = after.nextRetryAt;
    // What was planned beside a link that said goodbye becomes visible as it is.
    if (next === null || next === planned || phaseBefore === 'moving') return;
    const fault = after.error;
    if (fault !== null && options.shouldReconnect(fault) !== undefined) return;
    const wait = next.getTime() - now;
    const least = Math.max(leastWait(scene), fault?.retryAfter ?? 0);
    const most = least + (this.#spread > 0 ? this.#spread + 1 : 0);
    must(wait >= least - GRAIN, 'I18', `waits ${wait} ms where ${least} are due`);
    must(wait <= most + GRAIN, 'I18', `waits ${wait} ms where ${most} are the most`);
  }

  #deadline({ deadline, fact, now, after, options }: Scene): void {
    must(!Number.isNaN(deadline), 'I22', 'the deadline is NaN');
    // A storage may have to be told of what has failed; after close() it has been.
    const isOver = this.#closedForGood || options.ledger === null;
    const mayWait = after.status !== 'closed' || !isOver;
    must(mayWait || deadline === Infinity, 'I24', 'closed with a deadline');
    if (now !== this.#vainAt) this.#vain = 0;
    this.#vainAt = now;
    if (fact.fact === 'timeUp') this.#vain++;
    else if (fact.fact !== 'tickEnded') this.#vain = 0;
    if (fact.fact !== 'tickEnded') return;
    must(
      this.#vain < 4 || deadline > now,
      'I22',
      `looks at the clock for ever: ${deadline} at ${now}`,
    );
  }

  #closed({ before, fact, orders, after }: Scene): void {
    if (before.status === 'closed') {
      const asked = fact.fact === 'connectAsked' || fact.fact === 'reconnectAsked';
      const mayRise = asked && !this.#closedForGood;
      const answers = ['reject', 'answerJoins', 'answerConnects', 'report', 'store', 'release'];
      const quiet = orders.every(({ order }) => answers.includes(order));
      must(
        mayRise || quiet,
        'I24',
        `does something after close: ${orders.map((one) => one.order)}`,
      );
      must(mayRise || after.status === 'closed', 'I24', 'leaves closed after close()');
    }
    if (fact.fact === 'closeAsked') this.#closedForGood = true;
  }

  #silence({ orders, fact, now, liveBefore, after }: Scene): void {
    if (fact.fact !== 'timeUp' || liveBefore === null || after.status === 'closed') return;
    const dead = orders.some((one) => one.order === 'hangUp' && one.link === liveBefore);
    if (!dead || after.error?.code !== 'HEARTBEAT_TIMEOUT') return;
    const pinged = this.#pingedAt !== null && this.#pingedAt >= this.#heardAt;
    must(pinged, 'I23', 'gives a link up without having asked whether it lives');
    const waited = now - (this.#pingedAt ?? now);
    must(waited >= this.#patience - GRAIN, 'I23', `gives a link up ${waited} ms after its ping`);
  }

  #learn({ fact, live, now, options, orders, welcomed }: Scene): void {
    if (fact.fact === 'received' && fact.link === live) this.#heardAt = now;
    if (welcomed !== null) {
      this.#welcomedAt = now;
      this.#pingedAt = null;
      const { terms } = welcomed.welcome;
      this.#spread = terms?.retrySpread ?? defaultTerms.retrySpread;
      const heartbeat = options.heartbeat && (terms?.heartbeat ?? options.heartbeat);
      // What the device says (offline) shortens the patience to two seconds.
      this.#patience = Math.min(2_000, heartbeat?.timeout ?? 0);
    }
    for (const order of orders) {
      if (order.order !== 'transmit') continue;
      for (const frame of order.frames) {
        if (typeof frame === 'object' && 'kind' in frame && frame.kind === 'ping')
          this.#pingedAt = now;
      }
    }
  }
}

/** The formula of the guide, written a second time. */
function leastWait({ after, roll, options }: Scene): number {
  const { initialDelay, maxDelay, factor, jitter } = options.reconnect;
  let ceiling = initialDelay;
  for (let tries = 1; tries < after.reconnectAttempts && ceiling < maxDelay; tries++)
    ceiling *= factor;
  ceiling = Math.min(ceiling, maxDelay);
  if (jitter === 'none') return Math.max(1, ceiling);
  return Math.max(1, jitter === 'full' ? ceiling - 0.55 * ceiling * roll : ceiling + jitter * roll);
}

function isEqual(one: ConnectionState, other: ConnectionState): boolean {
  return (
    one.status === other.status &&
    one.synced === other.synced &&
    one.lastConnected === other.lastConnected &&
    one.reconnectAttempts === other.reconnectAttempts &&
    one.nextRetryAt === other.nextRetryAt &&
    one.latency === other.latency &&
    one.transport === other.transport &&
    one.queued === other.queued &&
    sameError(one.error, other.error)
  );
}

function sameError(one: HoldfastError | null, other: HoldfastError | null): boolean {
  return one === other;
}
