/** In a real Chromium: its own WebSocket underneath, its own classes of events, its own errors. */
import { existsSync } from 'node:fs';
import puppeteer, { type Browser, type Page } from 'puppeteer-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chromiumFlags } from '../../scripts/chromium.ts';
import type { ReconnectingWebSocket as Class } from '../../src/drop-in/reconnecting-web-socket.js';
import { bundle } from '../scenarios/bundle.js';
import { feedServer } from './feed-server.js';

const executablePath = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
const isMissing = !existsSync(executablePath) && process.env.CI !== 'true';
if (isMissing) console.log('SKIPPED: drop-in in a browser. Install Chromium or set CHROMIUM_PATH.');

/** What the page has on its global object. */
declare const script: { ReconnectingWebSocket: typeof Class };
declare const socket: Class;
declare const told: unknown[];

describe.skipIf(isMissing)('in a browser', { timeout: 60_000 }, () => {
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    const code = `export { ReconnectingWebSocket } from './src/drop-in/reconnecting-web-socket.ts';`;
    browser = await puppeteer.launch({ executablePath, args: chromiumFlags });
    page = await browser.newPage();
    await page.addScriptTag({ content: await bundle('browser', code) });
  }, 60_000);

  afterAll(() => browser.close());

  test('it reconnects, and tells everything in the events of the browser', async () => {
    const server = await feedServer({ perMessageDeflate: true });
    await page.evaluate((url) => {
      const quick = { minReconnectionDelay: 1, maxReconnectionDelay: 20 };
      Object.assign(globalThis, {
        told: [],
        socket: new script.ReconnectingWebSocket(url, [], quick),
      });
      socket.onopen = (event) => told.push(['open', event.constructor.name]);
      socket.onmessage = (event) => {
        const { data, origin } = event;
        told.push([event.constructor.name, data instanceof Blob ? data.size : data, origin]);
      };
      socket.onerror = (event) => told.push([event.constructor.name, event.message]);
      socket.onclose = (event) => {
        told.push([event.constructor.name, event.code, event.wasClean, socket.readyState]);
      };
      socket.send('text');
      socket.send(new Uint8Array(3));
    }, server.url);
    const heard = () => page.evaluate(() => told);
    const first = [
      ['open', 'Event'],
      ['MessageEvent', 'text', server.url],
      ['MessageEvent', 3, server.url],
    ];
    await expect.poll(heard).toEqual(first);
    const seen = await page.evaluate(() => {
      const { url, extensions, protocol, readyState, binaryType } = socket;
      return { url, extensions, protocol, readyState, binaryType };
    });
    expect(seen).toEqual({
      url: `${server.url}/`,
      extensions: 'permessage-deflate',
      protocol: '',
      readyState: 1,
      binaryType: 'blob',
    });
    server.proxy.set({ accept: 'refuse' });
    server.proxy.reset();
    await expect.poll(heard).toContainEqual(['ErrorEvent', '']);
    server.proxy.heal();
    await expect.poll(async () => (await heard()).at(-1)).toEqual(['open', 'Event']);
    const failures = (await heard()).slice(first.length, -1);
    expect(failures.slice(0, 3)).toEqual([
      ['CloseEvent', 1006, false, 0],
      ['ErrorEvent', ''],
      ['CloseEvent', 1006, false, 0],
    ]);
    await page.evaluate(() => socket.close(4000, 'bye'));
    await expect.poll(async () => (await heard()).at(-1)).toEqual(['CloseEvent', 4000, true, 3]);
    expect(server.closes.at(-1)).toEqual({ code: 4000, reason: 'bye' });
  });

  test('what a listener throws reaches window.onerror; a wait ends with the online event', async () => {
    const server = await feedServer();
    server.proxy.set({ accept: 'refuse' });
    await page.evaluate((url) => {
      const never = { minReconnectionDelay: 3_600_000, maxReconnectionDelay: 3_600_000 };
      Object.assign(globalThis, {
        told: [],
        socket: new script.ReconnectingWebSocket(url, [], never),
      });
      socket.onclose = () => told.push('close');
      socket.onopen = () => {
        throw new Error('mine');
      };
      window.addEventListener('error', (event) => {
        event.preventDefault();
        told.push(event.error.message);
      });
    }, server.url);
    const heard = () => page.evaluate(() => told);
    await expect.poll(heard).toEqual(['close']);
    server.proxy.heal();
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
    await expect.poll(heard).toEqual(['close', 'mine']);
    await page.evaluate(() => socket.close());
  });
});
