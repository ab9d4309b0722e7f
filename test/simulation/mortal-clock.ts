/** A clock that can die with its page: its timers never run, and nothing sets new ones. */
import type { Clock } from 'holdfast';
import type { VirtualDevice } from 'holdfast/testing';

export interface MortalClock extends Clock {
  readonly wire: Clock;
  readonly isDead: boolean;
  die(): void;
}

export function mortalClock(device: VirtualDevice): MortalClock {
  const cancels = new Set<() => void>();
  let isDead = false;
  const after = (clock: Clock) => (ms: number, run: () => void) => {
    if (isDead) return () => {};
    const cancel = clock.after(ms, () => {
      cancels.delete(cancel);
      run();
    });
    cancels.add(cancel);
    return () => {
      cancels.delete(cancel);
      cancel();
    };
  };
  const { now, date } = device;
  return {
    now,
    date,
    after: after(device),
    wire: { now, date, after: after(device.wire) },
    get isDead() {
      return isDead;
    },
    die() {
      isDead = true;
      for (const cancel of cancels) cancel();
      cancels.clear();
    },
  };
}
