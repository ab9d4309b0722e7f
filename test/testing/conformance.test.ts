/** The rules of transports notice a transport that breaks them: one planted breach of each. */
import {
  type Clock,
  type Hello,
  HoldfastError,
  type Link,
  type LinkEvents,
  type Transport,
} from 'holdfast';
import { type PromiseName, transportRules } from 'holdfast/testing';
import { describe, expect, test } from 'vitest';
import type { Outgoing } from '../../src/protocol/wire.js';
import { type Change, memoryStage } from './memory-stage.js';

const lost = () => new HoldfastError('CONNECTION_FAILED', 'Lost.');

/** What is done to every link; what is not named stays as it is. */
interface Bend {
  hello?: (hello: Hello) => Hello;
  opened?: LinkEvents['opened'];
  received?: LinkEvents['received'];
  closed?: LinkEvents['closed'];
  send?: (frames: readonly Outgoing[]) => void;
  close?: () => void;
}

interface Bending {
  on: LinkEvents;
  link: () => Link;
  hello: () => Hello;
  base: Transport;
  clock: Clock;
}

/** @param bend is asked once for each dial */
function bent(bend: (about: Bending) => Bend): Change {
  return (base, clock) => ({
    ...base,
    dial(hello, on) {
      const how = bend({ on, link: () => link, hello, base, clock });
      const link: Link = base.dial(() => how.hello?.(hello()) ?? hello(), {
        opened: how.opened ?? ((as) => on.opened(as)),
        received: how.received ?? ((frame) => on.received(frame)),
        closed: how.closed ?? ((fault) => on.closed(fault)),
      });
      return {
        send: how.send ?? ((frames) => link.send(frames)),
        close: how.close ?? ((code, reason) => link.close(code, reason)),
        get bufferedAmount() {
          return link.bufferedAmount;
        },
      };
    },
  });
}

/** Frames of the server that match are lost. */
const deaf = (to: (frame: Parameters<LinkEvents['received']>[0]) => boolean): Change =>
  bent(({ on }) => ({ received: (frame) => (to(frame) ? undefined : on.received(frame)) }));

/** Frames of the client go through this. */
const garbling = (into: (frames: readonly Outgoing[]) => readonly Outgoing[]): Change =>
  bent(({ link }) => ({ send: (frames) => link().send(into(frames)) }));

const numberOf = (payload: unknown) => (payload as { number: number }).number;

const breaches: Readonly<Record<PromiseName, Change>> = {
  T1: (base) => ({
    ...base,
    dial(hello, on) {
      on.opened();
      return base.dial(hello, on);
    },
  }),
  T2: bent(({ on }) => ({
    closed(fault) {
      on.closed(fault);
      on.closed(fault);
    },
  })),
  T3: bent(({ on, link }) => ({
    close() {
      link().close();
      on.closed(lost());
    },
  })),
  T4: bent(({ on, base, hello }) => ({
    closed(fault) {
      on.closed(fault);
      base.dial(hello, { opened() {}, received() {}, closed() {} });
    },
  })),
  T5: bent(({ on }) => ({
    received(frame) {
      if (frame.kind !== 'error') on.received(frame);
    },
    closed: () => on.closed(lost()),
  })),
  connect: deaf(({ kind }) => kind === 'welcome'),
  refuse: bent(({ on }) => ({
    received(frame) {
      if (frame.kind !== 'error') on.received(frame);
    },
    closed: () => on.closed(lost()),
  })),
  unreachable: bent(({ on }) => {
    let hasOpened = false;
    return {
      opened(as) {
        hasOpened = true;
        on.opened(as);
      },
      closed: (fault) =>
        on.closed(hasOpened ? fault : new HoldfastError('UNAUTHORIZED', 'Not reached.')),
    };
  }),
  silence: (base) => {
    let isStuck = false;
    const silent: Link = { send() {}, close() {}, bufferedAmount: 0 };
    return {
      ...base,
      dial(hello, on) {
        if (isStuck) return silent;
        isStuck = true;
        return base.dial(hello, {
          opened(as) {
            isStuck = false;
            on.opened(as);
          },
          received: (frame) => on.received(frame),
          closed: (fault) => on.closed(fault),
        });
      },
    };
  },
  cut: bent(() => ({ closed() {} })),
  blackHole: bent(({ on, clock }) => ({
    opened(as) {
      on.opened(as);
      const beat = () => {
        on.received({ kind: 'ping' });
        clock.after(500, beat);
      };
      clock.after(500, beat);
    },
  })),
  quiet: bent(({ on, link, clock }) => ({
    opened(as) {
      on.opened(as);
      clock.after(1_000, () => {
        link().close();
        on.closed(lost());
      });
    },
  })),
  restart: (base, clock) => {
    let first: Hello | undefined;
    return bent(() => ({
      hello(hello) {
        first ??= hello;
        return first;
      },
    }))(base, clock);
  },
  handover: deaf(({ kind }) => kind === 'goodbye'),
  close: bent(() => ({ close() {} })),
  expired: (base, clock) => {
    let first: Hello | undefined;
    return bent(() => ({
      hello(hello) {
        first ??= hello;
        return { ...hello, auth: first.auth };
      },
    }))(base, clock);
  },
  renewal: garbling((frames) =>
    frames.filter((frame) => !(typeof frame === 'object' && 'auth' in frame)),
  ),
  missed: deaf((frame) => frame.kind === 'event' && numberOf(frame.payload) === 7),
  rooms: garbling((frames) =>
    frames.map((frame) =>
      typeof frame === 'object' && 'kind' in frame && frame.kind === 'join'
        ? { ...frame, rooms: frame.rooms.slice(0, 10) }
        : frame,
    ),
  ),
  rejoin: garbling((frames) =>
    frames.filter(
      (frame) => !(typeof frame === 'object' && 'kind' in frame && frame.kind === 'leave'),
    ),
  ),
  order: bent(({ on }) => {
    let held: Parameters<LinkEvents['received']>[0] | undefined;
    let hasSwapped = false;
    return {
      received(frame) {
        if (frame.kind === 'event' && !hasSwapped) {
          hasSwapped = true;
          held = frame;
          return;
        }
        on.received(frame);
        if (held !== undefined) on.received(held);
        held = undefined;
      },
    };
  }),
  slow: deaf((frame) => frame.kind === 'event' && numberOf(frame.payload) > 40),
  push: bent(({ on, clock }) => ({
    received: (frame) =>
      void (frame.kind === 'event'
        ? clock.after(1_000, () => on.received(frame))
        : on.received(frame)),
  })),
  bytes: bent(({ on }) => ({
    received: (frame) => on.received(JSON.parse(JSON.stringify(frame))),
  })),
  once: garbling((frames) =>
    frames.flatMap((frame): readonly Outgoing[] =>
      typeof frame === 'string'
        ? [frame, frame.replace('"requestId":"', '"requestId":"again-')]
        : [frame],
    ),
  ),
  size: garbling((frames) => frames.filter((frame) => String(frame).length < 4_096)),
  requestOrder: garbling((frames) => frames.toReversed()),
  abort: garbling((frames) => frames.slice(0, 1)),
  messages: garbling((frames) => frames.toReversed()),
};

