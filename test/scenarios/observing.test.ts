/** What an application sees of its connection: when it is up to date, and when it is not. */
import type { ConnectionState } from 'holdfast';
import type { ScriptedLink } from 'holdfast/testing';
import { describe, expect, test } from 'vitest';
import { type HarnessOptions, harness } from '../client/harness.js';

/** A client that heard nothing yet, and each change of `synced` while it is connected. */
function watched(options: HarnessOptions = {}) {
  const story = harness(options);
  const synced: boolean[] = [];
  story.client.onState((state: ConnectionState) => {
    if (state.status === 'connected' && synced.at(-1) !== state.synced) synced.push(state.synced);
  });
  return { ...story, synced };
}

function catchUp(link: ScriptedLink, rooms: string[]): void {
  for (const room of rooms) {
    link.joined(room);
    link.caughtUp(room);
  }
}

describe('state.synced', () => {
  test('is true once every room is caught up, no gap is open and all that waited at the welcome is answered', async () => {
    let heal: (eventId?: string) => void = () => {};
    const { client, clock, server, synced } = watched({
      onGap: () => new Promise<string | undefined>((done) => (heal = done)),
    });
    const rooms = ['quiet', 'busy', 'gapped'].map((name) => client.room(name));
    const joins = rooms.map((room) => room.join());
    void client.connect();
    await clock.advance(10);
    server.link.welcome();
    for (const room of ['@me', 'quiet', 'busy', 'gapped']) {
      server.link.joined(room, { recovered: false, reason: 'new' });
      server.link.caughtUp(room);
    }
    await clock.advance(10);
    await Promise.all(joins);
    expect(client.state.synced).toBe(true);

    server.link.terminate();
    const first = client.request('a:b', 'first');
    const refused = client.request('a:b', 'refused').catch(({ code }: { code: string }) => code);
    client.send('c:d', 'no answer is due');
    await clock.advance(5_000);
    synced.length = 0;
    const { link } = server;
    const step = async (act: () => void): Promise<boolean> => {
      act();
      await clock.advance(10);
      return client.state.synced;
    };
    expect(await step(() => link.welcome())).toBe(false);
    expect(client.state.status).toBe('connected');
    const [one = '', other = ''] = link.sent('request');
    expect(await step(() => catchUp(link, ['@me', 'quiet']))).toBe(false);
    expect(await step(() => link.respond(one, 'done'))).toBe(false);
    expect(
      await step(() => {
        link.joined('busy');
        link.event('e:f', { room: 'busy', seq: 1 });
        link.event('e:f', { room: 'busy', seq: 2 });
      }),
    ).toBe(false);
    expect(await step(() => link.caughtUp('busy', 'busy:2'))).toBe(false);
    const lost = { epoch: 'epoch-2', recovered: false, reason: 'epoch' } as const;
    expect(await step(() => link.joined('gapped', lost))).toBe(false);
    expect(await step(() => link.caughtUp('gapped'))).toBe(false);
    // What is asked after the welcome does not count.
    expect(await step(() => void client.request('a:b', 'later').catch(() => {}))).toBe(false);
    expect(await step(() => heal())).toBe(false);
    expect(await step(() => link.fail(other, { code: 'FORBIDDEN' }))).toBe(true);
    expect(await Promise.all([first, refused])).toEqual(['done', 'FORBIDDEN']);
    expect(synced).toEqual([false, true]);
    expect(client.state.queued).toBe(1);

    // It is the last of them that makes it true, whichever that is.
    expect(await step(() => link.joined('quiet', { ...lost, epoch: 'epoch-3' }))).toBe(false);
    expect(await step(() => heal())).toBe(true);
    expect(await step(() => link.terminate())).toBe(false);
    client.close();
    expect(client.state.synced).toBe(false);
  });

  test('is not true before the rooms of a first connection are caught up', async () => {
    const { client, clock, server, synced } = watched();
    void client.room('r').join();
    void client.connect();
    await clock.advance(10);
    server.link.welcome();
    await clock.advance(10);
    expect(client.state).toMatchObject({ status: 'connected', synced: false });
    catchUp(server.link, ['@me']);
    await clock.advance(10);
    expect(client.state.synced).toBe(false);
    catchUp(server.link, ['r']);
    await clock.advance(10);
    expect(client.state.synced).toBe(true);
    expect(synced).toEqual([false, true]);
    // Nor before one that is joined later is.
    void client.room('late').join();
    await clock.advance(10);
    expect(client.state.synced).toBe(false);
    catchUp(server.link, ['late']);
    await clock.advance(10);
    expect(synced).toEqual([false, true, false, true]);
    client.close();
  });

  test('is true at the welcome of a server that knows no rooms', async () => {
    const { client, clock, server, synced } = watched();
    void client.connect();
    await clock.advance(10);
    server.link.welcome();
    await clock.advance(10);
    expect(synced).toEqual([true]);
    client.close();
  });

  test('is not waited for with a room that is refused or left', async () => {
    const { client, clock, server, synced } = watched();
    void client
      .room('refused')
      .join()
      .catch(() => {});
    void client
      .room('left')
      .join()
      .catch(() => {});
    void client.connect();
    await clock.advance(10);
    server.link.welcome();
    await clock.advance(10);
    const error = { code: 'FORBIDDEN', message: 'No.' };
    server.link.send({ kind: 'room', room: 'refused', error });
    await clock.advance(10);
    expect(client.state.synced).toBe(false);
    client.room('left').leave();
    await clock.advance(10);
    expect(synced).toEqual([false, true]);
    client.close();
  });
});
