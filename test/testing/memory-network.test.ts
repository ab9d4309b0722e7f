import { describe, expect, it } from 'vitest';
import type { LinkEvents } from '../../src/client/transport.js';
import type { Hello } from '../../src/protocol/frame.js';
import type { ServerWire } from '../../src/server/wire.js';
import { seededDice } from '../../src/testing/dice.js';
import { memoryNetwork, type NetworkClock } from '../../src/testing/memory-network.js';
import { virtualClock } from '../../src/testing/virtual-clock.js';

const hello: Hello = { kind: 'hello', protocol: 1, clientId: 'c', link: 1, rooms: [] };
const HELLO = JSON.stringify(hello);
const PING = '{"kind":"ping"}';
const PONG = '{"kind":"pong"}';

function event(seq: number): string {
  return JSON.stringify({ kind: 'event', eventId: `e${seq}`, type: 'a:b', timestamp: 0, seq });
}

function stage(options: { latency?: number; seed?: number } = {}) {
  const clock = virtualClock();
  const network = memoryNetwork({
    clock,
    random: seededDice(options.seed ?? 1),
    latency: options.latency ?? 0,
  });
  return { clock, network, server: listening(network), dial: dialer(network) };
}

/** Everything one server heard, over all of its wires. */
function listening(network: ReturnType<typeof memoryNetwork>) {
  const heard: string[] = [];
  const wires: ServerWire[] = [];
  const stop = network.serve((wire) => {
    wires.push(wire);
    return {
      received: (one) => heard.push(String(one)),
      drained: () => heard.push('drained'),
      closed: () => heard.push('closed'),
    };
  });
  return { heard, wires, stop, wire: () => wires.at(-1) as ServerWire };
}

function dialer(network: ReturnType<typeof memoryNetwork>) {
  return (clock?: NetworkClock) => {
    const heard: string[] = [];
    const on: LinkEvents = {
      opened: () => heard.push('opened'),
      received: (frame) => heard.push('eventId' in frame ? frame.eventId : frame.kind),
      closed: (fault) => heard.push(`${fault.code} ${fault.details.closeCode ?? ''}`.trim()),
    };
    const transport = network.transport(clock === undefined ? {} : { clock });
    return { heard, link: transport.dial(() => hello, on) };
  };
}

