import { describe, expect, it, vi } from 'vitest';
import { VIRTUAL_EPOCH, virtualClock } from '../../src/testing/virtual-clock.js';

describe('virtualClock', () => {
  it('runs timers in due order, each at its own time', async () => {
    const clock = virtualClock();
    const ran: [string, number][] = [];
    for (const [name, ms] of [
      ['c', 30],
      ['a', 10],
      ['b', 20],
      ['late', 40],
    ] as const) {
      clock.after(ms, () => ran.push([name, clock.now()]));
    }
    await clock.advance(35);
    expect(ran).toEqual([
      ['a', 10],
      ['b', 20],
      ['c', 30],
    ]);
    expect(clock.now()).toBe(35);
    expect(clock.pending).toBe(1);
  });

  it('runs timers due together in the order they were set', async () => {
    const clock = virtualClock();
    const ran: number[] = [];
    for (const index of [0, 1, 2, 3, 4, 5, 6, 7, 8]) clock.after(5, () => ran.push(index));
    await clock.advance(5);
    expect(ran).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it('lets awaiting code run between timers, and runs the timers that code sets', async () => {
    const clock = virtualClock();
    const ran: string[] = [];
    const wait = (ms: number) => new Promise<void>((done) => clock.after(ms, done));
    const story = async () => {
      await wait(10);
      for (let turn = 0; turn < 50; turn++) await Promise.resolve();
      ran.push(`first at ${clock.now()}`);
      await wait(5);
      ran.push(`second at ${clock.now()}`);
    };
    const told = story();
    clock.after(12, () => ran.push(`between at ${clock.now()}`));
    await clock.advance(15);
    await told;
    expect(ran).toEqual(['first at 10', 'between at 12', 'second at 15']);
  });

  it('lets a promise that one timer settles cancel the next timer of the same instant', async () => {
    const clock = virtualClock();
    const lost = vi.fn();
    const cancel = { timer: () => {} };
    void new Promise<void>((done) => clock.after(10, done)).then(() => cancel.timer());
    cancel.timer = clock.after(10, lost);
    await clock.advance(10);
    expect(lost).not.toHaveBeenCalled();
  });

  it('does not run a cancelled timer, and cancels harmlessly twice', async () => {
    const clock = virtualClock();
    const run = vi.fn();
    const cancel = clock.after(10, run);
    cancel();
    cancel();
    await clock.advance(20);
    expect(run).not.toHaveBeenCalled();
    expect(clock.pending).toBe(0);
  });

  it('runs what is due now at advance(0), and no timer at settle()', async () => {
    const clock = virtualClock();
    const run = vi.fn();
    const settled = vi.fn();
    clock.after(0, run);
    void Promise.resolve().then(settled);
    await clock.settle();
    expect(settled).toHaveBeenCalledOnce();
    expect(run).not.toHaveBeenCalled();
    await clock.advance(0);
    expect(run).toHaveBeenCalledOnce();
  });

  it('agrees with a sorted list on a thousand timers, a third of them cancelled', async () => {
    const clock = virtualClock();
    const ran: number[] = [];
    const expected: number[] = [];
    for (let index = 0; index < 1_000; index++) {
      const ms = (index * 7_919) % 1_009;
      const cancel = clock.after(ms, () => ran.push(ms));
      if (index % 3 === 0) cancel();
      else expected.push(ms);
    }
    await clock.advance(1_009);
    expect(ran).toEqual(expected.sort((a, b) => a - b));
  });

  it('keeps the date apart from the monotonic time', async () => {
    const clock = virtualClock();
    const run = vi.fn();
    expect(clock.date()).toBe(VIRTUAL_EPOCH);
    clock.after(100, run);
    clock.setDate(0);
    await clock.advance(99);
    expect([clock.now(), clock.date()]).toEqual([99, 99]);
    expect(run).not.toHaveBeenCalled();
    await clock.advance(1);
    expect(run).toHaveBeenCalledOnce();
    expect(virtualClock({ date: 5 }).date()).toBe(5);
  });

  it('runs the timers of a sleeping device late, at once and in due order', async () => {
    const clock = virtualClock();
    const ran: [string, number][] = [];
    clock.after(2_000, () => ran.push(['second', clock.now()]));
    clock.after(1_000, () => ran.push(['first', clock.now()]));
    clock.after(90_000, () => ran.push(['later', clock.now()]));
    await clock.sleep(60_000);
    expect(ran).toEqual([
      ['first', 60_000],
      ['second', 60_000],
    ]);
    await clock.advance(30_000);
    expect(ran[2]).toEqual(['later', 90_000]);
  });

  it('leaves a sleep out of now() and the timers where the monotonic time stops', async () => {
    const clock = virtualClock();
    const run = vi.fn();
    clock.after(1_000, run);
    await clock.sleep(60_000, { monotonic: 'stops' });
    expect([clock.now(), clock.date() - VIRTUAL_EPOCH]).toEqual([0, 60_000]);
    await clock.advance(999);
    expect(run).not.toHaveBeenCalled();
    await clock.advance(1);
    expect(run).toHaveBeenCalledOnce();
  });

  it('lets other devices go on while one sleeps', async () => {
    const clock = virtualClock();
    const phone = clock.device();
    const ran: [string, number][] = [];
    clock.after(1_000, () => ran.push(['server', clock.now()]));
    phone.after(500, () => ran.push(['phone', phone.now()]));
    phone.wire.after(700, () => ran.push(['frame', phone.now()]));
    expect([clock.pending, phone.pending]).toEqual([3, 2]);
    await phone.sleep(5_000);
    expect(ran).toEqual([
      ['server', 1_000],
      ['phone', 5_000],
      ['frame', 5_000],
    ]);
  });

  it('gives a woken device its late timers first, then frames, then what those timers set', async () => {
    const clock = virtualClock();
    const ran: string[] = [];
    clock.wire.after(10, () => ran.push('frame'));
    clock.after(20, () => {
      ran.push('timer');
      clock.after(0, () => ran.push('set by the timer'));
    });
    await clock.sleep(1_000);
    expect(ran).toEqual(['timer', 'frame', 'set by the timer']);
  });

  it('runs throttled timers on whole multiples only, and frames in between', async () => {
    const clock = virtualClock();
    const ran: [string, number][] = [];
    await clock.advance(300);
    clock.throttle(1_000);
    clock.after(10, () => {
      ran.push(['timer', clock.now()]);
      clock.after(0, () => ran.push(['chained', clock.now()]));
    });
    clock.wire.after(10, () => ran.push(['frame', clock.now()]));
    await clock.advance(1_700);
    expect(ran).toEqual([
      ['frame', 310],
      ['timer', 1_000],
      ['chained', 2_000],
    ]);
    clock.after(10, () => ran.push(['visible', clock.now()]));
    clock.throttle(0);
    await clock.advance(10);
    expect(ran[3]).toEqual(['visible', 2_010]);
  });

  it('rejects with what a timer throws, and goes on from there', async () => {
    const clock = virtualClock();
    const run = vi.fn();
    clock.after(10, () => {
      throw new Error('from a timer');
    });
    clock.after(20, run);
    await expect(clock.advance(30)).rejects.toThrow('from a timer');
    expect(clock.now()).toBe(10);
    await clock.advance(10);
    expect(run).toHaveBeenCalledOnce();
  });

  it('refuses a second advance before the first has ended', async () => {
    const clock = virtualClock();
    const first = clock.advance(10);
    await expect(clock.advance(10)).rejects.toThrow('moving already');
    await first;
    expect(clock.now()).toBe(10);
  });

  it('reports a timer loop instead of hanging', async () => {
    const clock = virtualClock();
    const again = () => void clock.after(0, again);
    again();
    await expect(clock.advance(1)).rejects.toThrow('timer loop');
  });

  it('refuses delays that a platform would turn into none', () => {
    const clock = virtualClock();
    expect(() => clock.after(2 ** 31, () => {})).toThrow(RangeError);
    expect(() => clock.after(Number.NaN, () => {})).toThrow(RangeError);
    expect(() => clock.after(-5, () => {})).not.toThrow();
  });

  it('lets a device fall asleep while other things go on, until it is woken', async () => {
    const clock = virtualClock();
    const phone = clock.device();
    const ran: string[] = [];
    phone.after(10, () => ran.push(`phone at ${clock.now()}`));
    clock.after(20, () => ran.push(`server at ${clock.now()}`));
    const wake = phone.fallAsleep({ monotonic: 'stops' });
    await clock.advance(50);
    expect(ran).toEqual(['server at 20']);
    wake();
    wake();
    expect(phone.now()).toBe(0);
    await clock.advance(20);
    expect(ran).toEqual(['server at 20', 'phone at 60']);
  });

  it('works where there is no setImmediate', async () => {
    vi.stubGlobal('setImmediate', undefined);
    try {
      const clock = virtualClock();
      const ran: number[] = [];
      clock.after(10, () => void Promise.resolve().then(() => ran.push(clock.now())));
      await clock.advance(10);
      expect(ran).toEqual([10]);
    } finally {
      vi.unstubAllGlobals();
    }
  });
});
