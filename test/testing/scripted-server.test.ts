import { describe, expect, it } from 'vitest';
import type { ClientFrame, Hello, RoomWish, ServerFrame } from '../../src/protocol/frame.js';
import {
  memoryNetwork,
  scriptedServer,
  seededDice,
  virtualClock,
} from '../../src/testing/index.js';

function stage(options: { auto?: boolean } = {}) {
  const clock = virtualClock();
  const network = memoryNetwork({ clock, random: seededDice(1) });
  const transport = network.transport();
  const server = scriptedServer(network, options);

  function dial(rooms: RoomWish[] = []) {
    const heard: (Partial<ServerFrame> | string)[] = [];
    const hello: Hello = { kind: 'hello', protocol: 1, clientId: 'c', link: 1, rooms };
    const link = transport.dial(() => hello, {
      opened: () => heard.push('opened'),
      received: (frame) => heard.push(frame.kind === 'garbled' ? frame.why : frame),
      closed: (fault) => heard.push(fault.code),
    });
    const send = (...frames: ClientFrame[]) => link.send(frames.map((one) => JSON.stringify(one)));
    return { heard, link, send };
  }
  return { clock, network, server, dial };
}

const request: ClientFrame = {
  kind: 'request',
  requestId: 'r1',
  type: 'a:b',
  timestamp: 0,
  payload: { text: 'hi' },
};

describe('scriptedServer', () => {
  it('records what the client sends and says nothing by itself', async () => {
    const { clock, server, dial } = stage();
    expect(() => server.link).toThrow('No client has dialed');
    const { heard, send } = dial([{ room: 'a' }]);
    await clock.advance(0);
    send(request, { kind: 'ping' });
    await clock.advance(0);
    expect(server.link.hello?.rooms).toEqual([{ room: 'a' }]);
    expect(server.link.frames.map(({ kind }) => kind)).toEqual(['hello', 'request', 'ping']);
    expect(server.link.sent('request')).toEqual([request]);
    expect(heard).toEqual(['opened']);
  });

  it('answers what the test says, with what it leaves out filled in', async () => {
    const { clock, server, dial } = stage();
    const { heard } = dial();
    await clock.advance(0);
    const { link } = server;
    link.welcome({ user: 'ada' });
    link.joined('a', { seq: 3 });
    link.caughtUp('a', 'a:3');
    link.event('a:b', { room: 'a', seq: 4, payload: 1 });
    link.respond('r1', { id: 7 });
    link.fail('r2', { code: 'FORBIDDEN' });
    link.sendRaw('{not json', '{"kind":"nonsense"}');
    await clock.advance(0);
    expect(heard).toEqual([
      'opened',
      { kind: 'welcome', connectionId: 'connection-1', session: 'session-1', user: 'ada' },
      {
        kind: 'room',
        room: 'a',
        joined: true,
        epoch: 'epoch-1',
        recovered: true,
        seq: 3,
        cursor: 'a:3',
      },
      { kind: 'room', room: 'a', caughtUp: true, cursor: 'a:3' },
      { kind: 'event', type: 'a:b', eventId: 'a:4', room: 'a', seq: 4, payload: 1, timestamp: 0 },
      { kind: 'response', requestId: 'r1', success: true, data: { id: 7 } },
      {
        kind: 'response',
        requestId: 'r2',
        success: false,
        error: { code: 'FORBIDDEN', message: 'Refused by the script.' },
      },
      'not JSON',
      'unknown kind',
    ]);
  });

  it('hands out connections and frames each once, in order, and waits for those to come', async () => {
    const { clock, server, dial } = stage();
    const first = server.next();
    dial();
    const { send } = dial();
    await clock.advance(0);
    expect(await first).toBe(server.links[0]);
    const second = await server.next();
    expect(second).toBe(server.links[1]);
    const later = second.next('request');
    send({ ...request, requestId: 'x' }, { ...request, requestId: 'y' });
    await clock.advance(0);
    expect([(await later).requestId, (await second.next('request')).requestId]).toEqual(['x', 'y']);
    expect((await second.next('hello')).clientId).toBe('c');
  });

  it('closes and terminates, and knows when the client has', async () => {
    const { clock, server, dial } = stage();
    const clients = [dial(), dial(), dial()];
    await clock.advance(0);
    server.links[0]?.close(4401);
    server.links[1]?.terminate();
    clients[2]?.link.close();
    await clock.advance(0);
    expect(clients.map(({ heard }) => heard.slice(1))).toEqual([
      ['TOKEN_EXPIRED'],
      ['CONNECTION_FAILED'],
      [],
    ]);
    expect(server.links.map(({ open }) => open)).toEqual([false, false, false]);
    expect(clock.pending).toBe(0);
  });

  it('fails the test where a client sends what is no frame', async () => {
    const { clock, dial } = stage();
    const { link } = dial();
    await clock.advance(0);
    link.send(['{"kind":"welcome"}']);
    await expect(clock.advance(0)).rejects.toThrow('no frame');
  });

  it('accepts no more once stopped', async () => {
    const { clock, server, dial } = stage();
    server.stop();
    const { heard } = dial();
    await clock.advance(0);
    expect([heard, server.links]).toEqual([['CONNECTION_FAILED'], []]);
  });
});

