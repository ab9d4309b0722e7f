/** Finds and makes elements of the page. */

/** @throws TypeError where the page has no such element */
export function byId<E extends HTMLElement>(id: string, kind: new () => E): E {
  const element = document.getElementById(id);
  if (element instanceof kind) return element;
  throw new TypeError(`The page has no <${kind.name}> "${id}".`);
}

export function make(tag: string, className: string, text = ''): HTMLElement {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

/** Writes only what has changed: a page that is read out should not be told the same again. */
export function show(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function clockTime(at: number): string {
  return new Date(at).toLocaleTimeString('en-GB');
}
