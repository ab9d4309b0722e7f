/** What a new connection meets where the proxy does not let it through. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { resetSocket } from './proxy-lane.node.js';

/** An HTTP answer in the server's place: the upgrade is refused, and the connection ended. */
export interface ProxyAnswer {
  readonly status: number;
  /** @default none but Content-Length and Connection, which come by themselves */
  readonly headers?: Readonly<Record<string, string>>;
  /** @default '' */
  readonly body?: string;
}

/**
 * What new connections meet: `pass` lets them through, `refuse` resets them, `end` accepts them and
 * sends a FIN at once, `silent` accepts them and never answers, a `ProxyAnswer` is sent for their
 * first request.
 */
export type ProxyAccept = 'pass' | 'refuse' | 'end' | 'silent' | ProxyAnswer;

/** The page of a hotel's network that wants a room number first. */
export const captivePortal: ProxyAnswer = Object.freeze({
  status: 200,
  headers: Object.freeze({ 'Content-Type': 'text/html; charset=utf-8' }),
  body: '<!doctype html><title>Sign in</title><h1>Sign in to use the network</h1>\n',
});

export type TurnedAway = 'refused' | 'endedAtOnce' | 'silenced' | 'answered';

export interface ProxyDoor {
  turnAway(client: Socket, accept: Exclude<ProxyAccept, 'pass'>): void;
  /** Destroys whoever still stands there. */
  close(): void;
}

/** No upgrade request is longer; what goes on after it is no HTTP. */
const LONGEST_HEAD = 65_536;

/** @param turnedAway counts */
export function proxyDoor(turnedAway: (how: TurnedAway) => void): ProxyDoor {
  const standing = new Set<Socket>();

  function keep(client: Socket): void {
    standing.add(client);
    client.on('end', () => client.destroy());
    client.on('close', () => standing.delete(client)).resume();
  }

  function answer(client: Socket, how: ProxyAnswer): void {
    let head = '';
    const read = (bytes: Buffer) => {
      head += bytes.toString('latin1');
      if (!head.includes('\r\n\r\n') && head.length < LONGEST_HEAD) return;
      client.off('data', read).resume();
      turnedAway('answered');
      client.end(encoded(how));
    };
    client.on('data', read);
  }

  return {
    turnAway(client, accept) {
      client.on('error', () => {});
      if (accept === 'refuse') {
        turnedAway('refused');
        resetSocket(client);
        return;
      }
      keep(client);
      if (accept === 'silent') turnedAway('silenced');
      else if (accept === 'end') {
        turnedAway('endedAtOnce');
        client.end();
      } else answer(client, accept);
    },
    close() {
      for (const client of standing) client.destroy();
    },
  };
}

function encoded({ status, headers = {}, body = '' }: ProxyAnswer): string {
  const all = {
    ...headers,
    'Content-Length': String(Buffer.byteLength(body)),
    Connection: 'close',
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, ...lines, '', body].join('\r\n');
}
