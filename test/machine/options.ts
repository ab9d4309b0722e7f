/** A session's options for tests: the client's defaults, but for what a test says otherwise. */
import { defaults } from '../../src/client/options.js';
import type { SessionOptions } from '../../src/machine/session.js';

/** Groups are merged, the rest is replaced. */
export interface Overrides
  extends Partial<Omit<SessionOptions, 'reconnect' | 'outbox' | 'inbox' | 'limits'>> {
  reconnect?: Partial<SessionOptions['reconnect']>;
  outbox?: Partial<SessionOptions['outbox']>;
  inbox?: Partial<SessionOptions['inbox']>;
  limits?: Partial<SessionOptions['limits']>;
}

export function sessionOptions(overrides: Overrides = {}): SessionOptions {
  return {
    clientId: () => 'client',
    transport: 'memory',
    auth: null,
    heartbeat: defaults.heartbeat,
    ledger: null,
    pauseAfter: null,
    shouldReconnect: () => undefined,
    ...overrides,
    reconnect: { ...defaults.reconnect, ...round, ...overrides.reconnect },
    outbox: { ...defaults.outbox, ...overrides.outbox },
    inbox: { ...defaults.inbox, heals: true, ...overrides.inbox },
    limits: { ...defaults.limits, ...overrides.limits },
  };
}

/** Round numbers: what these tests say about waits does not move with the defaults. */
const round = { initialDelay: 1_000, maxDelay: 10_000, factor: 2 };
