/** holdfast: realtime connections that hold. */
export type { Delivered, EventInfo, Listener, StreamOptions } from './client/audience.js';
export { Client, createClient, type Pending } from './client/client.js';
export type { Conversation, Dialect, Heard, Talk } from './client/dialect.js';
export type { Environment, LifecycleSignal } from './client/environment.js';
export type { Metrics } from './client/metrics.js';
export {
  type ClientOptions,
  defaults,
  type GapNotice,
  type InboxOptions,
  type LimitOptions,
  type OutboxOptions,
  type ReconnectOptions,
} from './client/options.js';
export type { RequestOptions, SendOptions } from './client/outgoing.js';
export {
  type PlainAbout,
  type PlainData,
  type PlainFrame,
  type PlainOpening,
  type PlainOptions,
  type PlainSaid,
  plain,
} from './client/plain.js';
export type { JoinOptions, Room } from './client/room.js';
export type { ClientStorage } from './client/storage.js';
export type { Answer, TraceEntry, TraceOptions, TraceOrigin } from './client/trace.js';
export type { Link, LinkEvents, Opened, Transport } from './client/transport.js';
export type { Clock } from './lib/clock.js';
export type { Percentiles } from './lib/samples.js';
export type { Delivery, Fact } from './machine/fact.js';
export type { Heartbeat } from './machine/liveness.js';
export type { CredentialReason, GapReason, Order } from './machine/order.js';
export type { RoomState } from './machine/rooms.js';
export type { ConnectionState, Status } from './machine/status.js';
export {
  type AnyContract,
  type Contract,
  defineContract,
  type EventPayload,
  type EventType,
  type MessageInput,
  type MessageType,
  type RequestInput,
  type RequestType,
  type ResponseData,
  type StandardSchema,
} from './protocol/contract.js';
export { type ErrorCategory, type ErrorCode, HoldfastError } from './protocol/errors.js';
export type {
  AuthRenewal,
  AuthVerdict,
  ClientFrame,
  ConnectionError,
  ErrorBody,
  Event,
  Garbled,
  Goodbye,
  Hello,
  Message,
  Request,
  Response,
  RoomJoined,
  RoomVerdict,
  RoomWish,
  ServerFrame,
} from './protocol/frame.js';
export { type Codec, encoded, type Outgoing, type Wire } from './protocol/wire.js';
