/**
 * What a real Chromium does to a page's connection: network hints that lie or come late, the
 * back/forward cache, frozen and hidden pages, a sandbox. Puppeteer, since Playwright shows every page.
 */
import { existsSync } from 'node:fs';
import { type FaultProxy, faultProxy } from 'holdfast/testing/node';
import puppeteer, { type Browser, type CDPSession, type Frame, type Page } from 'puppeteer-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { chromiumFlags } from '../../scripts/chromium.ts';
import type { Diary, device as InPage } from './device-page.ts';
import { type DeviceSite, deviceScript, deviceSite } from './device-site.ts';

const executablePath = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
const isMissing = !existsSync(executablePath) && process.env.CI !== 'true';
if (isMissing) console.log('SKIPPED: devices. Install Chromium or set CHROMIUM_PATH.');

/** Flags that Puppeteer sets so that pages are not treated as a user's are. */
const unlikeUsers = [
  '--disable-back-forward-cache',
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
];

/** Milliseconds that something may take on a busy machine. */
const PATIENCE = 15_000;
const patient = { timeout: PATIENCE };

/** What a page hears when its user and its network return. */
const back = ['online', 'visible'];

const connects = ['disconnected', 'connecting', 'connected'];

describe.skipIf(isMissing)('a page on a real device', { timeout: 60_000 }, () => {
  let browser: Browser;
  let script: string;
  let site: DeviceSite;
  let page: Page;
  let cdp: CDPSession;
  let complaints: string[];
  let endings: (() => unknown)[];

  beforeAll(async () => {
    script = await deviceScript();
    browser = await puppeteer.launch({
      executablePath,
      args: chromiumFlags,
      ignoreDefaultArgs: unlikeUsers,
    });
  }, 60_000);

  afterAll(() => browser.close());

  beforeEach(async () => {
    site = await deviceSite(script);
    complaints = [];
    endings = [];
    page = await browser.newPage();
    page.on('pageerror', (error) => complaints.push(String(error)));
    cdp = await page.createCDPSession();
  }, 30_000);

  afterEach(async () => {
    for (const other of await browser.pages()) if (other !== page) await other.close();
    // The last page of a browser stays: a window without pages is closed.
    await page.goto('about:blank');
    for (const end of endings) await end();
    await site.close();
    expect(complaints).toEqual([]);
  }, 30_000);

  describe('hints of the network', () => {
    test('E18 a page that is told it is offline while the link works keeps it', async () => {
      await open();
      await sayOnline(false);
      expect(await page.evaluate(() => navigator.onLine)).toBe(false);
      await expect.poll(() => read('signals'), patient).toContain('offline');
      await expect.poll(() => read('received'), patient).toContain('pong');
      const asked = Date.now();
      await site.publish(3);
      await expect.poll(() => read('numbers'), patient).toEqual([1, 2, 3]);
      await expect.poll(() => Date.now() - asked, patient).toBeGreaterThan(2_500);
      expect(await read('statuses')).toEqual(connects);
      expect(await read('sent')).toEqual(['ping']);
      expect(site.dials).toBe(1);
    });

    test('E18 a page that is opened offline connects all the same: loopback needs no network', async () => {
      await page.goto(`${site.url}/elsewhere`);
      await sayOnline(false);
      await open();
      expect(await page.evaluate(() => navigator.onLine)).toBe(false);
      await site.publish(1);
      await expect.poll(() => read('numbers'), patient).toEqual([1]);
    });

    test('E18 with `offline` a black hole is found out in two seconds, and nothing is lost in it', async () => {
      const proxy = await proxied();
      await open({}, proxy.port);
      await site.publish(1);
      await expect.poll(() => read('numbers'), patient).toEqual([1]);
      proxy.set({ blackHole: 'both' });
      await site.publish(2);
      const before = performance.now();
      await sayOnline(false);
      await expect.poll(() => read('statuses'), patient).toContain('reconnecting');
      const took = performance.now() - before;
      expect(took).toBeGreaterThan(1_900);
      // Without the hint it is the heartbeat's 25 s, and 5 more.
      expect(took).toBeLessThan(10_000);
      proxy.heal({ release: false });
      await sayOnline(true);
      await expect.poll(() => read('numbers'), patient).toEqual([1, 2, 3]);
      expect(await state()).toMatchObject({ status: 'connected' });
    });

    test('E18 a network that is gone leaves the socket open and silent; back, several signals make one attempt', async () => {
      // One retry soon, the next one in half an hour: only a signal can bring it.
      const reconnect = { initialDelay: 100, factor: 20_000, maxDelay: 2_000_000, jitter: 'none' };
      await open({ reconnect });
      await passes(false);
      await site.publish(3);
      await sayOnline(false);
      await expect.poll(() => read('statuses'), patient).toContain('reconnecting');
      expect(await read('numbers')).toEqual([]);
      // It was tried although the browser says that there is no network.
      await expect.poll(async () => (await state()).wait, patient).toBeGreaterThan(1_000_000);
      expect((await state()).attempts).toBe(2);
      const { dials } = site;
      await inFront();
      await expect.poll(isHidden, patient).toBe(true);
      await passes(true);
      await Promise.all([sayOnline(true), page.bringToFront()]);
      await expect.poll(() => read('numbers'), patient).toEqual([1, 2, 3]);
      await expect.poll(() => read('signals'), patient).toEqual(expect.arrayContaining(back));
      expect(site.dials).toBe(dials + 1);
      expect((await state()).attempts).toBe(3);
    });
  });

  describe('the back/forward cache', () => {
    test('E19 a page in it holds no link; back, it catches up: no event lost, no request run twice', async () => {
      await open();
      await site.publish(3);
      await expect.poll(() => read('numbers'), patient).toEqual([1, 2, 3]);
      await ask('n:held', 'before');
      await expect.poll(() => site.ran, patient).toEqual(['before']);
      await page.goto(`${site.url}/elsewhere`);
      await expect.poll(() => site.hub.metrics().connections, patient).toBe(0);
      await site.publish(4);
      site.release();
      await page.goBack();
      await site.publish(2);
      await expect.poll(() => read('numbers'), patient).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
      await expect.poll(() => read('answers'), patient).toEqual(['before']);
      expect(site.ran).toEqual(['before']);
      // The page that is back is the one that left, and not a new one.
      const signals = await read('signals');
      expect(signals).toContain('pagehide persisted');
      expect(signals).toContain('pageshow persisted');
      expect(await read('statuses')).toEqual([...connects, 'reconnecting', 'connected']);
      expect(site.dials).toBe(2);
      await site.publish(1);
      await expect.poll(() => read('numbers'), patient).toHaveLength(10);
      expect(await read('errors')).toEqual([]);
    });

    test('E19 five times in and out of it lose and double nothing', async () => {
      await open();
      for (let turn = 1; turn <= 5; turn++) {
        await site.publish(2);
        await page.goto(`${site.url}/elsewhere`);
        await site.publish(1);
        await page.goBack();
      }
      const all = Array.from({ length: 15 }, (_, index) => index + 1);
      await expect.poll(() => read('numbers'), patient).toEqual(all);
      const persisted = (await read('signals')).filter((one) => one === 'pageshow persisted');
      expect(persisted).toHaveLength(5);
    });

    test('E19 no `unload` or `beforeunload` listener is installed, and none at all is left after close()', async () => {
      await page.goto(`${site.url}/?wait`);
      const before = await listeners();
      await page.evaluate(() => device().start());
      await expect.poll(async () => (await state()).status, patient).toBe('connected');
      const during = await listeners();
      expect(during.length).toBeGreaterThan(before.length);
      for (const type of ['pagehide', 'pageshow', 'online', 'offline', 'freeze', 'resume']) {
        expect(during.filter((one) => one === type)).toHaveLength(2);
      }
      expect(during).not.toContain('unload');
      expect(during).not.toContain('beforeunload');
      await page.evaluate(() => device().client.close());
      await expect.poll(listeners, patient).toEqual(before);
    });

    test('E19 a page that the browser freezes lets go of its link, and catches up when it runs again', async () => {
      await open();
      await cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
      await expect.poll(() => site.hub.metrics().connections, patient).toBe(0);
      await site.publish(3);
      await cdp.send('Page.setWebLifecycleState', { state: 'active' });
      await expect.poll(() => read('numbers'), patient).toEqual([1, 2, 3]);
      expect(await read('signals')).toEqual(expect.arrayContaining(['freeze', 'resume']));
      expect(site.dials).toBe(2);
    });
  });

  describe('a hidden tab', () => {
    test('E20 stays connected by default, with its timers throttled, and hears what is published', async () => {
      await open();
      await inFront();
      await expect.poll(isHidden, patient).toBe(true);
      // Three timers of 10 ms take seconds here.
      const took = await page.evaluate(async () => {
        const before = performance.now();
        for (let n = 0; n < 3; n++) await new Promise((done) => setTimeout(done, 10));
        return performance.now() - before;
      });
      expect(took).toBeGreaterThan(1_500);
      await ask('n:run', 'hidden');
      await expect.poll(() => read('answers'), patient).toEqual([1]);
      await site.publish(3);
      await expect.poll(() => read('numbers'), patient).toEqual([1, 2, 3]);
      expect(await isHidden()).toBe(true);
      expect(await read('statuses')).toEqual(connects);
      expect(site.dials).toBe(1);
    });

    test('E20 with `pauseWhenHidden` is put aside, and catches up as soon as it is seen', async () => {
      await open({ pauseWhenHidden: { afterMs: 100 } });
      const other = await inFront();
      await expect.poll(() => site.hub.metrics().connections, patient).toBe(0);
      expect(await isHidden()).toBe(true);
      await site.publish(3);
      await other.close();
      await page.bringToFront();
      await expect.poll(() => read('numbers'), patient).toEqual([1, 2, 3]);
      expect(site.dials).toBe(2);
    });

    test('E20 is not put aside with a request unanswered', async () => {
      await open({ pauseWhenHidden: { afterMs: 100 } });
      await ask('n:held', 1);
      await inFront();
      await expect.poll(isHidden, patient).toBe(true);
      const hidden = Date.now();
      await expect.poll(() => Date.now() - hidden, patient).toBeGreaterThan(1_500);
      expect(site.hub.metrics().connections).toBe(1);
      site.release();
      await expect.poll(() => read('answers'), patient).toEqual([1]);
      await expect.poll(() => site.hub.metrics().connections, patient).toBe(0);
      expect(site.ran).toEqual([1]);
    });

    test('E20 that is opened in the background is put aside too', async () => {
      const other = await browser.newPage();
      await other.bringToFront();
      await expect.poll(isHidden, patient).toBe(true);
      await open({ pauseWhenHidden: { afterMs: 500 } });
      await expect.poll(() => site.hub.metrics().connections, patient).toBe(0);
      expect(await read('signals')).not.toContain('hidden');
    });
  });

  test.each([
    ['without a storage', '', []],
    ['with one, in memory', 'stored', ['STORAGE_FAILED']],
  ])(
    'E22 in a sandbox where localStorage throws and IndexedDB is denied, the client works %s',
    async (_how, query, reported) => {
      await page.goto(`${site.url}/sandbox?${query}`);
      const frame = page.frames().find((one) => one !== page.mainFrame());
      if (frame === undefined) throw new Error('The page has no frame.');
      expect(await denied(frame)).toEqual(['SecurityError', 'SecurityError', 'null']);
      const synced = () => frame.evaluate(() => device().client.state.synced);
      await expect.poll(synced, patient).toBe(true);
      await site.publish(2);
      const seen = () => frame.evaluate(() => device().diary.numbers);
      await expect.poll(seen, patient).toEqual([1, 2]);
      expect(await frame.evaluate(() => device().client.request('n:run', 'x'))).toBe(1);
      expect(site.ran).toEqual(['x']);
      expect(await frame.evaluate(() => device().diary.errors)).toEqual(reported);
    },
  );

  /** The page, connected and in its room. */
  async function open(options: object = {}, port = site.port): Promise<void> {
    const query = new URLSearchParams({ options: JSON.stringify(options), port: String(port) });
    await page.goto(`${site.url}/?${query}`);
    await expect.poll(() => page.evaluate(() => device().client.state.synced), patient).toBe(true);
  }

  async function proxied(): Promise<FaultProxy> {
    const proxy = await faultProxy({ target: { port: site.port } });
    endings.push(() => proxy.close());
    return proxy;
  }

  /** Another tab, in front of the page. */
  async function inFront(): Promise<Page> {
    const other = await browser.newPage();
    await other.goto(`${site.url}/elsewhere`);
    await other.bringToFront();
    return other;
  }

  function isHidden(): Promise<boolean> {
    return page.evaluate(() => document.hidden);
  }

  /** Whether the page's network carries anything; nobody is told. */
  async function passes(anything: boolean): Promise<void> {
    const speed = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
    await cdp.send('Network.enable');
    await cdp.send('Network.emulateNetworkConditionsByRule', {
      matchedNetworkConditions: [{ urlPattern: '', offline: !anything, ...speed }],
    });
  }

  /** What the browser says of its network; the network itself stays as it is. */
  async function sayOnline(online: boolean): Promise<void> {
    await cdp.send('Network.enable');
    const speed = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
    await cdp.send('Network.overrideNetworkState', { offline: !online, ...speed });
  }

  function read<K extends keyof Diary>(part: K): Promise<Diary[K]> {
    return page.evaluate((name) => device().diary[name], part) as Promise<Diary[K]>;
  }

  function state(): Promise<{ status: string; attempts: number; wait: number }> {
    return page.evaluate(() => {
      const { client } = device();
      const { nextRetryAt, status } = client.state;
      const wait = nextRetryAt === null ? 0 : nextRetryAt.getTime() - Date.now();
      return { status, attempts: client.metrics().attempts, wait };
    });
  }

  async function ask(type: string, payload: unknown): Promise<void> {
    await page.evaluate(
      (name, value) => {
        const { client, diary } = device();
        client.request(name, value).then(
          (data) => diary.answers.push(data),
          (error: Error) => diary.answers.push(error.message),
        );
      },
      type,
      payload,
    );
  }

  /** The types of all listeners on the window and the document, in order. */
  async function listeners(): Promise<string[]> {
    const types: string[] = [];
    for (const expression of ['window', 'document']) {
      const { result } = await cdp.send('Runtime.evaluate', { expression });
      const { listeners: found } = await cdp.send('DOMDebugger.getEventListeners', {
        objectId: result.objectId ?? '',
      });
      types.push(...found.map(({ type }) => type));
    }
    return types.sort();
  }

  /** What touching storage leads to, and the origin. */
  function denied(frame: Frame): Promise<string[]> {
    return frame.evaluate(() => {
      const nameOf = (touch: () => unknown) => {
        try {
          touch();
          return 'allowed';
        } catch (error) {
          return error instanceof Error ? error.name : String(error);
        }
      };
      return [
        nameOf(() => localStorage.getItem('x')),
        nameOf(() => indexedDB.open('x')),
        globalThis.origin,
      ];
    });
  }
});

/** Only in the page. */
declare const device: typeof InPage;
