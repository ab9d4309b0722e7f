/** What the indicator says of a connection state. */
import type { ConnectionState } from 'holdfast';

/** Green, blue, amber, red. */
export type Tone = 'ok' | 'behind' | 'wait' | 'off';

export interface Words {
  readonly tone: Tone;
  /** For everybody, screen readers included: changes only with the state. */
  readonly title: string;
  /** Beside it, and counting. */
  readonly detail: string;
  /** The reason, where something is wrong. */
  readonly why: string;
  readonly action: 'retry' | 'sign-in' | null;
}

/** @param now Unix milliseconds */
export function words(state: ConnectionState, now: number): Words {
  const why = firstSentence(state.error?.message ?? '');
  switch (state.status) {
    case 'disconnected':
      return { tone: 'off', title: 'Disconnected', detail: why, why, action: 'retry' };
    case 'connecting':
      return { tone: 'wait', title: 'Connecting…', detail: '', why, action: null };
    case 'connected':
      return connected(state);
    case 'reconnecting':
      return reconnecting(state, why, now);
    case 'closed':
      return closed(state, why);
    default:
      return state.status satisfies never;
  }
}

function connected({ synced }: ConnectionState): Words {
  return synced
    ? { tone: 'ok', title: 'Connected', detail: 'All is well.', why: '', action: null }
    : { tone: 'behind', title: 'Catching up…', detail: '', why: '', action: null };
}

function reconnecting(
  { nextRetryAt, reconnectAttempts }: ConnectionState,
  why: string,
  now: number,
): Words {
  if (nextRetryAt === null) {
    const detail = `Attempt ${reconnectAttempts}. ${why}`;
    return { tone: 'wait', title: 'Reconnecting…', detail, why, action: 'retry' };
  }
  const left = Math.max(0, nextRetryAt.getTime() - now) / 1_000;
  const detail = `Trying again in ${left.toFixed(1)} s. ${why}`;
  return { tone: 'wait', title: 'Connection lost', detail, why, action: 'retry' };
}

function closed({ error, lastConnected }: ConnectionState, why: string): Words {
  if (error?.category !== 'authentication')
    return { tone: 'off', title: 'Closed', detail: why, why, action: 'retry' };
  // Who was never in has not been signed out.
  const title = lastConnected === null ? 'Not signed in' : 'Signed out';
  return { tone: 'off', title, detail: why, why, action: 'sign-in' };
}

/** What happened; what to do about it comes after, and is for whoever runs the server. */
function firstSentence(text: string): string {
  const end = text.search(/[.:] /);
  return end === -1 ? text : `${text.slice(0, end)}.`;
}