describe('scriptedServer in auto', () => {
  it('welcomes, joins, answers and echoes by itself', async () => {
    const { clock, dial } = stage({ auto: true });
    const { heard, send } = dial([{ room: 'a' }]);
    await clock.advance(0);
    expect(heard.slice(1)).toMatchObject([
      { kind: 'welcome' },
      { room: '@me', joined: true, recovered: false, reason: 'new' },
      { room: '@me', caughtUp: true },
      { room: 'a', joined: true },
      { room: 'a', caughtUp: true },
    ]);
    heard.length = 0;
    send(request, { kind: 'ping' }, { kind: 'join', rooms: [{ room: 'b' }] });
    send({ kind: 'leave', rooms: ['b'] }, { kind: 'auth', auth: 'new' });
    await clock.advance(0);
    expect(heard).toMatchObject([
      { kind: 'response', requestId: 'r1', success: true, data: { text: 'hi' } },
      { kind: 'pong' },
      { room: 'b', joined: true },
      { room: 'b', caughtUp: true },
      { room: 'b', left: true },
      { kind: 'auth' },
    ]);
  });

  it('publishes to those in the room, and replays from a cursor it gave out', async () => {
    const { clock, server, dial } = stage({ auto: true });
    const [member, stranger] = [dial([{ room: 'a' }]), dial()];
    await clock.advance(0);
    const first = server.publish('a', 'a:b', 1);
    server.publish('a', 'a:b', 2);
    await clock.advance(0);
    expect(member.heard.slice(-2)).toMatchObject([
      { seq: 1, payload: 1 },
      { seq: 2, payload: 2 },
    ]);
    expect(stranger.heard).toHaveLength(4);
    const back = dial([
      { room: 'a', since: first.eventId },
      { room: '@me', since: 'unknown' },
    ]);
    await clock.advance(0);
    expect(back.heard.slice(2)).toMatchObject([
      { room: 'a', joined: true, recovered: true, seq: 1, cursor: 'a:1' },
      { eventId: 'a:2', seq: 2 },
      { room: 'a', caughtUp: true, cursor: 'a:2' },
      { room: '@me', joined: true, recovered: false, reason: 'expired' },
      { room: '@me', caughtUp: true },
    ]);
  });

  it('can be switched on and off', async () => {
    const { clock, server, dial } = stage({ auto: true });
    server.auto = false;
    const { heard, send } = dial();
    await clock.advance(0);
    server.auto = true;
    send({ kind: 'ping' });
    await clock.advance(0);
    expect(heard).toEqual(['opened', { kind: 'pong' }]);
  });
});
