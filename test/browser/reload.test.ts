/**
 * Pages of a real Chromium that are reloaded or crash in the middle of their sends, over IndexedDB.
 * `RELOADS=10 npm test -- test/browser/reload.test.ts` reloads more of them.
 */
import { existsSync } from 'node:fs';
import { seededDice } from 'holdfast/testing';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { chromiumFlags } from '../../scripts/chromium.ts';
import { bundle } from '../scenarios/bundle.js';
import type { stored as InPage } from './storage-page.ts';
import { type StorageSite, storageSite } from './storage-site.js';

declare const script: { stored: typeof InPage };

const executablePath = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
const isMissing = !existsSync(executablePath) && process.env.CI !== 'true';
if (isMissing) console.log('SKIPPED: reloads. Install Chromium or set CHROMIUM_PATH.');

const SENDS = 200;
const ROOMS = 5;
const RELOADS = Number(process.env.RELOADS ?? 3);
/** Milliseconds that something may take on a busy machine. */
const patient = { timeout: 15_000 };
const numbers = Array.from({ length: SENDS }, (_, index) => index);

describe.skipIf(isMissing)('a page over IndexedDB', { timeout: 60_000 }, () => {
  let browser: Browser;
  let context: BrowserContext;
  let code: string;
  let site: StorageSite;
  let complaints: string[];
  let queued: number;
  let onQueued: { count: number; run: () => void };

  beforeAll(async () => {
    code = await bundle('browser', `export { stored } from './test/browser/storage-page.ts';`);
    browser = await chromium.launch({ executablePath, args: chromiumFlags });
  }, 60_000);

  afterAll(() => browser.close());

  beforeEach(async () => {
    site = await storageSite(code);
    complaints = [];
    queued = -1;
    onQueued = { count: Number.POSITIVE_INFINITY, run() {} };
    context = await browser.newContext();
    await context.exposeFunction('tellQueued', (number: number) => {
      queued = Math.max(queued, number);
      if (queued > onQueued.count) onQueued.run();
    });
    context.on('weberror', (error) => complaints.push(error.error().message));
  }, 30_000);

  afterEach(async () => {
    await context.close();
    await site.close();
    expect(complaints).toEqual([]);
  }, 30_000);

  for (let seed = 1; seed <= RELOADS; seed++) {
    test(`that is reloaded in the middle of 200 sends goes on, and each runs once, in order (seed ${seed})`, async () => {
      const page = await opened();
      await brokenOff(page, seed, () => page.reload());
      await goesOn(page);
    });
  }

  test('whose renderer crashes in the middle of 200 sends is followed by one that goes on', async () => {
    const page = await opened();
    await brokenOff(page, 11, async () => {
      const crashed = page.waitForEvent('crash');
      page.goto('chrome://crash').catch(() => {});
      await crashed;
    });
    await goesOn(await opened());
  });

  test('keeps every rule of a storage', async () => {
    const page = await opened();
    expect(await page.evaluate(() => script.stored.brokenRules())).toEqual([]);
  });

  test('E36 leaves the requests of another tab to it, until that is closed', async () => {
    const [one, two] = [await opened(), await opened()];
    await ask(one, [0, 1, 2]);
    await expect.poll(() => queued, patient).toBe(2);
    await ask(two, [10, 11, 12]);
    await expect.poll(() => queued, patient).toBe(12);
    const third = await opened();
    await connect(third);
    expect(await restoredBy(third)).toEqual([]);

    await one.close();
    const fourth = await opened();
    expect(await restoredBy(fourth)).toEqual([0, 1, 2]);
    expect(site.ran).toEqual([]);
    await connect(fourth);
    await expect.poll(() => answeredBy(fourth), patient).toEqual([0, 1, 2]);
    await connect(two);
    await expect.poll(() => answeredBy(two), patient).toEqual([10, 11, 12]);
    expect(site.ran).toEqual([0, 1, 2, 10, 11, 12]);
    expect(await answeredBy(third)).toEqual([]);
  });

  test('hears after a reload what it missed, in its rooms and of its own', async () => {
    const page = await opened();
    await connect(page);
    await page.evaluate(() => script.stored.join());
    await publish(1, 3);
    const rooms = () => page.evaluate(() => script.stored.storedRooms());
    await expect.poll(async () => (await rooms()).sort(), patient).toEqual(['@me', 'room']);
    await expect.poll(() => page.evaluate(() => script.stored.heard), patient).toEqual([1, 2, 3]);
    await page.goto('about:blank');
    await publish(4, 6);

    await page.goto(site.url);
    await connect(page);
    await page.evaluate(() => script.stored.join());
    for (const list of ['heard', 'own'] as const) {
      const read = () => page.evaluate((name) => script.stored[name], list);
      await expect.poll(async () => (await read()).at(-1), patient).toBe(6);
      // What was heard just before the page went may come again; nothing is missing.
      const [first = 0] = (await read()) as number[];
      expect(first).toBeLessThanOrEqual(4);
      expect(await read()).toEqual([1, 2, 3, 4, 5, 6].slice(first - 1));
    }
    expect(await page.evaluate(() => script.stored.reports)).toEqual([]);
  });

  test.each([
    [
      'IndexedDB is denied',
      `Object.defineProperty(globalThis, 'indexedDB', { get() { throw new DOMException('No', 'SecurityError'); } })`,
    ],
    [
      'IndexedDB is missing',
      `delete IDBFactory.prototype.open; Object.defineProperty(globalThis, 'indexedDB', { value: undefined })`,
    ],
    [
      'there are no Web Locks',
      `Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })`,
    ],
  ])('goes on in memory where %s, and says so once', async (_, harm) => {
    await context.addInitScript(harm);
    const page = await opened();
    await connect(page);
    await ask(page, [0, 1, 2]);
    await expect.poll(() => answeredBy(page), patient).toEqual([0, 1, 2]);
    expect(site.ran).toEqual([0, 1, 2]);
    expect(await page.evaluate(() => script.stored.reports)).toEqual(['STORAGE_FAILED']);
  });

  test('goes on in memory where the disk is full, and says so once', async () => {
    const page = await context.newPage();
    const session = await context.newCDPSession(page);
    await session.send('Storage.overrideQuotaForOrigin', { origin: site.url, quotaSize: 50_000 });
    await page.goto(site.url);
    expect(await restoredBy(page)).toEqual([]);
    await ask(page, numbers.slice(0, 20), 'x'.repeat(40_000));
    const reports = () => page.evaluate(() => script.stored.reports);
    await expect.poll(reports, patient).toEqual(['STORAGE_FAILED']);
    await connect(page);
    await expect.poll(async () => (await answeredBy(page)).length, patient).toBe(20);
    expect([...site.ran].sort((one, other) => one - other)).toEqual(numbers.slice(0, 20));
    expect(await reports()).toEqual(['STORAGE_FAILED']);
  });

  async function publish(from: number, to: number): Promise<void> {
    for (let number = from; number <= to; number++) {
      await site.hub.publish('room', 'feed:ticked', number);
      await site.hub.publishToUser('ann', 'feed:own', number);
    }
  }

  /** Asks, and does it in the middle: half of them by what the server has run, half by what is stored. */
  async function brokenOff(page: Page, seed: number, end: () => Promise<unknown>): Promise<void> {
    const count = Math.floor(seededDice(seed)() * SENDS);
    const ended = new Promise<void>((done, fail) => {
      let isEnding = false;
      const run = () => {
        if (!isEnding) end().then(() => done(), fail);
        isEnding = true;
      };
      if (seed % 2 === 1) site.onRun(count, run);
      else onQueued = { count, run };
    });
    await connect(page);
    await ask(page, numbers);
    await ended;
    onQueued.run = () => {};
    site.onRun(Number.POSITIVE_INFINITY, () => {});
  }

  /** The next page restores what was queued; the application asks again for what never was. */
  async function goesOn(page: Page): Promise<void> {
    const restored = await restoredBy(page);
    const lost = numbers.filter((one) => !restored.includes(one) && !site.ran.includes(one));
    expect(Math.min(...lost), 'queued, and not stored').toBeGreaterThan(queued);
    await connect(page);
    await ask(page, lost);
    const total = restored.length + lost.length;
    await expect.poll(async () => (await answeredBy(page)).length, patient).toBe(total);
    expect(await page.evaluate(() => script.stored.failed)).toEqual([]);
    expect([...site.ran].sort((one, other) => one - other)).toEqual(numbers);
    for (let room = 0; room < ROOMS; room++) {
      const inRoom = site.ran.filter((one) => one % ROOMS === room);
      expect(inRoom).toEqual([...inRoom].sort((one, other) => one - other));
    }
    await expect
      .poll(() => page.evaluate(() => script.stored.client.pending()), patient)
      .toEqual([]);
  }

  async function opened(): Promise<Page> {
    const page = await context.newPage();
    await page.goto(site.url);
    await restoredBy(page);
    return page;
  }

  function restoredBy(page: Page): Promise<number[]> {
    return page.evaluate(() => script.stored.restored);
  }

  function answeredBy(page: Page): Promise<number[]> {
    return page.evaluate(() => script.stored.answered);
  }

  async function connect(page: Page): Promise<void> {
    await page.evaluate(() => void script.stored.client.connect().catch(() => {}));
  }

  async function ask(page: Page, wanted: readonly number[], padding = ''): Promise<void> {
    await page.evaluate(([all, pad]) => void script.stored.ask(all, pad), [
      [...wanted],
      padding,
    ] as const);
  }
});
