/** The numbers and words that follow the connection. */
import type { ConnectionState } from 'holdfast';
import type { Tally } from '../tally.ts';
import { byId, show } from './elements.ts';
import { type Tone, words } from './words.ts';

export interface StatusOptions {
  /** What to say of a connection that is well. */
  readonly note: string;
  /** Messages without an answer. */
  readonly queued: number;
}

export function drawStatus(state: ConnectionState, { note, queued }: StatusOptions): void {
  const { tone, title, detail, action } = words(state, Date.now());
  byId('status-card', HTMLElement).dataset.tone = tone;
  show(byId('status', HTMLElement), title);
  show(byId('status-detail', HTMLElement), tone === 'ok' && note !== '' ? note : detail);
  byId('retry', HTMLButtonElement).hidden = action !== 'retry';
  const signIn = byId('sign-in', HTMLButtonElement);
  signIn.hidden = action !== 'sign-in';
  show(signIn, state.lastConnected === null ? 'Sign in' : 'Sign in again');
  show(byId('synced', HTMLElement), state.synced ? 'yes' : 'no');
  show(byId('queued', HTMLElement), String(queued));
  show(byId('latency', HTMLElement), state.latency === null ? '–' : milliseconds(state.latency));
  show(byId('attempts', HTMLElement), String(state.reconnectAttempts));
}

export interface Counts {
  /** The feed's number when the page opened, and now. */
  readonly since: number;
  readonly published: number;
  /** Whether there has been a connection. */
  readonly wasIn: boolean;
  readonly gaps: number;
  readonly replayed: number;
  readonly reconnects: number;
}

export function drawCounts(tally: Tally, counts: Counts): void {
  const published = Math.max(counts.published, tally.last) - counts.since;
  const behind = Math.max(0, counts.published - tally.last);
  count('published', published);
  count('received', tally.delivered);
  count('lost', tally.missing.size, 'off');
  count('doubled', tally.doubled, 'off');
  count('out-of-order', tally.outOfOrder, 'off');
  count('replayed', counts.replayed, 'behind');
  count('gaps', counts.gaps, 'wait');
  count('reconnects', counts.reconnects);
  const { tone, text } = verdict(tally, { behind, wasIn: counts.wasIn });
  const shown = byId('verdict', HTMLElement);
  shown.dataset.tone = tone;
  show(shown, text);
}

/** Events that may be under way without anybody being behind. */
const UNDER_WAY = 12;

function verdict(
  tally: Tally,
  { behind, wasIn }: { behind: number; wasIn: boolean },
): { tone: Tone; text: string } {
  const wrong = tally.missing.size + tally.doubled + tally.outOfOrder;
  if (wrong > 0) return { tone: 'off', text: `${wrong} wrong` };
  if (!wasIn) return { tone: 'wait', text: 'Not connected yet' };
  if (behind > UNDER_WAY) return { tone: 'wait', text: `${behind} to catch up` };
  if (tally.excused.size > 0) return { tone: 'wait', text: `${tally.excused.size} gone, as told` };
  return { tone: 'ok', text: 'All there, in order' };
}

/** @param tone of a count that is not 0 */
function count(id: string, value: number, tone?: Tone): void {
  const element = byId(id, HTMLElement);
  show(element, value.toLocaleString('en'));
  if (tone !== undefined && value > 0) element.dataset.tone = tone;
  else delete element.dataset.tone;
}

function milliseconds(ms: number): string {
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(1)} s`;
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}
