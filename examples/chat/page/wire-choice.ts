/** Which wire the page uses: in its address, so that a reload, or a second window, keeps it. */
import { isWireName, type WireName, wireNames } from '../wires.ts';
import { byId, make, show } from './elements.ts';

/** Fills the choice, and follows it by loading the page anew. */
export function chosenWire(): WireName {
  const choice = byId('wire', HTMLSelectElement);
  const asked = new URLSearchParams(location.search).get('wire') ?? '';
  const chosen = isWireName(asked) ? asked : 'fallback';
  for (const name of wireNames) {
    const option = make('option', '', name);
    option.toggleAttribute('selected', name === chosen);
    choice.append(option);
  }
  choice.addEventListener('change', () => location.assign(`?wire=${choice.value}`));
  return chosen;
}

/** The wire in use: of a fallback, whichever it is now. */
export function drawWire(transport: string | null): void {
  show(byId('wire-in-use', HTMLElement), transport ?? '–');
}