describe('memoryNetwork', () => {
  it('presents hello as the first frame once the wire is open, after dial has returned', async () => {
    const { clock, network, server, dial } = stage({ latency: 10 });
    const { heard, link } = dial();
    link.send(['too early']);
    expect(heard).toEqual([]);
    await clock.advance(19);
    expect(heard).toEqual([]);
    await clock.advance(1);
    expect(heard).toEqual(['opened']);
    await clock.advance(10);
    expect(server.heard).toEqual([HELLO]);
    expect(network.links.map(({ open }) => open)).toEqual([true]);
  });

  it('carries frames both ways in order', async () => {
    const { clock, server, dial } = stage({ latency: 5 });
    const { heard, link } = dial();
    await clock.advance(20);
    link.send([PING, 'b']);
    link.send(['c']);
    server.wire().send([event(1), event(2)]);
    await clock.advance(4);
    expect([server.heard.length, heard.length]).toEqual([1, 1]);
    await clock.advance(1);
    expect(server.heard).toEqual([HELLO, PING, 'b', 'c']);
    expect(heard).toEqual(['opened', 'e1', 'e2']);
  });

  it('delivers what the server sends before hello has come, after the opening', async () => {
    const { clock, network } = stage();
    const other = memoryNetwork({ clock, random: seededDice(1) });
    other.serve((wire) => {
      wire.send([PING]);
      return { received() {}, drained() {}, closed() {} };
    });
    const { heard } = dialer(other)();
    await clock.advance(0);
    expect(heard).toEqual(['opened', 'ping']);
    expect(network.links).toEqual([]);
  });

  it('keeps the order under jitter, and the same times for the same seed', async () => {
    const times = async (seed: number) => {
      const { clock, network, server, dial } = stage({ seed });
      const { heard } = dial();
      await clock.advance(0);
      network.set({ latency: 50, jitter: 100 });
      for (let seq = 1; seq <= 20; seq++) server.wire().send([event(seq)]);
      const arrivals: number[] = [];
      while (heard.length < 21) {
        await clock.advance(1);
        while (arrivals.length < heard.length - 1) arrivals.push(clock.now());
      }
      expect(heard.slice(1)).toEqual(arrivals.map((_, index) => `e${index + 1}`));
      return arrivals;
    };
    const first = await times(7);
    expect(first[0]).toBeGreaterThanOrEqual(50);
    expect(first.at(-1)).toBeLessThanOrEqual(151);
    expect(new Set(first).size).toBeGreaterThan(1);
    expect(await times(7)).toEqual(first);
    expect(await times(8)).not.toEqual(first);
  });

  it('is silent after the client closes, and the server hears it once', async () => {
    const { clock, network, server, dial } = stage({ latency: 5 });
    const { heard, link } = dial();
    await clock.advance(20);
    server.wire().send([PING]);
    link.send(['last words']);
    link.close();
    link.close();
    link.send(['too late']);
    await clock.advance(20);
    expect(heard).toEqual(['opened']);
    expect(server.heard).toEqual([HELLO, 'last words', 'closed']);
    expect([network.links.length, clock.pending]).toEqual([0, 0]);
  });

  it('tells the client the code the server closed with, after what was sent before', async () => {
    const { clock, server, dial } = stage({ latency: 5 });
    const { heard } = dial();
    await clock.advance(20);
    server.wire().send([event(1)]);
    server.wire().close(4401, 'expired');
    server.wire().send([event(2)]);
    await clock.advance(5);
    expect(heard).toEqual(['opened', 'e1', 'TOKEN_EXPIRED 4401']);
    await clock.advance(5);
    expect(server.heard).toEqual([HELLO, 'closed']);
    expect(clock.pending).toBe(0);
  });

  it('ends a wire the server terminates without asking the client', async () => {
    const { clock, network, server, dial } = stage({ latency: 5 });
    const { heard, link } = dial();
    await clock.advance(20);
    link.send(['under way']);
    server.wire().terminate();
    server.wire().terminate();
    await clock.advance(5);
    expect(heard).toEqual(['opened', 'CONNECTION_FAILED 1006']);
    expect(server.heard).toEqual([HELLO, 'closed']);
    expect([network.links.length, clock.pending]).toEqual([0, 0]);
  });

  it('gives up a close handshake that a black hole swallows', async () => {
    const { clock, network, server, dial } = stage();
    dial();
    await clock.advance(0);
    network.set({ blackHole: 'both' });
    server.wire().close(1000, '');
    await clock.advance(29_999);
    expect(server.heard).toEqual([HELLO]);
    await clock.advance(1);
    expect(server.heard).toEqual([HELLO, 'closed']);
  });

  it('refuses dials where nobody serves, and once the server has stopped', async () => {
    const { clock, server, dial } = stage();
    server.stop();
    const { heard } = dial();
    await clock.advance(0);
    expect(heard).toEqual(['CONNECTION_FAILED']);
  });

  it('lets several servers take turns', async () => {
    const { clock, network, server, dial } = stage();
    const second = listening(network);
    for (let count = 0; count < 4; count++) dial();
    await clock.advance(0);
    expect([server.wires.length, second.wires.length, network.dials]).toEqual([2, 2, 4]);
  });

  it('holds the frames of a sleeping device until it wakes', async () => {
    const { clock, server, network } = stage();
    const phone = clock.device();
    const { heard } = dialer(network)(phone);
    await clock.advance(0);
    clock.after(1_000, () => server.wire().send([event(1)]));
    clock.after(5_000, () => server.wire().terminate());
    phone.after(2_000, () => heard.push('late timer'));
    await phone.sleep(60_000);
    expect(server.heard).toEqual([HELLO, 'closed']);
    expect(heard).toEqual(['opened', 'late timer', 'e1', 'CONNECTION_FAILED 1006']);
  });
});

