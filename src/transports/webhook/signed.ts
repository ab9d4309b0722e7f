/** The envelope of Standard Webhooks: whether a sender vouches for it, and what is in it. */
import { Webhook } from 'standardwebhooks';

/** Of `node:http`, of fetch, or of a framework; the case of the names does not matter. */
export type WebhookHeaders =
  | Headers
  | Readonly<Record<string, string | readonly string[] | undefined>>;

/** What a listener hears beside the payload: the same as of a client's event. */
export interface WebhookInfo {
  /** The `webhook-id`: the same for every attempt. */
  readonly eventId: string;
  readonly type: string;
  /** Unix milliseconds: of the body, or else of the attempt. */
  readonly timestamp: number;
  readonly room: undefined;
  readonly seq: undefined;
}

export interface Incoming {
  readonly data: unknown;
  readonly info: WebhookInfo;
}

/** The header fields of the specification. */
export interface Fields {
  readonly 'webhook-id': string;
  readonly 'webhook-timestamp': string;
  readonly 'webhook-signature': string;
}

export function fieldsOf(headers: WebhookHeaders): Fields | undefined {
  const entries = headers instanceof Headers ? [...headers] : Object.entries(headers);
  const field = (name: string) => {
    const value = entries.find(([key]) => key.toLowerCase() === name)?.[1];
    const [only, ...others] = typeof value === 'object' ? value : [value];
    return others.length === 0 && typeof only === 'string' ? only : '';
  };
  const id = field('webhook-id');
  const timestamp = field('webhook-timestamp');
  const signature = field('webhook-signature');
  // The package reads as much of a timestamp as is a number.
  if (id === '' || signature === '' || !/^\d{1,15}$/.test(timestamp)) return undefined;
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature };
}

export function incomingOf(fields: Fields, text: string): Incoming | undefined {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof body !== 'object' || body === null) return undefined;
  const { type, timestamp, data }: Readonly<Record<string, unknown>> = { ...body };
  if (typeof type !== 'string' || type === '') return undefined;
  const said = typeof timestamp === 'string' ? new Date(timestamp).getTime() : Number.NaN;
  const at = Number.isFinite(said) ? said : Number(fields['webhook-timestamp']) * 1_000;
  const eventId = fields['webhook-id'];
  return { data, info: { eventId, type, timestamp: at, room: undefined, seq: undefined } };
}

/** @throws TypeError that does not say what the secret is. */
export function keysOf(secret: string | readonly string[]): Webhook[] {
  const secrets = typeof secret === 'string' ? [secret] : secret;
  if (!secrets?.length || secrets.includes('')) {
    throw new TypeError('webhooks: secret is needed, and is empty. Is its variable set?');
  }
  return secrets.map((one, index) => {
    try {
      return new Webhook(one);
    } catch {
      throw new TypeError(
        `webhooks: secret ${index + 1} of ${secrets.length} is no base64 text, with or without "whsec_" before it.`,
      );
    }
  });
}

/** Why nobody vouches for it; undefined where one of the secrets does. */
export function flawOf(keys: readonly Webhook[], fields: Fields, text: string): string | undefined {
  let why = '';
  for (const key of keys) {
    try {
      key.verify(text, { ...fields }, { jsonParse: false });
      return undefined;
    } catch (error) {
      why = error instanceof Error ? error.message : '';
    }
  }
  return why;
}
