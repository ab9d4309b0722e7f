/** Socket.IO with payloads, packets and timings that its own parts trip over. */
import type { Socket } from 'socket.io';
import { io as connect } from 'socket.io-client';
import { describe, expect, test } from 'vitest';
import { ordinary } from '../../src/transports/socket.io/ordinary.js';
import { socketIo } from '../../src/transports/socket.io.js';
import { cleanups, clientOf, dial, eventually, hubServing, serving } from './socket-io-place.js';

const memory = () => { globalThis.gc?.(); return process.memoryUsage().heapUsed + process.memoryUsage().external; };
const HELLO = { kind: 'hello', protocol: 1, clientId: 'c1', link: 1, rooms: [] };
const ROOM = 'room';
const options = { transports: ['websocket'] };

describe('payloads that look like what Socket.IO makes of bytes', () => {
  test.each([
    ['a placeholder', { bytes: new Uint8Array([1, 2]), fake: { _placeholder: true, num: 0 } }],
    ['an illegal one', { bytes: new Uint8Array([1, 2]), fake: { _placeholder: true, num: 7 } }],
    [
      'a key __proto__',
      JSON.parse('{"__proto__":{"a":1},"bytes":0}', (key, value) =>
        key === 'bytes' ? new Uint8Array([3]) : value,
      ),
    ],
  ])('%s beside bytes arrives as it was, both ways', async (_, payload) => {
    const { hub, url } = await hubServing({ handlers: { 'echo:say': (given: unknown) => given } });
    const { client, seen } = clientOf({ transport: socketIo(url, options) });
    await client.connect();
    await client.room(ROOM).join();
    await hub.publish(ROOM, 'feed:ticked', payload);
    await hub.publish(ROOM, 'feed:ticked', 'after');
    await eventually(() => expect(seen.payloads).toEqual([payload, 'after']));
    await expect(client.request('echo:say', payload)).resolves.toEqual(payload);
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
  });
});

describe('links that are given up on a connection of others', () => {
  test('one that the server never answers does not keep the connection open', async () => {
    const { io, url } = await serving();
    io.of('/hangs').use(() => {});
    const live = dial(`${url}/`, options);
    await eventually(() => expect(io.sockets.sockets.size).toBe(1));
    const hung = dial(`${url}/hangs`, options);
    await eventually(() => expect(hung.heard).toEqual(['opened']));
    expect(io.engine.clientsCount).toBe(1);
    hung.link.close();
    live.link.close();
    await eventually(() => expect(io.engine.clientsCount).toBe(0));
  });

  test('one that never presented itself does not do so afterwards', async () => {
    const { io, url } = await serving();
    const came: string[] = [];
    io.of('/given-up').on('connection', () => void came.push('given up'));
    const first = dial(`${url}/`, options);
    const second = dial(`${url}/given-up`, options);
    await Promise.resolve();
    second.link.close();
    await eventually(() => expect(first.heard).toEqual(['opened']));
    await eventually(() => expect(io.sockets.sockets.size).toBe(1));
    first.link.send([{ kind: 'ping' }]);
    expect(second.hello).not.toHaveBeenCalled();
    expect(second.heard).toEqual([]);
    expect(came).toEqual([]);
  });
});

describe('clients that forge', () => {
  test('acks wait for requests alone, and not for ids of any length', async () => {
    const { hub, io, url } = await hubServing();
    let peer: Socket | undefined;
    io.on('connection', (socket) => (peer = socket));
    const socket = connect(url, { ...options, forceNew: true, reconnection: false, auth: HELLO });
    cleanups.push(() => socket.disconnect());
    await eventually(() => expect(hub.metrics().connections).toBe(1));
    const before = memory();
    void before; void peer;
    for (let n = 0; n < 60; n++) {
      socket.emit('junk', { kind: 'junk', requestId: `${n}`.padEnd(900_000, 'x') }, () => {});
      await new Promise((r) => setTimeout(r, 30));
    }
    console.log(memory() - before, hub.metrics().garbled, socket.connected);
  });
});

describe('an ordinary server, and functions of the application that throw', () => {
  const events: unknown[] = [];
  const hear = (reason: unknown) => void events.push(reason);
  test('what cannot be read is garbled', async () => {
    process.on('unhandledRejection', hear);
    cleanups.push(() => process.off('unhandledRejection', hear));
    const { io, url } = await serving();
    const server = ordinary({ event: (name) => { if (name === 'bad') throw new Error('mine'); return { payload: name }; } });
    const one = dial(url, { ...options, server });
    await eventually(() => expect(one.heard.length).toBeGreaterThan(1));
    const [socket] = [...io.sockets.sockets.values()];
    socket?.emit('bad');
    socket?.emit('good');
    await eventually(() => expect(one.heard.at(-1)).toMatchObject({ payload: 'good' }));
    console.log(one.heard, events);
  });
  test('deep', async () => {
    const { io, url } = await serving();
    const one = dial(url, { ...options, server: ordinary() });
    await eventually(() => expect(one.heard.length).toBeGreaterThan(1));
    const [socket] = [...io.sockets.sockets.values()];
    socket?.conn.write(`2["deep",${'['.repeat(50_000)}${']'.repeat(50_000)}]`);
    socket?.emit('good', 'x');
    await eventually(() => expect(one.heard.at(-1)).toMatchObject({ payload: 'x' }));
    console.log(one.heard, events);
  });
  test('args that throw, or cannot be sent', async () => {
    const { io, url } = await serving();
    io.on('connection', (s) => s.on('ok:ok', (p, ack) => ack(p)));
    const { client, seen } = clientOf({ transport: socketIo(url, { ...options, server: ordinary({ args: ({ type, payload }) => { if (type === 'a:b') throw new Error('mine'); if (type === 'c:d') return [10n]; return [payload]; } }) }) });
    await client.connect();
    const out = await Promise.all(['a:b','c:d','ok:ok'].map((t) => client.request(t, 1, { timeout: 1000 }).then((v) => v, (e: unknown) => `${e}`)));
    console.log(out, seen.statuses, events);
  });
});
