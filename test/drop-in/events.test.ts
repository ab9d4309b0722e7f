/** What a listener is, what it is told, and what is kept for sending: as with a WebSocket. */
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { ReconnectingWebSocket } from '../../src/drop-in/reconnecting-web-socket.js';
import { handMade } from './hand-socket.js';

describe('listeners', () => {
  test('are functions and objects, called in the order they were added, handlers among them', async () => {
    const { socket, inner } = handMade();
    const heard: string[] = [];
    socket.addEventListener('open', () => heard.push('function'));
    socket.onopen = () => heard.push('replaced');
    socket.addEventListener('open', {
      handleEvent() {
        heard.push('object');
      },
    });
    socket.onopen = () => heard.push('handler');
    (await inner()).opens();
    expect(heard).toEqual(['function', 'handler', 'object']);
  });

  test('are called once where they are added twice, and never once they are removed', async () => {
    const { socket, inner } = handMade();
    const heard: unknown[] = [];
    const listener = ({ data }: MessageEvent) => heard.push(data);
    socket.addEventListener('message', listener);
    socket.addEventListener('message', listener);
    socket.addEventListener('message', listener, true);
    const removed = () => heard.push('removed');
    socket.addEventListener('message', removed);
    socket.removeEventListener('message', removed);
    const current = await inner();
    current.opens();
    current.receives(1);
    socket.removeEventListener('message', listener);
    current.receives(2);
    socket.removeEventListener('message', listener, { capture: true });
    current.receives(3);
    expect(heard).toEqual([1, 1, 2]);
  });

  test('with once are called once, and with a signal until it is aborted', async () => {
    const { socket, inner } = handMade();
    const heard: string[] = [];
    const controller = new AbortController();
    socket.addEventListener('message', () => heard.push('once'), { once: true });
    socket.addEventListener('message', () => heard.push('signal'), { signal: controller.signal });
    socket.addEventListener('message', () => heard.push('never'), { signal: AbortSignal.abort() });
    const current = await inner();
    current.opens();
    current.receives(1);
    current.receives(2);
    controller.abort();
    current.receives(3);
    expect(heard).toEqual(['once', 'signal', 'signal']);
  });

  test('that are removed or added while an event is told follow the standard', async () => {
    const { socket, inner } = handMade();
    const heard: string[] = [];
    const second = () => heard.push('second');
    socket.addEventListener('open', () => {
      heard.push('first');
      socket.removeEventListener('open', second);
      socket.addEventListener('open', () => heard.push('added'));
    });
    socket.addEventListener('open', second);
    (await inner()).opens();
    expect(heard).toEqual(['first']);
  });

  test('that throw stop no other, and what they throw is an uncaught error', async () => {
    const { clock, events, socket, inner } = handMade();
    socket.onopen = () => {
      throw new Error('mine');
    };
    socket.addEventListener('open', () => events.push('after'));
    (await inner()).opens();
    expect(events).toEqual(['open', 'after']);
    await expect(clock.advance(0)).rejects.toThrow('mine');
  });

  test('can stop the rest, and nothing that is no listener is one', () => {
    const { socket } = handMade();
    const heard: string[] = [];
    socket.addEventListener('mine', null);
    socket.onopen = null;
    expect([socket.onopen, socket.onclose]).toEqual([null, null]);
    socket.addEventListener('mine', (event) => {
      heard.push('first');
      event.stopImmediatePropagation();
    });
    socket.addEventListener('mine', () => heard.push('second'));
    expect(socket.dispatchEvent(new Event('mine'))).toBe(true);
    const cancelable = new Event('other', { cancelable: true });
    socket.addEventListener('other', (event) => event.preventDefault());
    expect(socket.dispatchEvent(cancelable)).toBe(false);
    expect([heard, cancelable.target]).toEqual([['first'], socket]);
  });

  test('are found by what waits for an event of any EventTarget', async () => {
    const { socket, inner } = handMade();
    const opened = once(socket, 'open');
    (await inner()).opens();
    expect(await opened).toMatchObject([{ type: 'open' }]);
  });

  test('are called with the socket as this and as target', async () => {
    const { socket, inner } = handMade();
    const seen: unknown[] = [];
    socket.onopen = function (event) {
      seen.push(this, event.target, event.currentTarget);
    };
    (await inner()).opens();
    expect(seen).toEqual([socket, socket, socket]);
  });
});

