/** The buttons that do harm, and how long each goes on. */
import { type HarmName, harmKinds, harmNames } from '../harm-list.ts';
import type { Word } from '../site.ts';
import { byId, make } from './elements.ts';
import { fetchWord, healAll, setHarm } from './house.ts';

export interface HarmsOptions {
  /** A button was pressed. */
  readonly done: (label: string) => void;
  /** The house has said how things stand. */
  readonly heard: (word: Word) => void;
}

/** Milliseconds between two questions how things stand. */
const ASK_PACE = 1_000;
/** Milliseconds for which harm that is over at once still shows. */
const AFTERGLOW = 1_200;

interface HarmButton {
  readonly button: HTMLElement;
  /** Of the monotonic clock; Infinity: until it is healed. */
  endsAt: number;
  /** Milliseconds that a full bar stands for. */
  span: number;
}

export class Harms {
  readonly #options: HarmsOptions;
  readonly #buttons = new Map<HarmName, HarmButton>();
  readonly #heal = byId('heal', HTMLButtonElement);

  constructor(options: HarmsOptions) {
    this.#options = options;
    const list = byId('harms', HTMLUListElement);
    for (const name of harmNames) list.append(this.#item(name));
    this.#heal.addEventListener('click', () => void this.#tell(healAll()));
    setInterval(() => void this.#tell(fetchWord()), ASK_PACE);
  }

  /** Moves the bars. */
  draw(now: number): void {
    let active = 0;
    for (const { button, endsAt, span } of this.#buttons.values()) {
      const left = Math.max(0, Math.min(1, (endsAt - now) / span));
      const isActive = endsAt > now;
      if (isActive) active++;
      button.setAttribute('aria-pressed', String(isActive));
      button.style.setProperty('--left', isActive ? left.toFixed(3) : '0');
    }
    this.#heal.disabled = active === 0;
  }

  #item(name: HarmName): HTMLElement {
    const { label, about, lasts } = harmKinds[name];
    const button = make('button', '');
    button.setAttribute('type', 'button');
    button.dataset.harm = name;
    const described = make('span', 'about', about);
    described.id = `about-${name}`;
    button.setAttribute('aria-label', label);
    button.setAttribute('aria-describedby', described.id);
    button.append(make('span', 'label', label), described, make('span', 'left'));
    button.addEventListener('click', () => void this.#press(name));
    const item = make('li', '');
    item.append(button);
    this.#buttons.set(name, { button, endsAt: 0, span: lasts || AFTERGLOW });
    return item;
  }

  async #press(name: HarmName): Promise<void> {
    const known = this.#buttons.get(name);
    if (known === undefined) return;
    const { label, lasts } = harmKinds[name];
    const on = lasts === 0 || known.endsAt <= performance.now();
    if (on) this.#options.done(label);
    await this.#tell(setHarm(name, on));
    if (lasts === 0) known.endsAt = performance.now() + AFTERGLOW;
  }

  async #tell(question: Promise<Word>): Promise<void> {
    try {
      const word = await question;
      this.#show(word);
      this.#options.heard(word);
    } catch {
      // The demo has ended; there is nobody left to ask.
    }
  }

  #show({ active }: Word): void {
    const now = performance.now();
    const ends = new Map(active.map(({ name, endsIn }) => [name, endsIn]));
    for (const [name, known] of this.#buttons) {
      const endsIn = ends.get(name);
      if (endsIn !== undefined) known.endsAt = now + (endsIn ?? Number.POSITIVE_INFINITY);
      else if (harmKinds[name].lasts !== 0) known.endsAt = 0;
    }
  }
}
