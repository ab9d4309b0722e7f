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
  readonly action: 'retry' | 'sign-in' | null;
}

/** @param now Unix milliseconds */
export function words(state: ConnectionState, now: number): Words {
  switch (state.status) {
    case 'disconnected':
      return { tone: 'off', title: 'Disconnected', detail: '', action: 'retry' };
    case 'connecting':
      return { tone: 'wait', title: 'Connecting…', detail: '', action: null };
    case 'connected':
      return state.synced
        ? { tone: 'ok', title: 'Connected', detail: 'Everything has arrived.', action: null }
        : { tone: 'behind', title: 'Catching up…', detail: 'Back, and reading on.', action: null };
    case 'reconnecting':
      return reconnecting(state, now);
    case 'closed':
      return closed(state);
    default:
      return state.status satisfies never;
  }
}

function reconnecting(
  { nextRetryAt, reconnectAttempts, error }: ConnectionState,
  now: number,
): Words {
  const why = error === null ? '' : ` ${error.message}`;
  if (nextRetryAt === null) {
    const detail = `Attempt ${reconnectAttempts}.${why}`;
    return { tone: 'wait', title: 'Reconnecting…', detail, action: 'retry' };
  }
  const left = Math.max(0, nextRetryAt.getTime() - now) / 1_000;
  const detail = `Trying again in ${left.toFixed(1)} s.${why}`;
  return { tone: 'wait', title: 'Connection lost', detail, action: 'retry' };
}

function closed({ error }: ConnectionState): Words {
  const isSignedOut = error?.category === 'authentication';
  return {
    tone: 'off',
    title: isSignedOut ? 'Signed out' : 'Closed',
    detail: error?.message ?? '',
    action: isSignedOut ? 'sign-in' : 'retry',
  };
}
