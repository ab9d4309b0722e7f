/** docs/drop-in.md is true: its examples compile and run, its table has every option. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import type { Client } from 'graphql-ws';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { WebsocketProvider } from 'y-websocket';
import type { ReconnectingWebSocket } from '../../src/drop-in/reconnecting-web-socket.js';
import { feedServer } from './feed-server.js';

const root = path.resolve(import.meta.dirname, '../..');
const entry = `${root}/src/drop-in/reconnecting-web-socket.ts`;
const text = readFileSync(`${root}/docs/drop-in.md`, 'utf8');
// Inside the project, so that dependencies resolve; not under version control.
const folder = `${root}/reports/drop-in-${process.pid}`;

const examples = new Map(
  [...text.matchAll(/^```ts\n\/\/ example: ([\w-]+\.ts)\n([\s\S]*?)^```$/gm)].map(
    ([, name = '', code = '']) => [name, code],
  ),
);

beforeAll(() => mkdirSync(`${folder}/types`, { recursive: true }));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Imports an example that dials `server` in place of the one it names. */
async function run<M>(name: string, url: string): Promise<M> {
  const code = (examples.get(name) ?? '')
    .replaceAll('holdfast/drop-in', entry)
    .replaceAll('wss://feed.example.com', url);
  const file = `${folder}/${name}`;
  writeFileSync(file, code);
  return (await import(/* @vite-ignore */ pathToFileURL(file).href)) as M;
}

interface WithSocket {
  socket: ReconnectingWebSocket;
}

describe('the examples', () => {
  test('are all of the code', () => {
    expect([...examples.keys()]).toEqual([
      'feed.ts',
      'token.ts',
      'notes.ts',
      'subscription.ts',
      'import.ts',
    ]);
    expect(text.match(/^```ts$/gm)).toHaveLength(examples.size);
  });

  test('compile', { timeout: 60_000 }, async () => {
    for (const [name, code] of examples) writeFileSync(`${folder}/types/${name}`, code);
    const paths = {
      '#platform': [`${root}/src/platform/node.ts`],
      'holdfast/drop-in': [entry],
    };
    const config = { extends: `${root}/tsconfig.json`, include: ['*.ts'], exclude: [] };
    writeFileSync(
      `${folder}/types/tsconfig.json`,
      JSON.stringify({ ...config, compilerOptions: { paths } }),
    );
    const tsc = `${root}/node_modules/typescript7/bin/tsc`;
    const compiled = promisify(execFile)(process.execPath, [
      tsc,
      '--noEmit',
      '-p',
      `${folder}/types`,
    ]);
    const said = await compiled.catch(({ stdout }: { stdout: string }) => ({ stdout }));
    expect(said.stdout).toBe('');
  });

  test('feed.ts sends what it kept, and prints the answer', async () => {
    const log = vi.spyOn(console, 'log').mockReturnValue();
    onTestFinished(() => log.mockRestore());
    const server = await feedServer();
    const { socket } = await run<WithSocket>('feed.ts', server.url);
    onTestFinished(() => socket.close());
    socket.binaryType = 'arraybuffer';
    await vi.waitFor(() =>
      expect(log.mock.calls).toEqual([
        ['connected, for the first time or again'],
        ['kept until there is a connection'],
      ]),
    );
  });

  test('token.ts dials with a fresh ticket each time, and stops at 4401', async () => {
    let tickets = 0;
    const fetching = vi
      .spyOn(globalThis, 'fetch')
      .mockImplementation(async () => new Response(`t${++tickets}`));
    onTestFinished(() => fetching.mockRestore());
    const server = await feedServer();
    const { socket } = await run<WithSocket>('token.ts', server.url);
    onTestFinished(() => socket.close());
    await once(socket, 'open');
    expect(server.handshakes[0]?.url).toBe('/?ticket=t1');
    expect(socket.protocol).toBe('feed.2');
    socket.reconnect();
    await once(socket, 'open');
    expect(server.handshakes[1]?.url).toBe('/?ticket=t2');
    await vi.waitFor(() => expect(server.sockets).toHaveLength(1));
    server.sockets[0]?.close(4401);
    await once(socket, 'close');
    expect(socket.readyState).toBe(3);
  });

  test('notes.ts connects y-websocket', async () => {
    const server = await feedServer();
    const { provider } = await run<{ provider: WebsocketProvider }>('notes.ts', server.url);
    onTestFinished(() => provider.destroy());
    await vi.waitFor(() => expect(provider.wsconnected).toBe(true));
    expect(server.handshakes[0]?.url).toBe('/notes');
  });

  test('subscription.ts connects graphql-ws', async () => {
    const server = await feedServer();
    const { client } = await run<{ client: Client }>('subscription.ts', server.url);
    onTestFinished(() => client.dispose());
    const over = client.subscribe({ query: '{ count }' }, { next() {}, error() {}, complete() {} });
    await vi.waitFor(() => expect(server.received).toEqual(['{"type":"connection_init"}']));
    expect(server.handshakes[0]?.headers['sec-websocket-protocol']).toBe('graphql-transport-ws');
    over();
  });

  test('import.ts connects', async () => {
    const server = await feedServer();
    const { socket } = await run<WithSocket>('import.ts', server.url);
    onTestFinished(() => socket.close());
    await once(socket, 'open');
  });
});

test('the table has every option', () => {
  const source = readFileSync(`${root}/src/drop-in/options.ts`, 'utf8');
  const [, body = ''] =
    /interface ReconnectingWebSocketOptions \{([\s\S]*?)^\}/m.exec(source) ?? [];
  const options = [...body.matchAll(/^ {2}(\w+)\?:/gm)].map(([, name]) => name);
  expect(options.length).toBeGreaterThan(10);
  const rows = [...text.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, names = '']) =>
    names.split(', ').map((name) => name.replaceAll('`', '')),
  );
  expect(rows.sort()).toEqual(options.sort());
});
