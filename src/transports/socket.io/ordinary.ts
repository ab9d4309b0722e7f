/** Socket.IO servers that know nothing of holdfast: their acks, events and rooms, as frames. */
import { isObject } from './fields.js';
import type { SocketIoLanguage } from './language.js';
import type { OrdinaryCall, OrdinaryEvent, OrdinaryOptions } from './ordinary-options.js';
import { type Memory, OrdinarySpeech } from './ordinary-speech.js';

const defaults = {
  join: 'join-room',
  leave: 'leave-room',
  rejoin: 'rejoin-rooms',
  sync: 'sync-events',
  ping: false,
  confirms: true,
  timeout: 10_000,
  event: envelope,
  args: ({ payload }: OrdinaryCall) => (payload === undefined ? [] : [payload]),
} as const satisfies OrdinaryOptions;

/**
 * For `socketIo(url, { server: ordinary({ … }) })`: a Socket.IO server without a hub. What needs a
 * server's help is as good as that help: such a server remembers no requests, so they run at most once
 * unless `delivery: "at-least-once"` is asked for; events that come twice are told by their `eventId`.
 */
export function ordinary(options: OrdinaryOptions = {}): SocketIoLanguage {
  const settings = { ...defaults, ...options };
  return {
    begin() {
      const memory: Memory = { joined: new Set(), seen: new Map(), isWhole: true };
      return (talk) => new OrdinarySpeech(settings, memory, talk);
    },
  };
}

function envelope(_name: string, args: readonly unknown[]): OrdinaryEvent {
  const [first] = args;
  if (isObject(first) && 'eventId' in first) return first;
  return { payload: args.length > 1 ? args : first };
}
