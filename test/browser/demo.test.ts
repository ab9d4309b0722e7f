/** The demo's page in a real Chromium, against its real server through the real fault proxy. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Site, serveRoom } from '../../examples/chat/site.ts';
import { chromiumFlags } from '../../scripts/chromium.ts';

const executablePath = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
const isMissing = !existsSync(executablePath) && process.env.CI !== 'true';
if (isMissing)
  console.log('SKIPPED: the demo in a browser. Install Chromium or set CHROMIUM_PATH.');

/** Milliseconds that a recovery may take on a busy machine. */
const PATIENCE = 15_000;

describe.skipIf(isMissing)('the demo page', () => {
  let browser: Browser;
  let site: Site;
  let page: Page;
  let complaints: string[];

  beforeAll(async () => {
    // The page's script is made of dist/.
    const build = path.resolve(import.meta.dirname, '../../scripts/fresh-build.ts');
    expect(spawnSync(process.execPath, [build]).status).toBe(0);
    browser = await chromium.launch({ executablePath, args: chromiumFlags });
  }, 60_000);

  afterAll(() => browser.close());

  beforeEach(async () => {
    site = await serveRoom();
    page = await browser.newPage();
    complaints = [];
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      // What the browser itself says of a connection that was cut is no error of the page.
      const isWire = /^WebSocket connection to|^Failed to load resource: net::ERR_/.test(
        message.text(),
      );
      if (['error', 'warning'].includes(message.type()) && !isWire) complaints.push(message.text());
    });
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
        console.error(`CSP: ${violatedDirective} ${blockedURI}`);
      });
    });
    await page.goto(site.url);
    await says('Connected');
  }, 30_000);

  afterEach(async () => {
    await page.close();
    await site.close();
    expect(complaints).toEqual([]);
  }, 30_000);

  test('a message sent while the wire is cut arrives after it, once, and no event is lost', async () => {
    await say('before the cut');
    await fate('before the cut', 'acknowledged');

    await press('Black hole');
    await says(/^(Connection lost|Reconnecting…)$/);
    await expectText('#synced', 'no');
    await say('from inside');
    await fate('from inside', 'pending');
    // The page's own probes wait as well, but are not the visitor's.
    await expectText('#queued', '1');
    await press('Retry now');
    await press('Heal');

    await says('Connected');
    await fate('from inside', 'acknowledged');
    await nothingIsWrong();
    expect(await page.locator('.messages li', { hasText: 'from inside' }).count()).toBe(1);
    expect(await number('#reconnects')).toBeGreaterThan(0);
    expect(await number('#gaps')).toBe(0);
  }, 60_000);

  test('a cut is over before one could press anything', async () => {
    await remember('#status');
    await press('Cut the wire');
    await expect.poll(remembered, { timeout: PATIENCE }).toContain('Connection lost');
    await says('Connected');
    await expectText('#status-detail', /^Back after \d+\.\d s; \d+ missed events caught up\.$/);
    await nothingIsWrong();
  }, 60_000);

  test('a restart shows a countdown, and with its journal kept no gap', async () => {
    await remember('#status-detail');
    await press('Restart the server');
    await says(/^(Connection lost|Reconnecting…)$/);
    await says('Connected');
    expect(await remembered()).toContainEqual(
      expect.stringMatching(/^Trying again in \d+\.\d s\. /),
    );
    expect(await number('#gaps')).toBe(0);
    await nothingIsWrong();
  }, 60_000);

  test('a server that loses its journal is a gap that the page shows', async () => {
    await press('Restart, amnesia');
    await says(/^(Connection lost|Reconnecting…)$/);
    await says('Connected');
    expect(await number('#gaps')).toBe(1);
    expect(await number('#lost')).toBe(0);
    expect(await number('#doubled')).toBe(0);
    await expectText('#verdict', /^\d+ gone, as told$|^All there, in order$/);
  }, 60_000);

  test('an expired token is renewed at once, a refused one waits for a sign-in', async () => {
    await press('Expire the token');
    await expectText('#log', /A fresh token is fetched/);
    await says('Connected');

    await press('Refuse the token');
    await says('Signed out');
    await press('Sign in again');
    await says('Connected');
    await nothingIsWrong();
  }, 60_000);

  test('a page that opens while tokens are refused was never signed in', async () => {
    await press('Refuse the token');
    await says('Signed out');
    await page.reload();
    await says('Not signed in');
    // The browser itself writes down that there was no token.
    await expect.poll(() => complaints.splice(0).join()).toContain('403 (Forbidden)');
    await expectText('#status-detail', 'The server refuses the token.');
    await expectText('#verdict', 'Not connected yet');
    await press('Sign in');
    await says('Connected');
    await nothingIsWrong();
  }, 60_000);

  test('with WebSockets blocked it goes on over another wire, and comes back up without a word', async () => {
    await expectText('#wire-in-use', 'websocket');
    await press('Block WebSockets');
    await expectText('#wire-in-use', 'sse');
    await says('Connected');
    await say('around the block');
    await fate('around the block', 'acknowledged');
    await remember('#status');
    await press('Heal');
    await expectText('#wire-in-use', 'websocket');
    // It never said anything else.
    expect(await remembered()).toEqual([]);
    await nothingIsWrong();
    expect(await number('#gaps')).toBe(0);
  }, 60_000);

  test.each(['websocket', 'socket.io', 'sse', 'polling'])(
    '%s can be chosen',
    async (name) => {
      await page.selectOption('#wire', name);
      await page.waitForURL(`**/?wire=${name}`);
      await says('Connected');
      await expectText('#wire-in-use', name);
      await say('over another wire');
      await fate('over another wire', 'acknowledged');
      await nothingIsWrong();
    },
    60_000,
  );

  test.each([360, 375, 400])('it fits a phone of %i px, whatever the state', async (width) => {
    await page.setViewportSize({ width, height: 780 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
    for (const [title, button] of longest) {
      await freeze(title, button);
      const [heading, action] = await Promise.all([box('#status'), box(button)]);
      expect(heading.textEnd).toBeLessThan(action.x);
      expect(heading.height).toBeLessThan(30);
      const [latency, attempts] = await Promise.all([box('#latency'), box('#attempts')]);
      expect(latency.textEnd + 4).toBeLessThan(attempts.x);
    }
  });

  /** Titles beside their button. */
  const longest = [
    ['Connection lost', '#retry'],
    ['Reconnecting…', '#retry'],
    ['Disconnected', '#retry'],
    ['Signed out', '#sign-in'],
    ['Not signed in', '#sign-in'],
  ] as const;

  /** Stops the drawing, and shows a state as it would be drawn. */
  async function freeze(title: string, button: string): Promise<void> {
    await page.evaluate(
      ([words, shown]) => {
        globalThis.requestAnimationFrame = () => 0;
        return new Promise<void>((frozen) => {
          // A frame that was asked for before is drawn first.
          setTimeout(() => {
            const texts = { '#status': words, '#latency': '999 ms', '#attempts': '17' };
            for (const [selector, text] of Object.entries(texts)) {
              const element = document.querySelector(selector);
              if (element !== null) element.textContent = text;
            }
            for (const one of document.querySelectorAll<HTMLElement>('.status button'))
              one.hidden = `#${one.id}` !== shown;
            frozen();
          }, 100);
        });
      },
      [title, button] as const,
    );
  }

  /** Where an element is, and where the text in it ends. */
  async function box(selector: string): Promise<{ x: number; height: number; textEnd: number }> {
    return page.locator(selector).evaluate((element) => {
      const range = document.createRange();
      range.selectNodeContents(element);
      const { x, height } = element.getBoundingClientRect();
      return { x, height, textEnd: range.getBoundingClientRect().right };
    });
  }

  async function press(name: string): Promise<void> {
    await page.getByRole('button', { name, exact: true }).click();
  }

  async function say(text: string): Promise<void> {
    await page.getByRole('textbox', { name: 'Your message' }).fill(text);
    await page.getByRole('button', { name: 'Send' }).click();
  }

  async function fate(text: string, state: string): Promise<void> {
    const item = page.locator('.messages li', { hasText: text });
    await expect.poll(() => item.getAttribute('data-state'), { timeout: PATIENCE }).toBe(state);
  }

  async function says(title: string | RegExp): Promise<void> {
    await expectText('#status', title);
  }

  async function expectText(selector: string, text: string | RegExp): Promise<void> {
    const shown = expect.poll(() => page.locator(selector).textContent(), { timeout: PATIENCE });
    await (typeof text === 'string' ? shown.toBe(text) : shown.toMatch(text));
  }

  async function number(selector: string): Promise<number> {
    return Number((await page.locator(selector).textContent())?.replaceAll(',', ''));
  }

  async function nothingIsWrong(): Promise<void> {
    await expectText('#verdict', 'All there, in order');
    for (const id of ['#lost', '#doubled', '#out-of-order']) expect(await number(id)).toBe(0);
    const received = await number('#received');
    await expect.poll(() => number('#received'), { timeout: PATIENCE }).toBeGreaterThan(received);
  }

  /** Writes down every text an element has had: states may last for a blink. */
  async function remember(selector: string): Promise<void> {
    await page.evaluate((wanted) => {
      const element = document.querySelector(wanted);
      const texts: string[] = [];
      Object.assign(globalThis, { remembered: texts });
      if (element === null) return;
      new MutationObserver(() => texts.push(element.textContent ?? '')).observe(element, {
        childList: true,
        characterData: true,
        subtree: true,
      });
    }, selector);
  }

  async function remembered(): Promise<string[]> {
    return page.evaluate(() => (globalThis as { remembered?: string[] }).remembered ?? []);
  }
});
