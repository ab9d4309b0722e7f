/** holdfast/server: a hub for Node that keeps the protocol's promises. */
export type { Clock } from '../lib/clock.js';
export type {
  AnyContract,
  Contract,
  EventInput,
  EventType,
  MessagePayload,
  MessageType,
  RequestPayload,
  RequestType,
  ResponseInput,
  StandardSchema,
} from '../protocol/contract.js';
export { type ErrorCode, type ErrorFacts, HoldfastError } from '../protocol/errors.js';
export type { Environment } from './environment.js';
export {
  type FailureFacts,
  failure,
  forbidden,
  roomNotFound,
  tokenExpired,
  unauthorized,
} from './failure.js';
export { type CloseOptions, createHub, type Hub, type KickTarget, type Published } from './hub.js';
export {
  type Appended,
  type Claim,
  type Claimed,
  cursorOf,
  type Draft,
  type Journal,
  type JournalNode,
  type JournalUser,
  type Known,
  type Linked,
  type Position,
  parseCursor,
  type Recalled,
  type Settlement,
  type Slice,
  type StoredEvent,
  storedEvent,
  type Write,
  type WriteResult,
} from './journal.js';
export { type MemoryJournal, type MemoryJournalOptions, memoryJournal } from './memory-journal.js';
export type { HubMetrics } from './metrics.js';
export type {
  Authenticated,
  AuthenticateInput,
  AuthorizeInput,
  CallContext,
  ConnectionFacts,
  Handler,
  Handlers,
  HubOptions,
  Limits,
  MessageContext,
  MessageHandlers,
  RequestContext,
  RoomAction,
} from './options.js';
export type { SocketIoServer } from './socket-io.js';
export type { SocketIoSocket } from './socket-io-wire.js';
export type { DeflateOptions, WebSocketOptions } from './websocket.js';
export type { ServerWire, ServerWireEvents, WireRequest } from './wire.js';
