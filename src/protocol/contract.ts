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
  readonly requests?: Readonly<Record<string, { payload: StandardSchema; data: StandardSchema }>>;
  /** Published by the server, heard by clients. */
  readonly events?: Readonly<Record<string, StandardSchema>>;
  /** Sent by clients, at most once, without an answer. */
  readonly messages?: Readonly<Record<string, StandardSchema>>;
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
  readonly requests: Readonly<Record<string, { payload: AnySchema; data: AnySchema }>>;
  readonly events: Readonly<Record<string, AnySchema>>;
  readonly messages: Readonly<Record<string, AnySchema>>;
}

type AnySchema = StandardSchema<unknown, unknown>;

type Part<C extends Contract, K extends keyof Contract> = NonNullable<C[K]>;
type Input<S> = S extends StandardSchema<infer I, unknown> ? I : never;
type Output<S> = S extends { readonly '~standard': { readonly types?: infer T } }
  ? NonNullable<T> extends { readonly output: infer O }
    ? O
    : unknown
  : never;

export type RequestType<C extends Contract> = keyof Part<C, 'requests'> & string;
export type EventType<C extends Contract> = keyof Part<C, 'events'> & string;
export type MessageType<C extends Contract> = keyof Part<C, 'messages'> & string;

/** What the asking side passes in. */
export type RequestInput<C extends Contract, T extends RequestType<C>> = SchemaInput<
  Part<C, 'requests'>[T]['payload' & keyof Part<C, 'requests'>[T]]
>;
/** What the handler receives. */
export type RequestPayload<C extends Contract, T extends RequestType<C>> = Output<
  Part<C, 'requests'>[T]['payload' & keyof Part<C, 'requests'>[T]]
>;
/** What the handler returns. */
export type ResponseInput<C extends Contract, T extends RequestType<C>> = SchemaInput<
  Part<C, 'requests'>[T]['data' & keyof Part<C, 'requests'>[T]]
>;
/** What the asking side gets back. */
export type ResponseData<C extends Contract, T extends RequestType<C>> = Output<
  Part<C, 'requests'>[T]['data' & keyof Part<C, 'requests'>[T]]
>;
export type EventInput<C extends Contract, T extends EventType<C>> = SchemaInput<
  Part<C, 'events'>[T]
>;
export type EventPayload<C extends Contract, T extends EventType<C>> = Output<Part<C, 'events'>[T]>;
export type MessageInput<C extends Contract, T extends MessageType<C>> = SchemaInput<
  Part<C, 'messages'>[T]
>;
export type MessagePayload<C extends Contract, T extends MessageType<C>> = Output<
  Part<C, 'messages'>[T]
>;

type SchemaInput<S> = S extends { readonly '~standard': { readonly types?: infer T } }
  ? NonNullable<T> extends { readonly input: infer I }
    ? I
    : unknown
  : Input<S>;

/**
 * Checks a value against one schema of a contract.
 * @param what names the value in the error: `request "message:send"`.
 * @throws HoldfastError `INVALID_PAYLOAD` with the paths that failed, never the values.
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
  const issues = result.issues.map((issue) => ({ path: pathOf(issue), message: issue.message }));
  const [first] = issues;
  throw new HoldfastError(
    'INVALID_PAYLOAD',
    `The payload of ${what} does not fit its contract at "${first?.path ?? ''}": ${first?.message ?? 'invalid'}`,
    { details: { issues } },
  );
}

function pathOf(issue: SchemaIssue): string {
  return (issue.path ?? [])
    .map((step) => String(typeof step === 'object' ? step.key : step))
    .join('.');
}
