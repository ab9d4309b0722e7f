/** Typed requests, events and messages, over any Standard Schema validator. */
import { HoldfastError } from './errors.js';
import { isReservedType } from './frame.js';

/**
 * The part of the Standard Schema interface (standardschema.dev) that holdfast reads. zod, valibot,
 * arktype and others implement it. Validation must be synchronous: an event that waits for its
 * validator would change places with the next one.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What two peers say to each other. Types follow `resource:action`. */
export interface Contract {
  /** Asked by clients, answered by a handler. */
  readonly requests?: Readonly<Record<string, RequestSchemas>>;
  /** Published by the server, heard by clients. */
  readonly events?: Readonly<Record<string, StandardSchema>>;
  /** Sent by clients, at most once, without an answer. */
  readonly messages?: Readonly<Record<string, StandardSchema>>;
}

/** The two sides of a request: what is asked with, and what is answered. */
export interface RequestSchemas {
  readonly payload: StandardSchema;
  readonly data: StandardSchema;
}

/**
 * Names the requests, events and messages that client and server share. Returns what it is given,
 * frozen and fully typed.
 * @throws HoldfastError `UNKNOWN_TYPE` where a type uses a reserved name.
 */
export function defineContract<const C extends Contract>(contract: C): C {
  for (const part of [contract.requests, contract.events, contract.messages]) {
    for (const type of Object.keys(part ?? {})) {
      if (!isReservedType(type)) continue;
      throw new HoldfastError(
        'UNKNOWN_TYPE',
        `The type "${type}" is reserved. Name it "resource:action", not with "holdfast:" or a Socket.IO event.`,
      );
    }
  }
  return Object.freeze(contract);
}

/** Without a contract every type is allowed and every payload is `unknown`. */
export interface AnyContract extends Contract {
  readonly requests: Readonly<Record<string, RequestSchemas>>;
  readonly events: Readonly<Record<string, StandardSchema>>;
  readonly messages: Readonly<Record<string, StandardSchema>>;
}

/** What a schema takes in: before its transforms and defaults. */
export type SchemaInput<S> = S extends StandardSchema
  ? NonNullable<S['~standard']['types']>['input']
  : never;
/** What a schema gives back: after its transforms and defaults. */
export type SchemaOutput<S> = S extends StandardSchema
  ? NonNullable<S['~standard']['types']>['output']
  : never;

type Part<C extends Contract, K extends keyof Contract> = NonNullable<C[K]>;
type Side<C extends Contract, T extends RequestType<C>, K extends 'payload' | 'data'> =
  Part<C, 'requests'>[T] extends Readonly<Record<K, infer S>> ? S : never;

export type RequestType<C extends Contract> = keyof Part<C, 'requests'> & string;
export type EventType<C extends Contract> = keyof Part<C, 'events'> & string;
export type MessageType<C extends Contract> = keyof Part<C, 'messages'> & string;

/** What the asking side passes in. */
export type RequestInput<C extends Contract, T extends RequestType<C>> = SchemaInput<
  Side<C, T, 'payload'>
>;
/** What the handler receives. */
export type RequestPayload<C extends Contract, T extends RequestType<C>> = SchemaOutput<
  Side<C, T, 'payload'>
>;
/** What the handler returns. */
export type ResponseInput<C extends Contract, T extends RequestType<C>> = SchemaInput<
  Side<C, T, 'data'>
>;
/** What the asking side gets back. */
export type ResponseData<C extends Contract, T extends RequestType<C>> = SchemaOutput<
  Side<C, T, 'data'>
>;
/** What the server publishes. */
export type EventInput<C extends Contract, T extends EventType<C>> = SchemaInput<
  Part<C, 'events'>[T]
>;
/** What a listener hears. */
export type EventPayload<C extends Contract, T extends EventType<C>> = SchemaOutput<
  Part<C, 'events'>[T]
>;
/** What a client sends. */
export type MessageInput<C extends Contract, T extends MessageType<C>> = SchemaInput<
  Part<C, 'messages'>[T]
>;
/** What the server's message handler receives. */
export type MessagePayload<C extends Contract, T extends MessageType<C>> = SchemaOutput<
  Part<C, 'messages'>[T]
>;

/** The entry of a type, its own only: a type named "constructor" must not find Object.prototype. */
export function entryOf<T>(
  part: Readonly<Record<string, T>> | undefined,
  type: string,
): T | undefined {
  return part !== undefined && Object.hasOwn(part, type) ? part[type] : undefined;
}

/**
 * Checks a value against one schema of a contract.
 * @param what names the value in the error: `request "message:send"`.
 * @throws HoldfastError `INVALID_PAYLOAD` with the paths that failed, never the values. What zod says of
 * them is kept; other validators quote the value in their messages, so theirs are not.
 */
export function validate(schema: StandardSchema, value: unknown, what: string): unknown {
  const result = schema['~standard'].validate(value);
  if (result instanceof Promise) {
    result.catch(() => {});
    throw new HoldfastError(
      'INVALID_PAYLOAD',
      `The schema of ${what} validates asynchronously. Use a synchronous one: order depends on it.`,
    );
  }
  if (result.issues === undefined) return result.value;
  const issues = result.issues.map((issue) => ({
    path: pathOf(issue),
    // Version 4 of zod, which names no value; version 3, of the same vendor, quotes it.
    message: '_zod' in schema ? issue.message : 'invalid',
  }));
  const [first] = issues;
  throw new HoldfastError(
    'INVALID_PAYLOAD',
    `The payload of ${what} does not fit its contract${first?.path ? ` at "${first.path}"` : ''}: ${first?.message ?? 'invalid'}`,
    { details: { issues } },
  );
}

function pathOf(issue: SchemaIssue): string {
  return (issue.path ?? [])
    .map((step) => String(typeof step === 'object' ? step.key : step))
    .join('.');
}
