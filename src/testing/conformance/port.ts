/** T1 to T5: what a transport promises to whoever dials it, client or not. */
import { ROOM } from './numbers.js';
import { promised } from './rule.js';
import type { RawLink, Scene } from './scene.js';
import { holds, same } from './verdict.js';

/** Within it, any library that reconnects by itself would have done it once: Socket.IO's waits 1.5 s at most. */
const TEMPTATION = 2_000;

/** Those a server may refuse a connection with, each of another category or meaning. */
const codes = [
  'TOKEN_EXPIRED',
  'UNAUTHORIZED',
  'TOO_MANY_CONNECTIONS',
  'RATE_LIMITED',
  'SERVER_ERROR',
  'PROTOCOL_ERROR',
];

const PING = [{ kind: 'ping' }] as const;

export const port = {
  T1: promised('T1 it never calls back before dial has returned', async (scene) => {
    await scene.serve();
    await scene.welcomed();
    await unreached(scene);
  }),

  T2: promised('T2 it calls closed exactly once, and nothing after it', async (scene) => {
    const hub = await scene.serve();
    const lost = await scene.welcomed();
    await cut(scene, lost);
    const ended = await scene.welcomed();
    await scene.stop(hub);
    await closed(scene, ended, 'a link whose server closes');
    await unreached(scene);
    for (const { opened } of [lost, ended]) same(opened, 1, 'calls of `opened`');
  }),

  T3: promised('T3 it is silent after close(), whenever that comes', async (scene) => {
    const hub = await scene.serve();
    const links = [scene.dial(), await scene.welcomed({ rooms: [{ room: ROOM }] }), scene.dial()];
    await scene.until('the link has joined', () => joins(links[1]));
    const publishing = scene.publish(hub, 1, 20);
    for (const { link } of links) {
      link.close();
      link.close();
      link.send(PING);
    }
    const told = links.map(({ frames }) => frames.length);
    await publishing;
    await scene.wait(100);
    scene.network.cut();
    await scene.wait(100);
    same(
      links.map(({ frames }) => frames.length),
      told,
      'frames, before and after close()',
    );
    for (const { faults } of links) same(faults, [], 'calls of `closed`');
    await scene.until('the server sees them go', () => hub.metrics().connections === 0);
  }),

  T4: promised('T4 it never reconnects by itself', async (scene) => {
    const hub = await scene.serve();
    const [lost, left] = [await scene.welcomed(), await scene.welcomed()];
    left.link.close();
    // A wire that asks again after its welcome has done so.
    await scene.wait(200);
    let hellos = scene.presented.length;
    scene.network.cut();
    await scene.wait(TEMPTATION);
    same(lost.frames.filter(({ kind }) => kind === 'welcome').length, 1, 'welcomes of the link');
    if (lost.faults.length === 0) {
      // It had no connection open just then, and has asked since.
      await cut(scene, lost);
      hellos = scene.presented.length;
      await scene.wait(TEMPTATION);
    }
    same(scene.presented.length, hellos, 'hellos that reached the server');
    same(hub.metrics().connections, 0, 'connections of the server');
  }),

  T5: promised('T5 it reports every refusal with the code that the peer gave', async (scene) => {
    await scene.serve();
    for (const code of codes) {
      scene.admit = () => {
        throw scene.failure(code, 'Refused.');
      };
      await refused(scene, scene.dial(), code);
    }
    scene.admit = () => ({ user: 'ann' });
    const first = await scene.welcomed({ clientId: 'one', link: 5 });
    await refused(scene, scene.dial({ clientId: 'one', link: 3 }), 'SUPERSEDED');
    const next = await scene.welcomed({ clientId: 'one', link: 8 });
    await refused(scene, first, 'SUPERSEDED');
    same(next.faults, [], 'faults of the newest link');
  }),
};

/** A dial that meets nobody, also on a connection that is open already and kept for later. */
async function unreached(scene: Scene): Promise<void> {
  scene.network.refuse();
  scene.network.cut();
  await closed(scene, scene.dial(), 'a dial that is refused');
}

/** Also for wires that have no connection open at times: the next one fails. */
async function cut(scene: Scene, raw: RawLink): Promise<void> {
  scene.network.refuse();
  scene.network.cut();
  await closed(scene, raw, 'a link that is cut');
  scene.network.heal();
}

async function closed(scene: Scene, { faults }: RawLink, what: string): Promise<void> {
  await scene.until(`${what} is told closed`, () => faults.length > 0);
  // Time for what must not follow.
  await scene.wait(100);
  same(faults.length, 1, `calls of \`closed\` for ${what}`);
}

async function refused(scene: Scene, raw: RawLink, code: string): Promise<void> {
  await scene.until(`a link that is refused (${code}) is told closed`, () => raw.faults.length > 0);
  const said = raw.frames.flatMap((frame) => (frame.kind === 'error' ? [frame.error.code] : []));
  const told = [...said, ...raw.faults.map((fault) => fault.code)];
  holds(told.includes(code), `a refusal with ${code} is told as ${told.join(', ')}`);
}

function joins(raw: RawLink | undefined): boolean {
  return (
    raw?.frames.some((one) => one.kind === 'room' && one.room === ROOM && 'joined' in one) ?? false
  );
}