describe('events', () => {
  test('are of the classes of the platform, as far as it has them', async () => {
    const { socket, inner } = handMade();
    const told: Event[] = [];
    for (const type of ['open', 'message', 'error', 'close']) {
      socket.addEventListener(type, (event) => told.push(event));
    }
    const current = await inner();
    current.opens();
    current.receives('text');
    current.fails('cut');
    expect(told.every((event) => event instanceof Event)).toBe(true);
    expect(told[1]).toBeInstanceOf(MessageEvent);
    expect(told).toMatchObject([
      { type: 'open' },
      { type: 'message', data: 'text', origin: '' },
      { type: 'error', message: 'cut', error: { message: 'cut' } },
      { type: 'close', code: 1006, reason: '', wasClean: false },
    ]);
  });

  test('say what error the socket had', async () => {
    const { socket, inner } = handMade();
    const errors: unknown[] = [];
    socket.onerror = ({ error }) => errors.push(error);
    const thrown = new TypeError('no such host');
    (await inner()).onerror?.({ message: 'no such host', error: thrown });
    (await inner()).ends();
    expect(errors).toEqual([thrown]);
  });
});

describe('what is sent', () => {
  test('while there is no connection waits, and leaves in order before open is told', async () => {
    const { socket, inner, clock, events } = handMade();
    const current = await inner();
    const sent: unknown[] = [];
    current.send = (data) => {
      sent.push(data, ...events);
    };
    expect(socket.send('a')).toBe(false);
    expect(socket.send('b')).toBe(false);
    current.opens();
    expect(sent).toEqual(['a', 'b']);
    expect(socket.send('c')).toBe(true);
    current.ends();
    socket.send('d');
    socket.send('e');
    await clock.advance(2_000);
    const next = await inner();
    next.opens();
    expect(next.sent).toEqual(['d', 'e']);
  });

  test('to a connection that died is not sent again', async () => {
    const { socket, inner, clock } = handMade();
    const current = await inner();
    current.opens();
    socket.send('given');
    current.ends();
    await clock.advance(2_000);
    const next = await inner();
    next.opens();
    expect(next.sent).toEqual([]);
  });

  test('to a connection that the server is closing waits for the next one', async () => {
    const { socket, inner, clock } = handMade();
    const current = await inner();
    current.opens();
    current.readyState = 2;
    expect(socket.readyState).toBe(2);
    expect(socket.send('kept')).toBe(false);
    current.ends(1001);
    await clock.advance(2_000);
    const next = await inner();
    next.opens();
    expect([current.sent, next.sent]).toEqual([[], ['kept']]);
  });

  test('is dropped above maxEnqueuedMessages', async () => {
    const { socket, inner } = handMade({ maxEnqueuedMessages: 2 });
    for (const text of ['a', 'b', 'c']) socket.send(text);
    expect(socket.bufferedAmount).toBe(2);
    const current = await inner();
    current.opens();
    expect(current.sent).toEqual(['a', 'b']);
  });

  test('is kept as it was, whatever becomes of its buffer', async () => {
    const { socket, inner } = handMade();
    const bytes = new Uint8Array([1, 2, 3, 4]);
    socket.send(bytes.subarray(1, 3));
    socket.send(bytes.buffer);
    bytes.fill(9);
    const current = await inner();
    current.opens();
    const [view, buffer] = current.sent as [Uint8Array, ArrayBuffer];
    expect([...view]).toEqual([2, 3]);
    expect([...new Uint8Array(buffer)]).toEqual([1, 2, 3, 4]);
  });

  test('counts in bytes until it has left, with what the socket holds', async () => {
    const { socket, inner } = handMade();
    socket.send('äé€😀');
    socket.send(new Uint16Array(3));
    socket.send(new ArrayBuffer(5));
    socket.send(new Blob(['1234567']));
    expect(socket.bufferedAmount).toBe(11 + 6 + 5 + 7);
    const current = await inner();
    current.opens();
    current.bufferedAmount = 100;
    expect(socket.bufferedAmount).toBe(100);
    current.ends();
    expect(socket.bufferedAmount).toBe(0);
  });

  test('can be taken back', async () => {
    const { socket, inner } = handMade();
    socket.send('a');
    socket.send('b');
    expect(socket.drainQueuedMessages()).toEqual(['a', 'b']);
    expect(socket.bufferedAmount).toBe(0);
    const current = await inner();
    current.opens();
    expect(current.sent).toEqual([]);
  });

  test('and refused by the socket is an uncaught error, and the rest is sent', async () => {
    const { socket, inner, clock, events } = handMade();
    socket.send('a');
    socket.send('b');
    const current = await inner();
    current.send = (data) => {
      if (data === 'a') throw new TypeError('refused');
      current.sent.push(data);
    };
    current.opens();
    expect([current.sent, events]).toEqual([['b'], ['open']]);
    await expect(clock.advance(0)).rejects.toThrow('refused');
  });
});

