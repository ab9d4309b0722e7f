/** Contracts: what is inferred from them, what they refuse, and what a failed check says. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { describe, expect, expectTypeOf, test } from 'vitest';
import * as z from 'zod';
import {
  type AnyContract,
  type Contract,
  defineContract,
  type EventInput,
  type EventPayload,
  type EventType,
  type MessageInput,
  type MessagePayload,
  type MessageType,
  type RequestInput,
  type RequestPayload,
  type RequestType,
  type ResponseData,
  type ResponseInput,
  type SchemaInput,
  type SchemaOutput,
  type StandardSchema,
  validate,
} from '../../src/protocol/contract.js';
import { HoldfastError } from '../../src/protocol/errors.js';

// Text on the wire, a number in the program: input and output differ.
const amount = z.string().transform(Number);
const moment = z.object({ at: z.iso.datetime().transform((text) => new Date(text)) });

const shop = defineContract({
  requests: {
    'order:place': {
      payload: z.object({ items: z.array(z.string()), note: z.string().default('') }),
      data: z.object({ total: amount }),
    },
    'order:cancel': { payload: z.object({ id: z.string() }), data: z.null() },
  },
  events: { 'order:shipped': moment, 'stock:changed': z.object({ left: z.number() }) },
  messages: { 'cart:viewed': z.object({ seconds: amount }) },
});
type Shop = typeof shop;

/** The shape of the client's calls: inference must work through them, not only in type aliases. */
interface Caller<C extends Contract> {
  request<T extends RequestType<C>>(
    type: T,
    payload: RequestInput<C, T>,
  ): Promise<ResponseData<C, T>>;
  on<T extends EventType<C>>(type: T, listener: (payload: EventPayload<C, T>) => void): void;
  send<T extends MessageType<C>>(type: T, payload: MessageInput<C, T>): void;
}

function caller<const C extends Contract = AnyContract>(_options: { contract?: C }): Caller<C> {
  return { request: () => new Promise(() => {}), on: () => {}, send: () => {} };
}

describe('the types of a contract', () => {
  test('name its requests, events and messages', () => {
    expectTypeOf<RequestType<Shop>>().toEqualTypeOf<'order:place' | 'order:cancel'>();
    expectTypeOf<EventType<Shop>>().toEqualTypeOf<'order:shipped' | 'stock:changed'>();
    expectTypeOf<MessageType<Shop>>().toEqualTypeOf<'cart:viewed'>();
  });

  test('tell what goes in from what comes out where a schema transforms', () => {
    expectTypeOf<RequestInput<Shop, 'order:place'>>().toEqualTypeOf<{
      items: string[];
      note?: string | undefined;
    }>();
    expectTypeOf<RequestPayload<Shop, 'order:place'>>().toEqualTypeOf<{
      items: string[];
      note: string;
    }>();
    expectTypeOf<ResponseInput<Shop, 'order:place'>>().toEqualTypeOf<{ total: string }>();
    expectTypeOf<ResponseData<Shop, 'order:place'>>().toEqualTypeOf<{ total: number }>();
    expectTypeOf<EventInput<Shop, 'order:shipped'>>().toEqualTypeOf<{ at: string }>();
    expectTypeOf<EventPayload<Shop, 'order:shipped'>>().toEqualTypeOf<{ at: Date }>();
    expectTypeOf<MessageInput<Shop, 'cart:viewed'>>().toEqualTypeOf<{ seconds: string }>();
    expectTypeOf<MessagePayload<Shop, 'cart:viewed'>>().toEqualTypeOf<{ seconds: number }>();
  });

  test('are inferred at a call, payload and data', () => {
    const client = caller({ contract: shop });
    const placed = client.request('order:place', { items: ['a'] });
    expectTypeOf(placed).toEqualTypeOf<Promise<{ total: number }>>();
    expectTypeOf(client.request('order:cancel', { id: 'a' })).toEqualTypeOf<Promise<null>>();
    client.on('order:shipped', (payload) => {
      expectTypeOf(payload).toEqualTypeOf<{ at: Date }>();
    });
    // @ts-expect-error The contract has no such request.
    void client.request('order:burn', {});
    // @ts-expect-error Items are text.
    void client.request('order:place', { items: [1] });
    // @ts-expect-error An id is needed.
    void client.request('order:cancel', {});
    // @ts-expect-error A view's seconds travel as text.
    client.send('cart:viewed', { seconds: 1 });
  });

  test('are any name and unknown payloads without a contract', () => {
    const client = caller({});
    expectTypeOf<RequestType<AnyContract>>().toEqualTypeOf<string>();
    expectTypeOf(client.request('whatever:it-is', { any: 1 })).toEqualTypeOf<Promise<unknown>>();
    client.on('whatever:happened', (payload) => {
      expectTypeOf(payload).toEqualTypeOf<unknown>();
    });
    client.send('whatever:said', undefined);
  });

  test('are empty for a part that the contract lacks', () => {
    const quiet = defineContract({ events: { 'tick:came': z.number() } });
    type Quiet = typeof quiet;
    expectTypeOf<RequestType<Quiet>>().toEqualTypeOf<never>();
    expectTypeOf<MessageType<Quiet>>().toEqualTypeOf<never>();
    expectTypeOf<EventPayload<Quiet, 'tick:came'>>().toEqualTypeOf<number>();
    const client = caller({ contract: quiet });
    // @ts-expect-error There is nothing to ask.
    void client.request('tick:ask', {});
    const empty = defineContract({});
    expectTypeOf<EventType<typeof empty>>().toEqualTypeOf<never>();
  });

  test('come from any Standard Schema, and are unknown where it names none', () => {
    expectTypeOf<StandardSchemaV1<string, number>>().toExtend<StandardSchema<string, number>>();
    expectTypeOf<SchemaOutput<StandardSchemaV1<string, number>>>().toEqualTypeOf<number>();
    const small = defineContract({ events: { 'price:moved': cents, 'raw:came': untyped } });
    expectTypeOf<SchemaInput<typeof cents>>().toEqualTypeOf<string>();
    expectTypeOf<SchemaOutput<typeof cents>>().toEqualTypeOf<number>();
    expectTypeOf<EventInput<typeof small, 'price:moved'>>().toEqualTypeOf<string>();
    expectTypeOf<EventPayload<typeof small, 'price:moved'>>().toEqualTypeOf<number>();
    expectTypeOf<EventPayload<typeof small, 'raw:came'>>().toEqualTypeOf<unknown>();
  });
});

