/** The kinds of harm on offer: what they are called, and how long they last by themselves. */

export interface HarmKind {
  readonly label: string;
  readonly about: string;
  /** Milliseconds; 0 happens at once and is over, null lasts until it is healed. */
  readonly lasts: number | null;
  /** Of each group one is active at a time. */
  readonly group: 'links' | 'silence' | 'server' | 'delay' | 'flap' | 'sockets' | 'refusal';
}

const kinds = {
  cut: {
    label: 'Cut the wire',
    about: 'Every connection is reset, now.',
    lasts: 0,
    group: 'links',
  },
  silence: {
    label: 'Black hole',
    about: 'Nothing arrives, either way, and nobody is told.',
    lasts: 5_000,
    group: 'silence',
  },
  'silence-up': {
    label: 'Black hole, up',
    about: 'The server hears nothing from here.',
    lasts: 5_000,
    group: 'silence',
  },
  'silence-down': {
    label: 'Black hole, down',
    about: 'Nothing from the server arrives.',
    lasts: 5_000,
    group: 'silence',
  },
  'restart-kept': {
    label: 'Restart the server',
    about: 'Away for 3 s. It keeps its journal.',
    lasts: 3_000,
    group: 'server',
  },
  'restart-lost': {
    label: 'Restart, amnesia',
    about: 'Away for 3 s, journal lost: a gap, and it says so.',
    lasts: 3_000,
    group: 'server',
  },
  delay: {
    label: 'Half a second late',
    about: 'Answers take a second. The heartbeat may notice.',
    lasts: 8_000,
    group: 'delay',
  },
  flap: {
    label: 'Open, then close',
    about: 'Links open and are cut 0.3 s later.',
    lasts: 6_000,
    group: 'flap',
  },
  'block-sockets': {
    label: 'Block WebSockets',
    about: 'Refused until you heal it. Other wires pass.',
    lasts: null,
    group: 'sockets',
  },
  'token-expired': {
    label: 'Expire the token',
    about: 'Cut, and the old token is too old.',
    lasts: 0,
    group: 'links',
  },
  'token-refused': {
    label: 'Refuse the token',
    about: 'Signed out, until you sign in again.',
    lasts: null,
    group: 'refusal',
  },
} as const satisfies Record<string, HarmKind>;

export type HarmName = keyof typeof kinds;

export const harmKinds: Readonly<Record<HarmName, HarmKind>> = kinds;

export const harmNames = Object.keys(kinds) as HarmName[];
