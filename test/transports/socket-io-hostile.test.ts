/** Socket.IO with payloads, packets and timings that its own parts trip over. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { io as connect } from 'socket.io-client';
import { describe, expect, test } from 'vitest';
import { ordinary } from '../../src/transports/socket.io/ordinary.js';
import { socketIo } from '../../src/transports/socket.io.js';
import { cleanups, clientOf, dial, eventually, hubServing, serving } from './socket-io-place.js';

const HELLO = { kind: 'hello', protocol: 1, clientId: 'c1', link: 1, rooms: [] };
const ROOM = 'room';
setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

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

test('acks wait for requests alone', async () => {
  const { hub, io, url } = await hubServing();
  const acks: WeakRef<object>[] = [];
  io.on('connection', (peer) => {
    peer.onAny((...event: unknown[]) => acks.push(new WeakRef(event.at(-1) as object)));
  });
  const socket = connect(url, { ...options, forceNew: true, reconnection: false, auth: HELLO });
  cleanups.push(() => socket.disconnect());
  await eventually(() => expect(hub.metrics().connections).toBe(1));
  for (const kind of ['junk', 'message', 'join', undefined]) {
    const requestId = `${kind}`.repeat(1_000);
    socket.emit('a:b', { kind, requestId, type: 'a:b', timestamp: 1, rooms: [] }, () => {});
  }
  await eventually(() => expect(acks).toHaveLength(4));
  await eventually(() => {
    collect();
    expect(acks.map((ack) => ack.deref())).toEqual([undefined, undefined, undefined, undefined]);
  });
});

describe('an ordinary server, where it or the application cannot be read', () => {
  const DEEP = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;

  test('an event for which the option `event` throws, and one nested too deeply, is garbled', async () => {
    const { io, url } = await serving();
    const event = (name: string, [payload]: readonly unknown[]) => {
      if (name === 'bad') throw new Error('of the application');
      return { payload };
    };
    const { heard } = dial(url, { ...options, server: ordinary({ event }) });
    await eventually(() => expect(heard).toHaveLength(2));
    const [socket] = io.sockets.sockets.values();
    socket?.emit('bad', 1);
    socket?.conn.write(`2["deep",${DEEP}]`);
    socket?.emit('good', 2);
    await eventually(() => expect(heard).toHaveLength(5));
    const garbled = (why: string) => ({ kind: 'garbled', why: expect.stringContaining(why) });
    expect(heard.slice(2)).toMatchObject([garbled('"bad"'), garbled('"deep"'), { payload: 2 }]);
  });

  test('a request that cannot be said or read fails alone, and a message is dropped', async () => {
    const { io, url } = await serving();
    const came: unknown[] = [];
    io.on('connection', (socket) => {
      socket.on('fine:say', (given, answer) => answer(given));
      socket.on('deep:say', () => {
        for (let ack = 0; ack < 9; ack++) socket.conn.write(`3${ack}[${DEEP}]`);
      });
      socket.onAny((name) => came.push(name));
    });
    const args = ({ type, payload }: { type: string; payload?: unknown }) => {
      if (type === 'threw:say') throw new Error('of the application');
      return [type === 'wrong:say' ? 1n : payload];
    };
    const transport = socketIo(url, { ...options, server: ordinary({ args }) });
    const { client, seen } = clientOf({ transport });
    await client.connect();
    client.send('wrong:say', 1);
    client.send('threw:say', 1);
    for (const type of ['threw:say', 'wrong:say']) {
      await expect(client.request(type, 1)).rejects.toMatchObject({ code: 'INVALID_PAYLOAD' });
    }
    await expect(client.request('fine:say', 2)).resolves.toBe(2);
    await expect(client.request('deep:say', 1)).rejects.toMatchObject({ code: 'PROTOCOL_ERROR' });
    expect(came).toEqual(['fine:say', 'deep:say']);
    expect(seen.statuses).toEqual(['disconnected', 'connecting', 'connected']);
  });
});
