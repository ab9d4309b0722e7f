/** One try at a connection, and what its failure means. */
import type { HoldfastError } from '../protocol/errors.js';

/** Exactly one of these is pending while there is no connection, each with its own deadline. */
export type Attempt =
  | { readonly step: 'waiting'; readonly until: number }
  | { readonly step: 'asking' }
  | { readonly step: 'dialing'; readonly link: number; readonly until: number }
  | {
      readonly step: 'greeting';
      readonly link: number;
      readonly until: number;
      readonly since: number;
    };

/** Where a session is. `next` is the dial beside a link that said goodbye and still works. */
export type Phase =
  | { readonly name: 'idle' }
  | { readonly name: 'trying'; readonly attempt: Attempt; readonly first: boolean }
  | { readonly name: 'open'; readonly link: number; readonly next: Attempt | null }
  | { readonly name: 'closed'; readonly final: boolean };

/** The attempt under way, beside a link or without one. */
export function attemptOf(phase: Phase): Attempt | null {
  if (phase.name === 'trying') return phase.attempt;
  return phase.name === 'open' ? phase.next : null;
}

export function linkOf(attempt: Attempt | null): number | null {
  return attempt?.step === 'dialing' || attempt?.step === 'greeting' ? attempt.link : null;
}

/** When the attempt is over by itself; credentials keep their own deadline. */
export function deadlineOf(attempt: Attempt | null): number {
  return attempt === null || attempt.step === 'asking' ? Number.POSITIVE_INFINITY : attempt.until;
}

/** A refusal that another attempt cannot change: close, and say which. */
export function isPermanent(fault: HoldfastError): boolean {
  if (fault.retryable) return false;
  return (
    fault.category === 'authentication' ||
    fault.category === 'authorization' ||
    fault.category === 'protocol'
  );
}

/** The server was there and went, or cannot be reached: what a whole herd sees at once. */
export function isHerdLoss(fault: HoldfastError): boolean {
  return fault.code === 'CONNECTION_FAILED' && fault.details.own !== true;
}
