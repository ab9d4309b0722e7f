/** The page and what it asks for by plain HTTP, on a port of its own: harm done to the sockets leaves it alone. */
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { build } from 'esbuild';
import * as z from 'zod';
import type { ActiveHarm } from './harm.ts';
import { harmNames } from './harm-list.ts';
import type { Snapshot } from './hub.ts';
import { type Stage, setStage } from './scene.ts';
import type { Doors } from './wires.ts';

export interface Site {
  readonly url: string;
  close(): Promise<void>;
}

/** What the page fetches first, and again after a gap. */
export interface Home extends Snapshot {
  readonly doors: Doors;
}

/** How things stand behind the page. */
export interface Word {
  readonly active: readonly ActiveHarm[];
  readonly isUp: boolean;
  /** The last number of the feed. */
  readonly number: number;
}

export async function serveRoom(): Promise<Site> {
  const [stage, files] = await Promise.all([setStage(), pageFiles()]);
  const routes = routesOf(stage);
  const securityPolicy = policy(stage.doors);
  const server = createServer((request, response) => {
    response.setHeader('Content-Security-Policy', securityPolicy);
    response.setHeader('X-Content-Type-Options', 'nosniff');
    response.setHeader('Referrer-Policy', 'no-referrer');
    response.setHeader('Cache-Control', 'no-store');
    // The wire that was chosen is the page's own business.
    const [pathname = ''] = (request.url ?? '').split('?');
    const file = files.get(pathname);
    if (request.method === 'GET' && file !== undefined) {
      response.writeHead(200, { 'Content-Type': file.type }).end(file.text);
      return;
    }
    answer(routes, request, response).catch((error: unknown) => {
      console.error(error);
      response.writeHead(500).end();
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  stage.server.startFeed();
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    async close() {
      server.close();
      server.closeAllConnections();
      await stage.close();
    },
  };
}

/** Scripts and styles from here alone, the room's two doors, and nothing inline. */
function policy({ socketDoor, httpDoor }: Doors): string {
  const socket = socketDoor.replace('http', 'ws');
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    `connect-src 'self' ${socket} ${socketDoor} ${httpDoor}`,
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ');
}

interface PageFile {
  readonly type: string;
  readonly text: string;
}

/** The page as it is now: its script is put together at every start. */
async function pageFiles(): Promise<ReadonlyMap<string, PageFile>> {
  const folder = import.meta.dirname;
  const [html, css, bundle] = await Promise.all([
    readFile(path.join(folder, 'page.html'), 'utf8'),
    readFile(path.join(folder, 'page.css'), 'utf8'),
    build({
      entryPoints: [path.join(folder, 'page.ts')],
      bundle: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      write: false,
      // `holdfast` is what package.json exports, as for anybody else; not what tsconfig.json maps it to.
      tsconfigRaw: '{}',
      // Chunks of dist/ that are imported for their order alone: no news to who runs a demo.
      logLevel: 'error',
    }),
  ]);
  return new Map([
    ['/', { type: 'text/html; charset=utf-8', text: html }],
    ['/page.css', { type: 'text/css; charset=utf-8', text: css }],
    [
      '/page.js',
      { type: 'text/javascript; charset=utf-8', text: bundle.outputFiles[0]?.text ?? '' },
    ],
  ]);
}

/** A status and, where there is one, a body. */
type Answer = readonly [status: number, body?: unknown];
type Route = (body: unknown) => Answer | Promise<Answer>;

const tokenWish = z.object({ old: z.string().optional(), signIn: z.boolean().optional() });
const harmWish = z.object({ name: z.enum(harmNames), on: z.boolean() });

function routesOf({ server, tokens, harms, doors }: Stage): ReadonlyMap<string, Route> {
  const word = (): Word => ({ active: harms.active, isUp: server.isUp, number: server.number });
  return new Map<string, Route>([
    ['GET /home', () => [200, { ...server.snapshot, doors } satisfies Home]],
    ['GET /harm', () => [200, word()]],
    [
      'POST /harm',
      (body) => {
        const wish = harmWish.safeParse(body);
        if (!wish.success) return [400];
        const { name, on } = wish.data;
        void (on ? harms.begin(name) : harms.end(name));
        return [200, word()];
      },
    ],
    [
      'POST /heal',
      () => {
        void harms.heal();
        return [200, word()];
      },
    ],
    [
      'POST /token',
      async (body) => {
        const wish = tokenWish.safeParse(body);
        if (!wish.success) return [400];
        if (wish.data.signIn) await harms.end('token-refused');
        if (tokens.refusing) return [403];
        const { old } = wish.data;
        return [200, (old === undefined ? undefined : tokens.renew(old)) ?? tokens.issue()];
      },
    ],
  ]);
}

async function answer(
  routes: ReadonlyMap<string, Route>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const route = routes.get(`${request.method} ${request.url}`);
  if (route === undefined) {
    response.writeHead(404).end();
    return;
  }
  // Another site's page cannot send this type without asking first, and nobody answers that here.
  const isJson = request.headers['content-type'] === 'application/json';
  if (request.method === 'POST' && !isJson) {
    response.writeHead(415).end();
    return;
  }
  const [status, body] = await route(await bodyOf(request));
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

/** Bytes; nothing the page sends is longer. */
const LONGEST_BODY = 4_096;

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > LONGEST_BODY) return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
