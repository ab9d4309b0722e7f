/** Watches which links there are, and that a session asks, dials and hangs up as it may. */
import type { Fact } from '../../src/machine/fact.js';
import type { Order } from '../../src/machine/order.js';
import type { ConnectionState } from '../../src/machine/status.js';
import type { Hello, Welcome } from '../../src/protocol/frame.js';
import { must, type Phase } from './scene.js';

/** What ends a page's being put aside. */
const wakes: readonly string[] = ['woke', 'reconnectAsked'];

interface Dialed {
  readonly link: number;
  readonly until: number;
  hello: Hello | null;
}

/** I01, I02, I03, I04, I16: what the orders make of links and questions. */
export class LinkWatch {
  live: number | null = null;
  dialed: Dialed | null = null;
  ask: number | null = null;
  /** Of every ask so far, the newest. */
  asks = 0;
  links = 0;
  #moving = false;
  #suspended = false;
  #hidden = false;
  #answered = false;
  /** The link that ended in this step: to hang it up once more does no harm. */
  #over: number | null = null;

  /** A fact that concerns nothing there is any more must change nothing. */
  isStale(fact: Fact): boolean {
    switch (fact.fact) {
      case 'opened':
        return this.dialed?.link !== fact.link || this.dialed.hello !== null;
      case 'lost':
        return this.dialed?.link !== fact.link && this.live !== fact.link;
      case 'received':
        if (fact.link === this.live) return false;
        if (this.dialed?.link !== fact.link || this.dialed.hello === null) return true;
        return !['welcome', 'error', 'goodbye'].includes(fact.frame.kind);
      case 'credentialsGiven':
      case 'credentialsFailed':
        return this.ask !== fact.ask;
      default:
        return false;
    }
  }

  /** Takes what the fact alone says. Returns the welcome that is about to make a link live. */
  begin(fact: Fact, stale: boolean): { welcome: Welcome; hello: Hello } | null {
    this.#answered = false;
    this.#over = null;
    if (stale) return null;
    if (fact.fact === 'lost') this.#end(fact.link);
    if (fact.fact === 'credentialsGiven' || fact.fact === 'credentialsFailed') {
      this.ask = null;
      this.#answered = fact.fact === 'credentialsGiven' && fact.auth !== null;
    }
    const isOurs = fact.fact === 'received' && fact.link === this.dialed?.link;
    const hello = this.dialed?.hello;
    if (!isOurs || !hello || fact.frame.kind !== 'welcome') return null;
    return { welcome: fact.frame, hello };
  }

  order(order: Order, now: number, connectTimeout: number, asks: boolean): void {
    switch (order.order) {
      case 'dial':
        must(
          this.dialed === null,
          'I02',
          `dials ${order.link} while ${this.dialed?.link} is under way`,
        );
        must(order.link > this.links, 'I02', `link ${order.link} after ${this.links}`);
        must(!asks || this.#answered, 'I16', 'dials without an answer to its question');
        this.links = order.link;
        this.dialed = { link: order.link, until: now + connectTimeout, hello: null };
        break;
      case 'hangUp':
        must(
          this.#end(order.link) || this.#over === order.link,
          'I02',
          `hangs up ${order.link}, which is no link any more`,
        );
        break;
      case 'askCredentials':
        must(this.ask === null, 'I16', 'asks for credentials twice at a time');
        must(order.ask > this.asks, 'I16', 'uses the id of a question again');
        this.ask = order.ask;
        this.asks = order.ask;
        break;
      case 'dropCredentials':
        must(this.ask !== null, 'I16', 'drops a question that it never asked');
        this.ask = null;
        break;
    }
  }

  /** After the orders: the welcomed link is live now. */
  settle(fact: Fact, welcomed: boolean): void {
    if (welcomed && this.dialed !== null) {
      must(this.live === null, 'I02', `two live links: ${this.live} and ${this.dialed.link}`);
      this.live = this.dialed.link;
      this.dialed = null;
      this.#moving = false;
    } else if (fact.fact === 'received' && fact.frame.kind === 'goodbye') {
      if (fact.link === this.live) this.#moving = true;
    }
    if (this.live === null) this.#moving = false;
  }

  /** @param isRestoring the storage has not answered yet */
  phase({ status, nextRetryAt }: ConnectionState, fact: Fact, isRestoring: boolean): Phase {
    if (fact.fact === 'hid') this.#hidden = true;
    if (wakes.includes(fact.fact)) {
      this.#hidden = false;
      if (isRestoring) this.#suspended = false;
    }
    if (status === 'connected') {
      must(this.live !== null, 'I03', 'connected without a link');
      return this.#moving ? 'moving' : 'open';
    }
    must(this.live === null, 'I03', `${status} with the live link ${this.live}`);
    if (status === 'disconnected' || status === 'closed') {
      must(this.dialed === null && this.ask === null, 'I04', `${status}, and still trying`);
      this.#suspended = false;
      return status === 'closed' ? 'closed' : 'idle';
    }
    return this.#trying(nextRetryAt, fact, isRestoring);
  }

  #trying(waiting: Date | null, fact: Fact, isRestoring: boolean): Phase {
    must(this.dialed === null || waiting === null, 'I03', 'waits and dials at once');
    if (this.dialed !== null || this.ask !== null || waiting !== null) this.#suspended = false;
    if (this.dialed !== null) return this.dialed.hello === null ? 'dialing' : 'greeting';
    if (waiting !== null) return 'waiting';
    if (this.ask !== null) return 'asking';
    if (fact.fact === 'suspended') this.#suspended = true;
    if (isRestoring) return this.#suspended ? 'waiting' : 'restoring';
    // A hidden page is put aside when its time comes: while the storage is opened, without a sign.
    const isAside = fact.fact === 'restored' || fact.fact === 'restoreFailed';
    if (fact.fact === 'timeUp' || (isAside && this.#hidden)) this.#suspended = true;
    must(this.#suspended, 'I03', 'nothing is pending that could bring a connection');
    return 'waiting';
  }

  /** Waiting for the page to come back, without a deadline. */
  get isSuspended(): boolean {
    return this.#suspended;
  }

  #end(link: number): boolean {
    if (this.live === link) this.live = null;
    else if (this.dialed?.link === link) this.dialed = null;
    else return false;
    this.#over = link;
    return true;
  }
}
