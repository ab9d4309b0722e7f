/** `localStorage.debug` and `DEBUG`: prints what a client does. No payload, no credential, ever. */
import type { Fact } from '../machine/fact.js';
import type { Order } from '../machine/order.js';
import type { ConnectionState } from '../machine/status.js';
import { HoldfastError, isErrorCode } from '../protocol/errors.js';
import type { Environment } from './environment.js';
import type { TraceEntry } from './trace.js';

/** The part of a client that is listened to. */
interface Watched {
  onState(listener: (state: ConnectionState) => unknown): unknown;
  onTrace(listener: (entry: TraceEntry) => unknown): unknown;
}

/** Prints the topics that are asked for: `holdfast:state`, `holdfast:frame`, `holdfast:decision`. */
export function print(client: Watched, { debug, log }: Environment): void {
  const asked = debug()?.split(/[\s,]+/) ?? [];
  const printer = (topic: string) => {
    const name = `holdfast:${topic}`;
    const isOn = has(asked, name) && !has(asked, `-${name}`);
    return isOn ? (thing: object) => log(name + line(thing)) : undefined;
  };
  const state = printer('state');
  const frame = printer('frame');
  const decision = printer('decision');
  const show = (thing: Fact | Order) => {
    const name = 'fact' in thing ? thing.fact : thing.order;
    if (name === 'received' || name === 'transmit') frame?.(thing);
    else if (!/^(deliver|tickEnded)/.test(name)) decision?.(thing);
  };
  if (state) client.onState(state);
  if (frame || decision) {
    client.onTrace(({ fact, orders }) => {
      for (const one of [fact, ...orders]) show(one);
    });
  }
}

function has(asked: readonly string[], name: string): boolean {
  return asked.some((one) =>
    one.endsWith('*') ? name.startsWith(one.slice(0, -1) || 'holdfast') : one === name,
  );
}

/** What may be shown of a thing: payloads, credentials and encoded frames are none of it. */
const shown =
  /^(fact|order|kind|link|ask|room|type|requestId|eventId|cursor|run|write|reason|code|status|synced|reconnectAttempts|queued|joined|caughtUp|left)$/;

function line(thing: object): string {
  let text = '';
  for (const [key, value] of Object.entries<unknown>({ ...thing })) {
    if (typeof value === 'object' && value !== null) {
      if (/^(frame|frames|\d+|error|fault|request)$/.test(key)) text += line(value);
    } else if (value && shown.test(key)) {
      const isSaid = typeof value === 'string';
      text += ` ${isSaid ? value : value === true ? key : `${key}:${value}`}`;
    }
  }
  // What errors of our own say holds nothing of the application's.
  const isOurs = thing instanceof HoldfastError && isErrorCode(thing.code);
  return isOurs ? `${text}: ${thing.message}` : text;
}
