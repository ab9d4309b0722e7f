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
    return has(name) && !has(`-${name}`) && ((text: string) => log(name + text));
  });
  if (state) client.onState((now) => state(line(now)));
  if (frame || decision) {
    client.onTrace(({ fact, orders }) => {
      for (const one of [fact, ...orders].map(line)) {
        const say = /^ (rec|tra)/.test(one) ? frame : decision;
        if (say && !/^ (tick|deliver)/.test(one)) say(one);
      }
    });
  }
  return true;
}

/** What may be shown of a thing: payloads, credentials and encoded frames are none of it. */
const shown =
  /^(fact|order|kind|link|ask|room|type|requestId|eventId|cursor|run|write|reason|code|status|synced|reconnectAttempts|queued|joined|caughtUp|left)$/;

function line(thing: object): string {
  let text = '';
  for (const [key, value] of Object.entries<unknown>({ ...thing })) {
    if (shown.test(key) && value)
      text += ` ${typeof value === 'string' ? value : value === true ? key : `${key}:${value}`}`;
    else if (value instanceof Object && /^(frames?|\d+|error|fault|request)$/.test(key))
      text += line(value);
  }
  // What our own errors say holds nothing of the application's.
  const isOurs = thing instanceof HoldfastError && thing.category !== 'application';
  return isOurs ? `${text}: ${thing.message}` : text;
}
