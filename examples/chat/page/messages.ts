/** The conversation: what others said, and what became of one's own words. */
import type { Said } from '../contract.ts';
import { byId, clockTime, make } from './elements.ts';

export type Fate =
  | { readonly state: 'pending' }
  | { readonly state: 'acknowledged' }
  | { readonly state: 'failed'; readonly why: string };

const KEPT = 200;

export class Messages {
  readonly #list = byId('messages', HTMLOListElement);
  readonly #items = new Map<string, HTMLElement>();

  /** One's own, before anybody has heard of it. */
  sending({ id, text }: { id: string; text: string }): void {
    const item = this.#add(id, { from: 'you', text, at: Date.now() });
    item.classList.add('own');
    this.settle(id, { state: 'pending' });
  }

  /** An event. Twice is once. @param isLate it was missed first */
  said({ id, from, text }: Said, { at, isLate }: { at: number; isLate: boolean }): void {
    if (this.#items.has(id)) return;
    const item = this.#add(id, { from, text, at });
    if (isLate) item.querySelector('time')?.after(make('span', 'late', 'caught up'));
  }

  /** The history: shown as it was, not as something that was missed. */
  history(messages: readonly (Said & { readonly at: number })[]): void {
    for (const { id, from, text, at } of messages) {
      if (!this.#items.has(id)) this.#add(id, { from, text, at });
    }
  }

  settle(id: string, fate: Fate): void {
    const item = this.#items.get(id);
    const shown = item?.querySelector('.fate');
    if (item === undefined || !shown) return;
    item.dataset.state = fate.state;
    if (fate.state === 'pending') shown.textContent = '◌ waiting';
    else if (fate.state === 'acknowledged') shown.textContent = '✓ acknowledged';
    else shown.textContent = `✕ ${fate.why}`;
  }

  #add(id: string, { from, text, at }: { from: string; text: string; at: number }): HTMLElement {
    const list = this.#list;
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
    const item = make('li', '');
    const meta = make('div', 'meta');
    meta.append(make('b', '', from), make('time', '', clockTime(at)), make('span', 'fate'));
    item.append(meta, make('div', '', text));
    this.#items.set(id, item);
    list.append(item);
    this.#forgetOldest();
    if (isAtEnd || from === 'you') list.scrollTop = list.scrollHeight;
    return item;
  }

  #forgetOldest(): void {
    const [oldest] = this.#items;
    if (oldest === undefined || this.#items.size <= KEPT) return;
    oldest[1].remove();
    this.#items.delete(oldest[0]);
  }
}