describe('defineContract', () => {
  test('gives back the very contract, frozen', () => {
    const contract = { events: { 'a:b': z.string() } };
    expect(defineContract(contract)).toBe(contract);
    expect(Object.isFrozen(contract)).toBe(true);
  });

  test.each([
    'holdfast:room',
    'holdfast:',
    'connect',
    'connect_error',
    'disconnect',
    'disconnecting',
    'newListener',
    'removeListener',
  ])('refuses the reserved type %s in every part', (type) => {
    const both = { payload: z.string(), data: z.string() };
    const parts = [
      { requests: { [type]: both } },
      { events: { [type]: z.string() } },
      { messages: { [type]: z.string() } },
    ];
    for (const part of parts) {
      const error = thrownBy(() => defineContract(part));
      expect(error).toMatchObject({ code: 'UNKNOWN_TYPE' });
      expect(error.message).toContain(`"${type}"`);
    }
  });

  test.each(['connected', 'holdfast', 'user:connect', 'toString'])('takes the type %s', (type) => {
    expect(() => defineContract({ events: { [type]: z.string() } })).not.toThrow();
  });
});

describe('validate', () => {
  test('gives back what the schema makes of the value', () => {
    expect(validate(amount, '12', 'event "price:moved"')).toBe(12);
    expect(validate(cents, '1.25', 'event "price:moved"')).toBe(125);
  });

  test('names the value, the first path and every issue, never the value itself', () => {
    const payload = { items: ['a', 7_777_777], note: 8_888_888 };
    const schema = shop.requests['order:place'].payload;
    const error = thrownBy(() => validate(schema, payload, 'request "order:place"'));
    expect(error).toMatchObject({ code: 'INVALID_PAYLOAD', category: 'validation' });
    expect(error.message).toMatch(/request "order:place".*"items\.1"/);
    expect(error.details).toMatchObject({ issues: [{ path: 'items.1' }, { path: 'note' }] });
    expect(JSON.stringify([error.message, error.details])).not.toMatch(/7777777|8888888/);
  });

  test('keeps what zod says of an issue, and not what validators say that may quote the value', () => {
    const zods = thrownBy(() => validate(z.string(), 7_777_777, 'event "a:b"'));
    expect(zods.message).toContain('expected string');
    const theirs = thrownBy(() => validate(cents, 'my password', 'event "a:b"'));
    expect(theirs.message).toContain('invalid');
    expect(JSON.stringify([theirs.message, theirs.details])).not.toContain('password');
  });

  test('reads a path of keyed steps and an issue without a path', () => {
    const keyed = thrownBy(() => validate(cents, 'much', 'event "price:moved"'));
    expect(keyed.details).toEqual({ issues: [{ path: 'price.0', message: 'invalid' }] });
    const bare = thrownBy(() => validate(cents, 5, 'event "price:moved"'));
    expect(bare.details).toEqual({ issues: [{ path: '', message: 'invalid' }] });
  });

  test('refuses a schema that validates asynchronously, and leaves no rejection behind', () => {
    const later: StandardSchema = {
      '~standard': {
        version: 1,
        vendor: 'later',
        validate: () => Promise.reject(new Error('late')),
      },
    };
    const error = thrownBy(() => validate(later, 1, 'event "a:b"'));
    expect(error.message).toContain('asynchronously');
  });
});

/** A schema as another library would make it: no zod, keyed path steps, input ≠ output. */
const cents: StandardSchema<string, number> = {
  '~standard': {
    version: 1,
    vendor: 'by hand',
    validate(value) {
      if (typeof value !== 'string') return { issues: [{ message: 'not text' }] };
      const price = Number(value);
      if (!Number.isNaN(price)) return { value: price * 100 };
      return { issues: [{ message: `${value} is not a price`, path: [{ key: 'price' }, 0] }] };
    },
  },
};

const untyped = {
  '~standard': {
    version: 1 as const,
    vendor: 'by hand',
    validate: (value: unknown) => ({ value }),
  },
};

function thrownBy(run: () => unknown): HoldfastError {
  try {
    run();
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
  throw new Error('Nothing was thrown.');
}