/** Other ways to break some of them. */
const subtleties: readonly (readonly [PromiseName, what: string, Change])[] = [
  ['T2', 'says nothing of a link that is cut', bent(() => ({ closed() {} }))],
  [
    'T2',
    'is heard after closed',
    bent(({ on }) => ({
      closed(fault) {
        on.closed(fault);
        on.received({ kind: 'pong' });
      },
    })),
  ],
  [
    'T4',
    'goes on over another link as if nothing had happened',
    bent(({ on, base, hello }) => ({
      closed: () =>
        void base.dial(hello, {
          opened() {},
          received: (frame) => on.received(frame),
          closed: (fault) => on.closed(fault),
        }),
    })),
  ],
  [
    'close',
    'leaves a timer',
    bent(({ clock, on }) => ({
      opened(as) {
        clock.after(60_000, () => {});
        on.opened(as);
      },
    })),
  ],
  [
    'rooms',
    'loses a verdict',
    deaf((frame) => frame.kind === 'room' && frame.room === 'room-30' && 'caughtUp' in frame),
  ],
];

describe('a transport that', () => {
  const ruleOf = (name: string, change: Change) =>
    transportRules(() => memoryStage(change)).find((one) => one.name === name);

  test.each(Object.entries(breaches))('breaks %s is found out', async (name, change) => {
    await expect(ruleOf(name, change)?.run()).rejects.toThrow('The transport breaks a promise');
  });

  test.each(subtleties)('breaks %s, as it %s, is found out', async (name, _, change) => {
    await expect(ruleOf(name, change)?.run()).rejects.toThrow('The transport breaks a promise');
  });

  test('breaks a promise is here for every promise', () => {
    const names = transportRules(() => memoryStage()).map(({ name }) => name);
    expect(Object.keys(breaches)).toEqual(names);
  });
});

describe('what a wire cannot do', () => {
  const less = { bytes: 'it is JSON', connect: 'it is shy' } as const;
  const rules = transportRules(() => memoryStage(breaches.bytes), { less });
  const found = (name: PromiseName) => rules.find((rule) => rule.name === name);

  test('is listed with its reason, and is no failure', async () => {
    expect(found('bytes')?.title).toBe(
      'not on this wire: bytes in payloads arrive as they were (it is JSON)',
    );
    await found('bytes')?.run();
  });

  test('must not be listed where it can', async () => {
    await expect(found('connect')?.run()).rejects.toThrow('keeps "connect" after all');
  });
});

test('a stage that cannot be made fails its promise', async () => {
  const [rule] = transportRules(() => Promise.reject(new Error('no port')));
  await expect(rule?.run()).rejects.toThrow('no port');
});
