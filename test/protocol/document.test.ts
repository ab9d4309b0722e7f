/** docs/protocol.md against the code: every example decodes, every table is what the code says. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { jsonCodec } from '../../src/protocol/codec.js';
import {
  closeCodeOf,
  closeFault,
  type ErrorCode,
  HoldfastError,
} from '../../src/protocol/errors.js';
import { type ClientFrame, defaultTerms, type ServerFrame } from '../../src/protocol/frame.js';
import { clientFrame, serverFrame } from '../../src/protocol/schema.js';

const text = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');

// Records, not lists: a kind or code that is missing here does not compile.
const clientKinds: Record<ClientFrame['kind'], true> = {
  hello: true,
  join: true,
  leave: true,
  request: true,
  message: true,
  ping: true,
  pong: true,
  auth: true,
};
const serverKinds: Record<ServerFrame['kind'], true> = {
  welcome: true,
  room: true,
  event: true,
  response: true,
  ping: true,
  pong: true,
  auth: true,
  error: true,
  goodbye: true,
};
const errorCodes: Record<ErrorCode, true> = {
  CONNECTION_FAILED: true,
  HEARTBEAT_TIMEOUT: true,
  TOKEN_EXPIRED: true,
  UNAUTHORIZED: true,
  TOO_MANY_CONNECTIONS: true,
  SUPERSEDED: true,
  FORBIDDEN: true,
  ROOM_NOT_FOUND: true,
  INVALID_PAYLOAD: true,
  UNKNOWN_TYPE: true,
  MESSAGE_TOO_LARGE: true,
  RATE_LIMITED: true,
  SERVER_ERROR: true,
  PROTOCOL_ERROR: true,
  NOT_SENT: true,
  OUTCOME_UNKNOWN: true,
  STORAGE_FAILED: true,
  LISTENER_FAILED: true,
};

describe('the examples of docs/protocol.md', () => {
  const examples = examplesIn(text);

  test('are all marked as the client’s or the server’s', () => {
    const fences = text.match(/^```\S.*$/gm) ?? [];
    expect(fences.length).toBeGreaterThan(40);
    expect(fences.filter((fence) => !/^```json (client|server)$/.test(fence))).toEqual([]);
  });

  test.each(examples)('line $line: the $from sends $wire', ({ from, wire }) => {
    const value: unknown = JSON.parse(wire);
    // Equal, not only accepted: the schema drops a misspelt optional key.
    if (from === 'client') expect(clientFrame.parse(value)).toEqual(value);
    else {
      expect(serverFrame.parse(value)).toEqual(value);
      expect(jsonCodec.decode(wire)).toEqual(value);
    }
  });

  test('show every kind of frame, and no other', () => {
    expect(kindsFrom('client')).toEqual(Object.keys(clientKinds).sort());
    expect(kindsFrom('server')).toEqual(Object.keys(serverKinds).sort());
  });

  test('show every form of a verdict, of a response and of an answer to a renewal', () => {
    const shown = examples.map(({ wire }) => JSON.parse(wire));
    const forms = [
      { kind: 'room', joined: true, recovered: true },
      { kind: 'room', joined: true, recovered: false, reason: 'new' },
      { kind: 'room', joined: true, recovered: false, reason: 'expired' },
      { kind: 'room', caughtUp: true },
      { kind: 'room', left: true },
      { kind: 'room', error: { code: 'FORBIDDEN' } },
      { kind: 'response', success: true },
      { kind: 'response', success: false },
      { kind: 'auth', expiresIn: expect.any(Number) },
      { kind: 'auth', error: expect.any(Object) },
    ];
    for (const form of forms) expect(shown).toContainEqual(expect.objectContaining(loose(form)));
  });

  function kindsFrom(from: string): string[] {
    const frames = examples.filter((example) => example.from === from);
    return [...new Set(frames.map(({ wire }) => String(JSON.parse(wire).kind)))].sort();
  }
});

describe('the tables of docs/protocol.md', () => {
  test('list every kind with who sends it', () => {
    const both = (kind: string): boolean => kind in clientKinds && kind in serverKinds;
    const expected = [...new Set([...Object.keys(clientKinds), ...Object.keys(serverKinds)])].map(
      (kind) => [kind, both(kind) ? 'both' : kind in clientKinds ? 'client' : 'server'],
    );
    const rows = table('kind').map(([kind, from]) => [kind, from]);
    expect(rows.sort()).toEqual(expected.sort());
  });

  test('list every error code with its category, its retryable and its close code', () => {
    const rows = table('code').map((row) => row.slice(0, 4));
    const expected = Object.keys(errorCodes).map((code) => {
      const { category, retryable } = new HoldfastError(code, '');
      return [code, category, retryable ? 'yes' : 'no', String(closeCodeOf(code))];
    });
    expect(rows.sort()).toEqual(expected.sort());
  });

  test('list every close code that means something, with what it means', () => {
    const rows = table('close code');
    for (const [closeCode, code] of rows) {
      expect([closeCode, closeFault(Number(closeCode), '').code]).toEqual([closeCode, code]);
    }
    const listed = new Set(rows.map(([closeCode]) => Number(closeCode)));
    for (let closeCode = 1000; closeCode < 5000; closeCode++) {
      if (listed.has(closeCode)) continue;
      expect(closeFault(closeCode, '').code, String(closeCode)).toBe('CONNECTION_FAILED');
    }
  });

  test('list every term with its default', () => {
    const { heartbeat, ...others } = defaultTerms;
    const expected = {
      'heartbeat.interval': heartbeat.interval,
      'heartbeat.timeout': heartbeat.timeout,
      ...others,
    };
    const rows = table('term').filter(([, value]) => value !== 'none');
    expect(Object.fromEntries(rows.map(([term, value]) => [term, Number(value)]))).toEqual(
      expected,
    );
  });
});

interface Example {
  from: string;
  line: number;
  wire: string;
}

/** Each fenced block is one frame, or one frame a line. */
function examplesIn(document: string): Example[] {
  return [...document.matchAll(/^```json (client|server)\n([\s\S]*?)^```$/gm)].flatMap((match) => {
    const [, from = '', body = ''] = match;
    const line = document.slice(0, match.index).split('\n').length + 1;
    const lines = body.trim().split('\n');
    if (!lines.every((text) => text.startsWith('{"kind"'))) {
      return [{ from, line, wire: body.trim() }];
    }
    return lines.map((wire, index) => ({ from, line: line + index, wire }));
  });
}

/** The rows of the table whose first heading is `first`, without backticks. */
function table(first: string): string[][] {
  const lines = text.split('\n');
  const head = lines.findIndex((line) => line.startsWith(`| ${first} |`));
  const end = lines.findIndex((line, index) => index > head && !line.startsWith('|'));
  expect(head, `a table that starts with "${first}"`).toBeGreaterThan(0);
  return lines.slice(head + 2, end).map((line) =>
    line
      .slice(1, -1)
      .split(' | ')
      .map((cell) => cell.trim().replaceAll('`', '')),
  );
}

function loose(form: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(form).map(([key, value]) => [
    key,
    value?.constructor === Object ? expect.objectContaining(value) : value,
  ]);
  return Object.fromEntries(entries);
}