describe('faults of a memory network', () => {
  it('cut tells both ends at once and loses what is under way', async () => {
    const { clock, network, server, dial } = stage({ latency: 5 });
    const { heard, link } = dial();
    await clock.advance(20);
    link.send(['lost']);
    server.wire().send([event(1)]);
    network.cut();
    expect(heard).toEqual(['opened', 'CONNECTION_FAILED 1006']);
    expect(server.heard).toEqual([HELLO, 'closed']);
    await clock.advance(100);
    expect([heard.length, server.heard.length, clock.pending]).toEqual([2, 2, 0]);
  });

  it('cut of one link leaves the others alone', async () => {
    const { clock, network, dial } = stage();
    const [first, second] = [dial(), dial()];
    await clock.advance(0);
    network.links[0]?.cut();
    expect(first.heard).toHaveLength(2);
    expect(second.heard).toEqual(['opened']);
    expect(network.links.map(({ id }) => id)).toEqual([2]);
  });

  it('cut of a dial under way is a failed dial', async () => {
    const { clock, network, server, dial } = stage({ latency: 5 });
    const { heard } = dial();
    network.cut();
    await clock.advance(50);
    expect([heard, server.wires]).toEqual([['CONNECTION_FAILED 1006'], []]);
  });

  it('a black hole is silent, also for what is under way, and carries all on when it heals', async () => {
    const { clock, network, server, dial } = stage({ latency: 5 });
    const { heard, link } = dial();
    await clock.advance(20);
    link.send(['under way']);
    await clock.advance(2);
    network.set({ blackHole: 'both' });
    link.send(['held']);
    server.wire().send([event(1)]);
    await clock.advance(600_000);
    expect([heard, server.heard]).toEqual([['opened'], [HELLO]]);
    network.heal();
    await clock.advance(5);
    expect(server.heard).toEqual([HELLO, 'under way', 'held']);
    expect(heard).toEqual(['opened', 'e1']);
  });

  it('a black hole in one direction lets the other pass', async () => {
    const { clock, network, server, dial } = stage();
    const { heard, link } = dial();
    await clock.advance(0);
    network.set({ blackHole: 'down' });
    link.send([PING]);
    server.wire().send([PONG]);
    await clock.advance(0);
    expect([heard, server.heard]).toEqual([['opened'], [HELLO, PING]]);
    network.set({ blackHole: 'up' });
    link.send([PING]);
    await clock.advance(0);
    expect([heard, server.heard]).toEqual([
      ['opened', 'pong'],
      [HELLO, PING],
    ]);
  });

  it('a dial into a black hole hangs, and opens when it heals', async () => {
    const { clock, network, dial } = stage();
    network.set({ blackHole: 'up' });
    const { heard } = dial();
    await clock.advance(60_000);
    expect(heard).toEqual([]);
    network.heal();
    await clock.advance(0);
    expect(heard).toEqual(['opened']);
  });

  it('a link abandoned in a black hole leaves nothing behind once it heals', async () => {
    const { clock, network, server, dial } = stage();
    const { heard, link } = dial();
    await clock.advance(0);
    network.set({ blackHole: 'both' });
    link.close();
    await clock.advance(1_000);
    expect([server.heard, network.links.length, clock.pending]).toEqual([[HELLO], 1, 0]);
    network.heal();
    await clock.advance(0);
    expect([server.heard, network.links.length]).toEqual([[HELLO, 'closed'], 0]);
    expect(heard).toEqual(['opened']);
  });

  it.each(['client', 'server'] as const)(
    'a half-open link tells the %s that is gone, and never the other',
    async (gone) => {
      const { clock, network, server, dial } = stage();
      const { heard, link } = dial();
      await clock.advance(0);
      network.halfOpen(gone);
      link.send([PING]);
      server.wire().send([PING]);
      network.heal();
      await clock.advance(600_000);
      expect(heard).toEqual(gone === 'client' ? ['opened', 'CONNECTION_FAILED 1006'] : ['opened']);
      expect(server.heard).toEqual(gone === 'server' ? [HELLO, 'closed'] : [HELLO]);
      if (gone === 'client') server.wire().terminate();
      else link.close();
      await clock.advance(0);
      expect([network.links.length, clock.pending]).toEqual([0, 0]);
    },
  );

  it('refuses dials with an error code, or with a close code after opening', async () => {
    const { clock, network, server, dial } = stage();
    network.set({ refuse: 'CONNECTION_FAILED' });
    const first = dial();
    await clock.advance(0);
    network.set({ refuse: 4403 });
    const second = dial();
    await clock.advance(0);
    network.heal();
    const third = dial();
    await clock.advance(0);
    expect(first.heard).toEqual(['CONNECTION_FAILED']);
    expect(second.heard).toEqual(['opened', 'UNAUTHORIZED 4403']);
    expect(third.heard).toEqual(['opened']);
    expect([server.wires.length, network.links.length]).toEqual([1, 1]);
  });

  it('opens and never answers while silent, and forgets the link when the client closes it', async () => {
    const { clock, network, server, dial } = stage();
    network.set({ silent: true });
    const { heard, link } = dial();
    link.send([PING]);
    await clock.advance(600_000);
    expect([heard, server.wires]).toEqual([['opened'], []]);
    link.close();
    expect(network.links).toEqual([]);
  });

  it('drops every second frame that matches, and only those', async () => {
    const { clock, network, server, dial } = stage();
    const { heard, link } = dial();
    await clock.advance(0);
    const end = network.drop((frame, direction) => frame.kind === 'event' && direction === 'down', {
      every: 2,
    });
    for (let seq = 1; seq <= 4; seq++) server.wire().send([event(seq), PING]);
    link.send([event(9), event(10)]);
    await clock.advance(0);
    expect(heard.slice(1)).toEqual(['e1', 'ping', 'ping', 'e3', 'ping', 'ping']);
    expect(server.heard).toHaveLength(3);
    end();
    server.wire().send([event(5), event(6)]);
    await clock.advance(0);
    expect(heard.slice(-2)).toEqual(['e5', 'e6']);
  });

  it('duplicates a frame on one link alone', async () => {
    const { clock, network, server, dial } = stage();
    const [first, second] = [dial(), dial()];
    await clock.advance(0);
    network.links[0]?.duplicate((frame) => frame.seq === 2);
    for (const wire of server.wires) wire.send([event(1), event(2), event(3)]);
    await clock.advance(0);
    expect(first.heard.slice(1)).toEqual(['e1', 'e2', 'e2', 'e3']);
    expect(second.heard.slice(1)).toEqual(['e1', 'e2', 'e3']);
  });

  it('shows a falling buffer on a slow link, and tells the server as it drains', async () => {
    const { clock, network, server, dial } = stage();
    const { heard } = dial();
    await clock.advance(0);
    network.set({ bandwidth: { down: 1_000 }, socketBuffer: 0 });
    const wire = 'x'.repeat(500);
    server.wire().send([wire, wire, wire]);
    expect(server.wire().bufferedAmount).toBe(1_500);
    await clock.advance(250);
    expect(server.wire().bufferedAmount).toBe(1_250);
    expect(server.heard).toEqual([HELLO]);
    await clock.advance(250);
    expect([heard.length, server.heard.slice(1)]).toEqual([2, ['drained']]);
    network.set({ bandwidth: 500 });
    await clock.advance(999);
    expect(heard).toHaveLength(2);
    await clock.advance(1_001);
    expect([heard.length, server.wire().bufferedAmount, clock.pending]).toEqual([4, 0, 0]);
  });

  it('gives an idle slow link no credit', async () => {
    const { clock, network, server, dial } = stage();
    const { link } = dial();
    await clock.advance(0);
    network.set({ bandwidth: 1_000 });
    await clock.advance(60_000);
    link.send(['x'.repeat(500)]);
    await clock.advance(499);
    expect(server.heard).toHaveLength(1);
    await clock.advance(1);
    expect(server.heard).toHaveLength(2);
  });

  it('hides from bufferedAmount what fits the socket buffer', async () => {
    const { clock, network, dial } = stage();
    const { link } = dial();
    await clock.advance(0);
    network.set({ blackHole: 'both' });
    link.send(['x'.repeat(65_536)]);
    expect(link.bufferedAmount).toBe(0);
    link.send(['é'.repeat(100)]);
    expect(link.bufferedAmount).toBe(200);
  });

  it('stops at bandwidth 0 and goes on when it is raised', async () => {
    const { clock, network, server, dial } = stage();
    const { link } = dial();
    await clock.advance(0);
    network.set({ bandwidth: { up: 0 } });
    link.send([PING]);
    await clock.advance(60_000);
    expect(server.heard).toEqual([HELLO]);
    network.set({ bandwidth: { up: 1_000 } });
    await clock.advance(PING.length);
    expect(server.heard).toEqual([HELLO, PING]);
  });

  it('lets a link heal from its own faults alone', async () => {
    const { clock, network, server, dial } = stage();
    const { link } = dial();
    await clock.advance(0);
    const [handle] = network.links;
    handle?.set({ latency: 100 });
    network.set({ latency: 10 });
    expect([handle?.faults.latency, network.faults.latency]).toEqual([100, 10]);
    handle?.heal();
    link.send([PING]);
    await clock.advance(10);
    expect(server.heard).toEqual([HELLO, PING]);
  });

  it('carries twenty thousand frames of one instant without taking it for a loop', async () => {
    const { clock, server, dial } = stage();
    const { heard } = dial();
    await clock.advance(0);
    server.wire().send(Array.from({ length: 20_000 }, (_, seq) => event(seq)));
    await clock.advance(0);
    expect(heard).toHaveLength(20_001);
  });
});
