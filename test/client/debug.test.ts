/** What `DEBUG` and `localStorage.debug` print, and what they never do. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { platformEnvironment } from '../../src/client/environment.js';
import { type HarnessOptions, harness } from './harness.js';

/** A story with something of everything; returns what was printed. */
async function printed(wish: string | undefined, options: HarnessOptions = {}): Promise<string[]> {
  const lines: string[] = [];
  const { client, clock, network, server } = harness({
    auto: true,
    auth: () => ({ token: 'secret' }),
    onGap: () => new Promise(() => {}),
    ...options,
    environment: {
      debug: () => wish,
      log: (line) => lines.push(line),
      ...options.environment,
    },
  });
  void client.connect();
  void client.room('r').join();
  await clock.advance(1);
  server.publish('r', 'e:f', 'a payload');
  void client.request('a:b', 'a payload');
  client.send('c:d', 'a payload');
  await clock.advance(1);
  server.link.send({ kind: 'auth', expiresIn: 1_000 });
  await clock.advance(900);
  network.cut();
  await clock.advance(2_000);
  server.auto = false;
  client.request('a:b', 'a payload').catch(() => {});
  await clock.advance(1);
  const [asked = ''] = server.link.sent('request').slice(-1);
  server.link.fail(asked, { code: 'TAKEN', message: 'a payload', details: { of: 'a payload' } });
  await clock.advance(1);
  server.link.joined('r', { epoch: 'epoch-2', recovered: false, reason: 'epoch' });
  await clock.advance(1);
  client.close();
  await clock.advance(1);
  return lines;
}

describe('what is printed', () => {
  test('states, attempts, faults, frames and decisions, a line each', async () => {
    const lines = await printed('holdfast:*');
    for (const line of [
      'holdfast:state {"status":"disconnected","synced":false,"reconnectAttempts":0,"nextRetryAt":null,"queued":0,"error":null}',
      'holdfast:state {"status":"connected","synced":true,"reconnectAttempts":0,"nextRetryAt":null,"queued":1,"error":null}',
      'holdfast:state {"status":"reconnecting","synced":false,"reconnectAttempts":1,"nextRetryAt":"2026-01-01T00:00:01.542Z","queued":0,"error":"CONNECTION_FAILED: The connection was closed with 1006."}',
      'holdfast:decision {"fact":"connectAsked"}',
      'holdfast:decision {"order":"askCredentials","ask":2,"reason":"expired"}',
      'holdfast:decision {"order":"dial","link":1}',
      'holdfast:decision {"fact":"lost","link":1,"fault":"CONNECTION_FAILED: The connection was closed with 1006."}',
      'holdfast:decision {"fact":"asked","request":{"requestId":"id1-2","type":"a:b"}}',
      'holdfast:decision {"order":"reject","requestId":"id1-3","error":{"code":"TAKEN"}}',
      'holdfast:decision {"order":"heal","room":"r","run":1,"cursor":"r:1","reason":"epoch"}',
      'holdfast:decision {"order":"hangUp","link":2,"code":1000,"reason":"closed"}',
      'holdfast:frame {"fact":"received","link":1,"frame":{"kind":"welcome"}}',
      'holdfast:frame {"fact":"received","link":1,"frame":{"kind":"room","room":"r","joined":true,"reason":"new","cursor":"r:0"}}',
      'holdfast:frame {"fact":"received","link":1,"frame":{"kind":"event","eventId":"r:1","type":"e:f","room":"r"}}',
      'holdfast:frame {"order":"transmit","link":1,"frames":[{"kind":"auth"}]}',
      // Two that were encoded when they were asked for.
      'holdfast:frame {"order":"transmit","link":1,"frames":[{"kind":"request","requestId":"id1-2","type":"a:b"},{"kind":"message","type":"c:d"}]}',
    ]) {
      expect(lines).toContain(line);
    }
    expect(lines.at(-1)).toContain('holdfast:state {"status":"closed"');
    expect(lines.filter((line) => /tickEnded|deliver/.test(line))).toEqual([]);
  });

  test('E41 no payload, no credential, no clientId and no word of the application', async () => {
    const lines = await printed('*');
    expect(lines.length).toBeGreaterThan(50);
    expect(lines.join('\n')).not.toMatch(/payload|secret|id1-1/);
    const token = await printed('*', { auth: () => 'secret' });
    expect(token.join('\n')).not.toContain('secret');
  });

  test.each([
    ['holdfast:state', ['state']],
    ['holdfast:frame', ['frame']],
    ['other:*,holdfast:decision', ['decision']],
    ['holdfast:state holdfast:frame', ['frame', 'state']],
    ['*', ['decision', 'frame', 'state']],
    ['hold*', ['decision', 'frame', 'state']],
    ['holdfast:*,-holdfast:frame', ['decision', 'state']],
    ['*,-holdfast:*', []],
    ['-*,*', []],
    ['holdfast', []],
    ['other:*', []],
    ['([*', []],
    ['', []],
    [undefined, []],
  ])('%s asks for %j', async (wish, topics) => {
    const lines = await printed(wish);
    const said = lines.map((line) => /^holdfast:(\w+) /.exec(line)?.[1]);
    expect([...new Set(said)].sort()).toEqual(topics);
  });

  test('is asked for with the first connect, once', async () => {
    const debug = vi.fn(() => 'holdfast:state');
    const lines: string[] = [];
    const { client, clock } = harness({
      auto: true,
      environment: { debug, log: (line) => lines.push(line) },
    });
    client.onState(() => {});
    client.onTrace(() => {})();
    expect(debug).not.toHaveBeenCalled();
    void client.connect();
    await clock.advance(10);
    client.disconnect();
    void client.connect();
    await clock.advance(10);
    expect(debug).toHaveBeenCalledTimes(1);
    const connects = lines.filter((line) => line.includes('"connecting"'));
    expect(connects).toHaveLength(2);
  });

  test('goes on while a trace is heard and after', async () => {
    const lines: string[] = [];
    const { client, clock } = harness({
      environment: { debug: () => 'holdfast:decision', log: (line) => lines.push(line) },
    });
    void client.connect();
    const trace: unknown[] = [];
    const off = client.onTrace((entry) => trace.push(entry));
    off();
    const before = lines.length;
    client.reconnect();
    await clock.advance(1);
    expect(trace).toEqual([]);
    expect(lines.length).toBeGreaterThan(before);
  });
});

