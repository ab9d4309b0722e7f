/** What happened, newest first. */
import { byId, clockTime, make } from './elements.ts';
import type { Tone } from './words.ts';

const KEPT = 60;

export class Log {
  readonly #list = byId('log', HTMLOListElement);

  add(text: string, tone?: Tone): void {
    const item = make('li', '');
    if (tone !== undefined) item.dataset.tone = tone;
    item.append(make('time', '', clockTime(Date.now())), make('span', '', text));
    this.#list.prepend(item);
    if (this.#list.childElementCount > KEPT) this.#list.lastElementChild?.remove();
  }
}