describe('close() and reconnect()', () => {
  test.each([999, 1001, 1005, 1006, 2999, 5000, Number.NaN])(
    'refuse the code %s and leave the connection alone',
    async (code) => {
      const { socket, inner } = handMade();
      (await inner()).opens();
      const refused = expect.objectContaining({ name: 'InvalidAccessError' }) as Error;
      expect(() => socket.close(code)).toThrow(refused);
      expect(() => socket.reconnect(code)).toThrow(refused);
      expect(socket.readyState).toBe(1);
    },
  );

  test.each([1000, 3000, 4999])('take the code %s', async (code) => {
    const { socket, inner } = handMade();
    const current = await inner();
    current.opens();
    socket.close(code, 'x'.repeat(123));
    expect(current.closes).toEqual([[code, 'x'.repeat(123)]]);
  });

  test('refuse a reason of more than 123 bytes', async () => {
    const { socket } = handMade();
    const refused = expect.objectContaining({ name: 'SyntaxError' }) as Error;
    expect(() => socket.close(1000, 'x'.repeat(124))).toThrow(refused);
    expect(() => socket.close(1000, '€'.repeat(42))).toThrow(refused);
    expect(() => socket.close(1000, '€'.repeat(41))).not.toThrow();
  });
});

describe('the class', () => {
  test('is a WebSocket class to whoever looks', () => {
    const Class: typeof WebSocket = ReconnectingWebSocket;
    const socket = new ReconnectingWebSocket('ws://x', null, { startClosed: true });
    for (const { CONNECTING, OPEN, CLOSING, CLOSED } of [Class, socket]) {
      expect([CONNECTING, OPEN, CLOSING, CLOSED]).toEqual([0, 1, 2, 3]);
    }
    expect(socket).toMatchObject({
      url: 'ws://x',
      protocol: '',
      extensions: '',
      binaryType: 'blob',
      bufferedAmount: 0,
      retryCount: 0,
      readyState: 3,
    });
  });

  test('with options is such a class too; options of the constructor come on top', async () => {
    const Class: typeof WebSocket = ReconnectingWebSocket.with({ startClosed: true });
    const socket = new Class('ws://x', ['a']);
    expect(socket).toBeInstanceOf(ReconnectingWebSocket);
    expect([Class.OPEN, socket.readyState]).toEqual([1, 3]);
    const { clock } = handMade();
    const Other = ReconnectingWebSocket.with({ startClosed: true, environment: { clock } });
    const started = new Other('ws://x', undefined, { startClosed: false });
    expect(started.readyState).toBe(0);
    started.close();
  });

  test('keeps binaryType across connections, and ignores one that does not exist', async () => {
    const { socket, inner, clock } = handMade();
    const first = await inner();
    expect(first.binaryType).toBe('blob');
    socket.binaryType = 'arraybuffer';
    Object.assign(socket, { binaryType: 'text' });
    expect([socket.binaryType, first.binaryType]).toEqual(['arraybuffer', 'arraybuffer']);
    first.fails();
    await clock.advance(2_000);
    expect((await inner()).binaryType).toBe('arraybuffer');
  });

  test('asks functions for url and protocols before each attempt, and takes every kind', async () => {
    let asked = 0;
    const url = async () => new URL(`ws://127.0.0.1/${++asked}`);
    const hand = handMade({}, url);
    expect(hand.socket.url).toBe('');
    (await hand.inner()).fails();
    await hand.clock.advance(2_000);
    await hand.inner();
    expect(hand.made.map(({ given }) => given)).toEqual([
      ['ws://127.0.0.1/1'],
      ['ws://127.0.0.1/2'],
    ]);
    const dialed = async (protocols: ConstructorParameters<typeof ReconnectingWebSocket>[1]) => {
      const given: unknown[][] = [];
      const Seen = class {
        constructor(...what: unknown[]) {
          given.push(what);
        }
      };
      const { clock } = hand;
      const options = { WebSocket: Seen, environment: { clock } };
      const socket = new ReconnectingWebSocket(Promise.resolve('ws://x'), protocols, options);
      await clock.settle();
      socket.close();
      return given[0];
    };
    expect(await dialed('a')).toEqual(['ws://x', 'a']);
    expect(await dialed(['a', 'b'])).toEqual(['ws://x', ['a', 'b']]);
    expect(await dialed(() => 'a')).toEqual(['ws://x', 'a']);
    expect(await dialed(async () => ['a'])).toEqual(['ws://x', ['a']]);
    expect(await dialed(Promise.resolve('a'))).toEqual(['ws://x', 'a']);
    expect(await dialed(null)).toEqual(['ws://x']);
    expect(await dialed(() => null)).toEqual(['ws://x']);
  });
});