describe('where the platform says it', () => {
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  test('in the environment of a process', () => {
    vi.stubEnv('DEBUG', undefined);
    expect(platformEnvironment.debug()).toBeUndefined();
    vi.stubEnv('DEBUG', 'holdfast:*');
    expect(platformEnvironment.debug()).toBe('holdfast:*');
    vi.stubGlobal('process', undefined);
    expect(platformEnvironment.debug()).toBeUndefined();
  });

  test('in the storage of a page, which may be denied', () => {
    vi.stubEnv('DEBUG', 'not for a page');
    vi.stubGlobal('document', {});
    const stored = new Map([['debug', 'holdfast:state']]);
    vi.stubGlobal('localStorage', { getItem: (key: string) => stored.get(key) ?? null });
    expect(platformEnvironment.debug()).toBe('holdfast:state');
    stored.clear();
    expect(platformEnvironment.debug()).toBeNull();
    vi.stubGlobal('localStorage', undefined);
    expect(platformEnvironment.debug()).toBeUndefined();
    vi.stubGlobal('localStorage', {
      getItem() {
        throw new DOMException('The operation is insecure.', 'SecurityError');
      },
    });
    expect(platformEnvironment.debug()).toBeUndefined();
  });

  test('not in the environment of Deno, which would ask for leave', () => {
    vi.stubEnv('DEBUG', 'holdfast:*');
    vi.stubGlobal('Deno', {});
    vi.stubGlobal('localStorage', { getItem: () => null });
    expect(platformEnvironment.debug()).toBeNull();
  });

  test('and goes to the console', () => {
    // Not to stdout, where a program's own output goes.
    const said = vi.spyOn(console, 'error').mockImplementation(() => {});
    platformEnvironment.log('holdfast:state connected');
    expect(said.mock.calls).toEqual([['holdfast:state connected']]);
  });
});
