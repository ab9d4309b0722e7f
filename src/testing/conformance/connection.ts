/** Promises about the connection: how it comes, breaks, is refused, moves and ends. */
import { promised } from './rule.js';
import type { Player, Scene } from './scene.js';
import { holds, same } from './verdict.js';

/** Short, and yet long against the hiccups of a busy machine. */
const BRISK = { interval: 2_000, timeout: 1_000 };

export const connection = {
  connect: promised('it connects, is welcomed and joins', async (scene) => {
    await scene.serve();
    const { client, seen, watch } = await scene.member();
    same(seen.statuses, ['disconnected', 'connecting', 'connected'], 'statuses');
    holds((client.state.transport ?? '') !== '', 'the state names the wire');
    same(watch.frames.filter(({ kind }) => kind === 'welcome').length, 1, 'welcomes');
    await scene.until('it is synced', () => client.state.synced);
  }),

  refuse: promised(
    'a refusal is told by its code, and tried again where that helps',
    async (scene) => {
      await scene.serve();
      for (const code of ['UNAUTHORIZED', 'TOO_MANY_CONNECTIONS'])
        await refusedForGood(scene, code);
      for (const code of ['RATE_LIMITED', 'SERVER_ERROR']) {
        const { client, seen } = scene.client();
        scene.admit = () => {
          throw scene.failure(code, 'Not now.', { retryable: true, retryAfter: 50 });
        };
        void client.connect();
        await scene.until(`${code} is told`, () =>
          seen.states.some(({ error }) => error?.code === code),
        );
        scene.admit = () => ({ user: 'ann' });
        await scene.until(`it connects after ${code}`, () => client.state.status === 'connected');
      }
    },
  ),

  unreachable: promised('a server that cannot be reached is tried again', async (scene) => {
    await scene.serve();
    scene.network.refuse();
    const { client } = scene.client();
    void client.connect();
    await scene.until('it tries twice', () => client.state.reconnectAttempts >= 2);
    const { status, error } = client.state;
    same([status, error?.category], ['reconnecting', 'connection'], 'status and error');
    scene.network.heal();
    await scene.until('it connects', () => client.state.status === 'connected');
  }),

  silence: promised('a dial that nobody answers is given up, and tried again', async (scene) => {
    await scene.serve();
    scene.network.blackHole();
    const { client } = scene.client({
      reconnect: { initialDelay: 100, maxDelay: 100, jitter: 'none', connectTimeout: 700 },
    });
    void client.connect();
    await scene.until('it tries twice', () => client.state.reconnectAttempts >= 2);
    scene.network.heal();
    await scene.until('it connects', () => client.state.status === 'connected');
  }),

  cut: promised('a link that is cut is replaced, and nothing is lost or doubled', async (scene) => {
    const hub = await scene.serve();
    const player = await scene.member();
    for (let first = 1; first < 80; first += 20) {
      await scene.publish(hub, first, first + 9);
      scene.network.cut();
      await scene.publish(hub, first + 10, first + 19);
      await scene.hears(player, first + 19);
    }
    await scene.lose(player);
    await scene.publish(hub, 81, 90);
    await scene.hears(player, 90);
  }),

  blackHole: promised(
    'a black hole is noticed within interval + timeout + 10 %, and nothing is lost',
    async (scene) => {
      const hub = await scene.serve({ heartbeat: BRISK });
      const player = await scene.member();
      await scene.publish(hub, 1, 5);
      await scene.hears(player, 5);
      scene.network.blackHole();
      const from = scene.clock.now();
      await scene.until('it is noticed', () => player.client.state.status !== 'connected');
      const took = scene.clock.now() - from;
      const most = (BRISK.interval + BRISK.timeout) * 1.1;
      holds(took <= most, `noticed after ${Math.round(took)} ms, wanted ${most} at most`);
      await scene.publish(hub, 6, 10);
      scene.network.heal();
      await scene.hears(player, 10);
    },
  ),

  quiet: promised('a link on which nothing happens stays', async (scene) => {
    const hub = await scene.serve({ heartbeat: { interval: 500, timeout: 500 } });
    const player = await scene.member();
    await scene.wait(2_500);
    same(player.seen.statuses, ['disconnected', 'connecting', 'connected'], 'statuses');
    await scene.publish(hub, 1, 1);
    await scene.hears(player, 1);
  }),

  restart: promised('a server that restarts on its journal is found again', async (scene) => {
    const first = await scene.serve();
    const player = await scene.member();
    await scene.publish(first, 1, 10);
    await scene.hears(player, 10);
    await scene.stop(first);
    await scene.until('it is noticed', () => player.client.state.status === 'reconnecting');
    const second = await scene.serve();
    await scene.publish(second, 11, 20);
    await scene.hears(player, 20);
    await scene.until('it is synced', () => player.client.state.synced);
  }),

  handover: promised(
    'a server that says goodbye is left for the next one within connected',
    async (scene) => {
      const first = await scene.serve();
      const player = await scene.member();
      await scene.publish(first, 1, 10);
      const second = await scene.serve();
      const leaving = first.close({ drain: true, over: 2_000 });
      for (let number = 11; number <= 60; number++) {
        await scene.publish(second, number, number);
        await scene.wait(10);
      }
      await scene.get(leaving, 'the first hub is left');
      await scene.hears(player, 60);
      const answer = await scene.get(player.client.request('echo:say', 'here'), 'it is answered');
      same([answer, second.metrics().requestsRun], ['here', 1], 'the answer of the second hub');
      await settled(scene, player);
    },
  ),

  close: promised('a client that closes leaves nothing behind', async (scene) => {
    const leftovers = scene.resources();
    const hub = await scene.serve();
    const { client, seen } = await scene.member();
    await scene.get(client.request('echo:say', 1), 'a request is answered');
    client.close();
    same(client.state.status, 'closed', 'status');
    await scene.until('the server sees it go', () => hub.metrics().connections === 0);
    const events = seen.events.length;
    await scene.publish(hub, 1, 5);
    await scene.wait(300);
    same(seen.events.length, events, 'events, before and after close()');
    await scene.leave();
    await scene.until(`nothing is left: ${leftovers()}`, () => leftovers().length === 0, 3_000);
  }),

  expired: promised('a token that has expired is replaced by a fresh one', async (scene) => {
    await scene.serve();
    scene.admit = (auth) => {
      if (auth === 'old') throw scene.failure('TOKEN_EXPIRED', 'Too old.');
      return { user: 'ann' };
    };
    const reasons: string[] = [];
    const player = scene.client({
      auth({ reason }) {
        reasons.push(reason);
        return reason === 'expired' ? 'new' : 'old';
      },
    });
    await scene.get(player.client.connect(), 'it connects');
    same([...new Set(scene.presented)], ['old', 'new'], 'what was presented');
    same(reasons.at(-1), 'expired', 'what the application was asked for last');
  }),

  renewal: promised('credentials are renewed on a connection that goes on', async (scene) => {
    const hub = await scene.serve();
    scene.admit = () => ({ user: 'ann', expiresIn: 3_000 });
    let token = 0;
    const player = await scene.member({ auth: () => `token-${++token}` });
    const from = scene.clock.now();
    await scene.until('it is renewed', () => scene.presented.at(-1) === 'token-2');
    // Past the end of the first.
    await scene.wait(Math.max(0, 3_300 - (scene.clock.now() - from)));
    await scene.publish(hub, 1, 3);
    await scene.hears(player, 3);
    await settled(scene, player);
  }),
};

/** It has never been anything but connected, and is in good order. */
async function settled(scene: Scene, { client, seen }: Player): Promise<void> {
  same(seen.statuses, ['disconnected', 'connecting', 'connected'], 'statuses');
  await scene.until('it is synced', () => client.state.synced);
}

async function refusedForGood(scene: Scene, code: string): Promise<void> {
  scene.admit = () => {
    throw scene.failure(code, 'Go away.');
  };
  const { client } = scene.client();
  void client.connect();
  await scene.until(`${code} closes`, () => client.state.status === 'closed');
  same(client.state.error?.code, code, 'why it is closed');
  const presented = scene.presented.length;
  await scene.wait(500);
  same(scene.presented.length, presented, `hellos after ${code}`);
}
