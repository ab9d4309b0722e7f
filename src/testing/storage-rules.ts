/** The rules of a storage adapter as tests that need no test runner. */
import { LINKS_PER_OWNER, type StorageAdapter } from '../client/storage.js';
import { changes, holds, request, Stage, same } from './storage-stage.js';

/** One rule: `run` rejects where the adapter breaks it. */
export interface StorageRule {
  readonly title: string;
  run(): Promise<void>;
}

/**
 * What every adapter must do, whatever it stores in. The rules about owners that die without a word
 * need a process or a page, and are not among them.
 *
 * ```ts
 * for (const { title, run } of storageRules(() => myStorage({ folder: newFolder() }))) test(title, run);
 * ```
 * @param empty gives an adapter over an empty storage of its own, with each call
 */
export function storageRules(
  empty: () => StorageAdapter | Promise<StorageAdapter>,
): readonly StorageRule[] {
  return Object.entries(rules).map(([title, rule]) => ({
    title,
    run: async () => {
      const adapter = await empty();
      const stage = new Stage(adapter);
      try {
        await rule(stage);
      } finally {
        await stage.end();
      }
    },
  }));
}

const rules: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  async 'a new slot has a new identity and nothing else'(stage) {
    const { saved } = await stage.open();
    same(saved, { clientId: 'id-1', link: 0, user: undefined, requests: [], cursors: [] });
  },

  async 'what was written is there for the next owner'(stage) {
    const slot = await stage.open();
    const bytes = request('bytes', {
      wire: new Uint8Array([0, 255, 10]),
      room: 'r',
      coalesceKey: 'k',
      session: 's',
      timeout: Number.POSITIVE_INFINITY,
      expiresAt: 1_767_225_600_000.5,
      delivery: 'at-most-once',
    });
    const text = request('text', { wire: '{"é":"\u{1f600}\u0000"}' });
    const cursors = [
      ['r', '1'],
      ['@me', 'e/2'],
    ] as const;
    await slot.write(changes({ puts: [bytes, text], cursors, user: 'ann' }));
    const { saved } = await stage.reopen(slot);
    same(saved.clientId, 'id-1');
    same(saved.user, 'ann');
    same(saved.requests, [bytes, text]);
    same([...saved.cursors].sort(), [...cursors].sort());
  },

  async 'puts, stamps, drops and cursors apply in this order, and to what is there'(stage) {
    const slot = await stage.open();
    const puts = ['a', 'b', 'c'].map((id) => request(id));
    await slot.write(
      changes({
        puts,
        stamps: [
          ['b', 's1'],
          ['nobody', 's1'],
        ],
        drops: ['a', 'nobody'],
        cursors: [
          ['r', '1'],
          ['gone', null],
        ],
      }),
    );
    await slot.write(changes({ stamps: [['c', 's2']], drops: ['b'], cursors: [['r', null]] }));
    const { saved } = await stage.reopen(slot);
    same(saved.requests, [request('c', { session: 's2' })]);
    same(saved.cursors, []);
  },

  async 'a request that is there already is replaced in its place'(stage) {
    const slot = await stage.open();
    await slot.write(changes({ puts: [request('a'), request('b')] }));
    await slot.write(changes({ puts: [request('c'), request('a', { session: 's' })] }));
    const { saved } = await stage.reopen(slot);
    same(saved.requests, [request('a', { session: 's' }), request('b'), request('c')]);
  },

  async 'the user stays until another one is written, and null is one too'(stage) {
    const slot = await stage.open();
    await slot.write(changes({ user: 'ann' }));
    await slot.write(changes({}));
    const next = await stage.reopen(slot);
    same(next.saved.user, 'ann');
    await next.write(changes({ user: null }));
    same((await stage.reopen(next)).saved.user, null);
  },

  async 'writes apply in the order of the calls, whoever waits for them'(stage) {
    const slot = await stage.open();
    const all = Array.from({ length: 50 }, (_, index) => request(`q${index}`));
    const writes = all.map((one, index) =>
      slot.write(
        changes({
          puts: [one],
          drops: index > 0 && index % 2 === 0 ? [`q${index - 1}`] : [],
          cursors: [['r', `${index}`]],
        }),
      ),
    );
    await Promise.all(writes);
    const { saved } = await stage.reopen(slot);
    same(
      saved.requests,
      all.filter((_, index) => index % 2 === 0 || index === 49),
    );
    same(saved.cursors, [['r', '49']]);
  },

  async 'close waits for the writes before it, and is harmless twice'(stage) {
    const slot = await stage.open();
    const written = slot.write(changes({ puts: [request('a')] }));
    await Promise.all([slot.close(), slot.close()]);
    await written;
    const next = await stage.open();
    await slot.close();
    same(next.saved.requests, [request('a')]);
    same((await stage.open()).saved.clientId, 'id-2');
  },

  async 'what an owner was given does not change under it'(stage) {
    const slot = await stage.open();
    await slot.write(changes({ puts: [request('a')], cursors: [['r', '1']], user: 'ann' }));
    same(slot.saved, { clientId: 'id-1', link: 0, user: undefined, requests: [], cursors: [] });
  },

  async 'S1 a slot has one owner at a time'(stage) {
    const slots = await Promise.all([1, 2, 3, 4, 5].map(() => stage.open()));
    same(new Set(slots.map(({ saved }) => saved.clientId)).size, 5);
    const [first, ...others] = slots;
    await Promise.all(
      others.map((slot) => slot.write(changes({ puts: [request(slot.saved.clientId)] }))),
    );
    for (const slot of others) {
      const next = await stage.reopen(slot);
      same(next.saved.clientId, slot.saved.clientId);
      same(next.saved.requests, [request(slot.saved.clientId)]);
    }
    same(first?.saved.requests, []);
  },

  async 'S1 the slot whose requests have waited longest goes first, then one without'(stage) {
    const [one, two, three] = [await stage.open(), await stage.open(), await stage.open()];
    await one.write(changes({ puts: [request('a')], cursors: [['r', '1']] }));
    await two.write(changes({ puts: [request('a'), request('b')] }));
    stage.wait(1);
    await three.write(changes({ puts: [request('c')] }));
    stage.wait(1);
    await two.write(changes({ drops: ['a', 'b'] }));
    await two.write(changes({ puts: [request('d')] }));
    await one.write(changes({ drops: ['a'] }));
    for (const slot of [one, two, three]) await slot.close();
    const next = [await stage.open(), await stage.open(), await stage.open(), await stage.open()];
    same(
      next.map(({ saved }) => saved.clientId),
      [three, two, one].map(({ saved }) => saved.clientId).concat('id-4'),
    );
  },

  async 'S2 each owner may dial more links than anybody can before another one begins'(stage) {
    const one = await stage.open();
    const two = await stage.reopen(one);
    const three = await stage.reopen(two);
    for (const [before, after] of [
      [one, two],
      [two, three],
    ] as const)
      holds(
        after.saved.link >= before.saved.link + LINKS_PER_OWNER,
        `links grow from ${before.saved.link} to ${after.saved.link}`,
      );
  },

  async 'a thousand requests and cursors come back in order'(stage) {
    const slot = await stage.open();
    const puts = Array.from({ length: 1_000 }, (_, index) => request(`q${index}`));
    const cursors = puts.map(({ requestId }) => [requestId, 'c'] as const);
    await slot.write(changes({ puts, cursors }));
    const { saved } = await stage.reopen(slot);
    same(
      saved.requests.map(({ requestId }) => requestId),
      puts.map(({ requestId }) => requestId),
    );
    same(saved.cursors.length, 1_000);
  },

  async 'slots that nobody has used for a month are forgotten, but none with a request'(stage) {
    const [one, two, three] = [await stage.open(), await stage.open(), await stage.open()];
    await one.write(changes({ cursors: [['r', '1']] }));
    await two.write(changes({ puts: [request('a')] }));
    stage.wait(20 * DAY);
    await three.write(changes({ cursors: [['r', '3']] }));
    for (const slot of [one, two, three]) await slot.close();
    stage.wait(20 * DAY);
    const waiting = await stage.open();
    same(waiting.saved.requests, [request('a')]);
    const fresh = await stage.open();
    same(fresh.saved.cursors, [['r', '3']]);
    same((await stage.open()).saved.cursors, []);
  },
};

const DAY = 86_400_000;
