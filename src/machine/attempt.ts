/** One try at a connection, and where that leaves the session. */
import { NEVER } from './step.js';

/** While there is no connection exactly one of these is pending, each with its own deadline. */
export type Attempt =
  | { readonly step: 'waiting'; readonly until: number }
  /** The storage is being opened; it has its own deadline. */
  | { readonly step: 'restoring' }
  /** Credentials keep their own deadline. */
  | { readonly step: 'asking' }
  | { readonly step: 'dialing'; readonly link: number; readonly until: number }
  | {
      readonly step: 'greeting';
      readonly link: number;
      readonly until: number;
      readonly since: number;
      readonly wire: OpenWire;
    };

/** What carries a link. */
export interface OpenWire {
  readonly transport: string;
  /** It may be asked for signs of life whenever we like. */
  readonly pings: boolean;
}

/** Where a session is. `next` is the attempt beside a link that said goodbye and still works. */
export type Phase =
  | { readonly name: 'idle' }
  | { readonly name: 'trying'; readonly next: Attempt; readonly first: boolean }
  | { readonly name: 'open'; readonly next: Attempt | null; readonly link: number }
  | { readonly name: 'closed'; readonly final: boolean };

/** The attempt under way, beside a link or without one. */
export function attemptOf(phase: Phase): Attempt | null {
  return 'next' in phase ? phase.next : null;
}

export function linkOf(attempt: Attempt | null): number | null {
  return attempt !== null && 'link' in attempt ? attempt.link : null;
}

/** When the attempt is over by itself. */
export function deadlineOf(attempt: Attempt | null): number {
  return attempt !== null && 'until' in attempt ? attempt.until : NEVER;
}
