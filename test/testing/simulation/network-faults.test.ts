import { createClient } from 'holdfast';
import {
  drawFault,
  drawFaults,
  memoryNetwork,
  type NetworkFault,
  playFaults,
  scriptedServer,
  seededDice,
  shrink,
  startFault,
  virtualClock,
} from 'holdfast/testing';
import { describe, expect, it } from 'vitest';

function wired() {
  const clock = virtualClock();
  const network = memoryNetwork({ clock, random: seededDice(1), latency: 10 });
  const server = scriptedServer(network, { auto: true });
  const heard: unknown[] = [];
  const client = createClient({
    transport: network.transport(),
    reconnect: { initialDelay: 100, maxDelay: 100, jitter: 'none' },
    environment: { clock, random: seededDice(2), lifecycle: () => () => {}, report() {} },
  });
  client.onAny((_type, payload) => heard.push(payload));
  const joined = client.room('room').join();
  void client.connect();
  return { clock, network, server, client, heard, joined };
}

describe('drawFaults', () => {
  it('draws the same faults for the same seed, in the order of time', () => {
    const draw = (seed: number) => drawFaults({ random: seededDice(seed), within: 500, count: 40 });
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    const times = draw(3).map(({ at }) => at);
    expect(times).toEqual([...times].sort((one, other) => one - other));
    expect(Math.max(...times)).toBeLessThan(500);
  });

  it('keeps to the kinds it is given', () => {
    const drawn = drawFaults({ random: seededDice(1), within: 9, count: 9, kinds: ['cut'] });
    expect(drawn.map(({ fault }) => fault.kind)).toEqual(Array(9).fill('cut'));
    expect(drawn.every((one) => one.for === 0)).toBe(true);
  });
});

describe('startFault', () => {
  const lasting: NetworkFault[] = [
    { kind: 'delay', ms: 300, jitter: 5 },
    { kind: 'bandwidth', bytesPerSecond: 100, direction: 'down' },
    { kind: 'black hole', direction: 'up' },
    { kind: 'refused dials', by: 1011 },
    { kind: 'silent dials' },
  ];

  it.each(lasting)('changes the network until its end: $kind', (fault) => {
    const { network } = wired();
    const before = { ...network.faults };
    const end = startFault(network, fault, { usual: { latency: 10 } });
    expect(network.faults).not.toEqual(before);
    end();
    expect(network.faults).toEqual(before);
  });

  it('loses every so many frames, and tells of each', async () => {
    const { clock, network, server, heard, joined } = wired();
    await clock.advance(100);
    await joined;
    const told: string[] = [];
    const meddled = (how: string, { kind }: { kind: string }) => told.push(`${how} ${kind}`);
    const end = startFault(network, { kind: 'lost frames', every: 2 }, { meddled });
    for (const n of [1, 2]) server.publish('room', 'note', n);
    await clock.advance(50);
    expect(heard).toEqual([1]);
    end();
    server.publish('room', 'note', 3);
    await clock.advance(100);
    expect(heard).toEqual([1, 2, 3]);
    expect(told).toEqual(['lost event']);
  });

  it.each([
    { kind: 'cut' },
    { kind: 'close', code: 1012 },
    { kind: 'half open', gone: 'client' },
  ] as const)('ends the connection at once: $kind', async (fault) => {
    const { clock, network, client } = wired();
    await clock.advance(100);
    expect(client.state.status).toBe('connected');
    startFault(network, fault)();
    await clock.advance(20);
    expect(client.state.status).toBe('reconnecting');
  });
});

describe('playFaults', () => {
  it('starts and ends each at its time, and none after it was ended', async () => {
    const { clock, network } = wired();
    const fault = { kind: 'silent dials' } as const;
    const faults = [
      { at: 100, for: 50, fault },
      { at: 300, for: 50, fault },
    ];
    const end = playFaults(faults, { network, clock });
    const seen: boolean[] = [];
    for (const ms of [99, 2, 50]) {
      await clock.advance(ms);
      seen.push(network.faults.silent);
    }
    expect(seen).toEqual([false, true, false]);
    end();
    await clock.advance(200);
    expect(network.faults.silent).toBe(false);
  });
});

describe('drawFault', () => {
  it('draws the terms of a kind by chance', () => {
    const random = seededDice(1);
    const delays = Array.from({ length: 20 }, () => JSON.stringify(drawFault('delay', random)));
    expect(new Set(delays).size).toBeGreaterThan(10);
  });
});

describe('shrink', () => {
  it('leaves the items that matter, in their order', async () => {
    const items = Array.from({ length: 100 }, (_, index) => index);
    const few = await shrink(items, async (fewer) => fewer.includes(17) && fewer.includes(61));
    expect(few).toEqual([17, 61]);
  });

  it('plays no more often than it may', async () => {
    let plays = 0;
    const items = Array.from({ length: 1_000 }, (_, index) => index);
    const kept = await shrink(items, async () => ++plays < 0, { most: 25 });
    expect(plays).toBe(25);
    expect(kept).toEqual(items);
  });
});
