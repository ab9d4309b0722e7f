/** `localStorage.debug` and `DEBUG`: prints what a client does. No payload, no credential, ever. */
import type { ConnectionState } from '../machine/status.js';
import { HoldfastError } from '../protocol/errors.js';
import type { Environment } from './environment.js';
import type { TraceEntry } from './trace.js';

/** The part of a client that is listened to. */
interface Watched {
  onState(listener: (state: ConnectionState) => unknown): unknown;
  onTrace(listener: (entry: TraceEntry) => unknown): unknown;
}

/** Prints the topics that are asked for: `holdfast:state`, `holdfast:frame`, `holdfast:decision`. */
export function print(client: Watched, { debug, log }: Environment): true {
  const asked = debug()?.split(/[\s,]+/) ?? [];
  const has = (name: string) =>
    asked.some((one) =>
      one.endsWith('*') ? name.startsWith(one.slice(0, -1) || 'h') : one === name,
    );
  const [state, frame, decision] = ['state', 'frame', 'decision'].map((topic) => {
    const name = `holdfast:${topic}`;
    return has(name) && !has(`-${name}`) && ((text: string) => log(`${name} ${text}`));
  });
  if (state) client.onState((now) => state(line(now)));
  if (frame || decision) {
    client.onTrace(({ fact, orders }) => {
      for (const one of [fact, ...orders].map(line)) {
        const say = /^\W+\w+\W+(rec|tra)/.test(one) ? frame : decision;
        if (say && !/^\W+\w+\W+(tick|deliver)/.test(one)) say(one);
      }
    });
  }
  return true;
}

/** What may be shown: payloads, credentials and encoded frames are none of it. */
const shown =
  /^(|fact|order|kind|link|ask|room|type|requestId|eventId|cursor|run|write|reason|code|status|synced|reconnectAttempts|nextRetryAt|since|queued|joined|caughtUp|left|frames?|error|fault|request)$/;

function line(thing: object): string {
  return JSON.stringify(thing, (key, value: unknown) => {
    if (key === 'frames' && Array.isArray(value)) return value.map(head);
    // What our own errors say holds nothing of the application's.
    if (value instanceof HoldfastError && value.category !== 'application')
      return value.isRemote ? value.code : `${value.code}: ${value.message}`;
    return shown.test(key) || (value instanceof Object && /^\d/.test(key)) ? value : undefined;
  });
}

/** Of a frame that was encoded when it was asked for what stands before its payload. */
function head(frame: unknown): unknown {
  const end = typeof frame === 'string' ? frame.indexOf(',"timestamp"') : -1;
  return end === -1 ? frame : JSON.parse(`${String(frame).slice(0, end)}}`);
}
