import { createHub, type Hub } from 'holdfast/server';
import { expect, expectTypeOf, test } from 'vitest';
import * as z from 'zod';
import { defineContract } from '../../src/protocol/contract.js';

const contract = defineContract({
  requests: {
    'message:send': {
      payload: z.object({ text: z.string(), at: z.coerce.date() }),
      data: z.object({ id: z.string() }),
    },
  },
  events: { 'message:new': z.object({ text: z.string() }) },
  messages: { 'cursor:move': z.object({ x: z.number() }) },
});

test('handlers, events and users are typed by the contract and by authenticate', async () => {
  const hub = createHub({
    contract,
    credentials: z.object({ token: z.string() }),
    authenticate: async ({ auth }) => {
      expectTypeOf(auth).toEqualTypeOf<{ token: string }>();
      return { user: { id: auth.token, name: 'Ada' }, expiresIn: 1_000 };
    },
    authorizeRoom: ({ user, action }) => {
      expectTypeOf(user).toEqualTypeOf<{ id: string; name: string }>();
      expectTypeOf(action).toEqualTypeOf<'join' | 'request' | 'message'>();
      return true;
    },
    handlers: {
      'message:send': async (payload, { user, room, publish, publishToUser }) => {
        expectTypeOf(payload).toEqualTypeOf<{ text: string; at: Date }>();
        expectTypeOf(user.name).toEqualTypeOf<string>();
        publish(room, 'message:new', { text: payload.text });
        publishToUser(user, 'message:new', { text: payload.text });
        // @ts-expect-error the event has no such payload
        expect(() => publish(room, 'message:new', { wrong: 1 })).toThrow();
        return { id: '1' };
      },
    },
    onMessage: {
      'cursor:move': ({ x }) => {
        expectTypeOf(x).toEqualTypeOf<number>();
      },
    },
  });
  expectTypeOf(hub).toExtend<Hub<typeof contract, { id: string; name: string }>>();
  await hub.publish('a', 'message:new', { text: 'hi' });
  await hub.publishToUser('ada', 'message:new', { text: 'hi' });
  // @ts-expect-error no such event
  await expect(hub.publish('a', 'message:old', { text: 'hi' })).rejects.toThrow();
  // @ts-expect-error no such payload
  await expect(hub.publish('a', 'message:new', {})).rejects.toThrow();
  await hub.close();
});

test('handlers must answer what the contract says', () => {
  createHub({
    contract,
    handlers: {
      // @ts-expect-error the data has no id
      'message:send': () => ({ wrong: 1 }),
    },
  });
});

test('without a contract anything goes, and users are strings', async () => {
  const hub = createHub({
    handlers: {
      'x:do': (payload, { user, publish }) => {
        expectTypeOf(payload).toEqualTypeOf<unknown>();
        expectTypeOf(user).toEqualTypeOf<string>();
        publish('a', 'x:y', payload);
        return payload;
      },
    },
  });
  await hub.publish('a', 'any:thing', { a: 1 });
  await hub.close();
});
